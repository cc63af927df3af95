"""Data, Examples, Split and Preprocessing: the types in which a dataset describes itself and its splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dlrun.config.options import Resize
from dlrun.data.folds import Fold
from dlrun.data.log_targets import Transform
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree, at, first_of, leaves, mapped, said_shapes
from dlrun.system.progress import Progress

Task = str  # the name of a file in dlrun/task/
Shape = tuple[int, ...]  # without the axis of examples
FarValue = tuple[
    float | str, tuple[float | str, float | str]
]  # a number or a date, and the range of training
Scaling = tuple[float, float] | tuple[tuple[float, ...], tuple[float, ...]]  # of all targets, or of each
_LOOKED_AT = 2**20  # numbers of inputs: a few times as many are in memory, some widened to 8 bytes
EVALUATION_BATCH = 1024  # examples in an evaluation batch; another size changes the last bits
NO_VALID = "there is no validation split"  # the beginning of a note that says why


class Split(Protocol):
    """Some examples of a dataset, on `device`: training, validation or test.

    `aside`, `keys` and `origin` are those of `Examples`, on the CPU; its `weights` (n,) are on the device.
    """

    device: torch.device
    weights: Tensor | None
    aside: Mapping[str, Tensor]
    keys: Tensor | None
    origin: Tensor | None

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tree, Tree]:
        """Preprocessed inputs (*indices.shape, *input shape) and targets (*indices.shape, …).

        The targets carry the weights, should there be any (`dlrun.data.example_weights`).
        """
        ...

    @property
    def targets(self) -> Tensor:
        """All targets (n, …) as the dataset gives them. Raises UserError if they are several tensors."""
        ...

    def targets_at(self, indices: Tensor) -> Tree:
        """The targets (m, …) of some examples, as training sees them, without weights."""
        ...

    def raw(self, indices: Tensor | None = None) -> Tensor:
        """The inputs of some examples (or of all) before preprocessing, on the CPU.

        Raises UserError if an example has several inputs.
        """
        ...

    def raw_tree(self, indices: Tensor) -> Tree:
        """The inputs of some examples before preprocessing, by name if there are several, on the CPU."""
        ...


@dataclass(frozen=True)
class Examples:
    """Raw inputs (n, …), such as uint8 pixels, and targets: classes (n,) int64, or numbers (n, d).

    Several inputs of an example are a dict of tensors (n, …), and so are several targets.

    `aside` holds further columns for pictures and baselines, which the model never sees, (n,) or with a value
    for each target (n, d); "date" is in seconds since 1970.

    With `rows` the inputs are a memory-mapped file: those of example i are inputs[rows[i]], and `digest`
    identifies the file's contents.

    `keys` (n,) int64 identify the examples of data that may grow: equal ones have the same key, and a
    checkpoint keeps those that it was trained on. `origin` (n,) int64 is the number of each example in its
    source, which `Data.name_of` puts into words. One whose `weights` (n,) are 2 counts as two in all that is
    learnt and measured; `Data.weighted` announces them.

    `stored` are images (n, channels, height, width) of which the inputs are the centres: augmentations in
    training may take other parts of them. With `rows` they are in the file as well.
    """

    inputs: Tree
    targets: Tree
    aside: Mapping[str, Tensor] = field(default_factory=dict)
    rows: Tensor | None = None
    digest: str = ""
    keys: Tensor | None = None
    origin: Tensor | None = None
    weights: Tensor | None = None
    stored: Tensor | None = None

    def __len__(self) -> int:
        return len(first_of(self.targets))

    def take(self, indices: Tensor) -> Examples:
        aside = {name: values[indices] for name, values in self.aside.items()}
        rows, keys, origin, weights = (
            None if each is None else each[indices]
            for each in (self.rows, self.keys, self.origin, self.weights)
        )
        inputs, stored = self.inputs, self.stored
        if rows is None:
            inputs, stored = at(inputs, indices), None if stored is None else stored[indices]
        targets = at(self.targets, indices)
        return Examples(inputs, targets, aside, rows, self.digest, keys, origin, weights, stored)

    def raw(self, indices: Tensor) -> Tree:
        """The inputs of some examples."""
        places = indices if self.rows is None else self.rows[indices]
        return mapped(lambda inputs: inputs.index_select(0, places), self.inputs)

    def pieces(self) -> Iterator[Tree]:
        """Yield all inputs in order, in chunks that fit into memory."""
        for indices in torch.arange(len(self)).split(_at_once(self.inputs)):
            yield self.raw(indices)


def in_pieces(split: Split, places: Tensor | None = None) -> Iterator[Tensor]:
    """Yield the indices (m,) of examples of a split, all or some, in pieces that fit into memory."""
    places = torch.arange(len(split)) if places is None else places
    if len(places):
        yield from places.split(_at_once(split.raw_tree(places[:1])))


def _at_once(inputs: Tree) -> int:
    """The examples that are looked at together, of some inputs (n, …): EVALUATION_BATCH, or fewer."""
    numbers = sum(some[:1].numel() for some in leaves(inputs))
    return max(1, min(EVALUATION_BATCH, _LOOKED_AT // max(1, numbers)))


@dataclass(frozen=True)
class NewInputs:
    """Some inputs that were read for prediction, in the order of their file or folder.

    `names` are those of all inputs; `refused` has the reason for each that cannot be predicted, by its place
    among them; `inputs` (m, *input_shape) are those of the others. `columns` are cells of the file beside
    each name, by column, to be carried into the predictions. `far` has for an input, by its place, the
    numbers that lie far outside the training examples, by column, each with the range of these. Dates
    among them are texts.
    """

    names: list[str]
    inputs: Tree
    refused: Mapping[int, str] = field(default_factory=dict)
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    far: Mapping[int, Mapping[str, FarValue]] = field(default_factory=dict)


def as_it_is(training: Examples) -> Preprocessing:
    """No preprocessing, whatever the training examples are."""
    return Preprocessing()


@dataclass(frozen=True)
class Data:
    """A dataset's task, shapes and classes; `read` loads its examples when they are first needed.

    `synthetic` marks examples that are generated, not observed; pictures and the terminal say so.

    `input_shape` is the shape of one input, without the axis of examples; of several inputs it has the shape
    of each by its name. Inputs of `input_dtype` torch.int64, such as token ids, are given to the model as
    whole numbers, others as floats. `vocabulary` has the token of each id. `places` is the shape of the
    targets of one example in tasks with a target at each place: (length,) of a sequence, or (height, width).

    `splits` names the splits that `read` returns, "train" among them. `valid_fraction` of the training
    examples (stratified by class) becomes the split "valid", chosen by `seed`, the same for all copies. With
    a `fold` that fold does; dlrun sets it for a dataset whose function does not take it.
    `fit` derives the preprocessing of every input from the remaining training examples.

    `prepare` does slow work before `read`, such as a download; it is given a function and reports progress
    by iterating over its items through that. `read_new` reads a file for prediction: a name for each
    example, and raw inputs (n, *input_shape); without it, dlrun reads images or CSV rows, depending on
    `input_shape`. It may yield them in pieces, as NewInputs, so that any number of them fits into memory.
    With a name for each target of each example, every target is a row of `dlrun predict`. `read_labelled`
    reads a file or folder with targets, all of it, for `dlrun eval --on`. `name_of` gives the name of an
    example by its number in `Examples.origin`, `name_of_series` that of a series by its number in the column
    "series" of `aside`. `guessed` are options of the dataset that it chose by looking
    at the data: they are recorded in the config.
    `encode` gives the raw input of a text. `decode` gives the text of ids, where the classes at the places
    are the tokens that follow those of the input: then `dlrun predict` continues texts, and `read_new` and
    `encode` give ids of any length. `known` are plain values that a checkpoint stores and that are passed to
    the dataset's function again, if it has a second parameter of that name.
    """

    task: Task
    input_shape: Shape | dict[str, Shape]
    read: Callable[[], Mapping[str, Examples]]
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  # the names of the features
    columns: tuple[str, ...] = ()  # the column of a table that each of them is made from
    date_features: tuple[str, ...] = ()  # those of them that are seconds since 1970
    target: str = ""  # the name of a regression's target
    target_names: tuple[str, ...] = ()  # those of several targets that have names of their own
    unit: str = ""  # of a regression's target, such as °F
    targets: int = 1  # number of targets of each example in a regression
    weighted: bool = False  # its examples have weights
    scaling: Scaling | None = None  # mean and deviation: the loss sees (target - mean) / deviation
    target_transform: Transform | None = None  # the loss sees the log of the target, and `scaling` is of that
    baselines: tuple[str, ...] = ()  # columns (n, d) of `aside` that guess the targets; (n,) if d is 1
    lags: tuple[str, ...] = ()  # features that are earlier values of the targets
    forecasts: bool = False  # targets are the next d values of a series, of which the input is a window
    splits: tuple[str, ...] = ("train", "test")
    fit: Callable[[Examples], Preprocessing | Mapping[str, Preprocessing]] = as_it_is
    valid_fraction: float = 0.0
    fold: Fold | None = None
    seed: int = 0
    synthetic: bool = False
    prepare: Callable[[Progress], None] | None = None
    read_new: Callable[[Path], tuple[list[str], Tensor] | Iterator[NewInputs]] | None = None
    read_labelled: Callable[[Path], Examples] | None = None
    name_of: Callable[[int], str] | None = None
    name_of_series: Callable[[int], str] | None = None
    guessed: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # warnings for the user, complete after `read`
    findings: list[str] = field(default_factory=list)  # how the data were understood, where that was open
    input_dtype: torch.dtype | Mapping[str, torch.dtype] = torch.float32
    vocabulary: tuple[str, ...] = ()
    characters: tuple[int, ...] = ()  # the number of characters of each token, unless each is one
    places: Shape = ()
    autoregressive: bool = False  # each target is the next input, so that a model must not see later ones
    resize: Resize = "pad"  # how images that are read for prediction got the size of an input
    encode: Callable[[str], Tensor] | None = None
    decode: Callable[[Tensor], str] | None = None

    @property
    def shape(self) -> Shape:
        """The shape of the only input; () if there are several."""
        return self.input_shape if isinstance(self.input_shape, tuple) else ()

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each input by its name, which is "" if there is a single one."""
        return {"": self.input_shape} if isinstance(self.input_shape, tuple) else self.input_shape

    @property
    def said_shape(self) -> str:
        """The shape of an input in words, such as `1×28×28`."""
        return said_shapes(self.shapes)

    @property
    def plain_shape(self) -> list[int] | dict[str, list[int]]:
        """`input_shape` as JSON and checkpoints have it."""
        if isinstance(self.input_shape, tuple):
            return list(self.input_shape)
        return {name: list(shape) for name, shape in self.input_shape.items()}

    def has_whole_numbers(self, name: str = "") -> bool:
        """True if the model is given an input as whole numbers, such as token ids."""
        stated = self.input_dtype
        dtype = stated if isinstance(stated, torch.dtype) else stated.get(name, torch.float32)
        return not dtype.is_floating_point

    def made_up(self, n: int, device: str = "cpu") -> Tree:
        """Inputs (n, …) of zeros, in float32 or as whole numbers, to try parts on."""
        zeros = {
            name: torch.zeros(
                n, *shape, dtype=torch.int64 if self.has_whole_numbers(name) else torch.float32, device=device
            )
            for name, shape in self.shapes.items()
        }
        return zeros.get("", zeros)

    def target_suffix(self, number: int) -> str:
        """The words that tell target `number` of several in a regression from the others, such as ` 2`."""
        if self.targets == 1:
            return ""
        return f", {steps_ahead(number + 1)}" if self.forecasts else f" {number + 1}"

    def target_name(self, number: int) -> str:
        """The name of target `number` in a regression, such as `heat`, or `heat, 2 steps ahead`."""
        named = f"{self.target or 'target'}{self.target_suffix(number)}"
        return self.target_names[number] if self.target_names else named

    @property
    def evaluation_split(self) -> str | None:
        """The split that is evaluated during training: valid, or without one test."""
        if self.valid_fraction or self.fold or "valid" in self.splits:
            return "valid"
        return "test" if "test" in self.splits else None


def steps_ahead(steps: int) -> str:
    return f"{steps:,} step{'s' * (steps > 1)} ahead"
