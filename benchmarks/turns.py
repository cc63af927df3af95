"""Contestants that take turns, an epoch each: what slows the machine for a second then slows them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from random import Random
from statistics import median
from tempfile import TemporaryFile
from threading import Timer
from time import perf_counter
from typing import IO

from benchmarks.contestants._report import TURNS, WAITING, WARM_UP
from benchmarks.measured import PROJECT
from benchmarks.noise import FIXED_WORK, fixed_work
from benchmarks.processes import PATIENCE, Figures


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
        self._errors, self._last_line = errors, ""
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
        """Let it run to its end, and return the report in its last line."""
        while self._process.poll() is None:
            self.turn()
        return json.loads(self._last_line)  # type: ignore[no-any-return]

    def _until_it_waits(self) -> None:
        assert self._process.stdout is not None
        giving_up = Timer(PATIENCE, self._process.kill)
        giving_up.start()
        try:
            for line in self._process.stdout:
                if line.rstrip("\n") == WAITING:
                    return
                self._last_line = line
            code = self._process.wait()
        finally:
            giving_up.cancel()
        if code:
            self._errors.seek(0)
            raise RuntimeError(f"{self._process.args} ended with {code}:\n{self._errors.read()}")


def by_turns(
    contestants: Mapping[str, Sequence[str]], epochs: int, rounds: int
) -> Iterator[dict[str, Figures]]:
    """The reports of all contestants, round by round; `whole` are the median seconds of an epoch.

    Contestants are modules and their arguments, of which each trains so many epochs; the first ones are no
    part of the median. In each epoch the turns come in another random order, always the same ones, so that
    none has its turn behind the same one, or behind its own, more often than others.
    """
    order = Random(0)
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
                for name in order.sample(list(there), len(there)):
                    if epoch == WARM_UP:
                        noise[name] = fixed_work()
                    seconds[name].append(there[name].turn())
            yield {
                name: each.report() | {"whole": median(seconds[name][WARM_UP:]), FIXED_WORK: noise[name]}
                for name, each in there.items()
            }
