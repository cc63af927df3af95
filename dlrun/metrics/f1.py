"""F1: the harmonic mean of precision and recall, over classes or labels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

task = ("classification", "multilabel")


def f1(
    outputs: Tensor, targets: Tensor, *, average: Literal["macro", "micro", "weighted"] = "macro"
) -> Tensor:
    """F1 of each class or label, averaged: the harmonic mean of precision and recall.

    `outputs` (n, classes) with targets (n,), whose largest predicts; or of labels, logits (n, labels) with
    targets (n, labels). Gives the hits, predicted and true ones of each, (n, 3 · classes), of which `finish`
    makes F1. A class or a label that is neither predicted nor true is left out of the average; torchmetrics
    leaves out such a class too, but counts such a label as 0.

    Args:
        average: Way of averaging: all classes alike (macro), by their true examples (weighted), or one F1 of
            the counts of all (micro).
    """
    if targets.dim() == outputs.dim():
        said, true = outputs > 0, targets > 0.5
    else:
        classes = torch.arange(outputs.shape[1], device=outputs.device)
        said, true = (own.unsqueeze(1) == classes for own in (outputs.argmax(1), targets))
    return torch.cat([said & true, said, true], 1).float()


def finish(means: list[float], *, average: str) -> float:
    """F1 from the means of hits, predicted and true ones of each class; nan if there are none."""
    k = len(means) // 3
    each = [own for own in zip(means[:k], means[k : 2 * k], means[2 * k :], strict=True) if own[1] + own[2]]
    if average == "micro":
        each = [tuple(map(sum, zip(*each, strict=True)))] if each else []  # type: ignore[list-item]
    weights = [true if average == "weighted" else 1.0 for _, _, true in each]
    total = sum(weights)
    scores = (2 * hits / (said + true) for hits, said, true in each)
    return sum(w * s for w, s in zip(weights, scores, strict=True)) / total if total else float("nan")
