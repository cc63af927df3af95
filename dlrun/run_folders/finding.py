"""Runs and sweeps found by what a user calls them: `last`, a folder, the start of a name, SWEEP/RUN."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from dlrun.errors import UserError, in_full, nearest, shortened
from dlrun.run_folders.listing import names_in, runs_in
from dlrun.run_folders.locating import SWEEP_FILE, one_named
from dlrun.run_folders.mistaken_names import mistaken_name
from dlrun.run_folders.run import Run, is_run_folder, is_run_name, refuse_links
from dlrun.run_folders.sweep_finding import find_sweep, sweeps_in
from dlrun.run_folders.sweep_folder import Sweep, read_sweep
from dlrun.system.file_names import composed_name
from dlrun.system.files import is_file

BEST = "best"  # SWEEP/best


def find_run(text: str, parent: Path) -> Run:
    """The run that `text` names: `last`, a folder, or a prefix of exactly one name in `parent`.

    SWEEP/best is the best run of a sweep. Raises UserError if there is none, or more than one, or if the
    folder is refused by `refuse_links`.
    """
    run = _named(text, parent)
    refuse_links(run)
    return run


def find_run_among(text: str, parents: Sequence[Path]) -> Run:
    """The run that `text` names in one of several folders; `last` is the newest of all of them.

    Raises UserError if none of them has it, or more than one.
    """
    if text == "last":
        newest = runs_in(*parents)[:1]
        return find_run(str(newest[0].folder) if newest else text, parents[0])
    found, refused = dict[Path, Run](), list[UserError]()
    for parent in parents:
        try:
            run = find_run(text, parent)
            found.setdefault(run.folder.resolve(), run)
        except UserError as error:
            refused.append(error)
    if len(found) > 1:
        folders = ", ".join(str(run.folder) for run in found.values())
        raise UserError(f"{shortened(text)} could be {folders}", fix="name its folder")
    if not found:
        raise refused[0]
    return next(iter(found.values()))


def _named(text: str, parent: Path) -> Run:
    path = Path(text)
    with suppress(OSError):  # a name too long for any folder
        if is_run_folder(path):
            return Run(path if path.name else path.resolve())
        if of_sweep := _in_sweep(text, parent):
            return of_sweep
        sweep = next((each for each in (path, parent / path) if is_file(each / SWEEP_FILE)), None)
        if sweep and text.strip():
            inside = min((file.parent.name for file in sweep.glob("*/config.yaml")), default="RUN")
            name = sweep.resolve().name
            fix = f"name one of them, such as {name}/{inside}, or the best one, {name}/{BEST}"
            raise UserError(f"{shortened(text)} is a sweep of many runs", fix=fix)
    if of_sweep_named := _before_best(text):
        from dlrun.run_folders.best_run import best_run  # a tenth of a second, for which a shell waits

        return best_run(find_sweep(of_sweep_named, parent))
    begun = [name for name in names_in(parent) if composed_name(name).startswith(composed_name(text))]
    if len(begun) == 1 and text.strip():
        return Run(parent / begun[0])
    runs = runs_in(parent)  # which reads each summary: the newest is the last one, and is named first
    if text == "last" and runs:
        return runs[0]
    return Run(parent / one_named(text, [run.name for run in runs], "run", parent))


def _in_sweep(text: str, parent: Path) -> Run | None:
    """The run that SWEEP/RUN names in `parent`; None if there is none, or a folder is a link."""
    sweep, _, name = text.replace(os.sep, "/").partition("/")
    home, folder = parent / sweep, parent / sweep / name
    is_there = is_run_name(sweep) and is_run_name(name) and is_run_folder(folder)
    return Run(folder) if is_there and not (home.is_symlink() or folder.is_symlink()) else None


def _before_best(text: str) -> str:
    """The name of the sweep in SWEEP/best; "" if `text` is none."""
    sweep, slash, last = text.replace(os.sep, "/").rstrip("/").rpartition("/")
    return sweep if slash and last == BEST else ""


def find_runs(text: str, parent: Path) -> list[Run | Sweep]:
    """The runs or sweeps that `text` names, the oldest first.

    It is `last`, the folder of a run or a sweep, a folder of runs, or a prefix or a pattern of names in
    `parent`; sweeps match a prefix or a pattern only if no run does. Raises UserError if nothing matches.
    """
    path = Path(text)
    if not text.strip():
        raise UserError("an empty name names no run", fix="name a run, or '*' for all of them")
    for folder in (path, parent / path):
        with suppress(OSError):  # a name too long for any folder
            if is_file(folder / SWEEP_FILE):
                return [read_sweep(folder)]
            if is_run_folder(folder):
                return [Run(folder if folder.name else folder.resolve())]
    if _before_best(text):
        return [find_run(text, parent)]
    if inside := runs_in(path)[::-1]:
        return [*inside]
    if path.parent != Path():  # a pattern of folders elsewhere
        parent, text = path.parent, path.name
    there: list[Run | Sweep] = [*runs_in(parent)[::-1]]
    sweeps: list[Run | Sweep] = [*sweeps_in(parent)[::-1]]
    if text == "last" and (there or sweeps):
        return [max([*there[-1:], *sweeps[-1:]], key=_started)]
    pattern = text if any(sign in text for sign in "*?[") else f"{text}*"
    for of_kind in (there, sweeps):
        if found := [each for each in of_kind if fnmatchcase(each.name, pattern)]:
            return found
    names = [each.name for each in (*there, *sweeps)]
    if mistaken := mistaken_name(str(path), names[::-1], parent):
        raise mistaken
    raise UserError(f"there is no run {shortened(text)}{nearest(text, names)}", where=in_full(parent))


def find_runs_among(text: str, parents: Sequence[Path]) -> list[Run | Sweep]:
    """The runs or sweeps that `text` names in several folders; `last` is the newest of all of them.

    Raises UserError if nothing matches in any of them.
    """
    found, refused = dict[Path, Run | Sweep](), list[UserError]()
    for parent in parents:
        try:
            found |= {each.folder.resolve(): each for each in find_runs(text, parent)}
        except UserError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return [max(found.values(), key=_started)] if text == "last" else list(found.values())


def _started(each: Run | Sweep) -> str:
    return str((each.content if isinstance(each, Sweep) else each.summary()).get("started", ""))
