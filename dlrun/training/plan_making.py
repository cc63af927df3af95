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
from torch import nn

from dlrun.blocks.tasks import LossPart, Measure, Metric, Task
from dlrun.blocks.weighted_figures import judge_of
from dlrun.config.keys import AUTO, Choice, Config
from dlrun.config.registry import Parts
from dlrun.data.batches import Sampling
from dlrun.data.example_weights import with_weights
from dlrun.data.examples import EVALUATION_BATCH, NO_VALID, Data
from dlrun.data.trees import Tree
from dlrun.errors import UserError, listed
from dlrun.training import fast_paths
from dlrun.training.augmentation import Augment
from dlrun.training.averaging import Averaging
from dlrun.training.devices import choose_device
from dlrun.training.freezing import Freezing
from dlrun.training.layers import Layers, built_within, skeleton
from dlrun.training.memory_format import refuse_channels_last
from dlrun.training.named_parts import augmentation, builder, metric, with_loss
from dlrun.training.noting import Noting
from dlrun.training.plan import Plan
from dlrun.training.plan_data import settled_data, takes_scaled, with_paths
from dlrun.training.plan_learning import (
    averaging_of,
    better_figures,
    optimizer_part,
    schedule_of,
    try_optimizer_on,
    what_is_frozen,
    with_groups_by_depth,
)
from dlrun.training.recipe import Recipe, Schedule
from dlrun.training.stacking import refuse_stacking
from dlrun.training.suitability import refuse_better, refuse_unsuited, suitable_plots
from dlrun.training.trials import (
    fitting_layers,
    try_augmentation,
    try_judges,
)

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
    data, loss, task = settled_data(noting, config, parts, data_dir, known)
    dataset = config.dataset
    config = replace(config, dataset=Choice(dataset.name, dataset.options | dict(data.guessed)))
    alone, build = _builders(config, parts, data, loss, task, most_weights)
    metrics = _metrics(noting, config, parts, data, task) if task else {}
    if task and (data.scaling or data.target_transform) and not takes_scaled(task):
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
            if loss.is_batchwise:
                raise UserError(f"{loss.name} looks at its batch as a whole, in which all seeds would be one")
            refuse_stacking(skeleton(build), config.precision)
    optimizer = with_groups_by_depth(noting, optimizer_part(config, parts, data, loss), config, parts, build)
    if config.channels_last and not noting.mistakes:
        with noting("channels_last"):
            refuse_channels_last(build, optimizer, is_stacked=config.is_stacked)
    schedule = schedule_of(noting, config, parts, data)
    try_optimizer_on(noting, optimizer, build, config, parts)
    with noting("sampling"):
        if config.sampling == "balanced" and task and not task.is_of_one_class:
            raise UserError(f"an example of a task {data.task} has no single class; set sampling: shuffled")
    with noting("batch_size"):
        if config.batch_size == 1 and loss.is_batchwise and task and task.is_evaluated_shuffled:
            what = f"{loss.name} compares the examples of a batch, and one of a single example has no pair"
            raise UserError(what, fix="take a larger one, in which each class has several examples")
    with noting("evaluation_batch_size"):
        config = replace(config, evaluation_batch_size=_evaluation_batch(config, loss, layers))
    measure = judge_of(task)(loss.measure) if task else loss.measure
    freezing = what_is_frozen(noting, config, build, optimizer.groups.prefix)
    if freezing.weights and not optimizer.takes_closure():  # which takes one group of weights
        optimizer = replace(optimizer, groups=replace(optimizer.groups, frozen=freezing.weights))
    averaging = averaging_of(noting, config, parts, data, freezing)
    recipe = _recipe(config, data, measure, metrics, augmentations, schedule, freezing, averaging)
    is_shuffled = task is not None and task.is_evaluated_shuffled
    recipe = replace(recipe, loss_takes_inputs=loss.takes_inputs, is_evaluated_shuffled=is_shuffled)
    _note_unmeasured(noting, config, recipe, data)
    noting.refuse()
    assert task is not None, "without a task there is a mistake"
    better = better_figures(config, parts)
    plan = Plan(
        config, parts, data, task, loss, optimizer, build, layers, recipe, device, better, plots, data_dir
    )
    with noting("gradient_clip_mode"):
        if config.gradient_clip_mode != "norm" and config.gradient_clip is None:
            raise UserError("nothing is clipped", fix="set gradient_clip, such as to 0.01")
    with noting("micro_batch"):
        if config.micro_batch and loss.is_batchwise:
            raise UserError(f"{loss.name} judges a batch as a whole; set micro_batch: null")
        if config.micro_batch and optimizer.takes_closure():
            what = f"{config.optimizer.name} computes the loss of a batch several times in a step"
            raise UserError(f"{what}; set micro_batch: null")
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
    if task and loss.head and loss.outputs:
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
    augmentations = [augmentation(parts, choice, data, task) for choice in config.augmentations]
    for augment in augmentations:
        with noting("augmentations", augment.name):
            refuse_unsuited(parts, parts.part("augmentations", augment.name), data, config.dataset.name)
            if data.weighted and augment.takes_targets:
                what = f"{augment.name} changes targets, and may blend examples of different weights"
                raise UserError(what, fix="leave it out, or train without the weights of examples")
            if augment.moving == "images" and {"pixels", "masks"} <= {*augment.takes}:
                what = f"{augment.name} changes colours and moves pixels, and the targets of a reconstruction"
                fix = "choose augmentations that do one of the two, such as affine and colour_jitter"
                raise UserError(f"{what} would move without their colours being changed", fix=fix)
            if augment.off_epochs >= config.epochs:
                what = f"{augment.name} is off in the last {augment.off_epochs} of {config.epochs} epochs"
                raise UserError(f"{what}, and so never on", fix="set off_epochs to fewer, or leave it out")
            if augment.off_epochs and augment.takes_size and config.dataset.options.get("store_size"):
                what = f"without {augment.name} the model would get whole images of dataset.store_size"
                raise UserError(what, fix="leave off_epochs out, or store_size")
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
        try_judges(noting, task, loss, metrics, made_up, targets, data.made_up(2))
    return layers


