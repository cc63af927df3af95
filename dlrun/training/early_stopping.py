"""The best epoch of each seed, and early stopping: each seed is judged by itself, as it would be alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dlrun.config.durations import seconds_of
from dlrun.errors import UserError
from dlrun.training.best import Advance, Best, of_copy
from dlrun.training.plan import Plan
from dlrun.training.recipe import Row
from dlrun.training.state import State


def is_complete(plan: Plan, state: State) -> bool:
    """True if nothing is left to train: all epochs are done, every seed has stopped early, or time is up."""
    return state.epoch >= plan.config.epochs or not state.active or is_out_of_time(plan, state)


def is_out_of_time(plan: Plan, state: State) -> bool:
    """True if one more epoch, as long as those so far on average, would take longer than `max_time`."""
    most = plan.config.max_time
    if most is None or not state.epoch or state.step or state.epoch >= plan.config.epochs:
        return False  # an epoch that was begun is trained to its end
    return state.seconds * (state.epoch + 1) / state.epoch > seconds_of(most)


def note_best(plan: Plan, state: State, row: Row) -> list[int]:
    """Record the epoch of a row as the best one of each active copy whose monitored figure improved.

    Returns the indices of these copies.
    """
    values = row.get(plan.monitor)
    if values is None:
        return []
    if state.is_judged_together:
        values = [fmean(values)] * len(values)
    improved = []
    for place, (index, value) in enumerate(zip(state.active, values, strict=True)):
        best = state.best[index]
        if plan.recipe.schedule.follows_figures:
            state.history[index].append(value)
        reached = state.advance[index]
        if plan.improves(plan.monitor, value, reached.value if reached else None, plan.config.min_delta):
            state.advance[index] = Advance(state.epoch, value)
        if plan.improves(plan.monitor, value, best.value if best else None):
            state.best[index] = Best(state.epoch, value, of_copy(row, place))
            improved.append(index)
    return improved


def note_stops(plan: Plan, state: State) -> None:
    """Note which active copies stop after this epoch: their patience has run out.

    For `patience` epochs the monitored column has not improved by `min_delta`; it never did if it was never a
    number. The epochs of `patience_warmup` do not count.
    """
    patience = plan.config.patience
    if patience is None or state.epoch % plan.monitor_every:
        return
    for index in state.active:
        best = state.best[index]
        if best is None and state.is_judged_together:  # an earlier dlrun waited for a number
            continue
        if _waited(plan, state, index, state.epoch) >= patience:
            state.stopped[index] = state.epoch


def _waited(plan: Plan, state: State, index: int, epoch: int) -> int:
    """The epochs up to one in which a copy's monitored figure did not improve and patience counted."""
    reached = state.advance[index]
    return epoch - max(reached.epoch if reached else 0, plan.config.patience_warmup)


def go_on_with_more_patience(plan: Plan, state: State) -> None:
    """Let copies go on that stopped early with less patience than the plan has now.

    Raises UserError if they cannot: others have trained further since then.
    """
    patience, seeds = plan.config.patience, state.model.seeds
    waiting: dict[int, int] = {}
    for index, epoch in enumerate(state.stopped):
        if epoch is not None and (patience is None or _waited(plan, state, index, epoch) < patience):
            waiting[index] = epoch
    if any(epoch != state.epoch for epoch in waiting.values()):
        when = ", ".join(f"seed {seeds[index]} after epoch {epoch}" for index, epoch in waiting.items())
        what = f"{when} stopped early, and the run has trained to epoch {state.epoch}"
        raise UserError(
            f"{what}: they cannot go on together",
            fix="keep the patience, or start a new run with dlrun train",
        )
    for index in waiting:
        state.stopped[index] = None


def why_stopped(plan: Plan, state: State) -> str:
    """The reason of an early stop, in words."""
    if state.active:
        return f"one more epoch would take longer than max_time, {plan.config.max_time}"
    never = [index for index, best in enumerate(state.best) if best is None]
    patience = plan.config.patience
    epochs = "1 epoch" if patience == 1 else f"{patience} epochs"
    if never:
        return f"{plan.monitor}{said_seeds(state, never)} was not a number in {epochs}"
    by = f" by {plan.config.min_delta:g}" if plan.config.min_delta else ""
    return f"{plan.monitor} has not improved{by} for {epochs}"


def said_seeds(state: State, indices: Sequence[int]) -> str:
    """Some of a run's seeds for a message, ` of seed 3, 5`; "" for all of them."""
    if len(indices) == len(state.model.seeds):
        return ""
    return f" of seed {', '.join(str(state.model.seeds[index]) for index in indices)}"
