"""Failures of a run with their causes, which are looked for only after a failure."""

from __future__ import annotations

from traceback import walk_tb

from dlrun.data.loaded import Loaded
from dlrun.errors import Diverged, RunFailed, is_out_of_memory
from dlrun.system.shortages import limits_of_memory
from dlrun.training.copies import weights_of
from dlrun.training.loop import evaluate
from dlrun.training.not_finite import said_example, said_weight
from dlrun.training.plan import Plan
from dlrun.training.state import State


def explained(error: Exception, plan: Plan, state: State, loaded: Loaded) -> Exception:
    """The error with its cause: an example or a weight that is not finite, or what took too much memory."""
    if isinstance(error, Diverged):
        _add_cause(error, plan, state, loaded)
    if not is_out_of_memory(error):
        return error
    frames = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    if evaluate.__code__ in frames:
        size = plan.recipe.evaluation_batch
        some = "a single example is" if size == 1 else f"{size:,} examples are"
        what = f"out of memory while {some} evaluated{' at once' * (size > 1)}"
        fix = "take a smaller model, or a device with more memory"
        return RunFailed(what, where=limits_of_memory(error), fix=fix)
    wanted, there = plan.config.batch_size, len(loaded["train"])
    size = there if wanted == "full" else min(wanted, there)
    size = min(size, plan.config.micro_batch or size)
    smaller = f"try micro_batch={size // 2} in a new run" if size > 1 else "take a smaller model"
    key = "micro_batch" if plan.config.micro_batch else "batch_size"
    what, fix = f"out of memory at {key} {size}", f"{smaller}, or resume with more memory"
    return RunFailed(what, where=limits_of_memory(error), fix=fix)


def _add_cause(error: Diverged, plan: Plan, state: State, loaded: Loaded) -> None:
    if "epoch" not in error.what:
        error.what += f" ({state.epoch} of {plan.config.epochs} epochs done)"
    if place := said_example(loaded):
        error.what, error.fix = f"{error.what}: {place}", "correct that example, or remove it"
        return
    broken = said_weight(state.model, weights_of(state.model))
    if broken and broken not in error.what:
        error.what = f"{error.what}: {broken} since an earlier update"
