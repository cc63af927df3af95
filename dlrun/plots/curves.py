"""Training curves: loss and metrics over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from dlrun.drawing.fonts import Picture
from dlrun.drawing.lines import Look, Numbers, axis_label, by_epoch, draw_line, epoch_axis, measured, unit
from dlrun.drawing.style import (
    BLUE,
    GREY,
    INK,
    LIGHT_BLUE,
    RED,
    TEXT,
    WIDTH,
    headline,
    in_lines,
    legend_above,
    mean_and_spread,
    over_seeds,
    put_title,
    shown,
    tidy,
)
from dlrun.errors import UserError
from dlrun.training.figures import column_name, figure_name
from dlrun.training.trained import Trained

automatic = True


class Line(NamedTuple):
    """A drawn line: its look, its epochs (n,) and its figures (n, copies)."""

    look: Look
    epochs: Numbers
    values: Numbers


LINES = {  # lower lines are wider, so that none is hidden
    "train": Look("training, running mean", LIGHT_BLUE, "-", 3.6, 2),
    "trainset": Look("training, evaluated after the epoch", BLUE, "--", 2.2, 3),
    "valid": Look("valid", RED, "-", 1.5, 4),
    "test": Look("test", RED, "-", 1.5, 4),
}
DASHES = ("-", "--", "-.")  # of the loss and the metrics, if they share a chart
DECADES_SHOWN_LINEARLY = 2
LEAST_DECADES = 0.5  # of a logarithmic axis; one of fewer looks like a linear one
FLAT = 5  # times that the first tenth of the epochs may widen the axis of the others
INSET = Bbox.from_extents(0.5, 0.16, 0.98, 0.86)  # the room of an inset, as shares of the axes
TALL, LEAST_TALL = 0.44, 0.28  # heights of an inset
WORDS = 0.16  # height of its title, and of the labels below it
NEAR = 0.3  # an axis is extended for a baseline by at most this share of its height
LETTERS = 62  # in a line across a chart
SAMPLED = 200  # points along a curve
RIGHT_ENDS = (0.995, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)  # of labels, as shares of the axis
LETTER_SHARE = 0.0145  # width of a letter of a label, as a share of the axis
LINE_OF_TEXT = 0.12  # height of a line of text, as a share of the axis
CLEAR = 0.2  # of a label's height, between it and the curves
ABOVE_CURVES = 4.5
BEHIND_WORDS = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.75}


def curves(
    trained: Trained,
    *,
    log: bool | None = None,
    panels: Literal["each", "one"] = "each",
    limits: list[float] | None = None,
) -> Figure:
    """Loss and every metric over the epochs, the mean over seeds ± 1 sd, with the baselines.

    Raises UserError if nothing was measured.

    Args:
        log: Make the axis of the loss logarithmic; null: if losses span more than two decades, or errors one,
            or if the first epochs would flatten the others.
        panels: Charts: one for each figure, or one that they all share.
        limits: Ends of the y axes, [lowest, highest], where a line says what lies beyond them; null: those of
            the figures.
    """
    if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
        raise UserError(f"curves: limits are two numbers, the lower one first, not {limits}")
    recipe = trained.plan.recipe
    columns = by_epoch(trained.rows, len(trained.seeds), recipe.columns())
    if not len(columns["epoch"]):
        raise UserError("there are no curves: nothing was measured yet")
    figures = ["loss", *recipe.metrics]
    groups = [[figure] for figure in figures] if panels == "each" else [figures]

    heights = [2.1] * len(groups) if len(groups) > 1 else [2.7 if panels == "each" else 3.4]
    picture = Picture(figsize=(WIDTH, 1.5 + sum(heights)), layout="constrained")
    every = picture.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    best = best_epochs(trained, columns)
    above = list[int]()  # lines of words above each chart
    for axes, group in zip(every, groups, strict=True):
        tidy(axes)
        lines = list[Line]()
        for column in recipe.columns():
            split, figure = column.split("_", 1)
            if figure in group:
                look = LINES[split] if panels == "each" else together(split, figure, figures.index(figure))
                epochs, found = measured(columns, column)
                if len(epochs):
                    draw_line(axes, look, epochs, found)
                lines.append(Line(look, epochs, found))
        for number, epoch in enumerate(sorted({*best})):
            epochs_said = "" if panels == "one" else f" epoch{'s' * (len({*best}) > 1)}"
            label = f"best{epochs_said} by {shown(column_name(trained.plan.monitor), 28)}"
            label = label if number == 0 else "_"
            axes.axvline(epoch, color=GREY, linewidth=1.2, linestyle=":", label=label, zorder=1)
        axes.set_ylabel(", ".join(axis_label(trained, figure) for figure in group), fontsize=TEXT)
        seen = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
        is_error = panels == "each" and trained.plan.better[group[0]] == "lower"
        if log is None:
            is_log = is_error and needs_decades(seen, lines, is_loss=group[0] == "loss")
        else:
            is_log = log and "loss" in group
        inset = Bbox.null()
        if is_log and (seen > 0).any():
            make_logarithmic(axes, seen[seen > 0])
        elif limits is None and flattened(lines):
            inset = magnify_the_end(axes, lines)
        if limits is not None:
            axes.set_ylim(*limits)
        notes = draw_baselines(trained, axes, group, lines, best, inset, fixed=limits is not None)
        if limits is not None and (notes := beyond(lines, *limits) + notes):
            said = in_lines(f"beyond this axis: {'; '.join(notes)}", LETTERS)
            axes.set_title(said, loc="left", fontsize=TEXT - 1, color=INK)
            above.append(said.count("\n") + 1)
    legend_above(every[0], 2 if panels == "each" else 3, lines=(above or [0])[0])
    epoch_axis(every[-1], columns["epoch"])
    picture.align_ylabels()
    put_title(picture, title(trained, columns, best))
    return picture


def together(split: str, figure: str, number: int) -> Look:
    """The style of a line in a shared chart: a colour for each split, dashes for each figure."""
    look = LINES[split]
    return look._replace(
        label=f"{split} {shown(figure_name(figure))}", dashes=DASHES[number % len(DASHES)], width=2.0
    )


def draw_baselines(
    trained: Trained,
    axes: Axes,
    figures: Sequence[str],
    lines: Sequence[Line],
    best: Sequence[int],
    inset: Bbox,
    *,
    fixed: bool,
) -> list[str]:
    """Draw a dotted line for each baseline, labelled at its right end, or left of the `inset`.

    A baseline far outside the axis is a note at that edge instead. One outside an axis with `fixed` ends is
    among the notes that this gives.
    """
    words: dict[str, list[str]] = {"below": [], "above": []}
    scale = np.log10 if axes.get_yscale() == "log" else np.asarray
    low, high = (float(scale(end)) for end in axes.get_ylim())
    room = 0 if fixed else NEAR * (high - low)
    insets = [part for part in axes.child_axes if isinstance(part, Axes)]
    near: list[tuple[float, str, bool]] = []  # position, label, True if higher is better
    for name, reached in trained.baselines(trained.split).items():
        for figure in figures:
            value = reached.get(figure, np.nan)
            said = f"{shown(name, 40)}{'' if len(figures) == 1 else f', {shown(figure_name(figure))}'}"
            said = f"{said}: {value:.4g}{unit(trained, figure)}"
            place = float(scale(value)) if value > 0 or scale is np.asarray else -np.inf
            if low - room <= place <= high + room:
                for part in [axes, *insets]:
                    if part is axes or part.get_ylim()[0] <= value <= part.get_ylim()[1]:
                        part.axhline(value, color=INK, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1)
                near.append((place, said, trained.plan.better[figure] == "higher"))
            elif np.isfinite(value):
                edge = "above" if place > high else "below"
                words[edge].append(said if fixed else f"{said}, {edge}")
    line = LINE_OF_TEXT * (high - low)
    across, along = sampled(axes, lines)
    first, last = axes.get_xlim()
    upright = [(epoch - first) / (last - first) for epoch in sorted({*best})]
    ends = sorted({*RIGHT_ENDS, *(share - 0.01 for share in upright)}, reverse=True)
    placed = list[Bbox]()
    for places, said, higher in labels(near, line):
        middle = (fmean(places) - low) / (high - low)
        is_beside = inset.y0 - 2 * LINE_OF_TEXT < middle < inset.y1 + LINE_OF_TEXT
        text = in_lines(said, LETTERS // 2 if is_beside else LETTERS)
        wide, tall = size_of(text, line)
        right = [inset.x0 - 0.09] if is_beside else ends
        boxes = {
            (end, below): Bbox.from_extents(
                end - wide,
                min(places) - tall if below else max(places),
                end,
                min(places) if below else max(places) + tall,
            )
            # Of places that are equally free the first: the right end, and there the side of worse figures.
            for end, below in product(right, (higher, not higher))
        }
        others = [place for place, *_ in near if place not in places]
        (end, below), box = min(
            boxes.items(),
            key=lambda item: hidden_by(item[1], across, along, others, upright, placed, low),
        )
        placed.append(box)
        place = min(places) if below else max(places)
        if not fixed:
            low = min(low, place - tall if below else min(places) - line / 2)
            high = max(high, max(places) + line / 2 if below else place + tall)
        label = axes.annotate(
            text,
            (end, 10**place if scale is np.log10 else place),
            (0, -2 if below else 2),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="top" if below else "bottom",
            fontsize=TEXT - 1,
            color=INK,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=ABOVE_CURVES,
        )
        label.set_in_layout(False)  # a long one would shrink the axes
    if fixed:
        return [*words["above"], *words["below"]]
    low, high = low - line * len(words["below"]), high + line * len(words["above"])
    axes.set_ylim(*((10**low, 10**high) if scale is np.log10 else (low, high)))
    for edge, y, end in (("below", 0.02, "bottom"), ("above", 0.98, "top")):
        if words[edge]:
            axes.annotate(
                "\n".join(words[edge]),
                (0.995, y),
                xycoords="axes fraction",
                ha="right",
                va=end,
                fontsize=TEXT - 1,
                color=INK,
                bbox=BEHIND_WORDS,
                zorder=1.5,
            )
    return []


def size_of(text: str, line: float) -> tuple[float, float]:
    """Width of a label, as a share of the x axis, and its height, for lines of text of a height."""
    rows = text.split("\n")
    return LETTER_SHARE * max(map(len, rows)), line * len(rows)


def hidden_by(
    box: Bbox,
    across: Numbers,
    along: Numbers,
    others: Sequence[float],
    upright: Sequence[float],
    placed: Sequence[Bbox],
    low: float,
) -> float:
    """A measure of what a label in a box would hide: curves, other baselines and labels, upright lines.

    One that would begin left of the axes counts as one over another label, and it counts a little if an axis
    of positive figures would have to begin below 0.
    """
    behind, beside = (
        ((across > box.x0) & (across < box.x1) & (along > box.y0 - room) & (along < box.y1 + room)).sum()
        for room in (0.0, CLEAR * box.height)
    )
    crossed = sum(box.y0 < place < box.y1 for place in others)
    cut = sum(box.x0 < share < box.x1 for share in upright)
    over = sum(box.overlaps(other) for other in placed) + (box.x0 < 0)
    is_below = box.y0 < 0 <= low + box.height
    return float(behind + 0.1 * beside + SAMPLED * (0.02 * cut + 0.2 * is_below + 0.25 * crossed + over))


def sampled(axes: Axes, lines: Sequence[Line]) -> tuple[Numbers, Numbers]:
    """Points along the curves: their places as shares of the x axis, and on the scale of the y axis."""
    first, last = axes.get_xlim()
    across, along = [np.zeros(0)], [np.zeros(0)]
    for _, epochs, values in lines:
        if len(epochs):
            at = np.linspace(epochs[0], epochs[-1], SAMPLED)
            across.append((at - first) / (last - first))
            along.append(np.interp(at, epochs, np.nanmean(values, 1)))
    found = np.concatenate(along)
    if axes.get_yscale() == "log":
        with np.errstate(divide="ignore", invalid="ignore"):  # a loss of 0 has no place there
            found = np.log10(found)
    return np.concatenate(across), found


def labels(near: Sequence[tuple[float, str, bool]], apart: float) -> list[tuple[list[float], str, bool]]:
    """Join the labels of lines that are less than `apart` from one another."""
    found: list[tuple[list[float], str, bool]] = []
    for place, said, higher in sorted(near):
        if found and place - found[-1][0][-1] < apart:
            places, before, _ = found.pop()
            found.append(([*places, place], f"{before}; {said}", higher))
        else:
            found.append(([place], said, higher))
    return found


def best_epochs(trained: Trained, columns: dict[str, Numbers]) -> list[int]:
    """The epoch at which each copy has its best monitored figure, the first of equal ones.

    Empty if a copy has none. They are those of the run's summary, if it has them.
    """
    best = trained.run.summary().get("best") if trained.run else None
    if isinstance(best, dict):
        of_seeds = best["epochs"] if isinstance(best.get("epochs"), dict) else {}
        found = [of_seeds.get(str(seed), best.get("epoch")) for seed in trained.seeds]
        whole = [epoch for epoch in found if type(epoch) is int]
        if len(whole) == len(found):
            return whole
    monitor = trained.plan.monitor
    epochs, values = measured(columns, monitor)
    if not np.isfinite(values).any(0).all() or not len(epochs):
        return []
    higher = trained.plan.better[monitor.split("_", 1)[1]] == "higher"
    places = np.nanargmax(values, 0) if higher else np.nanargmin(values, 0)
    return [int(epoch) for epoch in epochs[places]]


def title(trained: Trained, columns: dict[str, Numbers], best: Sequence[int]) -> str:
    """The title: the figures of each copy's best epoch, or if they were not measured there of the last."""
    recipe = trained.plan.recipe
    figure = next(iter(recipe.metrics), "loss")
    split = recipe.evaluation_split or ("trainset" if recipe.evaluate_train_every else "train")
    epochs, values = measured(columns, f"{split}_{figure}")
    split = {"trainset": "train"}.get(split, split)
    what = f"no {split} {shown(figure_name(figure))} was measured"
    if len(epochs):
        is_best = bool(best) and {*best} <= {*epochs.tolist()}
        last = [int(np.flatnonzero(there)[-1]) for there in np.isfinite(values).T if there.any()]
        at = np.searchsorted(epochs, best) if is_best else np.array(last)
        low, high = epochs[at.min()], epochs[at.max()]
        when = f"epoch {high:,.0f}" if low == high else f"epochs {low:,.0f} to {high:,.0f}"
        when = f"{when}{f' ({trained.plan.best_said})' if is_best else ''}"
        of_copies = np.flatnonzero(np.isfinite(values).any(0))[: len(at)]
        reached = mean_and_spread(values[at, of_copies].tolist())
        what = f"{split.capitalize()} {shown(figure_name(figure))} {reached}{unit(trained, figure)} at {when}"
    done = f"{columns['epoch'][-1]:,.0f}"
    if trained.run and trained.run.summary().get("status") == "diverged":
        what += f"; diverged after epoch {done}"
    ends = columns["trains"].sum(0)
    stopped = f"seeds end after {ends.min():,.0f} to {ends.max():,.0f}" if ends.min() < ends.max() else ""
    epochs_said = f"{done} epoch{'s' if done != '1' else ''}"
    return headline(trained, what, epochs_said, stopped, over_seeds(trained))


