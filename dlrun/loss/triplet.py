"""The triplet loss of embeddings."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.embeddings import dimensions_of, mean_of_counted, on_unit_sphere, others_of_class
from dlrun.config.options import Count, Positive

task = "embedding"
batchwise = True
outputs = dimensions_of


def triplet(
    outputs: Tensor,
    targets: Tensor,
    *,
    dimensions: Count = 32,
    margin: Positive | None = 0.2,
    mining: Literal["batch_hard", "batch_all"] = "batch_hard",
    normalise: bool = True,
) -> Tensor:
    """The amount by which one of the same class is farther away than one of another, plus a margin.

    `outputs` are embeddings (n, d), whose Euclidean distances count, `targets` class numbers (n,). Triples
    below 0 count as 0; gives their mean over the batch, which is 0 if no example has another of its class and
    one of another class in it. Source: Schroff et al. 2015, arXiv 1503.03832; Hermans et al. 2017, arXiv
    1703.07737.

    Args:
        dimensions: Numbers in an embedding, the outputs of the model.
        margin: Distance by which others have to be farther away; null: the soft margin log(1 + exp(·)).
        mining: Triples of a batch: the farthest of its class and the nearest of the others for each example
            (batch_hard), or all, which takes memory for n³ of them (batch_all).
        normalise: Give embeddings the length 1, in predictions too.

    Example:
        loss: {name: triplet, dimensions: 32, margin: 0.2}
    """
    distances = torch.cdist(outputs, outputs, compute_mode="donot_use_mm_for_euclid_dist")
    alike = others_of_class(targets)
    different = targets.unsqueeze(0) != targets.unsqueeze(1)
    if mining == "batch_hard":
        counts = alike.any(1) & different.any(1)
        farthest = distances.masked_fill(~alike, -torch.inf).amax(1)
        nearest = distances.masked_fill(~different, torch.inf).amin(1)
        closer = farthest - nearest
    else:
        counts = alike.unsqueeze(2) & different.unsqueeze(1)
        closer = distances.unsqueeze(2) - distances.unsqueeze(1)
    return mean_of_counted(F.softplus(closer) if margin is None else F.relu(closer + margin), counts)


def head(outputs: Tensor, *, normalise: bool) -> Tensor:
    """The embeddings that outputs (n, d) of a model stand for."""
    return on_unit_sphere(outputs) if normalise else outputs
