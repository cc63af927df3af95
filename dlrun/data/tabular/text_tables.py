"""A table with a column of texts as a dataset: their tokens as ids, by a vocabulary that checkpoints keep."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlrun.data.examples import Data, Examples
from dlrun.data.placement import Placement, Rows
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import ELSEWHERE, RowNames, Table
from dlrun.data.tabular.cells import Cells
from dlrun.data.tabular.encoding import TableOptions, remembered_scaling
from dlrun.data.tabular.fitting import unlearnable_classes
from dlrun.data.tabular.inputs import scaling_of, targets_of
from dlrun.data.tabular.parsing import classes_of, without_trouble
from dlrun.data.tabular.refusals import (
    other_targets,
    refuse_constant_target,
    refuse_contradictions,
    refuse_missing_columns,
    refuse_text,
    refuse_unlabelled,
)
from dlrun.data.tabular.row_keys import row_keys
from dlrun.data.tabular.splits import rows_of_splits
from dlrun.data.text.texts import Tokens, distinct_texts, read_lines, tokens_of
from dlrun.errors import UserError

PADDING, UNKNOWN = "", "<unknown>"  # the tokens of the ids 0 and 1
_MOST_IDS = 2**28  # in all texts together: 2 GiB
_TABLES = (".csv", ".csv.gz")


@dataclass(frozen=True)
class TextTableOptions:
    """The options of a table of texts (documented in `dlrun.dataset.text_table.text_table`)."""

    text: str
    tokens: Tokens
    lowercase: bool
    length: int
    vocabulary: int
    table: TableOptions  # those of the target and of the splits

    def cut(self, text: str) -> list[str]:
        """The tokens of a text, all of them."""
        return tokens_of(text, self.tokens, lowercase=self.lowercase)


@dataclass(frozen=True)
class _Encoding:
    """The tokens by their ids, and the target as it was in training."""

    vocabulary: tuple[str, ...]
    classes: tuple[str, ...]
    scaling: tuple[float, float] | None
    placement: Placement | None

    @classmethod
    def remembered(cls, known: Mapping[str, Any], options: TextTableOptions) -> _Encoding:
        """The encoding in a checkpoint. Raises ValueError, TypeError or KeyError if it is malformed.

        Raises UserError for options that would change it.
        """
        vocabulary, classes = distinct_texts(known["vocabulary"]), distinct_texts(known["classes"])
        if vocabulary[:2] != (PADDING, UNKNOWN):
            raise ValueError("the stored vocabulary begins with other tokens")
        scaling = remembered_scaling(known["scaling"])
        mistakes = other_targets(options.table, classes, scaling)
        for key, value in (("tokens", options.tokens), ("lowercase", options.lowercase)):
            if known[key] != value:
                mistakes.append(f"the model was not trained with {key}: {str(value).lower()}")
        if mistakes:
            raise UserError("; ".join(mistakes))
        placed = known.get("placement")
        return cls(vocabulary, classes, scaling, Placement.remembered(placed) if placed else None)

    def known(self, options: TextTableOptions) -> dict[str, Any]:
        """The encoding as plain values, for a checkpoint."""
        return {
            "vocabulary": list(self.vocabulary),
            "classes": list(self.classes),
            "scaling": list(self.scaling) if self.scaling else None,
            "tokens": options.tokens,
            "lowercase": options.lowercase,
            "placement": self.placement.known() if self.placement else {},
        }

    def ids(self, texts: list[str], options: TextTableOptions, source: str, notes: list[str]) -> Tensor:
        """The ids (n, length) of some texts; what is behind the last place is left out, and noted."""
        if len(texts) * options.length > _MOST_IDS:
            what = f"{len(texts):,} texts of {options.length:,} tokens take more than 2 GiB"
            raise UserError(what, where=source, fix="set a smaller length")
        places = {token: place for place, token in enumerate(self.vocabulary)}
        unknown, flat, cut = places[UNKNOWN], array("q"), 0
        for text in texts:
            tokens = options.cut(text)
            own = [places.get(token, unknown) for token in tokens[: options.length]]
            flat.extend(own)
            flat.extend(repeat(places[PADDING], options.length - len(own)))
            cut += len(tokens) > options.length
        if cut:
            are = "text has" if len(texts) == 1 else "texts have"
            more = f"more than {options.length:,} tokens, of which the first are taken"
            notes.append(f"{cut:,} of {len(texts):,} {are} {more}")
        return torch.frombuffer(flat, dtype=torch.int64).clone().view(len(texts), options.length)


def text_table_data(
    read: Callable[[], Table], options: TextTableOptions, known: Mapping[str, Any] | None
) -> Data:
    """A table of texts as a dataset. Without `known` it is read at once, for the vocabulary depends on it.

    Raises UserError for options that contradict each other, the table or the model; ValueError, TypeError or
    KeyError for a malformed `known`.
    """
    refuse_contradictions(options.table)
    if options.text == options.table.target:
        raise UserError(f"{options.text} is the target, and cannot be the text too")
    if known is None:
        dataset = _learnt(read(), options)
    else:
        dataset = _Dataset(options, _Encoding.remembered(known, options))
    table, encoding = options.table, dataset.encoding
    return Data(
        task=table.task,
        input_shape=(options.length,),
        read=partial(dict, dataset.splits) if dataset.splits else partial(dataset.read, read),
        classes=encoding.classes,
        target=table.target,
        unit=table.unit,
        scaling=encoding.scaling if table.scale_target else None,
        splits=encoding.placement.splits if encoding.placement else table.splits,
        read_new=dataset.read_new,
        read_labelled=dataset.read_labelled,
        name_of=dataset.names,
        known=encoding.known(options),
        notes=dataset.notes,
        findings=dataset.findings,
        input_dtype=torch.int64,
        vocabulary=encoding.vocabulary,
        encode=dataset.encode,
    )


@dataclass
class _Dataset:
    """The rows of a table as examples, by an encoding."""

    options: TextTableOptions
    encoding: _Encoding
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    splits: dict[str, Examples] = field(default_factory=dict)
    names: RowNames = field(default_factory=RowNames)

    def read(self, read: Callable[[], Table]) -> dict[str, Examples]:
        """All splits of a table."""
        table = read()
        cells = _cells(table, self.options, self.notes)
        placement = self.encoding.placement
        rows, _ = rows_of_splits(cells, self.options.table, len(table), self.notes, placement)
        self.names.own = table.place
        return self.examples(cells, rows)

    def read_labelled(self, path: Path) -> Examples:
        """All rows of a file with their targets. Raises UserError if it has no target, or another class."""
        table = read_table(path, self.options.table.reading, [self.options.text, *self.options.table.texts])
        refuse_unlabelled(table, self.options.table)
        cells = _cells(table, self.options, self.notes)
        self.names.other = table.place
        return self.examples(cells, {"all": np.arange(len(cells))}, ELSEWHERE)["all"]

    def read_new(self, path: Path) -> tuple[list[str], Tensor]:
        """Read the texts of a CSV file with that column (`row 2`), or the lines of another (`line 1`)."""
        options = self.options
        if path.name.lower().endswith(_TABLES):
            table = read_table(path, options.table.reading, [options.text])
            refuse_missing_columns(table, [options.text])
            cells = Cells.of(table)
            cells.read_texts(table, options.text)
            cells = without_trouble(cells, options.table, self.notes, labelled=False, fillable=False)
            names, texts = cells.names(), cells.texts[options.text].cells()
        else:
            lines = read_lines(path)
            names, texts = [f"line {number}" for number, _ in lines], [text for _, text in lines]
        return names, self.encoding.ids(texts, options, str(path), self.notes)

    def encode(self, text: str) -> Tensor:
        """The ids (length,) of a text on the command line. Raises UserError for one that is empty."""
        if not text.strip():
            raise UserError("the text is empty")
        return self.encoding.ids([text.strip()], self.options, "", self.notes)[0]

    def examples(self, cells: Cells, rows: Rows, first: int = 0) -> dict[str, Examples]:
        """The examples of each split, in the order of its rows, which are numbered from `first` on."""
        texts, options = cells.texts[self.options.text].cells(), self.options
        ids = self.encoding.ids(texts, options, cells.source, self.notes)
        targets = targets_of(cells, options.table, self.encoding.classes)
        origin = None if cells.rows is None else torch.from_numpy(cells.rows).long() + first
        whole = Examples(ids, targets, keys=cells.keys, origin=origin)
        return {name: whole.take(torch.from_numpy(some)) for name, some in rows.items()}


def _learnt(table: Table, options: TextTableOptions) -> _Dataset:
    """Choose the vocabulary from the training rows of a table, and encode all its splits."""
    notes: list[str] = []
    cells = _cells(table, options, notes)
    classes = classes_of(cells, options.table)
    rows, placement = rows_of_splits(cells, options.table, len(table), notes)
    training = cells.take(rows["train"])
    scaling = scaling_of(training.numbers.get(options.table.target))
    refuse_constant_target(scaling, options.table, table.source)
    notes += unlearnable_classes(training, classes, options.table)
    texts = training.texts[options.text].cells()
    vocabulary = most_frequent(map(options.cut, texts), options.vocabulary)
    placed = placement if options.table.split_rule == "hash" else None
    encoding = _Encoding((PADDING, UNKNOWN, *vocabulary), classes, scaling, placed)
    dataset = _Dataset(options, encoding, notes, [*table.notes], names=RowNames(table.place))
    dataset.splits = dataset.examples(cells, rows)
    return dataset


def most_frequent(texts: Iterable[list[str]], most: int) -> list[str]:
    """The most frequent tokens of some texts, the more frequent first, of equal ones in their order."""
    counts = Counter[str]()
    for tokens in texts:
        counts.update(tokens)
    return sorted(counts, key=lambda token: (-counts[token], token))[:most]


def _cells(table: Table, options: TextTableOptions, notes: list[str]) -> Cells:
    """The texts and targets of a table. Raises UserError for a missing column or a cell without value."""
    target = options.table.target
    refuse_missing_columns(table, [options.text, target])
    cells = Cells.of(table)
    cells.read_texts(table, options.text)
    if options.table.has_classes:
        cells.read_texts(table, target)
    else:
        cells.read_numbers(table, target)
    cells.keys = row_keys({name: table.columns[name] for name in (options.text, target)})
    refuse_text(cells, table, options.table, [])
    return without_trouble(cells, options.table, notes, fillable=False)
