"""Configs to begin with, written for the data at hand: a table, a folder of images, or generated points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from dlrun.config.dumping import dump_scalar, in_one_line
from dlrun.config.keys import Choice
from dlrun.config.registry import Parts
from dlrun.data.image_files.finding import SUFFIXES
from dlrun.data.image_files.layout import Layout, Listing
from dlrun.data.image_files.reading import Unreadable, read_image, upright_size
from dlrun.data.table_files.columns import Column
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.column_kinds import Kind, is_few_valued, why_useless
from dlrun.data.tabular.refusals import refuse_missing_columns
from dlrun.errors import UserError, first_few, one_line
from dlrun.results.table_columns import ColumnFacts, grouped, read_columns, table_facts
from dlrun.training.named_parts import part_named

_TARGETS = ("target", "label", "class", "y")  # names of columns, in lower case
_MOST_COLUMNS = 60  # lines of columns in a config
_MOST_SHOWN = 40  # letters of a name or a value in a comment
_EXAMPLES_IN_ALL = 200_000  # that training sees by default, if the data is neither tiny nor huge
_FEWEST_OF_EACH = 20  # examples of a class, of which some are surely for validation
_SIDES = (32, 64, 96, 128)  # of images, in pixels
_WORDS_OF_A_TEXT = 4  # from which on it is none of a name
_SAMPLED = 24  # images, by which sizes and colours are judged
_COMMENTS_FROM = 44  # the column at which comments begin, if the line is no longer

_ANOTHER = "name another column with --target"

_Line = tuple[str, str]  # a line of YAML and its comment
_LOSS_OF_CLASSES: _Line = ("loss: cross_entropy", "of the probabilities of the classes")
_METRICS_OF_CLASSES: _Line = ("metrics: [accuracy, f1]", "f1 counts rare classes as much as frequent ones")


@dataclass(frozen=True)
class Starter:
    """A commented config, and in lines what was found and chosen."""

    text: str
    findings: tuple[str, ...] = ()


def spiral_starter() -> Starter:
    """A config for generated points in the plane, which needs no data and trains in seconds."""
    lines: list[_Line] = [
        ("dataset:", "yours: `dlrun init my.csv`, `dlrun init photos/`"),
        ("  name: spiral", "three spiral arms in the plane, one for each class"),
        ("  points: 300", "of each class"),
        ("  noise: 0.2", "the more, the harder; in radians"),
        ("  valid_fraction: 0.1", "of the training points: they choose the best epoch"),
        *_mlp([64, 64], dropout=0.0),
        _LOSS_OF_CLASSES,
        *_training(rate=0.01, epochs=150, batch_size=64, patience=50),
        ("metrics: [accuracy]", "measured beside the loss"),
        *_endings(),
    ]
    return Starter(_config(["Three spiral arms in the plane, told apart by a small network."], lines))


def table_starter(path: str, data_dir: Path, target: str | None = None) -> Starter:
    """A config for the table at a path, whose `target` is a column, or else guessed.

    Raises UserError if no table can be read there, or nothing in it can be predicted.
    """
    options = Parts().part("dataset", "csv").defaults | {"path": path}
    table, kinds = read_columns(Choice("csv", options | {"target": []}), data_dir)
    if target is None:
        name, why = _guessed_target(table, kinds)
    else:
        _refuse_target(target, table, kinds)
        name, why = target, "as named"
    are_classes = _are_classes(table.columns[name], kinds[name])
    task = "classification" if are_classes else "regression"
    facts = table_facts(Choice("csv", options | {"target": name, "task": task}), data_dir)
    assert facts is not None, "csv is a table"
    learnt = "one of its classes is predicted" if are_classes else "its numbers are predicted"
    batch_size = 64 if facts.rows < 20_000 else 256 if facts.rows < 200_000 else 1024
    epochs = _epochs(facts.rows)
    classes = next(each.different for each in facts.columns if each.is_target) if are_classes else 1
    lines: list[_Line] = [
        ("dataset:", "`dlrun data` shows how it is read; options: `dlrun parts csv`"),
        ("  name: csv", ""),
        (f"  path: {dump_scalar(path)}", ""),
        (f"  target: {dump_scalar(name)}", f"{why}; take the column that you want to predict"),
        (f"  task: {task}", learnt),
        *_dates(facts.columns),
        ("  test_fraction: 0.2", "of the rows: never seen in training"),
        ("  valid_fraction: 0.1", "of the rest: they choose the best epoch"),
        *_mlp([128, 64], dropout=0.1),
        _LOSS_OF_CLASSES if are_classes else ("loss: mse", "the squared error; l1 is less moved by outliers"),
        *_training(
            rate=1e-3,
            epochs=epochs,
            batch_size=batch_size,
            patience=max(5, epochs // 5),
            is_validated=facts.rows >= _FEWEST_OF_EACH * classes
            and _has_valid(options | {"target": name, "task": task}, data_dir),
        ),
        _METRICS_OF_CLASSES
        if are_classes
        else ("metrics: [mae, rmse, r2]", "errors in the target's unit, and the share that is explained"),
        *_endings(),
    ]
    shown = one_line(path)
    head = [
        f"Predict {_short(name)} from the other columns of {shown}.",
        "",
        *_columns(shown, facts.columns, facts.rows),
    ]
    findings = [f"{shown}: {facts.rows:,} rows, {len(table.columns):,} columns"]
    findings.append(f"target: {_short(name)}, {why}; {task}: {learnt}")
    texts = [each for each in table.columns if each != name and _are_texts(table.columns[each])]
    for text in texts[:1] if are_classes else ():
        fields = {"name": "text_table", "path": path, "text": text, "target": name}
        written = f"dataset: {in_one_line(fields)}, with architecture: embedding_bag"
        findings.append(f"{_short(text)} holds texts, which a model of texts can read: {written}")
    return Starter(_config(head, lines), tuple(findings))


def _are_texts(column: Column) -> bool:
    """True if the cells of a column are mostly different texts of several words."""
    if column.codes is None:
        return False
    words = [len(text.split()) for text in column.texts]
    return len(words) > column.codes.size / 2 and median_low(words) >= _WORDS_OF_A_TEXT


def image_starter(path: str, folder: Path) -> Starter:
    """A config for a folder of images, found at `folder`, with a folder for each class in it.

    Raises UserError if there are no such folders, or a class has no image.
    """
    layout = Layout.of(folder)
    classes = layout.classes()
    listing = Listing.of(layout, classes, SUFFIXES)
    counts = Counter(listing.splits)
    of_each = Counter(
        label for split, label in zip(listing.splits, listing.labels, strict=True) if split == "train"
    )
    is_validated = "valid" in counts or min(of_each.values()) >= _FEWEST_OF_EACH
    size, has_colour = _size_and_colour(listing.files)
    epochs = min(60, max(10, _epochs(counts["train"]) // 2))
    lines: list[_Line] = [
        ("dataset:", "`dlrun data` shows some images; options: `dlrun parts image_folder`"),
        ("  name: image_folder", ""),
        (f"  path: {dump_scalar(path)}", ""),
        (f"  size: {size}", "pixels of a side; more shows more, and takes longer"),
        ("  resize: crop", "cuts off what is beyond a square; pad keeps all of it, with black edges"),
        (f"  colour: {str(has_colour).lower()}", "true reads red, green and blue; false one channel of grey"),
        *_fractions(counts),
        ("# augmentations: [flip, {name: crop}]", "more variety, if mirrored images mean the same"),
        ("architecture:", "the model; others: `dlrun parts architecture`"),
        ("  name: cnn", ""),
        ("  channels: [32, 64, 128]", "kernels of each convolution"),
        ("  kernel_size: 3", "pixels"),
        ("  padding: 1", "pixels"),
        ("  batch_norm: true", "faster learning"),
        _LOSS_OF_CLASSES,
        *_training(
            rate=1e-3, epochs=epochs, batch_size=32, patience=max(5, epochs // 3), is_validated=is_validated
        ),
        _METRICS_OF_CLASSES,
        *_endings(),
    ]
    shown = one_line(path)
    several = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    of_splits = f" ({several})" if len(counts) > 1 else ""
    said = f"{len(listing.files):,} images of {len(classes):,} classes"
    head = [
        f"Tell apart the images in {shown}: {said}{of_splits}.",
        f"The classes: {first_few([_short(name) for name in classes], 12)}.",
    ]
    return Starter(_config(head, lines), (f"{shown}: {said}", f"size: {size} pixels, {_colours(has_colour)}"))


def _has_valid(options: dict[str, Any], data_dir: Path) -> bool:
    """True if a validation split can be made of a table: where few rows differ, equal ones stand together."""
    held_out = {"test_fraction": 0.2, "valid_fraction": 0.1}
    try:
        data = part_named(Parts(), "dataset", Choice("csv", options | held_out))(data_dir, None)
    except UserError:  # said when the config is tried
        return True
    return bool(data.evaluation_split == "valid")


def _config(head: Sequence[str], lines: Sequence[_Line]) -> str:
    """The text of a config: a comment at its top, and lines of YAML with a comment each."""
    top = [f"# {line}".rstrip() for line in head]
    body = [f"{yaml.ljust(_COMMENTS_FROM)}  # {comment}" if comment else yaml for yaml, comment in lines]
    next_one = "# `dlrun train` trains it; then `dlrun eval last` judges the best epoch on the test split."
    more = "# All keys and parts: `dlrun parts`; the meaning of a part's options: `dlrun parts adamw`."
    editor = "# Completion and checks in an editor: `dlrun schema -o config.schema.json` says how."
    return "\n".join([*top, "", *body, "", next_one, more, editor]) + "\n"


def _mlp(hidden: Sequence[int], dropout: float) -> list[_Line]:
    return [
        ("architecture:", "the model; others: `dlrun parts architecture`"),
        ("  name: mlp", ""),
        (f"  hidden: {[*hidden]}", "units of each hidden layer"),
        ("  activation: relu", "tanh, gelu and others bend the outputs in another way"),
        (f"  dropout: {dropout}", "more of it works against learning by heart"),
    ]


def _training(
    *, rate: float, epochs: int, batch_size: int, patience: int, is_validated: bool = True
) -> list[_Line]:
    """The lines of the optimization; `is_validated` if there are surely examples to validate on."""
    return [
        (f"optimizer: {{name: adamw, lr: {rate}}}", "lr, the learning rate, is the first thing to vary"),
        ("# schedule: {name: cosine, warmup: 0.05}", "lets the learning rate fall to 0 over the run"),
        (f"epochs: {epochs}", "passes over the training set at most"),
        (f"batch_size: {batch_size}", "examples in a step"),
        (
            "monitor: valid_loss" if is_validated else "# monitor: valid_loss",
            "the column that chooses best.pt, by its lowest value",
        ),
        (f"patience: {patience}", "training ends if so many epochs bring no better one"),
    ]


def _endings() -> list[_Line]:
    return [
        ("plots: [auto]", "the pictures that suit the task"),
        ("seeds: [0]", "[0, 1, 2] trains three models, and shows how much is chance"),
        ("device: auto", "an accelerator, if there is one"),
    ]


def _epochs(examples: int) -> int:
    """Epochs in which training sees a useful number of examples in all."""
    return min(200, max(10, round(_EXAMPLES_IN_ALL / max(1, examples))))


def _refuse_target(target: str, table: Table, kinds: Mapping[str, Kind]) -> None:
    """Raise UserError if a column that is named as the target cannot be predicted."""
    refuse_missing_columns(table, [target])
    kind = kinds[target]
    if wrong := kind.mistake or why_useless(target, table.columns[target], kind):
        raise UserError(f"{_short(target)} {wrong}", where=table.source, fix=kind.fix or _ANOTHER)
    if kind.name == "date":
        what = f"{_short(target)} holds dates, which are not predicted"
        raise UserError(what, where=table.source, fix=_ANOTHER)


def _guessed_target(table: Table, kinds: Mapping[str, Kind]) -> tuple[str, str]:
    """The column to predict and the reason for it: one that is called so, or else the last one."""
    useful = [
        name
        for name, column in table.columns.items()
        if kinds[name].name in ("number", "category")
        and not kinds[name].mistake
        and not why_useless(name, column, kinds[name])
    ]
    if len(table.columns) < 2 or not useful:
        what = "there is nothing to predict" if useful else "no column can be predicted from others"
        fix = "name a table with a column to predict and others to predict it from"
        if len(table.columns) == 1:
            fix += "; a text is continued by dataset: {name: text_file}, a series by {name: windows}"
        raise UserError(what, where=table.source, fix=fix)
    for name in reversed(useful):
        if name.casefold() in _TARGETS:
            return name, "by its name"
    is_last = useful[-1] == [*table.columns][-1]
    return useful[-1], "the last column" if is_last else "the last column that can be predicted"


def _are_classes(column: Column, kind: Kind) -> bool:
    """True if a column is predicted as classes: texts, two numbers, or few whole numbers."""
    if kind.name != "number" or column.numbers is None or column.odd:
        return kind.name != "number"
    return is_few_valued(column) or len(np.unique(column.numbers[~np.isnan(column.numbers)])) == 2


def _dates(columns: Sequence[ColumnFacts]) -> Iterator[_Line]:
    """A line for a date, which changes the split, to be uncommented."""
    for name in [each.name for each in columns if each.kind == "date" and not each.remark][:1]:
        yield f"  # date: [{dump_scalar(name)}]", "dates the rows: then the last ones are for the test"


def _fractions(counts: Counter[str]) -> Iterator[_Line]:
    if "test" not in counts:
        share = 0.0 if "valid" in counts else 0.2
        yield f"  test_fraction: {share}", "of the images of each class: never seen in training"
    if "valid" not in counts:
        rest = "the training images" if "test" in counts else "the rest"
        yield "  valid_fraction: 0.1", f"of {rest}: they choose the best epoch"


def _columns(path: str, columns: Sequence[ColumnFacts], rows: int) -> Iterator[str]:
    """The columns of a table in lines: name, kind and what is in it."""
    lines = [*grouped(columns)]
    yield f"The columns of {path}, of {rows:,} rows:"
    shown = [(_short(each.name), _said_kind(each), _said(each)) for each in lines[:_MOST_COLUMNS]]
    widths = [max(len(cells[place]) for cells in shown) for place in (0, 1)]
    for name, kind, said in shown:
        yield f"  {name.ljust(widths[0])}  {kind.ljust(widths[1])}  {said}"
    if len(lines) > len(shown):
        yield f"  and {len(lines) - len(shown):,} more"


def _said_kind(column: ColumnFacts) -> str:
    return f"{column.count:,} {column.kind}s" if column.count > 1 else column.kind


def _said(column: ColumnFacts) -> str:
    """The values of a column in words."""
    said = []
    if column.is_target:
        said.append("the target")
    if column.kind == "category":
        often = f", most often {_short(column.usual)} ({column.share:.0%})" if column.usual else ""
        said.append(f"{column.different:,} different{often}")
    elif column.low:
        said.append(f"{_short(column.low)} to {_short(column.high)}")
    if column.missing:
        said.append(f"{column.missing:,} missing")
    if column.remark and not column.is_target and column.count == 1:
        said.append(f"left out: {column.remark}")
    return ", ".join(said)


def _size_and_colour(files: Sequence[str]) -> tuple[int, bool]:
    """The side to resize images to, and if they have colours, by some of them."""
    places = np.linspace(0, len(files) - 1, min(len(files), _SAMPLED)).astype(int)
    some = [files[place] for place in places]
    sides = [min(size) for size in map(upright_size, some) if size]
    usual = median_low(sides) if sides else _SIDES[1]
    return max((side for side in _SIDES if side <= usual), default=_SIDES[0]), any(map(_has_colour, some))


def _has_colour(file: str) -> bool:
    try:
        pixels = read_image(file, 8, 8, 3, "stretch")
    except Unreadable:
        return False
    return bool((pixels != pixels[:1]).any())


def _colours(has_colour: bool) -> str:
    return "in colour" if has_colour else "grey"


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
