"""A sweep's folder: created, read and found again. PyTorch is not imported.

runs/spiral_relu-sweep-001/
    sweep.json             the command, the swept values, and the values that are set in each run
    base.yaml              the config in which the values are set
    results.csv            the settings, the best first, with mean, sd and n of their seeds
    best.yaml              the config of the best setting, with all its seeds
    out_of_fold.csv        of a cross-validation: each example as the models predict it that did not see it
    out_of_fold.json       and the figures of all of these predictions together, means over seeds
    plots/*.png
    workers.log            output of the worker processes, beyond the log of each run
    sockets.json           while it trains: the folder of its socket, which a kill leaves behind; a shard has
                           its own, such as sockets-3-8.json
    study.log              of a search: its trials with their results
    spiral_relu-001/ …     ordinary runs
"""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.errors import UserError
from dlrun.run_folders.locating import SWEEP_FILE, create_run, new_folder
from dlrun.run_folders.run import ENDED, Run, is_run_name, refuse_links
from dlrun.system.bounds import LOG, SWEEP
from dlrun.system.files import cannot_write, is_missing, read_bounded, unshare, write_atomically
from dlrun.system.locks import is_in_use, lock
from dlrun.system.processes import command_line, identity, is_alive, now, quoted
from dlrun.system.strict_json import finite

if TYPE_CHECKING:
    from dlrun.config.keys import Config

BASE, BEST_CONFIG = "base.yaml", "best.yaml"
OUT_OF_FOLD, OUT_OF_FOLD_FIGURES = "out_of_fold.csv", "out_of_fold.json"
MOST_JOBS = 1024
_IN_PLACE = {"workers.log": stat.S_ISREG, "study.log": stat.S_ISREG, "plots": stat.S_ISDIR}  # not replaced


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, with the values set in it; in a search, `number` is that of its setting.

    `is_borrowed`: it was trained before, and lies beside the sweep's folder or in another sweep.
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
    def commands(self) -> list[list[str]]:
        """The words of the command that began it, and of those that added runs."""
        grown = self.content.get("grown_by")
        every = [self.content.get("command"), *(grown if isinstance(grown, list) else [])]
        return [
            words for words in every if isinstance(words, list) and all(isinstance(w, str) for w in words)
        ]

    @property
    def metric(self) -> str:
        """The metric that the settings are ranked by: a column, or best.COLUMN."""
        return str(self.content["metric"])

    @property
    def higher_is_better(self) -> bool | None:
        """True if a higher figure of the metric is better; None if an earlier dlrun did not record it."""
        found = self.content.get("higher_is_better")
        if found is None and self.is_search:
            found = self.content["search"].get("higher_is_better")
        return found if isinstance(found, bool) else None

    @property
    def jobs(self) -> int:
        """The number of runs that train at once, unless --jobs overrides it."""
        return int(self.content["jobs"])

    @property
    def has_chosen_jobs(self) -> bool:
        """True if --jobs was given as it was begun, False if `jobs` follows from the machine and the runs."""
        return self.content.get("chosen_jobs") is True

    @property
    def device(self) -> str:
        """The device of its config; "" of a sweep that an earlier dlrun made, whose GPUs are not dealt."""
        return str(self.content.get("device", ""))

    @property
    def cpus(self) -> int:
        """The processors that each run asks Ray for; 0 of a sweep that was not begun with --ray."""
        return self._whole("cpus")

    @property
    def runs_per_gpu(self) -> int:
        """The number of runs that share a GPU, if it was begun with --ray and --jobs-per-gpu, else 0."""
        return self._whole("runs_per_gpu")

    def _whole(self, name: str) -> int:
        found = self.content.get(name)
        return found if type(found) is int and found > 0 else 0

    @property
    def wanted(self) -> int:
        """The number of settings that a search draws in all; 0 for any other sweep."""
        count = self.content["search"].get("count") if self.is_search else 0
        return count if isinstance(count, int) else 0

    @property
    def is_search(self) -> bool:
        """True if the next settings are chosen by the results so far (--optuna)."""
        return "search" in self.content

    @property
    def is_cross_validation(self) -> bool:
        """True if its runs are of one setting, and differ by the fold that they hold out."""
        from dlrun.config.keys import FOLD, FOLDS  # a listing does without what it imports

        if self.is_search or not self.trials:
            return False
        return all(trial.values.keys() - {FOLDS} == {FOLD} for trial in self.trials)

    @property
    def given_up(self) -> list[int]:
        """The numbers of the settings that a search pruned."""
        return list(self.content.get("given_up", ()))

    def _run(self, entry: dict[str, Any]) -> Run:
        """The run of an entry: in this folder, or, if borrowed, beside it or in another sweep beside it.

        If a borrowed run was deleted, or its config has changed, the folder is one that does not exist.
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

    def resume_command(self, parts: Path | None, ray: str | None = None) -> str:
        """The command that resumes the sweep, with --parts, and --ray with its address, if needed."""
        words = ["dlrun", "sweep", "--resume", str(self.folder)]
        words += ["--parts", str(parts)] if parts else []
        words += ["--ray"] if ray else []
        return quoted([*words, *([ray] if ray and ray != "auto" else [])])  # alone it finds the cluster

    @contextmanager
    def lock(self, *, is_shared: bool = False) -> Iterator[None]:
        """Hold the lock of this sweep, to train it alone. Raises RunFailed if another process holds it.

        Processes whose lock `is_shared` may train parts of it at the same time; they leave sweep.json alone.
        """
        with lock(self.folder, lambda: self.content, is_shared=is_shared):
            now = read_sweep(self.folder).content  # the process that held the lock may have added runs
            self.content.clear()
            self.content.update(now)
            if not is_shared:
                self.content.update(identity())
                self.write()
                self._remove_leftovers()
            self._unshare_logs()
            yield

    def _unshare_logs(self) -> None:
        """Replace logs that have hard links by copies, before lines are appended to them."""
        for name in (name for name, is_kind in _IN_PLACE.items() if is_kind is stat.S_ISREG):
            try:
                unshare(self.folder / name, LOG)
            except OSError as error:
                raise cannot_write(self.folder / name, error) from None

    def _remove_leftovers(self) -> None:
        """Remove temporary files of ended processes; a live one may draw pictures without the lock."""
        for folder in (self.folder, self.plots):
            for leftover in folder.glob("*.*.tmp") if not folder.is_symlink() else ():
                if not is_alive(leftover.name.split(".")[-2]):
                    with suppress(OSError):  # a leftover does no harm
                        leftover.unlink()

    def write(self) -> None:
        """Replace sweep.json."""
        text = json.dumps(finite(self.content), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(
            self.folder / SWEEP_FILE, lambda file: file.write(f"{text}\n".encode(errors="backslashreplace"))
        )

    def remove_unlisted(self) -> None:
        """Remove the folders of runs that a search created and was killed before it wrote sweep.json."""
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
        """The runs that are left to train: not started, interrupted, or failed.

        A run that diverged would diverge again, and a borrowed run does not belong to this sweep.
        """
        given_up = set(self.given_up)
        return [
            trial
            for trial in self.trials
            if trial.number not in given_up
            and not trial.is_borrowed
            and trial.run.summary().get("status") not in ENDED
        ]

    def add(self, values: dict[str, Any], config: Config, number: int | None = None) -> Trial:
        """Create a run and add it to the sweep; the caller calls `write`."""
        from dlrun.config.dumping import dump_config

        run = create_run(self.folder, config.name, dump_config(config))
        self.content["runs"].append(
            {"run": run.name, "values": values, "seeds": config.seeds}
            | ({} if number is None else {"number": number})
        )
        return Trial(run, values, config.seeds, number)

    def borrow(self, values: dict[str, Any], run: Run, config: Config) -> None:
        """Add a run that was trained before, beside the sweep or in another one, to save training it.

        Its config is kept, so that it can be trained if that run is deleted.
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
        """Create a run in this sweep for each borrowed run that no longer exists."""
        for entry, trial in zip(self.content["runs"], self.trials, strict=True):
            if trial.is_borrowed and not trial.run.config.exists():
                run = create_run(self.folder, entry["name"], entry["config"])
                del entry["borrowed"], entry["name"], entry["config"]
                entry["run"] = run.name
                self.write()


