"""Checks before a resume: the checkpoint is untrusted and must fit the run's config, data and metrics.csv."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from dlrun.config.keys import Config, changed_keys, may_change_at_resume
from dlrun.data.loaded import Loaded
from dlrun.data.preparation import Preparation
from dlrun.errors import (
    CheckpointRefused,
    UserError,
    shortened,
)
from dlrun.run_folders.metrics_file import metrics_header
from dlrun.run_folders.run import Run
from dlrun.training import fast_paths
from dlrun.training.checkpoint import Checkpoint, load_checkpoint
from dlrun.training.checkpoint_entries import changed_data, config_of
from dlrun.training.early_stopping import go_on_with_more_patience, note_stops
from dlrun.training.hardware import Hardware
from dlrun.training.meters import is_asynchronous
from dlrun.training.not_finite import weight_not_finite
from dlrun.training.plan import Plan
from dlrun.training.provenance import FOR_TRAINING, refuse_stand_ins
from dlrun.training.state import State

# Entries of an optimizer's state that may differ: implementation choices, and the rate, set by the schedule.
_MAY_DIFFER = {"fused", "capturable", "foreach", "lr", "initial_lr"}
_STRICT = ConfigDict(strict=True, extra="forbid")
_LONGEST_REASON = 150
_Figures = dict[str, list[float]]


class _Best(BaseModel):
    """The best epoch of a seed, or of all seeds in a checkpoint of an earlier dlrun."""

    model_config = _STRICT
    epoch: Annotated[int, Ge(1)]
    value: float
    figures: dict[str, float] | _Figures


class _Scaler(BaseModel):
    """The schema of LossScales.state_dict()."""

    model_config = _STRICT
    factors: list[Annotated[float, Gt(0)]]
    steady: list[Annotated[int, Ge(0)]]


class _Optimizer(BaseModel):
    """The schema of Optimizer.state_dict()."""

    model_config = _STRICT
    state: dict[Any, Any]  # of weights by their numbers, and what else an own optimizer keeps
    param_groups: list[dict[str, Any]]


class _Within(BaseModel):
    """The schema of WithinEpoch.state_dict()."""

    model_config = _STRICT | ConfigDict(arbitrary_types_allowed=True)
    step: Annotated[int, Ge(1)]
    seeds: list[int]
    seconds: Annotated[float, Ge(0)]
    sums: dict[str, Tensor]
    dropout: list[Tensor]
    augmentation: list[Tensor]


class _State(BaseModel):
    """The schema of State.state_dict()."""

    model_config = _STRICT
    model: list[dict[str, Any]]
    optimizer: _Optimizer | list[_Optimizer]  # one for all seeds, or one for each
    scaler: _Scaler | None
    epoch: Annotated[int, Ge(0)]
    best: list[_Best | None] | _Best | None
    stopped: list[Annotated[int, Ge(1)] | None] | None = None
    history: list[list[float]] | None = None
    is_judged_together: bool = True
    evaluation_sizes: list[Annotated[int, Ge(1)] | Literal["full"]] = []
    rows_end: Annotated[int, Ge(0)]
    last_rows: str = ""
    within: _Within | None = None
    seconds: Annotated[float, Ge(0)]


class _Misfit(Exception):
    """The reason why a checkpoint does not fit this run."""


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
    except _Misfit as misfit:
        reason = str(misfit)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[-1].strip() if str(error) else type(error).__name__
    else:
        go_on_with_more_patience(plan, state)
        return
    refused = _refused(f"it does not fit this run: {reason[:_LONGEST_REASON]}", run)
    if plan.parts.folder is None:
        refused.fix += ", or with --parts name the parts of your own that it was trained with"
    raise refused


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
    names, shape = {"loss", *plan.recipe.means}, (within["step"], len(seeds))
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
        and sums.shape[:2] == shape
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


def _refused(what: str, run: Run) -> CheckpointRefused:
    fix = f"put the run's own last.pt back, or start a new run with dlrun train {run.config}"
    return CheckpointRefused(what, where=str(run.last), fix=fix)


def _refuse_misfit(state: State, saved: Checkpoint, plan: Plan, run: Run) -> None:
    held = _State.model_validate(saved.state)
    figures = TypeAdapter(_Figures, config=ConfigDict(strict=True)).validate_python(saved.figures)
    epoch, copies = held.epoch, len(plan.config.seeds)
    if not math.isfinite(held.seconds):
        raise _Misfit(f"it took {held.seconds} seconds")
    for column, values in figures.items():
        if len(values) != copies:
            raise _Misfit(f"{column} has {len(values)} figures for {copies} seeds")
    _refuse_best(held, copies)
    if (held.scaler is None) is not (state.scaler is None):
        raise _Misfit(f"it was not trained in {plan.config.precision}")
    if held.scaler and {len(held.scaler.factors), len(held.scaler.steady)} != {copies}:
        raise _Misfit("its loss scales are not those of the seeds")
    stopped = held.stopped or [None] * copies
    training = [
        seed for seed, stop in zip(plan.config.seeds, stopped, strict=True) if stop is None or stop == epoch
    ]
    _refuse_rows(held, training, plan, run)
    _refuse_weights(held.model, state)
    _refuse_optimizers(saved.state["optimizer"], bool(epoch or held.within), state, plan)


def _refuse_best(held: _State, copies: int) -> None:
    """Raises _Misfit unless every copy has a best epoch, or none, and stopped early, or not."""
    of_copies = held.best if isinstance(held.best, list) else [held.best]
    is_of_each = isinstance(held.best, list)
    if is_of_each and len(of_copies) != copies:
        raise _Misfit(f"it has the best epochs of {len(of_copies)} seeds, not of {copies}")
    if held.stopped is not None and len(held.stopped) != copies:
        raise _Misfit(f"{len(held.stopped)} seeds stopped early or not, of {copies}")
    if held.history is not None and len(held.history) != copies:
        raise _Misfit(f"it has the figures of {len(held.history)} seeds, not of {copies}")
    if any(stop is not None and stop > held.epoch for stop in held.stopped or ()):
        raise _Misfit(f"a seed stopped early after its last epoch, {held.epoch}")
    for best in filter(None, of_copies):
        if best.epoch > held.epoch:
            raise _Misfit(f"its best epoch, {best.epoch}, comes after its last, {held.epoch}")
        for column, values in best.figures.items():
            count = len(values) if isinstance(values, list) else 1
            if isinstance(values, list) is is_of_each or (not is_of_each and count != copies):
                raise _Misfit(f"{column} has {count} figures for {1 if is_of_each else copies} seeds")


def _refuse_rows(held: _State, seeds: list[int], plan: Plan, run: Run) -> None:
    """Raises _Misfit unless metrics.csv, as far as it is the checkpoint's, ends with these seeds' rows."""
    epoch, columns = held.epoch, plan.recipe.columns()
    wanted = [f"{epoch},{seed}" for seed in seeds] if epoch else []
    last = held.last_rows.splitlines(keepends=True)
    header, rows = run.lines_before(held.rows_end, 0 if last else len(wanted))
    if header != metrics_header(columns):
        raise _Misfit(f"{run.metrics.name} has other columns, or none")
    if [",".join(row.split(",")[:2]) for row in last or rows] != wanted:
        raise _Misfit(f"{run.metrics.name} does not hold the rows of epoch {epoch} where it says so")
    if last and not all(_is_row(line, len(columns) + 4) for line in last):
        raise _Misfit(f"its rows of epoch {epoch} are none of {run.metrics.name}")


def _is_row(line: str, count: int) -> bool:
    """True if a line has so many cells, each a number or empty."""
    cells = line.removesuffix("\n").split(",")
    try:
        numbers = [float(cell) for cell in cells if cell]
    except ValueError:
        return False
    return line.endswith("\n") and line.isascii() and len(cells) == count and len(numbers) > 1


def _refuse_weights(saved: list[dict[str, Any]], state: State) -> None:
    """Raises _Misfit unless every weight exists with its shape and dtype, and is finite."""
    if len(saved) != len(state.model.copies):
        raise _Misfit(f"it has the weights of {len(saved)} seeds for {len(state.model.copies)}")
    for seed, copy, weights in zip(state.model.seeds, state.model.copies, saved, strict=True):
        for name, ours in copy.state_dict().items():
            theirs = weights.get(name)
            if isinstance(ours, Tensor) and (reason := _unlike(theirs, ours)):
                raise _Misfit(f"{name} of seed {seed} {reason}")
    if broken := weight_not_finite(state.model, saved):
        raise _Misfit(f"{broken[1]} of seed {broken[0]} is not finite")


@fast_paths.without_compiler()
def _refuse_optimizers(saved: Any, has_stepped: bool, state: State, plan: Plan) -> None:
    """Raises _Misfit unless the state of every optimizer fits."""
    optimizers = state.optimizers
    if not isinstance(saved, list) and len(optimizers.each) > 1 and not plan.optimizer.keeps_weights_apart():
        raise _Misfit(f"{plan.optimizer.name} was one optimizer for all seeds, which it trained as one model")
    if has_stepped and not optimizers.takes_closure:
        _do_a_step(state)
    for one, own in zip(optimizers.each, optimizers.parted(saved), strict=True):
        of_optimizer = _Optimizer.model_validate(own)
        if _is_known(one):
            _refuse_groups(of_optimizer, one)
            # The state of one that takes a closure depends on the loss; it computes with checked operations.
            if not optimizers.takes_closure:
                _refuse_optimizer(of_optimizer, one)


def _is_known(optimizer: torch.optim.Optimizer) -> bool:
    """True if the class of an optimizer, or one that it inherits from, is PyTorch's or dlrun's."""
    kinds = [kind for kind in type(optimizer).__mro__ if kind is not torch.optim.Optimizer]
    return any(map(_is_of_torch, kinds))


def _is_of_torch(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("torch", "dlrun")


def _refuse_groups(saved: _Optimizer, optimizer: torch.optim.Optimizer) -> None:
    """Raises _Misfit unless an optimizer's groups have the options that its config gives them."""
    may_keep_more = not _is_of_torch(type(optimizer))
    groups = zip(optimizer.state_dict()["param_groups"], saved.param_groups, strict=True)
    for index, (here, there) in enumerate(groups):
        for key in here.keys() | (set() if may_keep_more else there.keys()):
            same = type(here.get(key)) is type(there.get(key)) and here.get(key) == there.get(key)
            if key not in _MAY_DIFFER and not same:
                raise _Misfit(f"{key} of the optimizer's group {index} is {shortened(there.get(key))}")
        rate = there.get("lr")
        if not isinstance(rate, float | int) or isinstance(rate, bool) or not math.isfinite(rate):
            raise _Misfit(f"the optimizer's rate is {shortened(rate)}")


