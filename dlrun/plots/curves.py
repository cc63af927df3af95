"""Training curves: loss and metrics over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from dlrun.config.keys import AVERAGED
from dlrun.drawing.baseline_labels import LETTERS, draw_baselines
from dlrun.drawing.fonts import Picture
from dlrun.drawing.lines import (
    Line,
    Look,
    Numbers,
    axis_label,
    by_epoch,
    draw_line,
    epoch_axis,
    measured,
    unit,
)
from dlrun.drawing.steep_beginnings import beyond, flattened, magnify_the_end, make_logarithmic, needs_decades
from dlrun.drawing.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LIGHT_BLUE,
    RED,
    TEXT,
    WIDTH,
    headline,
    in_lines,
    legend_above,
    mean_and_spread,
    over_seeds,
    put_title,
    shown,
    tidy,
)
from dlrun.errors import UserError
from dlrun.training.figures import column_name, figure_name
from dlrun.training.trained import Trained

automatic = True


LINES = {  # lower lines are wider, so that none is hidden
    "train": Look("training, running mean", LIGHT_BLUE, "-", 3.6, 2),
    "trainset": Look("training, evaluated after the epoch", BLUE, "--", 2.2, 3),
    "valid": Look("valid", RED, "-", 1.5, 4),
    "test": Look("test", RED, "-", 1.5, 4),
}
AVERAGES = {  # of the same splits
    "trainset": Look("training, averaged", BLUE, ":", 2.2, 5),
    "valid": Look("valid, averaged", GREEN, "-", 1.5, 6),
    "test": Look("test, averaged", GREEN, "-", 1.5, 6),
}
DASHES = ("-", "--", "-.")  # of the loss and the metrics, if they share a chart


def curves(
    trained: Trained,
    *,
    log: bool | None = None,
    panels: Literal["each", "one"] = "each",
    limits: list[float] | None = None,
) -> Figure:
    """Loss and every metric over the epochs, the mean over seeds ± 1 sd, with the baselines.

    Raises UserError if nothing was measured.

    Args:
        log: Make the axis of the loss logarithmic; null: if losses span more than two decades, or errors one,
            or if the first epochs would flatten the others.
        panels: Charts: one for each figure, or one that they all share.
        limits: Ends of the y axes, [lowest, highest], where a line says what lies beyond them; null: those of
            the figures.
    """
    if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
        raise UserError(f"curves: limits are two numbers, the lower one first, not {limits}")
    recipe = trained.plan.recipe
    columns = by_epoch(trained.rows, len(trained.seeds), recipe.columns())
    if not len(columns["epoch"]):
        raise UserError("there are no curves: nothing was measured yet")
    figures = ["loss", *recipe.metrics]
    groups = [[figure] for figure in figures] if panels == "each" else [figures]

    heights = [2.1] * len(groups) if len(groups) > 1 else [2.7 if panels == "each" else 3.4]
    picture = Picture(figsize=(WIDTH, 1.5 + sum(heights)), layout="constrained")
    every = picture.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    best = best_epochs(trained, columns)
    above = list[int]()  # lines of words above each chart
    for axes, group in zip(every, groups, strict=True):
        tidy(axes)
        lines = list[Line]()
        for column in recipe.columns():
            figure = column.removesuffix(AVERAGED).split("_", 1)[1]
            if figure in group:
                look = look_of(column) if panels == "each" else together(column, figures.index(figure))
                epochs, found = measured(columns, column)
                if len(epochs):
                    draw_line(axes, look, epochs, found)
                lines.append(Line(look, epochs, found))
        for number, epoch in enumerate(sorted({*best})):
            epochs_said = "" if panels == "one" else f" epoch{'s' * (len({*best}) > 1)}"
            monitor = trained.plan.monitor.removesuffix(AVERAGED)  # the title says that it is of averages
            label = f"best{epochs_said} by {shown(column_name(monitor), 28)}"
            label = label if number == 0 else "_"
            axes.axvline(epoch, color=GREY, linewidth=1.2, linestyle=":", label=label, zorder=1)
        axes.set_ylabel(", ".join(axis_label(trained, figure) for figure in group), fontsize=TEXT)
        seen = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
        is_error = panels == "each" and trained.plan.better[group[0]] == "lower"
        if log is None:
            is_log = is_error and needs_decades(seen, lines, is_loss=group[0] == "loss")
        else:
            is_log = log and "loss" in group
        inset = Bbox.null()
        if is_log and (seen > 0).any():
            make_logarithmic(axes, seen[seen > 0])
        elif limits is None and flattened(lines):
            inset = magnify_the_end(axes, lines)
        if limits is not None:
            axes.set_ylim(*limits)
        notes = draw_baselines(trained, axes, group, lines, best, inset, fixed=limits is not None)
        if limits is not None and (notes := beyond(lines, *limits) + notes):
            said = in_lines(f"beyond this axis: {'; '.join(notes)}", LETTERS)
            axes.set_title(said, loc="left", fontsize=TEXT - 1, color=INK)
            above.append(said.count("\n") + 1)
    legend_above(every[0], 2 if panels == "each" else 3, lines=(above or [0])[0])
    epoch_axis(every[-1], columns["epoch"])
    picture.align_ylabels()
    put_title(picture, title(trained, columns, best))
    return picture


def look_of(column: str) -> Look:
    """The style of a column's line: a colour for each split, another one for averaged weights."""
    split = column.partition("_")[0]
    return (AVERAGES if column.endswith(AVERAGED) else LINES)[split]


