"""Cache of parsed tables: a large file is parsed once into a file of columns, which later runs memory-map."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from dlrun.data.checked_index import read_index, write_index
from dlrun.data.table_files.columns import Column
from dlrun.data.table_files.gathered_columns import Memory, Store
from dlrun.data.table_files.tables import Table
from dlrun.errors import RunFailed
from dlrun.system.files import put_in_place
from dlrun.system.locks import alone, remove_unless_in_use
from dlrun.system.progress import no_progress

CACHE = "tables"  # the folder of all parsed tables in the data folder
FORMAT = 2  # of the cache; a table cached in another format is parsed again
_WIDTH = 8  # bytes of a cell
_PIECE = 2**16  # rows that are written at once

StoreOf = Callable[[int, int], Store]  # the number of columns, and of rows at most


@dataclass
class FileStore:
    """A store in a file: columns one after the other, each with room for `rows` cells of 8 bytes."""

    file: IO[bytes]
    columns: int
    rows: int
    _map: np.ndarray | None = field(default=None, repr=False)

    def keep(self, column: int, start: int, values: np.ndarray) -> np.ndarray:
        for first in range(0, len(values), _PIECE):
            piece = np.ascontiguousarray(values[first : first + _PIECE])
            self.file.seek((column * self.rows + start + first) * _WIDTH)
            self.file.write(piece.view(np.uint8).data)
        return self._mapped(column)[start : start + len(values)]

    def kept(self, column: int, rows: int) -> np.ndarray:
        return self._mapped(column)[:rows]

    def holds(self, values: np.ndarray) -> bool:
        """True for values that are in the file."""
        return self._map is not None and np.may_share_memory(values, self._map)

    def _mapped(self, column: int) -> np.ndarray:
        self.file.flush()
        if self._map is None:
            self.file.truncate(self.columns * self.rows * _WIDTH)
            self._map = np.memmap(self.file.name, np.float64, "r", shape=(self.columns, self.rows))
        mapped: np.ndarray = self._map[column]
        return mapped


@dataclass(frozen=True)
class Parsing:
    """A file and the options by which it is read; `folder` is its place in the cache."""

    path: Path
    options: Mapping[str, Any]
    parent: Path

    @property
    def source(self) -> str:
        return str(self.path.resolve())

    @property
    def state(self) -> list[int]:
        """The state of the file, which another content would change."""
        status = self.path.stat()
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino]

    @property
    def folder(self) -> Path:
        said = json.dumps([FORMAT, self.source, self.state, dict(self.options)], sort_keys=True, default=str)
        return self.parent / hashlib.sha256(said.encode()).hexdigest()[:32]


def parsed_once(parsing: Parsing, read: Callable[[StoreOf], Table]) -> Table:
    """The table in a file: memory-mapped from the cache, after `read` if needed.

    An incomplete cache of a killed process is not used, nor one that fails its digest. Where the cache
    cannot be written, the table is read into memory.
    """
    try:
        folder = parsing.folder
        if (found := _found(folder, parsing)) is not None:
            return found
        with alone(folder, no_progress, "reads the table"):
            # Another process may have read it while this one waited for the lock.
            if (found := _found(folder, parsing)) is None:
                _tidy(parsing, folder)
                _write(parsing, folder, read)
                found = _found(folder, parsing)
        if found is not None:
            return found
    except (OSError, RunFailed):
        pass
    return read(Memory.of)


def clear_tables(root: Path) -> int:
    """Delete the parsed tables in a data folder, but for those in use; gives the bytes that were freed."""
    freed = 0
    with suppress(FileNotFoundError, NotADirectoryError):
        for folder in (root / CACHE).iterdir():
            if folder.is_dir() and read_index(folder):
                size = sum(file.stat().st_size for file in folder.iterdir())
                remove_unless_in_use(folder)
                freed += 0 if folder.exists() else size
    return freed


def _write(parsing: Parsing, folder: Path, read: Callable[[StoreOf], Table]) -> None:
    """Read the table into a file, and once that is synced to the disk write the index that makes it valid."""
    temporary = folder / f"columns.{os.getpid()}.tmp"
    state = parsing.state
    try:
        with temporary.open("w+b") as file:  # its cells are read while others are still written
            stores: list[FileStore] = []

            def store_of(columns: int, rows: int) -> Store:
                stores[:] = [FileStore(file, columns + 1, rows)]
                return stores[0]

            table = read(store_of)
            if not stores:
                store_of(len(table.columns), len(table))
            said = _kept(table, stores[0])
            file.flush()
            os.fsync(file.fileno())
        said |= {"rows": len(table), "room": stores[0].rows, "digest": _digest(temporary)}
        put_in_place(temporary, folder / "columns")
    finally:
        temporary.unlink(missing_ok=True)
    if parsing.state == state:  # else it was written to while it was read
        write_index(folder, {"format": FORMAT, "source": parsing.source, "state": state, **said})


def _kept(table: Table, store: FileStore) -> dict[str, Any]:
    """Keep all columns of a table in a store; returns what else is to be known of it, as plain values."""
    columns = []
    for at, (name, column) in enumerate(table.columns.items()):
        own: dict[str, Any] = {"name": name, "is_typed": column.is_typed, "is_date": column.is_date}
        if column.numbers is not None:
            if not store.holds(column.numbers):
                store.keep(at, 0, column.numbers)
            own |= {"odd": list(column.odd.items()), "padded": column.padded}
        else:
            assert column.codes is not None, "a column has numbers or codes"
            store.keep(at, 0, column.codes.astype(np.float64))
            own["texts"] = list(column.texts)
        columns.append(own)
    lines = table.lines
    if not isinstance(lines, range):
        store.keep(store.columns - 1, 0, np.array(lines, np.float64))
    span = [lines.start, lines.stop] if isinstance(lines, range) else None
    return {"columns": columns, "lines": span, "notes": list(table.notes), "guessed": dict(table.guessed)}


def _found(folder: Path, parsing: Parsing) -> Table | None:
    """The table in a folder of the cache, memory-mapped; None if it is incomplete or fails its digest."""
    index, path = read_index(folder), folder / "columns"
    try:
        rows, columns = int(index["rows"]), index["columns"]
        if _digest(path) != index["digest"]:
            return None
        kept = [_Kept(path, place * int(index["room"]), rows) for place in range(len(columns) + 1)]
        made = {own["name"]: _column(own, each) for own, each in zip(columns, kept, strict=False)}
        span = index["lines"]
        lines: Sequence[int] = range(*span) if span else kept[-1].read().astype(int).tolist()
        return Table(str(parsing.path), made, lines, index["notes"], index["guessed"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class _Kept:
    """The cells of one column in a file of the cache: `rows` of 8 bytes from cell number `start` on."""

    path: Path
    start: int
    rows: int

    def read(self) -> np.ndarray:
        return np.fromfile(self.path, np.float64, self.rows, offset=self.start * _WIDTH)


class _KeptColumn(Column):
    """A column of numbers that are read from the cache whenever they are asked for, and not held."""

    _kept: _Kept

    def __init__(self, kept: _Kept, odd: Mapping[int, str], *, is_typed: bool, padded: int) -> None:
        for name, value in (("_kept", kept), ("odd", odd), ("is_typed", is_typed), ("padded", padded)):
            object.__setattr__(self, name, value)

    @property
    def numbers(self) -> np.ndarray:
        return self._kept.read()


def _column(own: Mapping[str, Any], kept: _Kept) -> Column:
    if "texts" in own:
        return Column(codes=kept.read().astype(np.int32), texts=own["texts"], is_date=own["is_date"])
    odd = {int(row): str(text) for row, text in own["odd"]}
    return _KeptColumn(kept, odd, is_typed=own["is_typed"], padded=int(own["padded"]))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tidy(parsing: Parsing, folder: Path) -> None:
    """Remove temporary files of killed processes, and the tables of an earlier state of the same file."""
    for leftover in folder.glob("*.tmp"):
        leftover.unlink(missing_ok=True)
    with suppress(OSError):
        for other in folder.parent.iterdir():
            index = read_index(other) if other != folder and other.is_dir() else {}
            if index.get("source") == parsing.source and index.get("state") != parsing.state:
                remove_unless_in_use(other)
