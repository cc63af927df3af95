"""The writer of metrics.csv."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from dlrun.errors import CheckpointRefused
from dlrun.run_folders.run import Run
from dlrun.system.bounds import METRICS
from dlrun.system.files import cannot_write, sync_folder, unshare


class MetricsFile:
    """The metrics.csv of a run that trains: rows are buffered until `flush` syncs them to the disk."""

    def __init__(self, run: Run, columns: Sequence[str], end: int) -> None:
        """Append after the first `end` bytes and truncate the rest; 0 starts a new file."""
        self.run, self.columns, self.end = run, columns, end
        if end and (not run.metrics.exists() or run.metrics.stat().st_size < end):
            raise CheckpointRefused("it is shorter than the checkpoint says", where=str(run.metrics))
        try:
            unshare(run.metrics, METRICS)
            self._file: IO[str] = run.metrics.open("r+" if end else "w", encoding="utf-8", newline="")
            self._file.seek(end)
            self._file.truncate()
            if not end:
                self._file.write(f"{metrics_header(columns)}\n")
                self.end = self.flush()
                sync_folder(run.folder)
        except OSError as error:
            raise cannot_write(run.metrics, error) from None

    def add(self, epoch: int, row: dict[str, list[float]], seeds: Sequence[int]) -> None:
        """Add the rows of one epoch, one for each of the seeds. Cells that were not measured are empty."""
        names = (*self.columns, "lr", "seconds")
        lines = []
        for index, seed in enumerate(seeds):
            cells = ("" if name not in row else repr(row[name][index]) for name in names)
            lines.append(f"{epoch},{seed},{','.join(cells)}\n")
        try:
            self._file.writelines(lines)
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from None

    def flush(self) -> int:
        """Sync all rows to the disk; return the length of the file in bytes."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._file.tell()
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from None

    def close(self) -> None:
        """Write the buffered rows, unless the disk refuses, and close the file."""
        with suppress(OSError):
            self._file.close()


def metrics_header(columns: Sequence[str]) -> str:
    """The first line of metrics.csv for these columns."""
    return ",".join(("epoch", "seed", *columns, "lr", "seconds"))
