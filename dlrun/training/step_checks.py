"""The steps of an epoch that was stopped, in step.pt: what they must be to go on after them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dlrun.data.loaded import Loaded
from dlrun.errors import CheckpointRefused
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import Checkpoint, load_checkpoint
from dlrun.training.meters import is_asynchronous
from dlrun.training.plan import Plan
from dlrun.training.state import State


def further(last: Checkpoint, plan: Plan, run: Run, warn: Callable[[str], None]) -> Checkpoint:
    """The checkpoint in step.pt, if it has steps of the epoch after that of last.pt, or else `last`.

    If it cannot be read, or not on this device, a warning says so, and these steps are trained again.
    """
    epoch = last.state.get("epoch")
    if not run.step.exists() or not isinstance(epoch, int) or epoch >= plan.config.epochs:
        return last
    try:
        step = load_checkpoint(run.step)
    except CheckpointRefused as refused:
        warn(f"step.pt is skipped, and epoch {epoch + 1} trained again: {refused.what}")
        return last
    if step.state.get("epoch") != epoch or not step.state.get("within"):
        return last
    if is_asynchronous(plan.device):
        warn(f"step.pt is skipped, and epoch {epoch + 1} trained again: its steps are of the CPU")
        return last
    return step


def refuse_steps(state: State, saved: Checkpoint, plan: Plan, loaded: Loaded) -> None:
    """Raises CheckpointRefused unless the run can go on after the steps of a restored checkpoint."""
    within = saved.state["within"]
    seeds = [state.model.seeds[index] for index in state.active]
    names = {"loss", *plan.recipe.means}
    streams = len(seeds) if plan.recipe.augmentations else 0
    reason = ""
    if is_asynchronous(plan.device):
        reason = "its steps within an epoch are of the CPU"
    elif within["seeds"] != seeds:
        reason = f"its steps are of the seeds {within['seeds']}, and the run goes on with {seeds}"
    elif within["step"] >= plan.recipe.sampling.steps(len(loaded["train"])):
        reason = f"an epoch has fewer steps than {within['step']}"
    elif within["sums"].keys() != names or not all(
        sums.dtype == torch.float64
        and 2 <= sums.dim() <= 3
        and sums.shape[0] >= within["step"]  # each process has its own
        and sums.shape[1] == len(seeds)
        and sums.isfinite().all()
        for sums in within["sums"].values()
    ):
        reason = "its sums are none of these figures"
    elif (len(within["dropout"]), len(within["augmentation"])) != (len(seeds), streams) or not all(
        _is_position(each) for each in (*within["dropout"], *within["augmentation"])
    ):
        reason = "its random streams are none of these seeds"
    elif not math.isfinite(within["seconds"]):
        reason = f"its steps took {within['seconds']} seconds"
    if reason:
        raise CheckpointRefused(reason)


def _is_position(stream: Tensor) -> bool:
    """True if a tensor is the state of a random stream on the CPU."""
    try:
        torch.Generator().set_state(stream)
    except (RuntimeError, TypeError):
        return False
    return True
