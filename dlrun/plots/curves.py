"""Loss and metrics over the epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from dlrun.errors import UserError
from dlrun.evaluation import Trained
from dlrun.plots._style import (
    BLUE,
    GREY,
    INK,
    LIGHT_BLUE,
    RED,
    TEXT,
    WIDTH,
    headline,
    mean_and_spread,
    over_seeds,
    put_title,
    shown,
    tidy,
)

automatic = True

Numbers = np.ndarray[Any, np.dtype[np.float64]]

LINES = {  # label, colour, dashes, width: wider below and narrower above, so that none hides another
    "train": ("train (mean while learning)", LIGHT_BLUE, "-", 3.6),
    "trainset": ("train (weights as they stand)", BLUE, "--", 2.2),
    "valid": ("valid", RED, "-", 1.5),
    "test": ("test", RED, "-", 1.5),
}
IN_NATS = {"cross_entropy", "cross_entropy_scratch", "nll", "bce"}
DECADES_SHOWN_LINEARLY = 2
FEW = 20  # points that get a marker each
CALM = 300  # points after which thick lines would blur what is noisy
MANY = 1000  # blocks of epochs that a long run is drawn in


def curves(trained: Trained, *, log: bool | None = None) -> Figure:
    """Loss and every metric over the epochs, the mean over seeds ± 1 sd.

    `log` makes the axis of the loss logarithmic; null does where losses span over two decades.
    Raises UserError where nothing was measured.
    """
    columns = by_epoch(trained)
    panels: dict[str, list[str]] = {}
    for column in trained.plan.recipe.columns():
        split, figure = column.split("_", 1)
        panels.setdefault(figure, []).append(split)

    picture = Figure(
        figsize=(WIDTH, 1.5 + (2.7 if len(panels) == 1 else 2.1 * len(panels))), layout="constrained"
    )
    every = picture.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    best = best_epoch(trained, columns)
    for axes, (figure, splits) in zip(every, panels.items(), strict=True):
        tidy(axes)
        for split in splits:
            draw_line(axes, split, *measured(columns, f"{split}_{figure}"))
        if best:
            label = f"best epoch by {shown(trained.plan.monitor, 28)}"
            axes.axvline(best, color=GREY, linewidth=1.2, linestyle=":", label=label, zorder=1)
        axes.set_ylabel(axis_label(trained, figure), fontsize=TEXT)
        values = [measured(columns, f"{split}_{figure}")[1] for split in splits]
        seen = np.concatenate([v.ravel() for v in values])
        if figure == "loss" and (spans_decades(seen) if log is None else log) and (seen > 0).any():
            make_logarithmic(axes, seen[seen > 0])
        else:
            leave_out_the_start(axes, values)
    every[0].legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=2,
        frameon=False,
        fontsize=TEXT - 0.5,
        borderaxespad=0.2,
        handlelength=1.7,
        columnspacing=1.4,
    )
    every[-1].set_xlabel("epoch", fontsize=TEXT)
    if len(columns["epoch"]) == 1:
        every[-1].set_xticks(columns["epoch"])
    else:
        every[-1].xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 2.5, 5, 10]))
    every[-1].xaxis.set_major_formatter("{x:,.0f}")
    picture.align_ylabels()
    put_title(picture, title(trained, columns, best))
    return picture


def by_epoch(trained: Trained) -> dict[str, Numbers]:
    """Every column as (epochs, copies), nan where nothing was measured; epoch as (epochs,)."""
    rows, copies = trained.rows, len(trained.seeds)
    epochs = len(rows.get("epoch", ())) // copies
    if not epochs:
        raise UserError("there are no curves: nothing was measured yet")
    wanted = ("epoch", *trained.plan.recipe.columns())
    columns = {
        name: np.array(rows[name][: epochs * copies], dtype=np.float64).reshape(epochs, copies)
        for name in wanted
        if name in rows
    }
    columns["epoch"] = columns["epoch"][:, 0]
    return columns


def measured(columns: dict[str, Numbers], column: str) -> tuple[Numbers, Numbers]:
    """The epochs (n,) at which a column is finite for all copies, and its figures (n, copies)."""
    values = columns.get(column, np.full((len(columns["epoch"]), 1), np.nan))
    there = np.isfinite(values).all(1)
    return columns["epoch"][there], values[there]


def draw_line(axes: Axes, split: str, epochs: Numbers, values: Numbers) -> None:
    """The mean of `values` (n, copies) as a line over `epochs` (n,), in a band of ± 1 sd."""
    label, colour, dashes, width = LINES[split]
    mean = values.mean(1)
    kept = thinned(mean)
    marker = "o" if len(epochs) <= FEW else ""
    width = width if len(epochs) <= CALM else 0.65 * width
    if values.shape[1] > 1 and len(epochs):
        sd = values.std(1, ddof=1)[kept]
        low, high = mean[kept] - sd, mean[kept] + sd
        axes.fill_between(epochs[kept], low, high, color=colour, alpha=0.18, linewidth=0)
        if len(epochs) == 1:  # a band over one epoch has no width
            axes.errorbar(epochs, mean, sd, color=colour, linewidth=width, capsize=4)
    axes.plot(
        epochs[kept],
        mean[kept],
        color=colour,
        linestyle=dashes,
        linewidth=width,
        marker=marker,
        markersize=4 + width / 2,
        label=label,
        zorder=2 + list(LINES).index(split),
    )


def thinned(values: Numbers) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Which of `values` (n,) to draw: all, or of many the lowest and highest of each block, and the ends."""
    size = len(values) // MANY
    if size < 4:
        return np.arange(len(values))
    whole = len(values) // size * size
    blocks = values[:whole].reshape(-1, size)
    starts = np.arange(0, whole, size)
    kept = [[0, len(values) - 1], starts + blocks.argmin(1), starts + blocks.argmax(1)]
    return np.unique(np.concatenate(kept))


