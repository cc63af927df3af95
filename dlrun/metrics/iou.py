"""Mean intersection over union of the classes, also called the Jaccard index."""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor

task = "classification"


def iou(outputs: Tensor, targets: Tensor) -> Tensor:
    """The intersection of predicted and true places of each class, over their union, averaged over classes.

    `outputs` (n, classes), `targets` (n,), with a row for each pixel. Gives both for each class,
    (n, 2 · classes), over all of a split; a class that is nowhere is left out.
    """
    classes = torch.arange(outputs.shape[1], device=outputs.device)
    said, true = (own.unsqueeze(1) == classes for own in (outputs.argmax(1), targets))
    return torch.cat([said & true, said | true], 1).float()


def finish(means: list[float]) -> float:
    """The mean quotient; nan if there is no class at all."""
    k = len(means) // 2
    shares = [both / either for both, either in zip(means[:k], means[k:], strict=True) if either]
    return fmean(shares) if shares else float("nan")
