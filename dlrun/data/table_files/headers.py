"""The line that names the columns of a table, and where its rows begin, guessed from its first rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from dlrun.data.table_files.columns import MISSING, is_number
from dlrun.data.table_files.dialects import Row, usual_width
from dlrun.errors import UserError

COMMENT = "#"
_MOST = 250  # rows that are judged
_CELLS = 20_000  # cells that are judged, except in tables that are wider than this
_NEAR = 10  # rows that tell where a table begins
_SAYS_NOTHING = {*MISSING, "?", "-", "--", ".", "*", "none", "None", "N.A.", "n.a.", "#N/A", "NULL"}
_DATED = re.compile(r"\d{1,4}([-/.:T ]\d{1,4}){1,6}Z?")
_LIKE_UNITS = re.compile(r"[\[(].{0,20}[\])]|[^\d\s]{0,6}|[^\d\s]{1,6}[\^/·*]?.{0,6}")
_YEARS = range(1500, 2200)

Kind = Literal["number", "date", "text", "nothing"]


@dataclass(frozen=True)
class Head:
    """The beginning of a table: the names of columns in the file, () if none, and the line they stand on.

    The rows begin at `first`; they have `width` cells, of which those behind the last name are empty.
    `names_rows` is True if the rows begin with a name of their own, for which the header has none.
    `notes` say what stands before the rows and is passed over.
    """

    names: tuple[str, ...]
    line: int
    first: int
    width: int
    names_rows: bool = False
    notes: tuple[str, ...] = ()


def head_of(rows: Sequence[Row], source: str, *, is_whole: bool, named: int | None, has_names: bool) -> Head:
    """The beginning of a table by its first rows, which are the whole table if `is_whole`.

    `named` is the line of the header, if it is given; `has_names` is False if there is said to be none.
    Raises UserError for a header that names another number of columns than the rows have.
    """
    if named is not None:
        return _head_at(rows, named, source)
    remarks = [row for row in rows if row[1][0].startswith(COMMENT)]
    width = usual_width([cells for _, cells in rows[:_MOST] if not cells[0].startswith(COMMENT)])
    start = _start(rows, width)
    if start == len(rows):  # remarks and nothing else
        return Head((), 0, rows[0][0], len(rows[0][1])) if rows else Head((), 0, 1, 0)
    before = rows[:start]
    if not has_names:
        return Head((), 0, rows[start][0], width, notes=_passed(before, width))
    rest = rows[start:]
    judged = _judged(rest, width, is_whole=is_whole)
    if judged == "count" and len(rest) > 2 and _judged(rest[1:], width, is_whole=is_whole) == "names":
        before, rest, judged = rows[: start + 1], rest[1:], "names"
    if judged == "names":
        return _with_units(Head(tuple(rest[0][1]), rest[0][0], 0, width, notes=_passed(before, width)), rest)
    if judged == "count":
        return Head((), 0, rest[1][0], width, notes=_passed(rows[: start + 1], width))
    if before and (header := _narrower(before[-1], rest, width)) is not None:
        notes = _passed(before[:-1], width)
        names = header if len(header) == width - 1 or header[-1] else header[:-1]
        is_short = len(header) == width - 1 and not _ends_empty(rest, width)
        return _with_units(Head(tuple(names), before[-1][0], 0, width, is_short, notes), rest, ahead=False)
    if before and before[-1] in remarks and (remark := _said(before[-1][1], width)):
        return Head(tuple(remark), before[-1][0], rest[0][0], width, notes=_passed(before[:-1], width))
    _refuse_misfit(before, width, source)
    return Head((), 0, rest[0][0], width, notes=_passed(before, width))


def _start(rows: Sequence[Row], width: int) -> int:
    """The place of the first row of a table of some width; a prose before it may have lines of that width."""
    has_titles = any(sum(map(bool, cells)) > 1 for _, cells in rows[:_MOST])
    fitting = [
        at for at, (_, cells) in enumerate(rows[:_MOST]) if _is_of(cells, width, has_titles=has_titles)
    ]
    if not fitting:
        return len(rows)
    for at in fitting:
        near = [
            cells
            for _, cells in rows[at : at + _NEAR]
            if not cells[0].startswith(COMMENT) and not is_rule(cells)
        ]
        if 10 * sum(len(cells) == width for cells in near) >= 9 * len(near):
            break
    else:
        return fitting[0]
    kinds = _kinds(rows[at:], width)
    figures = [column for column, kind in enumerate(kinds) if kind == "number"]
    for place in fitting:
        if place < at and all(kind_of_cell(rows[place][1][column]) == "number" for column in figures):
            return fitting[0]  # a row stands before it, and those that do not fit are mistakes
    return at


def is_rule(cells: Sequence[str]) -> bool:
    """True for a line that is drawn with signs, such as ---- or =====."""
    text = "".join(cells)
    return len(text) > 2 and not text.strip("-=_+|*~")


def _is_of(cells: Sequence[str], width: int, *, has_titles: bool) -> bool:
    """True for cells that begin a table of some width; a remark or a title in one of many does not."""
    is_title = has_titles and sum(map(bool, cells)) == 1 and (width > 2 or bool(cells[0]))
    return len(cells) == width and not cells[0].startswith(COMMENT) and not is_title


def _head_at(rows: Sequence[Row], named: int, source: str) -> Head:
    """The beginning of a table whose header is on a line that the user names."""
    at = next((at for at, (line, _) in enumerate(rows) if line == named), None)
    if at is None:
        what = f"no row begins on line {named:,}"
        raise UserError(what, where=source, fix="set header to the line of the names, or leave it out")
    names, rest = rows[at][1], rows[at + 1 :]
    width = usual_width([cells for _, cells in rest[:_MOST]]) or len(names)
    if names[0].startswith(COMMENT) and (said := _said(names, width)):
        names = said
    first = rest[0][0] if rest else named + 1
    if any(names[width:]):
        raise _misfit(named, len(names), width, source)
    is_short = len(names) == width - 1 and not _ends_empty(rest, width)
    return Head(tuple(names), named, first, width, is_short)


def _narrower(before: Row, rest: Sequence[Row], width: int) -> list[str] | None:
    """The names on the line before the rows, if it has one cell less or an empty one more than they."""
    cells = before[1]
    is_wider = len(cells) == width + 1 and not cells[-1]
    if not is_wider and len(cells) != width - 1:
        return None
    if cells[0].startswith(COMMENT) or any(is_number(cell) for cell in cells) or not all(cells[: width - 1]):
        return None
    if width == 2 and not is_wider and not _ends_empty(rest, width):
        first = [cells[0] for _, cells in rest]  # one word: a title, unless the rows are numbered or named
        if len(set(first)) < len(first) or " " in cells[0] or is_number(first[0]) != (first[0] in ("0", "1")):
            return None
    return cells


def _ends_empty(rest: Sequence[Row], width: int) -> bool:
    return all(not cells[-1] for _, cells in rest if len(cells) == width)


def _said(remark: Sequence[str], width: int) -> list[str]:
    """The names in a remark such as `# x y`, [] if it holds no such names."""
    names = [remark[0].lstrip(COMMENT).strip(), *remark[1:]]
    names = names if names[0] else names[1:]
    fit = len(names) == width and all(names) and not any(is_number(name) for name in names)
    return names if fit else []


def _refuse_misfit(before: Sequence[Row], width: int, source: str) -> None:
    """Raise UserError for a line before the rows that seems to name columns, but too many or too few."""
    if not before:
        return
    line, cells = before[-1]
    names = [cell for cell in cells if cell and not is_number(cell) and not cell.startswith(COMMENT)]
    if len(names) == len(cells) >= 2 and width / 2 < len(cells) < 2 * width:
        raise _misfit(line, len(cells), width, source)


def _misfit(line: int, columns: int, width: int, source: str) -> UserError:
    """The error for a header with another number of names than the rows have cells."""
    cells = "1 cell" if width == 1 else f"{width} cells"
    what = f"line {line} names {columns} columns, but the rows have {cells}"
    fix = "name each column, put quotes around a cell that holds the separator, or set header: none"
    return UserError(what, where=f"{source}:{line}", fix=fix)


def _passed(before: Sequence[Row], width: int) -> tuple[str, ...]:
    """The notes on lines before the table."""
    remarks = [line for line, cells in before if cells[0].startswith(COMMENT)]
    others = [row for row in before if not row[1][0].startswith(COMMENT)]
    notes = []
    if len(others) == 1:
        line, cells = others[0]
        count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        others_have = f", the others {width}" if len(cells) != width else ""
        notes.append(f"line {line} ({_short(cells)}) has {count}{others_have}: passed over")
    elif others:
        which = f"lines {others[0][0]} to {others[-1][0]}"
        notes.append(f"{which} stand before the table ({_short(others[0][1])}): passed over")
    if remarks:
        are = f"line {remarks[0]} is" if len(remarks) == 1 else f"{len(remarks)} lines before the table are"
        notes.append(
            f"{are} a remark (#): passed over" if len(remarks) == 1 else f"{are} remarks (#): passed over"
        )
    return tuple(notes)


def _short(cells: Sequence[str]) -> str:
    text = ",".join(cells)
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def kind_of_cell(cell: str) -> Kind:
    """The kind of a cell; numbers may have a decimal comma."""
    if cell in _SAYS_NOTHING:
        return "nothing"
    if is_number(cell) or is_number(cell.replace(",", ".", 1)):
        return "number"
    return "date" if _DATED.fullmatch(cell) else "text"


def _kinds(rows: Sequence[Row], width: int) -> list[Kind]:
    """The usual kind of the cells of each column."""
    usual: list[Kind] = []
    some = [cells for _, cells in rows[: max(_NEAR, min(_MOST, _CELLS // width))] if len(cells) == width]
    for column in range(width):
        counts = Counter(kind_of_cell(cells[column]) for cells in some)
        del counts["nothing"]
        usual.append(max(counts, key=lambda kind: counts[kind]) if counts else "nothing")
    return usual


def _judged(rows: Sequence[Row], width: int, *, is_whole: bool) -> Literal["names", "row", "count"]:
    """The meaning of the first row: names, a row like the others, or counts of rows and columns."""
    first, rest = rows[0][1], rows[1:]
    if not rest and all(map(is_number, first)):
        return "row"
    kinds = _kinds(rest, width)
    own = [kind_of_cell(cell) for cell in first]
    unlike = [at for at, kind in enumerate(own) if kind == "text" and kinds[at] in ("number", "date")]
    like = [at for at, kind in enumerate(own) if kind == kinds[at] in ("number", "date")]
    if like and unlike:
        if _is_whole(first[0]) and (
            (is_whole and int(first[0]) == len(rest))
            or (width > 1 and first[1] in (str(width - 1), str(width)))
        ):
            return "count"
        names = [float(first[at]) for at in like if is_number(first[at])]
        rises = len(names) == len(like) and names == sorted(set(names))
        return "names" if rises or len(unlike) > len(like) else "row"
    if unlike:
        return "names"
    texts = [at for at, kind in enumerate(own) if kind == "text" and kinds[at] == "text"]
    if like:
        goes_on = bool(rest) and _follow(rest[0][1], like) and not _are_years(first, like)
        is_counted = _counts(first, like) and not goes_on
        is_counted |= _rises(first, rest, like)
        return "names" if is_counted and not 2 * _repeated(first, rest, texts, width) > len(texts) else "row"
    return "row" if texts and 2 * _repeated(first, rest, texts, width) >= len(texts) else "names"


def _counts(cells: Sequence[str], places: Sequence[int]) -> bool:
    """True if the cells at some places count as names do: from 0 or 1 on, or two years and more."""
    if not _follow(cells, places):
        return False
    first = int(cells[places[0]])
    return _are_years(cells, places) or (first in (0, 1) and len(places) > 2 + first)


def _rises(first: Sequence[str], rest: Sequence[Row], places: Sequence[int]) -> bool:
    """True if the numbers at some places of the first row rise as names of columns do.

    They are years, or stand behind an empty cell above the names of rows and are no values like those below.
    """
    if len(places) < 3 or not _is_rising(first, places):
        return False
    if not first[0] and all(cells[0] for _, cells in rest) and not _lies_among(first, rest, places):
        return True
    return _hold_years(first, places) and not any(
        _hold_years(cells, places) and _is_rising(cells, places) for _, cells in rest
    )


def _lies_among(first: Sequence[str], rest: Sequence[Row], places: Sequence[int]) -> bool:
    """True if most of the numbers at some places of the first row lie within those of their columns below."""
    within = 0
    for at in places:
        below = [float(cells[at]) for _, cells in rest[:_MOST] if at < len(cells) and is_number(cells[at])]
        within += bool(below) and min(below) <= float(first[at]) <= max(below)
    return 2 * within > len(places)


def _is_rising(cells: Sequence[str], places: Sequence[int]) -> bool:
    """True if the cells at some places are numbers of which each is larger than the last."""
    if not all(at < len(cells) and is_number(cells[at]) for at in places):
        return False
    values = [float(cells[at]) for at in places]
    return all(before < after for before, after in pairwise(values))


def _are_years(cells: Sequence[str], places: Sequence[int]) -> bool:
    return len(places) > 1 and _hold_years(cells, places)


def _hold_years(cells: Sequence[str], places: Sequence[int]) -> bool:
    return all(at < len(cells) and _is_whole(cells[at]) and int(cells[at]) in _YEARS for at in places)


def _follow(cells: Sequence[str], places: Sequence[int]) -> bool:
    """True if the cells at some places are whole numbers of which each is one more than the last."""
    if not all(at < len(cells) and _is_whole(cells[at]) for at in places):
        return False
    values = [int(cells[at]) for at in places]
    return values == list(range(values[0], values[0] + len(values)))


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) < 16


def _repeated(first: Sequence[str], rest: Sequence[Row], places: Sequence[int], width: int) -> int:
    """The number of cells at some places of the first row that stand in their columns again."""
    usual = [cells for _, cells in rest[:_MOST] if len(cells) == width]
    return sum(first[at] in {cells[at] for cells in usual} for at in places)


def _with_units(head: Head, rows: Sequence[Row], *, ahead: bool = True) -> Head:
    """The head with the line of the first row behind it; a second header that holds units is passed over."""
    rest = rows[1:] if ahead else rows
    rest = [row for row in rest if not is_rule(row[1])]
    notes, names = head.notes, len(head.names) + head.names_rows
    if len(rest) > 2 and _are_units(rest[0][1], _kinds(rest[1:], head.width)):
        line, cells = rest[0]
        if notes and len(set(cells)) == len(cells) and not any(cell[:1] in ("[", "(") for cell in cells):
            # Below a title the names stand next to the rows: the line above belongs to the title.
            passed = f"line {head.line} ({_short(head.names)}) stands before the names: passed over"
            return _with_units(Head(tuple(cells), line, 0, head.width, notes=(*notes, passed)), rest)
        notes = (*notes, f"line {line} ({_short(cells)}) holds units: passed over")
        rest = rest[1:]
    first = rest[0][0] if rest else head.line + 1
    width = head.width if rest else names
    return Head(head.names, head.line, first, width, head.names_rows, notes)


def _are_units(cells: Sequence[str], kinds: Sequence[Kind]) -> bool:
    """True if no cell in a column of numbers is one, and all are as short as units."""
    if len(cells) != len(kinds):
        return False
    figures = [cell for cell, kind in zip(cells, kinds, strict=True) if kind == "number"]
    others = [cell for cell, kind in zip(cells, kinds, strict=True) if kind != "number"]
    if any(kind_of_cell(cell) in ("number", "date") for cell in figures) or not any(figures):
        return False
    if all(cell in _SAYS_NOTHING for cell in figures) or not all(map(_LIKE_UNITS.fullmatch, cells)):
        return False
    return len(figures) > 1 or not any(cell and cell[0] not in "[(" for cell in others)
