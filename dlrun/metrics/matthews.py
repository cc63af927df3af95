"""Matthews' correlation coefficient."""

from __future__ import annotations

from math import sqrt

from torch import Tensor

from dlrun.blocks.class_counts import hits_said_true, shares_of

task = "classification"


def matthews(outputs: Tensor, targets: Tensor) -> Tensor:
    """The correlation of predicted and true classes, from -1 to 1; 0 is no better than chance.

    `outputs` (n, classes), `targets` (n,). Gives the hits, predicted and true ones of each class,
    (n, 3 · classes). It is 0 if all examples, or all predictions, are of one class. Source: Gorodkin 2004.
    """
    return hits_said_true(outputs, targets)


def finish(means: list[float]) -> float:
    """(Σ hits - Σ said · true) / √((1 - Σ said²) (1 - Σ true²)) of the shares of each class."""
    shares = shares_of(means)
    if not sum(true for *_, true in shares):
        return float("nan")
    hits = sum(hit for hit, *_ in shares)
    chance = sum(said * true for _, said, true in shares)
    spread = (1 - sum(said**2 for _, said, _ in shares)) * (1 - sum(true**2 for *_, true in shares))
    return (hits - chance) / sqrt(spread) if spread > 1e-12 else 0.0
