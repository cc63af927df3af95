"""T42, T54: several processes train one run, and something happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from processes import PATIENCE, until
from small_runs import differences, far_figures, only_run, outcome, parts_in

from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.run import Run
from dlrun.system.processes import is_alive
from dlrun.training.checkpoint import load_checkpoint

PROJECT = Path(__file__).parents[2]
CONFIG = """
dataset: {name: spiral, points: 60}
architecture: {name: mlp, hidden: [6], dropout: 0.2}
loss: cross_entropy
optimizer: {name: adam, lr: 0.02}
augmentations: [faulty]
batch_size: 16
epochs: 8
seeds: [0, 3]
precision: float64
plots: []
"""
# It is called at every step of every process, which saves as often as it can.
FAULTY = '''
"""The fault that the environment names, at a step of a process."""
import os
import time

from dlrun.training import run_writer

run_writer.SAVE_EVERY = run_writer.SAVE_SHARE = run_writer.SAVE_STEP_EVERY = 0.0
steps = 0


def faulty(inputs, generator):
    """Leave the inputs as they are."""
    global steps
    steps += 1
    time.sleep(0.004)
    if os.environ.get("FAULT_AT") in (f"{os.environ.get('RANK')} {steps}", f"each {steps}"):
        exec(os.environ["FAULT"])
    return inputs
'''
FAULTS = {
    "killed": "os.kill(os.getpid(), 9)",
    "raises": "raise ValueError('a fault of its own')",
    "ends with 0": "os._exit(0)",
    "hangs": "time.sleep(1000)",
}


class Together:
    """The command line that starts several processes, whose processes have a mark in their environment."""

    def __init__(
        self, folder: Path, *words: object, before: tuple[str, ...] = (), **environment: str
    ) -> None:
        command = [*(before or (sys.executable,)), "-m", "dlrun", *map(str, words)]
        command += ["--runs-dir", str(folder / "runs"), "--parts", str(folder / "parts")]
        self.mark = f"TEST_MARK={uuid4()}".encode()
        self.process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=os.environ | environment | {"TEST_MARK": self.mark.decode().partition("=")[2]},
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def processes(self) -> dict[int, int | None]:
        """The ids of all processes that are alive, each with its rank; None for the launcher."""
        found = dict[int, int | None]()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (folder / "environ").read_bytes().split(b"\0")
                is_gone = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if self.mark in words and not is_gone:
                    ranks = [int(word[5:]) for word in words if word.startswith(b"RANK=")]
                    found[int(folder.name)] = ranks[0] if ranks else None
        return found

    def ranks(self) -> dict[int, int]:
        """The process ids of the ranks that are there."""
        return {rank: pid for pid, rank in self.processes().items() if rank is not None}

    def ended(self) -> tuple[int, str]:
        """The exit code and what was said on stderr, once it is over."""
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the config and the parts of these tests."""
    parts_in(tmp_path, {"augmentations/faulty.py": FAULTY})
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def place(run: Run) -> tuple[int, int]:
    """The epoch and the step within the next one that a run has saved."""
    found = [(-1, 0)]
    for path in (run.last, run.step):
        if path.exists():
            state = load_checkpoint(path).state
            found.append((state["epoch"], (state.get("within") or {}).get("step", 0)))
    return max(found)


def saves(folder: Path) -> list[int]:
    """The times of the last saves of all runs in a folder."""
    times = []
    for run in runs_in(folder):
        for path in (run.last, run.step):
            with suppress(OSError):
                times.append(path.stat().st_mtime_ns)
    return times


