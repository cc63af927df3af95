"""Images whose channels come last in memory: the layout in which most convolutions are faster."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlrun.data.trees import Tree, mapped
from dlrun.errors import UserError
from dlrun.training.copies import Copies
from dlrun.training.layers import skeleton
from dlrun.training.optimizers import OptimizerPart
from dlrun.training.stacked_layers import DROPOUTS

OFF = "set channels_last: false"
_AXES = 4  # (batch, channels, height, width), or (outputs, inputs, height, width) of a convolution


def put_channels_last(copy: nn.Module) -> None:
    """Lay out the weights of a copy with the channels last, and from now on its inputs.

    Layers give outputs laid out as their inputs, optimizers keep state laid out as the weights, and
    checkpoints keep the layout, so that a resume computes as the unbroken run does. A dropout takes its
    inputs in the usual layout: it draws in the order of the memory, and the same numbers are left out.
    """
    for weight in copy.parameters():
        weight.data = _laid_out(weight.data)
    copy.register_forward_pre_hook(_lay_out_inputs)
    for module in copy.modules():
        if isinstance(module, DROPOUTS):
            module.register_forward_pre_hook(_lay_out_as_usual)


def _lay_out_inputs(copy: nn.Module, inputs: tuple[Tree, ...]) -> tuple[Tree, ...]:
    return tuple(mapped(_laid_out, tree) for tree in inputs)


def _lay_out_as_usual(dropout: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.contiguous() for each in inputs)


def _laid_out(tensor: Tensor) -> Tensor:
    if tensor.dim() != _AXES:
        return tensor
    _, channels, height, width = tensor.shape
    laid_out = tensor.contiguous(memory_format=torch.channels_last)
    # Of a single channel both layouts are one, and layers take it for the other by its strides alone.
    return laid_out.as_strided(tensor.shape, (channels * height * width, 1, width * channels, channels))


def refuse_channels_last(
    build: Callable[[], nn.Module], optimizer: OptimizerPart, *, is_stacked: bool
) -> None:
    """Raise UserError where the layout would change nothing, or where a part cannot take it."""
    if not any(weight.dim() == _AXES for weight in skeleton(build).parameters()):
        raise UserError("the model has no convolution of images, for which the layout is", fix=OFF)
    if is_stacked:
        what = "the images of stacked seeds have an axis more, and stay as they are"
        raise UserError(what, fix=f"set stacked: false, or {OFF.removeprefix('set ')}")
    weight = nn.Parameter(_laid_out(torch.linspace(-1, 1, 24).view(2, 3, 2, 2)))
    try:
        optimizer.step_downhill([("weight", weight)])
    except RuntimeError as error:
        what = f"{optimizer.name} makes no step of weights whose channels are last in memory"
        raise UserError(what, fix=f"{OFF}, or take another optimizer") from error


@torch.no_grad()
def refuse_views(model: Copies, inputs: Tree) -> None:
    """Raise UserError if a model cannot view images as vectors, given inputs (copies, n, …)."""
    try:
        model.eval()(inputs)
    except RuntimeError as error:  # any other is found in another trial
        if "view size is not compatible" in str(error):
            what = "the model views images as vectors by .view(…), which the usual layout alone allows"
            raise UserError(what, fix=f"write .flatten(1) or .reshape(…) in its forward, or {OFF}") from error
