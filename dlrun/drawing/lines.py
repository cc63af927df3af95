"""Shared code of plots over epochs: a run's columns, and lines with bands of ± 1 standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from os.path import commonpath
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dlrun.drawing.style import CLASS_COLOURS, DASHES, MARKERS, TEXT, both_ends, shown
from dlrun.run_folders.run import Run
from dlrun.training.figures import figure_name
from dlrun.training.trained import Trained

Numbers = np.ndarray[Any, np.dtype[np.float64]]

MARKED = 7  # points with a marker of a line that has many
FEW = 20  # up to so many points get markers
CALM = 300  # beyond so many points lines are thin, because thick ones blur noise
MANY = 1000  # blocks of epochs in which a long run is drawn
IN_UNIT = ("l1", "mae", "rmse", "medae", "pinball")  # losses and metrics in the unit of the target
IN_NATS = {"cross_entropy", "cross_entropy_scratch", "nll", "bce"}


class Look(NamedTuple):
    """The style of a line; a line of higher `order` is drawn above those of lower `order`.

    One with a `marker` has it at a few places, if it has many points.
    """

    label: str
    colour: str
    dashes: str = "-"
    width: float = 1.8
    order: int = 2
    marker: str = ""


class Line(NamedTuple):
    """A drawn line: its look, its epochs (n,) and its figures (n, copies)."""

    look: Look
    epochs: Numbers
    values: Numbers


def look_of(number: int, label: str) -> Look:
    """The style of one of many lines: by its number a colour, dashes and a marker."""
    colour, marker = CLASS_COLOURS[number % len(CLASS_COLOURS)], MARKERS[number % len(MARKERS)]
    return Look(label, colour, DASHES[number % len(DASHES)], marker=marker)


def run_labels(runs: Sequence[Run], longest: int = 40) -> list[str]:
    """A label for each run: its name, or if others have it too, its folder from where theirs part on."""
    folders = [run.folder.resolve() for run in runs]
    labels = list[str]()
    for run, folder in zip(runs, folders, strict=True):
        alike = {other for one, other in zip(runs, folders, strict=True) if one.name == run.name}
        label = folder.relative_to(commonpath(alike)).as_posix() if len(alike) > 1 else run.name
        labels.append(both_ends(label, longest))
    return labels


def by_epoch(rows: Mapping[str, list[Any]], copies: int, wanted: Sequence[str]) -> dict[str, Numbers]:
    """The columns of metrics.csv as (epochs, copies), nan if not measured; `epoch` as (epochs,).

    `trains` is 1 for a copy that has a row in an epoch, 0 after it stopped early.
    """
    of_rows = rows.get("seed", [0] * len(rows.get("epoch", ())))
    seeds = list(dict.fromkeys(of_rows))[:copies]
    known = [seed in seeds for seed in of_rows]
    rows = {name: list(compress(values, known)) for name, values in rows.items()}
    epochs, places = np.unique(np.array(rows.get("epoch", ()), dtype=np.float64), return_inverse=True)
    copy = np.array([seeds.index(seed) for seed in of_rows if seed in seeds], dtype=np.intp)
    columns = {}
    for name in wanted:
        if name in rows:
            columns[name] = np.full((len(epochs), copies), np.nan)
            columns[name][places, copy] = np.array(rows[name], dtype=np.float64)
    columns["trains"] = np.zeros((len(epochs), copies))
    columns["trains"][places, copy] = 1
    columns["epoch"] = epochs
    return columns


def measured(columns: dict[str, Numbers], column: str) -> tuple[Numbers, Numbers]:
    """The epochs (n,) at which a column is finite for all copies that train, and its figures (n, copies).

    The figures of a copy that has stopped early are nan.
    """
    trains = columns["trains"] > 0
    values = columns.get(column, np.full(trains.shape, np.nan))
    there = (np.isfinite(values) | ~trains).all(1) & trains.any(1)
    return columns["epoch"][there], np.where(trains, values, np.nan)[there]


def draw_line(axes: Axes, look: Look, epochs: Numbers, values: Numbers, *, with_band: bool = True) -> None:
    """Draw the mean of `values` (n, copies) as a line over `epochs` (n,), in a band of ± 1 sd.

    Both are of the copies that have a figure; a single one has no band.
    """
    mean = np.nanmean(values, 1)
    kept = thinned(mean)
    width = look.width if len(epochs) <= CALM else 0.65 * look.width
    if values.shape[1] > 1 and len(epochs) and with_band:
        alone = np.isfinite(values).sum(1) < 2
        sd = np.where(alone, 0.0, np.nanstd(np.where(alone[:, None], 0.0, values), 1, ddof=1))[kept]
        low, high = mean[kept] - sd, mean[kept] + sd
        axes.fill_between(epochs[kept], low, high, color=look.colour, alpha=0.18, linewidth=0)
        if len(epochs) == 1:  # a band over one epoch would be invisible
            axes.errorbar(epochs, mean, sd, color=look.colour, linewidth=width, capsize=4)
    axes.plot(
        epochs[kept],
        mean[kept],
        color=look.colour,
        linestyle=look.dashes,
        linewidth=width,
        marker=look.marker or ("o" if len(epochs) <= FEW else ""),
        markevery=max(1, len(kept) // MARKED) if len(epochs) > FEW else None,
        markersize=4 + width / 2,
        label=look.label,
        zorder=look.order,
    )


def thinned(values: Numbers) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The indices of the `values` (n,) to draw: all, or the ends and each block's minimum and maximum."""
    size = len(values) // MANY
    if size < 4:
        return np.arange(len(values))
    whole = len(values) // size * size
    blocks = values[:whole].reshape(-1, size)
    starts = np.arange(0, whole, size)
    kept = [[0, len(values) - 1], starts + blocks.argmin(1), starts + blocks.argmax(1)]
    return np.unique(np.concatenate(kept))


def epoch_axis(axes: Axes, epochs: Numbers) -> None:
    """Label the x axis with whole epochs."""
    axes.set_xlabel("epoch", fontsize=TEXT)
    if len(epochs) == 1:
        axes.set_xticks(epochs)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def axis_label(trained: Trained, figure: str) -> str:
    """The name of a figure with its unit, such as `loss (nats)`."""
    if figure in ("accuracy", "top5", "top_k"):
        return f"{figure_name(figure)} (fraction)"
    return f"{shown(figure_name(figure))}{unit(trained, figure, brackets=True)}"


def unit(trained: Trained, figure: str, *, brackets: bool = False) -> str:
    """The unit of the loss or a metric, to be appended to a number or name; "" if it has none.

    The loss of a target that is scaled or transformed has none.
    """
    if figure == "loss" and (trained.data.scaling or trained.data.target_transform):
        return ""
    name = trained.plan.config.loss.name if figure == "loss" else figure
    name = name.removesuffix("_scratch")
    target = shown(trained.data.unit, 12)
    found = target if name in IN_UNIT else f"{target}²" if name == "mse" and target else ""
    if name == "log_loss" or (figure == "loss" and name in IN_NATS):
        found = "nats"
    return (f" ({found})" if brackets else f" {found}") if found else ""
