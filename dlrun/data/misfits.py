"""Misfits: the examples that a dataset returned, compared with what its Data promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dlrun.data.examples import Data, Examples
from dlrun.errors import UserError

OfTargets = Callable[[Tensor], str]  # targets (n, …) -> the mistake in them, or ""


def refuse_misfits(data: Data, examples: Mapping[str, Any], of_targets: OfTargets) -> None:
    """Raise UserError, with everything that is wrong, unless the splits are as `data` states them."""
    if wrong := [name for name in examples if not isinstance(name, str)]:
        raise UserError(f"read() names a split {wrong[0]!r}, but names are texts, such as 'train'")
    mistakes = list(_of_splits(data, examples))
    for name, some in examples.items():
        mistakes += [f"{name}: {mistake}" for mistake in _of_examples(data, some, of_targets)]
    if mistakes:
        raise UserError("; ".join(mistakes))


def refuse_malformed(data: Data) -> None:
    """Raise UserError if a Data states its shape or its classes in another form than tuples."""
    shape = data.input_shape
    if not isinstance(shape, tuple) or not all(type(size) is int and size > 0 for size in shape):
        what = f"Data states input_shape={shape!r}, which must be a tuple of sizes"
        raise UserError(what, fix="write input_shape=(4,) for vectors of 4 numbers")
    classes = data.classes
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        what = f"Data states classes={classes!r}, which must be a tuple of names"
        raise UserError(what, fix='write classes=("a", "b")')


def undeclared(data: Data, examples: Mapping[str, Examples]) -> str:
    """The mistake of a split that is returned, but not stated and so never measured; "" if there is none."""
    stated = {*data.splits, "valid"} if data.valid_fraction else {*data.splits}
    if not (more := [name for name in examples if name not in stated]):
        return ""
    wanted = ", ".join(f'"{name}"' for name in (*data.splits, *more))
    return f"read() returned the split {more[0]}, which Data does not state: add splits=({wanted}) to Data"


def _of_splits(data: Data, examples: Mapping[str, Any]) -> Iterator[str]:
    stated = {*data.splits, "train"} - ({"valid"} if data.valid_fraction else set())
    if "train" not in examples:
        there = ", ".join(map(repr, examples))
        yield f"read() returned no split 'train', which every dataset needs (there are: {there})"
    elif missing := [name for name in data.splits if name in stated and name not in examples]:
        there = ", ".join(f'"{name}"' for name in examples) + "," * (len(examples) == 1)
        fix = f"return it, or add splits=({there}) to Data"
        yield f"read() returned no {missing[0]}, which Data states: {fix}"


def _of_examples(data: Data, some: Any, of_targets: OfTargets) -> Iterator[str]:
    if not isinstance(some, Examples):
        yield f"read() returned {said_kind(some)} instead of Examples(inputs, targets)"
        return
    not_tensors = [
        f"the {what} are {said_kind(values)}: make them a tensor, by torch.as_tensor(…)"
        for what, values in (("inputs", some.inputs), ("targets", some.targets))
        if not isinstance(values, Tensor)
    ]
    yield from not_tensors
    if not_tensors:
        return
    if some.targets.dim() == 0 or some.inputs.dim() == 0:
        yield "inputs and targets need an axis of examples, the first"
        return
    inputs = len(some.inputs if some.rows is None else some.rows)
    if inputs != len(some.targets):
        yield f"there are {inputs:,} inputs and {len(some.targets):,} targets"
    if tuple(some.inputs.shape[1:]) != data.input_shape:
        here, stated = _size(some.inputs.shape[1:]), _size(data.input_shape)
        yield f"an input has the shape {here}, but Data states input_shape={stated}"
    if some.inputs.is_complex() or some.inputs.dtype == torch.bool:
        yield f"the inputs are {_type(some.inputs)}: make them numbers, such as by .float()"
    if some.targets.numel() and (mistake := of_targets(some.targets)):
        yield mistake
    if not isinstance(some.aside, Mapping):
        yield f"aside is {said_kind(some.aside)} instead of a dict of tensors"
        return
    for name, values in some.aside.items():
        if not isinstance(values, Tensor) or values.shape[:1] != some.targets.shape[:1]:
            yield f"aside[{name!r}] needs a figure for each of the {len(some.targets):,} examples"


def said_kind(value: Any) -> str:
    """The class of a value in words, such as `a numpy.ndarray`."""
    kind = type(value)
    name = (
        kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    )
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _size(shape: tuple[int, ...]) -> str:
    return str(tuple(shape)).replace(" ", "")


def wrong_classes(targets: Tensor, classes: int) -> str:
    """The mistake in targets that should be class numbers from 0 to classes - 1; "" if there is none."""
    if targets.dtype != torch.int64:
        return f"the targets are {_type(targets)}, but class numbers are int64: {_remedy(targets)}"
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= classes:
        from_one = low == 1 and high == classes
        fix = (
            "subtract 1"
            if from_one
            else f"state {high + 1} classes"
            if low >= 0
            else "a class is never negative"
        )
        return f"the targets go from {low} to {high}, but {classes} classes are 0 to {classes - 1}: {fix}"
    return ""


def wrong_shape(targets: Tensor, wanted: tuple[int, ...], meaning: str) -> str:
    """The mistake in targets that should have the shape (n, *wanted); "" if there is none."""
    here = tuple(targets.shape[1:])
    if here == wanted:
        return ""
    said = f"the targets have the shape (n{''.join(f', {size}' for size in here)}), but {meaning}"
    if here == (*wanted, 1):
        return f"{said}: remove the last axis, by .squeeze({len(here)})"
    if (*here, 1) == wanted:
        return f"{said}: add an axis, by .unsqueeze({len(wanted)})"
    return said


def wrong_numbers(targets: Tensor) -> str:
    """The mistake in targets that should be floating-point numbers; "" if there is none."""
    if not targets.is_floating_point():
        return f"the targets are {_type(targets)}, but those of a regression are float32: use .float()"
    return ""


def _remedy(targets: Tensor) -> str:
    whole = not targets.is_floating_point() or bool((targets == targets.round()).all())
    return "use .long()" if whole else "these are no whole numbers, perhaps of a regression"
