"""Points along spiral arms, one arm for each class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import pi
from pathlib import Path

import torch

from dlrun.config.options import Count, Fraction, NonNegative, Seed
from dlrun.data.examples import Data, Examples
from dlrun.errors import UserError

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("points", "noise")

MOST_POINTS = 10_000_000


def spiral(
    root: Path,
    *,
    points: Count | list[Count] = 1000,
    classes: Count = 3,
    noise: NonNegative = 0.2,
    valid_fraction: Fraction = 0.0,
    seed: Seed = 12345,
) -> Data:
    """Spiral arms in the plane, one for each class, with as many new points to test on as to train on.

    For class c of C, with t from 0 to 1: φ = 2π(c + 2t)/C + noise · z with z standard normal; the point is t
    · (sin φ, cos φ).

    Args:
        points: Points of each class in training, and as many in the test; a list has a number for each class.
        classes: Arms of the spiral.
        noise: Standard deviation of the angle, in radians.
        valid_fraction: Share of the training points that becomes the validation split.
        seed: Random points.
    """
    if isinstance(points, int) and points * classes > MOST_POINTS:
        raise UserError(f"{points:,} points on each of {classes:,} arms are more than {MOST_POINTS:,} in all")
    of_arms = [points] * classes if isinstance(points, int) else points
    if len(of_arms) != classes:
        what = f"points has {len(of_arms)} numbers for {classes} arms"
        raise UserError(what, fix=f"give one for each arm, or set dataset.classes={len(of_arms)}")
    if sum(of_arms) > MOST_POINTS:
        raise UserError(f"{sum(of_arms):,} points are more than {MOST_POINTS:,} in all")
    return Data(
        task="classification",
        input_shape=(2,),
        classes=tuple(f"arm {number}" for number in range(1, classes + 1)),
        read=partial(draw, of_arms, noise, seed),
        valid_fraction=valid_fraction,
        seed=seed,
        synthetic=True,
    )


def draw(points: Sequence[int], noise: float, seed: int) -> dict[str, Examples]:
    """The training points, then the test points from the same random stream."""
    stream = torch.Generator().manual_seed(seed)
    return {split: arms(points, noise, stream) for split in ("train", "test")}


def arms(points: Sequence[int], noise: float, stream: torch.Generator) -> Examples:
    """The points of all arms, class by class: inputs (n, 2), targets (n,)."""
    inputs, classes = [], len(points)
    for c, n in enumerate(points):
        t = torch.linspace(0, 1, n)
        angle = torch.linspace(2 * pi * c / classes, 2 * pi * (c + 2) / classes, n)
        angle = angle + torch.randn(n, generator=stream) * noise
        inputs.append(torch.stack([t * angle.sin(), t * angle.cos()], 1))
    targets = torch.arange(classes).repeat_interleave(torch.tensor(points))
    return Examples(torch.cat(inputs), targets)
