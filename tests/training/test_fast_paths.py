"""PyTorch without what stands around it: the same steps, and no compiler where nothing is compiled."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import WITH_CLOSURES, differences
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from dlrun.config.registry import Parts
from dlrun.training import fast_paths

# What a process prints that has not met the compiler yet: it trains, asks for the compiler, and uses it.
IN_ORDER = """
import sys
from contextlib import suppress
from dlrun.console.commands.app import main

sys.argv = ["dlrun", "train", "spiral_relu", "epochs=3", "expect={}", "plots=[]", "--runs-dir", sys.argv[1]]
with suppress(SystemExit):
    main()
print("trained:", [name for name in ("torch._dynamo", "sympy") if name in sys.modules])

import torch
from dlrun.training import fast_paths

with fast_paths.without_compiler():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
print("made:", "torch._dynamo" in sys.modules)
with fast_paths.without_compiler():
    import torch._dynamo
    print("asked:", torch._dynamo.config.verbose, sys.modules["torch._dynamo"].__file__ is not None)
print("stays:", torch._dynamo is sys.modules["torch._dynamo"])
with fast_paths.without_compiler():
    print("compiling:", torch._dynamo.is_compiling())
optimizer.zero_grad()

with fast_paths.without_compiler():
    @torch.compiler.disable
    def inner():
        return not torch.compiler.is_dynamo_compiling()

with fast_paths.without_compiler():
    @torch.compiler.disable(recursive=False)
    def whole():
        return not torch.compiler.is_dynamo_compiling()

print("not compiled:", whole(), torch.compile(lambda: inner(), backend="eager")())
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the process and return its answer to each question."""
    runs_dir = tmp_path_factory.mktemp("runs")
    done = subprocess.run(
        [sys.executable, "-c", IN_ORDER, str(runs_dir)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (runs_dir / "spiral_relu-001" / "checkpoints" / "last.pt").exists()
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


@pytest.mark.slow
def test_a_run_that_compiles_nothing_imports_no_compiler(said: dict[str, str]) -> None:
    assert said["trained"] == "[]"


def test_what_asks_more_of_the_compiler_gets_the_compiler(said: dict[str, str]) -> None:
    assert (said["made"], said["asked"], said["stays"]) == ("False", "False True", "True")
    assert said["compiling"] == "False"


def test_what_a_user_will_not_have_compiled_is_not(said: dict[str, str]) -> None:
    assert said["not compiled"] == "True True"


@pytest.mark.parametrize("name", [name for name in Parts().names("optimizer") if name not in WITH_CLOSURES])
def test_a_bare_step_is_the_whole_step(name: str) -> None:
    found: list[Any] = []
    for act in (fast_paths.step, lambda optimizer: optimizer.step()):
        torch.manual_seed(3)
        model = nn.Linear(4, 3)
        optimizer = Parts().find("optimizer", name)(list(model.parameters()), lr=0.1)
        for _ in range(3):
            model.zero_grad()
            model(torch.ones(2, 4)).square().sum().backward()
            act(optimizer)
        assert all(p.requires_grad for p in model.parameters())
        found.append((model.state_dict(), optimizer.state_dict()["state"]))
    assert not differences(*found)
    torch.manual_seed(3)
    assert differences(nn.Linear(4, 3).state_dict(), found[0][0])


def test_the_step_of_ones_own_optimizer_is_called_as_it_is() -> None:
    called = []

    def noted(step: Callable[..., None]) -> Callable[..., None]:
        @wraps(step)
        def noting(*given: Any) -> None:
            called.append(torch.is_grad_enabled())
            step(*given)

        return noting

    class Own(torch.optim.SGD):
        @noted
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            super().step()

    weight = torch.ones(1, requires_grad=True)
    weight.grad = torch.ones(1)
    fast_paths.step(Own([weight], lr=0.5))
    assert called == [False]
    assert weight.item() == 0.5


@pytest.mark.parametrize("where", ["before", "after", "before all", "after all", "in its place"])
def test_what_hangs_on_the_step_of_an_optimizer_is_done(where: str) -> None:
    called: list[bool] = []
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5)

    def note(*given: Any) -> None:
        called.append(True)

    if where == "in its place":
        optimizer.step = note  # type: ignore[method-assign]
    hang: Any = {
        "before": optimizer.register_step_pre_hook,
        "after": optimizer.register_step_post_hook,
        "before all": register_optimizer_step_pre_hook,
        "after all": register_optimizer_step_post_hook,
    }.get(where)
    hook = hang(note) if hang else None
    fast_paths.step(optimizer)
    assert called == [True]
    if hook:
        hook.remove()


def test_a_bare_backward_is_the_whole_backward() -> None:
    model, inputs = nn.Linear(4, 2), torch.randn(6, 4)
    losses = [model(inputs).square().sum(1), model(inputs).abs().sum(1)]
    shares = [torch.full((6,), 0.5), torch.arange(6.0)]
    fast_paths.backward(losses, shares)
    found = [p.grad for p in model.parameters()]
    model.zero_grad()
    torch.autograd.backward(
        [model(inputs).square().sum(1), model(inputs).abs().sum(1)],
        [torch.full((6,), 0.5), torch.arange(6.0)],
    )
    assert not differences(found, [p.grad for p in model.parameters()])


def trained_with(value: str, loss: str, runs_dir: Path) -> list[str]:
    """The rows of a run of a process with this DLRUN_FAST_PATHS, without their seconds; what it imported."""
    command = [sys.executable, "-c", TOLD, str(runs_dir), f"loss={loss}"]
    environment = os.environ | {"DLRUN_FAST_PATHS": value}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    rows = (runs_dir / "spiral_relu-001" / "metrics.csv").read_text().splitlines()
    return [*(row.rpartition(",")[0] for row in rows), done.stdout]


TOLD = """
import sys
from contextlib import suppress
import torch
from dlrun.console.commands.app import main

