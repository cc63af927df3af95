"""safetensors: the weights and the preprocessing of a model by their names, without its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.data.trees import Tree
from dlrun.errors import UserError
from dlrun.results.export_description import as_text
from dlrun.results.trained_model import FromRaw

_MODEL = "model.models.0."  # of the only seed, in the names of FromRaw and Answering
_PREPARE = "_prepare."
PREPROCESSING = "preprocessing."


def refuse_missing() -> None:
    """Raise UserError unless the package that writes the file is installed."""
    try:
        import safetensors  # noqa: F401
    except ImportError:
        what = "a file of safetensors needs the package safetensors, which is not installed"
        raise UserError(what, fix="pip install safetensors") from None


def content(model: FromRaw, description: Mapping[str, Any], prefix: str) -> bytes:
    """The bytes of a file of the weights of one seed, by the names that the architecture gives them.

    `prefix` is what dlrun has put before those. The steps of the preprocessing are named PREPROCESSING and
    their name, of several inputs with the name of the input between; the description is the metadata.
    """
    from safetensors.torch import save

    tensors = {
        _name(name, description, prefix): value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    written: bytes = save(tensors, {key: as_text(entry) for key, entry in description.items()})
    return written


def answers_of(
    path: Path, pieces: Sequence[Tree], model: FromRaw, description: Mapping[str, Any], prefix: str
) -> list[dict[str, Tensor]]:
    """The answers for each of some inputs of a model that is given all its weights by a file."""
    from safetensors.torch import load

    found = load(path.read_bytes())
    names = {name: _name(name, description, prefix) for name in model.state_dict()}
    model.load_state_dict({name: found[own] for name, own in names.items()})
    with torch.no_grad():
        return [model(piece) for piece in pieces]


def _name(name: str, description: Mapping[str, Any], prefix: str) -> str:
    """The name in the file of a tensor in a FromRaw."""
    if name.startswith(_PREPARE):
        place, _, step = name.removeprefix(_PREPARE).partition(".")
        inputs = description["inputs"]
        of_input = f"{inputs[int(place)]['name']}." if len(inputs) > 1 else ""
        return f"{PREPROCESSING}{of_input}{step}"
    return name.removeprefix(_MODEL).removeprefix(prefix)
