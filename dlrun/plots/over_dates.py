"""True values and predictions of a regression over dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlrun.data.examples import steps_ahead
from dlrun.drawing.dates import date_axis, dates_of, rows_of_series
from dlrun.drawing.estimates import errors, some_targets
from dlrun.drawing.fonts import Picture
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
    shown,
    some_of,
    target_name,
    tidy,
)
from dlrun.training.trained import Trained

task = "regression"
of_estimates = True
automatic = True
aside = "date"

PALER = 0.38
LINE = 68  # letters of the full size above a panel
FEW = 120  # up to so many examples get markers
MOST_TARGETS = 4
MOST_PANELS = 6  # of the targets of several series

Numbers = np.ndarray[Any, np.dtype[Any]]


def over_dates(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    most: Annotated[int, Ge(1), Le(100_000)] = 500,
) -> Figure:
    """True values of a split in blue and predictions in red over dates, with the training split paler.

    Predictions are means over seeds ± 1 sd. Each series has a panel, at most six. Rows without dates are
    sorted by their true values, and are drawn only if a config or a command names this plot.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        most: Examples to show of the series drawn: of more the last ones, without dates a random choice.
    """
    chosen = trained.chosen(split)
    outputs, targets = trained.outputs(chosen)
    dated = dates_of(trained.loaded[chosen]) is not None
    numbers = some_targets(trained, MOST_TARGETS)
    series = rows_of_series(trained.data, trained.loaded[chosen]) if dated else {"": np.arange(len(targets))}
    several = len(series) > 1
    drawn = dict([*series.items()][: MOST_PANELS // len(numbers) if several else 1])
    count = sum(map(len, drawn.values()))
    paler = dated and chosen != "train" and len(trained.loaded["train"]) + len(targets) <= most
    panels = [(number, name) for name in drawn for number in numbers]
    are_steps = trained.data.forecasts and len(numbers) > 1

    height = 1.7 + (2.9 if len(panels) == 1 else 1.9 * len(panels))
    figure = Picture(figsize=(WIDTH, height), layout="constrained")
    every = figure.subplots(len(panels), 1, sharex=dated, squeeze=False)[:, 0]
    recent = latest(trained, chosen, [*drawn.values()], most)
    for (number, name), axes in zip(panels, every, strict=True):
        tidy(axes)
        axes.set_ylabel(target_name(trained, None if are_steps else number), fontsize=TEXT)
        if are_steps:
            axes.set_title(steps_ahead(number + 1), fontsize=TEXT, color=INK, loc="right")
        elif several or trained.data.target_names:
            some = torch.from_numpy(drawn[name])
            said = errors(trained, chosen, outputs, targets, number, some if several else None)
            said = f"{shown(name)}: {said}" if several else said
            size = min(TEXT, TEXT * LINE / len(said))
            axes.set_title(said, fontsize=size, color=INK, loc="left")
        if paler:
            of_name = rows_of_series(trained.data, trained.loaded["train"]).get(name, np.arange(0))
            draw_part(trained, axes, "train", number, of_name, named=True, strength=PALER)
        draw_part(trained, axes, chosen, number, np.intersect1d(drawn[name], recent), named=paler)
    if dated:
        date_axis(every[-1])
    else:
        every[-1].set_xlabel(f"{chosen} rows in the order of their true values; no dates", fontsize=TEXT)
    legend_above(every[0], 2, lines=1 if several or trained.data.target_names else 0)
    figure.align_ylabels()
    left_out = []
    if len(drawn) < len(series):
        left_out.append(f"the first {len(drawn)} of {len(series):,} series")
    if count > most:
        left_out.append(f"{'the last ' if dated else ''}{most:,} of {count:,}")
    if targets.shape[1] > len(numbers):
        left_out.append(f"{len(numbers)} of {targets.shape[1]} targets")
    facts = [trained.at_epoch(), *left_out, if_weighted(trained), over_seeds(trained)]
    what = f"{chosen.capitalize()} predictions of {targets.shape[1]} targets"
    if not trained.data.target_names:
        what = errors(trained, chosen, outputs, targets)
    put_title(figure, headline(trained, what, *facts))
    return figure


def latest(trained: Trained, split: str, series: Sequence[Numbers], most: int) -> Numbers:
    """The places of the last `most` of the examples of some series, without dates of some at random."""
    rows, dates = np.concatenate(series), dates_of(trained.loaded[split])
    if dates is None:
        return some_of(len(rows), most).numpy()
    order = dates[rows].argsort(kind="stable")
    return np.asarray(rows[order[-most:]])


def draw_part(
    trained: Trained,
    axes: Axes,
    split: str,
    number: int,
    rows: Numbers,
    *,
    named: bool,
    strength: float = 1.0,
) -> None:
    """Draw one target of some examples (m,) of a split: true values, and predictions with their spread.

    Consecutive values are joined by lines: dates with no other split's dates between them, or sorted true
    values. Others are points.
    """
    outputs, targets = trained.outputs(split)
    truth, said = targets[:, number].double().numpy(), outputs[..., number].double().numpy()
    dates = dates_of(trained.loaded[split], number)
    kept = rows[(truth if dates is None else dates)[rows].argsort(kind="stable")]
    places: Numbers = np.arange(1, len(kept) + 1) if dates is None else dates[kept]
    truth, said = truth[kept], said[:, kept]
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
