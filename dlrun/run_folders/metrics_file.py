"""The writer of metrics.csv."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from dlrun.errors import CheckpointRefused
from dlrun.run_folders.run import Run
from dlrun.system.bounds import METRICS
from dlrun.system.files import cannot_write, sync_folder, unshare

Cells = Mapping[str, Sequence[float | None]]  # column -> a figure for each seed, None if it was not measured


class MetricsFile:
    """The metrics.csv of a run that trains: rows are buffered until `flush` syncs them to the disk."""

    def __init__(self, run: Run, columns: Sequence[str], end: int, last: str = "") -> None:
        """Append after the first `end` bytes, and `last`, and truncate the rest; 0 starts a new file."""
        self.run, self.columns = run, columns
        if end and (not run.metrics.exists() or run.metrics.stat().st_size < end):
            raise CheckpointRefused("it is shorter than the checkpoint says", where=str(run.metrics))
        self._begin, self._rows = (
            end,
            last,
        )  # of the last epoch: where its rows begin, and as it measured them
        self._end = end + len(last)
        self.is_completed = False  # True if the last rows have more figures than their epoch measured
        try:
            unshare(run.metrics, METRICS)
            self._file: IO[str] = run.metrics.open("r+" if end else "w", encoding="utf-8", newline="")
            self._file.seek(end)
            self._file.truncate()
            self._file.write(last)
            if not end:
                self._end = self._file.write(f"{metrics_header(columns)}\n")
                self.flush()
                sync_folder(run.folder)
        except OSError as error:
            raise cannot_write(run.metrics, error) from None

    def add(self, epoch: int, row: Cells, seeds: Sequence[int]) -> None:
        """Add the rows of one epoch, one for each of the seeds. Cells that were not measured are empty."""
        self._begin, self._rows, self.is_completed = self._end, self._lines(epoch, row, seeds), False
        try:
            self._end += self._file.write(self._rows)
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from None

    def complete(self, epoch: int, row: Cells, seeds: Sequence[int]) -> None:
        """Write more figures into the rows of the last epoch, if this file has begun or reopened them."""
        rows = self._lines(epoch, row, seeds)
        if not self._rows or rows == self._rows:
            return
        try:
            self._file.seek(self._begin)
            self._file.truncate()
            self._end = self._begin + self._file.write(rows)
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from None
        self.is_completed = True

    def _lines(self, epoch: int, row: Cells, seeds: Sequence[int]) -> str:
        names, lines = (*self.columns, "lr", "seconds"), []
        for index, seed in enumerate(seeds):
            values = (row[name][index] if name in row else None for name in names)
            cells = ("" if value is None else repr(value) for value in values)
            lines.append(f"{epoch},{seed},{','.join(cells)}\n")
        return "".join(lines)

    @property
    def end_and_last(self) -> tuple[int, str]:
        """The bytes that a checkpoint keeps, and the rows that follow them.

        The rows are those of the last epoch, without the figures of `complete`, so that a run that trains for
        more epochs has the rows that it would have had; "" if nothing was completed.
        """
        return (self._begin, self._rows) if self.is_completed else (self._end, "")

    def flush(self) -> int:
        """Sync all rows to the disk; return the length of the file in bytes."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._end
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from None

    def close(self) -> None:
        """Write the buffered rows, unless the disk refuses, and close the file."""
        with suppress(OSError):
            self._file.close()


def metrics_header(columns: Sequence[str]) -> str:
    """The first line of metrics.csv for these columns."""
    return ",".join(("epoch", "seed", *columns, "lr", "seconds"))
