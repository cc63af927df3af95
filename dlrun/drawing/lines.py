"""What plots over epochs share: the columns of a run, and a line for each in a band of ± 1 sd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dlrun.drawing.style import TEXT, shown
from dlrun.training.trained import Trained

Numbers = np.ndarray[Any, np.dtype[np.float64]]

FEW = 20  # points that get a marker each
CALM = 300  # points after which thick lines would blur what is noisy
MANY = 1000  # blocks of epochs that a long run is drawn in
IN_NATS = {"cross_entropy", "cross_entropy_scratch", "nll", "bce"}


class Look(NamedTuple):
    """How a line is drawn. `order` says which lines it lies upon: those of a lower one."""

    label: str
    colour: str
    dashes: str = "-"
    width: float = 1.8
    order: int = 2


def by_epoch(rows: Mapping[str, list[Any]], copies: int, wanted: Sequence[str]) -> dict[str, Numbers]:
    """The columns of metrics.csv as (epochs, copies), nan where nothing was measured; epoch as (epochs,)."""
    epochs = len(rows.get("epoch", ())) // copies
    columns = {
        name: np.array(rows[name][: epochs * copies], dtype=np.float64).reshape(epochs, copies)
        for name in ("epoch", *wanted)
        if name in rows
    }
    columns["epoch"] = columns["epoch"][:, 0] if epochs else np.zeros(0)
    return columns


def measured(columns: dict[str, Numbers], column: str) -> tuple[Numbers, Numbers]:
    """The epochs (n,) at which a column is finite for all copies, and its figures (n, copies)."""
    values = columns.get(column, np.full((len(columns["epoch"]), 1), np.nan))
    there = np.isfinite(values).all(1)
    return columns["epoch"][there], values[there]


def draw_line(axes: Axes, look: Look, epochs: Numbers, values: Numbers, *, with_band: bool = True) -> None:
    """The mean of `values` (n, copies) as a line over `epochs` (n,), in a band of ± 1 sd."""
    mean = values.mean(1)
    kept = thinned(mean)
    width = look.width if len(epochs) <= CALM else 0.65 * look.width
    if values.shape[1] > 1 and len(epochs) and with_band:
        sd = values.std(1, ddof=1)[kept]
        low, high = mean[kept] - sd, mean[kept] + sd
        axes.fill_between(epochs[kept], low, high, color=look.colour, alpha=0.18, linewidth=0)
        if len(epochs) == 1:  # a band over one epoch has no width
            axes.errorbar(epochs, mean, sd, color=look.colour, linewidth=width, capsize=4)
    axes.plot(
        epochs[kept],
        mean[kept],
        color=look.colour,
        linestyle=look.dashes,
        linewidth=width,
        marker="o" if len(epochs) <= FEW else "",
        markersize=4 + width / 2,
        label=look.label,
        zorder=look.order,
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


def epoch_axis(axes: Axes, epochs: Numbers) -> None:
    """Whole epochs below the axes."""
    axes.set_xlabel("epoch", fontsize=TEXT)
    if len(epochs) == 1:
        axes.set_xticks(epochs)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter("{x:,.0f}")


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
