"""`dlrun.load`: a trained model of a run as a module that takes raw inputs, for code outside of dlrun."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlrun.config.registry import Parts
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree
from dlrun.errors import UserError
from dlrun.run_folders.locating import find_run
from dlrun.run_folders.mistaken_names import refuse_other_files
from dlrun.training.checkpoint_entries import epochs_of, load_weights
from dlrun.training.copies import WithLoss
from dlrun.training.opening import open_plan


class FromRaw(nn.Module):
    """A model that prepares raw inputs (n, …) itself, as its training data were; gives outputs (n, …).

    Of several inputs it takes a dict, and gives one if the model has several outputs.
    """

    def __init__(self, model: nn.Module, preprocessing: Preparation, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        each = preprocessing.to(torch.device("cpu"), dtype).each
        self._prepare = nn.ModuleList(_Prepare(own) for own in each.values())
        self._names = list(each)

    def forward(self, inputs: Tree) -> Tree:
        if isinstance(inputs, Tensor):
            prepared: Tree = self._prepare[0](inputs)
        else:
            named = zip(self._names, self._prepare, strict=True)
            prepared = {name: prepare(inputs[name]) for name, prepare in named}
        outputs: Tree = self.model(prepared)
        return outputs


class _Prepare(nn.Module):
    """The preprocessing of one input, on the device of the module."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._dtype = preprocessing.dtype
        self._names = list(preprocessing.state_dict())
        for name, step in preprocessing.state_dict().items():
            self.register_buffer(name, step)

    def forward(self, inputs: Tensor) -> Tensor:
        steps: dict[str, Tensor | None] = {name: getattr(self, name) for name in self._names}
        for step in (steps["offset"], steps["scale"], steps["fill"]):
            if step is not None and _stretches(step.shape, inputs.shape[1:]):
                shape, needed = tuple(inputs.shape), ", ".join(map(str, step.shape))
                raise ValueError(f"the inputs are {shape}, but the model was trained on (n, …) of ({needed})")
        return Preprocessing(**steps, dtype=self._dtype)(inputs)


def _stretches(step: torch.Size, shape: torch.Size) -> bool:
    """True if a step of preprocessing does not fit inputs of a shape, or would give them another one."""
    pairs = zip(reversed(step), reversed(shape), strict=False)
    return len(step) > len(shape) or any(size not in (1, own) for size, own in pairs)


@dataclass(frozen=True)
class TrainedModel:
    """A trained model of one seed. `model` is on the CPU, in evaluation mode, and wants no gradients."""

    model: nn.Module
    classes: tuple[str, ...]
    config: dict[str, Any]
    epoch: int
    seed: int


def load(
    run: str | Path,
    *,
    seed: int | None = None,
    checkpoint: Literal["best", "last"] = "best",
    runs_dir: str | Path = "runs",
    parts: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> TrainedModel:
    """Load the trained model of a run: a folder, a name as on the command line, or a checkpoint file.

    The training data are not needed. `seed` chooses one of a run with several. `parts` is the folder of the
    parts of your own that it was trained with (default: DLRUN_PARTS). The process is left as it was: neither
    threads nor random state change. Raises UserError if there is no such run or seed, CheckpointRefused for
    a file that is damaged or does not fit.
    """
    with torch.inference_mode(False), torch.enable_grad():  # parts are tried on a gradient
        return _loaded(run, seed, checkpoint, Path(runs_dir), parts, data_dir)


def _loaded(
    run: str | Path,
    seed: int | None,
    checkpoint: str,
    runs_dir: Path,
    parts: str | Path | None,
    data_dir: str | Path | None,
) -> TrainedModel:
    """See `load`."""
    given = Path(run)
    path = given
    if given.is_file():
        refuse_other_files(given, runs_dir)
    else:
        found = find_run(str(run), runs_dir)
        path = found.last if checkpoint == "last" else found.best
    folder = parts or os.environ.get("DLRUN_PARTS") or None
    own_parts = Parts(Path(folder) if folder else None)
    plan, preprocessing, saved = open_plan(
        path, ["device=cpu"], own_parts, Path(data_dir or os.environ.get("DLRUN_DATA") or "data")
    )
    seeds = plan.config.seeds
    if seed is None and len(seeds) > 1:
        raise UserError(f"the run has the seeds {', '.join(map(str, seeds))}", fix="choose one: seed=…")
    chosen = seeds[0] if seed is None else seed
    if chosen not in seeds:
        raise UserError(f"the run has no seed {chosen}, but {', '.join(map(str, seeds))}")
    index, epochs = seeds.index(chosen), epochs_of(saved.state)
    copies = plan.model([chosen])
    load_weights(copies, saved.state["model"][index : index + 1], path)
    model = copies.copies[0]
    whole = FromRaw(model.model if isinstance(model, WithLoss) else model, preprocessing, plan.dtype)
    whole.eval().requires_grad_(False)
    return TrainedModel(
        whole,
        plan.data.classes,
        plan.config.plain(),
        epochs[index if len(epochs) > 1 else 0],
        chosen,
    )
