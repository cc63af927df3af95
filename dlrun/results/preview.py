"""`dlrun data`: the shapes, classes and ranges of a dataset, and warnings about what looks wrong in it."""

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

UNBALANCED = 3.0  # largest class over smallest, above which accuracy misleads


def dataset_facts(plan: Plan, loaded: Loaded) -> dict[str, Any]:
    """The facts that `dlrun data` prints: shapes, classes and their balance, ranges, warnings.

    `ranges` describes raw values and `prepared` preprocessed ones, both of the training split; `features`
    has the ranges of each feature if inputs are vectors.
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
    """The feature names of vector inputs: the dataset's own, or x1, x2, …"""
    return list(plan.data.features) or [f"x{number}" for number in range(1, plan.data.input_shape[0] + 1)]


def duplicates(loaded: Loaded) -> dict[str, int]:
    """Count the examples of valid and test whose input is also in train, bit for bit."""
    known = set(_digests(loaded["train"]))
    return {
        name: sum(digest in known for digest in _digests(split))
        for name, split in loaded.splits.items()
        if name != "train"
    }


class _Ranges:
    """Minimum, maximum, mean and standard deviation of each element of an input, updated chunk by chunk."""

    def __init__(self) -> None:
        self.count = 0
        self.low: Tensor | None = None

    def add(self, inputs: Tensor) -> None:
        """Add inputs (n, …); missing values (nan) are ignored."""
        values = inputs.to(torch.float64)
        there = ~values.isnan()
        low = values.nan_to_num(math.inf, math.inf, -math.inf).amin(0)
        high = values.nan_to_num(-math.inf, math.inf, -math.inf).amax(0)
        filled = values.nan_to_num(0.0)
        if self.low is None:
            self.low, self.high = low, high
            # Sums of centred values, so that the variance is not a small difference of large numbers.
            self.centre = filled.sum(0) / there.sum(0).clamp_min(1)
            self.there = torch.zeros_like(low)
            self.sum, self.squares = torch.zeros_like(low), torch.zeros_like(low)
        self.low, self.high = self.low.minimum(low), self.high.maximum(high)
        centred = torch.where(there, filled - self.centre, 0.0)
        self.there += there.sum(0)
        self.sum += centred.sum(0)
        self.squares += centred.square().sum(0)

    def each(self) -> list[dict[str, float]]:
        """The statistics of each element, in order."""
        assert self.low is not None, "nothing was added"
        shift = self.sum / self.there
        mean, sd = self.centre + shift, (self.squares / self.there - shift.square()).clamp_min(0).sqrt()
        columns = (t.flatten().tolist() for t in (self.low, mean, sd, self.high))
        return [
            dict(zip(("min", "mean", "sd", "max"), row, strict=True)) for row in zip(*columns, strict=True)
        ]

    def whole(self) -> dict[str, float]:
        """The statistics of all elements together."""
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
            yield f"{count:,} of the {name} inputs ({share:.3g} %) are in train too, bit for bit"
    if len(plan.data.input_shape) == 1:
        said = " ".join(plan.data.notes)  # the dataset may have reported it already
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
