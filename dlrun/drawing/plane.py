"""Shared code of plots of points in the plane: bounding square, markers, colours of class probabilities."""

from __future__ import annotations

from math import floor, log10

import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dlrun.data.examples import Split
from dlrun.data.loaded import Loaded
from dlrun.drawing.fonts import Picture
from dlrun.drawing.style import CLASS_COLOURS, INK, MARKERS, TEXT, WIDTH, shown, tidy
from dlrun.errors import UserError
from dlrun.training.trained import Trained

AT_ONCE = 8192  # grid points in one forward pass


def refuse_other_inputs(trained: Trained, plot: str) -> None:
    """Raise UserError unless inputs are points in the plane and there are no more classes than colours."""
    if trained.data.shape != (2,):
        shape = "×".join(map(str, trained.data.shape))
        raise UserError(f"{plot} needs two numbers as input; those of this dataset are {shape}")
    classes = len(trained.data.classes)
    if classes > len(CLASS_COLOURS):
        raise UserError(f"{plot} has {len(CLASS_COLOURS)} colours, but there are {classes} classes")


def square(loaded: Loaded, margin: float) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a square around all splits, centred at 0 if the data is.

    Its half side is rounded up to two digits; `margin` is the share by which it is wider than the data.
    """
    inputs = torch.cat([some.raw().float() for some in loaded.splits.values()])
    low, high = inputs.amin(0), inputs.amax(0)
    middle = (low + high) / 2
    half = float((high - low).max()) / 2
    if float(middle.abs().max()) <= half / 2:
        middle, half = torch.zeros(2), float(inputs.abs().max())
    half = rounded_up(half * (1 + margin))
    x, y = middle.tolist()
    return x - half, x + half, y - half, y + half


def rounded_up(number: float) -> float:
    """Round up to two significant digits: 1.087 becomes 1.1."""
    if number <= 0:
        return 1.0
    digits = 1 - floor(log10(number))
    nearest = round(number, digits)
    return nearest if nearest >= number * (1 - 1e-6) else round(nearest + 10**-digits, digits)


def grid(box: tuple[float, float, float, float], side: int) -> Tensor:
    """The points (side², 2) of a grid over a box, row by row from the bottom."""
    left, right, bottom, top = box
    xs, ys = torch.linspace(left, right, side), torch.linspace(bottom, top, side)
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).view(-1, 2)


def coloured_at(trained: Trained, points: Tensor, steps: int | None = None) -> Tensor:
    """The colours (n, 3) of the classes that the copies predict together at points (n, 2).

    White is chance, the class's colour certainty; `steps` limits the number of shades between them.
    """
    found = []
    for some in points.split(AT_ONCE):
        outputs = trained.outputs_at(some)
        winner = trained.decision.decide_together(outputs)
        shares = trained.decision.probabilities(outputs).mean(0)
        share = shares.gather(1, winner.unsqueeze(1)).squeeze(1)
        found.append(coloured_for(winner, share, shares.shape[1], steps))
    return torch.cat(found)


def coloured_for(winner: Tensor, share: Tensor, classes: int, steps: int | None) -> Tensor:
    """The colours (n, 3) of predicted classes (n,), one of so many, with their probabilities (n,)."""
    chance = 1 / classes
    sureness = ((share - chance) / (1 - chance)).clamp(0, 1)
    if steps:
        sureness = (sureness * steps).ceil().clamp_min(1) / steps
    strength = (0.06 + 0.39 * sureness).unsqueeze(1)
    colours = torch.tensor([to_rgb(colour) for colour in CLASS_COLOURS])
    return 1 - strength * (1 - colours[winner])


def legend_title(drawn: int, split: Split, name: str) -> str:
    """The title of the legend, two lines: the numbers of drawn and of all points of a split."""
    count = f"{drawn:,}" if drawn == len(split) else f"{drawn:,} of {len(split):,}"
    return f"{count}\n{name} points"


def figure_beside_legend(classes: tuple[str, ...], title: str) -> Figure:
    """A figure with room for a square plot and a legend of the classes at its right."""
    letters = max(map(len, [*(shown(name) for name in classes), *title.split("\n")]))
    side = WIDTH - 1.1 - 0.075 * letters  # the width left by the legend and the y axis
    return Picture(figsize=(WIDTH, side + 1.1), layout="constrained")


def draw_square(axes: Axes, box: tuple[float, float, float, float], names: tuple[str, ...]) -> None:
    """Set up axes of equal scale over a box, labelled with the names of the features."""
    tidy(axes)
    axes.grid(visible=False)
    axes.set_xlim(box[0], box[1])
    axes.set_ylim(box[2], box[3])
    axes.set_aspect("equal")
    first, second = [shown(name, 30) for name in names] if names else ["first input x₁", "second input x₂"]
    axes.set_xlabel(first, fontsize=TEXT)
    axes.set_ylabel(second, fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def draw_points(axes: Axes, points: Tensor, targets: Tensor, classes: tuple[str, ...], title: str) -> None:
    """Draw points (n, 2) with the colour and marker of their class, and a legend."""
    size = 26 if len(points) <= 300 else 14 if len(points) <= 1500 else 8
    handles = []
    for index, colour in enumerate(CLASS_COLOURS[: len(classes)]):
        x, y = points[targets == index].T.tolist()
        axes.scatter(x, y, size, color=colour, marker=MARKERS[index], linewidths=0.3, edgecolors="white")
        handles.append(Line2D([], [], linestyle="", marker=MARKERS[index], markersize=8, color=colour))
    legend = axes.legend(
        handles,
        [shown(name) for name in classes],
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=TEXT,
        title_fontsize=TEXT,
        alignment="left",
        handletextpad=0.2,
    )
    legend.get_title().set_color(INK)


def draw_values(axes: Axes, points: Tensor, values: Tensor, name: str) -> None:
    """Draw points (n, 2) with the colours of values (n,), and a colour bar."""
    x, y = points.T.tolist()
    size = 26 if len(points) <= 300 else 12
    coloured = axes.scatter(x, y, size, c=values.tolist(), cmap="viridis", linewidths=0)
    bar = axes.figure.colorbar(coloured, ax=axes, shrink=0.85)
    bar.set_label(name, fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    bar.outline.set_visible(False)
