"""New folders of runs, numbered, and the one folder among some that a name means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dlrun.errors import UserError, in_full, nearest, shortened
from dlrun.run_folders.mistaken_names import mistaken_name
from dlrun.run_folders.run import Run, is_run_folder, refuse_links
from dlrun.system.file_names import composed_name
from dlrun.system.files import ANOTHER_RUNS_DIR, cannot_write, is_file, make_folder, sync_folder

_NUMBERED = re.compile(r"(.+)-([0-9]{3,})$")
_TOLD = 10  # names in a message
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


def is_sweep_folder(folder: Path) -> bool:
    """True for the folder of a sweep whose creation has ended."""
    return is_file(folder / SWEEP_FILE)


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
        shown = nearest(text, names[:_TOLD]) if names else f"; there are no {kind}s in {in_full(parent)}"
        shown += f" and {len(names) - _TOLD:,} more" if len(names) > _TOLD else ""
        of_sweeps = kind == "run" and any(parent.glob(f"*/{SWEEP_FILE}"))
        fix = (
            "a run of a sweep is named SWEEP/RUN; dlrun runs --where 'epochs > 0' lists all"
            if of_sweeps
            else ""
        )
        where = in_full(parent) if names else ""
        raise UserError(f"there is no {kind} {shortened(text)}{shown}", where=where, fix=fix)
    return matching[0]
