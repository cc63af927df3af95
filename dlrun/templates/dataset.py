"""Points on rings around the origin, one ring for each class."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dlrun.config.options import Count
from dlrun.data import Data, Examples, Preprocessing


def my_part(root: Path, *, points: Count = 100, rings: Count = 3) -> Data:
    """Rings in the plane, one for each class, with as many new points to test on as to train on.

    A dataset is `x(root, *, …) -> Data`. It states the task and the shape of an input at once, and reads the
    examples when dlrun calls `read`. `root` is the data folder, for files of your own (--data-dir).

    Args:
        points: Points of each ring in training, and as many in the test.
        rings: Rings around the origin, each a class.
    """

    def read() -> dict[str, Examples]:
        # A generator with a fixed seed: a dataset that differs when it is read again is refused.
        stream = torch.Generator().manual_seed(0)
        return {split: _rings(points, rings, stream) for split in ("train", "test")}

    def fit(training: Examples) -> Preprocessing:
        """Derive (input - offset) / scale from the training examples alone."""
        assert isinstance(training.inputs, Tensor)
        return Preprocessing(offset=training.inputs.mean(0), scale=training.inputs.std(0))

    classes = tuple(f"ring {number}" for number in range(1, rings + 1))
    # Leave `synthetic` out if your examples are observed, not generated.
    return Data("classification", (2,), read, classes=classes, fit=fit, synthetic=True)


def _rings(points: int, rings: int, stream: torch.Generator) -> Examples:
    """Inputs (rings · points, 2) in float32, and targets (rings · points,) in int64 from 0 on."""
    targets = torch.arange(rings).repeat_interleave(points)
    radius = 1 + targets + 0.25 * torch.randn(len(targets), generator=stream)
    angle = 2 * torch.pi * torch.rand(len(targets), generator=stream)
    return Examples(torch.stack([radius * angle.cos(), radius * angle.sin()], 1), targets)