def spans_decades(values: Numbers, decades: float) -> bool:
    positive = values[values > 0]
    return len(positive) > 0 and bool(positive.max() > positive.min() * 10**decades)


def make_logarithmic(axes: Axes, values: Numbers) -> None:
    """Make the y axis logarithmic, just wide enough for `values`, which are all positive."""
    low, high = np.log10(values.min()), np.log10(values.max())
    pad = 0.05 * (high - low) + 0.02
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(10 ** (low - pad), 10 ** (high + pad))
    subs = (1.0,) if high - low > 2.5 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axes.yaxis.set_major_formatter(power)
    axes.yaxis.set_minor_formatter(NullFormatter())


def power(number: float, place: float) -> str:
    """The tick label of a logarithmic axis: 0.05, 2000, 1e6."""
    digits, exponent = f"{number:.0e}".split("e")
    return f"{number:g}" if -4 <= int(exponent) <= 3 else f"{digits}e{int(exponent)}"


def needs_decades(seen: Numbers, lines: Sequence[Line], *, is_loss: bool) -> bool:
    """True if errors or losses have to be on a logarithmic axis, so that all of them can be read.

    Of losses, which may be squared errors, it takes twice the decades.
    """
    if spans_decades(seen, DECADES_SHOWN_LINEARLY if is_loss else DECADES_SHOWN_LINEARLY / 2):
        return True
    is_positive = len(seen) > 0 and bool(seen.min() > 0)
    return is_positive and spans_decades(seen, LEAST_DECADES) and flattened(lines)


