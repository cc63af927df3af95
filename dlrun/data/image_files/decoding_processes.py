"""Processes that decode small image files, which threads read in turn: most of that is Python code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from queue import SimpleQueue
from typing import Any

import numpy as np

from dlrun.data.image_files.reading import Picture, read_picture
from dlrun.errors import UserError

MOST = 8  # processes: the one that they serve hashes and writes what they decode, a sixth as much work
MOST_PIXELS = 2**18  # of an image that they read; larger ones keep Pillow busy, which lets other threads run
_READY, _NONE = b"\0answer\n", b"\xff"
_REMARKS = ("is_deep", "is_cut", "is_first", "is_clipped")  # of a Picture, from the lowest bit on
_PATIENCE = 10  # lists of files without a picture in a row, after which a process is of no use
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from dlrun.data.image_files.decoding_processes import serve; serve()"
)


class DecodingProcesses:
    """Up to MOST processes that read files with `settings`, the keyword arguments of `read_picture`.

    They import no PyTorch and start in a fifth of a second. The caller reads the rest: a larger image, one
    that cannot be read, and all files once they have been killed or were of no use. They end with this
    context, or with the process that started them.
    """

    def __init__(self, count: int, settings: Mapping[str, Any]) -> None:
        self._all = [process for _ in range(min(count, MOST)) if (process := _begun(settings))]
        self._shape = settings["channels"], settings["height"], settings["width"]
        self._fruitless = dict.fromkeys(self._all, 0)  # lists without a picture so far, in a row
        self._idle: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
        for process in self._all:
            self._idle.put(process)
        if not self._all:
            self._idle.put(None)

    def __enter__(self) -> DecodingProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            _end(process)

    def pictures(self, files: Sequence[str]) -> list[Picture | None]:
        """The pictures in some files, read by a process that is idle; None for each that it leaves.

        Several threads may ask at once.
        """
        process, found = self._idle.get(), list[Picture | None]()
        try:
            if process is not None:
                found = _asked(process, files, self._shape)
        finally:
            self._idle.put(process if process is None or self._is_of_use(process, found) else None)
        return found or [None] * len(files)

    def _is_of_use(self, process: subprocess.Popen[bytes], found: Sequence[Picture | None]) -> bool:
        """True if a process is to be asked again; else it ends: it was killed, or reads only photographs."""
        self._fruitless[process] = 0 if any(found) else self._fruitless[process] + 1
        if found and self._fruitless[process] < _PATIENCE:
            return True
        _end(process)
        return False


def serve() -> None:
    """Answer lists of files with their pictures, until standard input ends.

    A list is a line of JSON. The answer is READY, and for each file a byte of its remarks and its pixels, or
    the byte NONE.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    settings = json.loads(sys.stdin.readline())
    settings["levels"] = settings["levels"] and tuple(settings["levels"])
    with suppress(BrokenPipeError):
        for line in sys.stdin:
            answers.write(_READY)
            for file in json.loads(line):
                picture = _picture(file, settings)
                answers.write(_NONE if picture is None else _packed(picture))
            answers.flush()


def _picture(file: str, settings: Mapping[str, Any]) -> Picture | None:
    try:
        return read_picture(file, **settings, most_pixels=MOST_PIXELS)
    except UserError:  # the caller tries it again, and says what there is to be said
        return None


def _packed(picture: Picture) -> bytes:
    remarks = sum(getattr(picture, name) << place for place, name in enumerate(_REMARKS))
    return bytes([remarks]) + picture.values.tobytes()


def _unpacked(remarks: int, pixels: bytes, shape: Sequence[int]) -> Picture:
    values = np.frombuffer(bytearray(pixels), np.uint8).reshape(shape)  # which may be written to
    return Picture(values, **{name: bool(remarks >> place & 1) for place, name in enumerate(_REMARKS)})


def _begun(settings: Mapping[str, Any]) -> subprocess.Popen[bytes] | None:
    """A new process, out of the reach of Ctrl-C in the terminal; None if the system refuses it."""
    apart: dict[str, Any] = {"process_group": 0}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    words, pipe = [sys.executable, "-P", "-c", _SERVE], subprocess.PIPE
    try:
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, **apart)
    except OSError:
        return None
    try:
        _send(process, list(map(str, sys.path)))
        _send(process, dict(settings))
    except OSError:
        _end(process)
        return None
    return process


def _asked(
    process: subprocess.Popen[bytes], files: Sequence[str], shape: Sequence[int]
) -> list[Picture | None]:
    """The answer of a process; [] if it has ended."""
    assert process.stdout is not None
    found, size = list[Picture | None](), prod(shape)
    try:
        _send(process, list(files))
        while (line := process.stdout.readline()) != _READY:  # its Python may print something at its start
            if not line:
                return []
        for _ in files:
            remarks = process.stdout.read(1)
            pixels = process.stdout.read(size) if remarks not in (b"", _NONE) else b""
            if remarks != _NONE and len(pixels) < size:
                return []
            found.append(None if remarks == _NONE else _unpacked(remarks[0], pixels, shape))
    except OSError:
        return []
    return found


def _send(process: subprocess.Popen[bytes], message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes of a process, at which it ends, and wait for that."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(OSError):
            pipe.close()
    process.wait()