def best_epoch(trained: Trained, columns: dict[str, Numbers]) -> int | None:
    """The first epoch with the best mean of the monitored column; None where that was never measured."""
    monitor = trained.plan.monitor
    epochs, values = measured(columns, monitor)
    if not len(epochs):
        return None
    higher = trained.plan.better[monitor.split("_", 1)[1]] == "higher"
    means = values.mean(1)
    return int(epochs[means.argmax() if higher else means.argmin()])


def title(trained: Trained, columns: dict[str, Numbers], best: int | None) -> str:
    """What was reached at the best epoch, or where it was not measured then, when it last was."""
    recipe = trained.plan.recipe
    figure = next(iter(recipe.metrics), "loss")
    split = recipe.evaluation_split or ("trainset" if recipe.evaluate_train_every else "train")
    epochs, values = measured(columns, f"{split}_{figure}")
    split = {"trainset": "train"}.get(split, split)
    what = f"no {split} {shown(figure)} was measured"
    if len(epochs):
        at = epochs.tolist().index(best) if best in epochs else -1
        when = f"epoch {epochs[at]:,.0f}{' (best)' if epochs[at] == best else ''}"
        reached = mean_and_spread(values[at].tolist())
        what = f"{split.capitalize()} {shown(figure)} {reached}{unit(trained, figure)} at {when}"
    done = f"{columns['epoch'][-1]:,.0f}"
    if trained.run and trained.run.summary().get("status") == "diverged":
        what += f"; diverged after epoch {done}"
    return headline(trained, what, f"{done} epoch{'s' if done != '1' else ''}", over_seeds(trained))


def axis_label(trained: Trained, figure: str) -> str:
    """The figure with its unit, such as `loss (nats)`."""
    if figure in ("accuracy", "top5"):
        return f"{figure} (fraction)"
    return f"{shown(figure)}{unit(trained, figure, brackets=True)}"


def unit(trained: Trained, figure: str, *, brackets: bool = False) -> str:
    """The unit of the loss or a metric, ready to follow its number or name; nothing where it has none."""
    name = trained.plan.config.loss.name if figure == "loss" else figure
    name = name.removesuffix("_scratch")
    target = shown(trained.data.unit, 12)
    found = {"l1": target, "mae": target, "rmse": target, "mse": f"{target}²" if target else ""}.get(name, "")
    if figure == "loss" and name in IN_NATS:
        found = "nats"
    return (f" ({found})" if brackets else f" {found}") if found else ""


def spans_decades(values: Numbers) -> bool:
    positive = values[values > 0]
    return len(positive) > 0 and bool(positive.max() > positive.min() * 10**DECADES_SHOWN_LINEARLY)


def make_logarithmic(axes: Axes, values: Numbers) -> None:
    """A logarithmic y axis just wide enough for `values`, all positive."""
    low, high = np.log10(values.min()), np.log10(values.max())
    pad = 0.05 * (high - low) + 0.02
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(10 ** (low - pad), 10 ** (high + pad))
    subs = (1.0,) if high - low > 2.5 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axes.yaxis.set_major_formatter(power)
    axes.yaxis.set_minor_formatter(NullFormatter())


def power(number: float, place: float) -> str:
    """A number on a logarithmic axis: 0.05, 2000, 1e6."""
    digits, exponent = f"{number:.0e}".split("e")
    return f"{number:g}" if -4 <= int(exponent) <= 3 else f"{digits}e{int(exponent)}"


def leave_out_the_start(axes: Axes, values: list[Numbers]) -> None:
    """Fit the y axis to the last nine tenths of each line where its start would flatten all the rest.

    Says how far the start goes. `values` are the figures of each line, (n, copies).
    """
    later = [v[len(v) // 10 :] for v in values if len(v)]
    if not later:
        return
    low, high = min(v.min() for v in later), max(v.max() for v in later)
    lowest, highest = min(v.min() for v in values if len(v)), max(v.max() for v in values if len(v))
    if highest - lowest < 5 * (high - low) or high == low:
        return
    pad = 0.08 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    above = highest - high > low - lowest
    axes.annotate(
        f"starts off the scale, at {highest if above else lowest:.4g}",
        (0.97, 0.97 if above else 0.03),
        xycoords="axes fraction",
        ha="right",
        va="top" if above else "bottom",
        fontsize=TEXT - 1,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )
