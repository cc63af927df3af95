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
import io
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from dlrun.errors import CheckpointRefused, UserError, nearest, shortened
from dlrun.system.files import ANOTHER_RUNS_DIR, cannot_write, make_folder, sync_folder, write_atomically
from dlrun.system.locks import lock
from dlrun.system.processes import is_still_there

_NUMBERED = re.compile(r"(.+)-(\d{3,})$")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,69}-\d{3,}\Z")  # 64 letters and -sweep
_FILES, _FOLDERS = ("metrics.csv", "log.txt"), ("checkpoints", "plots", "weights", "eval")  # written in place
_LONGEST_LINE = 2**14  # bytes of a row of metrics.csv: hundreds of columns
SWEEP = "sweep.json"  # which is in the folder of a sweep
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
        path = self.folder / "summary.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def log(self, text: str) -> bool:
        """Add lines to log.txt; whether they stand there. A log that cannot be written stops nothing."""
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
                file.writelines(f"{stamp} {line}\n" for line in text.splitlines())
        except OSError:
            return False
        return True

    def status(self, summary: dict[str, Any]) -> str:
        """How the run stands: what its summary says, or interrupted if its process is gone."""
        status = summary.get("status")
        if not (self.folder / "summary.json").exists():
            return "interrupted"  # before its first word
        if not isinstance(status, str):
            return "broken"
        return "interrupted" if status == "running" and not is_still_there(summary) else status

    def is_worthless(self, summary: dict[str, Any]) -> bool:
        """Whether it diverged, or ended before anything was saved that it could go on from."""
        status = self.status(summary)
        return status == "diverged" or (
            status in ("failed", "interrupted", "broken") and not self.last.exists()
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that writes to this run. Raises RunFailed where another one is."""
        with lock(self.folder, self.summary):
            self._remove_leftovers()
            yield

    def _remove_leftovers(self) -> None:
        """Remove what a writer that was killed left behind, in this folder and nowhere else."""
        for folder in (self.folder, *(self.folder / name for name in _FOLDERS)):
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
            text = self.metrics.read_text(encoding="utf-8")
        except OSError:
            return {}
        lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
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
            with self.metrics.open("rb") as file:
                header = file.readline()
                size = min(_LONGEST_LINE * (count + 1), end - len(header))
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
            with self.metrics.open("rb") as file:
                return bool(file.readline() and file.readline())
        except OSError:
            return False

    def last_row(self) -> tuple[int, dict[str, Any]]:
        """The last epoch in metrics.csv and what was measured of its last seed, from the file's end alone."""
        if not self.metrics.is_file():
            return 0, {}
        try:
            with self.metrics.open("rb") as file:
                header = file.readline().decode().strip().split(",")
                file.seek(max(file.tell(), os.path.getsize(self.metrics) - 4096))
                lines = file.read().decode().splitlines()
            cells = dict(zip(header, lines[-1].split(","), strict=True))
            figures = {c: {"mean": float(cells[c]), "sd": None} for c in header[2:] if cells[c]}
            return int(cells["epoch"]), figures
        except (OSError, ValueError, IndexError, KeyError):
            return 0, {}


class Rows:
    """metrics.csv while a run writes it: rows are buffered until `flush` puts them on the disk."""

    def __init__(self, run: Run, columns: Sequence[str], seeds: Sequence[int], end: int) -> None:
        """Go on after the first `end` bytes; what stands behind them is cut off. 0 begins anew."""
        self.run, self.columns, self.seeds, self.end = run, columns, seeds, end
        if end and (not run.metrics.exists() or run.metrics.stat().st_size < end):
            raise CheckpointRefused("it is shorter than the checkpoint says", where=str(run.metrics))
        try:
            self._file: IO[str] = run.metrics.open("r+" if end else "w", encoding="utf-8", newline="")
            self._file.seek(end)
            self._file.truncate()
            if not end:
                self._file.write(f"{header(columns)}\n")
                self.end = self.flush()
                sync_folder(run.folder)
        except OSError as error:
            raise cannot_write(run.metrics, error) from None

    def add(self, epoch: int, row: dict[str, list[float]]) -> None:
        """The rows of one epoch, one for each seed. Cells that were not measured are empty."""
        names = (*self.columns, "lr", "seconds")
        lines = []
        for index, seed in enumerate(self.seeds):
            cells = ("" if name not in row else repr(row[name][index]) for name in names)
            lines.append(f"{epoch},{seed},{','.join(cells)}\n")
        try:
            self._file.writelines(lines)
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from None

    def flush(self) -> int:
        """Wait until every row is on the disk; gives the length of the file in bytes."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._file.tell()
        except OSError as error:
            raise cannot_write(self.run.metrics, error) from None

    def close(self) -> None:
        """Keep what is buffered, as far as the disk allows."""
        with suppress(OSError):
            self._file.close()


def header(columns: Sequence[str]) -> str:
    """The first line of metrics.csv for what is measured."""
    return ",".join(("epoch", "seed", *columns, "lr", "seconds"))


def create(parent: Path, name: str, config_text: str) -> Run:
    """A new folder parent/name-NNN with its config. Any number of processes may do this at once."""
    folder = new_folder(parent, name)
    try:
        (folder / "checkpoints").mkdir()
        (folder / "plots").mkdir()
        sync_folder(folder)
    except OSError as error:
        raise cannot_write(parent, error, ANOTHER_RUNS_DIR) from None
    run = Run(folder)
    run.write_config(config_text)
    return run


def new_folder(parent: Path, name: str) -> Path:
    """A new folder parent/name-NNN, the number after the highest that is there."""
    try:
        make_folder(parent, ANOTHER_RUNS_DIR)
        taken = [
            int(match[2])
            for path in parent.iterdir()
            if (match := _NUMBERED.match(path.name)) and match[1] == name
        ]
        number = max(taken, default=0)
        while True:
            number += 1
            folder = parent / f"{name}-{number:03d}"
            try:
                folder.mkdir()  # exclusive: whoever makes the folder has it
                break
            except FileExistsError:
                continue
        sync_folder(parent)
        return folder
    except OSError as error:
        raise cannot_write(parent, error, ANOTHER_RUNS_DIR) from None


def find(text: str, parent: Path) -> Run:
    """The run that `text` names: `last`, a folder, or a prefix of one name in `parent` alone.

    Raises UserError where there is none, or more than one, or where what dlrun writes in its folder would
    be written elsewhere: whose folder it is, nobody knows.
    """
    run = _named(text, parent)
    refuse_links(run)
    return run


def refuse_links(run: Run) -> None:
    """Raises UserError where what dlrun writes in a run's folder would be written elsewhere."""
    for name in (*_FILES, *_FOLDERS):
        try:
            mode = (run.folder / name).lstat().st_mode
        except OSError:  # not there yet
            continue
        kind, is_kind = ("folder", stat.S_ISDIR) if name in _FOLDERS else ("file", stat.S_ISREG)
        if not is_kind(mode):
            raise UserError(
                f"{name} of the run is no {kind} of its own, but a link or a pipe",
                where=str(run.folder / name),
                fix=f"put the {kind} itself there",
            )


def _named(text: str, parent: Path) -> Run:
    path = Path(text)
    with suppress(OSError):  # a name too long for any folder
        if (path / "config.yaml").is_file():
            return Run(path if path.name else path.resolve())
        if of_sweep := _in_sweep(text, parent):
            return of_sweep
        sweep = next((each for each in (path, parent / path) if (each / SWEEP).is_file()), None)
        if sweep and text.strip():
            inside = min((file.parent.name for file in sweep.glob("*/config.yaml")), default="RUN")
            fix = f"name one of them, such as {sweep.resolve().name}/{inside}"
            raise UserError(f"{shortened(text)} is a sweep of many runs", fix=fix)
    runs = every(parent)
    if text == "last" and runs:
        return runs[0]
    return Run(parent / one_named(text, [run.name for run in runs], "run", parent))


def _in_sweep(text: str, parent: Path) -> Run | None:
    """The run of a sweep in `parent` that SWEEP/RUN names; links are none."""
    sweep, _, name = text.partition("/")
    home, folder = parent / sweep, parent / sweep / name
    is_there = is_name(sweep) and is_name(name) and (folder / "config.yaml").is_file()
    return Run(folder) if is_there and not (home.is_symlink() or folder.is_symlink()) else None


def one_named(text: str, names: Sequence[str], kind: str, parent: Path) -> str:
    """The one of the `names` in a folder that is `text`, or that alone begins so.

    Raises UserError where there is none, or more than one.
    """
    matching = [text] if text in names else [name for name in names if name.startswith(text)]
    if len(matching) > 1:
        several = f"{', '.join(matching[:5])}{' …' if len(matching) > 5 else ''}"
        raise UserError(f"{shortened(text)} could be {several}", fix="write more of the name")
    if not matching or not text.strip():
        shown = nearest(text, names[:10]) if names else f"; there are no {kind}s in {parent}"
        of_sweeps = kind == "run" and any(parent.glob(f"*/{SWEEP}"))
        fix = (
            "a run of a sweep is named SWEEP/RUN; dlrun runs --where 'epochs > 0' lists all"
            if of_sweeps
            else ""
        )
        raise UserError(f"there is no {kind} {shortened(text)}{shown}", fix=fix)
    return matching[0]


def is_name(text: str) -> bool:
    """Whether a text can be the name of a run's folder, which leads nowhere else."""
    return bool(_FOLDER_NAME.match(text))


def every(parent: Path) -> list[Run]:
    """The runs in a folder, newest first. What is no run is passed over."""
    return [run for run, _ in _with_summaries(parent)]


def overviews(parent: Path) -> list[dict[str, Any]]:
    """How the runs in a folder stand, newest first: an `overview` of each."""
    return [overview(run, summary) for run, summary in _with_summaries(parent)]


def _with_summaries(parent: Path) -> list[tuple[Run, dict[str, Any]]]:
    """The runs in a folder with what the summary of each says, newest first."""
    try:
        folders = [Path(entry.path) for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    runs = [Run(folder) for folder in folders if (folder / "config.yaml").is_file()]
    found = [(run, run.summary()) for run in runs]
    return sorted(found, key=lambda each: _age(*each), reverse=True)


def overview(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """How a run with this summary stands, for a list: status, epochs, best and last figures, seconds.

    What is not as dlrun writes it is left out: whose summary it is, nobody knows.
    """
    status = run.status(summary)
    final = _sound(summary.get("final"))
    epochs = summary.get("epochs", 0)
    if summary.get("status") in (None, "running"):  # its end was never written
        epochs, final = run.last_row()
    best = summary["best"] if isinstance(summary.get("best"), dict) else {}
    monitor = best.get("monitor")
    return {
        "run": run.name,
        "status": status,
        "epochs": f"{epochs}/{summary.get('planned_epochs', '?')}"[:20],
        "best": {c: figure for c, figure in _sound(best.get("figures")).items() if c == monitor},
        "best_epoch": best.get("epoch"),
        "last": {column: figure for column, figure in final.items() if column not in ("lr", "seconds")},
        "seconds": summary.get("seconds") if _is_number(summary.get("seconds")) else None,
    }


def _sound(figures: Any) -> dict[str, Any]:
    """Those of the figures that are a mean, with or without its spread."""
    return {
        column: {"mean": figure["mean"], "sd": figure["sd"] if _is_number(figure.get("sd")) else None}
        for column, figure in (figures.items() if isinstance(figures, dict) else ())
        if isinstance(figure, dict) and _is_number(figure.get("mean"))
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300  # so neither nan nor inf


def _age(run: Run, summary: dict[str, Any]) -> tuple[str, str]:
    started = summary.get("started")
    if not isinstance(started, str):  # killed before its first word: as old as its config
        with suppress(OSError):  # deleted this moment
            return _stamp(datetime.fromtimestamp(run.config.stat().st_mtime, UTC)), run.name
        started = ""
    return started, run.name


def now() -> str:
    """The time in UTC, so that texts compare as times do."""
    return _stamp(datetime.now(UTC))


def _stamp(time_in_utc: datetime) -> str:
    return time_in_utc.isoformat(timespec="microseconds")


def command_line() -> list[str]:
    return ["dlrun", *sys.argv[1:]]


def finite(content: Any) -> Any:
    """The content as strict JSON can hold it: what is not finite becomes None."""
    if isinstance(content, dict):
        return {key: finite(item) for key, item in content.items()}
    if isinstance(content, list | tuple):
        return [finite(item) for item in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
