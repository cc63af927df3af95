"""The supervised contrastive loss of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.embeddings import dimensions_of, mean_of_counted, on_unit_sphere, others_of_class
from dlrun.config.options import Count, Positive

task = "embedding"
batchwise = True
outputs = dimensions_of


def supervised_contrastive(
    outputs: Tensor, targets: Tensor, *, dimensions: Count = 32, temperature: Positive = 0.1
) -> Tensor:
    """Minus the log share of an example's similarity to one of its class among those to all others.

    Embeddings (n, d) have the length 1, and the similarity is exp(cosine / temperature); `targets` are class
    numbers (n,). Gives the mean over the others of its class, then over the examples of a batch that have
    any, in nats; 0 if none has. Each example is there once as it was augmented, not in two views. Source:
    Khosla et al. 2020, arXiv 2004.11362, equation 2.

    Args:
        dimensions: Numbers in an embedding, the outputs of the model.
        temperature: Divisor of cosines: the lower, the more the nearest examples count.

    Example:
        loss: {name: supervised_contrastive, dimensions: 32, temperature: 0.1}
    """
    alike = others_of_class(targets)
    itself = torch.eye(len(outputs), dtype=torch.bool, device=outputs.device)
    shares = (outputs @ outputs.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    among = torch.where(alike, shares, 0.0).sum(1) / alike.sum(1).clamp_min(1)
    return -mean_of_counted(among, alike.any(1))


def head(outputs: Tensor) -> Tensor:
    """The embeddings, of length 1, that outputs (n, d) of a model stand for."""
    return on_unit_sphere(outputs)
