"""Dotted lines for baselines, with labels that keep off curves and one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from dlrun.drawing.lines import (
    Line,
    Numbers,
    unit,
)
from dlrun.drawing.style import (
    INK,
    TEXT,
    in_lines,
    shown,
)
from dlrun.training.figures import figure_name
from dlrun.training.trained import Trained

NEAR = 0.3  # an axis is extended for a baseline by at most this share of its height
LETTERS = 62  # in a line across a chart
SAMPLED = 200  # points along a curve
RIGHT_ENDS = (0.995, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)  # of labels, as shares of the axis
LETTER_SHARE = 0.0145  # width of a letter of a label, as a share of the axis
LINE_OF_TEXT = 0.12  # height of a line of text, as a share of the axis
CLEAR = 0.2  # of a label's height, between it and the curves
ABOVE_CURVES = 4.5
BEHIND_WORDS = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.75}


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
