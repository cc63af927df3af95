"""Random features are unknown to the model."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import Fraction

inputs = "vectors"


def feature_dropout(inputs: Tensor, generator: torch.Generator, *, probability: Fraction = 0.1) -> Tensor:
    """Set features of vectors (n, features) to 0 at random, which is their mean if they are standardised.

    The others stay as they are, unlike those of a dropout in the model, which are enlarged. Of a one-hot
    category each number is a feature.

    Args:
        probability: Share of the features of an example that are set to 0.

    Example:
        augmentations: [{name: feature_dropout, probability: 0.2}]
    """
    chosen = torch.rand(inputs.shape, generator=generator, device=inputs.device) < probability
    return inputs.masked_fill(chosen, 0)
