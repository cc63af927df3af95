"""Histograms of a dataset's features and target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from matplotlib.axes import Axes
from matplotlib.dates import num2date
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dlrun.config.options import Few, Many
from dlrun.drawing.dates import date_axis
from dlrun.drawing.fonts import Picture
from dlrun.drawing.style import BLUE, INK, RED, TEXT, WIDTH, headline, put_title, shown, target_name, tidy
from dlrun.training.trained import Trained

inputs = "vectors"
of = "data"

BESIDE = 3  # panels in a row
APART = 40  # up to so many bars have gaps between them
STEPS = [1, 2, 2.5, 5, 10]  # between ticks: 2010, 2011 rather than 2010.4, 2011.2
DAY = 86400  # seconds
ROOM = 24  # letters that fit below a panel
OF_CLASSES = "examples of each class"


def distributions(
    trained: Trained,
    *,
    split: Literal["train", "valid", "test"] = "train",
    bins: Many = 100,
    most: Few = 20,
) -> Figure:
    """A histogram of each feature of a split, before preprocessing, and of each target.

    The categories of a column stand in one panel.

    Args:
        split: Split to show.
        bins: Bars of each histogram.
        most: Panels to show; of more features the first ones.
    """
    examples, data = trained.loaded[split], trained.data
    inputs = examples.raw().double()
    names = data.features or tuple(f"input {number}" for number in range(1, inputs.shape[1] + 1))
    columns = columns_of(names, inputs)
    panels = min(len(columns), most) + (1 if data.classes else data.targets)

    rows = -(-panels // BESIDE)
    figure = Picture(figsize=(WIDTH, 0.9 + 1.55 * rows), layout="constrained")
    every = list(figure.subplots(rows, BESIDE, squeeze=False).flat)
    for axes in every[panels:]:
        axes.set_visible(False)
    used = iter(every)
    for column, places in [*columns.items()][:most]:
        if len(places) > 1:
            categories = [names[place].removeprefix(column).lstrip("=: ") for place in places]
            draw_counts(next(used), shown(column, 22), inputs[:, places].sum(0), categories, BLUE)
        else:
            is_date = names[places[0]] in data.date_features
            draw_histogram(next(used), shown(column, 22), inputs[:, places[0]], bins, BLUE, is_date=is_date)
    targets = examples.targets.cpu()
    if data.classes and targets.is_floating_point():  # labels, each of which applies or not
        draw_counts(next(used), OF_CLASSES, targets.sum(0), data.classes, RED)
    elif data.classes:
        counts = torch.bincount(targets, minlength=len(data.classes))
        draw_counts(next(used), OF_CLASSES, counts, data.classes, RED)
    else:
        for number, values in enumerate(targets.double().T):
            draw_histogram(next(used), target_name(trained, number), values, bins, RED)
    word = "features" if len(columns) == len(names) else "columns"
    in_red = "the targets" if data.targets > 1 else "the target"
    what = f"{len(targets):,} {split} examples: {len(columns)} {word} and, in red, {in_red}"
    left_out = f"the first {most} {word}" if len(columns) > most else ""
    once = "each counted once, whatever its weight" if data.weighted else ""
    put_title(figure, headline(trained, what, left_out, once))
    return figure


def draw_histogram(
    axes: Axes, name: str, values: Tensor, bins: int, colour: str, *, is_date: bool = False
) -> None:
    """Draw a histogram of values (n,) with `bins`; a note counts values that are not finite.

    Dates are in seconds since 1970.
    """
    small_panel(axes, name)
    finite = values[values.isfinite()] / (DAY if is_date else 1)
    if len(finite) and finite.min() == finite.max():
        axes.set_xticks([])
        axes.set_yticks([])
        only = f"{num2date(float(finite[0])):%Y-%m-%d}" if is_date else f"{finite[0]:.6g}"
        axes.text(0.5, 0.5, f"always {only}", transform=axes.transAxes, ha="center", size=TEXT - 1)
    else:
        found = edges(finite, bins)
        if is_date:
            date_axis(axes, 2, 4)
        elif finite.equal(finite.round()):
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, steps=STEPS))
        axes.hist(finite.numpy(), found, color=colour, rwidth=0.85 if len(found) <= APART else 1)
    if missing := len(values) - len(finite):
        note = f"{missing:,} missing"
        axes.margins(y=0.25)  # above the bars
        axes.text(0.98, 0.96, note, transform=axes.transAxes, ha="right", va="top", size=TEXT - 1.5)


def edges(values: Tensor, bins: int) -> list[float]:
    """The edges of `bins` equal bins over `values`; if these are few whole numbers, one bin for each."""
    different = values.unique()
    step = float(different.diff().min())
    low, high = float(different[0]), float(different[-1])
    steps = (different - low) / step
    if steps[-1] < bins and torch.allclose(steps, steps.round(), atol=1e-6):
        return [low + (number - 0.5) * step for number in range(round(float(steps[-1])) + 2)]
    return torch.linspace(low, high, bins + 1, dtype=torch.float64).tolist()


def columns_of(names: Sequence[str], inputs: Tensor) -> dict[str, list[int]]:
    """The places of each column's features; a column of categories has several, `cut=Fair`, 0 or 1."""
    is_binary = ((inputs == 0) | (inputs == 1)).all(0).tolist()
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        column = re.split("=|: other$", name)[0] if is_binary[place] else name
        found.setdefault(column, []).append(place)
    single = {places[0]: names[places[0]] for places in found.values() if len(places) == 1}
    return {single.get(places[0], column): places for column, places in found.items()}


def draw_counts(axes: Axes, title: str, counts: Tensor, classes: Sequence[str], colour: str) -> None:
    """Draw the number of examples of each class."""
    small_panel(axes, title)
    axes.bar(range(len(classes)), counts.tolist(), color=colour)
    names = [shown(name, 10) for name in classes]
    labelled = range(len(classes)) if len(" ".join(names)) <= ROOM else (0, len(classes) - 1)
    axes.set_xticks(labelled, [names[place] for place in labelled])


def small_panel(axes: Axes, name: str) -> None:
    """Style axes as a small panel: its name as title, few ticks."""
    tidy(axes)
    axes.set_title(name, fontsize=TEXT, color=INK, loc="left")
    axes.tick_params(labelsize=TEXT - 2)
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
