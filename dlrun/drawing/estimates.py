"""Shared code of plots of estimates: the targets that are drawn, and the error in words."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dlrun.data.example_weights import weighted_mean
from dlrun.drawing.style import mean_and_spread, shown, unit_after
from dlrun.training.baselines import guesses
from dlrun.training.trained import Trained


def some_targets(trained: Trained, most: int) -> list[int]:
    """The numbers of the targets to draw, at most `most`: the first; of steps ahead the first to the last."""
    targets = trained.data.targets
    last = targets if trained.data.forecasts else min(targets, most)
    return list(map(round, np.linspace(0, last - 1, min(targets, most)).tolist()))


def errors(
    trained: Trained,
    split: str,
    outputs: Tensor,
    targets: Tensor,
    number: int | None = None,
    rows: Tensor | None = None,
) -> str:
    """A phrase with the mean absolute error of `outputs` (copies, n, d) and of the best baseline.

    Of several targets it is that of one `number`, or the mean; with `rows` it is of these examples.
    Each counts as often as its weight says.
    """
    unit, some = unit_after(trained), slice(None) if number is None else slice(number, number + 1)
    rows = torch.arange(len(targets)) if rows is None else rows
    outputs, targets = outputs[:, rows, some], targets[rows, some]
    weights = trained.weights(split)
    weights = None if weights is None else weights[rows]
    missed = (outputs.double() - targets).abs().mean(2)
    reached = mean_and_spread(weighted_mean(missed.T, weights).tolist())
    without = {
        name: float(weighted_mean((given.cpu().double()[rows, some] - targets).abs().mean(1), weights))
        for name, given in guesses(trained.plan, trained.loaded, split).items()
    }
    found = f"{'MAE' if number is not None else f'{split.capitalize()} MAE'} {reached}{unit}"
    if not without:
        return found
    best = min(without, key=lambda name: without[name])
    return f"{found}; without a model {without[best]:.4g}{unit} ({shown(best)})"
