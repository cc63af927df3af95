"""Histograms of the confidence of right and of wrong predictions."""

from __future__ import annotations

from matplotlib.figure import Figure

from dlrun.config.options import Many
from dlrun.drawing.fonts import Picture
from dlrun.drawing.style import (
    BLUE,
    RED,
    TEXT,
    WIDTH,
    headline,
    legend_above,
    over_seeds,
    predicted,
    put_title,
    tidy,
)
from dlrun.training.trained import Trained

task = "classification"  # automatic = True would draw it for every run of this task


def my_part(trained: Trained, *, bins: Many = 20) -> Figure:
    """The probability of the predicted class, of right and of wrong predictions.

    A plot is `x(trained, *, …) -> Figure`. `trained` has the model, its data and its outputs for each split;
    axis 0 of these is the seed. dlrun saves the figure in plots/ of the run.

    Args:
        bins: Bars of each histogram.
    """
    split = trained.split  # test or valid, or train if there is neither
    found = predicted(trained, split)
    right = found.classes == found.targets  # (copies, n)
    figure = Picture(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    for label, chosen, colour in (("right", right, BLUE), ("wrong", ~right, RED)):
        sure = found.sureness[chosen].tolist()
        axes.hist(sure, bins=bins, range=(0, 1), color=colour, alpha=0.6, label=f"{label} ({len(sure):,})")
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability of the predicted class", fontsize=TEXT)
    axes.set_ylabel("examples" if len(right) == 1 else "examples × seeds", fontsize=TEXT)
    legend_above(axes, 2)
    what = f"Confidence on the {split} split"
    put_title(figure, headline(trained, what, trained.at_epoch(), over_seeds(trained)))
    return figure
