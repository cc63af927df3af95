"""Environment variables that libraries read when they are imported: matplotlib's backend and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def prepare_drawing() -> None:
    """Make matplotlib draw only into files, and print no warning about folders that it cannot write to.

    A backend for windows or a notebook, set in MPLBACKEND, may not be installed here, and then importing
    matplotlib fails. If its folders are not writable, matplotlib and fontconfig, which finds its fonts, get
    a temporary one, which is removed when this process exits.
    """
    os.environ["MPLBACKEND"] = "agg"
    configuration, cache = _folders_of_matplotlib()
    if _can_be_written(configuration) and _can_be_written(cache):
        return
    import atexit
    from tempfile import mkdtemp

    with suppress(OSError):  # the pictures cannot be written either, and that is reported
        folder = mkdtemp(prefix="dlrun-matplotlib-")
        atexit.register(_remove, folder, os.getpid())
        os.environ["MPLCONFIGDIR"] = folder
        if not _can_be_written(_home("XDG_CACHE_HOME", ".cache")):
            os.environ["XDG_CACHE_HOME"] = folder


def _folders_of_matplotlib() -> Iterator[Path | None]:
    """The folders of matplotlib's settings and of its font cache."""
    for variable, name in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        if named := os.environ.get("MPLCONFIGDIR"):
            yield Path(named)
        elif windows := os.environ.get("LOCALAPPDATA"):
            yield Path(windows)
        else:
            home = _home(variable, name)
            yield home and home / "matplotlib"


def _home(variable: str, name: str) -> Path | None:
    """The folder that a variable names, else `name` in the home folder; None if there is no home folder."""
    with suppress(RuntimeError):
        return Path(os.environ.get(variable) or Path.home() / name)
    return None


def _can_be_written(folder: Path | None) -> bool:
    """Return whether a folder is writable, or can be created."""
    if folder is None:
        return False
    with suppress(OSError, RuntimeError):  # a loop of links, or a folder without permission
        folder = folder.resolve()
        place = next(each for each in (folder, *folder.parents) if each.exists())
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


def _remove(folder: str, process: int) -> None:
    """Remove a folder at exit, only in the process that created it and not in its forks."""
    if os.getpid() == process:
        from shutil import rmtree

        rmtree(folder, ignore_errors=True)
