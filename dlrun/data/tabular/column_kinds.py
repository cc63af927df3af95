"""Kinds of columns: numbers, categories and dates, told apart by their cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dlrun.data.table_files.columns import Column, is_number, padded_length, plain_number
from dlrun.data.tabular.dates import ISO, formats_of, formats_of_most, is_date, said_format
from dlrun.data.tabular.number_readings import (
    LARGER_UNIT,
    PLAIN,
    NumberReading,
    chosen_reading,
    decimal_of,
    is_bound,
    is_like_a_number,
    is_too_large,
    readings_of,
)
from dlrun.errors import in_words

# Words for a cell without value, in lower case; + and - before them do not count.
_NOTHING = ("", "inf", "infinity", "none", "nil", "nat", "missing", "unknown", "no data", "not available")
_SHORT = ("n.a.", "n/k", "n.d.", "n/d", "nd", "n.v.", "n/v", "k.a.", "k. a.", "keine angabe", "s/d")
_SIGNS = ("?", ".", "..", "*", "-", "--", "—", "–", "\\n", "<na>")
_OF_SPREADSHEETS = (
    "#n/a",
    "#div/0!",
    "#value!",
    "#ref!",
    "#num!",
    "#name?",
    "#nv",
    "#wert!",
    "#bezug!",
    "#zahl!",
)
MEANT_AS_NOTHING = frozenset((*_NOTHING, *_SHORT, *_SIGNS, *_OF_SPREADSHEETS))
_INDEX = re.compile(
    r"|index|ids?|rows?|row_?id|row_?names?|no|nr|number|obs|observation|case|record|unnamed:.*"
)
_ID = re.compile(r".*(^|[_\s.-])id|.*[a-z]I[dD]|u?uid|key")
_MOST_STRAY = 0.05  # of the cells of a column of few different numbers may hold words
_MOST_WORDS = 3  # different ones
_MANY = 20  # different numbers: words among these are no further categories, however frequent
_LEAST_IDS = 10  # cells: fewer texts that all differ may be categories
_NEARLY_ALL = 0.9
_TRIED = 20  # texts, before all are
_LEAST_DIGITS = 3  # of a code with zeros in front
_FEW = 10  # different whole numbers that may be categories
_ROWS_OF_EACH = 30


@dataclass(frozen=True)
class Kind:
    """The kind of a column, and how its cells are read.

    Numbers are read by `reading`, of which `example` is a cell that shows it; cells that hold one of the
    words `nothing` are missing, and `has_frequent_words` if many do whose word need not mean that. Dates have
    the format `date_format`. A `mistake` says why a column is of no kind, `wrong` is a cell that shows
    it, and `fix` says what helps.
    """

    name: Literal["number", "category", "date", "empty"]
    reading: NumberReading = PLAIN
    example: str = ""
    nothing: tuple[str, ...] = ()
    date_format: str = ISO
    mistake: str = ""
    wrong: str = ""
    fix: str = ""
    has_frequent_words: bool = False


def kind_of(
    column: Column, decimal: str = "", given: NumberReading | None = None, date_format: str = ""
) -> Kind:
    """The kind of a column; `decimal` is the decimal mark of its file, "" if it is not known.

    Numbers are read as `given`, or else by the only reading that fits all of them. Texts are dates by the
    stated `date_format`, or else by the only one that fits them.
    """
    if column.is_date:
        return Kind("date")
    if column.codes is not None and are_codes(column):
        return Kind("category")
    written = _written(column)
    held = {text: count for text, count in written.items() if not is_meant_as_nothing(text)}
    words = tuple(text for text in written if text not in held)
    numbers = np.empty(0) if column.numbers is None else column.numbers[~np.isnan(column.numbers)]
    if not held:
        return Kind("number" if len(numbers) else "empty", nothing=words)
    if not len(numbers) and date_format and _are_dates(held, date_format):
        return _nearly_dates(held, [date_format], words)
    if not len(numbers) and (formats := formats_of(held)):
        if len(formats) > 1:
            return _unclear_dates(held, formats)
        return Kind("date", date_format=formats[0], nothing=words)
    if not len(numbers) and (formats := formats_of_most(held, _NEARLY_ALL)):
        return _nearly_dates(held, formats, words)
    alike = [text for text in held if is_like_a_number(text)]
    stray = [text for text in held if not is_like_a_number(text)]
    strays, cells = sum(held[text] for text in stray), len(numbers) + sum(held.values())
    are_many = len(np.unique(numbers)) + len(alike) >= _MANY
    if bounds := [text for text in stray if is_bound(text)]:
        if not are_many or len(stray) > len(bounds) + _MOST_WORDS:
            return Kind("category")
        count = sum(held[text] for text in bounds)
        said = f"{count:,} cells that only bound" if count > 1 else "a cell that only bounds"
        what = f"holds {said} a number, such as {bounds[0]!r}"
        fix = f"write numbers there, or set na_values: [{_some(bounds)}] to take those for missing"
        return Kind("number", mistake=what, wrong=bounds[0], fix=fix)
    if len(stray) > _MOST_WORDS or (strays > _MOST_STRAY * cells and not are_many):
        return Kind("category")
    if large := next(filter(is_too_large, alike), ""):
        return Kind(
            "number", mistake=f"holds {large!r}, a number beyond float32", wrong=large, fix=LARGER_UNIT
        )
    nothing, are_frequent = (*words, *stray), strays > _MOST_STRAY * cells
    if not alike:
        return Kind("number", nothing=nothing, has_frequent_words=are_frequent)
    found = _unusual_numbers(alike, numbers, decimal, nothing, given)
    return replace(found, has_frequent_words=are_frequent)


def kinds_of(
    columns: Mapping[str, Column],
    numbers: NumberReading,
    decimal: str,
    categorical: Collection[str] = (),
    dates: Collection[str] = (),
    date_format: str = "",
) -> dict[str, Kind]:
    """The kind of each column, categories if it is among `categorical`, dates if it is among `dates`.

    Numbers are read by `numbers` if these are unusual, and dates by `date_format` if it is stated. `decimal`
    is the mark of the file, or "auto" if the columns are to tell it.
    """
    if decimal == "auto":
        alike = (c.texts for c in columns.values() if c.texts and all(map(is_like_a_number, c.texts)))
        decimal = decimal_of(alike)
    given = None if numbers in (PLAIN, NumberReading(",")) else numbers
    found = {
        name: Kind("category") if name in categorical else kind_of(column, decimal, given, date_format)
        for name, column in columns.items()
    }
    for name in {*dates} & found.keys() - {*categorical}:
        if found[name].name not in ("date", "empty"):
            words = tuple(filter(is_meant_as_nothing, _written(columns[name])))
            found[name] = Kind("date", date_format=date_format, nothing=words)
    return found


def is_meant_as_nothing(text: str) -> bool:
    """True if a text is a word for a cell without value, such as `?`, `nil` or `-`."""
    return text.lower() in MEANT_AS_NOTHING or text.lower().lstrip("+-") in MEANT_AS_NOTHING


def labelled_rows(columns: Mapping[str, Column], targets: Iterable[str]) -> np.ndarray:
    """The rows (m,) with a value of every target that is among some columns."""
    there = [~columns[name].missing for name in targets if name in columns]
    n = len(next(iter(columns.values())))
    return np.flatnonzero(np.all(there, 0)) if there else np.arange(n)


def why_useless(name: str, column: Column, kind: Kind, labelled: np.ndarray | None = None) -> str:
    """The reason why nothing can be learnt from a column, "" if something can.

    It has no value or a single text, numbers the rows, or identifies them. `labelled` (m,) are the rows with
    a target.
    """
    if kind.name == "empty":
        return "has no value"
    if labelled is not None and len(labelled) and column.missing[labelled].all():
        return "has no value where there is a target"
    if kind.name == "category":
        texts = column.as_texts()
        different, cells = len(texts.texts), int(texts.counts.sum())
        if different == 1 and cells == len(column):
            return f"is {texts.texts[0][:40]!r} in all rows"
        if nearly_all_differ(different, cells):
            return "all its texts differ" if different == cells else "nearly all its texts differ"
    is_named_id = bool(_ID.fullmatch(name))
    if kind.name != "number" or column.numbers is None or not (is_named_id or _INDEX.fullmatch(name.lower())):
        return ""
    values = column.numbers
    if numbers_the_rows(values):
        return "numbers the rows"
    if is_named_id and len(values) >= _LEAST_IDS and bool((values == np.round(values)).all()):
        different = len(np.unique(values))
        if different >= _NEARLY_ALL * len(values):  # some rows may be there twice
            return "all its numbers differ" if different == len(values) else "nearly all its numbers differ"
    return ""


def nearly_all_differ(different: int, cells: int) -> bool:
    """True if a column has so many different texts in its cells that it identifies the rows."""
    return cells >= _LEAST_IDS and different >= _NEARLY_ALL * cells


def instead_of_an_id(texts: Collection[str], cells: int) -> str:
    """The remedy for a target whose different texts nearly all stand in one cell alone; "" for classes."""
    if not nearly_all_differ(len(texts), cells):
        return ""
    if all(map(is_number, texts)):
        return "for numbers set task: regression"
    return "name another target: this one is different in nearly every row, as an id is"


def numbers_the_rows(values: np.ndarray) -> bool:
    """True if the numbers (n,) of a column count its rows from 0 or 1, but for a few, such as copies."""
    if len(values) < 2 or values[0] not in (0, 1):
        return False
    steps = np.diff(values)
    least = len(steps) if len(steps) < _LEAST_IDS else _NEARLY_ALL * len(steps)
    return bool((steps == 1).sum() >= least and (values == np.round(values)).all())


def are_codes(column: Column) -> bool:
    """True for whole numbers of which some have zeros in front, such as 01067: codes, not quantities.

    Two digits, as of hours and months, are numbers, and so are times such as 0930.
    """
    padded = column.padded if column.codes is None else padded_length(column.texts)
    if column.is_typed or padded < _LEAST_DIGITS:
        return False
    read = column.as_numbers(plain_number)
    assert read.numbers is not None, "it was read as numbers"
    values = read.numbers[~np.isnan(read.numbers)]
    if read.has_fractions or 2 * len(read.odd) > len(values) or (values < 0).any():
        return False
    are_times = padded == 4 and bool(((values < 2400) & (values % 100 < 60)).all())
    return len(values) > 0 and not are_times


def is_few_valued(column: Column) -> bool:
    """True for a column of few different whole numbers, each in many rows, which may stand for categories."""
    if column.numbers is None or column.odd:
        return False
    values = column.numbers[~np.isnan(column.numbers)]
    if len(values) < 3 * _ROWS_OF_EACH or not (values == np.round(values)).all():
        return False
    if np.abs(values).max() >= 2**53:  # different ones may be the same in float64
        return False
    different = len(np.unique(values))
    return 3 <= different <= min(_FEW, len(values) // _ROWS_OF_EACH)


def _written(column: Column) -> dict[str, int]:
    """The number of cells of each text that is no plain number."""
    if column.codes is not None:
        return dict(zip(column.texts, column.counts.tolist(), strict=True))
    return Counter(column.odd.values())


def _are_dates(held: Mapping[str, int], date_format: str) -> bool:
    """True if nearly all cells are dates of a format."""
    texts = list(held)
    if not any(is_date(text, date_format) for text in texts[:_TRIED]):
        return False
    fitting = sum(held[text] for text in texts if is_date(text, date_format))
    return fitting >= _NEARLY_ALL * sum(held.values())


def _nearly_dates(held: Mapping[str, int], formats: Sequence[str], words: tuple[str, ...]) -> Kind:
    """The kind of a column in which most cells are dates of the first of some formats."""
    if len(formats) > 1:
        return _unclear_dates(held, formats)
    others = [text for text in held if not is_date(text, formats[0])]
    wrong = [text for text in others if any(map(str.isdigit, text))]
    if not wrong and len(others) <= _MOST_WORDS:
        return Kind("date", date_format=formats[0], nothing=(*words, *others))
    wrong = wrong or others
    count, form = sum(held[text] for text in wrong), said_format(formats[0])
    said = f"{count:,} cells" if count > 1 else "a cell"
    example = next(text for text in held if text not in others)
    what = f"holds dates such as {example!r}, but also {said} such as {wrong[0]!r}"
    fix = f"write dates as {form}, or set na_values: [{_some(wrong)}] to take those for missing"
    return Kind("date", mistake=what, wrong=wrong[0], fix=fix)


def _unclear_dates(held: Mapping[str, int], formats: Sequence[str]) -> Kind:
    what = f"holds dates such as {next(iter(held))!r}, which {in_words(formats)} read otherwise"
    return Kind("date", mistake=what, fix=f"set date_format, such as {formats[0]!r}")


def _some(texts: Sequence[str]) -> str:
    """Some texts as they stand in a list of an option."""
    return ", ".join(map(repr, texts[:_MOST_WORDS])) + ", …" * (len(texts) > _MOST_WORDS)


def _unusual_numbers(
    texts: Sequence[str],
    numbers: np.ndarray,
    decimal: str,
    nothing: tuple[str, ...],
    given: NumberReading | None,
) -> Kind:
    """The kind of a column with texts that each look like a number, beside plain `numbers` (m,)."""
    example = max(texts, key=len)
    fitting = given if given and given.reads(texts) else None
    reading = fitting if given else chosen_reading(texts, decimal)
    if reading and reading.decimal == "," and not decimal and not (numbers == np.round(numbers)).all():
        reading = None
    if any("%" in text for text in texts) and reading:
        bare = [reading.read(text) for text in texts if "%" not in text]
        if any(bare) or numbers.any():
            what = f"holds percentages such as {example!r} beside other numbers"
            return Kind("number", mistake=what, fix="write all of them with %, or none")
    if reading:
        return Kind("number", reading, example, nothing)
    if not len(numbers) and not all(readings_of([text]) for text in texts):
        return Kind("category")  # such as versions: 1.2.3
    what = f"holds numbers such as {example!r}, which no single reading fits"
    return Kind("number", mistake=what, fix="set decimal and thousands, or write numbers as 1234.5")