def _plots(
    noting: Noting, config: Config, parts: Parts, data: Data, task: Task | None, layers: Layers
) -> list[Choice]:
    """The pictures to draw, `auto` replaced by the plots that suit."""
    plots = []
    named = {choice.name for choice in config.plots}
    for choice in config.plots:
        if choice.name == AUTO:
            automatic = suitable_plots(
                parts, data, task, layers, "automatic", True, is_augmented=bool(config.augmentations)
            )
            plots += [one for one in automatic if one.name not in named]
            continue
        with noting("plots", choice.name):
            part = parts.part("plots", choice.name)
            refuse_unsuited(
                parts,
                part,
                data,
                config.dataset.name,
                task,
                layers,
                is_augmented=bool(config.augmentations),
            )
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


def _recipe(
    config: Config,
    data: Data,
    loss: Measure,
    metrics: dict[str, Metric],
    augmentations: Sequence[Augment],
    schedule: Schedule,
    freezing: Freezing,
    averaging: Averaging,
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
        micro_batch=config.micro_batch,
        freezing=freezing,
        averaging=averaging,
    )


def _note_unmeasured(noting: Noting, config: Config, recipe: Recipe, data: Data) -> None:
    """Note the columns that the config names, but training does not measure.

    A metric that is not in the recipe, though in the config, has a mistake of its own.
    """
    measured = recipe.columns()
    mistaken = {choice.name for choice in config.metrics} - {*recipe.metrics}
    wanted = {"monitor": config.monitor} if config.monitor else {}
    judged = [claim for claim in config.expect if claim != "seconds" and claim not in config.not_judged]
    wanted |= {f"expect.{claim}": claim.removeprefix("best.") for claim in judged}
    for key, column in wanted.items():
        if column.partition("_")[2] in mistaken:
            continue
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
