"""Functions that plots written for the flat layout import by their earlier names."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.drawing.plane import AT_ONCE, coloured_for
from dlrun.training.trained import Trained


def predicted(trained: Trained, split: str) -> tuple[Tensor, Tensor]:
    """Probabilities (copies, n, classes) and true classes (n,) of a split, on the CPU."""
    outputs, targets = trained.outputs(split)
    return trained.decision.probabilities(outputs), targets


def accuracy(probabilities: Tensor, targets: Tensor) -> list[float]:
    """The accuracy of each copy, from `probabilities` (copies, n, classes) and `targets` (n,)."""
    right = (probabilities.argmax(-1) == targets).to(torch.float64)
    return [float(share) for share in right.mean(1)]


def probabilities_at(trained: Trained, points: Tensor) -> Tensor:
    """The probabilities (n, classes) that the model gives points (n, 2), as means over seeds."""
    return torch.cat([trained.probabilities(some).mean(0) for some in points.split(AT_ONCE)])


def coloured(probabilities: Tensor, steps: int | None = None) -> Tensor:
    """The colours (n, 3) of `probabilities` (n, classes): white at chance, the class's colour if certain."""
    share, winner = probabilities.max(1)
    return coloured_for(winner, share, probabilities.shape[1], steps)
