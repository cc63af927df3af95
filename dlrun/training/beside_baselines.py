"""Figures that are worse than those of a guess without a model, and what can be done about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dlrun.config.keys import AVERAGED
from dlrun.config.registry import Parts
from dlrun.data.examples import Split
from dlrun.training.plan import CLASS_WEIGHT, Plan

_SAME = 1e-4  # relative difference of figures that count as equal
_FEW_EPOCHS = 10
_EARLY, _RISES = 0.7, 0.1  # a share of the epochs, and of the lowest loss
_FALLS = 0.01  # share by which a loss that still falls has fallen over the last tenth of the epochs
_LARGE = 1e4  # figures from here on are said as whole numbers


@dataclass(frozen=True)
class Shortfall:
    """A figure of a split that is worse than that of a baseline."""

    split: str  # "" if there is only one
    figure: str
    value: float
    baseline: str
    guessed: float

    @property
    def distance(self) -> float:
        """The difference from the baseline, from 0 to 2 relative to the larger of both."""
        return abs(self.value - self.guessed) / max(abs(self.value), abs(self.guessed))

    def __str__(self) -> str:
        column = f"{self.split}_{self.figure}" if self.split else self.figure
        guess = f"the baseline {self.baseline!r} ({_said(self.guessed)})"
        return f"{column} {_said(self.value)} is worse than {guess}"


def shortfalls(
    split: str,
    figures: Mapping[str, float | None],
    baselines: Mapping[str, Mapping[str, float]],
    parts: Parts,
) -> list[Shortfall]:
    """The figures of a split that are worse than those of some baseline: baseline -> figure -> value.

    A metric whose file states `beside_guesses = False` is left out.
    """
    found = []
    for baseline, guesses in baselines.items():
        for figure, guessed in guesses.items():
            value = figures.get(figure)
            stated = {} if figure == "loss" else parts.part("metrics", figure).constants
            if value is None or not math.isfinite(value) or not math.isfinite(guessed):
                continue
            if stated.get("beside_guesses") is False:
                continue
            higher = figure != "loss" and stated.get("better") != "lower"
            worse_by = guessed - value if higher else value - guessed
            if worse_by > _SAME * max(abs(value), abs(guessed)):
                found.append(Shortfall(split, figure, value, baseline, guessed))
    return found


def worst_of_run(
    plan: Plan,
    best: Mapping[str, Sequence[float]],
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]],
    training: Split,
    rows: Mapping[str, Sequence[Any]],
) -> str:
    """One line on the worst figure of a run's best epochs that a guess without a model surpasses; "" if none.

    `baselines` are those of each split. The training loss of an epoch is one of weights that change, and
    counts only if nothing else was measured.
    """
    split, ending = plan.recipe.evaluation_split, AVERAGED * plan.takes_averaged
    found = []
    for name in (split, "trainset") if split else ("train", "trainset"):
        figures = {
            column.removeprefix(f"{name}_").removesuffix(ending): fmean(values)
            for column, values in best.items()
            if column.startswith(f"{name}_") and column.endswith(ending)
        }
        found += shortfalls(name, figures, baselines[name if name == split else "train"], plan.parts)
    return said_worst(found, plan, training, rows, baselines["train"])


def said_worst(
    found: Sequence[Shortfall],
    plan: Plan,
    training: Split | None,
    rows: Mapping[str, Sequence[Any]],
    in_training: Mapping[str, Mapping[str, float]],
) -> str:
    """One line on the worst of some shortfalls, with remedies; "" if there is none.

    A metric is named before the loss, whose unit is less known. `rows` are the columns of metrics.csv,
    `in_training` the figures of the baselines on the training split.
    """
    if not found:
        return ""
    worst = max(found, key=lambda own: (own.figure != "loss", own.distance))
    reached = _beaten_in_training(worst, rows, in_training.get(worst.baseline, {}), plan.parts)
    if reached and not _learns_by_heart(rows):
        what = f"{worst}, which it beats in training ({reached}): what it learns does not carry over"
        return f"{what}; take a smaller model, optimizer.weight_decay or more data, if the inputs tell more"
    if worst.figure != "loss" and (key := _balancing(plan)):
        return f"{worst}: {key} trains for rare classes instead; judge these by f1, precision and recall"
    *first, last = _remedies(plan, training, rows)
    return f"{worst}: {', '.join(first)}{' or ' * bool(first)}{last}"


def _beaten_in_training(
    worst: Shortfall, rows: Mapping[str, Sequence[Any]], guesses: Mapping[str, float], parts: Parts
) -> str:
    """Both figures, if the last training figure is better than the guess that a shortfall is worse than."""
    last = _means(rows, f"train_{worst.figure}")[-1:]
    guessed = guesses.get(worst.figure)
    if not last or guessed is None or not math.isfinite(last[0]):
        return ""
    is_worse = shortfalls("train", {worst.figure: last[0]}, {"": {worst.figure: guessed}}, parts)
    is_same = math.isclose(last[0], guessed, rel_tol=_SAME)
    return "" if is_worse or is_same else f"{_said(last[0])} against {_said(guessed)}"


def _balancing(plan: Plan) -> str:
    """The key by which training counts classes otherwise than by their examples; "" if there is none."""
    if plan.loss.class_weights:
        return CLASS_WEIGHT
    return "sampling: balanced" if plan.recipe.sampling.is_balanced else ""


def _remedies(plan: Plan, training: Split | None, rows: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Yield what could make figures better, as far as it is known."""
    dataset = plan.parts.part("dataset", plan.config.dataset.name)
    can_be_scaled = "scale_target" in dataset.options and not plan.task.are_inputs_targets
    is_unscaled = can_be_scaled and plan.task.are_estimates and plan.data.scaling is None
    if training is not None and is_unscaled and _is_far_from_unit(training):
        yield "set dataset.scale_target: true"
    by_epoch = _means(rows, "train_loss")
    if _learns_by_heart(rows):
        yield "take a smaller model or optimizer.weight_decay (the validation loss rises again)"
    elif _still_falls(by_epoch):
        yield "train longer (the training loss still falls)"
    elif len(by_epoch) < _FEW_EPOCHS:
        yield "train longer"
    yield "try another optimizer.lr"


