"""Images whose channels come last in memory: the layout in which most convolutions are faster."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlrun.data.trees import Tree, mapped
from dlrun.errors import UserError
from dlrun.training.layers import skeleton
from dlrun.training.optimizers import OptimizerPart

_AXES = 4  # (batch, channels, height, width), or (outputs, inputs, height, width) of a convolution


def put_channels_last(copy: nn.Module) -> None:
    """Lay out the weights of a copy with the channels last, and from now on its inputs.

    Layers give outputs laid out as their inputs, optimizers keep state laid out as the weights, and
    checkpoints keep the layout, so that a resume computes as the unbroken run does.
    """
    for weight in copy.parameters():
        weight.data = _laid_out(weight.data)
    copy.register_forward_pre_hook(_lay_out_inputs)


def _lay_out_inputs(copy: nn.Module, inputs: tuple[Tree, ...]) -> tuple[Tree, ...]:
    return tuple(mapped(_laid_out, tree) for tree in inputs)


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
    off = "set channels_last: false"
    if not any(weight.dim() == _AXES for weight in skeleton(build).parameters()):
        raise UserError("the model has no convolution, whose images and weights would be laid out", fix=off)
    if is_stacked:
        what = "the images of stacked seeds have an axis more, and stay as they are"
        raise UserError(what, fix=f"set stacked: false, or {off.removeprefix('set ')}")
    weight = nn.Parameter(_laid_out(torch.linspace(-1, 1, 24).view(2, 3, 2, 2)))
    try:
        optimizer.step_downhill([("weight", weight)])
    except RuntimeError as error:
        what = f"{optimizer.name} makes no step of weights whose channels are last in memory"
        raise UserError(what, fix=f"{off}, or take another optimizer") from error
