"""Checks before a resume: the checkpoint is untrusted and must fit the run's config, data and metrics.csv."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from dlrun.config.keys import Config, changed_keys, may_change_at_resume
from dlrun.data.preparation import Preparation
from dlrun.errors import (
    CheckpointRefused,
    UserError,
    in_words,
    shortened,
)
from dlrun.run_folders.metrics_file import metrics_header
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import changed_data, config_of
from dlrun.training.copies import Copies
from dlrun.training.early_stopping import go_on_with_more_patience, note_stops
from dlrun.training.hardware import Hardware
from dlrun.training.not_finite import weight_not_finite
from dlrun.training.optimizer_checks import STRICT, SavedOptimizer, Unfit, refuse_optimizers, unlike
from dlrun.training.plan import Plan
from dlrun.training.provenance import FOR_TRAINING, refuse_stand_ins, said_of_other_code
from dlrun.training.state import State

_LONGEST_REASON = 150
_Figures = dict[str, list[float]]


class _Best(BaseModel):
    """The best epoch of a seed, or of all seeds in a checkpoint of an earlier dlrun."""

    model_config = STRICT
    epoch: Annotated[int, Ge(1)]
    value: float
    figures: dict[str, float] | _Figures


class _Scaler(BaseModel):
    """The schema of LossScales.state_dict()."""

    model_config = STRICT
    factors: list[Annotated[float, Gt(0)]]
    steady: list[Annotated[int, Ge(0)]]


class _Within(BaseModel):
    """The schema of WithinEpoch.state_dict()."""

    model_config = STRICT | ConfigDict(arbitrary_types_allowed=True)
    step: Annotated[int, Ge(1)]
    seeds: list[int]
    seconds: Annotated[float, Ge(0)]
    sums: dict[str, Tensor]
    dropout: list[Tensor]
    augmentation: list[Tensor]


class _State(BaseModel):
    """The schema of State.state_dict()."""

    model_config = STRICT
    model: list[dict[str, Any]]
    optimizer: SavedOptimizer | list[SavedOptimizer]  # one for all seeds, or one for each
    average: list[dict[str, Any]] | None = None
    shown: Literal["model", "average"] | None = None
    scaler: _Scaler | None
    epoch: Annotated[int, Ge(0)]
    best: list[_Best | None] | _Best | None
    stopped: list[Annotated[int, Ge(1)] | None] | None = None
    advance: list[tuple[Annotated[int, Ge(1)], float] | None] | None = None
    history: list[list[float]] | None = None
    is_judged_together: bool = True
    evaluation_sizes: list[Annotated[int, Ge(1)] | Literal["full"]] = []
    best_epochs: list[tuple[Annotated[int, Ge(1)], float]] = []
    rows_end: Annotated[int, Ge(0)]
    last_rows: str = ""
    within: _Within | None = None
    seconds: Annotated[float, Ge(0)]


def preprocessing_of(saved: Checkpoint, plan: Plan, run: Run) -> Preparation:
    """The preprocessing of inputs in the run's checkpoint.

    Raises CheckpointRefused if it is malformed, or if the data has changed.
    """
    try:
        found = Preparation.restored(saved.data["preprocessing"], plan.data)
        before = saved.data["input_shape"]
        is_whole = not isinstance(before, list) or found.each[""].suits(tuple(before))
    except (LookupError, TypeError, RuntimeError, AttributeError):
        found, is_whole = None, False
    if is_whole and (differs := changed_data(saved, plan.data)):
        raise another_data(differs, run)
    if found is None or not found.suits(plan.data):
        raise _refused("its preprocessing does not fit the inputs", run)
    return found


def another_data(how: str, run: Run) -> CheckpointRefused:
    """The error for data that has changed; `how` describes it before and now."""
    return CheckpointRefused(
        f"the data is not what this run was trained on: {how}",
        where=str(run.last),
        fix=f"bring the data back, or start a new run with dlrun train {run.config}",
    )


def restore(state: State, saved: Checkpoint, plan: Plan, run: Run) -> None:
    """Load the run's checkpoint into `state`, which is that before the first epoch.

    Raises CheckpointRefused if this run cannot have saved the checkpoint.
    """
    try:
        _refuse_misfit(state, saved, plan, run)
        state.load_state_dict(saved.state)
        if "stopped" not in saved.state:  # of an earlier dlrun, which found it out anew
            note_stops(plan, state)
    except Unfit as misfit:
        reason = str(misfit)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[-1].strip() if str(error) else type(error).__name__
    else:
        go_on_with_more_patience(plan, state)
        length = plan.recipe.averaging.at_length(state.epoch, saved.config["epochs"])
        if state.average and length == "latest":
            state.average.keep(0.0)
        return
    refused = _refused(f"it does not fit this run: {reason[:_LONGEST_REASON]}", run)
    if plan.parts.folder is None:
        refused.fix += ", or with --parts name the parts of your own that it was trained with"
    raise refused


def _refused(what: str, run: Run) -> CheckpointRefused:
    fix = f"put the run's own last.pt back, or start a new run with dlrun train {run.config}"
    return CheckpointRefused(what, where=str(run.last), fix=fix)


def _refuse_misfit(state: State, saved: Checkpoint, plan: Plan, run: Run) -> None:
    held = _State.model_validate(saved.state)
    figures = TypeAdapter(_Figures, config=ConfigDict(strict=True)).validate_python(saved.figures)
    epoch, copies = held.epoch, len(plan.config.seeds)
    if not math.isfinite(held.seconds):
        raise Unfit(f"it took {held.seconds} seconds")
    for column, values in figures.items():
        if len(values) != copies:
            raise Unfit(f"{column} has {len(values)} figures for {copies} seeds")
    _refuse_best(held, copies)
    if (held.scaler is None) is not (state.scaler is None):
        raise Unfit(f"it was not trained in {plan.config.precision}")
    if held.scaler and {len(held.scaler.factors), len(held.scaler.steady)} != {copies}:
        raise Unfit("its loss scales are not those of the seeds")
    stopped = held.stopped or [None] * copies
    training = [
        seed for seed, stop in zip(plan.config.seeds, stopped, strict=True) if stop is None or stop == epoch
    ]
    _refuse_rows(held, training, plan, run)
    for entry, model in state.kept.items():
        if saved.state.get(entry) is None:
            raise Unfit("it has no averaged weights")
        _refuse_weights(saved.state[entry], model)
    refuse_optimizers(saved.state["optimizer"], bool(epoch or held.within), state, plan)


def _refuse_best(held: _State, copies: int) -> None:
    """Raises Unfit unless every copy has a best epoch, or none, and stopped early, or not."""
    of_copies = held.best if isinstance(held.best, list) else [held.best]
    is_of_each = isinstance(held.best, list)
    if is_of_each and len(of_copies) != copies:
        raise Unfit(f"it has the best epochs of {len(of_copies)} seeds, not of {copies}")
    if held.stopped is not None and len(held.stopped) != copies:
        raise Unfit(f"{len(held.stopped)} seeds stopped early or not, of {copies}")
    if held.advance is not None and len(held.advance) != copies:
        raise Unfit(f"it has the advances of {len(held.advance)} seeds, not of {copies}")
    if held.history is not None and len(held.history) != copies:
        raise Unfit(f"it has the figures of {len(held.history)} seeds, not of {copies}")
    if any(stop is not None and stop > held.epoch for stop in held.stopped or ()):
        raise Unfit(f"a seed stopped early after its last epoch, {held.epoch}")
    for best in filter(None, of_copies):
        if best.epoch > held.epoch:
            raise Unfit(f"its best epoch, {best.epoch}, comes after its last, {held.epoch}")
        for column, values in best.figures.items():
            count = len(values) if isinstance(values, list) else 1
            if isinstance(values, list) is is_of_each or (not is_of_each and count != copies):
                raise Unfit(f"{column} has {count} figures for {1 if is_of_each else copies} seeds")


def _refuse_rows(held: _State, seeds: list[int], plan: Plan, run: Run) -> None:
    """Raises Unfit unless metrics.csv, as far as it is the checkpoint's, ends with these seeds' rows."""
    epoch, columns = held.epoch, plan.recipe.columns()
    wanted = [f"{epoch},{seed}" for seed in seeds] if epoch else []
    last = held.last_rows.splitlines(keepends=True)
    header, rows = run.lines_before(held.rows_end, 0 if last else len(wanted))
    if header != metrics_header(columns):
        raise Unfit(f"{run.metrics.name} has other columns, or none")
    if [",".join(row.split(",")[:2]) for row in last or rows] != wanted:
        raise Unfit(f"{run.metrics.name} does not hold the rows of epoch {epoch} where it says so")
    if last and not all(_is_row(line, len(columns) + 4) for line in last):
        raise Unfit(f"its rows of epoch {epoch} are none of {run.metrics.name}")


def _is_row(line: str, count: int) -> bool:
    """True if a line has so many cells, each a number or empty."""
    cells = line.removesuffix("\n").split(",")
    try:
        numbers = [float(cell) for cell in cells if cell]
    except ValueError:
        return False
    return line.endswith("\n") and line.isascii() and len(cells) == count and len(numbers) > 1


def _refuse_weights(saved: list[dict[str, Any]], model: Copies) -> None:
    """Raises Unfit unless every weight exists with its shape and dtype, and is finite."""
    if len(saved) != len(model.copies):
        raise Unfit(f"it has the weights of {len(saved)} seeds for {len(model.copies)}")
    for seed, copy, weights in zip(model.seeds, model.copies, saved, strict=True):
        for name, ours in copy.state_dict().items():
            theirs = weights.get(name)
            if isinstance(ours, Tensor) and (reason := unlike(theirs, ours)):
                raise Unfit(f"{name} of seed {seed} {reason}")
    if broken := weight_not_finite(model, saved):
        raise Unfit(f"{broken[1]} of seed {broken[0]} is not finite")


def evaluated_as_saved(plan: Plan, saved: Checkpoint) -> Plan:
    """The plan, with as many examples evaluated at once as since memory ran out, if it asks for more."""
    size, before = saved.config.get("evaluation_batch_size"), saved.state.get("evaluation_sizes")
    ran_out = isinstance(before, list) and plan.config.evaluation_batch_size in before
    return plan.evaluating(size) if ran_out and type(size) is int and size > 0 else plan


def refuse_another_config(plan: Plan, run: Run, saved: Checkpoint) -> None:
    """Raises UserError, naming the keys, if the config differs where a resume may not change it."""
    old, new = config_of(saved, run.last, plan.parts), plan.config
    refuse_stand_ins(saved, run.last, new, plan.parts, FOR_TRAINING)
    changed = changed_keys(old, new)
    different = [key for key in changed if not may_change_at_resume(key)]
    if different:
        said = (f"{key} (was {_value(old, key)}, now {_value(new, key)})" for key in different)
        raise UserError(
            f"a run cannot be resumed with another {', '.join(said)}",
            where=str(run.config),
            fix="undo that, or start a new run with dlrun train, under another --name",
        )
    if (old.patience is None and new.patience) or (old.patience or 0) > (new.patience or math.inf):
        raise UserError(
            f"patience={new.patience} is less than the {old.patience or 'unlimited one'} of this run: it may "
            "only be raised, because with less a seed might have stopped earlier",
            where=str(run.config),
            fix="undo that, or start a new run with dlrun train, under another --name",
        )
    if new.epochs < old.epochs:
        raise UserError(
            f"epochs={new.epochs} is less than the {old.epochs} of this run: it may only be raised",
            where=str(run.config),
            fix=f"set epochs={old.epochs} or more, or start a new run with dlrun train",
        )


def _value(config: Config, key: str) -> str:
    """The value of a config at a key such as `optimizer.lr`, as text."""
    value: Any = config.plain()
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None  # a bare name has no options
    return shortened(value)


def what_is_elsewhere(hardware: Hardware, saved: Checkpoint | None, state: State) -> str:
    """The changes that affect the last bits, in words, such as `threads was 1, now 2`; "" if none do."""
    if saved is None or not state.epoch:  # nothing was trained yet
        return ""
    before, now = saved.environment, hardware.environment()
    unsaid = {"gpu": "none", "processes": "1"}  # some machines have no gpu, most runs one process
    before, now = unsaid | before, unsaid | now
    found = [
        f"{key} was {shortened(before.get(key, 'none'))}, now {own}"
        for key, own in now.items()
        if before.get(key) != own
    ]
    return f"{', '.join(found)}: the bits may differ from those of an unbroken run" if found else ""


def warnings_of(plan: Plan, elsewhere: str, saved: Checkpoint | None, state: State) -> Iterator[str]:
    config = plan.config
    yield from plan.data.notes
    if config.patience and config.patience > config.epochs:
        yield f"patience: {config.patience} never runs out: epochs is {config.epochs}"
    if config.keep_every and config.keep_every > config.epochs:
        yield f"keep_every: {config.keep_every} keeps no checkpoint: epochs is {config.epochs}"
    if not config.monitor and plan.monitor.startswith("train_"):
        dependent = ["patience"] * bool(config.patience)
        dependent += [config.schedule.name] * plan.recipe.schedule.follows_figures
        if dependent:
            yield plan.without_validation(["best.pt", *dependent], plan.monitor)
    if config.monitor and config.monitor.startswith("test_"):
        yield "best.pt is chosen on the test set: its figures there are no longer an honest estimate"
    if saved is None or not state.epoch:
        return
    if said := said_of_other_code(saved, config, plan.parts, FOR_TRAINING):
        yield said
    if plan.rate_depends_on_length and saved.config["epochs"] != config.epochs:
        yield (
            f"the schedule {config.schedule.name} depends on the length of the run: a run of "
            f"{config.epochs} epochs from the start would differ from this one"
        )
    off = [change.name for change in plan.recipe.augmentations if change.off_epochs]
    if off and saved.config["epochs"] != config.epochs:
        yield (
            f"off_epochs of {in_words(off)} are now the last of {config.epochs} epochs: a run of that length "
            "from the start would differ from this one"
        )
    if plan.recipe.averaging.at_length(state.epoch, saved.config["epochs"]) == "other":
        yield (
            f"the average {config.average.name} goes on from that of {saved.config['epochs']} epochs: a run "
            f"of {config.epochs} epochs from the start would have others"
        )
    if before := state.evaluation_sizes:
        size = config.evaluation_batch_size
        yield f"evaluation_batch_size is {size}, no longer {before[0]}: memory did not suffice"
    if elsewhere:
        yield elsewhere
