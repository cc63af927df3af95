"""Spiral arms by hand: ReLU units and Adam, a full batch or several, nothing kept but figures."""

from itertools import pairwise
from math import pi
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.contestants._report import asked, say

words = asked()


def arms(points: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (3 · points, 2) of three arms, and which arm each is of."""
    t, inputs = torch.linspace(0, 1, points), []
    for c in range(3):
        angle = torch.linspace(2 * pi * c / 3, 2 * pi * (c + 2) / 3, points)
        angle = angle + torch.randn(points, generator=stream) * 0.2
        inputs.append(torch.stack([t * angle.sin(), t * angle.cos()], 1))
    return torch.cat(inputs), torch.arange(3).repeat_interleave(points)


stream = torch.Generator().manual_seed(12345)
(inputs, targets), (test_inputs, test_targets) = arms(1000, stream), arms(1000, stream)
torch.manual_seed(words.seed)
layers: list[nn.Module] = []
sizes = [2, *words.hidden, 3]
for size, width in pairwise(sizes):
    layers += [nn.Linear(size, width), nn.ReLU()]
network = nn.Sequential(*layers[:-1])
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5, fused=True)
losses, test_accuracies = [], []
started = perf_counter()
for epoch in range(1, words.epochs + 1):
    if words.batch:
        batches = torch.randperm(len(inputs)).split(words.batch)
    loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
    for indices in batches if words.batch else [None]:
        some = inputs if indices is None else inputs.index_select(0, indices)
        labels = targets if indices is None else targets.index_select(0, indices)
        outputs = network(some)
        loss = cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach() * len(labels)
        correct += (outputs.detach().argmax(1) == labels).sum()
    losses.append(loss_sum.item() / len(inputs))
    accuracy = correct.item() / len(inputs)
    if epoch % 100 == 0:
        with torch.no_grad():
            outputs = network(test_inputs)
            test_loss = cross_entropy(outputs, test_targets).item()
            test_accuracies.append((outputs.argmax(1) == test_targets).float().mean().item())
say(loop_seconds=perf_counter() - started, losses=losses, test_accuracies=test_accuracies)
