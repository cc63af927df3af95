"""Places on the disk that a function for Python is given, or finds as the command line does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dlrun.config.registry import Parts, forget_own_parts
from dlrun.errors import UserError

PathLike = str | os.PathLike[str]


class InFolder(Protocol):
    """A run or a sweep."""

    folder: Path


_made: list[Path] = []  # the folder of the parts that `dlrun.part` has written, if it has


def expanded(path: PathLike) -> Path:
    """A path, with ~ as the home folder."""
    return Path(path).expanduser()


def data_folder(given: PathLike | None) -> Path:
    """The folder of data: the one given, else DLRUN_DATA, else data/."""
    return expanded(given or os.environ.get("DLRUN_DATA") or "data")


def own_parts(given: PathLike | None) -> Parts:
    """The parts of dlrun and one's own: of a folder, else DLRUN_PARTS, else of those made by `dlrun.part`.

    Those whose files have changed are imported anew, so that a notebook uses them as they are now.
    """
    forget_own_parts()
    folder = given or os.environ.get("DLRUN_PARTS") or (_made[0] if _made else None)
    return Parts(expanded(folder) if folder else None)


def note_made_parts(folder: Path) -> None:
    """Let `own_parts` find parts that were written into a folder.

    Raises UserError if others were made in another folder: a run takes those of one.
    """
    if _made and _made[0] != folder.absolute():
        what = f"the parts of this program are in {_made[0]}, and a run takes those of one folder"
        raise UserError(what, fix=f'write folder="{_made[0]}"')
    _made[:] = [folder.absolute()]


@dataclass(frozen=True)
class Places:
    """The folders that belong to a run and that its methods use again."""

    parts: PathLike | None = None
    data_dir: PathLike | None = None

    def own_parts(self) -> Parts:
        return own_parts(self.parts)

    def data_folder(self) -> Path:
        return data_folder(self.data_dir)
