"""Trials: run the parts on a few made-up examples before a run folder exists, to report misfits at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from inspect import unwrap
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlrun.blocks.coverage import refuse_other_quantiles
from dlrun.blocks.tasks import LossPart, Measure, Metric, Task
from dlrun.blocks.weighted_figures import gives_weights, judge_of
from dlrun.data.batches import Sampling
from dlrun.data.examples import Data
from dlrun.data.loaded import Loaded
from dlrun.data.misfits import said_kind, said_type
from dlrun.data.trees import MAIN, Tree, mapped, named_leaves, said_shapes
from dlrun.errors import UserError, shortened
from dlrun.training.augmentation import Augment
from dlrun.training.layers import Layers, layers_of, skeleton
from dlrun.training.micro_batches import piece_sizes
from dlrun.training.optimizers import MADE_UP, OptimizerPart, needs_closure, reason_of

# The errors of a part that is given tensors other than those it was written for. An AttributeError that no
# dict explains is a mistake in the part itself, whose line is named.
_MISFITS = (RuntimeError, LookupError, TypeError, ValueError, AttributeError)


def fitting_layers(build: Callable[[], nn.Module], data: Data, task: Task) -> Layers:
    """The layers of the model. Raises UserError if it does not map the data's inputs to such outputs."""
    layers = layers_of(build, data.made_up)
    wanted, named = task.output_shape(), layers.output_shapes
    if wanted is not None and named and MAIN not in named:
        raise UserError(
            f'it gives {", ".join(named)}, but none of them is called "{MAIN}", the one that predicts'
        )
    if wanted is not None and not task.fits(layers.output_shape):
        given = "×".join(map(str, layers.output_shape)) or "no axis of"
        needed = "×".join(map(str, wanted))
        raise UserError(f"it gives {given} outputs, but {task.loss.name} needs {needed}")
    return layers


def lonely_example(
    build: Callable[[], nn.Module], data: Data, loaded: Loaded, sampling: Sampling, micro_batch: int | None
) -> str:
    """The mistake if some batch has a single example and the model has batch normalisation, else "".

    Of batches in pieces of at most `micro_batch` examples each piece is one.
    """
    there = len(loaded["train"])
    examples, size = sampling.examples(there), sampling.size(there)
    if 1 not in (*piece_sizes(size, micro_batch), *piece_sizes(examples % size, micro_batch)):
        return ""
    model = skeleton(build).train()
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return ""
    try:
        _train_on_one(build, model, data)
    except ValueError:  # torch: "Expected more than 1 value per channel when training"
        better = next((more for more in range(max(size, 2), examples + 1) if examples % more != 1), None)
        which = "every batch" if size == 1 else f"the last batch of {examples:,} examples"
        drop = "set drop_last: true, or " if size > 1 else ""
        remedy = f"; {drop}take another batch_size, such as {better}" if better else ""
        if micro_batch and examples % size != 1:
            which, remedy = "some micro-batch", f"; set micro_batch: {max(3, 2 * micro_batch)}, or another"
        return f"{which} has a single example, over which batch normalisation has no variance{remedy}"
    return ""


def _train_on_one(build: Callable[[], nn.Module], model: nn.Module, data: Data) -> None:
    """Run the skeleton of a model on one example; if it reads values, the model itself."""
    try:
        model(data.made_up(1, device="meta"))
    except RuntimeError as error:
        if "meta" not in str(error):
            raise
        with torch.random.fork_rng(devices=[]):
            build().train()(data.made_up(1))


