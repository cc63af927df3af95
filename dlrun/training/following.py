"""The other processes of a run: they train with the first one, and do what it decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlrun import __version__
from dlrun.config.loading import config_from_plain
from dlrun.config.registry import Parts
from dlrun.data.loaded import Loaded
from dlrun.data.preparation import Preparation
from dlrun.errors import UserError
from dlrun.system.signals import StopSignals
from dlrun.training.devices import versions
from dlrun.training.early_stopping import is_complete
from dlrun.training.hardware import Hardware
from dlrun.training.loop import Batch, fit
from dlrun.training.opening import bring_teacher
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan
from dlrun.training.state import State
from dlrun.training.world import World


@dataclass(frozen=True)
class Start:
    """All that another process needs to train with the first one."""

    config: dict[str, Any]
    known: dict[str, Any]  # of the data
    preprocessing: Preparation
    fingerprint: str
    class_weights: list[float] | None
    is_complete: bool  # nothing is left to train, though the run has not been concluded
    environment: dict[str, str]
    state: dict[str, Any]


def tell_start(world: World, plan: Plan, loaded: Loaded, hardware: Hardware, state: State) -> None:
    """Tell the other processes what to train. Raises RunFailed if one of them cannot."""
    if world.presence is None:
        return
    world.presence.meet("start")
    world.told(_versions(plan.parts))
    weights, told = plan.loss.class_weights, state.state_dict() | {"within": state.steps_before}
    world.told(
        Start(
            plan.config.plain(),
            dict(plan.data.known),
            loaded.preprocessing,
            loaded.fingerprint,
            weights.values if weights else None,
            is_complete(plan, state),
            hardware.environment(),
            told,
        )
    )
    world.presence.meet("training")


def _versions(parts: Parts) -> dict[str, str]:
    """The versions and the code that all processes must have."""
    return {"dlrun": __version__, **versions(), "code": parts.code}


@dataclass(frozen=True)
class Decision:
    """The decision of the first process after an epoch, and the state that the next steps depend on."""

    is_end: bool
    begins_anew: bool  # for the next epochs are those of other copies, or of other steps
    is_saved: bool  # the epoch: a signal may stop the next one in its middle
    stopped: list[int | None]
    history: list[list[float]]


def tell(world: World, state: State, *, is_end: bool, begins_anew: bool, is_saved: bool) -> None:
    """Tell the other processes what to do after an epoch."""
    if not world.is_alone:
        world.told(Decision(is_end, begins_anew, is_saved, list(state.stopped), list(state.history)))


def follow(world: World, parts: Parts, data_dir: Path) -> None:
    """Train a run with the first process until it says that the end is there.

    Raises UserError if the data, the versions or the code here are others than there.
    """
    assert world.presence is not None, "a process that follows is one of several"
    if not world.presence.meet("start"):
        return
    theirs: dict[str, str] = world.told(None)
    for what, own in _versions(parts).items():
        if own != theirs.get(what):
            said = "its code of dlrun or of parts is another" if what == "code" else f"its {what} is {own}"
            raise UserError(f"{said} than that of the first process", fix="have the same everywhere")
    start: Start = world.told(None)
    plan, hardware, state, loaded = _prepared(world, start, parts, data_dir)
    world.presence.meet("training")
    saved_epoch: int | None = state.epoch
    steps = plan.recipe.sampling.steps(len(loaded["train"]))

    def each_batch(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            if state.step == steps:
                continue
            stops = world.is_to_stop and saved_epoch == state.epoch
            if state.within and (stops or world.is_to_save):
                state.within.state_dict()  # in which the first process gathers the sums
            if stops:
                raise Stopped

    with suppress(Stopped), StopSignals() as signals:
        world.is_asked = lambda: signals.received is not None
        is_end = start.is_complete
        while not is_end:
            state.leave_out_stopped(plan.optimizers)
            for _ in fit(state, loaded, plan.recipe, hardware, each_batch):
                decision: Decision = world.told(None)
                state.stopped, state.history = decision.stopped, decision.history
                saved_epoch = state.epoch if decision.is_saved else saved_epoch
                is_end = decision.is_end
                if is_end or decision.begins_anew:
                    break
            else:
                return


def _prepared(
    world: World, start: Start, parts: Parts, data_dir: Path
) -> tuple[Plan, Hardware, State, Loaded]:
    """The plan, the hardware, the state and the data of the first process, as they are here."""
    config = config_from_plain(start.config, "the config of the first process", parts=parts)
    plan = make_plan(config, parts, data_dir, start.known)
    if plan.loss.class_weights:
        plan.loss.class_weights.restore(start.class_weights)
    loaded = plan.load(start.preprocessing)
    if loaded.fingerprint != start.fingerprint:
        raise UserError("its data are not those of the first process", where=str(data_dir))
    bring_teacher(plan, loaded.preprocessing)
    hardware = replace(plan.hardware(loaded, start.environment), world=world)
    hardware.use()
    state = plan.state(hardware)
    state.load_state_dict(start.state)
    return plan, hardware, state, loaded


class Stopped(Exception):
    """A signal arrived during an epoch, and all earlier epochs are saved."""
