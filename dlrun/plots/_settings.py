"""Pictures of many settings: by which of their values a figure rises and falls, and their curves together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from dlrun.plots._lines import Look, Numbers, draw_line, epoch_axis
from dlrun.plots._style import (
    BLUE,
    CLASS_COLOURS,
    GREY,
    INK,
    TEXT,
    WIDTH,
    legend_above,
    mean_and_spread,
    put_title,
    shown,
    tidy,
)
from dlrun.run_folders.comparison import Comparison, SettingResult
from dlrun.run_folders.records import LARGEST, written
from dlrun.run_folders.significance import decimals
from dlrun.system.files import make_folder, write_atomically

ANOTHER_NAME = "name another file"
MANY_TIMES = 30  # the largest value over the smallest from which an axis is logarithmic
MOST_LINES = len(CLASS_COLOURS)
MOST_BANDS = 5
MOST_CELLS = 12  # of a heat map, across or down
MOST_ROWS = 30
MOST_TICKS = 11
FEW_VALUES = 5
LINE_OF_LEGEND, LINE_OF_TICKS = 66, 48  # letters
TICK_LETTER = 0.016  # of the lower axis: how much room a letter of a label takes
FAN = 0.07  # of an upright axis: how far the lines through one value spread
APART = 0.055  # of an upright axis: so far from each other its labels stand at least
LIGHTEST = 0.12  # of a palette: what a line on white still shows
NOTHING = "#efefef"


def draw_settings(found: Comparison, name: str, path: Path) -> None:
    """Draw by which values the figure of a sweep rises and falls into a PNG file; of one setting nothing."""
    if figure := settings(found, name):
        save(figure, path)


def draw_curves(found: Comparison, path: Path) -> bool:
    """Draw the curves of the settings into a file; whether there are any."""
    figure = curves(found)
    if figure:
        save(figure, path)
    return figure is not None


def save(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all, in the format that its name ends in."""
    make_folder(path.parent, ANOTHER_NAME)
    kind = path.suffix[1:].lower()
    write_atomically(path, lambda file: figure.savefig(file, format=kind, dpi=150), ANOTHER_NAME)


def settings(found: Comparison, name: str) -> Figure | None:
    """The figure that suits the values: a line over one numeric key (one for each value of another), a heat
    map over two, a row for each value of one that is not numeric, else parallel coordinates. None for a
    single setting.
    """
    groups = [group for group in found.groups if group.values]
    keys = list(dict.fromkeys(key for group in groups for key in group.shown))
    if len(groups) < 2 or not keys:
        return None
    numeric = [key for key in keys if all(as_number(group.shown.get(key)) is not None for group in groups)]
    others = [key for key in keys if key not in numeric]
    counts = [len({text(group.shown.get(key)) for group in groups}) for key in keys]
    if len(numeric) == 1 and len(others) <= 1 and len({words(g, others) for g in groups}) <= MOST_LINES:
        figure = over_one(found, groups, numeric[0], others)
    elif len(keys) == 2 and max(counts) <= MOST_CELLS and len(groups) >= 0.5 * counts[0] * counts[1]:
        figure = over_two(found, groups, keys)
    elif len(numeric) == len(keys) == 2:
        figure = scattered(found, groups, keys)
    elif len(keys) == 1 or (len(keys) <= 3 and not numeric and len(groups) <= MOST_ROWS):
        figure = in_rows(found, groups, keys)
    else:
        figure = parallel(found, groups, keys)
    whole = [group for group in groups if group.is_whole] or groups
    best = max(whole, key=lambda g: g.mean if found.higher_is_better else -g.mean)
    reached = mean_and_spread(list(best.values.values()))
    without = sum(bool(group.diverged) for group in found.groups if not group.values)
    in_part = sum(bool(group.diverged) for group in groups)
    facts = [
        shown(name, 40),
        f"{len(groups)} settings",
        how_many_seeds(groups),
        found.epoch,
        f"{without} diverged" if without else "",
        f"{in_part} from some of their seeds" if in_part else "",
    ]
    what = f"Best {shown(found.column, 40)} {reached}: {words(best, keys, longest=48)}"
    put_title(figure, f"{what}\n{' · '.join(filter(None, facts))}")
    return figure


