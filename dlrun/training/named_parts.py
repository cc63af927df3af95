"""The parts that a config names, as functions: models, augmentations, metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dlrun.blocks.tasks import SPREAD, Judge, Measure, Metric, Task
from dlrun.blocks.weighted_figures import weighted_metric
from dlrun.config.keys import Choice
from dlrun.config.registry import Parts
from dlrun.data.examples import Data, Scaling
from dlrun.data.log_targets import from_log
from dlrun.data.trees import Tree
from dlrun.errors import UserError
from dlrun.training.augmentation import Augment, Moving

Head = Callable[[Tensor], Tree]


def part_named(parts: Parts, kind: str, choice: Choice) -> Callable[..., Any]:
    """The function of a part, with the options of a config."""
    return partial(parts.find(kind, choice.name), **parts.part(kind, choice.name).taken(choice.options))


def metric(parts: Parts, choice: Choice, task: Task) -> Metric:
    """The metric that a config names, as the task gives it the outputs of a model.

    One of a whole split with `weights=None` gets the weights (n,) of the examples, if they have any.
    """
    part, found = parts.part("metrics", choice.name), stated_metric(parts, choice, task.data)
    seen = task.metric(found)
    if not task.data.weighted:
        return seen
    if found.whole and part.takes[2:] == ("weights",) and (found.has_places or not task.data.places):

        def with_weights(weights: Tensor) -> Measure:
            return task.metric(replace(found, measure=partial(found.measure, weights=weights))).measure

        seen = replace(seen, with_weights=with_weights)
    return weighted_metric(seen, choice.name)


def stated_metric(parts: Parts, choice: Choice, data: Data) -> Metric:
    """The metric that a config names, of what it sees.

    Its file says what it sees by the name of its first parameter, and how it computes one figure by `finish`,
    which is given those of its options that it takes. One with a third parameter `data` is given the Data.
    """
    module, part = parts.module("metrics", choice.name), parts.part("metrics", choice.name)
    measure = part_named(parts, "metrics", choice)
    found = Metric(
        partial(measure, data=data) if part.takes[2:] == ("data",) else measure,
        whole=part.constants.get("whole") is True,
        sees=part.takes[0] if part.takes[:1] in (("probabilities",), ("log_probabilities",)) else "outputs",
        has_places=part.constants.get("places") is True,
    )
    if hasattr(module, "finish"):
        if not callable(module.finish):
            raise UserError(f"finish of {choice.name} is {module.finish!r}, not a function")
        taken = signature(module.finish).parameters
        options = {name: value for name, value in choice.options.items() if name in taken}
        return replace(found, finish=partial(module.finish, **options))
    return replace(found, has_finish=False)


def augmentation(parts: Parts, choice: Choice, data: Data, task: Task | None) -> Augment:
    """The augmentation that a config names, with what it is given of the targets of a task."""
    function, part = part_named(parts, "augmentations", choice), parts.part("augmentations", choice.name)
    off_epochs = choice.options.get("off_epochs", 0) if "off_epochs" in part.common else 0
    size = data.shape[1:] if len(data.shape) == 3 else ()
    found = Augment(choice.name, function, part.takes, size=size, off_epochs=off_epochs)
    if task is None:
        return found
    moving: Moving = "none"
    if task.are_inputs_targets:
        moving = "images" if len(task.data.shape) == 3 else "none"
    elif len(task.data.places) == 2:
        moving = "masks"
    return replace(found, soften=task.soften, moving=moving)


def builder(
    parts: Parts, choice: Choice, data: Data, outputs: int, head: Head | None = None
) -> Callable[[], nn.Module]:
    """The function that builds an architecture for a dataset, with a head, in the unit of its target."""
    takes_data = parts.part("architecture", choice.name).takes[2:] == ("data",)
    given = (data.input_shape, outputs, *([data] if takes_data else []))
    build = partial(_with_all_weights, partial(part_named(parts, "architecture", choice), *given), data)
    return partial(_completed, build, data, head) if head or _is_scaled(data) else build


def _with_all_weights(build: Callable[[], nn.Module], data: Data) -> nn.Module:
    """The model, whose lazy layers (torch's LazyLinear and others) have seen an example and have weights."""
    model = build()
    if isinstance(model, nn.Module) and any(map(is_lazy, model.parameters())):
        with torch.no_grad():
            model.eval()(data.made_up(1, device=str(torch.get_default_device())))
        model.train()
    return model


def with_loss(
    build: Callable[[], nn.Module], join: Callable[[nn.Module, Judge], nn.Module], judge: Judge
) -> nn.Module:
    """A model, and beside it a loss that has weights of its own."""
    return join(build(), judge)


def prefix_of(data: Data, *, loss_has_weights: bool, has_head: bool) -> str:
    """The prefix that `builder` and `with_loss` give to the names of an architecture's weights."""
    return "model." * loss_has_weights + "0." * (has_head or _is_scaled(data))


def _is_scaled(data: Data) -> bool:
    """True if the loss sees a target otherwise than in its own unit."""
    return data.scaling is not None or data.target_transform is not None


class _InOwnUnit(nn.Module):
    """Convert standardised outputs to the target's unit: `mean` + `sd` · output, or those of each target.

    With `is_log` that is the logarithm of the target. Of several outputs that called SPREAD is a distance,
    which has no mean.
    """

    mean: float | Tensor
    sd: float | Tensor

    def __init__(self, scaling: Scaling, *, is_log: bool) -> None:
        super().__init__()
        self.is_log = is_log
        for name, value in zip(("mean", "sd"), scaling, strict=True):
            if isinstance(value, tuple):  # known from the dataset, and so no part of the weights
                self.register_buffer(name, torch.tensor(value), persistent=False)
            else:
                setattr(self, name, value)

    def forward(self, outputs: Tree) -> Tree:
        if isinstance(outputs, Tensor):
            return self._own(outputs)
        return {name: self.sd * some if name == SPREAD else self._own(some) for name, some in outputs.items()}

    def _own(self, outputs: Tensor) -> Tensor:
        scaled = self.mean + self.sd * outputs
        return from_log(scaled) if self.is_log else scaled


class _Head(nn.Module):
    """The last layer of a model, without weights, which its loss states."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self._head = head

    def forward(self, outputs: Tensor) -> Tree:
        return self._head(outputs)


def _completed(build: Callable[[], nn.Module], data: Data, head: Head | None) -> nn.Module:
    layers = [build(), *([_Head(head)] if head else [])]
    if _is_scaled(data):
        layers.append(_InOwnUnit(data.scaling or (0.0, 1.0), is_log=data.target_transform == "log"))
    return nn.Sequential(*layers)