taken = []
engine = torch.autograd.graph._engine_run_backward
torch.autograd.graph._engine_run_backward = lambda *a, **k: (taken.append(1), engine(*a, **k))[1]
words = ["spiral_relu", "epochs=3", "batch_size=512", "expect={}", "plots=[]", "--quiet"]
sys.argv = ["dlrun", "train", *words, sys.argv[2], "--runs-dir", sys.argv[1]]
with suppress(SystemExit):
    main()
print("engine called directly:", bool(taken), "compiler imported:", "torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "is_called"), [("cross_entropy", False), ("{name: cross_entropy, label_smoothing: 0.1}", True)]
)
def test_without_fast_paths_a_run_has_the_same_figures_in_every_digit(
    tmp_path: Path, loss: str, is_called: bool
) -> None:
    """Cross entropy has a closed form, which needs no engine; with label smoothing it has none."""
    *fast, taken = trained_with("1", loss, tmp_path / "on")
    *plain, left = trained_with("0", loss, tmp_path / "off")
    assert fast == plain
    assert len(fast) == 4
    assert f"engine called directly: {is_called} compiler imported: False" in taken
    assert "engine called directly: False compiler imported: True" in left


def test_a_switch_that_is_neither_on_nor_off_is_refused(
    dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLRUN_FAST_PATHS", "maybe")
    done = dlrun("--version")
    assert done.code == 2
    assert "DLRUN_FAST_PATHS='maybe' is neither on nor off" in done.err


@pytest.mark.parametrize(("value", "limits"), [("1", [(-1, 128 * 2**20), (-3, 32 * 2**20)]), ("0", [])])
def test_the_c_library_is_told_to_keep_freed_memory_unless_fast_paths_are_off(
    monkeypatch: pytest.MonkeyPatch, value: str, limits: list[tuple[int, int]]
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setenv("DLRUN_FAST_PATHS", value)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    library = SimpleNamespace(mallopt=lambda *words: told.append(words))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    fast_paths.are_on.cache_clear()
    fast_paths.keep_freed_memory()
    fast_paths.are_on.cache_clear()
    assert told == limits
