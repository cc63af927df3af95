"""A process that trains one run after another gives each what it would get alone, and ends by itself."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL, contents, own_parts, timeless

from dlrun.config.dumping import dump_config
from dlrun.config.loading import config_from_plain, load_config
from dlrun.config.registry import Parts
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.run import Run
from dlrun.sweeps.messages import Message
from dlrun.sweeps.worker_process import RUNGS, Reporter, RunTrainer
from dlrun.sweeps.workers import Workers
from dlrun.training import experiment
from dlrun.training.experiment import train_run
from dlrun.training.plan_making import make_plan
from dlrun.training.views import HiddenTraining

COUNTED = '''
"""Points whose reading is written down."""
import torch
from dlrun.data.examples import Data, Examples
from dlrun.config.options import Count


def counted(root, *, points: Count = 40):
    """Three classes of points."""
    notes = []

    def read():
        with (root / "reads").open("a") as file:
            file.write("x")
        notes.append("they were read")
        stream = torch.Generator().manual_seed(points)
        targets = torch.arange(points) % 3
        return {"train": Examples(torch.randn(points, 2, generator=stream) + targets[:, None], targets)}

    return Data("classification", (2,), read, classes=("a", "b", "c"), splits=("train",), notes=notes)
'''


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return own_parts(tmp_path, {"dataset/counted.py": COUNTED})


@pytest.fixture
def make(parts: Parts, tmp_path: Path) -> Callable[..., Run]:
    """make(points, seed, …) is the folder of a run that has not begun."""

    def made(points: int, seed: int, **changes: Any) -> Run:
        plain = SMALL | {"dataset": {"name": "counted", "points": points}, "seeds": [seed]} | changes
        config = config_from_plain(plain, "small.yaml", parts=parts)
        return create_run(tmp_path / "runs", "small", dump_config(config))

    return made


def reads(data_dir: Path) -> int:
    return len((data_dir / "reads").read_text())


class Heard:
    """The end of a connection that keeps what it is sent."""

    def __init__(self) -> None:
        self.said: list[Message] = []

    def send(self, message: Message) -> None:
        self.said.append(message)


@pytest.mark.parametrize("epochs", [3, 10, 25])
def test_at_the_end_of_each_tenth_there_is_a_word(
    make: Callable[..., Run], parts: Parts, tmp_path: Path, epochs: int
) -> None:
    heard: Any = Heard()
    RunTrainer(parts, tmp_path).of(
        make(40, 0, epochs=epochs).folder, Reporter(heard, "best.train_accuracy", threading.Event())
    )
    rungs = {word.rung: word.epoch for word in heard.said if word.rung}
    assert len(rungs) == min(RUNGS, epochs)
    assert all(epoch >= rung / RUNGS * epochs > epoch - 1 for rung, epoch in rungs.items())
    assert rungs[RUNGS] == epochs


@pytest.mark.parametrize("metric", ["best.train_loss", "train_loss", "seconds"])
def test_the_figure_is_what_the_run_would_be_ranked_by_if_it_ended(
    make: Callable[..., Run], parts: Parts, tmp_path: Path, metric: str
) -> None:
    run = make(40, 0, epochs=6, optimizer={"name": "sgd", "lr": 3.0}, monitor="train_accuracy")
    training, heard = RunTrainer(parts, tmp_path), Heard()
    plan = make_plan(load_config(run.config, [], parts), parts, tmp_path)
    train_run(plan, run, HiddenTraining(), stop_after=4)
    best = run.summary()["best"]["figures"]["train_loss"]["mean"]
    training.of(run.folder, Reporter(heard, metric, threading.Event()))  # type: ignore[arg-type]
    begun, *_, last = [message for message in heard.said if message.kind != "end"]
    column = run.rows()["train_loss"]
    ended = run.summary()["best"]["figures"]["train_loss"]["mean"]
    assert min(column) != column[-1] != ended  # it does not fall all the way
    expected = {"best.train_loss": (best, ended), "train_loss": (None, column[-1]), "seconds": (None, None)}
    assert (begun.figure, last.figure) == expected[metric]


def test_a_worker_that_is_killed_with_nothing_to_do_is_replaced(
    make: Callable[..., Run], parts: Parts, tmp_path: Path
) -> None:
    first, second = (make(40, seed).folder for seed in (0, 1))

    def trained(folder: Path) -> Message:
        workers.train(folder)
        while True:
            for word in workers.messages(1.0):
                if word.kind in ("end", "lost"):
                    return word

    with Workers(1, tmp_path / "workers.log", "best.train_loss", parts.folder, tmp_path) as workers:
        assert trained(first).exit_code == 0
        [process] = workers._all.values()
        process.kill()
        process.join()
        assert trained(second).exit_code == 0


def test_data_are_read_again_only_where_they_are_others(
    make: Callable[..., Run], parts: Parts, tmp_path: Path
) -> None:
    training = RunTrainer(parts, tmp_path)
    same, bare = [make(40, seed) for seed in (0, 1)], HiddenTraining()
    for run in same:
        assert training.of(run.folder, bare).exit_code == 0
    assert reads(tmp_path) == 1
    for run in same:
        plan = make_plan(load_config(run.config, [], parts), parts, tmp_path)
        alone = create_run(tmp_path / "alone", "small", run.config.read_text())
        train_run(plan, alone, bare)
        assert timeless(alone.rows()) == timeless(run.rows())
        assert "they were read" in (run.folder / "log.txt").read_text()
    before = reads(tmp_path)
    for points, seed in ((41, 0), (40, 2)):  # the last ones alone are kept
        assert training.of(make(points, seed).folder, bare).exit_code == 0
    assert reads(tmp_path) == before + 2


def test_a_run_that_goes_on_reads_its_data_as_its_checkpoint_says(
    make: Callable[..., Run], parts: Parts, tmp_path: Path
) -> None:
    run, training = make(40, 0), RunTrainer(parts, tmp_path)
    plan = make_plan(load_config(run.config, [], parts), parts, tmp_path)
    train_run(plan, run, HiddenTraining(), stop_after=1)
    training.of(make(40, 1).folder, HiddenTraining())
    before = reads(tmp_path)
    assert training.of(run.folder, HiddenTraining()).exit_code == 0
    assert reads(tmp_path) == before + 1


def test_what_goes_wrong_is_told_and_the_next_run_is_trained(
    make: Callable[..., Run], parts: Parts, tmp_path: Path
) -> None:
    training, broken, lost = RunTrainer(parts, tmp_path), make(40, 0), make(40, 1)
    broken.config.write_text("epochs: 3\n")
    lost.config.unlink()
    word = training.of(broken.folder, HiddenTraining())
    assert (word.kind, word.exit_code) == ("end", 2)
    assert "mistakes" in word.lines[0]
    assert training.of(lost.folder, HiddenTraining()).exit_code == 2
    diverging = make(40, 2, optimizer={"name": "sgd", "lr": 1e38})
    word = training.of(diverging.folder, HiddenTraining())
    assert (word.exit_code, diverging.summary()["status"]) == (3, "diverged")
    assert training.of(make(40, 3).folder, HiddenTraining()).exit_code == 0


def test_what_nobody_foresaw_is_told_in_five_lines(
    make: Callable[..., Run], parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(experiment, "train_run", broken)
    run = make(40, 0)
    word = RunTrainer(parts, tmp_path).of(run.folder, HiddenTraining())
    assert word.exit_code == 1
    assert "ZeroDivisionError: a mistake of ours" in word.lines[0]
    assert len(word.lines) <= 5


def test_a_signal_for_all_processes_of_a_terminal_is_none_for_the_server() -> None:
    """Only those are signalled that have a run to save."""
    code = """
import os, signal
from multiprocessing import forkserver
from dlrun.sweeps.workers import start_server
start_server()
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
pid = forkserver._forkserver._forkserver_pid
print(open(f"/proc/{pid}/status").read())
os.kill(pid, signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own, status = done.stdout.split("\n", 1)
    blocked = int(re.findall(r"SigBlk:\t([0-9a-f]+)", status)[0], 16)
    assert own == "set()"
    assert all(blocked >> (number - 1) & 1 for number in (1, 2, 15))


def test_only_the_parent_of_a_worker_imports_no_torch() -> None:
    """So that the server imports it while the command reads the config."""
    names = "dlrun.sweeps.workers, dlrun.sweeps.grid, dlrun.run_folders.sweep_folder"
    code = f"import sys, {names}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_run_that_is_complete_is_left_as_it_is(
    make: Callable[..., Run], parts: Parts, tmp_path: Path
) -> None:
    run, training = make(40, 0), RunTrainer(parts, tmp_path)
    training.of(run.folder, HiddenTraining())
    before = contents(run.folder)
    assert training.of(run.folder, HiddenTraining()).exit_code == 0
    assert contents(run.folder) == before
