"""Hits, predicted and true examples of each class or label, and scores of them that are averaged."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dlrun.config.options import Average
from dlrun.errors import UserError

Score = Callable[[float, float, float, float], float]  # hits, predicted, true, all -> the score


def hits_said_true(outputs: Tensor, targets: Tensor, average: Average = "macro") -> Tensor:
    """The hits, the predicted and the true examples of each class, (n, 3 · classes), of 0 and 1.

    `outputs` (n, classes) with targets (n,), whose largest predicts; or of labels, logits (n, labels) with
    targets (n, labels), which raise UserError if the score is to be the `average` binary: none is the second.
    """
    if targets.dim() == outputs.dim():
        if average == "binary":
            raise UserError("average: binary is of two classes, and these are labels", fix="take macro")
        said, true = outputs > 0, targets > 0.5
    else:
        classes = torch.arange(outputs.shape[1], device=outputs.device)
        said, true = (own.unsqueeze(1) == classes for own in (outputs.argmax(1), targets))
    return torch.cat([said & true, said, true], 1).float()


def shares_of(means: list[float]) -> list[tuple[float, float, float]]:
    """The means of `hits_said_true` by class: hits, predicted and true ones."""
    k = len(means) // 3
    return list(zip(means[:k], means[k : 2 * k], means[2 * k :], strict=True))


def averaged(means: list[float], average: Average, score: Score) -> float:
    """The score of each class from the means of `hits_said_true`, averaged; nan if there is no example.

    All classes count alike (macro), or by their true examples (weighted); one score of the counts of all
    (micro); or that of the second of two classes (binary). A class or a label that is neither predicted nor
    true is left out, as torchmetrics leaves out such a class.
    """
    shares = shares_of(means)
    if average == "binary":
        if len(shares) != 2:
            raise UserError(
                f"average: binary is of two classes, and there are {len(shares)}", fix="take macro"
            )
        return score(*shares[1], 1.0) if shares[0][2] + shares[1][2] else float("nan")
    each = [own for own in shares if own[1] + own[2]]
    if average == "micro":
        hits, said, true = (sum(some) for some in zip(*shares, strict=True))
        return score(hits, said, true, float(len(shares))) if each else float("nan")
    weights = [true if average == "weighted" else 1.0 for _, _, true in each]
    total = sum(weights)
    scores = (score(*own, 1.0) for own in each)
    return sum(w * s for w, s in zip(weights, scores, strict=True)) / total if total else float("nan")


def quotient(part: float, whole: float) -> float:
    """`part` over `whole`; 0 of nothing."""
    return part / whole if whole else 0.0
