"""Calibration: the accuracy of a model's predictions at each level of its confidence."""

from __future__ import annotations

from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.config.options import Many
from dlrun.drawing.fonts import Picture
from dlrun.drawing.style import (
    BLUE,
    GREY,
    INK,
    LIGHT_BLUE,
    RED,
    TEXT,
    WIDTH,
    Predicted,
    headline,
    legend_above,
    mean_and_spread,
    over_seeds,
    predicted,
    put_title,
    tidy,
)
from dlrun.training.trained import Trained

task = "classification"
automatic = True


def calibration(
    trained: Trained, *, split: Literal["auto", "train", "valid", "test"] = "auto", bins: Many = 15
) -> Figure:
    """Accuracy over confidence (a reliability diagram), and the expected calibration error.

    The error is the mean over examples of the distance between accuracy and mean confidence in their bin; it
    and the bins are means over seeds. Source: Guo et al. 2017, arXiv 1706.04599.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        bins: Intervals of equal width that confidence is cut into.
    """
    chosen = trained.chosen(split)
    found = predicted(trained, chosen, most_probable=True)
    counts, sure, right = binned(found, bins)
    error = mean_and_spread(calibration_error(counts, sure, right))

    figure = Picture(figsize=(WIDTH, 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    many = counts.sum(0)
    there = many > 0
    width = 1 / bins
    middles = ((torch.arange(bins) + 0.5) * width)[there].tolist()
    reached = (right.sum(0) / many)[there].tolist()
    confidence = (sure.sum(0) / many)[there].tolist()
    tidy(above)
    above.bar(middles, reached, 0.94 * width, color=LIGHT_BLUE, label="accuracy")
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, linestyle="--", label="perfect calibration")
    above.vlines(
        confidence, reached, confidence, color=RED, linewidth=2.2, label="gap to the mean confidence"
    )
    above.plot(confidence, reached, "o", color=BLUE, markersize=4)
    above.set_ylabel("accuracy (fraction)", fontsize=TEXT)
    above.set_ylim(0, 1.02)
    above.set_xlim(0, 1)
    legend_above(above, 2)
    tidy(below)
    below.grid(visible=False)
    for_each = (many / len(counts))[there].tolist()  # examples for each seed
    below.bar(middles, for_each, 0.94 * width, color=GREY)
    for middle, count in zip(middles, for_each, strict=True):
        below.annotate(
            briefly(count),
            (middle, count),
            (0, 2),
            textcoords="offset points",
            ha="center",
            size=min(TEXT - 1, 150 / bins),
            color=INK,
        )
    below.set_yticks([])
    below.spines["left"].set_visible(False)
    below.set_ylabel("examples" if found.weights is None else "weight", fontsize=TEXT)
    below.margins(y=0.25)
    which = "most probable class" if trained.thresholds else "class predicted"
    below.set_xlabel(f"confidence: the probability of the {which}", fontsize=TEXT)
    what = f"Expected calibration error {error} ({chosen}, {found.said_count})"
    put_title(figure, headline(trained, what, trained.at_epoch(), over_seeds(trained)))
    return figure


def binned(found: Predicted, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each copy and bin of confidence, (copies, bins): examples, sum of confidences, correct ones.

    Bin m of M holds confidences c with (m - 1)/M < c <= m/M. Each example counts as often as its weight says.
    """
    sureness = found.sureness.double()
    places = (sureness * bins).ceil().long().clamp(1, bins) - 1
    right = (found.classes == found.targets).double()
    each = torch.ones_like(sureness) if found.weights is None else found.weights.double().expand_as(sureness)
    sums = (torch.zeros(len(places), bins, dtype=torch.float64) for _ in range(3))
    counts, sure, correct = (
        zeros.scatter_add(1, places, values)
        for zeros, values in zip(sums, (each, each * sureness, each * right), strict=True)
    )
    return counts, sure, correct


def calibration_error(counts: Tensor, sure: Tensor, right: Tensor) -> list[float]:
    """The expected calibration error of each copy, from the results of `binned`."""
    return [float(error) for error in (right - sure).abs().sum(1) / counts.sum(1)]


def briefly(count: float) -> str:
    """A short count: 312, 9.1k, 60k."""
    if count < 1000:
        return f"{count:.0f}" if count >= 1 or count == 0 else "<1"
    return f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"