@pytest.mark.row("T42")
@pytest.mark.slow
@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_one_error_names_the_process_that_is_lost_and_the_run_goes_on(
    fault: Any, folder: Path, what: str, dlrun: Any
) -> None:
    for number in range(fault.times(1, 5)):
        (folder / "runs").mkdir(exist_ok=True)
        name, rank = f"{what.replace(' ', '-')}-{number}", number % 2
        step = fault.random.randint(2, 60)
        before = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2")
        words = ("train", folder / "c.yaml", "--name", name, "process_timeout=3s", "processes=2")
        together = Together(
            folder,
            *words,
            before=before if number == 4 else (),
            FAULT=FAULTS[what],
            FAULT_AT=f"{rank} {step}",
        )
        until(lambda: len(together.ranks()) == 2, lambda: together.process.poll() is None)  # noqa: B023
        ranks = together.ranks()
        began = time.monotonic()
        code, err = together.ended()
        print(what, rank, step, time.monotonic() - began, code, err)
        assert code != 0
        run = Run(folder / "runs" / f"{name}-001")
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        if number < 4:
            fault.said(err)
            assert len(errors) == 1, err
            assert f"process {rank} of 2" in errors[0] or "a fault of its own" in errors[0]
            assert "resume: dlrun resume" in err
        else:
            assert len(errors) <= 1, err  # torchrun's own lines follow
        until(lambda: not any(map(is_alive, ranks.values())))  # noqa: B023
        fault.count(ended=1)
        done = dlrun("resume", run.folder, "processes=1", "--parts", folder / "parts")
        fault.never(refused=done.code)
        assert run.summary()["status"] == "finished"


# The others wait for the first one, which computes, when the third is killed.
BUSY = "rank = os.environ['RANK']; rank == '2' and os.kill(os.getpid(), 9); rank == '0' and time.sleep(9)"


@pytest.mark.row("T42")
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_a_process_that_is_busy_is_not_taken_for_the_one_that_is_lost(fault: Any, folder: Path) -> None:
    words = ("train", folder / "c.yaml", "--name", "busy", "--processes", 3)
    code, err = Together(folder, *words, FAULT=BUSY, FAULT_AT="each 25").ended()
    fault.said(err)
    assert code == 1
    assert "error: process 2 of 3 has ended, in epoch " in err
    run = Run(folder / "runs" / "busy-001")
    assert run.summary()["status"] == "failed"
    assert "process 2 of 3 has ended" in (run.folder / "log.txt").read_text()
    fault.count(ended=1)


@pytest.fixture
def unbroken(folder: Path) -> Run:
    together = Together(folder, "train", folder / "c.yaml", "--name", "unbroken", "--processes", "2")
    assert together.ended() == (0, "")
    return only_run(folder / "runs")


VICTIMS = ("rank 0", "rank 1", "the launcher", "all")


@pytest.mark.row("T54")
@pytest.mark.slow
@pytest.mark.parametrize("others", [(2,), (1, 3, 2)], ids=["as many", "another number"])
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_killed_at_random_moments_it_goes_on_with_any_number(
    fault: Any, folder: Path, unbroken: Run, others: tuple[int, ...]
) -> None:
    wanted, kills, number = outcome(unbroken), fault.times(2, 25), 0
    while kills > 0:
        number += 1
        run, sizes = Run(folder / "runs" / f"x{number}-001"), endlessly(others)
        words: tuple[object, ...] = ("train", folder / "c.yaml", "--name", f"x{number}", "--processes", "2")
        while True:
            before, seen = place(run), saves(folder / "runs")
            together = Together(folder, *words)
            if kills > 0:
                if fault.random.random() < 0.8:
                    until(
                        lambda: saves(folder / "runs") != seen,  # noqa: B023
                        lambda: together.process.poll() is None,  # noqa: B023
                    )
                    time.sleep(fault.random.uniform(0, 0.4))
                else:
                    time.sleep(fault.random.uniform(0, 4))
                struck = strike(together, fault.random.choice(VICTIMS))
                kills -= struck
                fault.count(kills=struck)
            code, err = together.ended()
            until(lambda: not together.processes())  # noqa: B023
            fault.never(orphans=together.processes())
            fault.said(err)
            fault.never(refused=code == 4, lost=place(run) < before)
            if code == 0:
                break
            if run.folder.exists():
                words = ("resume", run.folder, "--processes", next(sizes))
        fault.count(runs=1)
        if others == (2,):
            fault.never(different=differences(wanted, outcome(run)))
        else:
            fault.never(different=far_figures(run, unbroken))


def endlessly(numbers: tuple[int, ...]) -> Iterator[int]:
    while True:
        yield from numbers


def strike(together: Together, victim: str) -> bool:
    """Kill one of those that train a run, if it is there, or all; return whether any was."""
    there = together.processes()
    names = {None: "the launcher"} | {rank: f"rank {rank}" for rank in range(3)}
    struck = [pid for pid, rank in there.items() if victim in ("all", names[rank])]
    for pid in struck:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(struck)
