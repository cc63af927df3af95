"""The learning-rate range test: a short training of each seed, whose rate grows from step to step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from statistics import median
from typing import Literal

from dlrun.data.loaded import Loaded
from dlrun.data.trees import first_of
from dlrun.errors import Diverged, UserError
from dlrun.system.progress import Progress, no_progress
from dlrun.training.averaging import Averaging
from dlrun.training.failures import explained
from dlrun.training.initial_weights import InitialWeights, initial_weights
from dlrun.training.loop import Batch, fit
from dlrun.training.plan import Plan
from dlrun.training.recipe import Schedule

RATE = "optimizer.lr"
BEGINNING = 10  # steps whose losses tell the loss before training
RISEN = 4.0  # the test ends where the loss is so many times that before training
_LAST = 5  # steps of which the middle loss counts, because single batches scatter


@dataclass(frozen=True)
class RateRange:
    """The rates of a test: `steps` of them, from `low` to `high`, each larger than the last by one factor."""

    low: float
    high: float
    steps: int

    def at(self, step: float) -> float:
        """The rate of a step, counted from 0."""
        return float(self.low * (self.high / self.low) ** (step / (self.steps - 1)))

    @property
    def rates(self) -> list[float]:
        """The rate of every step."""
        return [self.at(step) for step in range(self.steps)]


@dataclass(frozen=True)
class RateCurve:
    """The losses of one seed over the rates of a test, and why there are no more of them."""

    seed: int
    rates: list[float]
    losses: list[float]  # of each step, before its update, all finite
    end: Literal["complete", "risen", "not finite"]

    @property
    def begun_at(self) -> float:
        """The loss before training: the middle one of the first steps, whose rates teach next to nothing."""
        return median(self.losses[:BEGINNING])


def rate_curves(
    plan: Plan, loaded: Loaded, tested: RateRange, progress: Progress = no_progress
) -> list[RateCurve]:
    """Train each seed of a plan over a range of learning rates, from its initial weights.

    The plan's own loop trains, so that batches, augmentations, precision, clipping and groups of weights are
    those of a run. The rate stands in for the schedule, nothing is evaluated or averaged, and frozen weights
    stay frozen. The rates of all groups keep their ratios. A seed is trained as it would be alone, although
    others diverge earlier; its test ends where its loss has risen or is not finite. Source: Smith 2015,
    arXiv 1506.01186.

    Raises UserError if the optimizer has no rate to be multiplied, Diverged if a loss of the first steps is
    not finite.
    """
    rate = _rate_of(plan)
    begun = initial_weights(plan)
    recipe = replace(
        plan.recipe,
        epochs=-(-tested.steps // plan.recipe.sampling.steps(len(loaded["train"]))),
        metrics={},
        evaluation_split=None,
        evaluate_train_every=None,
        freezing=replace(plan.recipe.freezing, epochs=None),
        averaging=Averaging(),
    )
    steps = recipe.epochs * plan.recipe.sampling.steps(len(loaded["train"]))
    # `progress` is that of the middle of a step
    recipe = replace(recipe, schedule=Schedule(lambda progress: tested.at(progress * steps - 0.5) / rate))
    curves = []
    for seed in plan.config.seeds:
        alone = replace(plan, config=replace(plan.config, seeds=[seed]), recipe=recipe)
        each_step = iter(progress(range(tested.steps), tested.steps, f"steps of seed {seed}"))
        curves.append(_curve(alone, loaded, tested, begun, each_step))
        for _ in each_step:  # a bar that has not reached its end would stay
            pass
    return curves


def _rate_of(plan: Plan) -> float:
    """The config's learning rate. Raises UserError if there is none to multiply."""
    rate, name = plan.config.optimizer.options.get("lr"), plan.config.optimizer.name
    if not isinstance(rate, int | float) or isinstance(rate, bool):
        raise UserError(f"{name} has no learning rate lr to be tested", fix="choose another optimizer")
    if not rate > 0:
        what = f"the test multiplies the learning rate, and {RATE} is {rate:g}"
        raise UserError(what, fix=f"set {RATE} to any positive number, such as 1e-3")
    return float(rate)


class _Ended(Exception):
    """The test of a seed is over."""


def _curve(
    plan: Plan, loaded: Loaded, tested: RateRange, begun: InitialWeights | None, each_step: Iterator[int]
) -> RateCurve:
    """The losses of a plan with one seed."""
    hardware = plan.hardware(loaded)
    hardware.use()
    state = plan.state(hardware, begun.put_into if begun else None)
    [seed], losses = plan.config.seeds, list[float]()

    def each_batch(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            next(each_step, None)
            yield batch
            assert state.within is not None, "an epoch is being trained"
            [loss] = state.within.meter.means_of_step(first_of(batch[0]).shape[1])
            if not isfinite(loss):  # an accelerator's meter would say so only at the end of the epoch
                raise Diverged(f"the loss of seed {seed} is {loss} at step {len(losses) + 1}")
            losses.append(loss)
            if len(losses) == tested.steps or has_risen(losses):
                raise _Ended

    end: Literal["complete", "risen", "not finite"] = "complete"
    try:
        for _ in fit(state, loaded, plan.recipe, hardware, each_batch):
            pass
    except _Ended:
        end = "complete" if len(losses) == tested.steps else "risen"
    except Diverged as error:
        if len(losses) < BEGINNING:
            error.fix = "lower --from"
            raise explained(error, plan, state, loaded) from None
        end = "not finite"
    return RateCurve(seed, tested.rates[: len(losses)], losses, end)


def has_risen(losses: list[float]) -> bool:
    """True if the last losses are so far above those before training that larger rates would show nothing."""
    return len(losses) > BEGINNING and median(losses[-_LAST:]) > highest(losses)


def highest(losses: list[float]) -> float:
    """The loss from which on it has risen: four times that before training.

    Of one near zero or below, which may have fallen by more than its size, it is three times that above.
    """
    before = median(losses[:BEGINNING])
    return before + (RISEN - 1) * max(abs(before), before - min(losses))
