"""Weights of examples: one of weight 2 counts as two. In a batch they travel with the targets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlrun.data.trees import Tree

WEIGHTS = "weights of the examples"  # their name among the targets of a batch
RULE = "a weight is finite and not below 0"


def with_weights(targets: Tree, weights: Tensor | None) -> Tree:
    """Targets (…, n, …) that carry the weights (…, n) of their examples; without weights as they are."""
    if weights is None:
        return targets
    named = {"": targets} if isinstance(targets, Tensor) else targets
    return {**named, WEIGHTS: weights}


def parted(targets: Tree) -> tuple[Tree, Tensor | None]:
    """Targets and the weights that they carry, None if they carry none."""
    if isinstance(targets, Tensor) or WEIGHTS not in targets:
        return targets, None
    own = {name: some for name, some in targets.items() if name != WEIGHTS}
    return own.get("", own), targets[WEIGHTS]


def wide(some: Tensor) -> Tensor:
    """Numbers in float64, or where the device has none in float32."""
    return some.float() if some.device.type == "mps" else some.double()


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """The mean (…) over examples of values (n, …) with weights (n,)."""
    if weights is None:
        return values.mean(0)
    each = wide(weights).view(-1, *[1] * (values.dim() - 1))
    return ((each * wide(values)).sum(0) / each.sum()).to(values.dtype)


def counted(classes: Tensor, weights: Tensor | None, count: int) -> Tensor:
    """The number (count,) of examples of each class (n,), or with weights (n,) the sum of theirs."""
    return torch.bincount(classes, None if weights is None else wide(weights), minlength=count)


def wrong_weights(weights: Any, examples: int) -> str:
    """The mistake in what should be the weights (n,) of so many examples; "" if there is none."""
    if not isinstance(weights, Tensor) or weights.shape != (examples,):
        return f"weights need a number for each of the {examples:,} examples: a tensor ({examples})"
    if weights.is_complex() or weights.dtype == torch.bool:
        return "weights are no numbers: make them floats, such as by .float()"
    place = first_refused(weights)
    if place is None:
        return ""
    return f"the weight of example {place}, counted from 0, is {float(weights[place]):.6g}, but {RULE}"


def first_refused(weights: Tensor) -> int | None:
    """The place of the first weight (n,) that is negative or not finite; None if all are right."""
    # in float32, in which they are used, a large one may be infinite
    wrong = (~weights.float().isfinite() | (weights < 0)).nonzero()
    return int(wrong[0, 0]) if len(wrong) else None


def said_range(weights: Tensor) -> str:
    """The range, the sum and the zeros of weights (n,) in words."""
    low, high, total = float(weights.min()), float(weights.max()), float(weights.sum())
    said, zeros = f"from {low:.6g} to {high:.6g}, sum {total:,.6g}", int((weights == 0).sum())
    return f"{said}; {zeros:,} of {len(weights):,} are 0" if zeros else said


def unit_weights(targets: Tree) -> Tree:
    """The same targets (copies, n, …), whose weights, if they carry any, are all 1."""
    own, weights = parted(targets)
    return with_weights(own, None if weights is None else torch.ones_like(weights))
