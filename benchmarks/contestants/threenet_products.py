"""The matrix products of an epoch of ThreeNet and nothing else: what no loop over it can be faster than."""

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, images, model

SQUARE, REPEATED = 1024, 9  # the product of two square matrices: nearly as fast as the processor multiplies


def forward(inputs: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """The inputs of each layer and the outputs of the last one, without biases and activations."""
    given = [inputs]
    for weight in weights:
        given.append(torch.mm(given[-1], weight.t()))
    return given


def seconds_of_square() -> float:
    """The least seconds of a product of two square matrices."""
    one, other, product = (torch.randn(SQUARE, SQUARE) for _ in range(3))
    seconds = []
    for _ in range(REPEATED):
        began = perf_counter()
        torch.mm(one, other, out=product)
        seconds.append(perf_counter() - began)
    return min(seconds)


words = asked()
pixels, tested = (images(words.data, split)[0] for split in ("train", "t10k"))
weights = [layer.weight.detach() for layer in model() if isinstance(layer, torch.nn.Linear)]
forward_multiply_adds = sum(weight.numel() for weight in weights)  # of an image
# Each layer's weights have a gradient, and the inputs of all layers but the lowest.
training_multiply_adds = 3 * forward_multiply_adds - weights[0].numel()
multiply_adds = len(pixels) * training_multiply_adds + len(tested) * forward_multiply_adds
epochs = Epochs()
for _ in range(words.epochs):
    for inputs in pixels.split(BATCH):
        given = forward(inputs, weights)
        # Backward: what each layer gives stands in for its gradient, which has the same shape.
        for index in reversed(range(len(weights))):
            torch.mm(given[index + 1].t(), given[index])
            if index:
                torch.mm(given[index + 1], weights[index])
    epochs.trained()
    forward(tested, weights)
    epochs.evaluated(0.0, 0.0)
epochs.report(multiply_adds=multiply_adds, square=SQUARE, square_rate=SQUARE**3 / seconds_of_square())
