"""The loss of a config as a function of outputs and targets, whatever form its file gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.blocks.class_weights import ClassWeights
from dlrun.blocks.tasks import SPREAD, Judge, LossPart, Measure, Task
from dlrun.blocks.teachers import Teacher
from dlrun.config.keys import Choice
from dlrun.config.part_functions import refuse_call
from dlrun.config.registry import TEACHER, Parts
from dlrun.data.examples import Data, Scaling
from dlrun.data.log_targets import to_log
from dlrun.data.trees import Tree, first_of, mapped, single
from dlrun.errors import UserError, shortened
from dlrun.training.copies import WithLoss

# The functions that the file of a loss may have beside it, and what dlrun passes to each.
_TAKES = {
    "outputs": "data",
    "probabilities": "outputs",
    "constant": "shares",
    "head": "outputs",
    "guess": "errors",
    "quantiles": "outputs",
}


def loss_part(parts: Parts, choice: Choice, data: Data) -> LossPart:
    """The loss that a config names, with what its file states.

    A function of outputs and targets is the loss itself. One without them makes an `nn.Module`, which holds
    weights of its own. A third parameter `inputs` is given the inputs, `teacher` the outputs of another run's
    model. With `batchwise = True` it gives one figure for a batch. Raises UserError for weights that would
    never be trained.
    """
    about, module = parts.part("loss", choice.name), parts.module("loss", choice.name)
    function = parts.find("loss", choice.name)
    is_batchwise = about.constants.get("batchwise") is True
    stated: dict[str, Any] = {name: getattr(module, name, None) for name in _TAKES}
    spread = SPREAD if stated["head"] else ""
    finish = partial(_finished, is_batchwise, data, spread)
    options = about.taken(choice.options)
    for attribute, value in stated.items():
        if value is not None and not callable(value):
            raise UserError(f"{attribute} of {choice.name} is {shortened(repr(value))}, not a function")
        if value is not None:
            stated[attribute] = taking = _with_options(value, options)
            refuse_call(f"{attribute}() of {choice.name}", taking, (_TAKES[attribute],))
    common = {name: choice.options.get(name, option.default) for name, option in about.common.items()}
    part = LossPart(
        choice.name,
        partial(function, **options),
        **stated,
        is_batchwise=is_batchwise,
        has_places=about.constants.get("places") is True,
        of_estimates=about.constants.get("of_estimates") is True,
        needs_own_unit=about.constants.get("own_unit") is True,
        label_smoothing=common.get("label_smoothing", 0.0),
    )
    if about.takes not in ((), ("data",)):
        _refuse_hidden_weights(choice.name, module)
        if asked := about.takes[2:]:
            teacher = Teacher(choice.options[TEACHER]) if TEACHER in asked else None
            measure = _asking(part.measure, asked, teacher)
            part = replace(part, measure=measure, takes_inputs=True, teacher=teacher)
        return replace(part, measure=finish(part.measure))

    def make() -> nn.Module:
        made = function(*([data] if about.takes else []), **options)
        if not isinstance(made, nn.Module):
            what = f"without outputs and targets it has to make an nn.Module, not {shortened(repr(made))}"
            raise UserError(what)
        return made

    with torch.random.fork_rng(devices=[]):
        made = make()
    takes_inputs = "inputs" in signature(made.forward).parameters
    measure, join = _without_gradient(finish(made)), partial(_joined, make, finish)
    return replace(part, measure=measure, make=join, takes_inputs=takes_inputs)


def _asking(function: Measure, asked: Sequence[str], teacher: Teacher | None) -> Measure:
    """The loss of outputs, targets and inputs, by a function of what its parameters ask for."""

    def measure(outputs: Tree, targets: Tree, inputs: Tree) -> Tensor:
        further = [teacher(inputs) if teacher and name == TEACHER else inputs for name in asked]
        return function(outputs, targets, *further)

    return measure


def _with_options(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """A function beside a loss with those of the loss's options that it takes too, after a `*`."""
    try:
        parameters = signature(function).parameters.values()
    except ValueError:  # it has no signature, as some that are written in C
        return function
    taken = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    own = {name: value for name, value in options.items() if name in taken}
    return partial(function, **own) if own else function


def refuse_head(task: Task) -> None:
    """Raise UserError if the head of a loss does not fit the task or the scaling of its targets."""
    loss, data = task.loss, task.data
    if loss.head is None:
        return
    if task.are_inputs_targets or task.decision:
        raise UserError(f"{loss.name} makes its outputs of several numbers, which {data.task} does not have")
    made = loss.head(torch.zeros(2, loss.outputs(data) if loss.outputs else task.outputs))
    if data.target_transform and isinstance(made, dict) and SPREAD in made:
        what = f"{loss.name} gives a {SPREAD} of the {data.target_transform}, which is none of the target"
        raise UserError(what, fix="set target_transform: null in the dataset, or take the loss quantile")


