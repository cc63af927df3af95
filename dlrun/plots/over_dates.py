"""True values and predictions of a regression over dates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlrun.data.examples import steps_ahead
from dlrun.drawing.dates import date_axis, dates_of, series_of
from dlrun.drawing.estimates import errors, some_targets
from dlrun.drawing.style import (
    BLUE,
    GREY,
    INK,
    RED,
    TEXT,
    WIDTH,
    headline,
    if_weighted,
    legend_above,
    over_seeds,
    put_title,
    some_of,
    target_name,
    tidy,
)
from dlrun.training.trained import Trained

task = "regression"
of_estimates = True
automatic = True

PALER = 0.38
FEW = 120  # up to so many examples get markers
MOST_TARGETS = 4

Numbers = np.ndarray[Any, np.dtype[Any]]


def over_dates(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    most: Annotated[int, Ge(1), Le(100_000)] = 500,
) -> Figure:
    """True values of a split in blue and predictions in red over dates, with the training split paler.

    Predictions are means over seeds ± 1 sd. Without dates examples are sorted by their true values. Of more
    than `most` examples it shows the last ones, without dates a random choice. `split: auto` is the
    evaluation split, or if there is none train.
    """
    chosen = trained.chosen(split)
    outputs, targets = trained.outputs(chosen)
    dated = dates_of(trained.loaded[chosen]) is not None
    paler = dated and chosen != "train" and len(trained.loaded["train"]) + len(targets) <= most
    numbers = some_targets(trained, MOST_TARGETS)
    panels = len(numbers)
    are_steps = trained.data.forecasts and panels > 1

    figure = Figure(figsize=(WIDTH, 1.7 + (2.9 if panels == 1 else 1.9 * panels)), layout="constrained")
    every = figure.subplots(panels, 1, sharex=dated, squeeze=False)[:, 0]
    for number, axes in zip(numbers, every, strict=True):
        tidy(axes)
        axes.set_ylabel(target_name(trained, None if are_steps else number), fontsize=TEXT)
        if are_steps:
            axes.set_title(steps_ahead(number + 1), fontsize=TEXT, color=INK, loc="right")
        elif trained.data.target_names:
            said = errors(trained, chosen, outputs, targets, number)
            axes.set_title(said, fontsize=TEXT, color=INK, loc="left")
        if paler:
            draw_part(trained, axes, "train", number, most, named=True, strength=PALER)
        draw_part(trained, axes, chosen, number, most, named=paler)
    if dated:
        date_axis(every[-1])
    else:
        every[-1].set_xlabel(f"{chosen} examples in the order of their true values", fontsize=TEXT)
    legend_above(every[0], 2, lines=1 if trained.data.target_names else 0)
    figure.align_ylabels()
    left_out = []
    if len(targets) > most:
        left_out.append(f"{'the last ' if dated else ''}{most:,} of {len(targets):,}")
    if targets.shape[1] > panels:
        left_out.append(f"{panels} of {targets.shape[1]} targets")
    several = len(np.unique(series_of(trained.loaded[chosen])))
    left_out += [f"a line for each of {several:,} series"] * (several > 1)
    facts = [trained.at_epoch(), *left_out, if_weighted(trained), over_seeds(trained)]
    what = f"{chosen.capitalize()} predictions of {targets.shape[1]} targets"
    if not trained.data.target_names:
        what = errors(trained, chosen, outputs, targets)
    put_title(figure, headline(trained, what, *facts))
    return figure


def draw_part(
    trained: Trained,
    axes: Axes,
    split: str,
    number: int,
    most: int,
    *,
    named: bool,
    strength: float = 1.0,
) -> None:
    """Draw one target of one split: true values, and predictions with their spread over seeds.

    Consecutive values of a series are joined by lines: dates with no other split's dates between them, or
    sorted true values. Others are points.
    """
    outputs, targets = trained.outputs(split)
    truth, said = targets[:, number].double().numpy(), outputs[..., number].double().numpy()
    dates, series = dates_of(trained.loaded[split], number), series_of(trained.loaded[split])
    if dates is None:
        some = some_of(len(truth), most).numpy()
        kept = some[truth[some].argsort(kind="stable")]
        places: Numbers = np.arange(1, len(kept) + 1)
    else:
        kept = dates.argsort(kind="stable")[-most:]
        kept = kept[series[kept].argsort(kind="stable")]
        places = dates[kept]
    starts = np.flatnonzero(np.diff(series[kept])) + 1  # of further series, before which lines break
    places = np.insert(places, starts, places[starts])
    truth, said = np.insert(truth[kept], starts, np.nan), np.insert(said[:, kept], starts, np.nan, axis=1)
    mean = said.mean(0)
    whole = dates is None or split == "train" or unbroken(trained, split)
    marker = "" if named or len(kept) > FEW else "o"
    label = f"{split}: " if named else ""
    look: dict[str, Any] = {
        "markersize": 3.5 if len(kept) <= FEW else 2.0,
        "linewidth": 1.5,
        "alpha": strength,
    }
    joined, single = look | {"marker": marker}, look | {"marker": "o", "linestyle": ""}
    axes.plot(places, truth, color=BLUE, label=f"{label}true", **(joined if whole else single))
    line = whole and dates is not None
    if not line:
        axes.vlines(places, truth, mean, color=GREY, linewidth=0.6, alpha=0.7, zorder=1)
    if len(said) > 1:
        sd = said.std(0, ddof=1)
        if line:
            axes.fill_between(places, mean - sd, mean + sd, color=RED, alpha=0.25 * strength, linewidth=0)
        else:
            axes.errorbar(places, mean, sd, color=RED, linestyle="", elinewidth=2.5, alpha=0.3)
    axes.plot(places, mean, color=RED, label=f"{label}predicted", **(joined if line else single))


def unbroken(trained: Trained, split: str) -> bool:
    """True if no training example has a date between those of a split."""
    inside, others = dates_of(trained.loaded[split]), dates_of(trained.loaded["train"])
    if inside is None or others is None:
        return True
    return not ((others > inside.min()) & (others < inside.max())).any()
