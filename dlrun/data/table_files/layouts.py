"""The layout of a text as a table: separator, decimal sign, names of columns, line of the first row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dlrun.data.table_files.columns import is_number, number, number_with_comma
from dlrun.data.table_files.dialects import (
    SAID,
    Row,
    guessed_separator,
    has_decimal_commas,
    named_separator,
    sample_rows,
    separator_called,
    word_for,
)
from dlrun.data.table_files.headers import Head, head_of
from dlrun.data.table_files.tables import Reading
from dlrun.data.table_files.text_encodings import INVISIBLE, TextFile
from dlrun.errors import UserError

LONGEST_NAME = 1000
_SEEN = 100  # lines in which invisible characters are looked for
_INVISIBLE = re.compile(f"[{INVISIBLE}]")


@dataclass(frozen=True)
class Layout:
    """A file as a table: rows of `width` cells from the line `first` on, nothing behind the last name.

    `header` holds the cells of the line that names the columns, to find it again. `notes` say what was
    guessed, and `guessed` has it as options.
    """

    source: str
    separator: str
    decimal: str
    names: tuple[str, ...]
    first: int
    width: int
    header: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    guessed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def telling(self) -> int | None:
        """The place of a name that is no number, by which the header is known if it is there again."""
        return next((at for at, name in enumerate(self.header) if name and not is_number(name)), None)

    @property
    def read(self) -> Callable[[str], float | None]:
        """Gives the number in a cell."""
        return number_with_comma if self.decimal == "," else number


def layout_of(text: TextFile, reading: Reading) -> Layout:
    """The layout of a text, as far as the options of `reading` do not state it guessed from its beginning.

    Raises UserError for an empty text, and for options or a header that do not fit it.
    """
    source = str(text.file.path)
    notes, guessed = [text.note] if text.note else [], dict[str, Any]()
    if text.note:
        guessed["encoding"] = text.encoding
    named, separator = named_separator(text.sample), ""
    if reading.separator != "auto":
        separator = separator_called(reading.separator)
    else:
        separator = named or guessed_separator(_behind(text.sample, named), is_whole=text.is_short)
        if separator != ",":
            notes.append(f"separated by {SAID[separator]}")
            guessed["separator"] = word_for(separator)
    rows = sample_rows(text.sample, separator, is_whole=text.is_short)
    rows = [row for row in rows if row[0] > 1] if named else rows
    if named:
        notes.append("line 1 (sep=) names the separator: passed over")
    hidden = [1] if text.has_marks else []
    hidden += [at for at, line in enumerate(text.sample.splitlines()[:_SEEN], 1) if _INVISIBLE.search(line)]
    layout = layout_of_rows(rows, source, reading, separator, is_whole=text.is_short, hidden=hidden)
    return replace(layout, notes=(*notes, *layout.notes), guessed=guessed | dict(layout.guessed))


def layout_of_rows(
    rows: Sequence[Row],
    source: str,
    reading: Reading,
    separator: str = "",
    *,
    is_whole: bool,
    hidden: Sequence[int] = (),
) -> Layout:
    """The layout of a table by its first rows; `hidden` are lines with invisible characters."""
    if not rows:
        raise UserError("the file is empty", where=source)
    line = reading.header if isinstance(reading.header, int) else None
    head = head_of(rows, source, is_whole=is_whole, named=line, has_names=reading.header != "none")
    body = [cells for start, cells in rows if start >= head.first]
    if head.names and not body:
        raise UserError("the file has a header but no rows", where=source)
    names, said = _names(head, body, reading, source)
    notes, decimal = [*head.notes, *said], reading.decimal
    is_hidden = any(line < head.first for line in hidden)
    if is_hidden:
        notes.append("invisible characters in the first lines are left out")
    is_plain = not is_hidden and (head.line, list(names)) in rows and head.width == len(names)
    guessed = _guessed_head(head, names, reading, rows[0][0], is_plain=is_plain)
    if decimal == "auto":
        decimal = "," if separator not in ("", ",") and has_decimal_commas(body) else "."
        if decimal == ",":
            notes.append("numbers have decimal commas")
            guessed["decimal"] = ","
    return Layout(
        source, separator, decimal, names, head.first, head.width, head.names, tuple(notes), guessed
    )


def _behind(sample: str, named: str) -> str:
    return sample.split("\n", 1)[-1] if named else sample


def _names(
    head: Head, body: Sequence[Sequence[str]], reading: Reading, source: str
) -> tuple[tuple[str, ...], list[str]]:
    """The names of the columns, each once, and notes on those that the file does not name so."""
    given = ["", *head.names] if head.names_rows else list(head.names) or [""] * head.width
    usual = [cells for cells in body if len(cells) == head.width]
    empty = len(given)
    while (
        empty > 1
        and not given[empty - 1]
        and not any(cells[empty - 1 :] != [""] * len(cells[empty - 1 :]) for cells in usual)
    ):
        empty -= 1  # behind the last name there is nothing
    if not head.names:
        empty = max([len(given) - _trailing(usual), 1])
    given = given[:empty]
    if reading.columns:
        named = distinct_names(given, source)[0] if head.names else ()
        if _name_otherwise(named, reading.columns):
            return named, ["columns names columns of the file at other places: its own names are taken"]
        return given_names(reading.columns, len(given), source), []
    if not head.names:
        count = len(given)
        which = f"c1 to c{count}" if count > 1 else "c1"
        note = (
            f"no line names the columns: they are called {which}"
            if count > 1
            else "no line names the column: it is called c1"
        )
        return tuple(f"c{place}" for place in range(1, count + 1)), [] if reading.header == "none" else [note]
    return distinct_names(given, source)


def _name_otherwise(named: Sequence[str], columns: Sequence[str]) -> bool:
    """True if the names in a file are some of those stated, at other places: its columns were moved."""
    places = {name: place for place, name in enumerate(columns)}
    own = [(place, places[name]) for place, name in enumerate(named) if name in places]
    return bool(own) and (len(named) != len(columns) or any(here != there for here, there in own))


def _trailing(rows: Sequence[Sequence[str]]) -> int:
    """The number of last cells that are empty in all rows."""
    count = 0
    while rows and all(len(cells) > count and not cells[-1 - count] for cells in rows):
        count += 1
    return count


def given_names(columns: Sequence[str], count: int, source: str) -> tuple[str, ...]:
    """The names from the config. Raises UserError if they are not as many as the table has columns."""
    if len(columns) != count:
        names = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
        what = f"columns names {names}, but the table has {count}"
        raise UserError(what, where=source, fix="name each column once, in their order")
    if len(set(columns)) < len(columns) or not all(columns):
        raise UserError("columns names a column twice, or not at all", where=source)
    return tuple(columns)


def distinct_names(given: Sequence[str], source: str) -> tuple[tuple[str, ...], list[str]]:
    """Names of which each is once and none is empty, and notes on those that were changed."""
    notes: list[str] = []
    if long := [place for place, name in enumerate(given, 1) if len(name) > LONGEST_NAME]:
        what = f"the name of column {long[0]} is longer than {LONGEST_NAME:,} characters"
        raise UserError(what, where=source, fix="set header to the line of the names")
    is_quoted = len(given) > 1 and all(len(name) > 2 and name[0] == name[-1] == "'" for name in given if name)
    if is_quoted:
        given = [name[1:-1].strip() for name in given]
        notes.append("quotes (') around the names of columns are left out")
    names: list[str] = []
    doubled: list[str] = []
    unnamed: list[str] = []
    taken, there = set(given), set[str]()
    for place, name in enumerate(given, 1):
        called = name
        if not name:
            called = _free("index" if place == 1 else f"column {place}", taken)
            unnamed.append(f"column {place} has no name: it is called {called}")
        elif name in there:
            called = _free(name, taken)
            doubled.append(f"the name {name[:40]!r} is there again: column {place} is called {called[:44]}")
        taken.add(called)
        there.add(called)
        names.append(called)
    for said in (unnamed, doubled):
        notes += said[:3]
        if len(said) > 3:
            notes[-1] += f"; and so on for {len(said) - 3:,} more"
    return tuple(names), notes


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of `name (2)`, `name (3)`, … that is not taken."""
    number, called = 2, name
    while called in taken:
        called, number = f"{name} ({number})", number + 1
    return called


def _guessed_head(
    head: Head, names: Sequence[str], reading: Reading, top: int, *, is_plain: bool
) -> dict[str, Any]:
    """The options that state the same header for a strict reading.

    `is_plain` is True if the line of the header holds just these names; `top` is the first line of the text.
    """
    guessed: dict[str, Any] = {}
    if not head.names and head.first == top and head.width == len(names):
        guessed = {"header": "none"}
    elif is_plain and not any("units" in note for note in head.notes):
        guessed = {"header": head.line}
    else:
        guessed = {"header": head.first - 1, "columns": list(names)}
    if reading.header != "auto":
        guessed.pop("header", None)
    elif guessed.get("header") == 1:
        del guessed["header"]
    if reading.columns:
        guessed.pop("columns", None)
    return guessed
