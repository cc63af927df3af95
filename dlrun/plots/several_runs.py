"""One column of several runs in one chart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dlrun.drawing.fonts import Picture
from dlrun.drawing.lines import (
    Numbers,
    axis_label,
    by_epoch,
    draw_line,
    epoch_axis,
    look_of,
    measured,
    run_labels,
)
from dlrun.drawing.style import (
    TEXT,
    WIDTH,
    capitalised,
    headline,
    legend_above,
    mean_and_spread,
    put_title,
    shown,
    tidy,
)
from dlrun.errors import UserError, listed
from dlrun.run_folders.finding import find_run
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.run import Run
from dlrun.training.figures import column_name
from dlrun.training.trained import Trained


def several_runs(trained: Trained, *, runs: Sequence[str], column: str | None = None) -> Figure:
    """One column of metrics.csv of this run and others over the epochs, each the mean over seeds ± 1 sd.

    Raises UserError if a run does not exist or did not measure the column.

    Args:
        runs: Folders of the others, or names of runs beside this one; a name without number means its newest
            run.
        column: Column to show; null: the first metric of valid, or without it of test, or train; without
            metrics the loss.

    Example:
        plots: [{name: several_runs, runs: [spiral_relu-001, spiral_relu-002], column: test_accuracy}]
    """
    if trained.run is None:
        raise UserError("several_runs: a bare checkpoint has no runs beside it")
    recipe = trained.plan.recipe
    column = column or f"{recipe.evaluation_split or 'train'}_{next(iter(recipe.metrics), 'loss')}"
    every = [trained.run, *(found(text, trained.run) for text in runs)]

    figure = Picture(figsize=(WIDTH, 3.9 + 0.22 * len(every)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    longest: Numbers = np.zeros(0)
    several_seeds = False
    for number, (run, said) in enumerate(zip(every, run_labels(every), strict=True)):
        epochs, values = of(run, column)
        several_seeds |= values.shape[1] > 1
        last = [column[np.isfinite(column)][-1] for column in values.T]  # a seed may have stopped early
        name = f"{said}: {mean_and_spread(last)} at epoch {epochs[-1]:,.0f}"
        draw_line(axes, look_of(number, name), epochs, values)
        longest = max(longest, epochs, key=len)
    figure_name = column.split("_", 1)[-1]  # runs may have different losses, so no unit
    axes.set_ylabel("loss" if figure_name == "loss" else axis_label(trained, figure_name), fontsize=TEXT)
    legend_above(axes, 1)
    epoch_axis(axes, longest)
    what = f"{capitalised(shown(column_name(column), 40))} of {len(every)} run{'s' if len(every) > 1 else ''}"
    put_title(figure, headline(trained, what, "mean ± sd over seeds" if several_seeds else ""))
    return figure


def found(text: str, run: Run) -> Run:
    """The run that `text` names: a folder, or a run beside `run`; without number the newest other one.

    Raises UserError if there is none.
    """
    beside = run.folder.resolve().parent
    others = (one for one in runs_in(beside) if one.name != run.name)
    numbered = (one for one in others if one.name.rpartition("-")[0] == text)
    try:
        return next(numbered, None) or find_run(text, beside)
    except UserError as error:
        raise UserError(f"several_runs: {error.what}") from None


def of(run: Run, column: str) -> tuple[Numbers, Numbers]:
    """The epochs (n,) at which a run measured a column, and the figures (n, copies)."""
    rows = run.rows()
    epochs, values = measured(by_epoch(rows, len(set(rows.get("seed", "1"))), [column]), column)
    if not len(epochs):
        there = [name for name in rows if name not in ("epoch", "seed", "seconds")]
        raise UserError(f"several_runs: {run.name} measured no {column[:80]} {listed(there)}")
    return epochs, values
