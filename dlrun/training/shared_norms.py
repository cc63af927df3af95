"""Batch normalisation by the mean and the variance of a whole batch, of which each process has a part."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlrun.training.copies import Copies
from dlrun.training.world import World


def share_norms(model: Copies, world: World) -> None:
    """Let the batch normalisation of every copy in training take the statistics of all processes."""
    if world.is_alone:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_normalised, module, world)  # type: ignore[method-assign]


def has_norms(model: nn.Module) -> bool:
    """True if a model has batch normalisation."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def _normalised(module: _BatchNorm, world: World, inputs: Tensor) -> Tensor:
    """The outputs of a batch normalisation for this process's part of a batch (n, channels, …)."""
    if not module.training:
        outputs: Tensor = type(module).forward(module, inputs)
        return outputs
    module._check_input_dim(inputs)
    wide = inputs.double() if inputs.dtype == torch.float64 else inputs.float()
    axes = [axis for axis in range(inputs.dim()) if axis != 1]
    shape = [1, -1, *[1] * (inputs.dim() - 2)]
    own = 0.0 if world.is_idle else 1.0
    count = world.sum_of(wide.new_tensor([own * inputs.numel() / inputs.shape[1]]))
    mean = world.sum_of(own * wide.sum(axes)) / count
    centred = wide - mean.view(shape)
    variance = world.sum_of(own * centred.square().sum(axes)) / count
    with torch.no_grad():
        _track(module, mean, variance * count / (count - 1).clamp_min(1))
    outputs = centred * (variance + module.eps).rsqrt().view(shape)
    if module.affine:
        outputs = outputs * module.weight.view(shape) + module.bias.view(shape)
    return outputs.to(inputs.dtype)


def _track(module: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Let the running statistics follow those of a batch."""
    if not module.track_running_stats or module.running_mean is None or module.running_var is None:
        return
    assert module.num_batches_tracked is not None, "running statistics are counted"
    module.num_batches_tracked += 1
    share = 1 / float(module.num_batches_tracked) if module.momentum is None else module.momentum
    module.running_mean += share * (mean - module.running_mean)
    module.running_var += share * (variance - module.running_var)
