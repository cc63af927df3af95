"""Image files found in a folder, at any depth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dlrun.errors import UserError

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".jp2", ".j2k", ".avif", ".heic", ".heif"),
)
# Files and folders that operating systems create: Windows, macOS, Linux and Synology.
_OF_SYSTEMS = {
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "icon\r",
    "lost+found",
    "@eadir",
}


def image_files(folder: Path, endings: Sequence[str] = SUFFIXES) -> list[Path]:
    """The sorted paths of files with an image's ending at any depth of a folder, without hidden ones.

    Raises UserError as `files_below` does.
    """
    return [Path(file) for file in files_below(folder) if file.lower().endswith(tuple(endings))]


def files_below(folder: Path) -> list[str]:
    """The sorted paths of all files at any depth of a folder, without hidden files and folders.

    Their parts are joined by / on every system. Links are followed. Raises UserError for a folder that cannot
    be listed, and for a circle of links.
    """
    found: list[str] = []
    leading: dict[str, frozenset[tuple[int, int]]] = {}  # folder -> the identities of it and its parents
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_cannot_list):
        status = Path(place).stat()
        here, before = (status.st_dev, status.st_ino), leading.get(os.path.dirname(place), frozenset())  # noqa: PTH120
        if here in before:
            what = "the link leads back to a folder above it"
            raise UserError(what, where=printable(place), fix="remove the link from that path")
        leading[place] = before | {here}
        folders[:] = [name for name in folders if not is_hidden(name)]
        shown = place.replace(os.sep, "/")
        found += [f"{shown}/{name}" for name in names if not is_hidden(name)]
    return sorted(found)


def is_hidden(name: str) -> bool:
    """True for hidden and system files and folders: .git, .ipynb_checkpoints, __MACOSX, Thumbs.db."""
    return name.startswith((".", "__")) or name.lower() in _OF_SYSTEMS


def printable(path: Path | str) -> str:
    """A path as text that can be printed, even if its name is not valid UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _cannot_list(error: OSError) -> None:
    raise UserError(
        f"the folder cannot be listed: {error.strerror}", where=printable(error.filename)
    ) from None
