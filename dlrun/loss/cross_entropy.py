"""Cross entropy of the softmax of the outputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.classes import one_output_per_class
from dlrun.config.options import Fraction

task = "classification"
outputs = one_output_per_class


def cross_entropy(outputs: Tensor, targets: Tensor, *, label_smoothing: Fraction = 0.0) -> Tensor:
    """Cross entropy between the softmax of the outputs and the true class, in nats.

    `outputs` are logits of shape (n, classes), `targets` class numbers of shape (n,); gives (n,).

    Args:
        label_smoothing: Share of each target that is spread evenly over all classes (Szegedy et al. 2015,
            arXiv 1512.00567).
    """
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=label_smoothing)
