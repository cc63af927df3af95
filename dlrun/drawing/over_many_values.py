"""Pictures of a sweep over many keys: a row for each setting, or parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlrun.drawing.fonts import Picture
from dlrun.drawing.over_values import MOST_TICKS, palette
from dlrun.drawing.setting_values import as_number, labels_of, spans_decades, text_of
from dlrun.drawing.style import (
    BLUE,
    GREY,
    INK,
    TEXT,
    WIDTH,
    shown,
    tidy,
)
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.setting_results import SettingResult
from dlrun.training.figures import column_name

MOST_ROWS = 30
FAN = 0.07  # spread of the lines through one value, as a share of the axis
APART = 0.055  # smallest distance between labels, as a share of the axis
LIGHTEST = 0.12  # start of the palette; lighter lines would not show on white


def in_rows(found: Comparison, groups: Sequence[SettingResult], keys: Sequence[str]) -> Figure:
    """Draw a row for each setting, the best on top: its seeds as points, their mean ± sd, and a bar if the
    axis begins at 0.
    """
    best = sorted(groups, key=lambda group: group.mean, reverse=found.higher_is_better)
    ordered = best[:MOST_ROWS][::-1]
    figure = Picture(figsize=(WIDTH, 1.7 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    axes.grid(axis="y", visible=False)
    values = [value for group in ordered for value in group.values.values()]
    low, high = min(values), max(values)
    from_zero = low >= 0 and high - low > 0.4 * high  # otherwise bars from 0 would hide the differences
    for place, group in enumerate(ordered):
        points = list(group.values.values())
        if from_zero:
            axes.barh(place, group.mean, 0.62, color=BLUE, alpha=0.3)
        axes.plot(points, [place] * len(points), "o", color=BLUE, markersize=3.5, alpha=0.45, clip_on=False)
        axes.errorbar(
            group.mean,
            place,
            xerr=group.sd,
            fmt="o",
            color=INK,
            markersize=5.5,
            capsize=3.5,
            linewidth=1.4,
            clip_on=False,
        )
    axes.set_yticks(range(len(ordered)), labels_of(ordered, keys, 34), fontsize=TEXT)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    better = "higher" if found.higher_is_better else "lower"
    axes.set_xlabel(f"{shown(column_name(found.column), 40)} ({better} is better)", fontsize=TEXT)
    if len(keys) == 1:
        axes.set_ylabel(shown(keys[0], 40), fontsize=TEXT)
    if from_zero:
        axes.set_xlim(left=0)
    return figure


def parallel(found: Comparison, groups: Sequence[SettingResult], keys: Sequence[str]) -> Figure:
    """Draw parallel coordinates: a line for each setting through its values to its figure at the right."""
    columns = [*keys, found.column]
    figure = Picture(figsize=(max(WIDTH, 1.5 * len(columns)), 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(-0.15, len(columns) - 0.55)
    axes.set_ylim(-0.06, 1.06)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    heads = [shown(key.split(".", 1)[-1], 18) for key in keys]
    heads.append(f"{shown(column_name(found.column), 18)}\n(dark is better)")
    axes.set_xticks(range(len(columns)), heads, fontsize=TEXT)
    axes.tick_params(length=0)
    places = np.empty((len(groups), len(columns)))
    for column, key in enumerate(keys):
        places[:, column] = along(axes, column, [group.shown.get(key) for group in groups])
    means = [group.mean for group in groups]
    is_shared = np.array([len(np.unique(places[:, column])) < len(groups) for column in range(len(keys))])
    places[:, -1] = along(axes, len(columns) - 1, means)
    norm, colours = Normalize(min(means), max(means)), colormaps[palette(found)]
    worst_first = sorted(range(len(groups)), key=lambda i: means[i], reverse=not found.higher_is_better)
    for rank, index in enumerate(worst_first, 1):
        is_good = rank > 0.8 * len(groups)
        # settings that share a value are spread around it, the better ones higher
        places[index, :-1] += FAN * (rank / len(groups) - 0.5) * is_shared
        axes.plot(
            range(len(columns)),
            places[index],
            color=colours(LIGHTEST + (1 - LIGHTEST) * float(norm(means[index]))),
            linewidth=2.0 if is_good else 1.2,
            alpha=0.95 if is_good else 0.45,
        )
    return figure


def along(axes: Axes, column: int, values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Draw a vertical axis with labels, and return the position of each value on it, 0 to 1."""
    numbers = [as_number(value) for value in values]
    axes.axvline(column, color=GREY, linewidth=1)
    if all(number is not None for number in numbers) and len(set(numbers)) > 1:
        as_numbers = np.array(numbers, dtype=np.float64)
        is_log = spans_decades(sorted(set(as_numbers.tolist())))
        scale = np.log if is_log else np.asarray
        low, high = scale(as_numbers.min()), scale(as_numbers.max())
        places = (scale(as_numbers) - low) / (high - low)
        ticks = np.unique(as_numbers)
        if len(ticks) > MOST_TICKS and not is_log:
            ticks = np.array(
                [t for t in MaxNLocator(6).tick_values(ticks[0], ticks[-1]) if ticks[0] <= t <= ticks[-1]]
            )
        labels, last = {}, -1.0
        for value, place in zip(ticks.tolist(), ((scale(ticks) - low) / (high - low)).tolist(), strict=True):
            if place - last >= APART:
                labels[f"{value:.4g}"] = place
                last = place
    else:
        names = list(dict.fromkeys(text_of(value) for value in values))
        labels = {name: index / max(1, len(names) - 1) for index, name in enumerate(names)}
        places = np.array([labels[text_of(value)] for value in values])
    for label, place in labels.items():
        axes.annotate(
            label,
            (column, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=TEXT - 1.5,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
            zorder=3,
        )
    return np.asarray(places, dtype=np.float64)
