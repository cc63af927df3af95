"""`dlrun data`: the shapes, classes and ranges of a dataset, and warnings about what looks wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.ranges import Ranges
from dlrun.data.examples import Split, in_pieces
from dlrun.data.loaded import Loaded
from dlrun.data.trees import Tree, leaves
from dlrun.errors import first_few
from dlrun.results.leaks import leak_warnings
from dlrun.training.plan import Plan, PlannedData

_MOST_NAMED = 10  # features in a warning
_ONCE = "the figures above count every example once, whatever its weight"


def dataset_facts(plan: Plan | PlannedData, loaded: Loaded) -> dict[str, Any]:
    """The facts that `dlrun data` prints: shapes, classes and their balance, ranges, warnings.

    `ranges` describes raw values and `prepared` preprocessed ones, both of the training split, except of ids;
    `features` has the ranges of each feature if inputs are vectors.
    """
    data, training = plan.data, loaded["train"]
    raw, prepared = Ranges(), Ranges()
    for indices in in_pieces(training):
        # of several inputs, their numbers together
        raw.add(_numbers(training.raw_tree(indices)))
        prepared.add(_numbers(training.batch(indices.to(training.device))[0]).cpu())
    is_of_ids = bool(data.shape) and data.has_whole_numbers()
    is_vector = len(data.shape) == 1 and not is_of_ids
    return {
        "dataset": plan.config.dataset.name,
        "synthetic": data.synthetic,
        "task": data.task,
        "input_shape": data.plain_shape,
        "fingerprint": loaded.fingerprint,
        "classes": list(data.classes),
        "target": data.target,
        "unit": data.unit,
        "splits": {name: _split_facts(plan, split) for name, split in loaded.splits.items()},
        "vocabulary": len(data.vocabulary),
        # of ids, which stand for tokens, no figure means anything
        "ranges": {} if is_of_ids else raw.whole(),
        "prepared": {} if is_of_ids else prepared.whole(),
        "features": dict(zip(feature_names(plan), raw.each(), strict=True)) if is_vector else {},
        "findings": [*data.findings, *[_ONCE] * data.weighted],
        "warnings": [*data.notes, *_warnings(plan, loaded, raw)],
    }


def feature_names(plan: Plan | PlannedData) -> list[str]:
    """The feature names of vector inputs: the dataset's own, or x1, x2, …"""
    return list(plan.data.features) or [f"x{number}" for number in range(1, plan.data.shape[0] + 1)]


def _split_facts(plan: Plan | PlannedData, split: Split) -> dict[str, Any]:
    return {"examples": len(split), **plan.task.facts(split)}


def _warnings(plan: Plan | PlannedData, loaded: Loaded, training: Ranges) -> Iterator[str]:
    yield from leak_warnings(plan.data, loaded.splits)
    if len(plan.data.shape) == 1 and not plan.data.has_whole_numbers():
        ranges = zip(feature_names(plan), training.each(), strict=True)
        constant = [name for name, each in ranges if each["min"] == each["max"]]
        is_said = any("the same in all training rows" in note for note in plan.data.notes)
        if constant and not is_said:
            names = first_few(constant, _MOST_NAMED)
            yield f"constant in training, so nothing can be learnt from it: {names}"
    yield from plan.task.warnings(loaded["train"])


def _numbers(inputs: Tree) -> Tensor:
    """The inputs themselves; several as one row of numbers for each example."""
    if isinstance(inputs, Tensor):
        return inputs
    return torch.cat([some.flatten(1).double() for some in leaves(inputs)], 1)
