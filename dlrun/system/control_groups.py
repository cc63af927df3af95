"""Limits of a container: the control groups (cgroups) of Linux, versions 1 and 2, read from their files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path, PurePosixPath

_ESCAPED = re.compile(rb"\\([0-7]{3})")  # mountinfo escapes spaces and the like in octal


@dataclass(frozen=True)
class Limits:
    """The smallest limits of this process's control groups and of their ancestors.

    `cores` may be a fraction, `memory` is in bytes; both are infinite if nothing limits them.
    `memory_file` is the file that sets the memory limit.
    """

    cores: float = inf
    memory: float = inf
    memory_file: str = ""


@cache
def limits(root: Path = Path("/")) -> Limits:
    """The limits of this process, read from the files below root/proc/self and root/sys.

    A file that cannot be read sets no limit. The result is cached: a process keeps the number of threads
    that it started with.
    """
    cores, memory, memory_file = inf, inf, ""
    for folder in _folders(root, "cpu"):
        cores = min(cores, _quota(_words(folder / "cpu.max")), _quota_of_version_1(folder))
    for folder in _folders(root, "memory"):
        for file in (folder / "memory.max", folder / "memory.limit_in_bytes"):
            if (found := _positive(_words(file)[:1])) < memory:
                memory, memory_file = found, f"/{file.relative_to(root)}"
    return Limits(cores, memory, memory_file)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups and of their ancestors, for one controller."""
    mounts = list(_mounts(root, controller))
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        is_version_2 = number == "0" and not controllers
        if not is_version_2 and controller not in controllers.split(","):
            continue
        own = [mount for mount in mounts if mount.is_version_2 == is_version_2]
        inside = [mount for mount in own if mount.holds(path)]
        # In a container the path may be the host's, of which only the last part is mounted.
        for mount in inside or own:
            below = PurePosixPath(path).relative_to(mount.top) if inside else PurePosixPath()
            for part in (below, *below.parents):
                yield root / mount.folder.lstrip("/") / part


@dataclass(frozen=True)
class _Mount:
    """A mounted tree of groups: its folder, and the path of the group at its root."""

    folder: str
    top: str
    is_version_2: bool

    def holds(self, path: str) -> bool:
        return ".." not in PurePosixPath(path).parts and PurePosixPath(path).is_relative_to(self.top)


def _mounts(root: Path, controller: str) -> Iterator[_Mount]:
    """Yield the mounted trees of groups in which a controller may have its files."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        places, kinds = before.split(" "), after.split(" ")
        if len(places) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2" or (kinds[0] == "cgroup" and controller in kinds[2].split(",")):
            yield _Mount(_unescaped(places[4]), _unescaped(places[3]), kinds[0] == "cgroup2")


def _unescaped(name: str) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 255]), os.fsencode(name)))


def _quota(words: list[str]) -> float:
    """The cores that `quota period` allows, both in microseconds; infinite without a quota."""
    return _positive(words[:1]) / period if (period := _positive(words[1:2])) < inf else inf


def _quota_of_version_1(folder: Path) -> float:
    return _quota(_words(folder / "cpu.cfs_quota_us")[:1] + _words(folder / "cpu.cfs_period_us")[:1])


def _positive(words: list[str]) -> float:
    """The positive number that a file holds; infinite for `max`, for -1 and for anything else."""
    text = words[0] if words else ""
    return float(text) if text.isdecimal() and len(text) < 100 and int(text) > 0 else inf


def _words(file: Path) -> list[str]:
    return next(iter(_lines(file)), "").split()


def _lines(file: Path) -> list[str]:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return []
