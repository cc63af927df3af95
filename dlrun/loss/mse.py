"""Mean squared error."""

from __future__ import annotations

from torch import Tensor

from dlrun.blocks.classes import one_hot, one_output_per_class_or_figure, same, shares_of

outputs = one_output_per_class_or_figure
probabilities = shares_of
constant = same


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """The squared difference of outputs and targets, in the target's unit squared.

    Both of shape (n, d); gives (n,), the mean over d. Targets that are class numbers (n,) are one-hot
    encoded.
    """
    return (outputs - one_hot(targets, outputs)).square().mean(1)
