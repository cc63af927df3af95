"""Misfits: the examples that a dataset returned, compared with what its Data promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dlrun.config.part_functions import refuse_call
from dlrun.data.example_weights import wrong_weights
from dlrun.data.examples import Data, Examples
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree, first_of, named_leaves
from dlrun.errors import UserError, shortened

AT_ONCE = 4096  # examples that are checked together: overlapping windows take no memory, copies of them do
OfTargets = Callable[[Tree], str]  # targets (n, …) -> the mistake in them, or ""


def refuse_misfits(
    data: Data, examples: Mapping[str, Any], of_targets: OfTargets, *, are_given: bool = False
) -> None:
    """Raise UserError, with everything that is wrong, unless the splits are as `data` states them.

    Splits that `data` did not read itself need not be those that it states.
    """
    if wrong := [name for name in examples if not isinstance(name, str)]:
        raise UserError(f"read() names a split {wrong[0]!r}, but names are texts, such as 'train'")
    mistakes = [] if are_given else list(_of_splits(data, examples))
    for name, some in examples.items():
        mistakes += [f"{name}: {mistake}" for mistake in _of_examples(data, some, of_targets)]
    if mistakes:
        raise UserError("; ".join(mistakes))


def refuse_malformed(data: object) -> None:
    """Raise UserError unless a dataset's function gave a Data whose fields have the form that they need."""
    if not isinstance(data, Data):
        what = f"it returned {said_kind(data)} instead of Data"
        raise UserError(
            what, fix='return a Data, such as Data("classification", (4,), read, classes=("a", "b"))'
        )
    if not isinstance(data.task, str):
        what = f"Data states the task {shortened(repr(data.task))}, which must be a name"
        raise UserError(what, fix='write Data("classification", …) or Data("regression", …)')
    if isinstance(data.read, Mapping):
        what = "Data states the examples as read, which must be the function that gives them"
        raise UserError(what, fix="write read=read without parentheses: dlrun calls it when they are needed")
    refuse_call("read() of the dataset", data.read, ())
    refuse_call("fit() of the dataset", data.fit, ("training",))
    stated = data.input_shape
    for name, shape in stated.items() if isinstance(stated, dict) and stated else [("", stated)]:
        if not isinstance(shape, tuple) or not all(type(size) is int and size > 0 for size in shape):
            called = f"the shape {shape!r} of the input {name}" if name else f"input_shape={shape!r}"
            what = f"Data states {called}, which must be a tuple of sizes"
            raise UserError(what, fix="write input_shape=(4,) for vectors of 4 numbers")
    for field, names in (
        ("classes", data.classes),
        ("vocabulary", data.vocabulary),
        ("target_names", data.target_names),
        ("features", data.features),
        ("columns", data.columns),
        ("splits", data.splits),
    ):
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            what = f"Data states {field}={shortened(repr(names))}, which must be a tuple of names"
            raise UserError(what, fix=f'write {field}=("a", "b")')
    if type(data.targets) is not int or data.targets < 1:
        what = f"Data states targets={shortened(repr(data.targets))}, which must be a number of 1 or more"
        raise UserError(what, fix="write targets=2 for two numbers of each example")
    if not isinstance(data.valid_fraction, float | int) or not 0 <= data.valid_fraction < 1:
        what = f"Data states valid_fraction={shortened(repr(data.valid_fraction))}"
        raise UserError(what, fix="write a share from 0 to below 1, such as 0.1")
    if data.features and len(data.shape) == 1 and len(data.features) != data.shape[0]:
        what = f"Data states input_shape={_size(data.shape)}, but {len(data.features)} features"
        raise UserError(what, fix="name every number of an input in features, or leave it out")
    if data.columns and len(data.columns) != len(data.features):
        what = f"Data states {len(data.features)} features, but columns for {len(data.columns)}"
        raise UserError(what, fix="name the column of every feature in columns, or leave it out")
    if data.target_transform not in (None, "log"):
        what = f"Data states target_transform={shortened(repr(data.target_transform))}"
        raise UserError(what, fix='write target_transform="log", or leave it out')
    of_each = [("scaling", len(own)) for own in data.scaling or () if isinstance(own, tuple)]
    of_each += [("target_names", len(data.target_names))] if data.target_names else []
    for field, count in of_each:
        if count != data.targets:
            what = f"Data states targets={data.targets}, but {field} for {count}"
            raise UserError(what, fix=f"correct targets or {field}")


