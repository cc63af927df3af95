"""Sweeps found in the folders of runs: by a name, all of them, and those whose creation was interrupted."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import chain
from pathlib import Path

from dlrun.errors import UserError
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.locating import SWEEP_FILE, one_named
from dlrun.run_folders.run import Run, is_run_name
from dlrun.run_folders.sweep_folder import Sweep, read_sweep
from dlrun.system.files import is_file, is_missing
from dlrun.system.locks import is_in_use

_OWN_NAME = re.compile(r".+-sweep-\d{3,}")


def find_sweep(text: str, parent: Path) -> Sweep:
    """The sweep that `text` names: `last`, a folder, or a prefix of exactly one name in `parent`.

    Raises UserError if there is none, or more than one, or if its folder is damaged.
    """
    path = Path(text)
    if is_file(parent / path / SWEEP_FILE):
        path = parent / path
    elif not is_file(path / SWEEP_FILE):
        there = sorted(parent.glob(f"*/{SWEEP_FILE}"), key=lambda file: file.stat().st_mtime)
        names = [file.parent.name for file in there]
        if cut := next((each for each in (path, parent / path) if is_unbegun_sweep(each)), None):
            fix = f"dlrun rm {cut.name}, and start it again"
            what = f"{cut.name} was never started: its creation was interrupted"
            raise UserError(what, where=str(cut), fix=fix)
        is_last = text == "last" and names
        path = parent / (names[-1] if is_last else one_named(text, names, "sweep", parent))
    return read_sweep(path)


def sweeps_in(*parents: Path) -> list[Sweep]:
    """The sweeps in some folders, newest first. Anything else in them is skipped."""
    found = []
    for file in chain.from_iterable(parent.glob(f"*/{SWEEP_FILE}") for parent in parents):
        with suppress(UserError):
            found.append(read_sweep(file.parent))
    return sorted(found, key=lambda sweep: str(sweep.content.get("started")), reverse=True)


def unbegun_sweeps(*parents: Path) -> list[Path]:
    """The folders in `parents` of sweeps whose creation was interrupted, before anything was trained."""
    found = chain.from_iterable(parent.glob("*-sweep-*") for parent in parents)
    return sorted(folder for folder in found if is_unbegun_sweep(folder))


def is_unbegun_sweep(folder: Path) -> bool:
    """Return whether a folder is of a sweep whose creation was interrupted."""
    return (
        _OWN_NAME.fullmatch(folder.name) is not None
        and folder.is_dir()
        and not folder.is_symlink()
        and is_missing(folder / SWEEP_FILE)
        and is_missing(folder / "config.yaml")  # else it is a run with such a name
        and not is_in_use(folder)  # else it is being created now
    )


def can_borrow(run: Run, parent: Path) -> bool:
    """Return whether a sweep in `parent` can borrow a run: it lies beside it or in another sweep there."""
    home = run.folder.parent
    is_beside = home.resolve() == parent.resolve()
    return (
        is_run_name(run.name)
        and not run.folder.is_symlink()
        and (is_beside or (is_run_name(home.name) and not home.is_symlink()))
    )


def all_runs_in(*parents: Path) -> list[Run]:
    """The runs in some folders, newest first, then those of the sweeps in them."""
    of_sweeps = [
        trial.run for sweep in sweeps_in(*parents) for trial in sweep.trials if not trial.is_borrowed
    ]
    return [*runs_in(*parents), *of_sweeps]
