"""Names of something else in place of a run: a config, a table, a file in the folder of a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dlrun.config.file_kinds import ARCHIVE, ENDINGS, kind_of_file
from dlrun.config.lookup import find_config
from dlrun.errors import UserError, in_full, shortened
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.run import is_run_folder
from dlrun.system.files import is_file
from dlrun.system.processes import quoted

_HEAD = 16  # bytes of a file that tell its kind
_NAME_A_RUN = "name a run, or the file of a checkpoint"


def refuse_other_files(path: Path, parent: Path) -> None:
    """Raise UserError for a file that is no checkpoint by its name and its first bytes.

    A file .pt may be a damaged checkpoint: it is never refused here. `parent` is the folder of the runs.
    """
    with suppress(OSError):  # one that cannot be read is refused in its place
        if path.suffix == ".pt" or _kind(path) == ARCHIVE:
            return
    if mistaken := mistaken_name(str(path), [run.name for run in runs_in(parent)], parent):
        raise mistaken


def mistaken_name(text: str, names: Sequence[str], parent: Path) -> UserError | None:
    """The error for a text that names a file, a folder in a run's, or a config; None if it does not.

    `names` are those of the runs in `parent`.
    """
    path, shown = Path(text), shortened(text)
    with suppress(OSError, ValueError):  # no valid path
        if path.exists() and (run := _run_around(path)):
            kind = "a file" if is_file(path) else "a folder"
            name = run.absolute().name
            return UserError(f"{shown} is {kind} of the run {name}, not a run", fix=f"name the run: {run}")
        if is_file(path):
            kind = _kind(path)
            return UserError(f"{shown} is {kind}, not a run", fix=_remedy(path, kind, names))
    if config := _config_named(text):
        what = f"there is no run of the config {config} in {in_full(parent)}"
        return UserError(what, fix=f"train it first: {quoted(['dlrun', 'train', config])}")
    return None


def _run_around(path: Path) -> Path | None:
    """The folder of the run that a file or folder lies in; None if it lies in none."""
    around = path.parents[:2] if path.parents else [path.absolute().parent]
    return next(
        (each for each in around if is_run_folder(each) and (each / "checkpoints").is_dir()),
        None,
    )


def _kind(path: Path) -> str:
    """The kind of a file with an article, such as `a table`."""
    with path.open("rb") as file:
        kind = kind_of_file(file.read(_HEAD), path.name)
    return kind or ("a config" if path.suffix in ENDINGS else "a file")


def _remedy(path: Path, kind: str, names: Sequence[str]) -> str:
    if kind == "a config":
        train = f"train it: {quoted(['dlrun', 'train', str(path)])}"
        its_run = next((name for name in names if name.rpartition("-")[0] == path.stem), "")
        return f"name its run, such as {its_run}, or {train}" if its_run else train
    if kind == "a table" or kind.endswith(("image", "Parquet table")):
        file = quoted([str(path)])
        return f"name a run before it: dlrun predict RUN {file}, or dlrun eval RUN --on {file}"
    return _NAME_A_RUN


def _config_named(text: str) -> str:
    """The config that `text` names with or without its ending; "" if there is none."""
    for name in (text, *(f"{text}{ending}" for ending in ENDINGS)):
        with suppress(UserError, OSError, ValueError):
            if not Path(name).is_dir():  # of another program, with a config.yaml of its own
                find_config(name, Path())
                return name
    return ""
