"""Time series of the target and of features on the same scale."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.config.options import Few
from dlrun.data.examples import EVALUATION_BATCH, Split
from dlrun.drawing.dates import date_axis, dates_of, series_of
from dlrun.drawing.style import (
    BLUE,
    INK,
    RED,
    TEXT,
    WIDTH,
    headline,
    named_splits,
    put_title,
    shown,
    target_name,
    tidy,
)
from dlrun.errors import UserError
from dlrun.training.trained import Trained

task = "regression"
of_estimates = True
of = "data"
aside = "date"

BESIDE = 2  # panels in a row


def series(trained: Trained, *, most: Few = 5) -> Figure:
    """The target over dates, and a panel for each feature or baseline on the same scale, at most `most`.

    Each series has a line. All splits are shown together; red dots are examples outside the training split.
    Raises UserError if there are no dates.
    """
    names = named_splits(trained)
    found = [dates_of(trained.loaded[name]) for name in names]
    if any(dates is None for dates in found):
        raise UserError("series: the data has no dates")
    dates = np.concatenate([part for part in found if part is not None])
    numbers = np.concatenate([series_of(trained.loaded[name]) for name in names])
    order = np.lexsort((dates, numbers))
    dates, numbers = dates[order], numbers[order]
    starts = np.flatnonzero(np.diff(numbers)) + 1  # of further series, before which lines break
    kept_back = np.concatenate([np.full(len(trained.loaded[name]), name != "train") for name in names])[order]
    target = torch.cat([trained.loaded[name].targets.cpu() for name in names])[:, 0].double()
    alike = on_the_scale(target, figures(trained, names))
    shown_ones = {target_name(trained): target} | dict(list(alike.items())[:most])

    rows = -(-len(shown_ones) // BESIDE)
    figure = Figure(figsize=(WIDTH, 1.0 + 1.75 * rows), layout="constrained")
    every = list(figure.subplots(rows, BESIDE, sharex=True, sharey=True, squeeze=False).flat)
    for axes, (name, values) in zip(every, shown_ones.items(), strict=False):
        tidy(axes)
        line = values.numpy()[order]
        places = np.insert(dates, starts, dates[starts])
        axes.plot(places, np.insert(line, starts, np.nan), color=BLUE, linewidth=1.1)
        axes.plot(dates[kept_back], line[kept_back], "o", color=RED, markersize=1.8)
        axes.set_title(name, fontsize=TEXT, color=INK, loc="left")
        date_axis(axes)
    for axes in every[len(shown_ones) :]:
        axes.set_visible(False)
    for axes in every[max(0, len(shown_ones) - BESIDE) : len(shown_ones)]:
        axes.tick_params(labelbottom=True)  # the panel below is empty and shows none
    others = " and ".join(name for name in names if name != "train")
    counted = f"rows of {len(starts) + 1:,} series" if len(starts) else "dates"
    what = f"{len(dates):,} {counted}" + (f", {others} in red" if others else "")
    left_out = f"{most} of {len(alike)} on this scale" if len(alike) > most else ""
    put_title(figure, headline(trained, what, left_out))
    return figure


def figures(trained: Trained, splits: list[str]) -> dict[str, Tensor]:
    """Each feature (n,) and each baseline that is not a feature, over some splits together.

    Of a baseline with a guess for each target it is that of the first.
    """
    data, parts = trained.data, [trained.loaded[split] for split in splits]
    inputs = torch.cat([last_rows(trained, part) for part in parts]).double()
    names = data.features or [f"input {number}" for number in range(1, inputs.shape[1] + 1)]
    found = dict(zip(names, inputs.T, strict=True))
    for guess in data.baselines:
        values = torch.cat([part.aside[guess].reshape(len(part), -1)[:, 0] for part in parts]).double()
        # A guess is kept in float32.
        same = [name for name, others in found.items() if _are_same(others, values)]
        if same:
            known = {name: name if name == guess else f"{name} ({guess})" for name in same}
            found = {known.get(name, name): one for name, one in found.items()}
        else:
            found[guess] = values
    return {shown(name, 28): values for name, values in found.items()}


def _are_same(feature: Tensor, guess: Tensor) -> bool:
    """True if a guess is a feature, in whose place something stands where it is missing."""
    there = ~feature.isnan()
    return bool(there.any()) and torch.equal(feature[there].float(), guess[there].float())


def last_rows(trained: Trained, split: Split) -> Tensor:
    """The features (n, …) of a split as vectors; of a window of a series those of its last row."""
    if not trained.data.forecasts:
        return split.raw().flatten(1)
    return torch.cat([split.raw(some)[:, -1] for some in torch.arange(len(split)).split(EVALUATION_BATCH)])


def on_the_scale(target: Tensor, others: dict[str, Tensor]) -> dict[str, Tensor]:
    """The `others` whose location and spread are like those of the target (n,)."""
    levels = torch.tensor([0.05, 0.95], dtype=torch.float64)
    low, high = target.quantile(levels).tolist()
    found = {}
    for name, values in others.items():
        lower, upper = values.nanquantile(levels).tolist()
        span = (upper - lower) / (high - low or 1.0)
        if 0.25 <= span <= 4 and lower < high and upper > low:
            found[name] = values
    return found
