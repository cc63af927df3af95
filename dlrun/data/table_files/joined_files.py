"""Several files of the same columns as one table, named by a list or a pattern such as `data/*.csv`."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlrun.data.table_files.columns import TextColumns
from dlrun.data.table_files.gathered_columns import CellReading, Gathered, MustBeText, Piece
from dlrun.data.table_files.tables import Table
from dlrun.errors import UserError, in_full

_SHOWN = 3  # files that a message names


def files_of(path: Path | Sequence[Path]) -> list[Path]:
    """The files that a path or a list of paths means: itself, or those that match it as a pattern.

    Raises UserError for a pattern that matches none, and for an empty list.
    """
    if not isinstance(path, Path):
        files = list(dict.fromkeys(file for each in path for file in files_of(each)))
        if not files:
            raise UserError("there are no files in the list")
        return files
    if not is_pattern(path):
        return [path]
    matches = glob.glob(str(path), recursive=True)  # noqa: PTH207, it takes absolute patterns
    files = sorted(match for match in map(Path, matches) if match.is_file())
    if not files:
        raise UserError(f"no file matches {in_full(path)}")
    return files


def is_pattern(path: Path) -> bool:
    """True for a path with *, ? or [ that is no file itself."""
    return glob.has_magic(str(path)) and not path.exists()


def joined_table(
    source: str, files: Sequence[Path], read: Callable[[Path, TextColumns], Table], texts: TextColumns
) -> Table:
    """The rows of all files, in their order; `read` gives the table in one, with the texts of some columns.

    Raises UserError if two files have different columns.
    """
    while True:
        tables = [read(file, texts) for file in files]
        first = tables[0]
        for table in tables[1:]:
            _refuse_others(first, table)
        gathered = Gathered(list(first.columns), CellReading(texts=texts))
        starts = []
        for table in tables:
            starts.append((Path(table.source).name, gathered.rows))
            gathered.add(Piece(table.lines, [table.columns[name] for name in first.columns]))
        try:
            columns = gathered.columns()
        except MustBeText as error:
            texts |= error.names
            continue
        lines = [line for table in tables for line in table.lines]
        return Table(source, columns, lines, _notes(tables), _guessed(tables), files=starts)


def _refuse_others(first: Table, table: Table) -> None:
    """Raise UserError if a table has other columns than the first."""
    names, others = Path(first.source).name, Path(table.source).name
    lacks = [name for name in first.columns if name not in table.columns]
    more = [name for name in table.columns if name not in first.columns]
    mistakes = [
        f"{there} has {'columns' if len(some) > 1 else 'a column'} {', '.join(some[:_SHOWN])}"
        f"{', …' if len(some) > _SHOWN else ''}, which {gone} has not"
        for there, gone, some in ((names, others, lacks), (others, names, more))
        if some
    ]
    if mistakes:
        raise UserError("; ".join(mistakes), where=table.source, fix="give all files the same columns")


def _notes(tables: Sequence[Table]) -> list[str]:
    """The notes on all files, and then those on one."""
    names = [Path(table.source).name for table in tables]
    shared = [note for note in tables[0].notes if all(note in table.notes for table in tables)]
    own = [
        f"{name}: {note}"
        for name, table in zip(names, tables, strict=True)
        for note in table.notes
        if note not in shared
    ]
    more = [f"and {len(own) - _SHOWN:,} more such notes"] if len(own) > _SHOWN + 1 else []
    own = own[:_SHOWN] if more else own
    others = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    files = f"{len(tables):,} files are read as one table: {', '.join(names[:_SHOWN])}{others}"
    return [files, *shared, *own, *more]


def _guessed(tables: Sequence[Table]) -> dict[str, Any]:
    """The options that are the same for all files."""
    return {
        key: value
        for key, value in tables[0].guessed.items()
        if all(table.guessed.get(key) == value for table in tables)
    }
