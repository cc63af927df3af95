"""Search for weights and examples that are not finite numbers, to name them in messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dlrun.data.examples import in_pieces
from dlrun.data.loaded import Loaded
from dlrun.data.trees import leaves, named_leaves
from dlrun.training.copies import Copies


def weight_not_finite(model: Copies, saved: Sequence[Mapping[str, Tensor]]) -> tuple[int, str] | None:
    """The seed and the name of the first weight in `saved` that is not finite; None if all are finite."""
    for seed, copy, weights in zip(model.seeds, model.copies, saved, strict=True):
        for name, _ in copy.named_parameters():
            # A finite sum needs no memory and means that all are finite; large weights may overflow it.
            if not (weights[name].sum().isfinite() or weights[name].isfinite().all()):
                return seed, name
    return None


def said_weight(model: Copies, weights: Sequence[Mapping[str, Tensor]]) -> str:
    """A message that names the first weight of a model that is not finite; "" if all are finite."""
    broken = weight_not_finite(model, weights)
    return f"{broken[1]} of seed {broken[0]} is no longer finite" if broken else ""


def said_example(loaded: Loaded) -> str:
    """A message that names the first example with inputs or targets that are not finite; "" if none has."""
    for name, split in loaded.splits.items():
        first = torch.zeros(1, dtype=torch.long)
        trees = (split.raw_tree(first), split.targets_at(first.to(split.device)))
        if not any(tensor.is_floating_point() for tree in trees for tensor in leaves(tree)):
            continue
        for indices in in_pieces(split):
            inputs, targets = split.batch(indices.to(split.device))
            for called, values in (*named_leaves(inputs, "inputs"), *named_leaves(targets, "targets")):
                broken = (~values.reshape(len(values), -1).isfinite()).any(1).nonzero()
                if len(broken):
                    number = int(indices[broken[0, 0]])
                    return f"the {called} of example {number} of {name}, counted from 0, are not finite"
    return ""
