"""The description that the file of an exported model has: inputs, outputs, classes, versions, origin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun import __version__
from dlrun.data.trees import Tree, named_leaves
from dlrun.results.export_graph import BATCH
from dlrun.training.calibration import Calibration
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import epochs_of, which_weights
from dlrun.training.plan import Plan

INPUTS = "inputs"  # the name of a single input


def description(
    plan: Plan,
    saved: Checkpoint,
    run: str,
    seeds: Sequence[int],
    calibration: Calibration,
    inputs: Tree,
    answers: Mapping[str, Tensor],
) -> dict[str, Any]:
    """The description, as values that JSON can hold, from some inputs (n, …) and their answers (n, …).

    Entries of which the model has nothing, such as the classes of a regression, are left out.
    """
    data, every = plan.data, epochs_of(saved.state)
    places = [plan.config.seeds.index(seed) for seed in seeds]
    temperatures = [calibration.temperatures[place] for place in places] if calibration.temperatures else []
    stated = {
        "run": run,
        "sha256": saved.digest,
        "epochs": [every[place] if len(every) > 1 else every[0] for place in places],
        "seeds": list(seeds),
        "weights": which_weights(saved) or "",
        "dlrun": __version__,
        "torch": str(torch.__version__),
        "task": data.task,
        "inputs": [_stated(name, own) for name, own in named_leaves(inputs, INPUTS)],
        "outputs": [_stated(name, own) for name, own in answers.items()],
        "classes": list(data.classes),
        "temperatures": temperatures,
        "thresholds": calibration.thresholds,
        "features": list(data.features),
        "vocabulary": list(data.vocabulary),
        "targets": [data.target_name(n) for n in range(data.targets)] if plan.task.are_estimates else [],
        "unit": data.unit,
    }
    return {key: entry for key, entry in stated.items() if entry not in ("", [], {})}


def _stated(name: str, some: Tensor) -> dict[str, Any]:
    """The name, the shape and the type of one input or output (n, …)."""
    dtype = str(some.dtype).removeprefix("torch.")
    return {"name": name, "shape": [BATCH, *some.shape[1:]], "dtype": dtype}


def as_text(entry: Any) -> str:
    """An entry of a description as text: itself, or JSON of anything else."""
    return entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
