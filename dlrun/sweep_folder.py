"""A sweep's folder: made, read and found again. Nothing here needs torch.

runs/spiral_relu-sweep-001/
    sweep.json             the command, the values, and for each run what is set in it
    results.csv            the settings, the best first, with mean, sd and n of their seeds
    plots/*.png
    workers.log            what the processes that trained said, beyond the log of each run
    spiral_relu-001/ …     ordinary runs
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlrun import config as configs
from dlrun import runs
from dlrun.config import Config
from dlrun.errors import RunFailed, UserError, nearest, shortened
from dlrun.files import write_atomically
from dlrun.runs import Run

FILE = "sweep.json"
_DONE = ("finished", "stopped early")


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, with what is set in it. Of a search it has the number of its setting.

    `is_borrowed`: it was trained before, and stands in the folder that the sweep is in.
    """

    run: Run
    values: dict[str, Any]
    seeds: list[int]
    number: int | None = None
    is_borrowed: bool = False


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder."""

    folder: Path
    content: dict[str, Any]  # of sweep.json

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def trials(self) -> list[Trial]:
        """The runs, in the order in which they are trained."""
        return [
            Trial(
                Run((self.folder.parent if each.get("borrowed") else self.folder) / each["run"]),
                each["values"],
                each["seeds"],
                each.get("number"),
                bool(each.get("borrowed")),
            )
            for each in self.content["runs"]
        ]

    @property
    def plots(self) -> Path:
        return self.folder / "plots"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that trains this sweep. Raises RunFailed where another one does."""
        with runs.lock(self.folder, lambda: self.content):
            self.content.update(runs.identity())
            self.write()
            yield

    def write(self) -> None:
        """Replace sweep.json."""
        text = json.dumps(runs.finite(self.content), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(
            self.folder / FILE, lambda file: file.write(f"{text}\n".encode(errors="backslashreplace"))
        )

    def unfinished(self) -> list[Trial]:
        """The runs that are left to train: never begun, interrupted, or failed for want of something.

        One that diverged would only diverge again.
        """
        given_up = set(self.content.get("given_up", ()))
        return [
            trial
            for trial in self.trials
            if trial.number not in given_up and trial.run.summary().get("status") not in (*_DONE, "diverged")
        ]

    def add(self, values: dict[str, Any], config: Config, number: int | None = None) -> Trial:
        """A new run; it is the sweep's when that is written next."""
        run = runs.create(self.folder, config.name, configs.dump(config))
        self.content["runs"].append(
            {"run": run.name, "values": values, "seeds": config.seeds}
            | ({} if number is None else {"number": number})
        )
        return Trial(run, values, config.seeds, number)

    def borrow(self, values: dict[str, Any], run: Run, seeds: list[int]) -> None:
        """Have a run that was trained before, beside the sweep, stand for one of it."""
        entry = {"run": run.name, "values": values, "seeds": seeds, "borrowed": True}
        self.content["runs"].append(entry)


def create(parent: Path, name: str, **content: Any) -> Sweep:
    """A new folder parent/name-sweep-NNN, without runs yet; `content` is kept in sweep.json.

    A folder without sweep.json is one whose making was cut short: there is nothing in it to go on with.
    """
    folder = runs.new_folder(parent, f"{name}-sweep")
    return Sweep(folder, {"started": runs.now(), "command": runs.command_line(), **content, "runs": []})


def of_each_seed(config: Config) -> list[Config]:
    """A config for each of its seeds; seeds that train as one model stay together."""
    return [config] if config.is_stacked else [replace(config, seeds=[seed]) for seed in config.seeds]


def find(text: str, parent: Path) -> Sweep:
    """The sweep that `text` names: `last`, a folder, or a prefix of one name in `parent` alone.

    Raises UserError where there is none, or more than one, or where its folder is not as dlrun made it.
    """
    path = Path(text)
    if not (path / FILE).is_file():
        there = sorted((each for each in parent.glob(f"*/{FILE}")), key=lambda file: file.stat().st_mtime)
        names = [file.parent.name for file in there]
        matching = names[-1:] if text == "last" else [name for name in names if name.startswith(text)]
        matching = [text] if text in names else matching
        if len(matching) > 1:
            raise UserError(
                f"{shortened(text)} could be {', '.join(matching[:5])}", fix="write more of the name"
            )
        if not matching:
            raise UserError(f"there is no sweep {shortened(text)}{nearest(text, names)}")
        path = parent / matching[0]
    return read(path)


def read(folder: Path) -> Sweep:
    """The sweep in a folder, which anybody may have written: every run of it lies in it.

    Raises UserError where sweep.json is not as dlrun writes it.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        listed = content["runs"]
        sound = isinstance(content.get("jobs"), int) and all(
            isinstance(each["run"], str)
            and runs.is_name(each["run"])
            and isinstance(each["values"], dict)
            and isinstance(each["seeds"], list)
            for each in listed
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UserError("this is no sweep as dlrun writes it", where=str(folder / FILE))
    sweep = Sweep(folder, content)
    for trial in sweep.trials:
        if trial.run.folder.is_symlink():
            raise UserError("a run of the sweep is a link", where=str(trial.run.folder))
        runs.refuse_links(trial.run)
    return sweep


def every(parent: Path) -> list[Sweep]:
    """The sweeps in a folder, the newest first. What is none is passed over."""
    found = []
    for file in parent.glob(f"*/{FILE}"):
        with suppress(UserError):
            found.append(read(file.parent))
    return sorted(found, key=lambda sweep: str(sweep.content.get("started")), reverse=True)


def deletable(text: str, parent: Path) -> Path:
    """The folder of the run or the sweep that `text` names, which lies in `parent`: `last` is the newest run.

    Raises UserError for any other folder: dlrun deletes nothing outside of its runs.
    """
    if not text.strip():
        raise UserError("an empty name names no run")
    folder, path = None, Path(text)
    for each in (path, parent / path):
        with suppress(OSError):  # a name too long for any folder
            if (each / FILE).is_file() or (each / "config.yaml").is_file():
                folder = each
                break
    if folder is None and text != "last":
        names = [run.name for run in runs.every(parent)] + [sweep.name for sweep in every(parent)]
        matching = [name for name in names if name.startswith(text)]
        if not matching:
            raise UserError(
                f"there is no run {shortened(text)}{nearest(text, names[:10])}", where=str(parent)
            )
        if len(matching) > 1:
            several = f"{', '.join(matching[:5])}{' …' if len(matching) > 5 else ''}"
            raise UserError(f"{shortened(text)} could be {several}", fix="write more of the name")
        folder = parent / matching[0]
    folder = folder or runs.find(text, parent).folder
    refuse_to_delete(folder, parent)
    return folder


def refuse_to_delete(folder: Path, parent: Path) -> None:
    """Raises UserError for a folder that is not a run or a sweep of its own in `parent`."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link", fix="name what it leads to, or delete the link by hand")
    real = folder.resolve()
    if parent.resolve() not in real.parents:
        raise UserError(
            f"{folder} is not in {parent}", fix="name its folder with --runs-dir, or delete it by hand"
        )
    if (real.parent / FILE).exists():
        raise UserError(
            f"{folder.name} is a run of the sweep {real.parent.name}, which needs it",
            fix=f"delete the whole sweep: dlrun rm {real.parent.name}",
        )


def described(folder: Path) -> str:
    """What a folder that may be deleted holds, in words."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files)
    counts = f"{len(files)} files, {size / 2**20:,.1f} MiB"
    if (folder / FILE).is_file():
        try:
            what = f"a sweep of {len(read(folder).trials)} runs"
        except UserError:
            what = "a sweep that cannot be read"
        return f"{what}, {counts}"
    run = Run(folder)
    summary = run.summary()
    what = f"{run.status(summary)} after epoch {shortened(summary.get('epochs', 0))}, {counts}"
    for sweep in every(folder.parent):
        if any(trial.is_borrowed and trial.run.name == run.name for trial in sweep.trials):
            what += f", which the sweep {sweep.name} needs"
    return what


def delete(folder: Path) -> None:
    """Delete a run or a sweep. Raises RunFailed where it is in use or the disk refuses."""
    inside = [Run(file.parent) for file in folder.glob("*/config.yaml")] if (folder / FILE).exists() else []
    with Run(folder).lock():
        for run in inside:
            with run.lock():  # nobody goes on with it alone
                pass
        try:
            shutil.rmtree(folder)
        except OSError as error:
            what = f"cannot delete {folder}: {error.strerror or error}"
            raise RunFailed(what, fix="see that it can be written to") from None
