"""An animation of the decision regions during training."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist

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
    titled,
)
from dlrun.errors import UserError
from dlrun.training.trained import Trained

task = "classification"
inputs = "plane"
keeps_weights = 40

SIDE = 160  # grid points along each axis
STEPS = 5  # shades of a colour; few, so that most pixels stay the same from frame to frame
MOST_POINTS = 600
DPI = 80  # 512 pixels wide
PAUSE = 2.0  # seconds at the end


def decision_animation(
    trained: Trained,
    *,
    split: Literal["train", "valid", "test"] = "train",
    margin: Fraction = 0.1,
    seconds: Annotated[float, Ge(1), Le(600)] = 5.0,
) -> FuncAnimation:
    """An animation of the decision regions at about forty epochs.

    The run must have kept its weights, as it does if this plot is among its `plots`. Raises UserError
    otherwise, and unless inputs are points in the plane and there are at most ten classes.

    Args:
        split: Split whose points are shown.
        margin: Share by which the square is wider than the data.
        seconds: Duration of the animation.
    """
    refuse_other_inputs(trained, "decision_animation")
    classes, examples = trained.data.classes, trained.loaded[split]
    box = square(trained.loaded, margin)
    everywhere = grid(box, SIDE)
    frames = []
    for moment in trained.moments():
        picture = coloured_at(moment, everywhere, STEPS).view(SIDE, SIDE, 3)
        reached = mean_and_spread(predicted(moment, split).accuracy())
        frames.append((picture.numpy(), f"Epoch {moment.epoch:,}: {split} accuracy {reached}"))
    if not frames:
        why = "no weights were kept while this run trained"
        raise UserError(f"decision_animation: {why}; train it anew with plots: [decision_animation]")

    drawn = some_of(len(examples), MOST_POINTS)
    legend = legend_title(len(drawn), examples, split)
    figure = figure_beside_legend(classes, legend)
    figure.set_dpi(DPI)
    axes = figure.subplots()
    image = axes.imshow(frames[-1][0], extent=box, origin="lower", interpolation="nearest")
    draw_square(axes, box, trained.data.features)
    points, targets = examples.raw(drawn).float(), examples.targets.cpu()[drawn]
    draw_points(axes, points, targets, classes, legend)
    widest = max((what for _, what in frames), key=len)
    title = put_title(figure, headline(moment, widest, if_weighted(trained), over_seeds(trained)))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # so that nothing moves between frames

    def show(frame: int) -> list[Artist]:
        picture, what = frames[min(frame, len(frames) - 1)]
        image.set_data(picture)
        title.set_text(titled(figure, headline(moment, what, if_weighted(trained), over_seeds(trained))))
        return [image, title]

    interval = 1000 * seconds / len(frames)
    still = round(1000 * PAUSE / interval)
    return FuncAnimation(figure, show, frames=len(frames) + still, interval=interval, cache_frame_data=False)
