"""TrainingDisplay: the live table and progress bar of a run in training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dlrun.run_folders.run import Run
    from dlrun.training.plan import Plan
    from dlrun.training.recipe import Row
    from dlrun.training.state import State
from dlrun.config.keys import AVERAGED
from dlrun.console.layout import plain_table
from dlrun.console.model import print_weights
from dlrun.console.numbers import compact, duration, number, of_seeds, said_trainset
from dlrun.console.streams import can_redraw, clean, out, print_line, print_warning
from dlrun.training.best import said_best

REFRESH = 0.25  # seconds between refreshes of the live view, at least
REFRESH_SHARE = 40  # and at least this multiple of the last refresh's duration
LINE_EVERY = 1.0  # seconds between the lines of a run without a terminal
PROGRESS_EVERY = 30.0  # seconds without a line after which one says how far the epoch is
MOST_ROWS = 200  # epochs kept for the table, more than a terminal shows at once
STEPS = [d * 10**n for n in range(9) for d in (1, 5)]  # 1, 5, 10, 50, …: each divides the next


class TrainingDisplay:
    """The display of a run in training: a table of epochs that stays on screen, and a progress bar.

    Without a terminal it prints plain lines, at most one a second, and in a long epoch one every half minute
    that says how far it is. To report to a tracker too, implement the
    same methods (dlrun.training.views.TrainingView).
    """

    def __init__(self) -> None:
        self.console = out()
        self._live: Live | None = None
        self._rows: dict[int, Row] = {}  # the epochs that may be shown, thinned as they become many
        self._every = 1
        self._best: tuple[int, Row] | None = None
        self._last: tuple[int, Row] | None = None
        self._next = self._examples = 0.0
        self._step = 0
        self._seeds = 1

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None:
        self.steps, self.epochs = steps, plan.config.epochs
        self.with_rate = plan.rate_depends_on_length
        self._epoch, self._step = state.epoch, state.step
        self._first = state.epoch + state.step / max(steps, 1)
        self.columns = plan.recipe.columns()
        self._said_best = said_best(plan.monitor, with_column=True)
        self._started = time.monotonic()
        layers = plan.layers
        seeds = plan.config.seeds
        self._seeds = len(seeds)
        about = f"{run.folder}: {plan.dataset_said}, {plan.config.architecture.name}"
        frozen = f" ({plan.recipe.freezing})" if plan.recipe.freezing.weights else ""
        about += (
            f" with {layers.parameters:,} parameters{frozen}, {plan.config.optimizer.name}, {plan.device}"
        )
        about += f", average {plan.config.average.name}" if plan.recipe.averaging.share else ""
        about += f", {len(seeds)} seeds" if len(seeds) > 1 else f", seed {seeds[0]}"
        has_begun = bool(state.epoch or state.step)
        about += f", from epoch {state.epoch + 1}" if has_begun else ""
        about += f", step {state.step + 1:,} of {steps:,}" if state.step else ""
        findings = [] if has_begun else plan.data.findings
        for line in (about, *findings):
            self.console.print(Text(clean(line)), soft_wrap=not self.console.is_terminal)
        summary = {} if has_begun else run.summary()
        if summary.get("weights") and not summary.get("resumed"):
            print_weights(summary["weights"])
        if can_redraw(self.console) and state.epoch < self.epochs:
            self._live = Live(self._picture(), console=self.console, auto_refresh=False, transient=False)
            self._live.start()
        self._next = time.monotonic() + REFRESH
        self._next_progress = time.monotonic() + PROGRESS_EVERY

    def tick(self, examples: int) -> None:
        self._examples += examples
        self._step += 1
        if time.monotonic() >= self._next:
            self._refresh()

    def row(self, epoch: int, row: Row, best: bool) -> None:
        self._epoch, self._step = epoch, 0
        self._last = (epoch, row)
        if best and self._seeds == 1:  # several seeds each have a best epoch
            self._best = (epoch, row)
        if epoch % self._every == 0:
            self._rows[epoch] = row
            if len(self._rows) > MOST_ROWS:
                self._every = next(step for step in STEPS if step > self._every)
                self._rows = {e: r for e, r in self._rows.items() if e % self._every == 0}
        if time.monotonic() >= self._next:
            self._refresh()

    def warn(self, text: str) -> None:
        print_warning(text, self.console)

    def end(self) -> None:
        if self._live:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()
            self._live = None
        elif self._last and not can_redraw(self.console):
            self._line()

    def _refresh(self) -> None:
        started = time.monotonic()
        if self._live:
            self._live.update(self._picture(), refresh=True)
            self._next = started + max(REFRESH, REFRESH_SHARE * (time.monotonic() - started))
            return
        if self._last:
            self._line()
        elif started >= self._next_progress and self._step and not can_redraw(self.console):
            self._say_progress()
        else:
            return
        self._next, self._next_progress = started + LINE_EVERY, started + PROGRESS_EVERY

    def _say_progress(self) -> None:
        """Print how far the epoch is, and the time left."""
        _, elapsed, left = self._times()
        step = f"epoch {self._epoch + 1}/{self.epochs}  step {self._step:,.0f} of {self.steps:,}"
        print_line(f"{step}  {duration(elapsed)}, about {duration(left)} left", self.console)

    def _line(self) -> None:
        assert self._last is not None
        epoch, row = self._last
        seeds = len(row["lr"])
        left = f" ({seeds} of {self._seeds} seeds)" if seeds < self._seeds else ""
        figures = "  ".join(f"{column} {of_seeds(row[column])}" for column in self.columns if column in row)
        print_line(f"epoch {epoch}/{self.epochs}{left}  {figures}", self.console)
        self._last = None

    def _picture(self) -> Group:
        height = self.console.size.height
        said = [f"★ {self._said_best}" if self._best else "", said_trainset(self.columns)]
        legend = [Text(clean(line), no_wrap=True, overflow="ellipsis") for line in said if line]
        # Lines left by the table's head, the legend, the bar and what surrounds them.
        room = max(3, height - 8 - len(legend))
        best = self._best[0] if self._best else None
        table = epochs_table(self.columns, self._shown(room), best, self.with_rate, self.console.width)
        return Group(table, *legend, self._bar())

    def _shown(self, room: int) -> dict[int, Row]:
        """The epochs in the table: evenly spaced ones, the best and the last."""
        for every in STEPS:
            shown = {epoch: row for epoch, row in self._rows.items() if epoch % every == 0}
            if len(shown) <= room - 2:
                break
        for extra in (self._best, self._last):
            if extra:
                shown[extra[0]] = extra[1]
        return dict(sorted(shown.items()))

    def _times(self) -> tuple[float, float, float]:
        """The epochs done, with a fraction, the seconds since the start, and those left; 0 if not known."""
        done = self._epoch + self._step / max(self.steps, 1)
        elapsed = time.monotonic() - self._started
        here = done - self._first
        return done, elapsed, elapsed / here * (self.epochs - done) if here > 0 else 0.0

    def _bar(self) -> Table:
        done, elapsed, left = self._times()
        line = Table.grid(padding=(0, 2))
        line.add_row(
            f"epoch {self._epoch}/{self.epochs}",
            ProgressBar(total=self.epochs, completed=done, width=20),
            duration(elapsed),
            f"{duration(left)} left" if left else "",
            f"{compact(self._examples / elapsed)} samples/s" if elapsed > 0 else "",
        )
        return line


def epochs_table(
    columns: Sequence[str], rows: Mapping[int, Row], best: int | None, with_rate: bool, width: int
) -> Table:
    """A table with a row of figures for each epoch; the best epoch is marked.

    If the width is too small, it leaves out the duration, then the learning rate, then the standard
    deviations, and finally all but four digits of each figure.
    """
    several = any(len(values) > 1 for row in rows.values() for values in row.values())
    marked = len("★ ") + max([5, *(len(str(epoch)) for epoch in rows)])
    cell, first = 17 if several else 10, marked + 2
    shown = list(columns)
    for extra in ["lr"] * with_rate + ["seconds"]:
        if first + cell * len(columns) + 10 * (len(shown) - len(columns) + 1) <= width:
            shown.append(extra)
    with_spread = first + cell * len(columns) <= width
    whole = first + 10 * len(columns) <= width
    counts = {len(values) for row in rows.values() for values in row.values()}
    caption = "means over seeds" if several and not with_spread else None
    if len(counts) > 1:
        caption = "means over the seeds that have not stopped early"
    table = plain_table(caption=caption)
    headings = [_heading(column) for column in ("epoch", *shown)]
    lines = max(heading.count("\n") for heading in headings)
    headings = ["\n" * (lines - heading.count("\n")) + heading for heading in headings]
    table.add_column(headings[0], justify="right", no_wrap=True, min_width=marked)
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for epoch, row in rows.items():
        cells = []
        for column in shown:
            values = row.get(column, [])
            alone = column in ("lr", "seconds") or not with_spread
            if values and not whole and abs(fmean(values)) >= 10:
                cells.append(f"{fmean(values):.4g}")
            elif values and column == "seconds" and 5e-5 <= fmean(values) < 1e3:
                cells.append(f"{fmean(values):.4f}")  # short epochs have as many decimals as longer ones
            else:
                cells.append(number(fmean(values)) if alone and values else of_seeds(values))
        mark, style = ("★ ", "bold") if epoch == best else ("", "")
        table.add_row(f"{mark}{epoch}", *cells, style=style)
    return table


def _heading(column: str) -> str:
    """A column's name in lines: its split, its figure, and `average` for that of averaged weights."""
    split, _, figure = column.partition("_")
    of_average = figure.endswith(AVERAGED)
    return "\n".join(filter(None, [split, figure.removesuffix(AVERAGED), AVERAGED[1:] * of_average]))
