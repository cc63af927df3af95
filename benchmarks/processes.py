"""Contestants as processes: run in turn, timed and weighed from outside."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Timer
from time import perf_counter
from typing import Any

from benchmarks.measured import PROJECT, counted
from benchmarks.noise import FIXED_WORK, fixed_work

PATIENCE = 900.0  # seconds after which a contestant is given up
Figures = dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """A process that ran to its end: lines of stdout, each with the second at which it came.

    `seconds` from start to end, `processor` those of all its processes, `peak` the most memory it held, in
    bytes.
    """

    lines: list[tuple[float, str]]
    seconds: float
    processor: float
    peak: int
    errors: str


def run(words: Sequence[str], *, exit_code: int = 0) -> Finished:
    """Run a command to its end. Raises RuntimeError where it ends otherwise than with `exit_code`."""
    with TemporaryFile("w+", encoding="utf-8") as errors:
        started = perf_counter()
        process = subprocess.Popen(
            words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8"
        )
        giving_up = Timer(PATIENCE, process.kill)
        giving_up.start()
        assert process.stdout is not None
        lines = [(perf_counter() - started, line.rstrip("\n")) for line in process.stdout]
        process.stdout.close()
        _, status, used = os.wait4(process.pid, 0)  # the only call that tells one process's memory
        seconds = perf_counter() - started
        giving_up.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read()
    if process.returncode != exit_code:
        said = said if len(said) < 8000 else f"{said[:4000]}\n…\n{said[-4000:]}"  # a launcher speaks last
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{said}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Finished(lines, seconds, used.ru_utime + used.ru_stime, peak, said)


def contestant(name: str, *words: str, processes: int = 1) -> Figures:
    """Run one of benchmarks/contestants: the figures it reports, and those taken from outside.

    Several processes of it are started by torchrun.
    """
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"] if processes > 1 else []
    done = run([sys.executable, *torchrun, "-m", f"benchmarks.contestants.{name}", *words])
    reported: Figures = json.loads(done.lines[-1][1])
    outside = {"process_seconds": done.seconds, "process_processor": done.processor, "peak": done.peak}
    return reported | outside


def dlrun(*words: str, exit_code: int = 0) -> Finished:
    """Run a command of dlrun."""
    return run([sys.executable, "-m", "dlrun", *words], exit_code=exit_code)


def train(*words: str, exit_code: int = 0) -> Figures:
    """Train with dlrun as a user does, into a pipe, in a folder that is gone afterwards.

    `loop_seconds` are those of the loop with its rows, saves and table, `row_seconds` for each epoch those
    that its row records: training alone. `wall` is the time of an epoch, as the lines of the pipe come.
    """
    with TemporaryDirectory() as runs:
        done = dlrun("train", *words, "--runs-dir", runs, exit_code=exit_code)
        [folder] = Path(runs).iterdir()
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        checkpoint = (folder / "checkpoints" / "last.pt").stat().st_size
    return {
        "process_seconds": done.seconds,
        "process_processor": done.processor,
        "peak": done.peak,
        "loop_seconds": summary["seconds"],
        "row_seconds": [float(row["seconds"]) for row in rows],
        "wall": wall(done.lines),
        "losses": [float(row["train_loss"]) for row in rows],
        "test_accuracies": [float(row["test_accuracy"]) for row in rows if row.get("test_accuracy")],
        "threads": summary["threads"],
        "checkpoint": checkpoint,
    }


def epochs_seen(lines: Sequence[tuple[float, str]]) -> list[tuple[float, int]]:
    """When a reader of the table saw which epoch: (seconds, epoch) of its lines."""
    return [
        (at, int(line.split()[1].split("/")[0])) for at, line in lines if re.match(r"epoch \d+/\d+ ", line)
    ]


def wall(lines: Sequence[tuple[float, str]]) -> float | None:
    """Seconds per epoch between the lines of the first and the last epoch.

    None where the first one has no line: epochs of less than a quarter of a second come several to a line,
    which then says nothing of when they ended.
    """
    seen = epochs_seen(lines)
    if len(seen) < 2 or seen[0][1] != 1:
        return None
    (began, first), (ended, last) = seen[0], seen[-1]
    return (ended - began) / (last - first)


def knows(config: str, *overrides: str) -> bool:
    """True if dlrun accepts the config with these KEY=VALUE arguments."""
    words = [sys.executable, "-m", "dlrun", "show", config, *overrides]
    return subprocess.run(words, cwd=PROJECT, capture_output=True).returncode == 0


def in_turn(contestants: Mapping[str, Callable[[], Figures]], rounds: int) -> Iterator[dict[str, Figures]]:
    """The figures of all contestants, round by round, there and back: A B C, C B A, …

    A machine that becomes slower while it is measured then favours nobody.
    """
    for number in range(1, rounds + 1):
        print(f"  round {number} of {rounds}", end="", flush=True)
        found = {}
        for name, compete in list(contestants.items())[:: 1 if number % 2 else -1]:
            print(f", {name}", end="", flush=True)
            noise = fixed_work()
            found[name] = compete() | {FIXED_WORK: noise}
        print(flush=True)
        yield found


def ratios(measured: Figures, over: str, under: str, figure: str) -> list[float]:
    """A figure of one contestant by that of another, in each round that has both."""
    return [
        found[over][figure] / found[under][figure]
        for found in measured["rounds"]
        if over in found and under in found
    ]


def figures(measured: Figures, name: str, figure: str) -> list[float]:
    """A figure of one contestant in each round that has it."""
    return [found[name][figure] for found in measured["rounds"] if name in found]


def middle(measured: Figures, name: str, figure: str) -> float:
    """The median of a figure of one contestant over the rounds."""
    return median(figures(measured, name, figure))


def present(measured: Figures, names: Mapping[str, str]) -> dict[str, str]:
    """Those of the contestants that were there in any round, with their titles."""
    there = {name for found in measured["rounds"] for name in found}
    return {name: title for name, title in names.items() if name in there}


def rounds_of(measured: Figures) -> str:
    """`5 rounds`, as many as were measured."""
    return counted(len(measured["rounds"]), "round")
