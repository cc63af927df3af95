"""Epochs of an image model by dlrun's loop, and by a careful one by hand, in turn in one process.

Both begin with the same weights, see the same examples in the same order and change them alike, and the
losses of their epochs are compared to the last digit.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.contestants._report import say
from dlrun.augmentations.crop import crop
from dlrun.augmentations.cutout import cutout
from dlrun.augmentations.flip import flip
from dlrun.config.loading import config_from_plain
from dlrun.config.registry import Parts
from dlrun.system.randomness import generator
from dlrun.training.loop import fit
from dlrun.training.plan_making import make_plan

MODELS = {
    "resnet18": {
        "dataset": {"name": "symbols", "size": 64, "images": 96, "test_images": 1},
        "architecture": {"name": "torchvision", "model": "resnet18"},
        "augmentations": [{"name": "crop", "padding": 4}, "flip", {"name": "cutout", "size": 16}],
        "batch_size": 32,
    },
    "mnist_cnn": {
        "dataset": {"name": "mnist", "normalise": "train"},
        "architecture": {
            "name": "cnn",
            "channels": [16, 32],
            "kernel_size": 5,
            "padding": 2,
            "pool": 2,
        },
        "augmentations": [{"name": "crop", "padding": 2}],
        "batch_size": 64,
    },
}


def changed_colours(images: Tensor, stream: torch.Generator) -> Tensor:
    images = crop(images, None, stream, images.shape[2:], padding=4)[0]
    images = flip(images, None, stream)[0]
    return cutout(images, stream, size=16)


def changed_digits(images: Tensor, stream: torch.Generator) -> Tensor:
    return crop(images, None, stream, images.shape[2:], padding=2)[0]


BY_HAND = {"resnet18": changed_colours, "mnist_cnn": changed_digits}

asked = argparse.ArgumentParser()
asked.add_argument("--model", choices=list(MODELS), required=True)
asked.add_argument("--epochs", type=int, required=True)
asked.add_argument("--threads", type=int, default=1)
words = asked.parse_args()
learning = {"loss": "cross_entropy", "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9}}
usual = {
    "name": words.model,
    "epochs": words.epochs + 1,
    "device": "cpu",
    "threads": words.threads,
    "plots": [],
}
rarely = {"metrics": ["accuracy"], "evaluate_every": words.epochs + 2}
config = config_from_plain(MODELS[words.model] | learning | usual | rarely, "benchmark")
plan = make_plan(config, Parts(), Path(os.environ.get("DLRUN_DATA", "data")))
loaded = plan.load()
hardware = plan.hardware(loaded)
hardware.use()
state = plan.state(hardware)
network = deepcopy(state.model.copies[0])
images, targets = loaded["train"].raw(), loaded["train"].targets
steps = loaded.preprocessing.each[""].state_dict()
offset, factor = steps["offset"], steps["scale"].reciprocal()


def by_hand(network: nn.Module) -> Iterator[float]:
    """Train epoch after epoch and yield the mean loss of each."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    network.train()
    for epoch in range(1, words.epochs + 2):
        order = torch.randperm(len(images), generator=generator("order", 0, epoch))
        stream = generator("augmentation", 0, epoch)
        loss_sum, correct = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.long)
        for indices in order.split(config.batch_size):  # type: ignore[arg-type]
            inputs = images.index_select(0, indices).to(torch.float32).sub_(offset).mul_(factor)
            labels = targets.index_select(0, indices)
            outputs = network(BY_HAND[words.model](inputs, stream))
            loss = cross_entropy(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(labels)
            correct += (outputs.detach().argmax(1) == labels).sum()
        yield float(loss_sum) / len(images)


rows = fit(state, loaded, plan.recipe, hardware)
losses = by_hand(network)
epochs = []
for number in range(words.epochs + 1):
    pair: dict[str, float] = {}
    found: dict[str, float] = {}
    for way in ("dlrun", "by hand")[:: 1 if number % 2 else -1]:
        started = perf_counter()
        found[way] = next(rows)["train_loss"][0] if way == "dlrun" else next(losses)
        pair[way] = perf_counter() - started
    if abs(found["dlrun"] - found["by hand"]) > 1e-6 * found["by hand"]:
        raise SystemExit(f"epoch {number + 1}: the losses are {found}")
    if number:  # the first warms up
        epochs.append(pair)
say(epochs=epochs)
