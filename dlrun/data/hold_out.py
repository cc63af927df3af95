"""Parts of some examples: held out at random or by their order, or a limited number of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlrun.data.examples import Examples
from dlrun.data.trees import single
from dlrun.system.randomness import generator


def carve(examples: Examples, fraction: float, seed: int, *, by_class: bool) -> tuple[Examples, Examples]:
    """Hold out a validation split: (the rest, a random `fraction`), stratified by class if `by_class`.

    Examples with several targets, such as a class for each pixel, are of no class. It is one fixed split, not
    cross-validation. Both keep the order of the examples. The choice depends only on `seed`.
    """
    chooser = generator("valid", seed, 0)
    targets = examples.targets
    has_class = by_class and isinstance(targets, Tensor) and targets.dim() == 1
    labels = single(targets) if has_class else torch.zeros(len(examples), dtype=torch.long)
    chosen = torch.zeros(len(examples), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().squeeze(1)
        count = round(fraction * len(members))
        chosen[members[torch.randperm(len(members), generator=chooser)[:count]]] = True
    return examples.take((~chosen).nonzero().squeeze(1)), examples.take(chosen.nonzero().squeeze(1))


def consecutive(n: int, valid_fraction: float, test_fraction: float) -> dict[str, slice]:
    """The part of each split among `n` examples in their order; a split of the fraction 0 is left out.

    The last `test_fraction` is the test split, the last `valid_fraction` of the rest the validation split.
    """
    test = n - round(test_fraction * n)
    valid = test - round(valid_fraction * test)
    parts = {"train": slice(0, valid), "valid": slice(valid, test), "test": slice(test, n)}
    fractions = {"train": 1.0, "valid": valid_fraction, "test": test_fraction}
    return {name: part for name, part in parts.items() if fractions[name]}


def limited(examples: Examples, limit: float, seed: int) -> Examples:
    """Some examples of a split, drawn at random by `seed`: a share of them, or a whole number of them."""
    wanted = limit if isinstance(limit, int) else math.ceil(limit * len(examples))
    drawn = torch.randperm(len(examples), generator=generator("limit", seed, 0))[:wanted]
    return examples.take(drawn.sort().values)
