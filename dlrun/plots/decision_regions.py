"""What a model says all over the plane."""

from __future__ import annotations

from math import floor, log10
from typing import Literal

import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dlrun.errors import UserError
from dlrun.evaluation import Trained
from dlrun.options import Fraction
from dlrun.plots._style import (
    CLASS_COLOURS,
    INK,
    TEXT,
    WIDTH,
    accuracy,
    headline,
    mean_and_spread,
    over_seeds,
    predicted,
    put_title,
    shown,
    tidy,
)

task = "classification"
automatic = True
inputs = "plane"

SIDE = 240  # grid points along each axis
AT_ONCE = 8192  # grid points through the model together
MOST_POINTS = 4000
MARKERS = "os^DvPX<>p"


def decision_regions(
    trained: Trained, *, split: Literal["train", "valid", "test"] = "train", margin: Fraction = 0.1
) -> Figure:
    """The plane in the colour of the class predicted there, stronger where surer, and a split's points.

    `margin` is how much wider than the data the square is. Raises UserError unless inputs are points
    in the plane and classes are at most ten.
    """
    classes = trained.data.classes
    if trained.data.input_shape != (2,):
        shape = "×".join(map(str, trained.data.input_shape))
        raise UserError(f"decision_regions needs two numbers as input; those of this dataset are {shape}")
    if len(classes) > len(CLASS_COLOURS):
        raise UserError(
            f"decision_regions has {len(CLASS_COLOURS)} colours, but there are {len(classes)} classes"
        )
    examples = trained.loaded[split]
    left, right, bottom, top = square(trained, margin)
    xs, ys = torch.linspace(left, right, SIDE), torch.linspace(bottom, top, SIDE)
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).view(-1, 2)
    probabilities = torch.cat([trained.probabilities(some).mean(0) for some in grid.split(AT_ONCE)])

    names = [shown(name) for name in classes]
    letters = max(len("train points"), *map(len, names))
    side = WIDTH - 1.1 - 0.075 * letters  # what the legend and the y axis leave of the width
    figure = Figure(figsize=(WIDTH, side + 1.1), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    axes.grid(visible=False)
    picture = coloured(probabilities).view(SIDE, SIDE, 3)
    axes.imshow(
        picture.numpy(),
        extent=(left, right, bottom, top),
        origin="lower",
        interpolation="bilinear",
        aspect="equal",
    )

    points, targets = examples.raw().float(), examples.targets.cpu()
    drawn = (
        torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:MOST_POINTS].sort().values
    )
    size = 26 if len(drawn) <= 300 else 14 if len(drawn) <= 1500 else 8
    handles = []
    for index, colour in enumerate(CLASS_COLOURS[: len(classes)]):
        x, y = points[drawn][targets[drawn] == index].T.tolist()
        axes.scatter(x, y, size, color=colour, marker=MARKERS[index], linewidths=0.3, edgecolors="white")
        handles.append(Line2D([], [], linestyle="", marker=MARKERS[index], markersize=8, color=colour))
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("first input x₁", fontsize=TEXT)
    axes.set_ylabel("second input x₂", fontsize=TEXT)
    count = f"{len(drawn):,}" if len(drawn) == len(points) else f"{len(drawn):,} of {len(points):,}"
    legend = axes.legend(
        handles,
        names,
        title=f"{count}\n{split} points",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=TEXT,
        title_fontsize=TEXT,
        alignment="left",
        handletextpad=0.2,
    )
    legend.get_title().set_color(INK)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    reached = mean_and_spread(accuracy(*predicted(trained, split)))
    what = f"Decision regions, paler where less sure; {split} accuracy {reached}"
    put_title(figure, headline(trained, what, f"epoch {trained.epoch:,}", over_seeds(trained)))
    return figure


def square(trained: Trained, margin: float) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the square round all splits: about 0 where the data is.

    Its half side is rounded up to two digits.
    """
    inputs = torch.cat([some.raw().float() for some in trained.loaded.splits.values()])
    low, high = inputs.amin(0), inputs.amax(0)
    middle = (low + high) / 2
    half = float((high - low).max()) / 2
    if float(middle.abs().max()) <= half / 2:
        middle, half = torch.zeros(2), float(inputs.abs().max())
    half = rounded_up(half * (1 + margin))
    x, y = middle.tolist()
    return x - half, x + half, y - half, y + half


def rounded_up(number: float) -> float:
    """The next number of two digits: 1.087 becomes 1.1."""
    if number <= 0:
        return 1.0
    digits = 1 - floor(log10(number))
    nearest = round(number, digits)
    return nearest if nearest >= number * (1 - 1e-6) else round(nearest + 10**-digits, digits)


def coloured(probabilities: Tensor) -> Tensor:
    """The colours (n, 3) of `probabilities` (n, classes): white at chance, soft colours where sure."""
    strongest, winner = probabilities.max(1)
    chance = 1 / probabilities.shape[1]
    sureness = ((strongest - chance) / (1 - chance)).clamp(0, 1)
    strength = (0.06 + 0.39 * sureness).unsqueeze(1)
    colours = torch.tensor([to_rgb(colour) for colour in CLASS_COLOURS])
    return 1 - strength * (1 - colours[winner])
