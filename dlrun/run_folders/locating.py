"""New folders of runs, numbered, and runs found by their name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dlrun.errors import UserError, in_full, nearest, shortened
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.mistaken_names import mistaken_name
from dlrun.run_folders.run import Run, is_run_folder, is_run_name, refuse_links
from dlrun.system.file_names import composed_name
from dlrun.system.files import ANOTHER_RUNS_DIR, cannot_write, is_file, make_folder, sync_folder

_NUMBERED = re.compile(r"(.+)-([0-9]{3,})$")
SWEEP_FILE = "sweep.json"  # marks the folder of a sweep


def create_run(parent: Path, name: str, config_text: str) -> Run:
    """Create the folder parent/name-NNN of a run with its config; safe against other processes."""
    return _begun(new_folder(parent, name), config_text)


def create_only_run(parent: Path, name: str, config_text: str) -> Run:
    """Create the folder parent/name-001 of a run with its config.

    If it is there already, because its creation was killed or another process was faster, it is taken.
    """
    latest = run_called(parent, name)
    folder = latest.folder if latest else parent / f"{name}-001"
    try:
        make_folder(parent, ANOTHER_RUNS_DIR)
        folder.mkdir(exist_ok=True)
        sync_folder(parent)
    except OSError as error:
        raise cannot_write(parent, error, ANOTHER_RUNS_DIR) from None
    return _begun(folder, config_text)


def _begun(folder: Path, config_text: str) -> Run:
    """The run of a folder, with its config and the folders that every run has."""
    try:
        for name in ("checkpoints", "plots"):
            (folder / name).mkdir(exist_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise cannot_write(folder.parent, error, ANOTHER_RUNS_DIR) from None
    run = Run(folder)
    run.mark_unfinished()
    run.write_config(config_text)
    return run


def run_called(parent: Path, name: str) -> Run | None:
    """The run parent/name-NNN with the highest number, None if there is none.

    One whose creation was killed has no config. Raises UserError if it is a link, or if `name` is that of a
    folder with its number.
    """
    folder = latest_folder(parent, name)
    if folder is None:
        if is_run_folder(parent / name) and (numbered := _NUMBERED.match(name)):
            what = f"{name} is the folder of a run, whose name is {numbered[1]}"
            raise UserError(what, where=in_full(parent), fix=f"write --name {numbered[1]}")
        return None
    refuse_links(Run(folder))
    return Run(folder)


def latest_folder(parent: Path, name: str) -> Path | None:
    """The folder parent/name-NNN with the highest number, None if there is none."""
    numbers = _numbers(parent, name) if parent.is_dir() else []
    return parent / f"{name}-{max(numbers):03d}" if numbers else None


def _numbers(parent: Path, name: str) -> list[int]:
    """The numbers of the folders parent/name-NNN."""
    found = (_NUMBERED.match(path.name) for path in parent.iterdir())
    return [int(match[2]) for match in found if match and match[1] == name]


def new_folder(parent: Path, name: str) -> Path:
    """Create the folder parent/name-NNN, with the number after the highest one in use."""
    try:
        make_folder(parent, ANOTHER_RUNS_DIR)
        number = max(_numbers(parent, name), default=0)
        while True:
            number += 1
            folder = parent / f"{name}-{number:03d}"
            try:
                folder.mkdir()  # exclusive: only one process can create it
                break
            except FileExistsError:
                continue
        sync_folder(parent)
        return folder
    except OSError as error:
        raise cannot_write(parent, error, ANOTHER_RUNS_DIR) from None


def find_run(text: str, parent: Path) -> Run:
    """The run that `text` names: `last`, a folder, or a prefix of exactly one name in `parent`.

    Raises UserError if there is none, or more than one, or if the folder is refused by `refuse_links`.
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
            fix = f"name one of them, such as {sweep.resolve().name}/{inside}"
            raise UserError(f"{shortened(text)} is a sweep of many runs", fix=fix)
    runs = runs_in(parent)
    if text == "last" and runs:
        return runs[0]
    return Run(parent / one_named(text, [run.name for run in runs], "run", parent))


def _in_sweep(text: str, parent: Path) -> Run | None:
    """The run that SWEEP/RUN names in `parent`; None if there is none, or a folder is a link."""
    sweep, _, name = text.replace(os.sep, "/").partition("/")
    home, folder = parent / sweep, parent / sweep / name
    is_there = is_run_name(sweep) and is_run_name(name) and is_run_folder(folder)
    return Run(folder) if is_there and not (home.is_symlink() or folder.is_symlink()) else None


def one_named(text: str, names: Sequence[str], kind: str, parent: Path) -> str:
    """The name that equals `text`, or the only one that begins with it.

    Raises UserError if there is none, or more than one.
    """
    wanted = composed_name(text)
    matching = [name for name in names if composed_name(name) == wanted]
    matching = matching or [name for name in names if composed_name(name).startswith(wanted)]
    if len(matching) > 1:
        several = f"{', '.join(matching[:5])}{' …' if len(matching) > 5 else ''}"
        raise UserError(f"{shortened(text)} could be {several}", fix="write more of the name")
    if not matching or not text.strip():
        if mistaken := mistaken_name(text, names, parent):
            raise mistaken
        shown = nearest(text, names[:10]) if names else f"; there are no {kind}s in {in_full(parent)}"
        of_sweeps = kind == "run" and any(parent.glob(f"*/{SWEEP_FILE}"))
        fix = (
            "a run of a sweep is named SWEEP/RUN; dlrun runs --where 'epochs > 0' lists all"
            if of_sweeps
            else ""
        )
        where = in_full(parent) if names else ""
        raise UserError(f"there is no {kind} {shortened(text)}{shown}", where=where, fix=fix)
    return matching[0]
