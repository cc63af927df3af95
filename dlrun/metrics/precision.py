"""Precision: the share of right ones among the examples that are predicted to be of a class."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.class_counts import averaged, hits_said_true, quotient
from dlrun.config.options import Average

task = ("classification", "multilabel")


def precision(outputs: Tensor, targets: Tensor, *, average: Average = "macro") -> Tensor:
    """The share of right ones among those predicted to be of a class or label, averaged.

    `outputs` (n, classes) with targets (n,), whose largest predicts; or of labels, logits (n, labels) with
    targets (n, labels). Gives the hits, predicted and true ones of each, (n, 3 · classes). A
    class that is never predicted has a precision of 0, and one that is not true either is left out.

    Args:
        average: Way of averaging: all classes alike (macro), by their true examples (weighted), of the counts
            of all classes together (micro), or of the second of two classes alone (binary).
    """
    return hits_said_true(outputs, targets, average)


def finish(means: list[float], *, average: Average) -> float:
    """Precision from the means of hits, predicted and true ones; nan if there are none."""
    return averaged(means, average, _score)


def _score(hits: float, said: float, true: float, every: float) -> float:
    return quotient(hits, said)
