"""Suitability: compare what a part is made for (`task`, `inputs`, `model`) with the dataset and the model."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from math import prod
from typing import TypedDict

from dlrun.blocks.tasks import Task
from dlrun.config.keys import Choice
from dlrun.config.merging import written
from dlrun.config.registry import Part, Parts
from dlrun.config.strict_yaml import Place
from dlrun.data.examples import Data
from dlrun.errors import UserError, nearest
from dlrun.training.layers import Layers


def suitable_plots(
    parts: Parts,
    data: Data,
    task: Task | None,
    layers: Layers,
    constant: str,
    value: object,
    aside: Collection[str] | None = None,
    *,
    is_augmented: bool,
) -> list[Choice]:
    """The plots that suit data, task and model, among those whose file says `constant = value`.

    `aside`, if it is known, names what examples have beside inputs and targets, such as a date.
    """
    chosen = []
    for name in parts.names("plots"):
        try:
            part = parts.part("plots", name)
        except UserError:  # a broken file makes no other plot unusable; `dlrun parts` names it
            continue
        needed = part.constants.get("aside")
        if part.constants.get(constant) == value and (aside is None or needed is None or needed in aside):
            with suppress(UserError):
                refuse_unsuited(parts, part, data, "", task, layers, is_augmented=is_augmented)
                chosen.append(Choice(name, part.defaults))
    return chosen


def refuse_better(metric: Part) -> None:
    """Raise UserError if the file of a metric says something else than which figures are better."""
    better = metric.constants.get("better", "higher")
    if better not in ("higher", "lower"):
        raise UserError(f'{metric.name}.py has better = {better!r}, which must be "higher" or "lower"')


def refuse_guessed(dataset: Part, data: Data) -> None:
    """Raise UserError if a dataset says to have chosen options that its function does not take.

    They would be written into the run's config, which could not be read again.
    """
    if unknown := [name for name in data.guessed if name not in dataset.options]:
        what = f"Data states guessed={{{unknown[0]!r}: …}}, no option of {dataset.name}"
        raise UserError(f"{what}{nearest(unknown[0], dataset.options)}", where=str(dataset.path))


def refuse_unsuited(
    parts: Parts,
    part: Part,
    data: Data,
    dataset: str,
    task: Task | None = None,
    layers: Layers | None = None,
    *,
    is_augmented: bool = True,
) -> None:
    """Raise UserError if a part is not made for this dataset, this task or a model of these layers.

    A part states what it is made for by the constants `task`, `inputs`, `of_estimates` and `model` of its
    file, a picture of augmentations by `of_augmentations`; a task states by `parts_of` another one, whose
    losses and metrics suit it too, by `takes_data_of` one whose data it takes where a config says so.
    """
    stated, inputs = part.constants.get("task"), part.constants.get("inputs")
    made_for = (stated,) if isinstance(stated, str) else stated
    if not isinstance(made_for, tuple | list | None) or not all(
        isinstance(own, str) for own in made_for or ()
    ):
        what = f"{part.name}.py has task = {stated!r}, which must be the name of a task, or several"
        raise UserError(what, fix=f'write task = "{data.task}", or leave the line out')
    suiting = {data.task}
    if part.kind in ("loss", "metrics"):
        suiting.add(parts.part("task", data.task).constants.get("parts_of", data.task))
    estimates = task is None or task.are_estimates
    if made_for and not suiting & {*made_for}:
        what = f"{part.name} is for {' or '.join(made_for)}"
        what = f"{what}, but {dataset or 'this'} is {_article(data.task)} task"
        for name in {*made_for} & {*parts.names("task")} if part.kind == "loss" else ():
            if parts.part("task", name).constants.get("takes_data_of") == data.task:
                raise UserError(what, **_writing("task", name))
        raise UserError(what, **_suited_instead(parts, part, data.task, suiting, estimates))
    fitting = {
        "plane": data.shape == (2,),
        "images": len(data.shape) == 3,
        "vectors": len(data.shape) == 1 and not data.has_whole_numbers(),
        "windows": data.forecasts,
    }
    if not fitting.get(inputs or "", True):
        said = {
            "plane": "two numbers",
            "windows": "windows of a series, of which targets are the next values",
        }
        wanted = said.get(inputs or "", inputs)
        what = f"{part.name} is for inputs of {wanted}, but those of {dataset} are {data.said_shape}"
        raise UserError(what, **_suited_instead(parts, part, data.task, suiting, estimates))
    if part.constants.get("of_estimates") and not estimates:
        what = f"{part.name} compares outputs with targets, but the loss is not smallest where they are equal"
        what = f"{what}, or not only there, so that they are no estimates of them"
        raise UserError(what, **_suited_instead(parts, part, data.task, suiting, estimates))
    if part.constants.get("of_augmentations") and not is_augmented:
        what = f"{part.name} shows the augmentations of a config, and this one has none"
        raise UserError(what, **_suited_instead(parts, part, data.task, suiting, estimates))
    model = part.constants.get("model")
    if layers is None or model is None:
        return
    weights = prod(data.shape) * prod(layers.output_shape)
    made = {
        "convolution": any(layer.kind == "Conv2d" for layer in layers.layers),
        "one layer": 0 <= layers.parameters - weights <= prod(layers.output_shape),  # with or without bias
    }
    if not made[model]:
        wanted = {"convolution": "a convolution", "one layer": "a single, fully connected layer"}
        what = f"{part.name} is for a model with {wanted[model]}"
        raise UserError(what, **_suited_instead(parts, part, data.task, suiting, estimates))


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class _Remedy(TypedDict, total=False):
    """The remedy of a UserError, and the key with its value in it."""

    fix: str
    instead: tuple[str, object]


def _suited_instead(
    parts: Parts, part: Part, task: str, suiting: Collection[str], estimates: bool
) -> _Remedy:
    """The remedy for a part that does not suit: another one for the tasks `suiting`, or none of its kind.

    The loss is the usual one of the task, or of that whose losses serve it; a metric of estimates is none
    where outputs are no `estimates`.
    """
    if part.kind == "plots":
        return _writing("plots", ["auto"], " for those that suit")
    if part.kind not in ("metrics", "loss"):
        return {}
    usual = (parts.part("task", each).constants.get("usual_loss") for each in (task, *sorted(suiting)))
    if part.kind == "loss" and (loss := next(filter(None, usual), None)):
        return _writing("loss", loss)
    suited: list[tuple[int, str]] = []
    for name in parts.names(part.kind):
        with suppress(UserError):
            constants = parts.part(part.kind, name).constants
            stated = constants.get("task") or ()
            made_for = {stated} if isinstance(stated, str) else {*stated}
            suits = made_for & {*suiting} and (estimates or not constants.get("of_estimates"))
            suited += [(len(made_for), name)] if suits else []
    if not suited:
        return {"fix": "leave it out"} if part.kind == "metrics" else {}
    first = min(suited)[1]  # that of fewest tasks: f1 is for several classes too, each true or false
    return _writing(part.kind, first if part.kind == "loss" else [first])


def _writing(key: str, value: object, why: str = "") -> _Remedy:
    return {"fix": f"write {written(key, value, Place(''))}{why}", "instead": (key, value)}
