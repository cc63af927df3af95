"""A disk that is watched: each call that writes is counted, may fail, and shows what a power cut leaves."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

FOLDER = -1  # stands for a folder where files have a number
Tree = dict[str, bytes]  # path of a file -> its content


class Disk:
    """Records what this process writes below `root`, while `watched`.

    `calls` are its calls in their order, each with the paths that it concerns: open, write, truncate,
    fsync, replace, mkdir. The call number `failing` raises OSError with the number `error`; `for_good`, so
    does each one after it, as on a disk that is full or has become read-only.
    """

    def __init__(self, root: Path, failing: int = 0, error: int = 0, for_good: bool = False) -> None:
        self.root, self.failing, self.error, self.for_good = root, failing, error, for_good
        self.calls: list[tuple[str, ...]] = []
        self.after: Callable[[], object] = lambda: None  # called after each call that was done
        self._opened: dict[int, str] = {}  # descriptor -> path
        self._files: dict[str, int] = {}  # path -> the number of its file, or FOLDER
        self._synced: dict[int, bytes] = {}  # number of a file -> its content at its last fsync
        self._names: dict[str, dict[str, int]] = {}  # folder -> the names in it at its last fsync
        self._last = 0
        for path in [root, *root.rglob("*")]:  # what is there already is there to stay
            if path.is_file():
                self._synced[self._new(str(path))] = path.read_bytes()
            else:
                self._files[str(path)] = FOLDER
        for path in [path for path, number in self._files.items() if number == FOLDER]:
            self._names[path] = self._listed(path)

    @property
    def failed(self) -> tuple[str, ...]:
        """The call that failed first."""
        return self.calls[self.failing - 1]

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        """Watch the disk, and let it fail."""
        self._real = {name: getattr(os, name) for name in ("open", "fsync", "replace", "mkdir", "unlink")}
        self._open_file = io.open
        with (
            mock.patch.multiple(os, **{name: getattr(self, f"_{name}") for name in self._real}),
            mock.patch.object(io, "open", self._opened_file),
            mock.patch.object(builtins, "open", self._opened_file),
        ):
            yield self

    # ------------------------------------------------------------------------ what a power cut leaves

    def left(self, *, names_are_ahead: bool, data_is_ahead: bool) -> Tree:
        """The files that a power cut at this moment would leave.

        The names of a folder are those of its last fsync, or those of now where they are ahead. The
        content of a file is that of its last fsync, or half of what was written since where it is ahead.
        """
        tree: Tree = {}
        pending = [str(self.root)]
        while pending:
            folder = pending.pop()
            names = self._listed(folder) if names_are_ahead else self._names.get(folder, {})
            for name, number in names.items():
                path = f"{folder}/{name}"
                if number == FOLDER:
                    pending.append(path)
                else:
                    tree[str(Path(path).relative_to(self.root))] = self._content(path, number, data_is_ahead)
        return tree

    def _content(self, path: str, number: int, ahead: bool) -> bytes:
        synced = self._synced.get(number, b"")
        if not ahead or self._files.get(path) != number:
            return synced
        now = Path(path).read_bytes()
        whole = len(synced) if now.startswith(synced) else 0
        return now[: whole + (len(now) - whole) // 2]

    def _listed(self, folder: str) -> dict[str, int]:
        here = {Path(path): number for path, number in self._files.items()}
        return {path.name: number for path, number in here.items() if str(path.parent) == folder}

    def _new(self, path: str) -> int:
        self._last += 1
        self._files[path] = self._last
        return self._last

    # ------------------------------------------------------------------------ the calls

    def _call(self, name: str, *paths: str) -> None:
        self.calls.append((name, *(str(Path(path).relative_to(self.root)) for path in paths)))
        number = len(self.calls)
        if self.failing and (number == self.failing or (self.for_good and number > self.failing)):
            raise OSError(self.error, os.strerror(self.error))

    def _path(self, path: Any) -> str:
        """The path as it is watched; nothing for one that is not."""
        if isinstance(path, int):
            return self._opened.get(path, "")
        absolute = Path(os.fsdecode(path)).absolute()
        return str(absolute) if absolute.is_relative_to(self.root) else ""

    def _open(self, path: Any, flags: int, *mode: int, **options: Any) -> int:
        watched = self._path(path)
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        counted = bool(watched) and (writes or Path(watched).is_dir())
        if counted:
            self._call("open", watched)
        descriptor: int = self._real["open"](path, flags, *mode, **options)
        self._opened[descriptor] = watched
        if counted:
            if watched not in self._files:
                self._new(watched)
            self.after()
        return descriptor

    def _opened_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        watched = self._path(file) if isinstance(file, int | str | os.PathLike) else ""
        if not watched or not set(mode) & set("wax+"):
            return self._open_file(file, mode, buffering, encoding, errors, newline, *more, **options)
        if not isinstance(file, int):
            self._call("open", watched)
        raw = _Raw(file, mode.replace("b", ""))
        raw.watch(self, watched)
        self._opened[raw.fileno()] = watched
        if watched not in self._files:
            self._new(watched)
        self.after()
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def _fsync(self, descriptor: Any) -> None:
        path = self._path(descriptor)
        if path:
            self._call("fsync", path)
        self._real["fsync"](descriptor)
        if path:
            if self._files.get(path) == FOLDER:
                self._names[path] = self._listed(path)
            else:
                self._synced[self._files[path]] = Path(path).read_bytes()
            self.after()

    def _replace(self, before: Any, after: Any, **options: Any) -> None:
        old, new = self._path(before), self._path(after)
        if new:
            self._call("replace", old, new)
        self._real["replace"](before, after, **options)
        if new:
            self._files[new] = self._files.pop(old)
            self.after()

    def _mkdir(self, path: Any, *mode: int, **options: Any) -> None:
        watched = self._path(path)
        if watched:
            self._call("mkdir", watched)
        self._real["mkdir"](path, *mode, **options)
        if watched:
            self._files[watched] = FOLDER
            self.after()

    def _unlink(self, path: Any, **options: Any) -> None:
        watched = "" if options.get("dir_fd") is not None else self._path(path)
        if watched and self.for_good and len(self.calls) >= self.failing and self.error in READ_ONLY:
            raise OSError(self.error, os.strerror(self.error))
        self._real["unlink"](path, **options)
        if watched:
            self._files.pop(watched, None)
            self.after()


READ_ONLY = {errno.EIO, errno.EACCES, errno.EROFS}  # where nothing can be removed either


class _Raw(io.FileIO):
    """A file of which every write is a call."""

    def watch(self, disk: Disk, path: str) -> None:
        self._disk, self._path = disk, path

    def write(self, content: Any) -> int:
        self._disk._call("write", self._path)
        written = super().write(content)
        self._disk.after()
        return written

    def truncate(self, size: int | None = None) -> int:
        self._disk._call("truncate", self._path)
        length = super().truncate(size)
        self._disk.after()
        return length
