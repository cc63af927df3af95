"""Permutation importance: the columns of a table that a model relies on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import isfinite
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.config.options import Few, Seed
from dlrun.data.examples import Split
from dlrun.data.loaded import Chosen
from dlrun.data.trees import Tree, single
from dlrun.drawing.fonts import Picture
from dlrun.drawing.lines import axis_label
from dlrun.drawing.style import (
    BLUE,
    GREY,
    INK,
    PALE,
    TEXT,
    WIDTH,
    both_ends,
    headline,
    if_weighted,
    in_lines,
    put_title,
    shown,
    some_of,
    tidy,
)
from dlrun.errors import UserError, nearest
from dlrun.system.randomness import generator
from dlrun.training.baselines import reported_recipe
from dlrun.training.figures import figure_name
from dlrun.training.loop import evaluate
from dlrun.training.trained import Trained

inputs = "vectors"

ALIKE = 0.7  # columns with a correlation from here on share their importance
NAMED = 3  # pairs of such columns


def importance(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    by: str | None = None,
    repeats: Annotated[int, Ge(2), Le(1000)] = 5,
    examples: Annotated[int, Ge(2), Le(10_000_000)] = 10_000,
    most: Few = 20,
    seed: Seed = 0,
) -> Figure:
    """Permutation importance: by how much a figure gets worse if the cells of a column are shuffled.

    All inputs that are made from a column are shuffled together, such as its categories. A bar is the mean
    over repeats and seeds, its line ± 1 standard deviation; a bar less than two of them above 0 is pale.
    Columns that say the same share their importance, so each seems to matter less than it does: those with a
    correlation of 0.7 or more are named. Breiman, 2001; Fisher et al., 2019, arXiv 1801.01489.

    Args:
        split: Split to shuffle the columns of; auto: valid, or without it test, or train.
        by: Metric of the run, or loss; null: the first metric, or without one the loss.
        repeats: Times that each column is shuffled.
        examples: Examples that are used at most, drawn at random.
        most: Columns to show, the most important ones.
        seed: Random choice of examples and permutations.
    """
    chosen = trained.chosen(split)
    every = trained.loaded[chosen]
    if len(every) < 2:
        raise UserError(f"importance: a single {chosen} example cannot be shuffled")
    figure = by or next(iter(reported_recipe(trained.plan).metrics), "loss")
    some = some_of(len(every), examples, seed)
    found = importances(trained, every, some, figure, repeats, seed)
    names = list(found)
    means = {name: float(values.mean()) for name, values in found.items()}
    drawn = sorted(names, key=lambda name: -means[name])[:most]
    alike = alike_columns(trained, every, some, drawn)

    several = len(trained.seeds) > 1
    notes = ["dots: each seed"] if several else []
    notes += ["pale: less than 2 sd above 0"] if any(not is_clear(found[name]) for name in drawn) else []
    notes = ["; ".join(notes), f"share their importance: {said_alike(alike)}" if alike else ""]
    note = "\n".join(in_lines(each, 80) for each in notes if each)
    height = 1.5 + 0.29 * len(drawn) + 0.2 * (note.count("\n") + 1 if note else 0)
    picture = Picture(figsize=(WIDTH, height), layout="constrained")
    axes = picture.subplots()
    tidy(axes)
    axes.grid(visible=False, axis="y")
    draw_bars(axes, drawn, found)
    axes.axvline(0, color=GREY, linewidth=1)
    worse = "decrease" if is_higher_better(trained, figure) else "increase"
    label = f"{worse} of {axis_label(trained, figure)} if the column is shuffled"
    axes.set_xlabel(in_lines(label, 44, " "), fontsize=TEXT)
    if note:
        picture.supxlabel(note, x=0.012, ha="left", fontsize=TEXT - 1, color=GREY)
    which = f"the {most} largest of {len(names)}" if len(names) > most else str(len(names))
    what = f"Permutation importance by {chosen} {figure_name(figure)}: {which} columns"
    count = f"n = {len(some):,}" + (f" of {len(every):,}" if len(some) < len(every) else "")
    spread = f"mean ± sd of {repeats} repeats" + (f" × {len(trained.seeds)} seeds" if several else "")
    put_title(picture, headline(trained, what, trained.at_epoch(), count, if_weighted(trained), spread))
    return picture


def importances(
    trained: Trained, every: Split, some: Tensor, figure: str, repeats: int, seed: int
) -> dict[str, Tensor]:
    """By how much a figure gets worse if a column is shuffled: column -> (copies, repeats).

    A permutation is drawn by the seed, the column and the repeat, and is the same for all copies. Raises
    UserError for a figure that was not measured, or has no value.
    """
    recipe = reported_recipe(trained.plan)
    known = ["loss", *recipe.metrics]
    if figure not in known:
        raise UserError(f"importance: this run measures no {figure}{nearest(figure, known)}")
    recipe = replace(recipe, metrics={name: own for name, own in recipe.metrics.items() if name == figure})
    sign = 1 if is_higher_better(trained, figure) else -1

    def measured(split: Split) -> Tensor:
        values = evaluate(trained.model, split, recipe, trained.hardware)[figure]
        if not all(map(isfinite, values)):
            raise UserError(
                f"importance: {figure_name(figure)} is {values[0]} on these {len(split):,} examples"
            )
        return torch.tensor(values, dtype=torch.float64)

    whole, found = measured(Chosen(every, some)), {}
    for name, places in columns_of(trained).items():
        orders = (permutation(len(some), name, seed, repeat) for repeat in range(repeats))
        shuffled = [measured(Shuffled(every, some, places, order)) for order in orders]
        found[name] = sign * (whole.unsqueeze(1) - torch.stack(shuffled, 1))
    return found


class Shuffled(Chosen):
    """Some examples of a split, by their indices (n,) in it, with features that are those of others.

    The features `places` of example i are those of example order[i].
    """

    def __init__(self, whole: Split, indices: Tensor, places: Sequence[int], order: Tensor) -> None:
        super().__init__(whole, indices)
        self._places = torch.tensor(places, device=self.device)
        self._order = order.to(self.device)

    def batch(self, indices: Tensor) -> tuple[Tree, Tree]:
        inputs, targets = super().batch(indices)
        others = single(super().batch(self._order[indices])[0])
        taken = others.index_select(-1, self._places)
        return single(inputs).index_copy(-1, self._places, taken), targets


def permutation(n: int, column: str, seed: int, repeat: int) -> Tensor:
    """A permutation (n,) of examples, drawn for a column and a repeat."""
    return torch.randperm(n, generator=generator(f"importance of {column}", seed, repeat))


def columns_of(trained: Trained) -> dict[str, list[int]]:
    """The places of the features that are made from each column."""
    data, found = trained.data, dict[str, list[int]]()
    names = data.columns or data.features or [f"input {place + 1}" for place in range(data.shape[0])]
    for place, name in enumerate(names):
        found.setdefault(name, []).append(place)
    return found


def is_higher_better(trained: Trained, figure: str) -> bool:
    """True if a higher figure is the better one."""
    stated = {} if figure == "loss" else trained.plan.parts.part("metrics", figure).constants
    return figure != "loss" and stated.get("better") != "lower"


def is_clear(values: Tensor) -> bool:
    """True if the mean of importances (copies, repeats) is more than two standard deviations above 0."""
    return float(values.mean()) > 2 * float(values.std())


def alike_columns(
    trained: Trained, every: Split, some: Tensor, names: Sequence[str]
) -> list[tuple[float, str, str]]:
    """The pairs of columns that are correlated, the largest correlation of their inputs first."""
    prepared = single(every.batch(some.to(every.device))[0]).cpu().double()
    centred = prepared - prepared.mean(0)
    units = centred / centred.norm(dim=0).clamp_min(1e-12)
    of_column = {name: units[:, places] for name, places in columns_of(trained).items() if name in names}
    pairs = [
        (float((of_column[one].T @ of_column[other]).abs().max()), one, other)
        for one, other in combinations(names, 2)
    ]
    return sorted((pair for pair in pairs if pair[0] >= ALIKE), key=lambda pair: -pair[0])


def said_alike(pairs: Sequence[tuple[float, str, str]]) -> str:
    """Correlated columns in words, with the absolute value of their correlation."""
    said = [f"{shown(one)} and {shown(other)} (|r| {r:.2f})" for r, one, other in pairs[:NAMED]]
    return "; ".join([*said, f"{len(pairs) - NAMED} more pairs"] if len(pairs) > NAMED else said)


def draw_bars(axes: Axes, names: Sequence[str], found: dict[str, Tensor]) -> None:
    """Draw a bar for each column, the first one on top: mean ± 1 sd, for several seeds a dot for each."""
    several = len(next(iter(found.values()))) > 1
    for place, name in enumerate(names):
        values = found[name]
        mean, sd = float(values.mean()), float(values.std())
        axes.barh(place, mean, 0.7, color=BLUE if is_clear(values) else PALE)
        axes.errorbar(mean, place, xerr=sd, color=INK, linewidth=1.2, capsize=2.5)
        if several:
            own = values.mean(1).tolist()
            axes.scatter(own, [place] * len(own), 12, color=INK, alpha=0.5, linewidths=0, zorder=3)
    axes.set_yticks(range(len(names)), [both_ends(name, 24) for name in names], fontsize=TEXT)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
