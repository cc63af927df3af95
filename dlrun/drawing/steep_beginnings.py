"""Axes for curves that fall steeply at their beginning: logarithmic, or with an inset of their end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from dlrun.drawing.lines import (
    Line,
    Numbers,
    draw_line,
)
from dlrun.drawing.style import (
    INK,
    TEXT,
    tidy,
)

DECADES_SHOWN_LINEARLY = 2
LEAST_DECADES = 0.5  # of a logarithmic axis; one of fewer looks like a linear one
FLAT = 5  # times that the first tenth of the epochs may widen the axis of the others
INSET = Bbox.from_extents(0.5, 0.16, 0.98, 0.86)  # the room of an inset, as shares of the axes
TALL = 0.44  # height of an inset
LEAST_TALL = 0.28  # the lowest one
WORDS = 0.16  # height of its title, and of the labels below it


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
