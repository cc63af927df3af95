"""`dlrun.train` trains as the command line does, and leaves the process as it was."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import yaml
from places import TINY
from small_runs import timeless

import dlrun
from dlrun.run_folders.run import Run as RunFolder
from dlrun.system.signals import request_stop

CONFIG: dict[str, Any] = yaml.safe_load(TINY.replace("1e-2", "0.01"))  # YAML 1.1 takes 1e-2 for text


def columns(run: dlrun.Run) -> dict[str, list[Any]]:
    return timeless(RunFolder(run.folder).rows())


def test_a_file_a_dict_and_the_command_line_train_the_same(
    dlrun_command: Callable[..., Any], tiny: Path, runs_dir: Path
) -> None:
    assert dlrun_command("train", tiny, "--seeds", 2, "optimizer.lr=0.02").code == 0
    wanted = timeless(RunFolder(runs_dir / "tiny-001").rows())
    for config in (tiny, str(tiny), CONFIG):
        run = dlrun.train(config, "optimizer.lr=0.02", seeds=2, runs_dir=runs_dir, quiet=True)
        assert columns(run) == wanted
        assert run.status == "finished"
    assert run.name == "run-001"
    assert dlrun.train(CONFIG, name="mine", runs_dir=runs_dir, quiet=True).name == "mine-001"


def test_a_run_that_paused_is_resumed_to_the_same_figures(tiny: Path, runs_dir: Path) -> None:
    whole = dlrun.train(tiny, "epochs=4", runs_dir=runs_dir, quiet=True)
    short = dlrun.train(tiny, "epochs=2", runs_dir=runs_dir, quiet=True)
    resumed = short.resume("epochs=4", quiet=True)
    assert resumed.folder == short.folder
    assert columns(resumed)["train_loss"] == columns(whole)["train_loss"]


def test_an_interrupt_saves_the_run_and_returns_it(
    tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch, save_always: None
) -> None:
    from dlrun.training.run_writer import RunWriter

    write = RunWriter.write_row

    def interrupted(self: RunWriter, row: Any) -> bool:
        request_stop()
        return write(self, row)

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(RunWriter, "write_row", interrupted)
    run = dlrun.train(tiny, "epochs=9", runs_dir=runs_dir, quiet=True)
    assert run.status == "interrupted"
    assert run.metrics[-1]["epoch"] == 1
    monkeypatch.undo()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert run.resume(quiet=True).metrics[-1]["epoch"] == 9


def test_the_epochs_are_shown_unless_it_is_to_be_quiet(
    tiny: Path, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dlrun.train(tiny, runs_dir=runs_dir, quiet=True)
    assert capsys.readouterr() == ("", "")
    dlrun.train(tiny, runs_dir=runs_dir)
    assert "tiny-002" in capsys.readouterr().out


def state() -> tuple[Any, ...]:
    return (
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        numpy.random.get_state()[1].tolist(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    )


DRAWS = '''
import random
import numpy
import torch
from torch import nn


def draws(shape, outputs):
    """A layer that draws from every generator of the process, and sets what is its own."""
    numpy.random.rand(), random.random(), torch.rand(1)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    return nn.Linear(shape[0], outputs)
'''


def test_the_process_is_left_as_it_was(tiny: Path, runs_dir: Path, tmp_path: Path) -> None:
    part = tmp_path / "mine" / "architecture" / "draws.py"
    part.parent.mkdir(parents=True)
    part.write_text(DRAWS)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    before = state()
    with torch.no_grad():
        run = dlrun.train(
            tiny, "architecture=draws", "threads=1", runs_dir=runs_dir, parts=part.parents[1], quiet=True
        )
        assert not torch.is_grad_enabled()
    run.evaluate()
    run.load()
    assert state() == before
    torch.set_default_dtype(torch.float32)


def test_an_error_says_the_whole_mistake_and_ends_no_process(tiny: Path, runs_dir: Path) -> None:
    with pytest.raises(dlrun.ConfigError) as wrong:
        dlrun.train(tiny, "optimizer.lr=-1", "epohs=3", runs_dir=runs_dir)
    assert str(wrong.value).splitlines()[1:] == [
        "  on the command line: epohs: there is no such key; did you mean 'epochs'?",
        "  on the command line: optimizer.lr: -1 is not a number >= 0",
    ]
    with pytest.raises(dlrun.UserError) as several:
        dlrun.train(tiny, "processes=2", runs_dir=runs_dir)
    assert str(several.value) == (
        "processes: 2 is for the command line, which starts them\n"
        '  fix: use dlrun train, or add "processes=1"'
    )
    with pytest.raises(dlrun.ConfigError, match=r"config: architecture: there is no architecture/nlp\.py"):
        dlrun.train(CONFIG | {"architecture": "nlp"}, runs_dir=runs_dir)
    with pytest.raises(dlrun.Diverged, match=r"fix: lower optimizer\.lr"):
        dlrun.train(tiny, "optimizer={name: sgd, lr: 1e30}", "epochs=3", runs_dir=runs_dir, quiet=True)


def test_values_of_numpy_and_paths_are_taken_and_others_are_refused(tiny: Path, runs_dir: Path) -> None:
    odd = CONFIG | {"epochs": numpy.int64(2), "optimizer": {"name": "adam", "lr": numpy.float32(0.25)}}
    run = dlrun.train(odd, seeds=numpy.arange(2), runs_dir=runs_dir, quiet=True)
    assert (run.config["epochs"], run.config["optimizer.lr"], run.config["seeds"]) == (2, 0.25, [0, 1])
    for wrong, said in (
        ({"seeds": True}, "seeds is a number of them or a list, not True"),
        ({"seeds": 0}, "seeds is a number of them or a list, not 0"),
    ):
        with pytest.raises(dlrun.UserError, match=said):
            dlrun.train(tiny, runs_dir=runs_dir, **wrong)
    other: Any = {"epochs": 2}
    with pytest.raises(dlrun.UserError, match="is no KEY=VALUE text"):
        dlrun.train(tiny, other, runs_dir=runs_dir)
    for count in ("jobs", "random", "optuna"):
        counts: dict[str, Any] = {count: 0}
        with pytest.raises(dlrun.UserError, match=f"{count} is a whole number >= 1, not 0"):
            dlrun.sweep(tiny, "epochs=1,2", runs_dir=runs_dir, **counts)
    with pytest.raises(dlrun.UserError, match="optuna= draws the settings itself"):
        dlrun.sweep(tiny, "epochs=1,2", optuna=2, random=2, runs_dir=runs_dir)


def test_claims_are_judged_alike_for_a_file_and_for_a_dict(tiny: Path, runs_dir: Path) -> None:
    claim = {"train_loss": "< 0"}
    file = tiny.with_name("claims.yaml")
    file.write_text(TINY + "expect: {train_loss: '< 0'}\n")
    for config in (file, CONFIG | {"expect": claim}):
        run = dlrun.train(config, "epochs=1", runs_dir=runs_dir, quiet=True)
        [judged] = run.summary["expect"]
        assert (judged["met"], judged["why"]) == (None, "epochs changed")


def test_warnings_are_those_of_python_where_nothing_is_shown(tiny: Path, runs_dir: Path) -> None:
    swept = tiny.with_name("swept.yaml")
    swept.write_text(TINY + "sweep: {epochs: [1, 2]}\n")
    with pytest.warns(UserWarning, match=r"the values under sweep: are only for dlrun\.sweep"):
        run = dlrun.train(swept, "epochs=1", runs_dir=runs_dir, quiet=True)
    assert run.warnings == run.summary["warnings"]


def test_importing_dlrun_imports_neither_torch_nor_anything_heavy() -> None:
    code = "import sys, dlrun; print(sorted({'torch', 'yaml', 'numpy', 'rich', 'pydantic'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_that_it_offers_is_there() -> None:
    for name in dlrun.__all__:
        assert getattr(dlrun, name) is not None
        assert name in dir(dlrun)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        dlrun.trian  # noqa: B018