def later(lines: Sequence[Line]) -> list[Line]:
    """The last nine tenths of each line."""
    return [
        Line(look, epochs[len(epochs) // 10 :], values[len(epochs) // 10 :])
        for look, epochs, values in lines
        if len(epochs)
    ]


def ends_of(lines: Sequence[Line]) -> tuple[float, float]:
    """The lowest and the highest figure of some lines."""
    return min(np.nanmin(line.values) for line in lines), max(np.nanmax(line.values) for line in lines)


def flattened(lines: Sequence[Line]) -> bool:
    """True if the beginning of the lines would flatten the rest of them on a linear axis."""
    rest = later(lines)
    if not rest:
        return False
    (low, high), (lowest, highest) = ends_of(rest), ends_of([line for line in lines if len(line.epochs)])
    return highest - lowest > FLAT * (high - low) > 0


def magnify_the_end(axes: Axes, lines: Sequence[Line]) -> Bbox:
    """Draw the last nine tenths of the lines once more, in an inset below or above them."""
    rest = later(lines)
    points = np.concatenate([np.column_stack([epochs, np.nanmean(values, 1)]) for _, epochs, values in rest])
    shares = axes.transAxes.inverted().transform(axes.transData.transform(points))
    beside = shares[shares[:, 0] >= min(INSET.x0 - 0.1, shares[:, 0].max()), 1]
    below, above = beside.min() - WORDS - INSET.y0, INSET.y1 - WORDS - beside.max()
    if max(below, above) < LEAST_TALL:  # the curves are in the middle: the axis makes room above them
        low, high = axes.get_ylim()
        axes.set_ylim(low, low + (high - low) * float(beside.max()) / (INSET.y1 - WORDS - LEAST_TALL))
        above = LEAST_TALL
    tall = min(TALL, max(below, above))
    bottom = INSET.y0 if below >= above else INSET.y1 - tall
    box = Bbox.from_bounds(INSET.x0, bottom, INSET.width, tall)
    inset = axes.inset_axes(box.bounds, zorder=5)
    tidy(inset)
    for look, epochs, values in rest:
        draw_line(inset, look._replace(width=0.6 * look.width), epochs, values)
    inset.tick_params(labelsize=TEXT - 2)
    inset.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    inset.yaxis.set_major_locator(MaxNLocator(3))
    first = min(line.epochs[0] for line in rest)
    said = inset.set_title(f"from epoch {first:,.0f} on", fontsize=TEXT - 1.5, color=INK, loc="left", pad=3)
    said.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    return box


def beyond(lines: Sequence[Line], low: float, high: float) -> list[str]:
    """The ends of each line with figures outside of an axis from `low` to `high`, in words."""
    found = []
    for look, _, values in lines:
        seen = values[np.isfinite(values)]
        ends = [float(end) for end in (seen.min(), seen.max())] if len(seen) else []
        outside = [f"{end:.4g}" for end in ends if not low <= end <= high]
        found += [f"{look.label} to {' and '.join(outside)}"] if outside else []
    return found
