"""The matrix products of an epoch of ThreeNet and nothing else: what no loop over it can be faster than."""

import torch

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, images, model

words = asked()
pixels = images(words.data, "train")[0]
weights = [layer.weight.detach() for layer in model() if isinstance(layer, torch.nn.Linear)]
sizes = [784, *(len(weight) for weight in weights)]
epochs = Epochs()
for _ in range(words.epochs):
    for inputs in pixels.split(BATCH):
        given = [inputs, *(torch.empty(len(inputs), size) for size in sizes[1:])]
        for weight, before, after in zip(weights, given, given[1:], strict=False):
            torch.mm(before, weight.t(), out=after)
        # Backward: what each layer gives stands in for its gradient, which has the same shape.
        for index in reversed(range(len(weights))):
            torch.mm(given[index + 1].t(), given[index])
            if index:
                torch.mm(given[index + 1], weights[index])
    epochs.evaluated(0.0, 0.0)
epochs.report()
