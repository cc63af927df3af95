"""Recall (sensitivity): the share of the examples of a class that are found."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.class_counts import averaged, hits_said_true, quotient
from dlrun.config.options import Average

task = ("classification", "multilabel")


def recall(outputs: Tensor, targets: Tensor, *, average: Average = "macro") -> Tensor:
    """The share of the examples of a class or label that are predicted to be of it, averaged.

    `outputs` (n, classes) with targets (n,), whose largest predicts; or of labels, logits (n, labels) with
    targets (n, labels). Gives the hits, predicted and true ones of each, (n, 3 · classes). A
    class that is predicted, and never true, has a recall of 0; one that is neither is left out.

    Args:
        average: Way of averaging: all classes alike (macro), by their true examples (weighted), of the counts
            of all classes together (micro), or of the second of two classes alone (binary).
    """
    return hits_said_true(outputs, targets, average)


def finish(means: list[float], *, average: Average) -> float:
    """Recall from the means of hits, predicted and true ones; nan if there are none."""
    return averaged(means, average, _score)


def _score(hits: float, said: float, true: float, every: float) -> float:
    return quotient(hits, true)
