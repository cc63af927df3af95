"""The points of a dataset in the plane."""

from __future__ import annotations

from typing import Literal

from matplotlib.figure import Figure

from dlrun.config.options import Fraction
from dlrun.drawing.fonts import Picture
from dlrun.drawing.plane import (
    draw_points,
    draw_square,
    draw_values,
    figure_beside_legend,
    legend_title,
    refuse_other_inputs,
    square,
)
from dlrun.drawing.style import WIDTH, headline, put_title, some_of, target_name
from dlrun.training.trained import Trained

inputs = "plane"
of = "data"

MOST_POINTS = 4000


def points(
    trained: Trained, *, split: Literal["train", "valid", "test"] = "train", margin: Fraction = 0.1
) -> Figure:
    """The points of a split, coloured by class, or in a regression by target.

    Raises UserError unless inputs are points in the plane and there are at most ten classes.

    Args:
        split: Split to show.
        margin: Share by which the square is wider than the data.
    """
    refuse_other_inputs(trained, "points")
    classes, examples = trained.data.classes, trained.loaded[split]
    box = square(trained.loaded, margin)
    drawn = some_of(len(examples), MOST_POINTS)
    some, targets = examples.raw(drawn).float(), examples.targets.cpu()[drawn]
    legend = legend_title(len(drawn), examples, split)
    if classes:
        figure = figure_beside_legend(classes, legend)
        axes = figure.subplots()
        draw_points(axes, some, targets, classes, legend)
    else:
        figure = Picture(figsize=(WIDTH, 5.6), layout="constrained")
        axes = figure.subplots()
        draw_values(axes, some, targets[:, 0], target_name(trained))
    draw_square(axes, box, trained.data.features)
    what = f"{len(examples):,} {split} points" + (f" of {len(classes)} classes" if classes else "")
    put_title(figure, headline(trained, what))
    return figure
