"""A sweep's folder: made, read and found again. Nothing here needs torch.

runs/spiral_relu-sweep-001/
    sweep.json             the command, the values, and for each run what is set in it
    results.csv            the settings, the best first, with mean, sd and n of their seeds
    plots/*.png
    workers.log            what the processes that trained said, beyond the log of each run
    sockets.json           while it trains: the folder of its socket, which a kill leaves behind
    study.log base.yaml    of a search: what was drawn and reached, and the config that values are set in
    spiral_relu-001/ …     ordinary runs
"""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.errors import UserError
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.locating import SWEEP_FILE, create_run, new_folder, one_named
from dlrun.run_folders.run import DONE, Run, is_run_name, refuse_links
from dlrun.system.bounds import LOG, SWEEP
from dlrun.system.files import cannot_write, is_file, is_missing, read_bounded, unshare, write_atomically
from dlrun.system.locks import is_in_use, lock
from dlrun.system.processes import command_line, identity, is_alive, now, quoted
from dlrun.system.strict_json import finite

if TYPE_CHECKING:
    from dlrun.config.keys import Config

_OWN_NAME = re.compile(r".+-sweep-\d{3,}")
MOST_JOBS = 1024
_IN_PLACE = {"workers.log": stat.S_ISREG, "study.log": stat.S_ISREG, "plots": stat.S_ISDIR}  # are written


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, with what is set in it. Of a search it has the number of its setting.

    `is_borrowed`: it was trained before, and stands in the folder that the sweep is in, or in another sweep.
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
                self._run(each),
                each["values"],
                each["seeds"],
                each.get("number"),
                "borrowed" in each,
            )
            for each in self.content["runs"]
        ]

    @property
    def metric(self) -> str:
        """What the settings are ranked by: a column, or best.COLUMN."""
        return str(self.content["metric"])

    @property
    def jobs(self) -> int:
        """How many runs train at once, unless it is said otherwise."""
        return int(self.content["jobs"])

    @property
    def wanted(self) -> int:
        """How many settings a search draws in all; 0 of any other sweep."""
        count = self.content["search"].get("count") if self.is_search else 0
        return count if isinstance(count, int) else 0

    @property
    def is_search(self) -> bool:
        """Whether what was good says which settings are tried next."""
        return "search" in self.content

    @property
    def given_up(self) -> list[int]:
        """The numbers of the settings that a search went no further with."""
        return list(self.content.get("given_up", ()))

    def _run(self, entry: dict[str, Any]) -> Run:
        """A run, which lies here, or where it was borrowed, beside this folder or in one that does.

        Of a borrowed run that is gone, or has become another one, the folder is one that is not there.
        """
        if "borrowed" not in entry:
            return Run(self.folder / entry["run"])
        run = Run(self.folder.parent / entry["borrowed"] / entry["run"])
        try:
            is_it = _is_of(run.config, run.config.stat().st_mtime_ns, entry["config"])
        except OSError:
            is_it = False
        return run if is_it else Run(self.folder / f"{entry['run']}.gone")

    @property
    def plots(self) -> Path:
        return self.folder / "plots"

    def resume_command(self, parts: Path | None) -> str:
        """The command that goes on with the sweep, with the parts that it needs."""
        words = ["dlrun", "sweep", "--resume", str(self.folder)]
        return quoted([*words, *(["--parts", str(parts)] if parts else [])])

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that trains this sweep. Raises RunFailed where another one does."""
        with lock(self.folder, lambda: self.content):
            now = read_sweep(self.folder).content  # which whoever had it until now may have added to
            self.content.clear()
            self.content.update(now)
            self.content.update(identity())
            self.write()
            self._remove_leftovers()
            self._unshare_logs()
            yield

    def _unshare_logs(self) -> None:
        """Have what is appended to be the sweep's own, and no hard link."""
        for name in (name for name, is_kind in _IN_PLACE.items() if is_kind is stat.S_ISREG):
            try:
                unshare(self.folder / name, LOG)
            except OSError as error:
                raise cannot_write(self.folder / name, error) from None

    def _remove_leftovers(self) -> None:
        """Remove what writers that are gone left behind: tables and pictures are written without the lock."""
        for folder in (self.folder, self.plots):
            for leftover in folder.glob("*.*.tmp") if not folder.is_symlink() else ():
                if not is_alive(leftover.name.split(".")[-2]):
                    with suppress(OSError):  # it is in nobody's way
                        leftover.unlink()

    def write(self) -> None:
        """Replace sweep.json."""
        text = json.dumps(finite(self.content), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(
            self.folder / SWEEP_FILE, lambda file: file.write(f"{text}\n".encode(errors="backslashreplace"))
        )

    def remove_unlisted(self) -> None:
        """Remove the folders of runs that were made for a search that was killed before it noted them."""
        known = {trial.run.folder.name for trial in self.trials if not trial.is_borrowed}
        for file in self.folder.glob("*/config.yaml"):
            folder = file.parent
            if (
                folder.name not in known
                and is_run_name(folder.name)
                and not folder.is_symlink()
                and is_missing(folder / "summary.json")
                and not is_in_use(folder)
            ):
                shutil.rmtree(folder, ignore_errors=True)

    def unfinished(self) -> list[Trial]:
        """The runs that are left to train: never begun, interrupted, or failed for want of something.

        One that diverged would only diverge again, and one that is borrowed is not the sweep's to train.
        """
        given_up = set(self.given_up)
        return [
            trial
            for trial in self.trials
            if trial.number not in given_up
            and not trial.is_borrowed
            and trial.run.summary().get("status") not in (*DONE, "diverged")
        ]

    def add(self, values: dict[str, Any], config: Config, number: int | None = None) -> Trial:
        """A new run; it is the sweep's when that is written next."""
        from dlrun.config.dumping import dump_config

        run = create_run(self.folder, config.name, dump_config(config))
        self.content["runs"].append(
            {"run": run.name, "values": values, "seeds": config.seeds}
            | ({} if number is None else {"number": number})
        )
        return Trial(run, values, config.seeds, number)

    def borrow(self, values: dict[str, Any], run: Run, config: Config) -> None:
        """Have a run that was trained before, beside the sweep or in another one, stand for one of it; the
        config is kept, should that one be deleted.
        """
        from dlrun.config.dumping import dump_config

        home = run.folder.parent
        beside = "" if home.resolve() == self.folder.parent.resolve() else home.name
        self.content["runs"].append(
            {
                "run": run.name,
                "values": values,
                "seeds": config.seeds,
                "borrowed": beside,
                "name": config.name,
                "config": dump_config(config),
            }
        )

    def replace_gone(self) -> None:
        """Make a run of its own for each that was borrowed and is gone."""
        for entry, trial in zip(self.content["runs"], self.trials, strict=True):
            if trial.is_borrowed and not trial.run.config.exists():
                run = create_run(self.folder, entry["name"], entry["config"])
                del entry["borrowed"], entry["name"], entry["config"]
                entry["run"] = run.name
                self.write()


@contextmanager
def created_sweep(parent: Path, name: str, *, jobs: int, metric: str, **more: Any) -> Iterator[Sweep]:
    """A new folder parent/name-sweep-NNN, to be given its runs: so many at a time, ranked by `metric`.

    What stands in sweep.json, `more` too, is written at the end: a folder without it that nobody has is one
    whose making was cut short, and holds nothing to go on with.
    """
    folder = new_folder(parent, f"{name}-sweep")
    began = {"started": now(), "command": command_line()}
    sweep = Sweep(folder, {**began, "jobs": jobs, "metric": metric, **more, "runs": []})
    with lock(folder, identity):
        yield sweep
        sweep.write()


@lru_cache(maxsize=10_000)  # a sweep is asked for its runs again and again
def _is_of(path: Path, written: int, config: str) -> bool:
    """Whether the config at a path, as it was written at a time, is this one, but for what is free."""
    from dlrun.config.keys import flat_config, identifies
    from dlrun.config.strict_yaml import parse, read_file

    try:
        both = [read_file(path).plain(), parse(config, str(path)).plain()]
    except UserError:
        return False
    known = [
        {key: value for key, value in flat_config(each).items() if identifies(key)}
        for each in both
        if isinstance(each, dict)
    ]
    return len(known) == 2 and known[0] == known[1]


def of_each_seed(config: Config) -> list[Config]:
    """A config for each of its seeds; seeds that train as one model stay together."""
    return [config] if config.is_stacked else [replace(config, seeds=[seed]) for seed in config.seeds]


def find_sweep(text: str, parent: Path) -> Sweep:
    """The sweep that `text` names: `last`, a folder, or a prefix of one name in `parent` alone.

    Raises UserError where there is none, or more than one, or where its folder is not as dlrun made it.
    """
    path = Path(text)
    if is_file(parent / path / SWEEP_FILE):
        path = parent / path
    elif not is_file(path / SWEEP_FILE):
        there = sorted(parent.glob(f"*/{SWEEP_FILE}"), key=lambda file: file.stat().st_mtime)
        names = [file.parent.name for file in there]
        if cut := next((each for each in (path, parent / path) if is_unbegun_sweep(each)), None):
            fix = f"dlrun rm {cut.name}, and begin it again"
            raise UserError(f"{cut.name} was never begun: its making was cut short", where=str(cut), fix=fix)
        is_last = text == "last" and names
        path = parent / (names[-1] if is_last else one_named(text, names, "sweep", parent))
    return read_sweep(path)


def read_sweep(folder: Path) -> Sweep:
    """The sweep in a folder, which anybody may have written: every run that it trains lies in it.

    Raises UserError where sweep.json is not as dlrun writes it, or something of the folder is a link.
    """
    folder = folder if folder.name else folder.resolve()  # of `.`, whose parent is not itself
    path = folder / SWEEP_FILE
    try:
        content = json.loads(read_bounded(path, SWEEP))
        sound = _is_sound(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UserError(
            "this is no sweep as dlrun writes it",
            where=str(path),
            fix="put the file back as it was; each run in the folder can be resumed by itself",
        )
    sweep = Sweep(folder, content)
    for trial in sweep.trials:
        if trial.run.folder.is_symlink() or (trial.is_borrowed and trial.run.folder.parent.is_symlink()):
            fix = "put the run's folder itself there"
            raise UserError("a run of the sweep is a link", where=str(trial.run.folder), fix=fix)
        refuse_links(trial.run)
    for name, is_kind in _IN_PLACE.items():
        if (folder / name).is_symlink() or (
            (folder / name).exists() and not is_kind((folder / name).stat().st_mode)
        ):
            what = f"{name} of the sweep is a link, or not what dlrun puts there"
            raise UserError(what, where=str(folder / name), fix="take it away")
    return sweep


def _is_sound(content: Any) -> bool:
    """Whether sweep.json is as dlrun writes it, as far as anything depends on it.

    Raises an error of Python's own where it is altogether different.
    """
    listed = content["runs"]
    names = [each["run"] for each in listed]
    homes = [each.get("borrowed") for each in listed]  # None: the sweep's own, "": the folder around it
    return (
        type(content["jobs"]) is int
        and 1 <= content["jobs"] <= MOST_JOBS
        and isinstance(content["metric"], str)
        and all(type(number) is int for number in content.get("given_up", ()))
        and all(isinstance(name, str) and is_run_name(name) for name in (*names, *filter(None, homes)))
        and len(set(zip(homes, names, strict=True))) == len(names)
        and all(
            isinstance(each["values"], dict)
            and all(type(seed) is int for seed in each["seeds"])
            and type(each.get("number")) in (int, type(None))
            and ("borrowed" not in each or is_run_name(f"{each['name']}-001"))
            and ("borrowed" not in each or bool(each["config"].encode()))
            for each in listed
        )
    )


def sweeps_in(parent: Path) -> list[Sweep]:
    """The sweeps in a folder, the newest first. What is none is passed over."""
    found = []
    for file in parent.glob(f"*/{SWEEP_FILE}"):
        with suppress(UserError):
            found.append(read_sweep(file.parent))
    return sorted(found, key=lambda sweep: str(sweep.content.get("started")), reverse=True)


def unbegun_sweeps(parent: Path) -> list[Path]:
    """The folders in `parent` of sweeps whose making was cut short, before anything was trained."""
    return sorted(folder for folder in parent.glob("*-sweep-*") if is_unbegun_sweep(folder))


def is_unbegun_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep whose making was cut short."""
    return (
        _OWN_NAME.fullmatch(folder.name) is not None
        and folder.is_dir()
        and not folder.is_symlink()
        and is_missing(folder / SWEEP_FILE)
        and is_missing(folder / "config.yaml")  # a run of that name
        and not is_in_use(folder)  # it is being made
    )


def can_borrow(run: Run, parent: Path) -> bool:
    """Whether a sweep in `parent` can name a run, as it names those that stand for one of its own."""
    home = run.folder.parent
    is_beside = home.resolve() == parent.resolve()
    return (
        is_run_name(run.name)
        and not run.folder.is_symlink()
        and (is_beside or (is_run_name(home.name) and not home.is_symlink()))
    )


def all_runs_in(parent: Path) -> list[Run]:
    """The runs in a folder, the newest first, and then those of the sweeps in it."""
    of_sweeps = [trial.run for sweep in sweeps_in(parent) for trial in sweep.trials if not trial.is_borrowed]
    return [*runs_in(parent), *of_sweeps]