def _refuse_optimizer(saved: _Optimizer, optimizer: torch.optim.Optimizer) -> None:
    """Raises _Misfit unless an optimizer's state has the keys, shapes and dtypes that it has after a step.

    Fused kernels check no shapes and would read beyond a tensor. A class of the user's that inherits from
    one of PyTorch may keep more; one that inherits from none may keep anything: it computes with operations
    that check shapes.
    """
    may_keep_more = not _is_of_torch(type(optimizer))
    ours = optimizer.state_dict()
    # A weight that the loss does not depend on has no state.
    if not saved.state.keys() <= ours["state"].keys() or bool(saved.state) is not bool(ours["state"]):
        raise _Misfit(f"its optimizer knows {len(saved.state)} weights, not {len(ours['state'])}")
    for number, theirs in saved.state.items():
        of_weight = ours["state"][number]
        if not of_weight.keys() <= theirs.keys() or (len(theirs) > len(of_weight) and not may_keep_more):
            raise _Misfit(f"its optimizer keeps {', '.join(map(str, theirs))[:80]} of weight {number}")
        for name, value in of_weight.items():
            kept = theirs[name]
            if isinstance(value, Tensor):
                reason = _unlike(kept, value)
                if not reason and kept.stride() != value.stride():
                    reason = "has another memory layout"
            else:
                reason = "" if type(kept) is type(value) else f"is {shortened(kept)}"
            if reason:
                raise _Misfit(f"the optimizer's {name} of weight {number} {reason}")