def unsuitable_preprocessing(data: Data, fitted: object) -> str:
    """The mistake in what `fit` of a dataset gave; "" if it prepares inputs of this shape."""
    several = not isinstance(data.input_shape, tuple)
    if several and isinstance(fitted, Mapping):
        each = {name: own for name, own in fitted.items() if name in data.shapes}
    else:
        each = dict.fromkeys(data.shapes, fitted)
    for name, own in each.items():
        called, shape = f"fit() for {name}" if name else "fit()", data.shapes[name]
        if not isinstance(own, Preprocessing):
            return f"{called} returned {said_kind(own)} instead of Preprocessing(offset=…, scale=…)"
        for step in ("offset", "scale", "fill"):
            values = getattr(own, step)
            if values is None:
                continue
            if not isinstance(values, Tensor):
                return f"{called} gives {said_kind(values)} as {step}: make it a tensor"
            if not _widens_to(values, shape):
                here, there = _size(values.shape), _size(shape)
                return f"{called} gives {step} of shape {here}, which suits no input of shape {there}"
        if isinstance(own.scale, Tensor) and not bool(own.scale.all()):
            return f"{called} gives a scale of 0, by which nothing is divided: an input is constant; take 1"
    return ""


def _widens_to(values: Tensor, shape: tuple[int, ...]) -> bool:
    """True if one value for all, or one for each of some axes, serves inputs of a shape."""
    try:
        values.expand(shape)
    except RuntimeError:
        return False
    return True


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
    trees = (("inputs", some.inputs), ("targets", some.targets))
    each = [(what, name, tensor) for what, tree in trees for name, tensor in _parts(tree)]
    not_tensors = [
        f"the {_called(what, name)} are {said_kind(values)}: make them a tensor, by torch.as_tensor(…)"
        for what, name, values in each
        if not isinstance(values, Tensor)
    ]
    yield from not_tensors
    if not_tensors:
        return
    if any(tensor.dim() == 0 for _, _, tensor in each):
        yield "inputs and targets need an axis of examples, the first"
        return
    examples = len(first_of(some.targets))
    for what, name, tensor in each:
        count = len(some.rows) if what == "inputs" and some.rows is not None else len(tensor)
        if count != examples:
            yield f"there are {count:,} {_called(what, name)} and {examples:,} targets"
    yield from _of_inputs(data, some.inputs)
    if examples and (mistake := of_targets(some.targets)):
        yield mistake
    yield from _of_weights(data, some.weights, examples)
    for name, numbers in (("keys", some.keys), ("origin", some.origin)):
        if numbers is not None and not _are_whole(numbers, examples):
            yield f"{name} needs a whole number for each of the {examples:,} examples, (n,) int64"
    if not isinstance(some.aside, Mapping):
        yield f"aside is {said_kind(some.aside)} instead of a dict of tensors"
        return
    for name, values in some.aside.items():
        if not isinstance(values, Tensor) or values.shape[:1] != (examples,):
            yield f"aside[{name!r}] needs a figure for each of the {examples:,} examples"
            return
    yield from _of_baselines(data, some.aside)


def _are_whole(numbers: object, examples: int) -> bool:
    """True for a whole number of each example, (n,) int64."""
    return isinstance(numbers, Tensor) and numbers.shape == (examples,) and numbers.dtype == torch.int64