def try_augmentation(augment: Augment, data: Data, targets: Tree | None) -> Tree | None:
    """Change two made-up examples; return their changed targets.

    Without targets one that takes them is not tried. Raises UserError if an augmentation changes the shape or
    the type of its inputs.
    """
    if augment.takes_targets and targets is None:
        return None
    inputs, name, size = data.made_up(2), augment.name, data.said_shape
    try:
        given: object = augment(inputs, {} if targets is None else targets, torch.Generator())
    except _MISFITS as error:
        if _wants_single(error, inputs):
            raise UserError(
                f"{name} changes a single input, but an example has several: {size}",
                fix="let an augmentation of your own change those inputs that it is for, by their names",
            ) from error
        if isinstance(error, AttributeError):
            raise
        raise UserError(f"{name} does not take inputs of {size}: {reason_of(error)}") from error
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError(f"{name} takes targets, so it has to give inputs and targets, a pair")
    changed, of_targets = given
    before, after = dict(named_leaves(inputs, "")), _tensors(changed)
    if after is None or before.keys() != after.keys():
        raise UserError(f"{name} gives {said_kind(changed)} instead of a tensor")
    for key, own in before.items():
        if after[key].shape != own.shape or after[key].dtype != own.dtype:
            kept, given_instead = (f"{tuple(some.shape)} {said_type(some)}" for some in (own, after[key]))
            what = f"{name} changes the shape or the type of its inputs: from {kept} to {given_instead}"
            raise UserError(what, fix="give a tensor of the same shape and type, for the same examples")
    return of_targets if targets is not None else None


def try_judges(
    noting: Callable[[str, str], AbstractContextManager[None]],
    task: Task,
    loss: LossPart,
    metrics: Mapping[str, Metric],
    outputs: Tree,
    targets: Tree,
    inputs: Tree,
) -> None:
    """Measure two examples by the loss and the metrics, noting the mistakes of each.

    A loss with a teacher is left out until the teacher can be asked.
    """
    with noting("loss", loss.name):
        most_axes = 2 if gives_weights(task) else 1
        measure = judge_of(task)(loss.measure)
        if loss.takes_inputs:
            measure = partial(_with_inputs, measure, inputs)
        if loss.teacher is None or loss.teacher.can_be_asked:
            measure_two(loss.name, measure, outputs, targets, most_axes=most_axes, has_gradient=not loss.make)
        if loss.quantiles and task.data.task == "regression":
            refuse_other_quantiles(loss.name, loss.quantiles(outputs), (2, task.data.targets))
    for name, metric in metrics.items():
        with noting("metrics", name):
            most_axes = 2 if metric.has_finish else 1
            measure_two(name, metric.measure, outputs, targets, most_axes=most_axes, whole=metric.whole)
            try_finish(name, metric, outputs, targets)


def _with_inputs(measure: Measure, inputs: Tree, outputs: Tree, targets: Tree) -> Tensor:
    return measure(outputs, targets, inputs)


def _tensors(tree: Any) -> dict[str, Tensor] | None:
    """The tensors of what should be a tree, by name; None if it is none."""
    named = tree if isinstance(tree, dict) else {"": tree}
    return named if all(isinstance(own, Tensor) for own in named.values()) else None


def _wants_single(error: Exception, given: Tree) -> bool:
    """True if a part has failed because it was given a dict of tensors instead of a single one."""
    return isinstance(given, dict) and isinstance(error, TypeError | AttributeError) and "dict" in str(error)


