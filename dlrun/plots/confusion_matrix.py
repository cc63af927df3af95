"""The confusion matrix: predicted classes for each true class."""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.data.example_weights import counted
from dlrun.drawing.fonts import Picture
from dlrun.drawing.style import (
    GREY,
    INK,
    PALE,
    TEXT,
    WIDTH,
    headline,
    mean_and_spread,
    over_seeds,
    predicted,
    put_title,
    shown,
)
from dlrun.training.trained import Trained

task = "classification"
automatic = True

MOST_WITH_NUMBERS = 20


def confusion_matrix(
    trained: Trained, *, split: Literal["auto", "train", "valid", "test"] = "auto"
) -> Figure:
    """The confusion matrix, row-normalised: percentages of each true class, means over seeds.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
    """
    chosen = trained.chosen(split)
    classes = trained.data.classes
    found = predicted(trained, chosen)
    percentages = row_percentages(found.classes, found.targets, len(classes), found.weights)

    crowded = len(classes) > MOST_WITH_NUMBERS
    figure = Picture(figsize=(WIDTH, 5.8 if crowded else 6.5), layout="constrained")
    axes = figure.subplots()
    edges = (torch.arange(len(classes) + 1) - 0.5).numpy()
    # Rectangles: an image would be computed for every pixel of the picture, in several times its memory.
    colours = axes.pcolormesh(
        edges, edges, percentages.numpy(), cmap="Blues", norm=PowerNorm(0.5, 0, 100), snap=True
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_facecolor(PALE)  # visible in rows without examples
    if crowded:
        bar = figure.colorbar(colours, ax=axes, shrink=0.8, ticks=[0, 1, 5, 20, 50, 100])
        bar.set_label("% of the true class", fontsize=TEXT)
        bar.ax.tick_params(labelsize=TEXT)
        bar.outline.set_visible(False)
    else:
        size = min(TEXT + 3, 110 / len(classes) if len(classes) <= 10 else 150 / len(classes) + 2)
        for row, column in torch.cartesian_prod(*[torch.arange(len(classes))] * 2).tolist():
            share = float(percentages[row, column])
            light = share > 45
            text = in_cell(share, len(classes) > 10)
            axes.text(column, row, text, ha="center", va="center", size=size, color="white" if light else INK)

    every = max(1, ceil(len(classes) / (14 if crowded else MOST_WITH_NUMBERS)))
    places = range(0, len(classes), every)
    names = [shown(classes[place]) for place in places]
    size = TEXT if len(names) <= 12 else TEXT - 2
    slanted = max(map(len, names)) > max(2, 44 // len(names))
    axes.set_xticks(places, names, fontsize=size)
    if slanted:
        axes.set_xticks(places, names, fontsize=size, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names, fontsize=size)
    axes.tick_params(length=0 if every == 1 else 3, color=GREY)
    axes.spines[:].set_visible(False)
    if not crowded:
        between = torch.arange(0.5, len(classes) - 1).tolist()
        axes.hlines(between, -0.5, len(classes) - 0.5, color="white", linewidth=1)
        axes.vlines(between, -0.5, len(classes) - 0.5, color="white", linewidth=1)
    axes.set_xlabel("predicted class", fontsize=TEXT)
    missing = "; grey: no examples" if percentages.isnan().any() else ""
    axes.set_ylabel(f"true class (each row: 100 %{missing})", fontsize=TEXT)
    reached = mean_and_spread(found.accuracy())
    what = f"Confusion matrix, row-normalised (%): {chosen} accuracy {reached}"
    put_title(figure, headline(trained, what, found.said_count, trained.at_epoch(), over_seeds(trained)))
    return figure


def row_percentages(
    predictions: Tensor, targets: Tensor, classes: int, weights: Tensor | None = None
) -> Tensor:
    """Percentages (classes, classes): rows are true classes, columns predicted ones.

    From `predictions` (copies, n) of all copies together, with weights (n,) of the sums of these; nan for a
    class without examples.
    """
    cells = (targets * classes + predictions).flatten()
    each = None if weights is None else weights.expand(predictions.shape).flatten()
    counts = counted(cells, each, classes**2).view(classes, classes).double()
    return 100 * counts / counts.sum(1, keepdim=True)


def in_cell(percentage: float, briefly: bool) -> str:
    """The text of a cell: a percentage, or "" for 0 and for a class without examples."""
    if percentage != percentage or percentage == 0:
        return ""
    if briefly:
        return f"{percentage:.0f}" if percentage >= 0.5 else "·"
    if percentage < 0.05:
        return "<0.1"
    return "100" if percentage == 100 else f"{min(percentage, 99.9):.1f}"
