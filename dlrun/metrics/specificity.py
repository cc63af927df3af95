"""Specificity: the share of the examples of other classes that are not taken for a class."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.class_counts import averaged, hits_said_true, quotient
from dlrun.config.options import Average

task = ("classification", "multilabel")


def specificity(outputs: Tensor, targets: Tensor, *, average: Average = "macro") -> Tensor:
    """The share of the examples not of a class or label that are not predicted to be of it, averaged.

    `outputs` (n, classes) with targets (n,), whose largest predicts; or of labels, logits (n, labels) with
    targets (n, labels). Gives the hits, predicted and true ones of each, (n, 3 · classes). A
    class that is neither predicted nor true is left out.

    Args:
        average: Way of averaging: all classes alike (macro), by their true examples (weighted), of the counts
            of all classes together (micro), or of the second of two classes alone (binary).
    """
    return hits_said_true(outputs, targets, average)


def finish(means: list[float], *, average: Average) -> float:
    """Specificity from the means of hits, predicted and true ones; nan if there are none."""
    return averaged(means, average, _score)


def _score(hits: float, said: float, true: float, every: float) -> float:
    return quotient(every - said - true + hits, every - true)
