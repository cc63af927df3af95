"""Test-time augmentation: the outputs of a trained model as means over exact views of its input images."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Literal

import torch
from torch import Tensor

from dlrun.blocks.tasks import Task
from dlrun.data.examples import Shape
from dlrun.data.trees import MAIN, Tree, expanded, joined, main_outputs, mapped, said_shapes, single
from dlrun.errors import UserError
from dlrun.training.copies import Copies, widest
from dlrun.training.plan import Plan
from dlrun.training.trained import Trained

Views = Literal["flip", "flips", "d4"]


@dataclass(frozen=True)
class View:
    """A symmetry of images (…, height, width): mirrored left to right or not, then turned by quarters."""

    is_mirrored: bool = False
    quarters: int = 0

    def of(self, images: Tensor) -> Tensor:
        mirrored = images.flip(-1) if self.is_mirrored else images
        return mirrored.rot90(self.quarters, (-2, -1)) if self.quarters else mirrored

    def undone(self, images: Tensor) -> Tensor:
        turned = images.rot90(-self.quarters, (-2, -1)) if self.quarters else images
        return turned.flip(-1) if self.is_mirrored else turned


VIEWS: dict[Views, tuple[View, ...]] = {
    "flip": (View(), View(is_mirrored=True)),
    "flips": (View(), View(is_mirrored=True), View(is_mirrored=True, quarters=2), View(quarters=2)),
    "d4": tuple(View(is_mirrored, quarters) for is_mirrored in (False, True) for quarters in range(4)),
}


def take_views(trained: Trained, name: Views) -> Trained:
    """The same model with outputs that are means over views; `without_tta` is the one without.

    Raises as `views_of` does.
    """
    model = averaged_over(views_of(name, trained.plan), trained.model, trained.plan)
    return replace(trained, model=model, tta=name, without_tta=trained, _outputs={})


def views_of(name: Views, plan: Plan) -> Sequence[View]:
    """The views of a name, for the inputs and outputs of a plan.

    Raises UserError if the inputs are no images, or not square, or if outputs cannot be averaged.
    """
    data, option = plan.data, f"--tta {name}"
    refused = partial(UserError, where="command line", fix="leave out --tta")
    if len(data.shape) != 3 or data.has_whole_numbers():
        inputs = f"the inputs of {plan.config.dataset.name} have the shape {data.said_shape}"
        raise refused(f"{option} is for models with an image as their input, but {inputs}")
    if name == "d4" and data.shape[1] != data.shape[2]:
        what = f"{option} turns images by quarters, which takes square ones, but these are {data.said_shape}"
        raise refused(what, fix="write --tta flips")
    if type(plan.task) is Task:
        raise refused(f"{option} averages outputs, but the task {data.task} leaves open what they mean")
    for output, shape in (plan.layers.output_shapes or {"outputs": plan.layers.output_shape}).items():
        if len(shape) > 1 and not _has_pixels(shape, plan):
            what = f"{option} averages vectors, and outputs with a place for each pixel of {data.said_shape}"
            raise refused(f"{what}, but {output} are {said_shapes({'': shape})}")
    return VIEWS[name]


def averaged_over(views: Sequence[View], model: Copies, plan: Plan) -> Copies:
    """A model of the same weights whose outputs are means over views of each image, as it is prepared.

    It is for evaluation: every copy is given the same images. Outputs with a place for each pixel are turned
    back before. Means of log-probabilities are normalised, as softmax does with those of logits.
    """
    averaged = copy(model.eval())  # the model computes the views, in evaluation mode
    are_logarithms = plan.task.decision is not None and plan.task.decision.are_log_probabilities
    mean = partial(_mean, model, views, plan, are_logarithms=are_logarithms)
    averaged.forward = mean  # type: ignore[method-assign]
    return averaged


def _mean(model: Copies, views: Sequence[View], plan: Plan, inputs: Tree, *, are_logarithms: bool) -> Tree:
    """The mean of the outputs (copies, n, …) over views of images (copies, n, channels, height, width).

    The views are computed one after the other. Sums are as wide as the device can, so that the mean of equal
    outputs is that output.
    """
    images = single(inputs)[0]  # those of every copy
    sums: Tree | None = None
    for view in views:
        outputs = joined(model.forward(expanded(view.of(images), len(model.seeds))))
        upright = mapped(partial(_upright, view, plan), outputs)
        wide = mapped(lambda own: own.to(widest(own.device)), upright)
        sums = wide if sums is None else mapped(torch.add, sums, wide)
    assert sums is not None, "there is a view"
    means = mapped(lambda total: total / len(views), sums)
    if are_logarithms:
        main = main_outputs(means).log_softmax(2)
        means = main if isinstance(means, Tensor) else {**means, MAIN: main}
    return mapped(lambda mean, own: mean.to(own.dtype), means, outputs)


def _upright(view: View, plan: Plan, outputs: Tensor) -> Tensor:
    """The outputs (copies, n, …) of a view as they stand in the image itself."""
    if not _has_pixels(tuple(outputs.shape[2:]), plan):
        return outputs
    as_images = outputs.reshape(*outputs.shape[:2], -1, *plan.data.shape[1:])
    return view.undone(as_images).reshape(outputs.shape)


def _has_pixels(shape: Shape, plan: Plan) -> bool:
    """True if outputs of a shape have a place for each pixel: (…, height, width), or an image as a row."""
    pixels = plan.data.shape
    is_row = plan.task.are_inputs_targets and shape == (prod(pixels),)
    return is_row or (len(shape) > 1 and shape[-2:] == pixels[1:])