def refuse_inputs(task: Task) -> None:
    """Raise UserError if a loss asks for inputs, or for what a teacher gives for them, in a task without."""
    loss, data = task.loss, task.data
    if loss.teacher and (not task.decision or data.places):
        what = f"{loss.name} is taught the probabilities of an example's classes"
        raise UserError(f"{what}, which a task {data.task} does not have")
    if loss.takes_inputs and data.places and not loss.has_places:
        what = f"{loss.name} is given whole inputs, but outputs and targets of each place as an example"
        raise UserError(what, fix="set places = True in its file, which gives it all places together")


def class_weights(parts: Parts, choice: Choice, data: Data) -> ClassWeights | None:
    """The weights of the classes in the loss that a config names; None if it states none.

    Raises UserError for weights that do not fit the classes.
    """
    is_common = "class_weight" in parts.part("loss", choice.name).common
    stated = choice.options.get("class_weight") if is_common else None
    return None if stated is None else ClassWeights(stated, data.classes)


def _joined(make: Callable[[], nn.Module], finish: Judge, model: nn.Module, judge: Judge) -> nn.Module:
    return WithLoss(model, make(), lambda loss: judge(finish(loss)))


def _finished(is_batchwise: bool, data: Data, spread: str, loss: Measure) -> Measure:
    """The loss of each example, (n,), of outputs and targets in the target's unit."""
    if is_batchwise:
        loss = partial(_of_batch, loss)
    if data.target_transform == "log":
        return _Scaled(loss, data.scaling or (0.0, 1.0), spread, to_log)
    return _Scaled(loss, data.scaling, spread) if data.scaling else loss


def seen_by_loss(data: Data, numbers: Tensor) -> Tensor:
    """Outputs or targets in the target's unit, as the loss sees them: their logarithms, standardised."""
    return _finished(is_batchwise=False, data=data, spread="", loss=_outputs)(numbers, numbers)


def _outputs(outputs: Tree, targets: Tree) -> Tensor:
    return single(outputs, "the outputs")


def _of_batch(loss: Measure, outputs: Tree, *judged: Tree) -> Tensor:
    """The figure of a batch for each of its examples; their mean is the figure, and so is its gradient."""
    figure: object = loss(outputs, *judged)
    if not isinstance(figure, Tensor):
        raise ValueError(f"it gave a {type(figure).__name__} instead of a tensor, which has no gradient")
    examples = len(first_of(outputs))
    if figure.dim() > 1 or (figure.dim() and len(figure) != examples):
        raise ValueError(f"it has batchwise = True, but gave {tuple(figure.shape)} instead of one figure")
    return figure.mean().expand(examples)


class _Scaled:
    """The loss of standardised outputs and targets; several targets may each have a mean and a deviation.

    With a `transform` it comes before that. The output called `spread` is a distance, from which no mean is
    taken away.
    """

    def __init__(
        self,
        loss: Measure,
        scaling: Scaling,
        spread: str = "",
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._loss, self._scaling, self._spread, self._transform = loss, scaling, spread, transform
        self._placed: dict[tuple[torch.device, torch.dtype], list[Any]] = {}

    def __call__(self, outputs: Tree, targets: Tree, *inputs: Tree) -> Tensor:
        scaled = mapped(self._scaled, outputs)
        if isinstance(scaled, dict) and isinstance(outputs, dict) and self._spread in outputs:
            distance = outputs[self._spread]
            scaled = {**scaled, self._spread: distance / self._mean_and_sd(distance)[1]}
        return self._loss(scaled, mapped(self._scaled, targets), *inputs)

    def _scaled(self, some: Tensor) -> Tensor:
        mean, sd = self._mean_and_sd(some)
        some = self._transform(some) if self._transform else some
        scaled: Tensor = (some - mean) / sd
        return scaled

    def _mean_and_sd(self, some: Tensor) -> list[Any]:
        place = some.device, some.dtype
        if place not in self._placed:  # copied once, for a CUDA graph can hold no copy from the host
            with torch.inference_mode(False):
                self._placed[place] = [
                    torch.tensor(own, device=some.device, dtype=some.dtype) if isinstance(own, tuple) else own
                    for own in self._scaling
                ]
        return self._placed[place]


def _without_gradient(loss: Measure) -> Measure:
    def measure(*judged: Tree) -> Tensor:
        with torch.no_grad():
            return loss(*judged)

    return measure


def _refuse_hidden_weights(name: str, module: ModuleType) -> None:
    """Raise UserError if the file of a loss holds weights, which no optimizer would ever see."""
    for variable, value in vars(module).items():
        if not isinstance(value, type | ModuleType) and _holds_weights(value):
            what = f"{name}.py holds weights in {variable}, which would never be trained or saved"
            fix = f"let {name}() take no outputs and targets, and return an nn.Module that holds them"
            raise UserError(what, fix=fix)


def _holds_weights(value: Any) -> bool:
    """True if a value is or has a weight that wants a gradient; a frozen network is no weight."""
    if isinstance(value, nn.Module):
        return any(weight.requires_grad for weight in value.parameters())
    inner = [value, *vars(value).values()] if hasattr(value, "__dict__") else [value]
    return any(isinstance(one, nn.Parameter) and one.requires_grad for one in inner)
