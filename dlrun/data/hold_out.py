"""Parts of some examples: held out at random or by their order, or a limited number of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dlrun.data.devices import overlaps
from dlrun.data.examples import Data, Examples
from dlrun.data.folds import Fold, HashFolds, by_date, drawn_folds, refuse_uneven, splits_of
from dlrun.data.trees import leaves, single
from dlrun.errors import UserError
from dlrun.system.randomness import generator


def carve(examples: Examples, fraction: float, seed: int, *, by_class: bool) -> tuple[Examples, Examples]:
    """Hold out a validation split: (the rest, a random `fraction`), stratified by class if `by_class`.

    Examples with several targets, such as a class for each pixel, are of no class. Both keep the order
    of the examples. The choice depends only on `seed`.
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


def with_fold(data: Data, fold: Fold, examples: Mapping[str, Examples]) -> dict[str, Examples]:
    """The training examples without a fold, and that fold as the validation split.

    Folds have equal shares of each class; those of examples with dates are later blocks of them. Examples of
    one key stand together. Those without an origin are numbered as they were read, from 0. Raises UserError
    for too few examples, and for those that cannot be parted.
    """
    train = examples["train"]
    if train.origin is None:
        train = replace(train, origin=torch.arange(len(train)))
    if "valid" in examples:
        what = "read() returns a validation split, which is not parted into folds"
        raise UserError(what, fix="leave it out of read(), or let the dataset's function take fold")
    if data.forecasts or any(map(overlaps, leaves(train.inputs))):
        what = "its examples overlap, as windows of a series do: a fold would share values with the others"
        raise UserError(what, fix="let the dataset's function take fold, and part the series itself")
    dates = train.aside.get("date")
    if dates is not None and dates.dim() == 1:
        parts = by_date(dates.numpy(), fold.dates(dates.sort().values.tolist()))
        return {name: train.take(torch.from_numpy(some)) for name, some in parts.items()}
    targets, labels = train.targets, None
    if data.classes and isinstance(targets, Tensor) and targets.dim() == 1:
        labels = targets
    keys, n = train.keys, len(train)
    if keys is None:
        numbers = drawn_folds(n, labels, fold.count, data.seed)
    else:
        of_keys = HashFolds.fitted(keys, data.classes, labels, seed=data.seed, count=fold.count)
        numbers = of_keys.numbers(keys, data.classes, labels)
    refuse_uneven(numbers, keys, data.classes, labels, fold.count)
    return {name: train.take(torch.from_numpy(some)) for name, some in fold.parted(numbers).items()}


def consecutive(
    n: int, valid_fraction: float, test_fraction: float, fold: Fold | None = None
) -> dict[str, slice]:
    """The part of each split among `n` examples in their order; a split of the fraction 0 is left out.

    The last `test_fraction` is the test split, the last `valid_fraction` of the rest the validation split, or
    a fold of the rest, which is trained on what is before it.
    """
    test = n - round(test_fraction * n)
    valid, end = fold.block(test) if fold else (test - round(valid_fraction * test), test)
    parts = {"train": slice(0, valid), "valid": slice(valid, end), "test": slice(test, n)}
    return {name: parts[name] for name in splits_of(valid_fraction, test_fraction, fold)}


def limited(examples: Examples, limit: float, seed: int) -> Examples:
    """Some examples of a split, drawn at random by `seed`: a share of them, or a whole number of them."""
    wanted = limit if isinstance(limit, int) else math.ceil(limit * len(examples))
    drawn = torch.randperm(len(examples), generator=generator("limit", seed, 0))[:wanted]
    return examples.take(drawn.sort().values)
