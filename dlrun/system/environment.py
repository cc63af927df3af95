"""What libraries read from the environment when they are imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def prepare_drawing() -> None:
    """Have matplotlib draw into files alone, without a word of its own about folders it cannot use.

    A backend that somebody chose for windows or a notebook may not be installed here, and then not even
    matplotlib can be imported. Where its folders cannot be written to it gets one until this process ends,
    as does fontconfig, which it asks for the fonts.
    """
    os.environ["MPLBACKEND"] = "agg"
    configuration, cache = _folders_of_matplotlib()
    if _can_be_written(configuration) and _can_be_written(cache):
        return
    import atexit
    from tempfile import mkdtemp

    with suppress(OSError):  # then there is nowhere to draw to either, which is said there
        folder = mkdtemp(prefix="dlrun-matplotlib-")
        atexit.register(_remove, folder, os.getpid())
        os.environ["MPLCONFIGDIR"] = folder
        if not _can_be_written(_home("XDG_CACHE_HOME", ".cache")):
            os.environ["XDG_CACHE_HOME"] = folder


def _folders_of_matplotlib() -> Iterator[Path | None]:
    """Where matplotlib keeps its settings, and the list of fonts."""
    for variable, name in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        if named := os.environ.get("MPLCONFIGDIR"):
            yield Path(named)
        elif windows := os.environ.get("LOCALAPPDATA"):
            yield Path(windows)
        else:
            home = _home(variable, name)
            yield home and home / "matplotlib"


def _home(variable: str, name: str) -> Path | None:
    """The folder that a variable names, else one in the home folder; None where there is no home folder."""
    with suppress(RuntimeError):
        return Path(os.environ.get(variable) or Path.home() / name)
    return None


def _can_be_written(folder: Path | None) -> bool:
    """Whether a folder can be written to, or made."""
    if folder is None:
        return False
    with suppress(OSError, RuntimeError):  # a circle of links, or what may not be looked into
        folder = folder.resolve()
        place = next(each for each in (folder, *folder.parents) if each.exists())
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


def _remove(folder: str, process: int) -> None:
    """Remove a folder that a process made, in that process: one that was forked from it leaves it alone."""
    if os.getpid() == process:
        from shutil import rmtree

        rmtree(folder, ignore_errors=True)
