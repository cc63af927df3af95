"""The decision regions of a classifier in the plane."""

from __future__ import annotations

from typing import Literal

from matplotlib.figure import Figure

from dlrun.config.options import Fraction
from dlrun.drawing.plane import (
    coloured_at,
    draw_points,
    draw_square,
    figure_beside_legend,
    grid,
    legend_title,
    refuse_other_inputs,
    square,
)
from dlrun.drawing.style import (
    headline,
    if_weighted,
    mean_and_spread,
    over_seeds,
    predicted,
    put_title,
    some_of,
)
from dlrun.training.trained import Trained

task = "classification"
automatic = True
inputs = "plane"

SIDE = 240  # grid points along each axis
MOST_POINTS = 4000


def decision_regions(
    trained: Trained, *, split: Literal["train", "valid", "test"] = "train", margin: Fraction = 0.1
) -> Figure:
    """The predicted class at each point of the plane, darker if more certain, and a split's points.

    Raises UserError unless inputs are points in the plane and there are at most ten classes.

    Args:
        split: Split whose points are shown.
        margin: Share by which the square is wider than the data.
    """
    refuse_other_inputs(trained, "decision_regions")
    classes, examples = trained.data.classes, trained.loaded[split]
    box = square(trained.loaded, margin)
    picture = coloured_at(trained, grid(box, SIDE)).view(SIDE, SIDE, 3)

    drawn = some_of(len(examples), MOST_POINTS)
    legend = legend_title(len(drawn), examples, split)
    figure = figure_beside_legend(classes, legend)
    axes = figure.subplots()
    axes.imshow(picture.numpy(), extent=box, origin="lower", interpolation="bilinear")
    draw_square(axes, box, trained.data.features)
    points, targets = examples.raw(drawn).float(), examples.targets.cpu()[drawn]
    draw_points(axes, points, targets, classes, legend)
    reached = mean_and_spread(predicted(trained, split).accuracy())
    what = f"Decision regions, paler where less sure; {split} accuracy {reached}"
    put_title(figure, headline(trained, what, trained.at_epoch(), if_weighted(trained), over_seeds(trained)))
    return figure
