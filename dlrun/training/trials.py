"""Trials: run the parts on a few made-up examples before a run folder exists, to report misfits at once."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlrun.blocks.tasks import Task
from dlrun.data.batches import Sampling
from dlrun.data.examples import Data
from dlrun.data.loaded import Loaded
from dlrun.errors import UserError, shortened
from dlrun.training.layers import Layers, layers_of, skeleton
from dlrun.training.optimizers import OptimizerPart


def fitting_layers(build: Callable[[], nn.Module], data: Data, outputs: int, loss: str) -> Layers:
    """The layers of the model. Raises UserError if it does not map the data's inputs to such outputs."""
    layers = layers_of(build, data.input_shape)
    if layers.output_shape != (outputs,):
        given = "×".join(map(str, layers.output_shape)) or "no axis of"
        raise UserError(f"it gives {given} outputs, but {loss} needs {outputs}")
    return layers


def lonely_example(
    build: Callable[[], nn.Module], shape: tuple[int, ...], loaded: Loaded, sampling: Sampling
) -> str:
    """The mistake if some batch has a single example and the model has batch normalisation, else ""."""
    there = len(loaded["train"])
    examples, size = sampling.examples(there), sampling.size(there)
    if examples % size != 1 and size > 1:
        return ""
    model = skeleton(build).train()
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return ""
    try:
        _train_on_one(build, model, shape)
    except ValueError:  # torch: "Expected more than 1 value per channel when training"
        better = next((more for more in range(max(size, 2), examples + 1) if examples % more != 1), None)
        which = "every batch" if size == 1 else f"the last batch of {examples:,} examples"
        drop = "set drop_last: true, or " if size > 1 else ""
        remedy = f"; {drop}take another batch_size, such as {better}" if better else ""
        return f"{which} has a single example, over which batch normalisation has no variance{remedy}"
    return ""


def _train_on_one(build: Callable[[], nn.Module], model: nn.Module, shape: tuple[int, ...]) -> None:
    """Run the skeleton of a model on one example; if it reads values, the model itself."""
    try:
        model(torch.empty(1, *shape, device="meta"))
    except RuntimeError as error:
        if "meta" not in str(error):
            raise
        with torch.random.fork_rng(devices=[]):
            build().train()(torch.zeros(1, *shape))


def try_augmentation(
    name: str, augment: Callable[[Tensor, torch.Generator], Tensor], shape: tuple[int, ...]
) -> None:
    """Raise UserError if an augmentation changes the shape or the type of its inputs."""
    inputs = torch.zeros(2, *shape)
    try:
        given = augment(inputs, torch.Generator())
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        size = "×".join(map(str, shape))
        reason = f": {str(error)[:150]}" if type(error) is ValueError else ""  # torch's do not help a user
        raise UserError(f"{name} does not take inputs of {size}{reason}") from error
    if given.shape != inputs.shape or given.dtype != inputs.dtype:
        raise UserError(f"{name} changes the shape or the type of its inputs")


def measure_two(
    name: str, measure: Callable[[Tensor, Tensor], Tensor], task: Task, *, most_axes: int, whole: bool = False
) -> None:
    """Measure two examples. Raises UserError unless each gets its own figure, or a row of figures.

    Of a `whole` split there has to be one figure for both.
    """
    try:
        figures = torch.as_tensor(measure(torch.zeros(2, task.outputs), task.targets(2)))
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:150]
        raise UserError(
            f"{name} does not fit outputs of {task.outputs} and such targets: {reason}"
        ) from error
    if whole:
        if figures.numel() != 1:
            what = f"{name} gives shape {tuple(figures.shape)}, but with whole = True it needs one figure"
            raise UserError(what)
    elif figures.shape[:1] != (2,) or figures.dim() > most_axes:
        raise UserError(
            f"{name} gives shape {tuple(figures.shape)} for 2 examples; each needs a figure of its own"
        )


def try_optimizer(part: OptimizerPart) -> None:
    """Raise UserError for options that contradict each other, and for what is no usable optimizer."""
    try:
        optimizer = part.make([("weight", nn.Parameter(torch.zeros(1)))])
    except ValueError as error:
        raise UserError(str(error)) from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(f"it returned {shortened(repr(optimizer))}, not a torch.optim.Optimizer")
    if any(option.default is option.empty for option in signature(optimizer.step).parameters.values()):
        raise UserError(
            f"{type(optimizer).__name__} needs a closure that computes the loss again, and gets none"
        )
    if part.is_elementwise and not part.keeps_weights_apart():
        what = f"{part.name} has elementwise = True, but one optimizer for two weights updates them otherwise"
        raise UserError(f"{what} than two optimizers do", fix="remove that line from its file")
