"""Deletion of runs and sweeps for `dlrun rm`: described first, and only inside the folder of runs."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from dlrun.errors import RunFailed, UserError, shortened
from dlrun.run_folders.finding import BEST, find_run
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.locating import SWEEP_FILE, one_named
from dlrun.run_folders.run import Run, is_run_folder
from dlrun.run_folders.sweep_finding import is_unbegun_sweep, sweeps_in, unbegun_sweeps
from dlrun.run_folders.sweep_folder import read_sweep
from dlrun.system.files import is_file
from dlrun.system.locks import is_in_use, remove_locked


def deletable(text: str, parent: Path) -> list[Path]:
    """The folder of the run or the sweep in `parent` that `text` names; `last` is the newest run.

    A pattern such as `base-*` names all that match it; one without a letter is refused.
    Raises UserError for any other folder: dlrun deletes nothing but runs and sweeps.
    """
    if not text.strip():
        raise UserError("an empty name names no run")
    if not text.strip("*?"):
        what = f"{shortened(text)} would be every run and every sweep"
        raise UserError(what, fix="write the beginning of their names, such as 'base-*'")
    folder, path = None, Path(text)
    for each in (path, parent / path):
        with suppress(OSError):  # a name too long for any folder
            if is_file(each / SWEEP_FILE) or is_run_folder(each) or is_unbegun_sweep(each):
                folder = each
                break
    if folder is None and (text == "last" or text.rstrip("/").endswith(f"/{BEST}")):
        folder = find_run(text, parent).folder
    found = [folder] if folder else []
    if folder is None:
        sweeps = [sweep.folder for sweep in sweeps_in(parent)] + unbegun_sweeps(parent)
        names = [run.name for run in runs_in(parent)] + [sweep.name for sweep in sweeps]
        matching = [name for name in names if fnmatchcase(name, text)] if has_magic(text) else []
        found = [parent / name for name in matching or [one_named(text, names, "run", parent)]]
    for each in found:
        refuse_to_delete(each, parent)
    return found


def refuse_to_delete(folder: Path, parent: Path) -> None:
    """Raises UserError unless the folder is a run or a sweep in `parent`, RunFailed if it is in use."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link", fix="name what it leads to, or delete the link by hand")
    real = folder.resolve()
    if parent.resolve() not in real.parents:
        raise UserError(
            f"{folder} is not in {parent}", fix="name its folder with --runs-dir, or delete it by hand"
        )
    if (real.parent / SWEEP_FILE).exists():
        raise UserError(
            f"{folder.name} is a run of the sweep {real.parent.name}, which needs it",
            fix=f"delete the whole sweep: dlrun rm {real.parent.name}",
        )
    if not is_file(real / SWEEP_FILE) and not is_unbegun_sweep(real) and _runs_in(real):
        raise UserError(f"{folder.name} holds other runs", fix="name those, or delete the folder by hand")
    if busy := next((each for each in (folder, *_runs_in(folder)) if is_in_use(each)), None):
        raise RunFailed(f"{busy.name} is in use", where=str(busy), fix="wait until it is done, or stop it")


def describe_folder(folder: Path) -> str:
    """Describe a run or a sweep before its deletion: status, files, size, and sweeps that need it."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files)
    if is_file(folder / SWEEP_FILE):
        try:
            what = f"a sweep of {len(read_sweep(folder).trials)} runs"
        except UserError:
            what = "a sweep that cannot be read"
    elif is_unbegun_sweep(folder):
        what = "a sweep that was never started"
    else:
        run = Run(folder)
        summary = run.summary()
        what = f"{run.status(summary)} after epoch {shortened(summary.get('epochs', 0))}"
    real, needed = folder.resolve(), ""
    for sweep in sweeps_in(folder.parent):
        borrowed = [trial.run.folder.resolve() for trial in sweep.trials if trial.is_borrowed]
        if any(real in (each, *each.parents) for each in borrowed):
            needed += f", which the sweep {sweep.name} needs"
    return f"{what}, {len(files)} files, {size / 2**20:,.1f} MiB{needed}"


def delete_folder(folder: Path) -> None:
    """Delete a run or a sweep. Raises RunFailed if it is in use or the disk refuses."""
    with Run(folder).lock():
        for each in _runs_in(folder):
            with Run(each).lock():  # raises RunFailed if a process trains this run of the sweep
                pass
        try:
            remove_locked(folder)
        except OSError as error:
            what = f"cannot delete {folder}: {error.strerror or error}"
            raise RunFailed(what, fix="see that it can be written to") from None


def _runs_in(folder: Path) -> list[Path]:
    """The runs in a folder."""
    return [file.parent for file in folder.glob("*/config.yaml")]
