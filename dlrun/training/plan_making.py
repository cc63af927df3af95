"""A plan made from a config: its parts are imported, checked against each other and tried."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import log2, prod
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlrun.blocks.epochs import rising
from dlrun.blocks.tasks import LossPart, Measure, Metric, Task
from dlrun.blocks.weighted_figures import judge_of, refuse_class_weights, refuse_smoothing, refuse_weights
from dlrun.config.data_paths import with_data_found
from dlrun.config.keys import AUTO, Choice, Config
from dlrun.config.registry import Parts
from dlrun.data.batches import Sampling
from dlrun.data.example_weights import with_weights
from dlrun.data.examples import EVALUATION_BATCH, NO_VALID, Data
from dlrun.data.misfits import refuse_malformed
from dlrun.data.trees import Tree
from dlrun.errors import UserError, listed, nearest, shortened
from dlrun.training import fast_paths
from dlrun.training.augmentation import Augment
from dlrun.training.devices import choose_device
from dlrun.training.freezing import Freezing, freezing_of
from dlrun.training.layers import Layers, built_within, skeleton
from dlrun.training.losses import class_weights, loss_part, refuse_head
from dlrun.training.named_parts import augmentation, builder, metric, part_named, prefix_of, with_loss
from dlrun.training.noting import Noting
from dlrun.training.optimizers import OptimizerPart
from dlrun.training.plan import Plan, PlannedData, usual_monitor
from dlrun.training.recipe import Recipe, Schedule
from dlrun.training.stacking import refuse_stacking
from dlrun.training.suitability import refuse_better, refuse_guessed, refuse_unsuited, suitable_plots
from dlrun.training.trials import (
    fitting_layers,
    try_augmentation,
    try_judges,
    try_optimizer,
    try_schedule,
)
from dlrun.training.weight_groups import Group, WeightGroups, factors_by_depth, without_decay

# Numbers in the outputs of all layers for an evaluation batch: 2 GiB, of which most are freed at once.
LARGEST_EVALUATION = 2**29


@fast_paths.without_compiler()
def make_plan(
    config: Config,
    parts: Parts,
    data_dir: Path,
    known: Mapping[str, Any] | None = None,
    most_weights: tuple[int, int] | None = None,
    *,
    is_data_needed: bool = True,
) -> Plan:
    """The plan of a config. Raises ConfigError with every mistake that can be found without reading data.

    For a checkpoint `known` is the `Data.known` that it stores, and `most_weights` the number of its weights
    and of the numbers in them: building a larger model raises TooManyWeights. Its data may be missing unless
    `is_data_needed`.
    """
    is_of_checkpoint = known is not None
    config = with_paths(config, parts, data_dir, is_needed=is_data_needed, is_of_checkpoint=is_of_checkpoint)
    noting = Noting(config, parts)
    data, loss, task = _settled_data(noting, config, parts, data_dir, known)
    dataset = config.dataset
    config = replace(config, dataset=Choice(dataset.name, dataset.options | dict(data.guessed)))
    alone, build = _builders(config, parts, data, loss, task, most_weights)
    metrics = _metrics(noting, config, parts, data, task) if task else {}
    if task and (data.scaling or data.target_transform) and not _takes_scaled(task):
        with noting("loss"):
            what = f"{loss.name} does not take estimates of the target, which cannot be scaled for it"
            option = "target_transform: null" if data.target_transform else "scale_target: false"
            fix = f"set {option} in the dataset; or of_estimates = True in the loss's file if it does"
            raise UserError(what, fix=fix)
    augmentations, targets = _augmentations(noting, config, parts, data, task)
    layers = _layers(noting, alone, data, task, loss, metrics, targets)
    plots = _plots(noting, config, parts, data, task, layers)
    device = _device(noting, config)
    if config.is_stacked and not noting.mistakes:
        with noting("stacked"):
            refuse_stacking(skeleton(build), config.precision)
    optimizer = _by_depth_and_kind(noting, _optimizer(config, parts, data, loss), config, parts, build)
    schedule = _schedule(noting, config, parts, data)
    _try_optimizer(noting, optimizer, build, config, parts)
    with noting("sampling"):
        if config.sampling == "balanced" and task and (task.decision is None or data.places):
            raise UserError(f"an example of a task {data.task} has no single class; set sampling: shuffled")
    with noting("evaluation_batch_size"):
        config = replace(config, evaluation_batch_size=_evaluation_batch(config, loss, layers))
    measure = judge_of(task)(loss.measure) if task else loss.measure
    freezing = _freezing(noting, config, build, optimizer.groups.prefix)
    if freezing.weights and not optimizer.takes_closure():  # which takes one group of weights
        optimizer = replace(optimizer, groups=replace(optimizer.groups, frozen=freezing.weights))
    recipe = _recipe(config, data, measure, metrics, augmentations, schedule, freezing)
    _note_unmeasured(noting, config, recipe, data)
    noting.refuse()
    assert task is not None, "without a task there is a mistake"
    better = _better(config, parts)
    plan = Plan(
        config, parts, data, task, loss, optimizer, build, layers, recipe, device, better, plots, data_dir
    )
    with noting("gradient_clip_mode"):
        if config.gradient_clip_mode != "norm" and config.gradient_clip is None:
            raise UserError("nothing is clipped", fix="set gradient_clip, such as to 0.01")
    for key in ("min_delta", "patience_warmup"):
        with noting(key):
            if getattr(config, key) and not config.patience:
                raise UserError("it is of patience, which is not set", fix="set patience, such as to 10")
    with noting("patience"):
        if config.patience and plan.monitor_every > config.epochs:
            raise UserError(
                f"{plan.monitor} is first measured after epoch {plan.monitor_every}, of {config.epochs}"
            )
    noting.refuse()
    return plan


def plan_data(config: Config, parts: Parts, data_dir: Path) -> PlannedData:
    """The data of a config and their task, on the CPU, although the rest of the config may be wrong.

    Raises ConfigError for mistakes in the dataset, the task, the loss and the metrics.
    """
    noting = Noting(config, parts)
    data, _, task = _settled_data(noting, config, parts, data_dir, None)
    noting.refuse()
    assert task is not None, "without a task there is a mistake"
    return PlannedData(config, parts, data, task, torch.device("cpu"))


def _settled_data(
    noting: Noting, config: Config, parts: Parts, data_dir: Path, known: Mapping[str, Any] | None
) -> tuple[Data, LossPart, Task | None]:
    """The data with their loss and their task, whose target is scaled only if the task estimates it."""
    data = _data(noting, config, parts, data_dir, known)
    loss, task = _loss_and_task(noting, config, parts, data)
    if task and data.scaling and not _takes_scaled(task) and "scale_target" in data.guessed:
        data = replace(data, scaling=None, guessed={**data.guessed, "scale_target": False})
        loss, task = _loss_and_task(noting, config, parts, data)
    return data, loss, task


def _takes_scaled(task: Task) -> bool:
    """True if targets can be scaled for the loss: its outputs estimate them, in whatever unit."""
    return task.are_estimates and not task.loss.needs_own_unit


def with_paths(
    config: Config, parts: Parts, data_dir: Path, *, is_needed: bool = True, is_of_checkpoint: bool = False
) -> Config:
    """The config of `with_data_found`. Raises ConfigError with the place of a path that is wrong."""
    noting = Noting(config, parts)
    with noting("dataset.path"):
        config = with_data_found(
            config, parts, data_dir, is_needed=is_needed, is_of_checkpoint=is_of_checkpoint
        )
    noting.refuse()
    return config


def _data(
    noting: Noting, config: Config, parts: Parts, data_dir: Path, known: Mapping[str, Any] | None
) -> Data:
    """The Data of the dataset, with the task of the config. Raises ConfigError, as all else needs it."""
    data = None
    with noting("dataset"):
        takes_known = "known" in parts.part("dataset", config.dataset.name).takes
        data = part_named(parts, "dataset", config.dataset)(data_dir, *([known] if takes_known else []))
        refuse_malformed(data)
        refuse_guessed(parts.part("dataset", config.dataset.name), data)
    noting.refuse()
    assert isinstance(data, Data), "anything else is malformed"
    if config.task and config.task != data.task:  # what is said of the target is of another one
        data = replace(data, task=config.task, target="", unit="", scaling=None, target_transform=None)
        data = replace(data, baselines=(), forecasts=False, target_names=())
    return data


def _loss_and_task(noting: Noting, config: Config, parts: Parts, data: Data) -> tuple[LossPart, Task | None]:
    """The loss and the task; no task if a part does not suit. Raises ConfigError if there is no such task."""
    with noting("task" if config.task else "dataset", data.task if config.task else ""):
        find_task = parts.find("task", data.task)
    noting.refuse()
    with noting("task", data.task):
        stated = parts.part("task", data.task).constants.get("parts_of", data.task)
        if stated not in parts.names("task"):
            what = f"{data.task}.py has parts_of = {stated!r}, which is no task"
            raise UserError(f"{what}{nearest(str(stated), parts.names('task'))}")
    for kind, choices in (("loss", [config.loss]), ("metrics", config.metrics)):
        for choice in choices:
            with noting(kind, choice.name):
                refuse_unsuited(parts, parts.part(kind, choice.name), data, config.dataset.name)
    loss, task = LossPart(config.loss.name, _nothing), None
    parts.module("loss", config.loss.name)  # an error of the import is placed in the file
    with noting("loss"):
        loss = loss_part(parts, config.loss, data)
    with noting("loss.class_weight"):
        loss = replace(loss, class_weights=class_weights(parts, config.loss, data))
    if data.weighted:
        with noting("loss"):
            refuse_weights(loss)
    if not noting.mistakes:
        with noting("loss"):
            task = find_task(data, loss)
    if not noting.mistakes:
        with noting("task", data.task):
            if not isinstance(task, Task):
                raise UserError(f"{data.task} gives {shortened(repr(task))} instead of a Task")
            if not hasattr(task, "outputs"):
                what = f"{type(task).__name__} has no outputs: its __init__ does not call that of Task"
                raise UserError(what, fix="call super().__init__(data, loss) in it")
        noting.refuse()
        assert task is not None, "without a task there is a mistake"
        with noting("loss"):
            refuse_head(task)
        for option, is_stated, refuse in (
            ("label_smoothing", loss.label_smoothing, refuse_smoothing),
            ("class_weight", loss.class_weights, refuse_class_weights),
        ):
            with noting(f"loss.{option}"):
                if is_stated:
                    refuse(task)
        noting.refuse()
    return loss, task


def _builders(
    config: Config,
    parts: Parts,
    data: Data,
    loss: LossPart,
    task: Task | None,
    most_weights: tuple[int, int] | None,
) -> tuple[Callable[[], nn.Module], Callable[[], nn.Module]]:
    """The functions that build the model without the weights of a loss, and with them."""
    outputs = task.outputs if task else 0
    if loss.head and loss.outputs:
        outputs = loss.outputs(data)
    alone = build = builder(parts, config.architecture, data, outputs, loss.head)
    if task and loss.make:
        build = partial(with_loss, build, loss.make, judge_of(task))
    if most_weights:
        alone, build = (partial(built_within, each, *most_weights) for each in (alone, build))
    return alone, build


def _metrics(noting: Noting, config: Config, parts: Parts, data: Data, task: Task) -> dict[str, Metric]:
    """The metrics of the config by their names."""
    metrics: dict[str, Metric] = {}
    for choice in config.metrics:
        with noting("metrics", choice.name):
            if choice.name == "loss":
                raise UserError("loss is the name of the loss's own figures", fix="rename the metric's file")
            refuse_better(parts.part("metrics", choice.name))
            refuse_unsuited(parts, parts.part("metrics", choice.name), data, config.dataset.name, task)
            metrics[choice.name] = metric(parts, choice, task)
    return metrics


def _augmentations(
    noting: Noting, config: Config, parts: Parts, data: Data, task: Task | None
) -> tuple[list[Augment], Tree | None]:
    """The augmentations, and the targets of two made-up examples after them; None if they are unknown."""
    targets = task.made_up_targets(2) if task else None
    augmentations = [augmentation(parts, choice, task) for choice in config.augmentations]
    for augment in augmentations:
        with noting("augmentations", augment.name):
            refuse_unsuited(parts, parts.part("augmentations", augment.name), data, config.dataset.name)
            if data.weighted and augment.takes_targets:
                what = f"{augment.name} changes targets, and may blend examples of different weights"
                raise UserError(what, fix="leave it out, or train without the weights of examples")
            targets = try_augmentation(augment, data, targets)
    return augmentations, targets


def _layers(
    noting: Noting,
    build: Callable[[], nn.Module],
    data: Data,
    task: Task | None,
    loss: LossPart,
    metrics: Mapping[str, Metric],
    targets: Tree | None,
) -> Layers:
    """The layers of the model, whose made-up outputs the loss and the metrics have judged."""
    layers = Layers()
    if task is None or noting.mistakes:  # parts of different tasks cannot be tried on one another
        return layers
    with noting("architecture"):
        layers = fitting_layers(build, data, task)
    made_up, shape = None, task.output_shape()
    if layers.layers:
        made_up = layers.made_up_outputs(2)
    elif shape is not None:
        made_up = torch.zeros(2, *shape)
    if targets is not None and made_up is not None:
        targets = with_weights(targets, torch.ones(2) if data.weighted else None)
        try_judges(noting, task, loss, metrics, made_up, targets)
    return layers


def _plots(
    noting: Noting, config: Config, parts: Parts, data: Data, task: Task | None, layers: Layers
) -> list[Choice]:
    """The pictures to draw, `auto` replaced by the plots that suit."""
    plots = []
    named = {choice.name for choice in config.plots}
    for choice in config.plots:
        if choice.name == AUTO:
            automatic = suitable_plots(parts, data, task, layers, "automatic", True)
            plots += [one for one in automatic if one.name not in named]
            continue
        with noting("plots", choice.name):
            part = parts.part("plots", choice.name)
            refuse_unsuited(parts, part, data, config.dataset.name, task, layers)
            if not part.built_in:  # an own file that cannot be imported is found before hours of training
                parts.module("plots", choice.name)
            plots.append(choice)
    return plots


def _device(noting: Noting, config: Config) -> torch.device:
    """The device to train on, if it does what the config asks of it."""
    device = torch.device("cpu")
    with noting("device"):
        device = choose_device(config.device)
    with noting("precision"):
        if config.precision == "float64" and device.type == "mps":
            raise UserError("mps has no float64; take float32, or device: cpu")
    with noting("graph"):
        if config.graph is True and device.type != "cuda":
            raise UserError(f"only a CUDA device repeats graphs, not {device}; set graph: auto")
    return device


def _optimizer(config: Config, parts: Parts, data: Data, loss: LossPart) -> OptimizerPart:
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


def _by_depth_and_kind(
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


def _schedule(noting: Noting, config: Config, parts: Parts, data: Data) -> Schedule:
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
    watched = config.monitor or usual_monitor(data.evaluation_split)
    better = _better(config, parts)[watched.split("_", 1)[1]]
    return Schedule(function, follows_figures, is_higher_better=better == "higher")


def _follows_figures(config: Config, parts: Parts) -> bool:
    """True if the rate depends on the monitored figures so far."""
    return "figures" in parts.part("schedule", config.schedule.name).takes


def _try_optimizer(
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


def _freezing(noting: Noting, config: Config, build: Callable[[], nn.Module], prefix: str) -> Freezing:
    """The weights that the config freezes."""
    with noting("freeze_epochs"):
        if config.freeze_epochs and not config.freeze:
            raise UserError("no weights are frozen", fix="name some in freeze, such as ['*', '!fc.*']")
    if not config.freeze or noting.mistakes:
        return Freezing()
    with noting("freeze"):
        return freezing_of(config.freeze, skeleton(build), prefix, config.freeze_epochs)
    return Freezing()


def _better(config: Config, parts: Parts) -> dict[str, str]:
    """The better figures of the loss and of each metric: "higher" or "lower" ones."""
    of_metrics = {
        choice.name: parts.part("metrics", choice.name).constants.get("better", "higher")
        for choice in config.metrics
    }
    return {"loss": "lower"} | of_metrics


def _recipe(
    config: Config,
    data: Data,
    loss: Measure,
    metrics: dict[str, Metric],
    augmentations: Sequence[Augment],
    schedule: Schedule,
    freezing: Freezing,
) -> Recipe:
    """The recipe of a config whose `evaluation_batch_size` is resolved."""
    at_once = config.evaluation_batch_size
    return Recipe(
        epochs=config.epochs,
        sampling=Sampling(
            config.batch_size, config.epoch_examples, config.drop_last, config.sampling == "balanced"
        ),
        loss=loss,
        metrics=metrics,
        augmentations=augmentations,
        schedule=schedule,
        evaluation_split=data.evaluation_split,
        evaluate_every=config.evaluate_every,
        evaluate_train_every=config.evaluate_train_every,
        evaluation_batch=at_once if isinstance(at_once, int) else sys.maxsize,  # full
        freezing=freezing,
    )


def _note_unmeasured(noting: Noting, config: Config, recipe: Recipe, data: Data) -> None:
    """Note the columns that the config names, but training does not measure."""
    measured = recipe.columns()
    wanted = {"monitor": config.monitor} if config.monitor else {}
    judged = [claim for claim in config.expect if claim != "seconds" and claim not in config.not_judged]
    wanted |= {f"expect.{claim}": claim.removeprefix("best.") for claim in judged}
    for key, column in wanted.items():
        with noting(key):
            if column not in measured:
                fix = "set evaluate_train_every" if column.startswith("trainset_") else ""
                if key.startswith("expect") and not fix:
                    figure = column.partition("_")[2]
                    is_metric = figure not in ("loss", *recipe.metrics)
                    fix = f"add {figure} to metrics, or " * is_metric + "leave out all claims with expect={}"
                if column.startswith("valid_") and config.dataset.options.get("valid_fraction") == 0:
                    fix = "set dataset.valid_fraction, such as to 0.1"
                elif column.startswith("valid_") and (why := [n for n in data.notes if NO_VALID in n]):
                    fix = f"leave {key} out: {why[0]}"
                raise UserError(f"{column} is never measured {listed(measured)}", fix=fix)


def _why_no_closure(config: Config) -> str:
    """The reason why a step cannot compute its loss again; "" if it can."""
    if config.is_stacked:
        return "which stacked seeds cannot do; set stacked: false"
    if config.precision == "float16":
        return "which the loss scaling of float16 cannot follow; take bfloat16"
    return "which cannot be one graph; set graph: auto" if config.graph is True else ""


def _evaluation_batch(config: Config, loss: LossPart, layers: Layers) -> int | Literal["full"]:
    """The number of examples evaluated at once.

    It is a fixed function of model and config, never of free memory, because it changes the last bits of
    figures: a power of two such that the outputs of all layers have at most LARGEST_EVALUATION numbers. Of a
    loss that judges whole batches it is the batch size of training; raises UserError if another is asked for.
    """
    wanted = config.evaluation_batch_size
    if loss.is_batchwise:
        if wanted not in ("auto", config.batch_size):
            what = f"{loss.name} judges a batch as a whole, so it is evaluated at the batch size of training"
            raise UserError(f"{what}, {config.batch_size}", fix="leave the key out")
        return config.batch_size
    if wanted != "auto":
        return wanted
    numbers = sum(prod(layer.output_shape) for layer in layers.layers) or 1
    return min(EVALUATION_BATCH, 2 ** int(log2(max(1, LARGEST_EVALUATION / numbers))))


def _nothing(outputs: Tree, targets: Tree) -> Tensor:
    """The loss of a plan that is refused, because its own could not be made."""
    raise NotImplementedError
