"""Time series of the target and of features on the same scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.config.options import Few
from dlrun.data.examples import EVALUATION_BATCH, Split
from dlrun.drawing.dates import date_axis, dates_of, rows_of_series
from dlrun.drawing.fonts import Picture
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
ALIKE = 5.0  # series whose spans differ by at most this factor share a scale

Numbers = np.ndarray[Any, np.dtype[Any]]


def series(trained: Trained, *, most: Few = 5) -> Figure:
    """The target over dates, and further panels on the same scale.

    They are its features and baselines, except earlier values of the target. Of data of several series each
    has a panel of its target instead. All splits are shown together, in red the examples outside the
    training split. Raises UserError if there are no dates.

    Args:
        most: Panels to show besides the first.
    """
    names = named_splits(trained)
    found = [dates_of(trained.loaded[name]) for name in names]
    if any(dates is None for dates in found):
        raise UserError("series: the data has no dates")
    dates = np.concatenate([part for part in found if part is not None])
    kept_back = np.concatenate([np.full(len(trained.loaded[name]), name != "train") for name in names])
    target = torch.cat([trained.loaded[name].targets.cpu() for name in names])[:, 0].double()
    rows = places_of_series(trained, names)
    several = len(rows) > 1
    if several:
        drawn = {name: (target.numpy(), own) for name, own in [*rows.items()][: most + 1]}
        left_out = f"the first {len(drawn)} series" if len(rows) > len(drawn) else ""
    else:
        alike = on_the_scale(target, figures(trained, names))
        shown_ones = {target_name(trained): target} | dict(list(alike.items())[:most])
        drawn = {name: (values.numpy(), np.arange(len(dates))) for name, values in shown_ones.items()}
        left_out = f"{most} of {len(alike)} on this scale" if len(alike) > most else ""

    beside = 1 if len(drawn) == 1 or (several and len(drawn) <= 3) else BESIDE
    deep = -(-len(drawn) // beside)
    share = not several or are_alike([target[own] for _, own in drawn.values()])
    figure = Picture(figsize=(WIDTH, 1.0 + 1.75 * deep), layout="constrained")
    every = list(figure.subplots(deep, beside, sharex=True, sharey=share, squeeze=False).flat)
    for axes, (name, (values, own)) in zip(every, drawn.items(), strict=False):
        tidy(axes)
        ordered = own[dates[own].argsort(kind="stable")]
        draw_line(axes, dates[ordered], values[ordered], kept_back[ordered])
        axes.set_title(shown(name, 40) if several else name, fontsize=TEXT, color=INK, loc="left")
        date_axis(axes, most=8 if beside == 1 else 5)
    for axes in every[len(drawn) :]:
        axes.set_visible(False)
    for axes in every[max(0, len(drawn) - beside) : len(drawn)]:
        axes.tick_params(labelbottom=True)  # the panel below is empty and shows none
    if several:
        figure.supylabel(target_name(trained), fontsize=TEXT, color=INK)
    others = " and ".join(name for name in names if name != "train")
    counted = f"rows of {len(rows):,} series" if several else "dates"
    what = f"{len(dates):,} {counted}" + (f", {others} in red" if others else "")
    put_title(figure, headline(trained, what, left_out, "" if share else "each on its own scale"))
    return figure


def places_of_series(trained: Trained, splits: list[str]) -> dict[str, Numbers]:
    """The places (m,) of the examples of each series among some splits together, by its name."""
    found: dict[str, list[Numbers]] = {}
    first = 0
    for split in splits:
        for name, rows in rows_of_series(trained.data, trained.loaded[split]).items():
            found.setdefault(name, []).append(first + rows)
        first += len(trained.loaded[split])
    return {name: np.concatenate(rows) for name, rows in found.items()}


def are_alike(parts: list[Tensor]) -> bool:
    """True if some figures, (n,) of each series, can be read on the scale of all of them."""
    spans = [float(part.max() - part.min()) for part in parts if len(part) > 1]
    whole = float(torch.cat(parts).max() - torch.cat(parts).min())
    return not spans or whole <= ALIKE * min(spans)


def draw_line(axes: Axes, dates: Numbers, values: Numbers, kept_back: Numbers) -> None:
    """Draw values (n,) over sorted dates, red where they are kept back: a line from there on, or points."""
    axes.plot(dates, values, color=BLUE, linewidth=1.1)
    since = int(kept_back.argmax())
    if kept_back.any() and kept_back[since:].all():
        axes.plot(dates[since:], values[since:], color=RED, linewidth=1.1)
    else:
        axes.plot(dates[kept_back], values[kept_back], "o", color=RED, markersize=1.8)


def figures(trained: Trained, splits: list[str]) -> dict[str, Tensor]:
    """Each feature (n,) and each baseline that is not a feature, over some splits together.

    Of a baseline with a guess for each target it is that of the first. Earlier values of the targets are
    left out, which are the targets again.
    """
    data, parts = trained.data, [trained.loaded[split] for split in splits]
    inputs = torch.cat([last_rows(trained, part) for part in parts]).double()
    names = data.features or [f"input {number}" for number in range(1, inputs.shape[1] + 1)]
    found = dict(zip(names, inputs.T, strict=True))
    lags = [found[name] for name in data.lags if name in found]
    for guess in data.baselines:
        values = torch.cat([part.aside[guess].reshape(len(part), -1)[:, 0] for part in parts]).double()
        if any(_are_same(lag, values) for lag in lags):
            continue
        # A guess is kept in float32.
        same = [name for name, others in found.items() if _are_same(others, values)]
        if same:
            known = {name: name if name == guess else f"{name} ({guess})" for name in same}
            found = {known.get(name, name): one for name, one in found.items()}
        else:
            found[guess] = values
    return {shown(name, 28): values for name, values in found.items() if name not in data.lags}


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
