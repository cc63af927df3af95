"""Faults while a model trains: figures that are not finite, unreadable examples, too little memory."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from processes import PATIENCE, has_processes
from small_runs import (
    PHOTOS,
    Listening,
    differences,
    little_memory,
    mostly_slow,
    only_run,
    own_parts,
    planned,
    started,
)
from torch import Tensor

from dlrun.data.batches import Batches
from dlrun.errors import Diverged
from dlrun.run_folders.run import Run
from dlrun.training import meters, run_writer
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.closed_form import ClosedForm
from dlrun.training.copies import Apart
from dlrun.training.experiment import train_run
from dlrun.training.loop import Batch, EachBatch, fit
from dlrun.training.state import State
from dlrun.training.views import HiddenTraining

Dlrun = Callable[..., Any]
STEPS = 5  # in an epoch of 40 examples


def assert_error(err: str) -> None:
    """The output must be an error and nothing else."""
    lines = [line for line in err.splitlines() if not line.startswith(("decoding", "warning"))]
    assert 0 < len(lines) <= 5, err
    assert lines[0].startswith("error: "), err


# ------------------------------------------------------------------------ T38: no finite number

POISON = {
    "augmentations/spoilt.py": '''
"""Inputs of which one is not finite, at one step."""
calls = 0


def spoilt(inputs, generator, *, at: int, infinite: bool = False):
    """Count, and spoil."""
    global calls
    if inputs.shape[0] > 2:  # not when it is tried out
        calls += 1
        if calls == at:
            inputs = inputs.clone()
            inputs[1, 0] = float("inf" if infinite else "nan")
    return inputs
''',
    "loss/spoilt.py": '''
"""Cross-entropy, of which at one step a loss or a gradient is not finite."""
import torch
from torch.nn.functional import cross_entropy

task = "classification"
calls = 0


class Spoil(torch.autograd.Function):
    @staticmethod
    def forward(context, losses):
        return losses.clone()

    @staticmethod
    def backward(context, gradient):
        gradient = gradient.clone()
        gradient[0] = float("nan")
        return gradient


def spoilt(outputs, targets, *, at: int, what: str = "loss"):
    """Count, and spoil."""
    global calls
    losses = cross_entropy(outputs, targets, reduction="none")
    if outputs.requires_grad and len(outputs) > 2:  # two examples are tried before a run
        calls += 1
        if calls == at and what == "loss":
            losses = torch.where(torch.arange(len(losses)) == 1, float("nan"), losses)
        elif calls == at:
            losses = Spoil.apply(losses)
    return losses
''',
}


class Spoiling(Listening):
    """A view that spoils a weight after a step."""

    def begin(self, plan: Any, run: Run, state: Any, steps: int) -> None:
        self.act = partial(spoil, state.model)


def spoil(model: Any) -> None:
    with torch.no_grad():
        next(model.parameters()).view(-1)[3] = float("-inf")


LEARNING = {"name": "adam", "lr": 0.01}
LEARNT = ("model", "optimizer", "epoch")
POSITIONS = {
    "the first step": STEPS + 1,
    "a step between": STEPS + 3,
    "the last step": 2 * STEPS,
    "the last step of an epoch that is not evaluated": 2 * STEPS,
}


@pytest.mark.row("T38")
@pytest.mark.parametrize("position", mostly_slow(POSITIONS, "a step between", "the last step"))
@pytest.mark.parametrize("what", ["input", "infinite input", "loss", "gradient", "weight"])
def test_what_is_not_finite_ends_the_run_with_all_as_it_was(
    fault: Any, tmp_path: Path, save_always: None, what: str, position: str
) -> None:
    at = POSITIONS[position]
    changes: dict[str, Any] = {"dataset": "uneven", "batch_size": 8, "epochs": 4, "optimizer": LEARNING}
    if "not evaluated" in position:
        changes["evaluate_every"] = 4
    if "input" in what:
        changes["augmentations"] = [{"name": "spoilt", "at": at, "infinite": "infinite" in what}]
    elif what in ("loss", "gradient"):
        changes["loss"] = {"name": "spoilt", "at": at, "what": what}
    whole = planned(own_parts(tmp_path / "whole", POISON), **changes)
    paused = started(whole, tmp_path / "runs")
    train_run(whole, paused, HiddenTraining(), stop_after=1)
    plan = planned(own_parts(tmp_path, POISON), **changes)
    run = started(plan, tmp_path / "runs")
    with pytest.raises(Diverged) as stopped:
        train_run(plan, run, Spoiling(at if what == "weight" else -1))
    error = stopped.value
    assert error.exit_code == 3
    assert "seed 0" in error.what
    assert "epoch 2" in error.what or "(1 of 4 epochs done)" in error.what
    assert str(run.folder) in error.where and error.fix
    if what in ("input", "loss"):
        assert f"epoch 2, step {at - STEPS}" in error.what, "the step that was not made"
    changed: list[str] = []
    for found, kept in ((run.last, paused.last), (run.best, paused.best)):
        now, before = load_checkpoint(found).state, load_checkpoint(kept).state
        assert now["epoch"] == 1
        changed += differences({name: now[name] for name in before if name in LEARNT},
                               {name: before[name] for name in before if name in LEARNT})  # fmt: skip
    assert run.rows()["epoch"] == [1] or ("not evaluated" in position and run.rows()["epoch"] == [1, 2])
    text = (run.folder / "summary.json").read_text(encoding="utf-8")
    summary = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert summary["status"] == "diverged"
    fault.count(spoilt=1)
    fault.never(different=changed)
    fault.said("\n".join(error.lines()))


IDLE = {
    "architecture/idle.py": '''
"""A model with a weight that changes no output: no figure tells what becomes of it."""
import torch
from torch import nn


def idle(shape, outputs):
    """One layer."""
    model = nn.Linear(shape[0], outputs)
    model.aside = nn.Parameter(torch.zeros(4))
    return model
''',
    "plots/moving.py": '''
"""How weights change."""
keeps_weights = 9


def moving(trained):
    """A picture that is never drawn here."""
    return trained
''',
}


@pytest.mark.row("T38")
@pytest.mark.parametrize("monitor", ["train_loss", "test_loss"])
@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("step", [1, STEPS, 2 * STEPS])
def test_no_file_ever_holds_a_weight_that_is_not_finite(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, monitor: str, always: bool, step: int
) -> None:
    monkeypatch.setattr(run_writer, "SAVE_EVERY", 0 if always else math.inf)
    monkeypatch.setattr(run_writer, "SAVE_SHARE", 0)
    plan = planned(
        own_parts(tmp_path, IDLE),
        dataset="uneven",
        architecture="idle",
        epochs=2,
        batch_size=8,
        monitor=monitor,
        evaluate_every=2 if monitor == "train_loss" else 4,
        plots=["moving"] if always else [],
    )
    run = started(plan, tmp_path)

    class Lost(Listening):
        def begin(self, plan: Any, run: Run, state: Any, steps: int) -> None:
            self.act = partial(state.model.copies[0].aside.data.fill_, math.inf)

    with pytest.raises(Diverged, match="aside of seed 0 is no longer finite"):
        train_run(plan, run, Lost(step))
    files = list(run.folder.rglob("*.pt"))
    weights = [value for file in files for value in load_checkpoint(file).state["model"][0].values()]
    lost = sum(not value.isfinite().all() for value in weights)
    fault.count(spoilt=1, different=lost, tracebacks=0)
    assert {"last.pt", *(["00000000.pt"] if always else [])} <= {file.name for file in files}
    assert not lost


@pytest.mark.row("T38")
@pytest.mark.parametrize("batch_size", [4, 16, "full"])
def test_a_loss_that_is_not_finite_stops_before_the_update(
    fault: Any, tmp_path: Path, batch_size: int | str
) -> None:
    poisoned = 17
    plan = planned(
        own_parts(tmp_path),
        dataset={"name": "uneven", "poisoned": poisoned},
        seeds=[3, 8],
        batch_size=batch_size,
    )
    loaded = plan.load()
    hardware = plan.hardware(loaded)
    state = plan.state(hardware)
    before_step, noting = noted_before_each_step(state)

    with pytest.raises(Diverged) as stopped:
        list(fit(state, loaded, plan.recipe, hardware, noting))
    after = [p.detach() for p in state.model.parameters()]
    fault.count(spoilt=1)
    fault.never(different=differences(after, before_step[-1]))
    if batch_size == "full":
        reached, seed = 1, 3
    else:
        order = Batches(loaded["train"], plan.recipe.sampling, [3, 8]).order(1)
        steps = {s: row.tolist().index(poisoned) // plan.config.batch_size + 1  # type: ignore[operator]
                 for s, row in zip([3, 8], order, strict=True)}  # fmt: skip
        seed = min(steps, key=lambda s: steps[s])
        reached = steps[seed]
    assert len(before_step) == reached
    assert f"seed {seed} " in stopped.value.what
    assert stopped.value.what.endswith(f"step {reached}")
    assert stopped.value.exit_code == 3
    assert state.epoch == 0


def noted_before_each_step(state: State) -> tuple[list[list[Tensor]], EachBatch]:
    """A list for the weights before each step, and the callback that fills it."""
    before: list[list[Tensor]] = []

    def noting(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            before.append([p.detach().clone() for p in state.model.parameters()])
            yield batch

    return before, noting


@pytest.mark.row("T38")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_where_a_look_would_wait_a_lost_loss_still_changes_no_weight(
    fault: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, optimizer: str
) -> None:
    monkeypatch.setattr(meters, "is_asynchronous", lambda device: True)
    plan = planned(
        own_parts(tmp_path),
        dataset={"name": "uneven", "poisoned": 17},
        batch_size=4,
        optimizer={"name": optimizer, "lr": 0.1},
    )
    loaded, hardware = plan.load(), plan.hardware()
    state = plan.state(hardware)
    before, noting = noted_before_each_step(state)

    with pytest.raises(Diverged) as stopped:
        list(fit(state, loaded, plan.recipe, hardware, noting))
    step = int(stopped.value.what.rsplit(" ", 1)[1])
    assert 1 < step < len(before), "it is seen at the end of the epoch"
    after = [p.detach() for p in state.model.parameters()]
    fault.count(spoilt=1)
    fault.never(different=differences(after, before[step - 1]))
    assert differences(before[step - 1], before[step - 2]), "the step before was made"


@pytest.mark.row("T38")
def test_the_example_that_is_not_finite_is_named_with_what_to_do(
    fault: Any, dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    own_parts(tmp_path)
    words = ("dataset={name: uneven, poisoned: 17}", "--parts", tmp_path / "parts")
    done = dlrun("train", tiny, *words, "--quiet")
    assert_error(done.err)
    fault.count(spoilt=1)
    assert done.code == 3
    assert "the inputs of example 17 of train, counted from 0, are not finite" in done.err
    assert "fix: correct that example" in done.err
    assert "lr" not in done.err, "which could not help"
    assert str(only_run(runs_dir).folder) in done.err


@pytest.mark.row("T38")
def test_a_rate_that_is_too_large_is_told_from_bad_data(
    fault: Any, dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    done = dlrun("train", tiny, "optimizer={name: sgd, lr: 1e30}", "epochs=20", "--quiet")
    assert_error(done.err)
    fault.count(spoilt=1)
    assert done.code == 3
    assert "optimizer.lr" in done.err and "gradient_clip" in done.err
    run = only_run(runs_dir)
    assert run.summary()["status"] == "diverged"
    assert all(v.isfinite().all() for v in load_checkpoint(run.last).state["model"][0].values())
    assert "diverged" in dlrun("runs").out


# ------------------------------------------------------------------------ T39: the best


@pytest.mark.row("T39")
def test_the_first_of_the_best_is_best_and_nan_never(fault: Any) -> None:
    plan = planned()
    chance: random.Random = fault.random
    pool = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, math.inf, -math.inf, math.nan, math.nan]
    for _ in range(fault.times(1000, 1000)):
        length = chance.randrange(1, 12)
        sequence = [chance.choice([*pool, chance.random()]) for _ in range(length)]
        for column, wanted in (("train_accuracy", max), ("train_loss", min)):
            best: float | None = None
            chosen = -1
            for epoch, value in enumerate(sequence):
                if plan.improves(column, value, best):
                    best, chosen = value, epoch
            figures = [value for value in sequence if not math.isnan(value)]
            right = sequence.index(wanted(figures)) if figures else -1
            fault.count(sequences=1)
            fault.never(wrong=[] if chosen == right else [column, sequence])


# ------------------------------------------------------------------------ T40: examples


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten images in two classes."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            colour = (40 * number, 90 * label, 10)
            Image.new("RGB", (9, 9), colour).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def config(photos: Path, write: Callable[[str, str], Path]) -> Path:
    return write("photos.yaml", PHOTOS.replace("PATH", str(photos)))


PASSING = {
    "the disk fails": (OSError(errno.EIO, os.strerror(errno.EIO)), 2),
    "too many files are open": (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 2),
    "there is no memory": (MemoryError(), 1),
}


@pytest.mark.row("T40")
@pytest.mark.parametrize("unreadable", ["refuse", "skip"])
@pytest.mark.parametrize("what", PASSING)
def test_what_keeps_an_image_from_being_read_now_is_not_remembered(
    fault: Any,
    dlrun: Dlrun,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    unreadable: str,
) -> None:
    error, code = PASSING[what]
    words = (f"dataset.unreadable={unreadable}", "--data-dir", tmp_path / "data", "--quiet")
    real = Image.open

    def failing(file: Any, *rest: Any, **options: Any) -> Any:
        if Path(f"/proc/self/fd/{file.fileno()}").resolve().name == "3.png":
            raise error
        return real(file, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", failing)
        done = dlrun("train", config, *words)
    assert_error(done.err)
    assert done.code == code, done.err
    assert "cat/3.png" in done.err
    done = dlrun("train", config, *words)
    fault.count(images=1)
    fault.never(wrong="left out" in done.err)
    assert done.code == 0, done.err


@pytest.mark.row("T40")
def test_an_image_that_is_none_ends_the_run_with_its_name(
    fault: Any, dlrun: Dlrun, config: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "dog" / "2.png").write_bytes(b"no image")
    done = dlrun("train", config, "--data-dir", tmp_path / "data", "--quiet")
    assert_error(done.err)
    fault.count(images=1)
    assert done.code == 2
    assert "dog/2.png" in done.err
    assert threading.active_count() < 20, "the threads that decoded are gone"


@pytest.mark.row("T40")
def test_a_process_that_waits_for_one_that_hangs_can_be_ended_and_leaves_nobody(
    fault: Any, dlrun: Dlrun, dlrun_process: Any, config: Path, tmp_path: Path
) -> None:
    assert dlrun("train", config, "--data-dir", tmp_path / "data", "--quiet").code == 0
    [kept] = (tmp_path / "data" / "image_folder").iterdir()
    (kept / "index.json").unlink()
    for how in fault.times([signal.SIGTERM], 5 * [signal.SIGTERM, signal.SIGKILL]):
        held = os.open(kept, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)  # as one that decodes and never ends
        try:
            process = dlrun_process("train", config, "--data-dir", tmp_path / "data", start_new_session=True)
            line = process.stderr.readline()
            assert "waiting for a process that decodes images" in line
            process.send_signal(how)
            process.wait(PATIENCE)
            fault.count(waiting=1)
            fault.never(orphans=has_processes(process.pid))
            assert process.returncode == -how
        finally:
            os.close(held)
    done = dlrun("train", config, "--data-dir", tmp_path / "data", "--quiet")
    assert done.code == 0, done.err


# ------------------------------------------------------------------------ T41: memory

WIDE = ("architecture={name: mlp, hidden: [4096]}", "dataset.points=40000", "batch_size=full", "epochs=2")


@pytest.mark.row("T41")
def test_a_batch_that_does_not_fit_is_said_with_a_smaller_one(
    fault: Any, dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    with little_memory():
        done = dlrun("train", tiny, *WIDE, "--quiet")
    assert_error(done.err)
    assert done.code == 1, done.err
    assert "out of memory at batch_size 120000" in done.err
    assert "try micro_batch=60000" in done.err
    run = only_run(runs_dir)
    assert f"resume: dlrun resume {run.folder}" in done.err
    assert run.summary()["status"] == "failed"
    saved = load_checkpoint(run.last)
    fault.count(without_memory=1)
    fault.never(wrong=saved.state["epoch"] != 0)


TEXTS = {
    "cpu": "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 1966080000 bytes. Error code 12 (Cannot allocate memory)",
    "cuda": "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 78 GiB",
    "mps": "MPS backend out of memory (MPS allocated: 17 GB, other allocations: 1 GB, max allowed: 18 GB)",
    "python": "",
}


@pytest.mark.row("T41")
@pytest.mark.parametrize("device", TEXTS)
@pytest.mark.parametrize("when", ["training", "evaluating"])
def test_whoever_has_no_memory_left_it_is_said_alike(
    fault: Any,
    dlrun: Dlrun,
    tiny: Path,
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_always: None,
    device: str,
    when: str,
) -> None:
    part: Any = ClosedForm if when == "training" else Apart
    text, real, calls = TEXTS[device], part.forward, 0
    error = MemoryError() if device == "python" else RuntimeError(text)
    if device == "cuda":
        error = torch.OutOfMemoryError(text)

    def failing(self: Any, inputs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > (3 if when == "training" else 1):  # in the second epoch
            raise error
        return real(self, inputs)

    monkeypatch.setattr(part, "forward", failing)
    done = dlrun("train", tiny, "--quiet")
    assert_error(done.err)
    assert done.code == 1, done.err
    wanted = (
        "out of memory at batch_size 32"
        if when == "training"
        else "out of memory while a single example is evaluated"
    )
    assert wanted in done.err
    saved = load_checkpoint(only_run(runs_dir).last)
    fault.count(without_memory=1)
    fault.never(lost=1 - saved.state["epoch"])


@pytest.mark.row("T41")
def test_no_memory_before_the_run_begins_is_said_too(
    fault: Any, dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("dlrun.data.loaded.InMemory.__init__", failing)
    done = dlrun("train", tiny, "--quiet")
    assert_error(done.err)
    fault.count(without_memory=1)
    assert done.code == 1
    assert "out of memory" in done.err
    assert not runs_dir.exists()


def test_other_mistakes_are_not_taken_for_it(
    dlrun: Dlrun, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("dlrun.data.loaded.InMemory.__init__", failing)
    done = dlrun("train", tiny)
    assert done.code == 1
    assert "RuntimeError: a mistake" in done.err
    assert "out of memory" not in done.err
