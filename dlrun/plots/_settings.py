"""Pictures of many settings: by which of their values a figure rises and falls, and their curves together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dlrun.compare import Comparison, Group
from dlrun.errors import UserError
from dlrun.files import make_folder, write_atomically
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

ANOTHER_NAME = "name another file"
MANY_TIMES = 30  # the largest value over the smallest from which an axis is logarithmic
MOST_LINES = len(CLASS_COLOURS)


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
    map over two, parallel coordinates over more, bars where no key is numeric. None for a single setting.
    """
    groups = [group for group in found.groups if group.values]
    keys = list(dict.fromkeys(key for group in groups for key in group.shown))
    if len(groups) < 2 or not keys:
        return None
    numeric = [key for key in keys if all(as_number(group.shown.get(key)) is not None for group in groups)]
    others = [key for key in keys if key not in numeric]
    lines = len({words(group, others) for group in groups})
    if len(numeric) == 1 and len(others) <= 1 and lines <= MOST_LINES:
        figure = over_one(found, groups, numeric[0], others)
    elif len(numeric) == 2 and not others:
        figure = over_two(found, groups, numeric)
    elif not numeric and len(others) == 1:
        figure = bars(found, groups, others)
    else:
        figure = parallel(found, groups, keys)
    best = max(groups, key=lambda g: g.mean if found.higher_is_better else -g.mean)
    n = {len(group.values) for group in groups}
    seeds = f"mean ± sd of {n.pop()} seeds" if len(n) == 1 else "mean ± sd over seeds"
    facts = [
        shown(name, 40),
        f"{len(groups)} settings",
        seeds if seeds != "mean ± sd of 1 seeds" else "one seed",
    ]
    reached = mean_and_spread(list(best.values.values()))
    what = f"Best {shown(found.metric)} {reached}: {words(best, keys, longest=60)}"
    put_title(figure, f"{what}\n{' · '.join(facts)}")
    return figure


