"""The examples that a model was trained on: kept in its checkpoint, and found again among others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dlrun.config.data_paths import moved_data, say_where
from dlrun.config.keys import DATA_PATH
from dlrun.data.examples import Split
from dlrun.data.loaded import Loaded
from dlrun.errors import CheckpointRefused, UserError, shortened
from dlrun.system.processes import quoted
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.plan import Plan

TRAINED_ON = "trained_on"  # the entry in the data of a checkpoint
JUDGE_ALL = "judge all examples of other data with dlrun eval RUN --on FILE or FOLDER"
_DRAW_SPLITS = ("test_fraction", "valid_fraction", "seed", "split", "folds", "fold")  # options of datasets


def recorded(training: Split) -> dict[str, Tensor]:
    """The entry of a checkpoint: the different keys of its training examples, sorted; {} without keys."""
    return {} if training.keys is None else {TRAINED_ON: training.keys.unique()}


def told_apart(fingerprint: str, recorded: object) -> str:
    """The fingerprints of data that are not those of training, in words."""
    return f"its fingerprint was {shortened(recorded)}, now {fingerprint}"


def judging(path: object, run: str = "RUN") -> str:
    """The command that evaluates a run on all examples at `path`."""
    return quoted(["dlrun", "eval", run, "--on", str(path)])


def trained_on_of(saved: Checkpoint, path: Path) -> Tensor | None:
    """The keys (n,) of what a checkpoint was trained on; None if it does not tell.

    Raises CheckpointRefused for an entry that is none.
    """
    keys = saved.data.get(TRAINED_ON)
    if keys is not None and not (isinstance(keys, Tensor) and keys.dtype == torch.int64 and keys.dim() == 1):
        raise CheckpointRefused("its list of what it was trained on is malformed", where=str(path))
    return keys


def refuse_other_data(plan: Plan, loaded: Loaded, saved: Checkpoint, overrides: Sequence[str]) -> None:
    """Raise UserError if overrides lead to other data or other splits than those of training.

    Only a part of them would be judged, or a part that was trained on. Where the dataset reads no other
    examples, this is refused of options that draw the splits alone.
    """
    options = plan.config.dataset.options
    changed = [text.split("=")[0] for text in overrides if text.startswith("dataset")]
    told = saved.data.get("fingerprint")
    if (moved := moved_data(plan.config)) and told != loaded.fingerprint:
        why = told_apart(loaded.fingerprint, told)
        raise UserError(f"{moved}, whose content is not that of training: {why}", fix=say_where())
    if not changed or not isinstance(told, str) or told == loaded.fingerprint:
        return
    name = plan.config.dataset.name
    if plan.data.read_labelled and {*changed} == {DATA_PATH}:
        what = f"{DATA_PATH}: the content of {options['path']} is not that of training"
        fix = f"judge all its examples: {judging(options['path'])}"
        raise UserError(f"{what}: {told_apart(loaded.fingerprint, told)}", fix=fix)
    if plan.data.read_labelled:
        fix = JUDGE_ALL
    elif any(key in changed for key in ("dataset", *(f"dataset.{option}" for option in _DRAW_SPLITS))):
        fix = f"leave it out: {name} reads no other examples that could be judged"
    else:
        return
    these = "these options choose" if len(changed) > 1 else "this option chooses"
    what = f"{these} other data or other splits than the model was trained and judged on"
    raise UserError(f"{', '.join(changed)}: {what}", fix=fix)
