"""What a dataset holds, and what of it should make a person look twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlrun.data.examples import EVALUATION_BATCH, Split
from dlrun.data.loaded import Loaded
from dlrun.training.plan import Plan

UNBALANCED = 3.0  # the largest class over the smallest, from which on accuracy misleads


def dataset_facts(plan: Plan, loaded: Loaded) -> dict[str, Any]:
    """What `dlrun data` says: shapes, classes and their balance, ranges, and warnings.

    `ranges` are of the raw values, and `prepared` of what the model gets, both of the training split;
    `features` has the ranges of each figure of an input that is a vector.
    """
    data, training = plan.data, loaded["train"]
    raw, prepared = _Ranges(), _Ranges()
    for indices in _pieces(training):
        raw.add(training.raw(indices))
        prepared.add(training.batch(indices.to(training.targets.device))[0].cpu())
    is_vector = len(data.input_shape) == 1
    return {
        "dataset": plan.config.dataset.name,
        "task": data.task,
        "input_shape": list(data.input_shape),
        "fingerprint": loaded.fingerprint,
        "classes": list(data.classes),
        "target": data.target,
        "unit": data.unit,
        "splits": {name: _split_facts(plan, split) for name, split in loaded.splits.items()},
        "ranges": raw.whole(),
        "prepared": prepared.whole(),
        "features": dict(zip(feature_names(plan), raw.each(), strict=True)) if is_vector else {},
        "warnings": [*data.notes, *_warnings(plan, loaded, raw)],
    }


def feature_names(plan: Plan) -> list[str]:
    """The names of the figures of an input that is a vector: those the dataset gives, or x1, x2, …"""
    return list(plan.data.features) or [f"x{number}" for number in range(1, plan.data.input_shape[0] + 1)]


def duplicates(loaded: Loaded) -> dict[str, int]:
    """How many examples of each split but train have an input that stands in train too, bit for bit."""
    known = set(_digests(loaded["train"]))
    return {
        name: sum(digest in known for digest in _digests(split))
        for name, split in loaded.splits.items()
        if name != "train"
    }


class _Ranges:
    """Smallest, largest, mean and standard deviation of each place in an input, a piece at a time."""

    def __init__(self) -> None:
        self.count = 0
        self.low: Tensor | None = None

    def add(self, inputs: Tensor) -> None:
        """Some inputs (n, …); what is missing (nan) is passed over."""
        values = inputs.to(torch.float64)
        there = ~values.isnan()
        low = values.nan_to_num(math.inf, math.inf, -math.inf).amin(0)
        high = values.nan_to_num(-math.inf, math.inf, -math.inf).amax(0)
        filled = values.nan_to_num(0.0)
        if self.low is None:
            self.low, self.high = low, high
            # Sums of what is centred: the variance is no small difference of large numbers.
            self.centre = filled.sum(0) / there.sum(0).clamp_min(1)
            self.there = torch.zeros_like(low)
            self.sum, self.squares = torch.zeros_like(low), torch.zeros_like(low)
        self.low, self.high = self.low.minimum(low), self.high.maximum(high)
        centred = torch.where(there, filled - self.centre, 0.0)
        self.there += there.sum(0)
        self.sum += centred.sum(0)
        self.squares += centred.square().sum(0)

    def each(self) -> list[dict[str, float]]:
        """Of each place by itself, from the first to the last."""
        assert self.low is not None, "nothing was added"
        shift = self.sum / self.there
        mean, sd = self.centre + shift, (self.squares / self.there - shift.square()).clamp_min(0).sqrt()
        columns = (t.flatten().tolist() for t in (self.low, mean, sd, self.high))
        return [
            dict(zip(("min", "mean", "sd", "max"), row, strict=True)) for row in zip(*columns, strict=True)
        ]

    def whole(self) -> dict[str, float]:
        """Of all places together."""
        assert self.low is not None, "nothing was added"
        total = self.there.sum()
        mean = (self.centre * self.there + self.sum).sum() / total
        from_mean = self.centre - mean
        squares = self.squares + 2 * from_mean * self.sum + from_mean.square() * self.there
        found = (self.low.min(), mean, (squares.sum() / total).clamp_min(0).sqrt(), self.high.max())
        return dict(zip(("min", "mean", "sd", "max"), map(float, found), strict=True))


def _split_facts(plan: Plan, split: Split) -> dict[str, Any]:
    targets = split.targets.cpu()
    if plan.data.task == "classification":
        counts = torch.bincount(targets, minlength=len(plan.data.classes)).tolist()
        return {"examples": len(split), "classes": dict(zip(plan.data.classes, counts, strict=True))}
    ranges = _Ranges()
    ranges.add(targets)
    return {"examples": len(split), "target": ranges.whole()}


def _warnings(plan: Plan, loaded: Loaded, training: _Ranges) -> Iterator[str]:
    for name, count in duplicates(loaded).items():
        if count:
            share = 100 * count / len(loaded[name])
            yield f"{count:,} of the {name} inputs ({share:.3g} %) stand in train too, bit for bit"
    if len(plan.data.input_shape) == 1:
        said = " ".join(plan.data.notes)  # by the dataset itself, maybe
        ranges = zip(feature_names(plan), training.each(), strict=True)
        if constant := [n for n, each in ranges if each["min"] == each["max"] and n not in said]:
            yield f"constant in training, so nothing can be learnt from it: {', '.join(constant)}"
    if plan.data.task == "classification":
        counts = Counter(loaded["train"].targets.tolist())
        most, least = (pick(range(len(plan.data.classes)), key=counts.__getitem__) for pick in (max, min))
        if counts[most] >= UNBALANCED * counts[least]:
            names = plan.data.classes
            yield (
                f"the classes are unbalanced: {counts[most]:,} examples of {names[most]}, "
                f"{counts[least]:,} of {names[least]}"
            )


def _digests(split: Split) -> Iterator[int]:
    for indices in _pieces(split):
        for row in split.raw(indices).flatten(1).contiguous().numpy():
            yield hash(row.tobytes())


def _pieces(split: Split) -> Iterator[Tensor]:
    yield from torch.arange(len(split)).split(EVALUATION_BATCH)
