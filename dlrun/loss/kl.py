"""Distillation: the distance to the probabilities of a trained model, and to the true class."""

from __future__ import annotations

from math import log

import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.classes import one_output_per_class
from dlrun.config.options import Fraction, Positive

task = "classification"
outputs = one_output_per_class


def kl(
    outputs: Tensor,
    targets: Tensor,
    teacher: Tensor,
    *,
    temperature: Positive = 4.0,
    weight: Fraction = 0.1,
) -> Tensor:
    """Cross entropy with the true class, and T² times the Kullback-Leibler divergence from a teacher.

    The divergence is that of softmax(outputs / T) from the teacher's probabilities at the same temperature T,
    a mean over its seeds, for the same augmented inputs: `teacher` holds their log-probabilities (seeds, n,
    classes). `outputs` are logits (n, classes), `targets` class numbers (n,) or shares of classes (n,
    classes); gives (n,), in nats. The teacher itself learns nothing. To go on and to be evaluated the run
    needs the teacher's checkpoint, whose SHA-256 it keeps; to predict it does not. Source: Hinton et al.
    2015, arXiv 1503.02531; the defaults are of Tian et al. 2020, arXiv 1910.10699.

    Args:
        teacher: Run, such as last, or checkpoint of the model that teaches, of the same classes and inputs.
        temperature: T, by which logits are divided: the higher, the more the small probabilities count.
        weight: Share of the cross entropy with the true class; that of the divergence is the rest.

    Example:
        loss: {name: kl, teacher: large-001, temperature: 4, weight: 0.1}
    """
    taught = (teacher / temperature).log_softmax(-1).logsumexp(0) - log(len(teacher))
    learnt = (outputs / temperature).log_softmax(1)
    divergence = F.kl_div(learnt, taught, reduction="none", log_target=True).sum(1)
    hard = F.cross_entropy(outputs, targets, reduction="none")
    return weight * hard + (1 - weight) * temperature**2 * divergence
