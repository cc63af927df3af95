"""A random scale of each training example."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.config.options import Fraction


def my_part(inputs: Tensor, generator: torch.Generator, *, spread: Fraction = 0.1) -> Tensor:
    """Multiply each example by a random factor.

    An augmentation is `x(inputs, generator, *, …) -> inputs`: it changes a preprocessed training batch (n,
    …). Draw random numbers from `generator` alone, so that a run can be repeated. With a parameter `targets`
    before the generator it gives both, inputs and targets. One that moves pixels takes and gives `masks` in
    its place: classes (n, height, width) of pixels, or None. One that takes `pixels` for inputs is given
    images from 0 to 1.

    Args:
        spread: Largest distance of the factor from 1; it is uniform in between.
    """
    one_each = (len(inputs), *[1] * (inputs.dim() - 1))
    drawn = torch.rand(one_each, generator=generator, device=inputs.device, dtype=inputs.dtype)
    return inputs * (1 + spread * (2 * drawn - 1))
