"""Pictures of a sweep over the values of one or two keys: lines, a heat map or points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, NullLocator

from dlrun.drawing.fonts import Picture
from dlrun.drawing.lines import look_of
from dlrun.drawing.setting_values import MANY_TIMES, as_number, number_at, spans_decades, text_of, words_of
from dlrun.drawing.style import (
    INK,
    TEXT,
    WIDTH,
    legend_above,
    shown,
    tidy,
)
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.setting_results import SettingResult
from dlrun.run_folders.significance import decimals
from dlrun.training.figures import column_name

MOST_TICKS = 11
FEW_VALUES = 5
LINE_OF_LEGEND = 66  # letters
LINE_OF_TICKS = 48  # letters
TICK_LETTER = 0.016  # width of a letter of a tick label, as a share of the x axis
NOTHING = "#efefef"


def over_one(found: Comparison, groups: Sequence[SettingResult], key: str, others: Sequence[str]) -> Figure:
    """Draw a line over the values of a key in a band of ± 1 sd, or one for each value of another key."""
    lines: dict[str, list[SettingResult]] = {}
    for group in groups:
        lines.setdefault(words_of(group, others), []).append(group)
    figure = Picture(figsize=(WIDTH, 4.3 + 0.22 * ((len(lines) + 2) // 3)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    diverged = [group for group in found.groups if group.diverged and not group.values]
    diverged = [group for group in diverged if as_number(group.shown.get(key)) is not None]
    values = sorted({number_at(group, key) for group in [*groups, *diverged]})
    place, is_to_scale = places(axes, values)
    for number, (label, of_line) in enumerate(lines.items()):
        ordered = sorted(of_line, key=lambda group: number_at(group, key))
        across = np.array([place[number_at(group, key)] for group in ordered])
        means = np.array([group.mean for group in ordered])
        sds = np.array([group.sd or 0.0 for group in ordered])
        look = look_of(number, label)
        colour = look.colour
        axes.fill_between(across, means - sds, means + sds, color=colour, alpha=0.18, linewidth=0)
        axes.plot(across, means, look.dashes, color=colour, marker=look.marker, markersize=5.5, label=label)
        if len(lines) == 1:
            for x, group in zip(across, ordered, strict=True):
                seeds = list(group.values.values())
                axes.plot([x] * len(seeds), seeds, ".", color=colour, markersize=5, alpha=0.5)
    if diverged:
        bottom = axes.get_xaxis_transform()  # y from 0 to 1 over the height of the axes
        at = sorted({place[number_at(group, key)] for group in diverged})
        axes.plot(at, [0.025] * len(at), "x", color=INK, markersize=7, transform=bottom, clip_on=False)
        axes.text(at[0], 0.06, "diverged", transform=bottom, ha="center", fontsize=TEXT - 1, color=INK)
    means_of_all = sorted(group.mean for group in groups)
    if not found.higher_is_better and spans_decades(means_of_all):
        axes.set_yscale("log")
    axes.set_xlabel(f"{shown(key, 40)}{'' if is_to_scale else ' (not to scale)'}", fontsize=TEXT)
    axes.set_ylabel(shown(column_name(found.column), 40), fontsize=TEXT)
    if others:
        longest = max(map(len, lines))
        legend_above(axes, max(1, min(4, len(lines), LINE_OF_LEGEND // (longest + 6))))
        if legend := axes.get_legend():
            legend.set_title(shown(others[0], 40), FontProperties(size=TEXT - 0.5))
            legend.set_alignment("left")
    return figure


def places(axes: Axes, values: Sequence[float]) -> tuple[dict[float, float], bool]:
    """Draw the x axis, and return the position of each sorted value and True if they are to scale.

    The axis is logarithmic if that spaces the values more evenly; if one of these is 0, they are spaced
    evenly, not to scale.
    """
    place = {value: value for value in values}
    positive = [value for value in values if value > 0]
    is_log, is_to_scale = is_better_log(positive), len(positive) == len(values)
    if is_log and is_to_scale:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    elif is_log:
        place = {value: float(index) for index, value in enumerate(values)}
    along = np.log(values) if is_log and is_to_scale else np.array([place[value] for value in values])
    share = max(1 / MOST_TICKS, TICK_LETTER * max(len(f"{value:g}") for value in values))
    room = (along[-1] - along[0]) * share if len(values) > 1 else 0.0
    ticks, last = list[float](), -math.inf
    for value, at in zip(values, along, strict=True):
        if at - last >= room:
            ticks.append(value)
            last = float(at)
    axes.set_xticks([place[value] for value in ticks], [f"{value:g}" for value in ticks])
    return place, is_to_scale or not is_log


def is_better_log(values: Sequence[float]) -> bool:
    """True if sorted positive values are spaced more evenly on a logarithmic axis."""
    if len(values) < 2 or values[-1] < 4 * values[0]:
        return False
    if len(values) == 2:
        return values[-1] >= MANY_TIMES * values[0]
    even = np.linspace(0, 1, len(values))
    uneven = [
        float(np.abs((along - along[0]) / (along[-1] - along[0]) - even).max())
        for along in (np.array(values), np.log(values))
    ]
    return uneven[1] < uneven[0]


def over_two(found: Comparison, groups: Sequence[SettingResult], keys: Sequence[str]) -> Figure:
    """Draw a heat map over the values of two keys, each cell with mean ± sd; diverged settings are marked."""
    across, down = (ranked([group.shown.get(key) for group in groups]) for key in keys)
    means = np.full((len(down), len(across)), np.nan)
    cells: dict[tuple[int, int], SettingResult | None] = {}
    for group in found.groups:
        x, y = (text_of(group.shown.get(key)) for key in keys)
        if x in across and y in down:
            cells[down.index(y), across.index(x)] = group
            means[down.index(y), across.index(x)] = group.mean
    figure = Picture(figsize=(WIDTH, max(3.2, 1.9 + 0.52 * len(down))), layout="constrained")
    axes = figure.subplots()
    finite = np.sort(means[np.isfinite(means)])
    is_log = not found.higher_is_better and spans_decades(finite.tolist())
    norm = (LogNorm if is_log else Normalize)(finite[0], finite[-1])
    colours = axes.imshow(means, cmap=palette(found), norm=norm, aspect="auto", origin="lower")
    axes.set_facecolor(NOTHING)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(across)), across, fontsize=TEXT)
    if max(map(len, across)) > LINE_OF_TICKS / len(across):
        for tick in axes.get_xticklabels():
            tick.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(down)), down, fontsize=TEXT)
    axes.tick_params(length=0)
    axes.set_xlabel(shown(keys[0], 40), fontsize=TEXT)
    axes.set_ylabel(shown(keys[1], 40), fontsize=TEXT)
    digits = None if is_log else decimals((finite[-1] - finite[0]) / 10)
    for row, column in np.ndindex(*means.shape):
        cell = cells.get((row, column))
        is_dark = luminance(np.asarray(colours.to_rgba(means[row, column])).tolist()) < 0.5
        colour = "white" if cell and cell.values and is_dark else INK
        label = in_cell(cell, digits, len(across))
        axes.text(column, row, label, ha="center", va="center", size=TEXT, color=colour, linespacing=1.1)
    colour_bar(figure, axes, colours, found)
    return figure


def colour_bar(figure: Figure, axes: Axes, colours: ScalarMappable, found: Comparison) -> None:
    """Draw the colour bar of the figure."""
    bar = figure.colorbar(colours, ax=axes)
    bar.set_label(f"{shown(column_name(found.column), 30)}\n(dark is better)", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    if isinstance(colours.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)


def scattered(found: Comparison, groups: Sequence[SettingResult], keys: Sequence[str]) -> Figure:
    """Draw a point for each setting at its values of two keys, coloured by its figure."""
    figure = Picture(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    across, up = (np.array([number_at(group, key) for group in groups]) for key in keys)
    means = np.array([group.mean for group in groups])
    is_log = not found.higher_is_better and spans_decades(np.sort(means).tolist())
    norm = (LogNorm if is_log else Normalize)(means.min(), means.max())
    order = np.argsort(means if found.higher_is_better else -means)  # the best ones on top
    colours = axes.scatter(
        across[order], up[order], 60, means[order], cmap=palette(found), norm=norm, edgecolors="white"
    )
    axes.scatter(across[order[-1]], up[order[-1]], 190, facecolors="none", edgecolors=INK, linewidths=1.4)
    axes.annotate(
        "best", (across[order[-1]], up[order[-1]]), (9, 7), textcoords="offset points", fontsize=TEXT
    )
    for axis, values in (("x", across), ("y", up)):
        different = np.unique(values)
        if different[0] > 0 and is_better_log(different.tolist()):
            axes.set(**{f"{axis}scale": "log"})
        if len(different) <= FEW_VALUES:
            on_axis = axes.xaxis if axis == "x" else axes.yaxis
            on_axis.set_minor_locator(NullLocator())
            on_axis.set_ticks(different.tolist(), [f"{value:g}" for value in different])
    axes.set_xlabel(shown(keys[0], 40), fontsize=TEXT)
    axes.set_ylabel(shown(keys[1], 40), fontsize=TEXT)
    colour_bar(figure, axes, colours, found)
    return figure


def in_cell(group: SettingResult | None, digits: int | None, columns: int) -> str:
    """The text of a heat map's cell: the mean with `digits` decimals, and its sd if there is room."""
    if group is None or not group.values:
        is_diverged = group is not None and bool(group.diverged)
        return ("diverged" if columns <= 7 else "×") if is_diverged else "–"
    if columns > 10:
        return ""
    mean = f"{group.mean:.3g}" if digits is None else f"{group.mean:.{min(digits, 4)}f}"
    if group.sd is None or columns > 7:
        return mean
    return f"{mean}\n± {group.sd:.0f}" if group.sd >= 100 else f"{mean}\n± {group.sd:.2g}"


def ranked(values: Sequence[Any]) -> list[str]:
    """The distinct values as text: numbers sorted, lists of numbers by length, others in the given order."""
    lists = [value if isinstance(value, list) else [value] for value in values]
    if all(as_number(item) is not None for each in lists for item in each):
        values = sorted(
            values, key=lambda value: (len(value), value) if isinstance(value, list) else (1, [value])
        )
    return list(dict.fromkeys(text_of(value) for value in values))


def palette(found: Comparison) -> str:
    """The name of the colour map in which darker colours are better."""
    return "viridis_r" if found.higher_is_better else "viridis"


def luminance(colour: Sequence[float]) -> float:
    """The luminance of a colour (red, green, blue, …), 0 to 1 (ITU-R BT.709)."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
