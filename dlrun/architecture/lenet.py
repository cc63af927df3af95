"""LeNet-5."""

from __future__ import annotations

from typing import Literal

from torch import nn

from dlrun.blocks.activations import activation_named
from dlrun.config.options import Activation, NonNegativeInt
from dlrun.errors import UserError


def lenet(
    shape: tuple[int, ...],
    outputs: int,
    *,
    activation: Activation = "tanh",
    pooling: Literal["average", "max"] = "average",
    padding: NonNegativeInt = 2,
) -> nn.Module:
    """LeNet-5, of convolutions with 6 and 16 kernels: (batch, channels, height, width) -> (batch, outputs).

    Twice a 5×5 convolution, the activation and a pooling over 2×2 pixels, then layers of 120 and 84 units.
    Images of 28×28 pixels become 6×28×28, 6×14×14, 16×10×10, 16×5×5. Raises UserError if the image is too
    small. Source: LeCun et al. 1998, in its usual textbook form: each of the 16 kernels sees all 6 channels,
    poolings have no weights, and the outputs are a linear layer.

    Args:
        activation: Nonlinearity behind both convolutions and both hidden layers.
        pooling: Figure of each 2×2 pixels that is passed on.
        padding: Pixels of zeros around the image at the first convolution; 2 makes the paper's 32×32 pixels
            of 28×28, so take 0 if your images have that size.
    """
    if len(shape) != 3:
        raise UserError(f"it takes images, but the inputs are {'×'.join(map(str, shape))}")
    channels, *sides = shape
    height, width = (((n + 2 * padding - 4) // 2 - 4) // 2 for n in sides)
    if min(height, width) < 1:
        least = 16 - 2 * padding
        raise UserError(
            f"nothing is left of images of {sides[0]}×{sides[1]} pixels", fix=f"they need {least}×{least}"
        )
    pool = nn.AvgPool2d if pooling == "average" else nn.MaxPool2d
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=padding),
        activation_named(activation),
        pool(2),
        nn.Conv2d(6, 16, 5),
        activation_named(activation),
        pool(2),
        nn.Flatten(),
        nn.Linear(16 * height * width, 120),
        activation_named(activation),
        nn.Linear(120, 84),
        activation_named(activation),
        nn.Linear(84, outputs),
    )
