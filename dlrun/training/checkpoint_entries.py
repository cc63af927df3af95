"""Entries of an untrusted checkpoint, checked: its config, epochs and weights, and the shape of its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.blocks.tasks import LossPart
from dlrun.config.keys import Config
from dlrun.config.loading import config_from_plain
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.data.trees import Tree, named_leaves
from dlrun.errors import CheckpointRefused, UserError, shortened
from dlrun.training.averaging import AVERAGE
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.copies import Copies
from dlrun.training.provenance import Misfit

CLASS_WEIGHTS = "class_weights"  # among the data of a checkpoint, and in summary.json
INPUT_TYPES = "input_types"  # among the data of a checkpoint: the type of each raw input, by its name
SHOWN = "shown"  # in the state of a checkpoint with averaged weights: the entry of those that are evaluated
WhichWeights = Literal["trained", "averaged"]
_TYPES = {
    str(each): each
    for each in (torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64)
}
_ENTRIES: dict[WhichWeights, str] = {"trained": "model", "averaged": AVERAGE}


def config_of(saved: Checkpoint, path: Path, parts: Parts) -> Config:
    """The config in a checkpoint. Raises CheckpointRefused if it is not valid."""
    try:
        return config_from_plain(saved.config, str(path), parts=parts, is_of_run=True)
    except UserError as error:
        said = error.mistakes[0] if isinstance(error, ConfigError) else error.what
        fix = "if it was trained with parts of your own, name their folder with --parts"
        raise CheckpointRefused(f"its config is refused: {said}", where=str(path), fix=fix) from None


def epochs_of(state: dict[str, Any]) -> list[int]:
    """The epochs of the weights in a checkpoint's state: one of all copies, or in best.pt one of each.

    Raises ValueError or LookupError for anything else, which an untrusted file may hold.
    """
    stopped = state.get("stopped")  # of last.pt and of the checkpoints of single epochs
    ends = [state["epoch"] if stop is None else stop for stop in stopped] if isinstance(stopped, list) else []
    epochs = state.get("epochs") or ends or [state["epoch"]]
    if not isinstance(epochs, list) or not epochs:
        raise ValueError("epochs")
    for epoch in (state["epoch"], *epochs):
        if type(epoch) is not int or not 0 <= epoch < 2**63:
            raise ValueError("epoch")
    return epochs


def is_of_best(state: dict[str, Any]) -> bool:
    """True of the state in best.pt, which alone has an epoch for each copy."""
    return "epochs" in state


def with_weights(saved: Checkpoint, path: Path, wanted: WhichWeights | None) -> Checkpoint:
    """The checkpoint whose model has the `wanted` weights; None: those that its run shows.

    Raises UserError if it has no averaged ones, CheckpointRefused if it shows others than it has.
    """
    state = saved.state
    if AVERAGE not in state:
        if wanted == "averaged":
            fix = "train with average: ema or average: swa"
            raise UserError("its run kept no averaged weights", where=str(path), fix=fix)
        return saved
    entry = _ENTRIES[wanted] if wanted else state.get(SHOWN)
    if not isinstance(entry, str) or entry not in _ENTRIES.values() or entry not in state:
        raise CheckpointRefused("it does not say which of its weights are shown", where=str(path))
    return replace(saved, state=state | {"model": state[entry], SHOWN: entry})


def which_weights(saved: Checkpoint) -> WhichWeights | None:
    """The weights that `with_weights` gave a checkpoint's model; None if there are no averaged ones."""
    if AVERAGE not in saved.state:
        return None
    return "averaged" if saved.state[SHOWN] == AVERAGE else "trained"


def load_weights(model: Copies, saved: list[dict[str, Tensor]], path: Path, *, assign: bool = False) -> None:
    """Load saved weights into the copies. Raises CheckpointRefused if they do not fit."""
    try:
        for copy, weights in zip(model.copies, saved, strict=True):
            for name, value in copy.state_dict().items():
                if name in weights and isinstance(value, Tensor) and weights[name].dtype != value.dtype:
                    raise TypeError(f"{name} holds {weights[name].dtype}, not {value.dtype}")
            # A new dict: torch stores `assign` in the given one, where the next call would find it.
            copy.load_state_dict(dict(weights), assign=assign)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise misfit(str(error).splitlines()[-1].strip()[:150], path) from None


def input_types(raw: Tree) -> dict[str, str]:
    """The type of each raw input by its name, as a checkpoint has it."""
    return {name: str(own.dtype) for name, own in named_leaves(raw, "")}


def input_types_of(saved: Checkpoint) -> dict[str, torch.dtype]:
    """The type of each raw input that a checkpoint tells; those of before have none."""
    stated = saved.data.get(INPUT_TYPES)
    each = stated.items() if isinstance(stated, dict) else ()
    return {name: _TYPES[text] for name, text in each if isinstance(text, str) and text in _TYPES}


def take_class_weights(loss: LossPart, saved: Checkpoint, path: Path) -> None:
    """Take the balanced weights of the classes from a checkpoint. Raises CheckpointRefused without them."""
    if loss.class_weights:
        try:
            loss.class_weights.restore(saved.data.get(CLASS_WEIGHTS))
        except TypeError:
            what = "it lacks the weights of the classes in the loss"
            raise CheckpointRefused(what, where=str(path)) from None


def misfit(reason: str, path: Path) -> Misfit:
    return Misfit(f"its weights do not fit the architecture: {reason}", where=str(path))


def changed_data(saved: Checkpoint, data: Data) -> str:
    """The difference of the inputs or the classes between a checkpoint and the data, in words.

    "" if there is none, or if the checkpoint's entries are malformed.
    """
    shape, classes = saved.data.get("input_shape"), saved.data.get("classes")
    if not is_shape(shape):
        return ""
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        return ""
    if shape != data.plain_shape:
        if not isinstance(shape, list) or not data.shape:
            return f"the inputs were {shape}, and now are {data.plain_shape}"
        before, now = (" × ".join(map(str, each)) for each in (shape, data.shape))
        return f"an input had {before} numbers, and now has {now}"
    if classes == list(data.classes):
        return ""
    if new := [name for name in data.classes if name not in classes]:
        return f"there were {len(classes)} classes, and now there is {shortened(new[0])!r} too"
    if gone := [name for name in classes if name not in data.classes]:
        return f"there were {len(classes)} classes, and now there is no {shortened(gone[0])!r}"
    return "its classes are in another order"


def is_shape(shape: object) -> bool:
    """True for the shape of an input, or of several by name; an untrusted checkpoint may hold tensors."""
    each = list(shape.values()) if isinstance(shape, dict) else [shape]
    return all(isinstance(own, list) and all(type(size) is int for size in own) for own in each)