def together(column: str, number: int) -> Look:
    """The style of a line in a shared chart, with dashes for each figure."""
    split, figure = column.removesuffix(AVERAGED).split("_", 1)
    label = f"{split} {shown(figure_name(figure))}{', averaged' * column.endswith(AVERAGED)}"
    return look_of(column)._replace(label=label, dashes=DASHES[number % len(DASHES)], width=2.0)


def best_epochs(trained: Trained, columns: dict[str, Numbers]) -> list[int]:
    """The epoch at which each copy has its best monitored figure, the first of equal ones.

    Empty if a copy has none. They are those of the run's summary, if it has them.
    """
    best = trained.run.summary().get("best") if trained.run else None
    if isinstance(best, dict):
        of_seeds = best["epochs"] if isinstance(best.get("epochs"), dict) else {}
        found = [of_seeds.get(str(seed), best.get("epoch")) for seed in trained.seeds]
        whole = [epoch for epoch in found if type(epoch) is int]
        if len(whole) == len(found):
            return whole
    monitor = trained.plan.monitor
    epochs, values = measured(columns, monitor)
    if not np.isfinite(values).any(0).all() or not len(epochs):
        return []
    higher = trained.plan.better[monitor.split("_", 1)[1]] == "higher"
    places = np.nanargmax(values, 0) if higher else np.nanargmin(values, 0)
    return [int(epoch) for epoch in epochs[places]]


def title(trained: Trained, columns: dict[str, Numbers], best: Sequence[int]) -> str:
    """The title: the figures of each copy's best epoch, or if they were not measured there of the last."""
    recipe = trained.plan.recipe
    figure = next(iter(recipe.metrics), "loss")
    split = recipe.evaluation_split or ("trainset" if recipe.evaluate_train_every else "train")
    epochs, values = measured(columns, f"{split}_{figure}{AVERAGED * trained.plan.takes_averaged}")
    split = {"trainset": "train"}.get(split, split)
    what = f"no {split} {shown(figure_name(figure))} was measured"
    if len(epochs):
        is_best = bool(best) and {*best} <= {*epochs.tolist()}
        last = [int(np.flatnonzero(there)[-1]) for there in np.isfinite(values).T if there.any()]
        at = np.searchsorted(epochs, best) if is_best else np.array(last)
        low, high = epochs[at.min()], epochs[at.max()]
        when = f"epoch {high:,.0f}" if low == high else f"epochs {low:,.0f} to {high:,.0f}"
        when = f"{when}{f' ({trained.plan.best_said})' if is_best else ''}"
        of_copies = np.flatnonzero(np.isfinite(values).any(0))[: len(at)]
        reached = mean_and_spread(values[at, of_copies].tolist())
        what = f"{split.capitalize()} {shown(figure_name(figure))} {reached}{unit(trained, figure)} at {when}"
    done = f"{columns['epoch'][-1]:,.0f}"
    if trained.run and trained.run.summary().get("status") == "diverged":
        what += f"; diverged after epoch {done}"
    ends = columns["trains"].sum(0)
    stopped = f"seeds end after {ends.min():,.0f} to {ends.max():,.0f}" if ends.min() < ends.max() else ""
    epochs_said = f"{done} epoch{'s' if done != '1' else ''}"
    return headline(trained, what, epochs_said, stopped, over_seeds(trained))
