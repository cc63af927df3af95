"""Balanced accuracy: accuracy in which every class counts alike."""

from __future__ import annotations

from statistics import fmean

from torch import Tensor

from dlrun.blocks.class_counts import hits_said_true, shares_of

task = "classification"


def balanced_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of the examples of each class that are predicted correctly, averaged over classes.

    `outputs` (n, classes), `targets` (n,). Gives the hits, predicted and true ones of each class,
    (n, 3 · classes). A class of no example is left out.
    """
    return hits_said_true(outputs, targets)


def finish(means: list[float]) -> float:
    """The mean share of hits; nan if there is no example."""
    shares = [hits / true for hits, _, true in shares_of(means) if true]
    return fmean(shares) if shares else float("nan")
