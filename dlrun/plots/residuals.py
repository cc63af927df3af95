"""The residuals of a regression: true minus predicted values."""

from __future__ import annotations

from typing import Literal

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dlrun.config.options import Many
from dlrun.data.example_weights import weighted_mean
from dlrun.drawing.estimates import some_targets
from dlrun.drawing.fonts import Picture
from dlrun.drawing.style import (
    BLUE,
    GREY,
    INK,
    LIGHT_BLUE,
    RED,
    TEXT,
    WIDTH,
    headline,
    if_weighted,
    legend_above,
    mean_and_spread,
    over_seeds,
    put_title,
    some_of,
    target_name,
    tidy,
    unit_after,
)
from dlrun.training.trained import Trained

task = "regression"
of_estimates = True
automatic = True

MOST_POINTS = 4000
MOST_TARGETS = 3


def residuals(
    trained: Trained, *, split: Literal["auto", "train", "valid", "test"] = "auto", bins: Many = 40
) -> Figure:
    """Residuals (true minus predicted values) of a split over the predictions, and their histogram.

    All seeds are shown together; mean, standard deviation and histogram are over the examples, each counted
    as often as its weight says.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        bins: Bars of the histogram.
    """
    chosen = trained.chosen(split)
    outputs, targets = trained.outputs(chosen)
    missed = targets.double() - outputs.double()  # (copies, n, d)
    weights = trained.weights(chosen)
    every = None if weights is None else weights.repeat(len(missed))
    numbers, unit = some_targets(trained, MOST_TARGETS), unit_after(trained)
    panels = len(numbers)
    figure = Picture(figsize=(WIDTH, 1.2 + (3.4 if panels == 1 else 2.3 * panels)), layout="constrained")
    grid = figure.subplots(panels, 2, sharey="row", squeeze=False, width_ratios=[2.4, 1])
    for number, (over, distribution) in zip(numbers, grid, strict=True):
        said, by = outputs[..., number].flatten(), missed[..., number].flatten()
        mean, sd = mean_and_sd(by, every)
        drawn = some_of(len(by), MOST_POINTS)
        size, alpha = (22, 0.6) if len(drawn) <= 300 else (9, 0.35)
        tidy(over)
        over.scatter(said[drawn].tolist(), by[drawn].tolist(), size, color=BLUE, alpha=alpha, linewidths=0)
        over.set_xlabel(f"prediction of {target_name(trained, number)}", fontsize=TEXT)
        over.set_ylabel(f"residual{unit and f' ({unit.strip()})'}", fontsize=TEXT)
        over.xaxis.set_major_locator(MaxNLocator(6))
        tidy(distribution)
        own = None if every is None else every.numpy()
        distribution.hist(by.numpy(), bins, weights=own, orientation="horizontal", color=LIGHT_BLUE)
        counted = "examples" if weights is None else "weight"
        distribution.set_xlabel(counted if len(outputs) == 1 else f"{counted} × seeds", fontsize=TEXT)
        distribution.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        for axes in (over, distribution):
            axes.axhline(0, color=INK, linewidth=1)
            axes.axhline(mean, color=RED, linewidth=1.6, label="mean")
            axes.axhspan(mean - sd, mean + sd, color=GREY, alpha=0.18, linewidth=0, zorder=0, label="± 1 sd")
        if panels > 1:
            distribution.set_title(f"mean {mean:.3g}, sd {sd:.3g}", fontsize=TEXT, color=INK, loc="right")
    legend_above(grid[0, 0], 2)
    of_each = [
        mean_and_sd(own.flatten(), None if weights is None else weights.repeat_interleave(own.shape[1]))
        for own in missed
    ]
    mean_of, sd_of = zip(*of_each, strict=True)
    said_so = f"mean {mean_and_spread(mean_of)}{unit}, sd {mean_and_spread(sd_of)}{unit}"
    what = f"{chosen.capitalize()} residuals (truth − prediction): {said_so}"
    if trained.data.target_names:  # whose units may differ
        what = f"{chosen.capitalize()} residuals (truth − prediction) of {targets.shape[1]} targets"
    left_out = f"{panels} of {targets.shape[1]} targets" if targets.shape[1] > panels else ""
    put_title(
        figure,
        headline(trained, what, trained.at_epoch(), left_out, if_weighted(trained), over_seeds(trained)),
    )
    return figure


def mean_and_sd(values: Tensor, weights: Tensor | None) -> tuple[float, float]:
    """Mean and standard deviation of values (n,), each counted as often as its weight (n,) says."""
    mean = weighted_mean(values, weights)
    return float(mean), float(weighted_mean((values - mean).square(), weights).sqrt())
