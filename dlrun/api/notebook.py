"""Tables of a run and of a sweep in training, which a notebook updates in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from dlrun.console.numbers import duration, of_seeds
from dlrun.results.rows import html_table

if TYPE_CHECKING:
    from dlrun.run_folders.run import Run
    from dlrun.run_folders.sweep_folder import Sweep
    from dlrun.sweeps.views import RunProgress
    from dlrun.training.plan import Plan
    from dlrun.training.recipe import Row
    from dlrun.training.state import State

_REFRESH = 0.5  # seconds between updates, at least
_MOST = 12  # rows of the table


def in_notebook() -> bool:
    """True in a kernel of Jupyter, whose output cells show HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class _Cell:
    """A part of an output cell that is replaced by what is shown next."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._next = 0.0

    def show(self, html: str, *, now: bool = False) -> None:
        """Show some HTML; at most twice a second, unless it is to be shown `now`."""
        if not now and time.monotonic() < self._next:
            return
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))
        self._next = time.monotonic() + _REFRESH


class NotebookTraining:
    """The view of a run: its epochs as a table, and the time that is left."""

    def __init__(self) -> None:
        self._cell, self._warnings = _Cell(), list[str]()
        self._rows: list[dict[str, str]] = []

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None:
        self._about = f"{run.name}: {plan.dataset_said}, {plan.config.architecture.name}, {plan.device}"
        self._columns, self._epochs, self._steps = plan.recipe.columns(), plan.config.epochs, steps
        self._first, self._epoch, self._seeds = state.epoch, state.epoch, len(plan.config.seeds)
        self._step, self._started = state.step, time.monotonic()
        self._show(now=True)

    def tick(self, examples: int) -> None:
        self._step += 1
        self._show()

    def row(self, epoch: int, row: Row, best: bool) -> None:
        self._epoch, self._step = epoch, 0
        figures = {column: of_seeds(row[column]) for column in self._columns if column in row}
        mark = "★ " * (best and self._seeds == 1)  # several seeds each have a best epoch
        self._rows.append({"epoch": f"{mark}{epoch:,}", **figures})
        self._show()

    def warn(self, text: str) -> None:
        self._warnings.append(text)
        self._show(now=True)

    def end(self) -> None:
        self._show(now=True)

    def _show(self, *, now: bool = False) -> None:
        if not hasattr(self, "_about"):  # a warning before the first epoch
            self._cell.show(_as_html(self._warnings), now=now)
            return
        elapsed = time.monotonic() - self._started
        done = self._epoch + self._step / max(self._steps, 1)
        here = done - self._first
        left = elapsed / here * (self._epochs - done) if here > 0 else 0.0
        times = f"epoch {self._epoch:,} of {self._epochs:,}, {duration(elapsed)}"
        times += f", about {duration(left)} left" if left >= 1 else ""
        bar = f'<progress max="{self._epochs}" value="{done:.3f}" aria-label="epochs"></progress>'
        table = html_table(self._rows, _MOST) if self._rows else ""
        self._cell.show(
            f"<p>{escape(self._about)}<br>{bar} {times}</p>{table}{_as_html(self._warnings)}", now=now
        )


class NotebookSweep:
    """The view of a sweep: its runs as a table."""

    def __init__(self) -> None:
        self._cell, self._warnings = _Cell(), list[str]()

    def begin(self, sweep: Sweep, progress: Sequence[RunProgress], jobs: int, cards: int) -> None:
        self._name, self._metric, self._all = sweep.name, sweep.metric, progress  # to which a search adds
        self._show(now=True)

    def ended(self, progress: RunProgress) -> None:
        self._show()

    def warn(self, text: str) -> None:
        self._warnings.append(text)
        self._show(now=True)

    def refresh(self) -> None:
        self._show()

    def end(self) -> None:
        self._show(now=True)

    def _show(self, *, now: bool = False) -> None:
        rows = [
            {
                "run": each.trial.run.name,
                **each.trial.values,
                "status": each.status,
                "epoch": f"{each.epoch}/{each.epochs}" if each.epochs else "",
                self._metric: each.figure,
            }
            for each in self._all
        ]
        self._cell.show(
            f"<p>{escape(self._name)}</p>{html_table(rows, 40)}{_as_html(self._warnings)}", now=now
        )


def _as_html(warnings: Sequence[str]) -> str:
    """Warnings, each in a line of its own."""
    return "".join(f"<p>warning: {escape(text)}</p>" for text in warnings)
