"""The share of examples that are predicted rightly and with confidence."""

from __future__ import annotations

from torch import Tensor

from dlrun.config.options import Fraction

task = "classification"
better = "higher"  # or "lower", as of an error


def my_part(probabilities: Tensor, targets: Tensor, *, least: Fraction = 0.5) -> Tensor:
    """True if the true class is predicted, and with confidence.

    A metric is `x(outputs, targets, *, …) -> (n,)`: a figure for each example, of which dlrun takes the mean.
    The name of its first parameter asks for `outputs`, `probabilities` or `log_probabilities`, each (n,
    classes); `targets` are class numbers (n,). A figure that is no mean over examples needs `whole = True`.

    Args:
        least: Probability that the true class has to exceed.
    """
    largest, predicted = probabilities.max(1)
    return (predicted == targets) & (largest > least)
