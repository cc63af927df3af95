"""SweepDisplay: the live table and progress bar of a sweep in training."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dlrun.run_folders.run import DONE

if TYPE_CHECKING:
    from dlrun.run_folders.sweep_folder import Sweep
    from dlrun.sweeps.views import RunProgress
from dlrun.console.layout import headings, plain_table
from dlrun.console.numbers import duration, number, of_seeds, short_text
from dlrun.console.streams import can_redraw, clean, out, print_line, print_warning
from dlrun.console.training_view import REFRESH, REFRESH_SHARE


class SweepDisplay:
    """The display of a sweep in training: a row for each setting, and a progress bar.

    Without a terminal it prints a line for each run that ends.
    """

    def __init__(self) -> None:
        self.console = out()
        self._live: Live | None = None
        self._next = 0.0

    def begin(self, sweep: Sweep, progress: Sequence[RunProgress], jobs: int, cards: int) -> None:
        self._all, self._started, self._metric = progress, time.monotonic(), sweep.metric
        self._before = sum(map(_share_done, progress))
        self._count = sweep.wanted  # settings in a search
        left = sum(each.status == "waiting" for each in progress)
        what = (
            f"a search of {self._count} settings"
            if self._count
            else f"{len(progress)} run{'s' * (len(progress) != 1)}"
        )
        words = (
            f"{sweep.folder}: {what}, {left} to train"
            if left or not self._count
            else f"{sweep.folder}: {what}"
        )
        print_line(f"{words}, {jobs} at a time{f' on {cards} GPUs' if cards > 1 else ''}", self.console)
        if can_redraw(self.console) and (left or self._count):
            self._live = Live(self._picture(), console=self.console, auto_refresh=False, transient=True)
            self._live.start()

    def ended(self, progress: RunProgress) -> None:
        done = sum(each.status not in ("waiting", "training", "interrupted") for each in self._all)
        figure = f", {self._metric} {number(progress.figure)}" if progress.figure is not None else ""
        at = f" at epoch {progress.epoch}/{progress.epochs}" if progress.status == "interrupted" else ""
        line = f"{progress.trial.run.name} {progress.status}{at}{figure}: {done}/{self._expected()} runs"
        if not self._live:
            print_line(line, self.console)

    def warn(self, text: str) -> None:
        print_warning(text, self.console)

    def refresh(self) -> None:
        if self._live and time.monotonic() >= self._next:
            started = time.monotonic()
            self._live.update(self._picture(), refresh=True)
            self._next = started + max(REFRESH, REFRESH_SHARE * (time.monotonic() - started))

    def end(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _picture(self) -> Group:
        settings: dict[str, list[RunProgress]] = {}
        for each in self._all:
            settings.setdefault(repr((each.trial.number, each.trial.values)), []).append(each)
        rows = list(settings.values())
        room = max(1, self.console.size.height - 8)  # lines left by head, caption and bar
        first = 0
        if len(rows) > room:  # show those in training and their neighbours
            first = next((i for i, runs in enumerate(rows) if _is_open(runs)), len(rows) - room)
            first = max(0, min(first - room // 3, len(rows) - room))
        shown = rows[first : first + room]
        caption = f"settings {first + 1} to {first + len(shown)} of {len(rows)}" if shown != rows else None
        table = plain_table(caption=caption)
        keys = list(shown[0][0].trial.values) if shown else []
        most = max(6, (self.console.width - 48) // max(1, len(keys)))  # width left for each key
        heads = headings([*keys, "runs", "epoch", self._metric])
        for head in heads[: len(keys)]:
            table.add_column(Text(head), no_wrap=True, overflow="ellipsis", max_width=most)
        for head in heads[len(keys) :]:
            table.add_column(Text(head), justify="right", no_wrap=True)
        for runs in shown:
            table.add_row(
                *(Text(clean(short_text(value))) for value in runs[0].trial.values.values()),
                counted(runs, ""),
                _epochs([each for each in runs if each.status == "training"]),
                of_seeds([each.figure for each in runs if each.figure is not None]),
                style="bold" if any(each.status == "training" for each in runs) else "",
            )
        return Group(*([table] if shown else []), self._bar())

    def _expected(self) -> int:
        """The total number of runs, including those of settings not drawn yet."""
        drawn = len({each.trial.number for each in self._all})
        return round(len(self._all) / drawn * max(drawn, self._count)) if drawn else 0

    def _bar(self) -> Table:
        done, count = sum(map(_share_done, self._all)), self._expected()
        elapsed = time.monotonic() - self._started
        left = elapsed / (done - self._before) * (count - done) if done > self._before else None
        line = Table.grid(padding=(0, 2))
        line.add_row(
            counted(self._all, " runs", count),
            ProgressBar(total=count, completed=done, width=20),
            duration(elapsed),
            f"{duration(left)} left" if left else "",
        )
        return line


def _share_done(progress: RunProgress) -> float:
    if progress.status in ("waiting", "training", "interrupted"):
        return progress.epoch / max(1, progress.epochs)
    return 1.0


def _is_open(runs: Iterable[RunProgress]) -> bool:
    return any(each.status in ("waiting", "training") for each in runs)


def _epochs(training: Sequence[RunProgress]) -> str:
    """The epochs of the runs in training: `120/300`, of several `120, 80/300`."""
    known = [each for each in training if each.epochs]
    if not known:
        return ""
    done = sorted({each.epoch for each in known}, reverse=True)
    words = ", ".join(map(str, done)) if len(done) <= 2 else f"{done[-1]} to {done[0]}"
    return f"{words}/{known[0].epochs}"


def counted(runs: Sequence[RunProgress], what: str = " runs are done", of: int | None = None) -> str:
    """The numbers of completed, pruned and failed runs: `3/8 runs, 1 failed`."""
    done = sum(each.status in DONE for each in runs)
    words = [f"{done}/{of or len(runs)}{what}"]
    for name, statuses in (
        ("given up", ["given up"]),
        ("diverged", ["diverged"]),
        ("failed", ["failed", "broken"]),
    ):
        count = sum(each.status in statuses for each in runs)
        words += [f"{count} {name}"] if count else []
    return ", ".join(words)
