"""The learning of a plan: its optimizer with the groups of weights, its schedule, and what is frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from dlrun.blocks.epochs import rising
from dlrun.blocks.tasks import LossPart
from dlrun.config.keys import AVERAGED, NO_AVERAGE, Config
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.errors import UserError
from dlrun.training.averaging import Averaging
from dlrun.training.freezing import Freezing, freezing_of
from dlrun.training.layers import skeleton
from dlrun.training.named_parts import part_named, prefix_of
from dlrun.training.noting import Noting
from dlrun.training.optimizers import OptimizerPart
from dlrun.training.plan import usual_monitor
from dlrun.training.recipe import Schedule
from dlrun.training.trials import try_average, try_optimizer, try_schedule
from dlrun.training.weight_groups import Group, WeightGroups, factors_by_depth, without_decay


def optimizer_part(config: Config, parts: Parts, data: Data, loss: LossPart) -> OptimizerPart:
    """The optimizer with its groups, as its file wants to be called."""
    about, rate = parts.part("optimizer", config.optimizer.name), config.optimizer.options.get("lr")
    return OptimizerPart(
        config.optimizer.name,
        part_named(parts, "optimizer", config.optimizer),
        # A rate that follows the figures is another one for each seed.
        is_elementwise=about.constants.get("elementwise") is True and not _follows_figures(config, parts),
        takes_names=about.takes[:1] == ("named_parameters",),
        states_closure=about.constants.get("closure") is True,
        groups=WeightGroups(
            [Group.of(stated, rate) for stated in config.groups],
            prefix_of(data, loss_has_weights=bool(loss.make), has_head=bool(loss.head)),
            rate if isinstance(rate, int | float) else 0.0,
        ),
    )


def with_groups_by_depth(
    noting: Noting, optimizer: OptimizerPart, config: Config, parts: Parts, build: Callable[[], nn.Module]
) -> OptimizerPart:
    """The optimizer with lower rates in earlier blocks (`layer_decay`), and weights without decay."""
    groups, name, own = optimizer.groups, config.optimizer.name, config.optimizer.options
    if noting.mistakes or not (config.layer_decay or config.no_decay):
        return optimizer
    with noting("layer_decay"):
        if config.layer_decay:
            if not groups.rate:
                raise UserError(f"{name} has no rate that it could lower", fix="set optimizer.lr to a number")
            factors = factors_by_depth(skeleton(build), groups.prefix, config.layer_decay)
            groups = replace(groups, factors=factors)
    with noting("no_decay"):
        if config.no_decay:
            if not own.get("weight_decay"):
                has = "weight_decay is 0" if "weight_decay" in own else f"{name} has no weight_decay"
                raise UserError(f"it changes nothing: {has}", fix="leave no_decay out, or set one")
            undecayed = without_decay(skeleton(build), groups.prefix, config.no_decay)
            groups = replace(groups, undecayed=undecayed)
    return replace(optimizer, groups=groups)


def try_optimizer_on(
    noting: Noting, optimizer: OptimizerPart, build: Callable[[], nn.Module], config: Config, parts: Parts
) -> None:
    """Note the mistakes of an optimizer and of its groups."""
    with noting("optimizer"):
        # dlrun's own optimizers take weights of any name and shape
        is_tried = not parts.part("optimizer", optimizer.name).built_in or optimizer.groups
        model = skeleton(build) if is_tried and not noting.mistakes else None
        if model:
            with noting("groups"):
                optimizer.groups.refuse_idle(list(model.named_parameters()))
        try_optimizer(optimizer, model, _why_no_closure(config))


def _why_no_closure(config: Config) -> str:
    """The reason why a step cannot compute its loss again; "" if it can."""
    if config.is_stacked:
        return "which stacked seeds cannot do; set stacked: false"
    if config.precision == "float16":
        return "which the loss scaling of float16 cannot follow; take bfloat16"
    return "which cannot be one graph; set graph: auto" if config.graph is True else ""


def schedule_of(noting: Noting, config: Config, parts: Parts, data: Data) -> Schedule:
    """The schedule of the config, tried at some places of a run."""
    name, follows_figures = config.schedule.name, _follows_figures(config, parts)
    function = part_named(parts, "schedule", config.schedule)
    about = parts.part("schedule", name)
    if "epochs" in about.takes:
        function = partial(function, epochs=config.epochs)
    if "warmup_epochs" in about.common and (wanted := config.schedule.options.get("warmup_epochs")):
        with noting("schedule.warmup_epochs"):
            if wanted >= config.epochs:
                raise UserError(f"{wanted:g} epochs are no part of {config.epochs}")
            function = partial(rising, wanted / config.epochs, function)
    with noting("schedule"):
        try_schedule(name, partial(function, figures=[3.0, 2.0]) if follows_figures else function)
        if follows_figures and config.is_stacked:
            raise UserError(f"{name} gives each seed a rate of its own; set stacked: false")
    watched = config.monitor or usual_monitor(data.evaluation_split, averages=_averages(config))
    better = better_figures(config, parts)[watched.split("_", 1)[1]]
    return Schedule(function, follows_figures, is_higher_better=better == "higher")


def _follows_figures(config: Config, parts: Parts) -> bool:
    """True if the rate depends on the monitored figures so far."""
    return "figures" in parts.part("schedule", config.schedule.name).takes


def better_figures(config: Config, parts: Parts) -> dict[str, str]:
    """The better figures of the loss and of each metric: "higher" or "lower" ones."""
    of_metrics = {
        choice.name: parts.part("metrics", choice.name).constants.get("better", "higher")
        for choice in config.metrics
    }
    better = {"loss": "lower"} | of_metrics
    endings = ("", AVERAGED) if _averages(config) else ("",)
    return {f"{figure}{ending}": each for ending in endings for figure, each in better.items()}


def _averages(config: Config) -> bool:
    """True if the config asks for averaged weights."""
    return config.average.name != NO_AVERAGE


def averaging_of(noting: Noting, config: Config, parts: Parts, data: Data, freezing: Freezing) -> Averaging:
    """The rule by which weights are averaged, tried at some steps or epochs of a run."""
    if not _averages(config):
        return Averaging()
    name, about = config.average.name, parts.part("average", config.average.name)
    share = part_named(parts, "average", config.average)
    if "epochs" in about.takes:
        share = partial(share, epochs=config.epochs)
    of_epochs = about.takes[:1] == ("epoch",)
    with noting("average"):
        try_average(name, share, config.epochs if of_epochs else None)
        if data.evaluation_split is None and not config.evaluate_train_every:
            what = "averaged weights are never measured: the data have no validation and no test split"
            raise UserError(what, fix="set evaluate_train_every: 1")
    updates_bn, takes_epochs = about.constants.get("update_bn") is True, "epochs" in about.takes
    return Averaging(share, of_epochs, takes_epochs, updates_bn, freezing)


def what_is_frozen(noting: Noting, config: Config, build: Callable[[], nn.Module], prefix: str) -> Freezing:
    """The weights that the config freezes."""
    with noting("freeze_epochs"):
        if config.freeze_epochs and not config.freeze:
            fix = "name some in freeze, such as ['*', '!fc.*'], or set freeze_epochs: null"
            raise UserError("no weights are frozen", fix=fix)
    if not config.freeze or noting.mistakes:
        return Freezing()
    with noting("freeze"):
        return freezing_of(config.freeze, skeleton(build), prefix, config.freeze_epochs)
    return Freezing()
