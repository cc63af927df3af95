"""Cohen's kappa."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.class_counts import hits_said_true, shares_of

task = "classification"


def kappa(outputs: Tensor, targets: Tensor) -> Tensor:
    """The agreement of predicted and true classes beyond chance, at most 1; 0 is chance.

    `outputs` (n, classes), `targets` (n,). Gives the hits, predicted and true ones of each class,
    (n, 3 · classes). It is nan if all examples and all predictions are of one class. Source: Cohen 1960.
    """
    return hits_said_true(outputs, targets)


def finish(means: list[float]) -> float:
    """(p - c) / (1 - c) of the share p of hits and the share c that chance would give."""
    shares = shares_of(means)
    hits = sum(hit for hit, *_ in shares)
    chance = sum(said * true for _, said, true in shares)
    is_known = sum(true for *_, true in shares) and 1 - chance > 1e-12
    return (hits - chance) / (1 - chance) if is_known else float("nan")