def curves(found: Comparison) -> Figure:
    """The compared column over the epochs, for each setting the mean of its seeds in a band of ± 1 sd.

    Of many settings the best ones. Raises UserError where the column has no epochs.
    """
    column = found.metric.removeprefix("best.")
    best = sorted((g for g in found.groups if g.values), key=lambda g: g.mean, reverse=found.higher_is_better)
    drawn = best[:MOST_LINES]
    keys = list(dict.fromkeys(key for group in drawn for key in group.shown))
    figure = Figure(figsize=(WIDTH, 4.0 + 0.22 * len(drawn)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    longest: Numbers = np.zeros(0)
    for number, group in enumerate(group for group in found.groups if group in drawn):
        epochs, values = over_epochs(group, column)
        if not len(epochs):
            raise UserError(f"{column} was measured in no epoch: there are no curves of it")
        reached = mean_and_spread(list(group.values.values()))
        label = f"{words(group, keys, longest=60) or shown(group.runs[0].name, 40)}: {reached}"
        draw_line(axes, Look(label, CLASS_COLOURS[number]), epochs, values)
        longest = max(longest, epochs, key=len)
    axes.set_ylabel(shown(column, 40), fontsize=TEXT)
    epoch_axis(axes, longest)
    legend_above(axes, 1)
    what = f"{shown(column, 40)} of {len(drawn)} setting{'s' if len(drawn) > 1 else ''}"
    what += f", the best of {len(best)}" if len(best) > len(drawn) else ""
    is_spread = any(len(group.values) > 1 for group in drawn)
    put_title(figure, f"{what}\n{'mean ± sd over seeds' if is_spread else 'one seed each'}")
    return figure


def over_epochs(group: Group, column: str, *, is_last: bool = True) -> tuple[Numbers, Numbers]:
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


def over_one(found: Comparison, groups: Sequence[Group], key: str, others: Sequence[str]) -> Figure:
    """A line over the values of a key in a band of ± 1 sd, a line for each value of another key if any."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    lines: dict[str, list[Group]] = {}
    for group in groups:
        lines.setdefault(words(group, others), []).append(group)
    for number, (label, of_line) in enumerate(lines.items()):
        ordered = sorted(of_line, key=lambda group: as_number(group.shown[key]) or 0.0)
        places = np.array([as_number(group.shown[key]) for group in ordered], dtype=np.float64)
        means = np.array([group.mean for group in ordered])
        sds = np.array([group.sd or 0.0 for group in ordered])
        colour = CLASS_COLOURS[number]
        axes.fill_between(places, means - sds, means + sds, color=colour, alpha=0.18, linewidth=0)
        axes.plot(places, means, color=colour, linewidth=1.8, marker="o", markersize=4.5, label=label)
    values = sorted({as_number(group.shown[key]) or 0.0 for group in groups})
    if spans(values):
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    if len(values) <= 8:
        axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xlabel(shown(key, 40), fontsize=TEXT)
    axes.set_ylabel(shown(found.metric, 40), fontsize=TEXT)
    if others:
        legend_above(axes, min(4, len(lines)))
    return figure


def over_two(found: Comparison, groups: Sequence[Group], keys: Sequence[str]) -> Figure:
    """A heat map over the values of two keys, each cell with its mean."""
    across, down = (sorted({as_number(g.shown[key]) or 0.0 for g in groups}) for key in keys)
    means = np.full((len(down), len(across)), np.nan)
    for group in groups:
        x, y = (as_number(group.shown[key]) or 0.0 for key in keys)
        means[down.index(y), across.index(x)] = group.mean
    figure = Figure(figsize=(WIDTH, 1.8 + min(5.0, 0.5 * len(down) + 1)), layout="constrained")
    axes = figure.subplots()
    colours = axes.imshow(means, cmap=palette(found), aspect="auto", origin="lower")
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(across)), [f"{value:g}" for value in across], fontsize=TEXT)
    axes.set_yticks(range(len(down)), [f"{value:g}" for value in down], fontsize=TEXT)
    axes.tick_params(length=0)
    axes.set_xlabel(shown(keys[0], 40), fontsize=TEXT)
    axes.set_ylabel(shown(keys[1], 40), fontsize=TEXT)
    if len(across) <= 10:
        for row, column in np.argwhere(np.isfinite(means)):
            colour = (
                "white" if luminance(np.asarray(colours.to_rgba(means[row, column])).tolist()) < 0.5 else INK
            )
            axes.text(
                column, row, f"{means[row, column]:.3g}", ha="center", va="center", size=TEXT, color=colour
            )
    bar = figure.colorbar(colours, ax=axes)
    bar.set_label(shown(found.metric, 40), fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    bar.outline.set_visible(False)
    return figure


def bars(found: Comparison, groups: Sequence[Group], keys: Sequence[str]) -> Figure:
    """A bar for each setting with its seeds as points, the best one on top."""
    ordered = sorted(groups, key=lambda group: group.mean, reverse=not found.higher_is_better)
    figure = Figure(figsize=(WIDTH, 1.6 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    axes.grid(axis="y", visible=False)
    for place, group in enumerate(ordered):
        axes.barh(place, group.mean, 0.62, color=BLUE, alpha=0.35)
        points = list(group.values.values())
        axes.plot(points, [place] * len(points), "o", color=BLUE, markersize=3.5, clip_on=False)
    axes.set_yticks(range(len(ordered)), [words(group, keys, longest=40) for group in ordered], fontsize=TEXT)
    axes.set_xlabel(shown(found.metric, 40), fontsize=TEXT)
    low, high = (f(value for g in ordered for value in g.values.values()) for f in (min, max))
    if low > 0 and high < 2 * low:  # differences that a bar from zero would hide
        room = 0.15 * (high - low) or 0.01 * high
        axes.set_xlim(low - room, high + room)
    return figure


def parallel(found: Comparison, groups: Sequence[Group], keys: Sequence[str]) -> Figure:
    """A line for each setting through its value of every key, to the figure at the right."""
    columns = [*keys, found.metric]
    figure = Figure(figsize=(max(WIDTH, 1.5 * len(columns)), 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(-0.15, len(columns) - 0.55)
    axes.set_ylim(-0.04, 1.04)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.set_xticks(range(len(columns)), [shown(c.split(".", 1)[-1], 18) for c in columns], fontsize=TEXT)
    axes.tick_params(length=0)
    places = np.empty((len(groups), len(columns)))
    for column, key in enumerate(keys):
        places[:, column] = along(axes, column, [group.shown.get(key) for group in groups])
    means = [group.mean for group in groups]
    places[:, -1] = along(axes, len(columns) - 1, means)
    norm, colours = Normalize(min(means), max(means)), palette(found)
    worst_first = sorted(range(len(groups)), key=lambda i: means[i], reverse=not found.higher_is_better)
    for index in worst_first:
        colour = colours_of(colours, float(norm(means[index])))
        axes.plot(range(len(columns)), places[index], color=colour, linewidth=1.6, alpha=0.85)
    return figure


def along(axes: Axes, column: int, values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Where the values stand on an upright axis, 0 to 1 each; its line and its labels are drawn."""
    numbers = [as_number(value) for value in values]
    axes.axvline(column, color=GREY, linewidth=1)
    if all(number is not None for number in numbers) and len(set(numbers)) > 1:
        as_numbers = np.array(numbers, dtype=np.float64)
        scaled = np.log(as_numbers) if spans(sorted(set(as_numbers.tolist()))) else as_numbers
        places = (scaled - scaled.min()) / (scaled.max() - scaled.min())
        ticks = dict(sorted(zip(as_numbers.tolist(), places.tolist(), strict=True)))
        if len(ticks) > 6:
            kept = np.linspace(0, len(ticks) - 1, 5).round().astype(int)
            ticks = {key: ticks[key] for key in np.array(list(ticks))[kept].tolist()}
        labels = {f"{value:.4g}": place for value, place in ticks.items()}
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


def colours_of(name: str, share: float) -> Any:
    """The colour at a share of a palette, 0 to 1."""
    from matplotlib import colormaps

    return colormaps[name](share)


def luminance(colour: Sequence[float]) -> float:
    """How light a colour (red, green, blue, …) is, 0 to 1 (ITU-R BT.709)."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def spans(values: Sequence[float]) -> bool:
    """Whether values, in order, ask for a logarithmic axis."""
    return len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= MANY_TIMES


def as_number(value: Any) -> float | None:
    """A value as a number, a list of one number too; None for any other."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def words(group: Group, keys: Sequence[str], longest: int = 30) -> str:
    """The values of some keys, as a label."""
    if len(keys) == 1 and as_number(group.shown.get(keys[0])) is None:  # it speaks for itself
        return text(group.shown.get(keys[0]), longest)
    named = (f"{key.split('.', 1)[-1]} {text(group.shown[key])}" for key in keys if key in group.shown)
    return shown(", ".join(named), longest)


def text(value: Any, longest: int = 24) -> str:
    """A value as a picture may show it."""
    number = as_number(value)
    return f"{number:g}" if number is not None else shown("none" if value is None else value, longest)
