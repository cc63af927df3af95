"""The share of examples with every label, or every position, right."""

from __future__ import annotations

from torch import Tensor

task = ("multilabel", "sequence", "pixels")
places = True


def exact_match(outputs: Tensor, targets: Tensor) -> Tensor:
    """True if nothing of an example is wrong.

    Of labels `outputs` are logits and `targets` 0 or 1, both (n, labels); of places outputs are
    (n, classes, …) and targets (n, …), where -100 does not count. Gives (n,).
    """
    if outputs.dim() == targets.dim():
        right = (outputs > 0) == (targets > 0.5)
    else:
        right = (outputs.argmax(1) == targets) | (targets == -100)
    return right.flatten(1).all(1)