def _of_weights(data: Data, weights: Any, examples: int) -> Iterator[str]:
    """The mistakes in the weights of so many examples."""
    if weights is None:
        if data.weighted:
            yield "Data states weighted=True, but Examples have no weights: give Examples(…, weights=…)"
    elif not data.weighted:
        yield "Examples have weights, which Data does not state: add weighted=True to Data"
    elif mistake := wrong_weights(weights, examples):
        yield mistake


def _of_baselines(data: Data, aside: Mapping[str, Tensor]) -> Iterator[str]:
    """The mistakes in the columns that guess the targets: one guess would be compared with every target."""
    d = data.targets
    for name in data.baselines:
        if name not in aside:
            yield f"aside has no {name!r}, which Data states in baselines"
        elif aside[name].shape[1:] not in ((d,), *([()] if d == 1 else [])):
            shape = ", ".join(("n", *map(str, aside[name].shape[1:])))
            called = f"the baseline aside[{name!r}] has the shape ({shape})"
            fix = f"make it (n, {d}), or take it out of baselines"
            yield f"{called}, but Data states targets={d}, and each needs a guess of its own: {fix}"


def _of_inputs(data: Data, inputs: Tree) -> Iterator[str]:
    there = dict(named_leaves(inputs, ""))
    if there.keys() != data.shapes.keys():
        here, stated = (
            ", ".join(names) if "" not in names else "a single one" for names in (there, data.shapes)
        )
        yield f"the inputs are {here}, but Data states {stated}"
        return
    for name, shape in data.shapes.items():
        tensor, called = there[name], f"the input {name}" if name else "an input"
        if tuple(tensor.shape[1:]) != shape:
            here = _size(tensor.shape[1:])
            yield f"{called} has the shape {here}, but Data states input_shape={_size(shape)}"
        if tensor.is_complex() or tensor.dtype == torch.bool:
            called = _called("inputs", name)
            yield f"the {called} are {said_type(tensor)}: make them numbers, such as by .float()"
        elif data.has_whole_numbers(name):
            yield from _of_ids(data, tensor, _called("inputs", name))


def _of_ids(data: Data, tensor: Tensor, called: str) -> Iterator[str]:
    """The mistakes in inputs that Data states as whole numbers."""
    if tensor.is_floating_point():
        yield f"the {called} are {said_type(tensor)}, but Data states whole numbers: use .long()"
    elif tensor.numel() and data.vocabulary:
        each = [some.aminmax() for some in tensor.split(AT_ONCE)]
        low, high = min(int(some.min) for some in each), max(int(some.max) for some in each)
        most = len(data.vocabulary)
        if low < 0 or high >= most:
            ids = f"a vocabulary of {most:,} has ids 0 to {most - 1:,}"
            yield f"the {called} go from {low} to {high}, but {ids}"


def _parts(tree: Any) -> list[tuple[str, Any]]:
    return list(tree.items()) if isinstance(tree, dict) else [("", tree)]


def _called(what: str, name: str) -> str:
    return f"{what} {name}" if name else what


def said_kind(value: Any) -> str:
    """The class of a value in words, such as `a numpy.ndarray`."""
    kind = type(value)
    name = (
        kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    )
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def said_type(tensor: Tensor) -> str:
    """The type of the numbers of a tensor in words, such as `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def _size(shape: tuple[int, ...]) -> str:
    return str(tuple(shape)).replace(" ", "")


def wrong_classes(targets: Tensor, classes: int) -> str:
    """The mistake in targets that should be class numbers from 0 to classes - 1; "" if there is none."""
    if targets.dtype != torch.int64:
        return f"the targets are {said_type(targets)}, but class numbers are int64: {_remedy(targets)}"
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
        return f"the targets are {said_type(targets)}, but those of a regression are float32: use .float()"
    return ""


def _remedy(targets: Tensor) -> str:
    whole = not targets.is_floating_point() or bool((targets == targets.round()).all())
    return "use .long()" if whole else "these are no whole numbers, perhaps of a regression"
