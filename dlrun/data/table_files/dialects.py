"""The separator of a table and its decimal sign, guessed from the beginning of its text."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from dlrun.data.table_files.columns import is_number
from dlrun.data.table_files.text_encodings import INVISIBLE
from dlrun.errors import UserError

WHITESPACE = " "  # as a separator: any number of spaces and tabs
SAID = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", WHITESPACE: "spaces"}
_WORDS = {"tab": "\t", "\\t": "\t", "whitespace": WHITESPACE, "space": WHITESPACE}
_SEPARATORS = (",", ";", "\t", "|")
_NAMED = re.compile(
    r'"?sep=(.)"?\s*', re.IGNORECASE
)  # the first line of a file that Excel wrote or shall open
_WITH_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
_WITH_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_TWO_NUMBERS = re.compile(r"[+-]?[\d.,]+\s+[+-]?[\d.,]+")
_MOST = 250  # rows that are judged

Row = tuple[int, list[str]]  # the line on which it begins, and its cells


def rows_of(
    lines: Iterable[str], separator: str, mistaken: Callable[[int, csv.Error], None] | None = None
) -> Iterator[Row]:
    """Yield the rows of a text that are not blank, with their cells stripped.

    `mistaken` is told of each row whose quotes make no sense; without it they are read as well as they can.
    """
    if separator == WHITESPACE:
        lines = (" ".join(line.split()) + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=mistaken is not None)
    line = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if mistaken is None:  # a cell beyond the module's limit
                return
            mistaken(line, error)
            continue
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield line, [cell.strip().strip(INVISIBLE).strip() for cell in cells]


def sample_rows(sample: str, separator: str, *, is_whole: bool) -> list[Row]:
    """The first rows of a sample; the last may go on behind it, unless it is whole."""
    rows = list(rows_of(io.StringIO(sample, newline=""), separator))
    return rows if is_whole else rows[:-1] or rows


def separator_called(word: str) -> str:
    """The separator that a word of a config means. Raises UserError if it is none."""
    separator = _WORDS.get(word.lower(), word)
    if len(separator) != 1 or separator in '"\r\n' or separator.isalnum():
        what = f"separator is {word[:40]!r}, but must be one sign, tab or whitespace"
        raise UserError(what, fix="set separator, such as ';' or tab, or leave it out")
    return separator


def word_for(separator: str) -> str:
    """The word of a config for a separator."""
    return {"\t": "tab", WHITESPACE: "whitespace"}.get(separator, separator)


def named_separator(sample: str) -> str:
    """The separator that a first line such as `sep=;` names, "" if there is none."""
    found = _NAMED.fullmatch(sample.split("\n", 1)[0])
    return found[1] if found and found[1] in _SEPARATORS else ""


def guessed_separator(sample: str, *, is_whole: bool) -> str:
    """The separator that cuts most rows into as many cells, at least two, that hold no other separator."""
    scores = {each: _score(sample, each, is_whole=is_whole) for each in _SEPARATORS}
    best = max(scores, key=lambda each: scores[each])
    is_clear = scores[best] > 1.4  # of 1.5
    return best if is_clear or _score(sample, WHITESPACE, is_whole=is_whole) <= scores[best] else WHITESPACE


def _score(sample: str, separator: str, *, is_whole: bool) -> float:
    """The share of rows with the usual number of cells, and half the share of cells that look like one."""
    rows = [cells for _, cells in sample_rows(sample, separator, is_whole=is_whole)[:_MOST]]
    rows = [cells for cells in rows if not cells[0].startswith("#")] or rows
    width = usual_width(rows)
    if width < 2:
        return 0.0
    usual = [cells for cells in rows if len(cells) == width]
    others = [each for each in _SEPARATORS if each != separator]
    cells = [cell for row in usual for cell in row]
    if separator == WHITESPACE and 2 * sum(map(_is_figure, cells)) < len(cells):
        return 0.0  # words of a text
    return len(usual) / len(rows) + 0.5 * sum(_is_one(cell, others) for cell in cells) / len(cells)


def usual_width(rows: Sequence[Sequence[str]]) -> int:
    """The number of cells that most rows have; of equally usual ones that of later rows."""
    counts = Counter(len(row) for row in rows)
    return max(reversed([len(row) for row in rows]), key=lambda width: counts[width], default=0)


def _is_figure(cell: str) -> bool:
    return is_number(cell) or bool(_WITH_COMMA.fullmatch(cell))


def _is_one(cell: str, others: Sequence[str]) -> bool:
    """True for a cell that no other separator would cut into several, except a number like 3,5."""
    if _WITH_COMMA.fullmatch(cell):
        return True
    return not any(other in cell for other in others) and not _TWO_NUMBERS.fullmatch(cell)


def has_decimal_commas(rows: Iterable[Sequence[str]]) -> bool:
    """True if cells such as 3,5 are more frequent than such as 3.5, and not all may be thousands as 1,070."""
    commas = points = sure = 0
    for row in rows:
        for cell in row:
            if "," in cell and _WITH_COMMA.fullmatch(cell):
                commas += 1
                sure += not _THOUSANDS.fullmatch(cell)
            elif "." in cell and _WITH_POINT.fullmatch(cell):
                points += 1
    return sure > 0 and commas > points