def measure_two(
    name: str,
    measure: Measure,
    outputs: Tree,
    targets: Tree,
    *,
    most_axes: int,
    whole: bool = False,
    has_gradient: bool = False,
) -> None:
    """Measure two examples. Raises UserError unless each gets its own figure, or a row of figures.

    Of a `whole` split there has to be one figure for both. With `has_gradient` the figures need one.
    """
    if has_gradient:
        outputs = mapped(lambda some: some.requires_grad_(), outputs)
    try:
        figures: object = measure(outputs, targets)
    except _MISFITS as error:
        size = said_shapes({called: some.shape[1:] for called, some in named_leaves(outputs, "")})
        if _wants_single(error, outputs):
            raise UserError(
                f"{name} takes a single tensor of outputs, but the model gives several: {size}",
                fix=f'let a part of your own take outputs["{MAIN}"] of them',
            ) from error
        if isinstance(error, AttributeError):
            raise
        raise UserError(
            f"{name} does not fit outputs of {size} and such targets: {reason_of(error)}"
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
    if not figures.is_floating_point() and (has_gradient or figures.is_complex()):
        what = f"{name} gives {said_type(figures)}, not floating-point numbers"
        fix = "a count of mistakes has no gradient: take a loss such as cross entropy" if has_gradient else ""
        raise UserError(what, fix=fix)
    if has_gradient and not figures.requires_grad:
        raise UserError(
            f"{name} has no gradient: it does not depend on the outputs, or by detach, argmax or item alone"
        )


def try_finish(name: str, metric: Metric, outputs: Tree, targets: Tree) -> None:
    """Raise UserError unless `finish` of a metric gives a number."""
    if metric.whole:
        return
    figures = metric.measure(outputs, targets).double().mean(0)
    try:
        found: object = metric.finish(figures.reshape(-1).tolist())
    except (IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"finish() of {name} fails: {reason_of(error)}") from error
    except ArithmeticError:  # of these figures, which are made up
        return
    if not isinstance(found, float | int):
        raise UserError(f"finish() of {name} gives {shortened(repr(found))} instead of a number")


def try_schedule(name: str, schedule: Callable[[float], float]) -> None:
    """Raise UserError unless a schedule gives a finite number, and the same one again."""
    for progress in (*(step / 100 for step in range(100)), 0.999):
        try:
            once: object = schedule(progress)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
        if type(once) not in (float, int, bool) and hasattr(once, "item"):
            what = f"{name} gives {said_kind(once)} at progress {progress}, not a number of Python"
            raise UserError(what, fix="return float(…) of it")
        if not isinstance(once, float | int) or not isfinite(once):
            raise UserError(
                f"{name} gives {shortened(repr(once))} at progress {progress}, not a finite number"
            )
        if once < 0:
            what = f"{name} gives {once:g} at progress {progress}: with a negative rate a step goes uphill"
            raise UserError(what, fix="give a multiplier of the learning rate, from 0 to 1")
        if schedule(progress) != once:
            what = f"{name} is not repeatable: called twice, it gives other rates"
            raise UserError(f"{what}; a schedule is a function of progress alone")


def try_average(name: str, share: Callable[[int], float], most: int | None) -> None:
    """Raise UserError unless a rule of averages gives shares from 0 to 1, and the same ones again.

    It is tried on the first steps, or on `most` epochs.
    """
    for count in range(1, min(most or 100, 100) + 1):
        once: object = share(count)
        if type(once) not in (float, int) or not 0 <= once <= 1:  # type: ignore[operator]
            what = f"{name} gives {shortened(repr(once))} at {count}, not the share that is kept, from 0 to 1"
            raise UserError(what)
        if share(count) != once:
            raise UserError(f"{name} is not repeatable: called twice, it gives other shares")


def try_optimizer(part: OptimizerPart, model: nn.Module | None, why_not: str = "") -> None:
    """Raise UserError for options that contradict each other, and for what is no usable optimizer.

    `why_not` is the reason why a step cannot compute its loss several times. Tried on weights with the names
    and shapes of those of a model, if it could be made.
    """
    shapes = [(name, own.shape) for name, own in model.named_parameters()] if model else []
    weights = [  # which take no memory
        (name, nn.Parameter(torch.zeros(()).expand(shape))) for name, shape in shapes or MADE_UP
    ]
    try:
        optimizer = part.make(weights)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(f"it returned {shortened(repr(optimizer))}, not a torch.optim.Optimizer")
    if not hasattr(optimizer, "param_groups"):
        what = f"{type(optimizer).__name__} has no param_groups: its __init__ does not call that of PyTorch"
        raise UserError(what, fix='call super().__init__(parameters, {"lr": lr}) in it')
    if unwrap(type(optimizer).step) is unwrap(torch.optim.Optimizer.step):
        raise UserError(
            f"{type(optimizer).__name__} has no step()", fix="define def step(self, closure=None)"
        )
    if part.states_closure or needs_closure(optimizer):
        if part.is_elementwise:
            what = f"{part.name} takes a closure, the loss of one seed, so it cannot serve all seeds"
            raise UserError(what, fix="remove elementwise = True from its file")
        if why_not:
            raise UserError(f"{part.name} computes the loss several times in a step, {why_not}")
    elif part.is_elementwise and not part.keeps_weights_apart():
        what = f"{part.name} has elementwise = True, but one optimizer for two weights updates them otherwise"
        raise UserError(f"{what} than two optimizers do", fix="remove that line from its file")
    if part.groups and shapes:
        part.refuse_groups(shapes)
