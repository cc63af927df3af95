"""A run's folder: its files, how they are written and read, and the run's status. PyTorch is not imported.

runs/spiral_relu-001/
    config.yaml            the resolved config: `dlrun train` runs it again unchanged
    metrics.csv            one row per epoch and seed
    checkpoints/last.pt    the last checkpoint: `resume` continues from it
    checkpoints/step.pt    the steps of an epoch that was stopped: `resume` goes on after them
    checkpoints/best.pt    the checkpoint of the best epoch by the monitored column, for `eval`
    checkpoints/epoch_*.pt those of single epochs, if the config has `keep` or `keep_every`
    plots/*.png
    weights/*.pt           the model at a few dozen epochs, for plots that show how it changed
    summary.json           status, final and best figures, time, versions, data
    log.txt                messages, warnings and tracebacks while it ran
    eval/<split>.json      written by `dlrun eval`, with --tta as <split>_tta_<views>.json
    tensorboard/           event files, if the config has `track: [tensorboard]`, or by `dlrun log`
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from dlrun.errors import RunFailed, UserError, shortened
from dlrun.system.bounds import CONFIG, LOG, METRICS, METRICS_LINE, SUMMARY
from dlrun.system.file_names import composed_name, is_plain_name
from dlrun.system.files import (
    TooLarge,
    is_missing,
    make_folder,
    open_bounded,
    read_bounded,
    unshare,
    write_atomically,
)
from dlrun.system.locks import lock
from dlrun.system.processes import is_still_there
from dlrun.system.strict_json import finite

# They are written in place.
FILES, FOLDERS = ("metrics.csv", "log.txt"), ("checkpoints", "plots", "weights", "eval", "tensorboard")
_BOUNDS = {"config.yaml": CONFIG, "summary.json": SUMMARY, "metrics.csv": METRICS}  # most bytes read
_NUMBERED = re.compile(r"(.+)-[0-9]{3,}\Z")
_LONGEST_NAME = 70  # 64 letters and -sweep
STRETCH = (
    "device",
    "threads",
    "machine",
    "versions",
    "code",
)  # the keys of each entry of `stretches` in summary.json
DONE = ("finished", "stopped early")  # the statuses of a run with nothing left to train
ENDED = (*DONE, "diverged")  # those of a run that no resume would train


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.pt"

    @property
    def step(self) -> Path:
        return self.folder / "checkpoints" / "step.pt"

    @property
    def best(self) -> Path:
        return self.folder / "checkpoints" / "best.pt"

    @property
    def plots(self) -> Path:
        return self.folder / "plots"

    @property
    def weights(self) -> Path:
        return self.folder / "weights"

    @property
    def unfinished(self) -> Path:
        """A file that is there as long as a resume would train something, for scripts to look for."""
        return self.folder / "unfinished"

    def write_config(self, text: str) -> None:
        """Replace config.yaml."""
        write_atomically(self.config, lambda file: file.write(text.encode()))

    def mark_unfinished(self) -> None:
        """Make the file `unfinished`, unless it is there."""
        if not self.unfinished.exists():
            write_atomically(self.unfinished, lambda file: file.write(b""))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Replace summary.json, or another file of strict JSON: numbers that are not finite become null."""
        path = self.folder / name
        if path.parent != self.folder:  # the run's own folder is never created again: it may have been moved
            make_folder(path.parent)
        text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
        # A folder's name may hold bytes that are not UTF-8: JSON's escapes can express them.
        write_atomically(path, lambda file: file.write(f"{text}\n".encode(errors="backslashreplace")))

    def summary(self) -> dict[str, Any]:
        """The content of summary.json; {} if it is missing or broken."""
        try:
            content = json.loads(read_bounded(self.folder / "summary.json", SUMMARY))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def log(self, text: str) -> bool:
        """Append lines to log.txt; return False if that fails, because a run does not stop for its log."""
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        path = self.folder / "log.txt"
        try:
            unshare(path, LOG)
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{stamp} {line}\n" for line in text.splitlines())
        except (OSError, RunFailed):
            return False
        return True

    def status(self, summary: dict[str, Any]) -> str:
        """The status of the run: that of its summary, or `interrupted` if its process is gone."""
        status = summary.get("status")
        if self.is_unreadable():
            return "broken"
        if not isinstance(status, str):
            has_begun = (self.folder / "summary.json").exists()
            return "broken" if has_begun else "interrupted"  # before it wrote a summary
        return "interrupted" if status == "running" and not is_still_there(summary) else status

    def is_unreadable(self) -> bool:
        """Return whether permission to read its folder is missing, or a file has more bytes than are read."""
        folder = os.fspath(self.folder)
        for name, most in _BOUNDS.items():
            try:
                if os.path.getsize(f"{folder}/{name}") > most:
                    return True
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return True
        return False

    def is_worthless(self, summary: dict[str, Any]) -> bool:
        """Return whether it diverged, or ended before a checkpoint to resume from was saved."""
        status = self.status(summary)
        return status == "diverged" or (
            status in ("failed", "interrupted", "broken") and is_missing(self.last)
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of this run, to be its only writer. Raises RunFailed if another process holds it."""
        with lock(self.folder, self.summary):
            self._remove_leftovers()
            yield

    def _remove_leftovers(self) -> None:
        """Remove the temporary files of a killed writer, in this folder only: links are not followed."""
        for folder in (self.folder, *(self.folder / name for name in FOLDERS)):
            if folder.is_symlink() and folder != self.folder:
                continue
            for leftover in folder.glob("*.*.tmp"):
                with suppress(OSError):  # a leftover does no harm
                    leftover.unlink()

    def rows(self) -> dict[str, list[Any]]:
        """metrics.csv as columns: epoch and seed are ints, the others floats, or None if not measured.

        An incomplete last line is left out. Raises UserError if the file is damaged.
        """
        try:
            return self._rows()
        except (ValueError, csv.Error) as error:
            what = f"metrics.csv is damaged: {shortened(error)}"
            raise UserError(what, where=str(self.metrics)) from None

    def _rows(self) -> dict[str, list[Any]]:
        try:
            file = open_bounded(self.metrics, METRICS)
        except TooLarge as error:
            raise ValueError(error.strerror) from None
        except OSError:
            return {}
        with file:
            lines = csv.reader(_whole_lines(file))
            header = next(lines, [])
            columns: dict[str, list[Any]] = {name: [] for name in header}
            for line in lines:
                for name, cell in zip(header, line, strict=False):
                    whole = name in ("epoch", "seed")
                    columns[name].append(None if cell == "" else int(cell) if whole else float(cell))
        return columns

    def lines_before(self, end: int, count: int) -> tuple[str, list[str]]:
        """The header of metrics.csv and the last `count` lines before byte `end`.

        Both are empty if no line ends at `end`.
        """
        try:
            with open_bounded(self.metrics, METRICS) as file:
                header = file.readline(METRICS_LINE)
                size = min(METRICS_LINE * (count + 1), end - len(header))
                file.seek(end - size)
                text = file.read(size)
        except (OSError, ValueError):
            return "", []
        if size < 0 or len(text) < size or (header + text)[-1:] != b"\n":
            return "", []
        lines = text.decode(errors="replace").split("\n")[:-1]
        return header.decode(errors="replace").rstrip("\n"), lines[len(lines) - count :]

    def has_rows(self) -> bool:
        """Return whether metrics.csv holds more than its header."""
        try:
            with open_bounded(self.metrics, METRICS) as file:
                return bool(file.readline(METRICS_LINE) and file.readline(1))
        except TooLarge:
            return True
        except OSError:
            return False

    def last_row(self) -> tuple[int, dict[str, Any]]:
        """The last epoch in metrics.csv and its figures over the seeds, read from the end of the file."""
        from statistics import fmean, stdev  # which takes milliseconds, and finished runs need not

        try:
            with open_bounded(self.metrics, METRICS) as file:
                header = file.readline(METRICS_LINE).decode().strip().split(",")
                file.seek(max(file.tell(), os.fstat(file.fileno()).st_size - 16 * METRICS_LINE))
                lines = [line.split(",") for line in file.read().decode(errors="replace").splitlines()]
            last = [line for line in lines if line[0] == lines[-1][0]]
            columns = dict(zip(header, zip(*last, strict=True), strict=True))
            figures = {
                column: {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}
                for column in header[2:]
                if (values := [float(cell) for cell in columns[column] if cell])
            }
            return int(columns["epoch"][0]), figures
        except (OSError, ValueError, IndexError, KeyError):
            return 0, {}


def _whole_lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of metrics.csv, without an incomplete last one.

    Raises ValueError for a line longer than any row.
    """
    while (line := file.readline(METRICS_LINE)).endswith(b"\n"):
        yield line.decode()
    if len(line) == METRICS_LINE:
        raise ValueError(f"a line has more than {METRICS_LINE:,} bytes")


def is_run_name(text: str) -> bool:
    """Return whether a text is a valid name of a run's folder; such a name cannot lead to another folder."""
    numbered = _NUMBERED.match(composed_name(text))
    return numbered is not None and is_plain_name(numbered[1], _LONGEST_NAME)


def is_run_folder(folder: Path) -> bool:
    """Return whether a folder is a run's; without permission to read it, its name decides."""
    try:
        return stat.S_ISREG((folder / "config.yaml").stat().st_mode)
    except PermissionError:
        return is_run_name(folder.name)
    except (OSError, ValueError):  # ValueError: not a valid path
        return False


def refuse_links(run: Run) -> None:
    """Raises UserError if a file or a folder in a run's folder is a link or a pipe.

    dlrun would otherwise write to a place that the author of the folder chose.
    """
    for name in (*FILES, *FOLDERS):
        try:
            mode = (run.folder / name).lstat().st_mode
        except OSError:  # not there yet
            continue
        kind, is_kind = ("folder", stat.S_ISDIR) if name in FOLDERS else ("file", stat.S_ISREG)
        if not is_kind(mode):
            raise UserError(
                f"{name} of the run is not a {kind}, but a link or a pipe",
                where=str(run.folder / name),
                fix=f"replace it by the {kind} itself",
            )