def how_many_seeds(groups: Sequence[SettingResult]) -> str:
    """Of how many seeds the figures are the mean."""
    counts = {len(group.values) for group in groups}
    if counts == {1}:
        return "one seed each"
    n = f"{counts.pop()} seeds" if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"
    return f"mean ± sd of {n}"


def curves(found: Comparison) -> Figure | None:
    """The compared column over the epochs, for each setting the mean of its seeds in a band of ± 1 sd.

    Of many settings the best ones. None where the column was measured once in a run, as its seconds are.
    """
    column = found.column
    if column == "seconds":
        return None
    measured = [group for group in found.groups if group.values]
    best = sorted(measured, key=lambda g: g.mean, reverse=found.higher_is_better)[:MOST_LINES]
    drawn = [group for group in found.groups if group in best]
    keys = list(dict.fromkeys(key for group in drawn for key in group.shown))
    figure = Figure(figsize=(WIDTH, 4.0 + 0.22 * len(drawn)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    longest: Numbers = np.zeros(0)
    reached_values = list[Numbers]()
    for number, group in enumerate(drawn):
        epochs, values = over_epochs(group, column, is_last=not found.is_of_best_epoch)
        if not len(epochs):
            continue
        reached = mean_and_spread(list(group.values.values()))
        label = f"{words(group, keys, longest=50) or shown(group.runs[0].name, 40)}: {reached}"
        # many bands over one another would hide the lines
        draw_line(
            axes, Look(label, CLASS_COLOURS[number]), epochs, values, with_band=len(drawn) <= MOST_BANDS
        )
        longest = max(longest, epochs, key=len)
        reached_values.append(values.mean(1))
    if not len(longest):
        return None
    if not found.higher_is_better and spans(np.sort(np.concatenate(reached_values)).tolist()):
        axes.set_yscale("log")
    axes.set_ylabel(shown(column, 40), fontsize=TEXT)
    epoch_axis(axes, longest)
    legend_above(axes, 1)
    what = f"{shown(column, 40)} of {len(drawn)} setting{'s' if len(drawn) > 1 else ''}"
    what += f", the best of {len(measured)}" if len(measured) > len(drawn) else ""
    left_out = sum(not group.values for group in found.groups)
    facts = [
        how_many_seeds(drawn),
        f"legend: {found.epoch}" if found.epoch else "",
        f"{left_out} diverged" if left_out else "",
    ]
    put_title(figure, f"{what}\n{' · '.join(filter(None, facts))}")
    return figure


def over_epochs(group: SettingResult, column: str, *, is_last: bool = True) -> tuple[Numbers, Numbers]:
    """The epochs (n,) at which a column was measured for every seed, and its figures (n, seeds).

    Where `is_last`, the figures that are compared are those after the last epoch: of a column that is
    measured at the end alone they are all there is.
    """
    of_seeds: dict[int, dict[int, float]] = {}
    ends = set[int]()
    for run in group.runs:
        rows = run.rows()
        ends.add(max(rows.get("epoch", ()), default=0))
        for epoch, seed, value in zip(
            rows.get("epoch", ()), rows.get("seed", ()), rows.get(column, ()), strict=False
        ):
            if seed in group.values and value is not None and math.isfinite(value):
                of_seeds.setdefault(seed, {})[epoch] = value
    if is_last and len(ends) == 1:
        for seed, value in group.values.items():
            of_seeds.setdefault(seed, {}).setdefault(max(ends), value)
    shared = sorted(set.intersection(*map(set, of_seeds.values()))) if of_seeds else []
    values = [[by_epoch[epoch] for by_epoch in of_seeds.values()] for epoch in shared]
    return np.array(shared, dtype=np.float64), np.array(values, dtype=np.float64).reshape(
        len(shared), len(of_seeds)
    )


def over_one(found: Comparison, groups: Sequence[SettingResult], key: str, others: Sequence[str]) -> Figure:
    """A line over the values of a key in a band of ± 1 sd, a line for each value of another key if any."""
    lines: dict[str, list[SettingResult]] = {}
    for group in groups:
        lines.setdefault(words(group, others), []).append(group)
    figure = Figure(figsize=(WIDTH, 4.3 + 0.22 * ((len(lines) + 2) // 3)), layout="constrained")
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
        colour = CLASS_COLOURS[number]
        axes.fill_between(across, means - sds, means + sds, color=colour, alpha=0.18, linewidth=0)
        axes.plot(across, means, color=colour, linewidth=1.8, marker="o", markersize=4.5, label=label)
        if len(lines) == 1:
            for x, group in zip(across, ordered, strict=True):
                seeds = list(group.values.values())
                axes.plot([x] * len(seeds), seeds, ".", color=colour, markersize=5, alpha=0.5)
    if diverged:
        bottom = axes.get_xaxis_transform()  # in the axes' own heights, 0 to 1
        at = sorted({place[number_at(group, key)] for group in diverged})
        axes.plot(at, [0.025] * len(at), "x", color=INK, markersize=7, transform=bottom, clip_on=False)
        axes.text(at[0], 0.06, "diverged", transform=bottom, ha="center", fontsize=TEXT - 1, color=INK)
    means_of_all = sorted(group.mean for group in groups)
    if not found.higher_is_better and spans(means_of_all):
        axes.set_yscale("log")
    axes.set_xlabel(f"{shown(key, 40)}{'' if is_to_scale else ' (not to scale)'}", fontsize=TEXT)
    axes.set_ylabel(shown(found.column, 40), fontsize=TEXT)
    if others:
        longest = max(map(len, lines))
        legend_above(axes, max(1, min(4, len(lines), LINE_OF_LEGEND // (longest + 6))))
        if legend := axes.get_legend():
            legend.set_title(shown(others[0], 40), FontProperties(size=TEXT - 0.5))
            legend.set_alignment("left")
    return figure


def places(axes: Axes, values: Sequence[float]) -> tuple[dict[float, float], bool]:
    """Where values, in order, stand on the lower axis, which is drawn; and whether that is to scale.

    It is logarithmic where that has them further apart; with 0 among such values, they stand evenly.
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
    """Whether values above 0, in order, are nearer to evenly spaced on a logarithmic axis."""
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
    """A heat map over the values of two keys, each cell with its mean ± sd; what diverged is marked."""
    across, down = (ranked([group.shown.get(key) for group in groups]) for key in keys)
    means = np.full((len(down), len(across)), np.nan)
    cells: dict[tuple[int, int], SettingResult | None] = {}
    for group in found.groups:
        x, y = (text(group.shown.get(key)) for key in keys)
        if x in across and y in down:
            cells[down.index(y), across.index(x)] = group
            means[down.index(y), across.index(x)] = group.mean
    figure = Figure(figsize=(WIDTH, max(3.2, 1.9 + 0.52 * len(down))), layout="constrained")
    axes = figure.subplots()
    finite = np.sort(means[np.isfinite(means)])
    is_log = not found.higher_is_better and spans(finite.tolist())
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
    """Which colour is which figure."""
    bar = figure.colorbar(colours, ax=axes)
    bar.set_label(f"{shown(found.column, 30)}\n(dark is better)", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    if isinstance(colours.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)


def scattered(found: Comparison, groups: Sequence[SettingResult], keys: Sequence[str]) -> Figure:
    """A point for each setting at its values of two keys, in the colour of its figure."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    across, up = (np.array([number_at(group, key) for group in groups]) for key in keys)
    means = np.array([group.mean for group in groups])
    is_log = not found.higher_is_better and spans(np.sort(means).tolist())
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
    """What a cell of a heat map says: the mean with so many decimals, its sd where there is room."""
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
    """The different values as texts: numbers by their size, lists of them by their length, others as they
    come.
    """
    lists = [value if isinstance(value, list) else [value] for value in values]
    if all(as_number(item) is not None for each in lists for item in each):
        values = sorted(
            values, key=lambda value: (len(value), value) if isinstance(value, list) else (1, [value])
        )
    return list(dict.fromkeys(text(value) for value in values))


def in_rows(found: Comparison, groups: Sequence[SettingResult], keys: Sequence[str]) -> Figure:
    """A row for each setting, the best one on top: its seeds as points with their mean ± sd, on a bar where
    the axis begins at 0.
    """
    best = sorted(groups, key=lambda group: group.mean, reverse=found.higher_is_better)
    ordered = best[:MOST_ROWS][::-1]
    figure = Figure(figsize=(WIDTH, 1.7 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    axes.grid(axis="y", visible=False)
    values = [value for group in ordered for value in group.values.values()]
    low, high = min(values), max(values)
    from_zero = low >= 0 and high - low > 0.4 * high  # else bars from 0 would hide the differences
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
    axes.set_yticks(range(len(ordered)), [words(group, keys, longest=34) for group in ordered], fontsize=TEXT)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    better = "higher" if found.higher_is_better else "lower"
    axes.set_xlabel(f"{shown(found.column, 40)} ({better} is better)", fontsize=TEXT)
    if len(keys) == 1:
        axes.set_ylabel(shown(keys[0], 40), fontsize=TEXT)
    if from_zero:
        axes.set_xlim(left=0)
    return figure


def parallel(found: Comparison, groups: Sequence[SettingResult], keys: Sequence[str]) -> Figure:
    """A line for each setting through its value of every key, to the figure at the right."""
    columns = [*keys, found.column]
    figure = Figure(figsize=(max(WIDTH, 1.5 * len(columns)), 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(-0.15, len(columns) - 0.55)
    axes.set_ylim(-0.06, 1.06)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    heads = [shown(key.split(".", 1)[-1], 18) for key in keys]
    heads.append(f"{shown(found.column, 18)}\n(dark is better)")
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
        # those that share a value stand side by side there, the better ones above
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
    """Where the values stand on an upright axis, 0 to 1 each; its line and its labels are drawn."""
    numbers = [as_number(value) for value in values]
    axes.axvline(column, color=GREY, linewidth=1)
    if all(number is not None for number in numbers) and len(set(numbers)) > 1:
        as_numbers = np.array(numbers, dtype=np.float64)
        is_log = spans(sorted(set(as_numbers.tolist())))
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
        names = list(dict.fromkeys(text(value) for value in values))
        labels = {name: index / max(1, len(names) - 1) for index, name in enumerate(names)}
        places = np.array([labels[text(value)] for value in values])
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


def palette(found: Comparison) -> str:
    """Dark is better."""
    return "viridis_r" if found.higher_is_better else "viridis"


def luminance(colour: Sequence[float]) -> float:
    """How light a colour (red, green, blue, …) is, 0 to 1 (ITU-R BT.709)."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def spans(values: Sequence[float]) -> bool:
    """Whether values, in order, ask for a logarithmic axis."""
    return len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= MANY_TIMES


def number_at(group: SettingResult, key: str) -> float:
    """A setting's value at a numeric key."""
    return as_number(group.shown[key]) or 0.0


def as_number(value: Any) -> float | None:
    """A value as a number, a list of one number too; None for any other."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
        return float(value)
    return None


def words(group: SettingResult, keys: Sequence[str], longest: int = 30) -> str:
    """The values of some keys, as a label."""
    if len(keys) == 1 and as_number(group.shown.get(keys[0])) is None:  # it speaks for itself
        return text(group.shown.get(keys[0]), longest)
    there = [key for key in keys if key in group.shown]
    named = ", ".join(f"{key.split('.', 1)[-1]} {plainly(group.shown[key])}" for key in there)
    if len(named) > longest:
        named = ", ".join(plainly(group.shown[key]) for key in there)
    return shown(named, longest)


def text(value: Any, longest: int = 24) -> str:
    """A value as a picture may show it."""
    return shown(plainly(value), longest)


def plainly(value: Any) -> str:
    """A value as it is written, numbers with four digits at most."""
    number = as_number(value)
    return f"{number:.4g}" if number is not None else "none" if value is None else written(value)
