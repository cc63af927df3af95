"""Trials: run the parts on a few made-up examples before a run folder exists, to report misfits at once."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from math import isfinite

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
from dlrun.training.recipe import Metric


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
    if not isinstance(given, Tensor):
        raise UserError(f"{name} gives a {type(given).__name__} instead of a tensor")
    if given.shape != inputs.shape or given.dtype != inputs.dtype:
        raise UserError(f"{name} changes the shape or the type of its inputs")


def measure_two(
    name: str,
    measure: Callable[[Tensor, Tensor], Tensor],
    task: Task,
    *,
    most_axes: int,
    whole: bool = False,
    has_gradient: bool = False,
) -> None:
    """Measure two examples. Raises UserError unless each gets its own figure, or a row of figures.

    Of a `whole` split there has to be one figure for both. With `has_gradient` the figures need one.
    """
    outputs = torch.zeros(2, task.outputs, requires_grad=has_gradient)
    try:
        figures: object = measure(outputs, task.targets(2))
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:150]
        raise UserError(
            f"{name} does not fit outputs of {task.outputs} and such targets: {reason}"
        ) from error
    if figures is None:
        raise UserError(f"{name} gives None: does it end without a return?")
    if whole:
        if not isinstance(figures, Tensor | float | int) or torch.as_tensor(figures).numel() != 1:
            raise UserError(
                f"{name} has whole = True, so it needs one figure for all, not {shortened(figures)}"
            )
        return
    if not isinstance(figures, Tensor):
        raise UserError(f"{name} gives a {type(figures).__name__} instead of a tensor")
    if figures.shape[:1] != (2,) or figures.dim() > most_axes:
        more = 'reduction="none"; or set batchwise = True' if has_gradient else "no mean; or set whole = True"
        raise UserError(
            f"{name} gives shape {tuple(figures.shape)} for 2 examples; each needs a figure of its own",
            fix=f"take {more} in its file",
        )
    if has_gradient and not figures.requires_grad:
        raise UserError(
            f"{name} has no gradient: it does not depend on the outputs, or by detach, argmax or item alone"
        )


def try_finish(name: str, metric: Metric, task: Task) -> None:
    """Raise UserError unless `finish` of a metric gives a number."""
    if metric.whole:
        return
    figures = metric.measure(torch.zeros(2, task.outputs), task.targets(2)).double().mean(0)
    try:
        found: object = metric.finish(figures.reshape(-1).tolist())
    except (IndexError, TypeError, ValueError) as error:
        raise UserError(f"finish() of {name} fails: {str(error)[:150]}") from error
    except ArithmeticError:  # of these figures, which are made up
        return
    if not isinstance(found, float | int):
        raise UserError(f"finish() of {name} gives {shortened(repr(found))} instead of a number")


def try_schedule(name: str, schedule: Callable[[float], float]) -> None:
    """Raise UserError unless a schedule gives a finite number, and the same one again."""
    for progress in (0.0, 0.3, 0.999):
        once: object = schedule(progress)
        if not isinstance(once, float | int) or not isfinite(once):
            raise UserError(
                f"{name} gives {shortened(repr(once))} at progress {progress}, not a finite number"
            )
        if schedule(progress) != once:
            what = f"{name} is not repeatable: called twice, it gives other rates"
            raise UserError(f"{what}; a schedule is a function of progress alone")


def try_optimizer(part: OptimizerPart, model: nn.Module | None) -> None:
    """Raise UserError for options that contradict each other, and for what is no usable optimizer.

    Tried on weights with the names and shapes of those of a model, if it could be made.
    """
    shapes = [(name, own.shape) for name, own in model.named_parameters()] if model else []
    weights = [  # which take no memory
        (name, nn.Parameter(torch.zeros(()).expand(shape)))
        for name, shape in shapes or [("weight", torch.Size([1]))]
    ]
    try:
        optimizer = part.make(weights)
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