def _do_a_step(state: State) -> None:
    """Do one step with gradients of zero, so that the optimizers have the state that they have after one.

    The step may change the weights, so they must be loaded afterwards. PyTorch's wrapper of `step` would
    import its compiler, which leaves a folder among the temporary files.
    """
    weights = list(state.model.parameters())
    for parameter in weights:
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    state.optimizers.step()
    for parameter in weights:
        parameter.grad = None


def _unlike(theirs: object, ours: Tensor) -> str:
    """The reason why a saved tensor cannot replace one of ours; "" if it can. Devices may differ."""
    if not isinstance(theirs, Tensor):
        return f"is {shortened(theirs)} and no tensor"
    if theirs.shape != ours.shape:
        return f"has the shape {tuple(theirs.shape)}, not {tuple(ours.shape)}"
    if theirs.dtype != ours.dtype:
        return f"is of {theirs.dtype}, not {ours.dtype}"
    return ""


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
            fix="undo that, or start a new run with dlrun train",
        )
    if (old.patience is None and new.patience) or (old.patience or 0) > (new.patience or math.inf):
        raise UserError(
            f"patience={new.patience} is less than the {old.patience or 'unlimited one'} of this run: it may "
            "only be raised, because with less a seed might have stopped earlier",
            where=str(run.config),
            fix="undo that, or start a new run with dlrun train",
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
    found = [
        f"{key} was {shortened(before.get(key, 'none'))}, now {now.get(key, 'none')}"
        for key in dict.fromkeys([*now, "gpu"])  # some machines have no gpu
        if before.get(key) != now.get(key)
    ]
    return f"{', '.join(found)}: the bits may differ from those of an unbroken run" if found else ""


def warnings_of(plan: Plan, elsewhere: str, saved: Checkpoint | None, state: State) -> Iterator[str]:
    config = plan.config
    yield from plan.data.notes
    if config.patience and config.patience > config.epochs:
        yield f"patience: {config.patience} never runs out: epochs is {config.epochs}"
    if not config.monitor and plan.monitor.startswith("train_"):
        dependent = ["patience"] * bool(config.patience)
        dependent += [config.schedule.name] * plan.recipe.schedule.follows_figures
        if dependent:
            yield plan.without_validation(["best.pt", *dependent], plan.monitor)
    if config.monitor and config.monitor.startswith("test_"):
        yield "best.pt is chosen on the test set: its figures there are no longer an honest estimate"
    if saved is None or not state.epoch:
        return
    if plan.rate_depends_on_length and saved.config["epochs"] != config.epochs:
        yield (
            f"the schedule {config.schedule.name} depends on the length of the run: a run of "
            f"{config.epochs} epochs from the start would differ from this one"
        )
    if before := state.evaluation_sizes:
        size = config.evaluation_batch_size
        yield f"evaluation_batch_size is {size}, no longer {before[0]}: memory did not suffice"
    if elsewhere:
        yield elsewhere