@contextmanager
def created_sweep(
    parent: Path, name: str, *, jobs: int, metric: str, device: str, **more: Any
) -> Iterator[Sweep]:
    """Create the folder parent/name-sweep-NNN; the caller adds the runs in this context.

    sweep.json, with the entries of `more`, is written at the end of the context: a folder without it that no
    process has locked is of a creation that was killed, and cannot be resumed.
    """
    folder = new_folder(parent, f"{name}-sweep")
    began = {"started": now(), "command": command_line()}
    sweep = Sweep(folder, {**began, "jobs": jobs, "metric": metric, "device": device, **more, "runs": []})
    with lock(folder, identity):
        yield sweep
        sweep.write()


@lru_cache(maxsize=10_000)  # `trials` asks for every borrowed run each time
def _is_of(path: Path, written: int, config: str) -> bool:
    """Return whether the config at a path equals this one, apart from the keys in FREE.

    `written`, the file's modification time, makes the cache notice a change.
    """
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


def read_sweep(folder: Path) -> Sweep:
    """Read the sweep in a folder, which is untrusted: no run that it trains may lie outside.

    Raises UserError if sweep.json is damaged, or if a file or a folder in it is a link.
    """
    folder = folder if folder.name else folder.resolve()  # `.` has no name and is its own parent
    path = folder / SWEEP_FILE
    try:
        content = json.loads(read_bounded(path, SWEEP))
        sound = _is_sound(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UserError(
            "this is not a valid sweep.json",
            where=str(path),
            fix="restore the file; each run in the folder can also be resumed by itself",
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
            kind = "folder" if is_kind is stat.S_ISDIR else "file"
            what = f"{name} of the sweep is a link, or not a {kind}"
            raise UserError(what, where=str(folder / name), fix="remove it")
    return sweep


def _is_sound(content: Any) -> bool:
    """Return whether the entries of sweep.json that dlrun reads have the right types and values.

    Raises KeyError, TypeError or AttributeError if the structure is another one.
    """
    listed = content["runs"]
    names = [each["run"] for each in listed]
    homes = [each.get("borrowed") for each in listed]  # None: the sweep's own, "": the folder around it
    return (
        type(content["jobs"]) is int
        and 1 <= content["jobs"] <= MOST_JOBS
        and isinstance(content["metric"], str)
        and isinstance(content.get("search", {}), dict)
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
