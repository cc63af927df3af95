"""F1: the harmonic mean of precision and recall, over classes or labels."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.class_counts import averaged, hits_said_true
from dlrun.config.options import Average

task = ("classification", "multilabel")


def f1(outputs: Tensor, targets: Tensor, *, average: Average = "macro") -> Tensor:
    """F1 of each class or label, averaged: the harmonic mean of precision and recall.

    `outputs` (n, classes) with targets (n,), whose largest predicts; or of labels, logits (n, labels) with
    targets (n, labels). Gives the hits, predicted and true ones of each, (n, 3 · classes). A
    class or a label that is neither predicted nor true is left out of the average; torchmetrics leaves out
    such a class too, but counts such a label as 0.

    Args:
        average: Way of averaging: all classes alike (macro), by their true examples (weighted), of the counts
            of all classes together (micro), or of the second of two classes alone (binary).
    """
    return hits_said_true(outputs, targets, average)


def finish(means: list[float], *, average: Average) -> float:
    """F1 from the means of hits, predicted and true ones of each class; nan if there are none."""
    return averaged(means, average, _score)


def _score(hits: float, said: float, true: float, every: float) -> float:
    return 2 * hits / (said + true) if said + true else 0.0
