"""Contestants that take turns, an epoch each: what slows the machine for a second then slows them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from tempfile import TemporaryFile
from threading import Timer
from time import perf_counter
from typing import IO

from benchmarks.contestants._report import TURNS, WAITING
from benchmarks.measured import PROJECT
from benchmarks.noise import FIXED_WORK, fixed_work
from benchmarks.processes import PATIENCE, Figures

_WARM_UP = 1  # first turns, and last ones, which hold the start and the end of a process


class Contestant:
    """A process that waits before each epoch until it has its turn."""

    def __init__(self, words: Sequence[str], errors: IO[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=PROJECT,
            env=os.environ | {TURNS: "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        self._errors, self._said = errors, ""  # its last line
        self._until_it_waits()

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def turn(self) -> float:
        """Let it run until it waits again or has ended; the seconds that this took."""
        assert self._process.stdin is not None
        started = perf_counter()
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._until_it_waits()
        return perf_counter() - started

    def report(self) -> Figures:
        """Let it run to its end; what it says last."""
        while self._process.poll() is None:
            self.turn()
        return json.loads(self._said)  # type: ignore[no-any-return]

    def _until_it_waits(self) -> None:
        assert self._process.stdout is not None
        giving_up = Timer(PATIENCE, self._process.kill)
        giving_up.start()
        for line in self._process.stdout:
            if line.rstrip("\n") == WAITING:
                break
            self._said = line
        else:
            if self._process.wait():
                self._errors.seek(0)
                raise RuntimeError(f"{self._process.args} ended with:\n{self._errors.read()}")
        giving_up.cancel()


def by_turns(
    contestants: Mapping[str, Sequence[str]], epochs: int, rounds: int
) -> Iterator[dict[str, Figures]]:
    """What each contestant reports, round by round; `whole` are the median seconds of its epochs.

    They are modules and their arguments, of which each trains so many epochs. The turns go there and back:
    A B C, C B A, …
    """
    for number in range(1, rounds + 1):
        print(f"  round {number} of {rounds}, by turns: {', '.join(contestants)}", flush=True)
        with ExitStack() as stack:
            there = {
                name: stack.enter_context(
                    Contestant(words, stack.enter_context(TemporaryFile("w+", encoding="utf-8")))
                )
                for name, words in contestants.items()
            }
            noise, seconds = dict[str, float](), {name: list[float]() for name in there}
            for epoch in range(epochs):
                for name in list(there)[:: 1 if epoch % 2 else -1]:
                    if epoch == _WARM_UP:
                        noise[name] = fixed_work()
                    seconds[name].append(there[name].turn())
            yield {
                name: each.report()
                | {"whole": median(seconds[name][_WARM_UP:-_WARM_UP]), FIXED_WORK: noise[name]}
                for name, each in there.items()
            }
