"""A run's folder: made, written, read and found again. Nothing here needs torch.

runs/spiral_relu-001/
    config.yaml            the resolved config: `dlrun train` runs it again as it stands
    metrics.csv            one row per epoch and seed
    checkpoints/last.pt    where `resume` goes on
    checkpoints/best.pt    what `eval` takes: the best epoch by the monitored column
    plots/*.png
    weights/*.pt           the model at a few dozen epochs, where a plot shows how it changed
    summary.json           status, final and best figures, time, versions, data
    log.txt                what was said while it ran
    eval/<split>.json      written by `dlrun eval`
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

FILES, FOLDERS = ("metrics.csv", "log.txt"), ("checkpoints", "plots", "weights", "eval")  # written in place
_BOUNDS = {"config.yaml": CONFIG, "summary.json": SUMMARY, "metrics.csv": METRICS}  # of what is read
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,69}-\d{3,}\Z")  # 64 letters and -sweep
STRETCH = (
    "device",
    "threads",
    "machine",
    "versions",
    "code",
)  # what is said of each stretch
DONE = ("finished", "stopped early")  # the statuses of a run with nothing left to train


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
    def best(self) -> Path:
        return self.folder / "checkpoints" / "best.pt"

    @property
    def plots(self) -> Path:
        return self.folder / "plots"

    @property
    def weights(self) -> Path:
        return self.folder / "weights"

    def write_config(self, text: str) -> None:
        """Replace config.yaml."""
        write_atomically(self.config, lambda file: file.write(text.encode()))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Replace summary.json, or another file of strict JSON: what is not finite becomes null."""
        path = self.folder / name
        if path.parent != self.folder:  # which is never made anew: it may have been moved
            make_folder(path.parent)
        text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
        # A folder's name may hold what is no text: JSON has its own way of writing that.
        write_atomically(path, lambda file: file.write(f"{text}\n".encode(errors="backslashreplace")))

    def summary(self) -> dict[str, Any]:
        """What summary.json says, or nothing where it is missing or broken."""
        try:
            content = json.loads(read_bounded(self.folder / "summary.json", SUMMARY))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def log(self, text: str) -> bool:
        """Add lines to log.txt; whether they stand there. A log that cannot be written stops nothing."""
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
        """How the run stands: what its summary says, or interrupted if its process is gone."""
        status = summary.get("status")
        if self.is_unreadable():
            return "broken"
        if not isinstance(status, str):
            has_begun = (self.folder / "summary.json").exists()
            return "broken" if has_begun else "interrupted"  # before its first word
        return "interrupted" if status == "running" and not is_still_there(summary) else status

    def is_unreadable(self) -> bool:
        """Whether its folder may not be read, or a file of it has more bytes than dlrun reads of one."""
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
        """Whether it diverged, or ended before anything was saved that it could go on from."""
        status = self.status(summary)
        return status == "diverged" or (
            status in ("failed", "interrupted", "broken") and is_missing(self.last)
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that writes to this run. Raises RunFailed where another one is."""
        with lock(self.folder, self.summary):
            self._remove_leftovers()
            yield

    def _remove_leftovers(self) -> None:
        """Remove what a writer that was killed left behind, in this folder and nowhere else."""
        for folder in (self.folder, *(self.folder / name for name in FOLDERS)):
            if folder.is_symlink() and folder != self.folder:
                continue
            for leftover in folder.glob("*.*.tmp"):
                with suppress(OSError):  # it is in nobody's way
                    leftover.unlink()

    def rows(self) -> dict[str, list[Any]]:
        """metrics.csv as columns: epoch and seed as ints, the others floats, None where not measured.

        A last line that is not whole is left out. Raises UserError where it is not as dlrun writes it.
        """
        try:
            return self._rows()
        except (ValueError, csv.Error) as error:
            what = f"this is not as dlrun writes it: {shortened(error)}"
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
        """The header of metrics.csv, and the last `count` lines of those that end with byte `end`.

        Nothing where no line ends there.
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
        """Whether metrics.csv holds more than its header."""
        try:
            with open_bounded(self.metrics, METRICS) as file:
                return bool(file.readline(METRICS_LINE) and file.readline(1))
        except TooLarge:
            return True
        except OSError:
            return False

    def last_row(self) -> tuple[int, dict[str, Any]]:
        """The last epoch in metrics.csv and what was measured of its last seed, from the file's end alone."""
        try:
            with open_bounded(self.metrics, METRICS) as file:
                header = file.readline(METRICS_LINE).decode().strip().split(",")
                file.seek(max(file.tell(), os.fstat(file.fileno()).st_size - METRICS_LINE))
                lines = file.read().decode().splitlines()
            cells = dict(zip(header, lines[-1].split(","), strict=True))
            figures = {c: {"mean": float(cells[c]), "sd": None} for c in header[2:] if cells[c]}
            return int(cells["epoch"]), figures
        except (OSError, ValueError, IndexError, KeyError):
            return 0, {}


def _whole_lines(file: IO[bytes]) -> Iterator[str]:
    """The lines of metrics.csv one by one, without a last one that is not whole.

    Raises ValueError for a line longer than any row.
    """
    while (line := file.readline(METRICS_LINE)).endswith(b"\n"):
        yield line.decode()
    if len(line) == METRICS_LINE:
        raise ValueError(f"a line has more than {METRICS_LINE:,} bytes")


def is_run_name(text: str) -> bool:
    """Whether a text can be the name of a run's folder, which leads nowhere else."""
    return bool(_FOLDER_NAME.match(text))


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is a run's; one that may not be read is by its name."""
    try:
        return stat.S_ISREG((folder / "config.yaml").stat().st_mode)
    except PermissionError:
        return is_run_name(folder.name)
    except (OSError, ValueError):  # no path at all
        return False


def refuse_links(run: Run) -> None:
    """Raises UserError where what dlrun writes in a run's folder would be written elsewhere."""
    for name in (*FILES, *FOLDERS):
        try:
            mode = (run.folder / name).lstat().st_mode
        except OSError:  # not there yet
            continue
        kind, is_kind = ("folder", stat.S_ISDIR) if name in FOLDERS else ("file", stat.S_ISREG)
        if not is_kind(mode):
            raise UserError(
                f"{name} of the run is no {kind} of its own, but a link or a pipe",
                where=str(run.folder / name),
                fix=f"put the {kind} itself there",
            )
