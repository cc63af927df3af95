"""The data, the loss and the task of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.tasks import LossPart, Task
from dlrun.blocks.weighted_figures import refuse_class_weights, refuse_smoothing, refuse_weights
from dlrun.config.data_paths import with_data_found
from dlrun.config.keys import Config
from dlrun.config.registry import COMMON, Part, Parts
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
from dlrun.data.misfits import refuse_malformed
from dlrun.data.trees import Tree
from dlrun.errors import UserError, nearest, shortened
from dlrun.training.losses import class_weights, loss_part, refuse_head, refuse_inputs
from dlrun.training.named_parts import part_named
from dlrun.training.noting import Noting
from dlrun.training.plan import PlannedData
from dlrun.training.suitability import refuse_guessed, refuse_unsuited


def plan_data(config: Config, parts: Parts, data_dir: Path) -> PlannedData:
    """The data of a config and their task, on the CPU, although the rest of the config may be wrong.

    Raises ConfigError for mistakes in the dataset, the task, the loss and the metrics.
    """
    noting = Noting(config, parts)
    data, _, task = settled_data(noting, config, parts, data_dir, None)
    noting.refuse()
    assert task is not None, "without a task there is a mistake"
    return PlannedData(config, parts, data, task, torch.device("cpu"))


def settled_data(
    noting: Noting, config: Config, parts: Parts, data_dir: Path, known: Mapping[str, Any] | None
) -> tuple[Data, LossPart, Task | None]:
    """The data with their loss and their task, whose target is scaled only if the task estimates it."""
    data = _data(noting, config, parts, data_dir, known)
    loss, task = _loss_and_task(noting, config, parts, data)
    if task and data.scaling and not takes_scaled(task) and "scale_target" in data.guessed:
        data = replace(data, scaling=None, guessed={**data.guessed, "scale_target": False})
        loss, task = _loss_and_task(noting, config, parts, data)
    return data, loss, task


def takes_scaled(task: Task) -> bool:
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
    data, fold, part = None, None, parts.part("dataset", config.dataset.name)
    if part.common.keys() == COMMON["dataset"].keys():
        with noting("dataset.fold" if "fold" in config.dataset.options else "dataset.folds"):
            fold = Fold.of(*(config.dataset.options.get(name) for name in ("folds", "fold")))
    noting.refuse()
    with noting("dataset"):
        further = {"known": known, "fold": fold}
        given = [further[name] for name in part.takes[1:] if name in further]
        data = part_named(parts, "dataset", config.dataset)(data_dir, *given)
        refuse_malformed(data)
        refuse_guessed(part, data)
    noting.refuse()
    if fold and "fold" not in part.takes:
        with noting("dataset.folds"):
            _refuse_learnt(part, data)
        noting.refuse()
        data = replace(data, fold=fold)
    assert isinstance(data, Data), "anything else is malformed"
    if config.task and config.task != data.task:  # what is said of the target is of another one
        data = replace(data, task=config.task, target="", unit="", scaling=None, target_transform=None)
        data = replace(data, baselines=(), forecasts=False, target_names=())
    return data


def _refuse_learnt(part: Part, data: Data) -> None:
    """Raise UserError for a dataset that learns from its examples before dlrun could hold out a fold."""
    learnt = "known" if "known" in part.takes or data.known else "scaling" if data.scaling else ""
    if learnt:
        what = f"{part.name} learns {learnt} from its examples before a fold could be held out of them"
        fix = f"let {part.name}() take fold, and fit {learnt} without the examples of it"
        raise UserError(what, fix=fix)


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
    loss, task = LossPart(config.loss.name, no_loss), None
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
            refuse_inputs(task)
        for option, is_stated, refuse in (
            ("label_smoothing", loss.label_smoothing, refuse_smoothing),
            ("class_weight", loss.class_weights, refuse_class_weights),
        ):
            with noting(f"loss.{option}"):
                if is_stated:
                    refuse(task)
        noting.refuse()
    return loss, task


def no_loss(outputs: Tree, targets: Tree) -> Tensor:
    """The loss of a plan that is refused, because its own could not be made."""
    raise NotImplementedError