def _learns_by_heart(rows: Mapping[str, Sequence[Any]]) -> bool:
    """True if the validation loss rises again, and the training loss does not."""
    return _rises(_means(rows, "valid_loss")) and not _rises(_means(rows, "train_loss"))


def _means(rows: Mapping[str, Sequence[Any]], column: str) -> list[float]:
    """The figure in a column after each epoch, a mean over seeds."""
    of_epochs: dict[Any, list[float]] = {}
    for epoch, figure in zip(rows.get("epoch", ()), rows.get(column, ()), strict=False):
        if figure is not None:
            of_epochs.setdefault(epoch, []).append(figure)
    return [fmean(figures) for figures in of_epochs.values()]


def _rises(losses: Sequence[float]) -> bool:
    """True if the lowest loss lies far behind the last, which is clearly above it."""
    if len(losses) < 2:
        return False
    best = min(losses)
    return losses.index(best) < _EARLY * len(losses) and losses[-1] - best > _RISES * abs(best)


def _still_falls(losses: Sequence[float]) -> bool:
    """True if the last loss is the lowest, and clearly below that a tenth of the epochs earlier."""
    if len(losses) < 2:
        return False
    before = losses[-1 - max(1, len(losses) // 10)]
    return losses[-1] <= min(losses) and before - losses[-1] > _FALLS * abs(before)


def _is_far_from_unit(training: Split) -> bool:
    """True if targets are far from 0 for their deviation, or this is far from 1."""
    targets = training.targets.cpu().double()
    mean, deviation = targets.mean(0).abs(), targets.std(0)
    return bool(((mean > deviation) | (deviation > 10) | (deviation < 0.1)).any())


def _said(value: float) -> str:
    return f"{value:,.0f}" if _LARGE <= abs(value) < 1e12 else f"{value:.4g}"
