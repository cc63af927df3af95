"""Image files decoded once, into one file that later runs map into memory."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from dlrun.data import Watching
from dlrun.errors import RunFailed, UserError
from dlrun.files import ANOTHER_DATA_DIR, cannot_write, make_folder, write_atomically
from dlrun.images import printable, read_image
from dlrun.options import Resize

FORMAT = 1  # of what is kept; another one is decoded anew
_PIECE = 2**20  # bytes of decoded images that a thread hands over at once
_KEPT = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class Decoding:
    """How the files of a folder become images (channels, height, width)."""

    source: Path
    shape: tuple[int, int, int]
    resize: Resize

    def plain(self) -> dict[str, Any]:
        source = printable(self.source.resolve())
        return {"format": FORMAT, "source": source, "shape": list(self.shape), "resize": self.resize}


@dataclass(frozen=True)
class Decoded:
    """Images (n, channels, height, width) uint8 of those files that could be read, in their order.

    `unreadable` says of the others, by their number, why not; `digest` is the SHA-256 of the images.
    """

    images: Tensor
    digest: str
    unreadable: dict[int, str]


def decoded_once(decoding: Decoding, files: Sequence[str], parent: Path, watching: Watching) -> Decoded:
    """The images in some files below the source: mapped if they were decoded before, else decoded.

    They are kept in parent/KEY, where the key stands for the names, sizes and times of the files. A
    decode that is killed leaves nothing that is taken for whole, and its remains go with the next
    decode, as do the images of the same source as it was before. Raises UserError for a file that
    cannot be opened, RunFailed where `parent` cannot be written to.
    """
    folder = parent / _key(decoding, files)
    found = _mapped(decoding, folder, len(files))
    if found is None:
        try:
            with _alone(folder, len(files), watching):
                found = _mapped(decoding, folder, len(files))  # another process may have been decoding
                if found is None:
                    _tidy(decoding, folder)
                    _decode(decoding, files, folder, watching)
                    found = _mapped(decoding, folder, len(files))
        except OSError as error:
            raise cannot_write(folder, error, ANOTHER_DATA_DIR) from None
        assert found is not None, "what was written this moment can be read"
    return found


def decoded(decoding: Decoding, files: Sequence[str]) -> Iterator[Tensor | UserError]:
    """Each file's image, or why it cannot be read, in the order of the files, decoded in parallel."""
    channels, height, width = decoding.shape
    read = partial(read_image, height=height, width=width, channels=channels, resize=decoding.resize)

    def read_some(some: Sequence[str]) -> list[Tensor | UserError]:
        return [_tried(read, file) for file in some]

    size = max(1, min(32, _PIECE // prod(decoding.shape)))
    # Threads: Pillow decodes and resizes photographs without the interpreter's lock. Small files gain nothing
    # by them, but two processes, which double their 3,000 a second, each take seconds to import torch.
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ahead: deque[Future[list[Tensor | UserError]]] = deque()
    pool = ThreadPoolExecutor(workers, "decoding")
    try:
        for start in range(0, len(files), size):
            ahead.append(pool.submit(read_some, files[start : start + size]))
            if len(ahead) > 2 * workers:  # no more in memory than what keeps everyone busy
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _tried(read: Callable[[str], Tensor], file: str) -> Tensor | UserError:
    try:
        return read(file)
    except UserError as error:
        return error


def _decode(decoding: Decoding, files: Sequence[str], folder: Path, watching: Watching) -> None:
    """Write the images of all files, and when they are on the disk the index that says so."""
    wanted, free = len(files) * prod(decoding.shape), shutil.disk_usage(folder).free
    if wanted > free:
        sizes = f"{wanted / 2**30:,.1f} GiB, and {folder} has {free / 2**30:,.1f} left"
        fix = f"free some space, or {ANOTHER_DATA_DIR}"
        raise RunFailed(f"{len(files):,} decoded images take {sizes}", fix=fix)
    digest, unreadable = hashlib.sha256(), {}

    def write(file: IO[bytes]) -> None:
        every = watching(decoded(decoding, files), len(files), "decoding images")
        for number, image in enumerate(every):
            if isinstance(image, UserError):
                unreadable[number] = image.what
            else:
                file.write(image.numpy().data)
                digest.update(image.numpy().data)

    write_atomically(folder / "images", write, ANOTHER_DATA_DIR)
    index = decoding.plain() | {
        "images": len(files) - len(unreadable),
        "digest": digest.hexdigest(),
        "unreadable": list(unreadable.items()),
    }
    text = json.dumps(index).encode()
    write_atomically(folder / "index.json", lambda file: file.write(text), ANOTHER_DATA_DIR)


def _mapped(decoding: Decoding, folder: Path, files: int) -> Decoded | None:
    """What is kept of so many files in a folder, mapped into memory; None where it is not whole.

    The images are not compared with their digest, which would read them all.
    """
    index, path = _index(folder), folder / "images"
    try:
        images, unreadable = int(index["images"]), dict(index["unreadable"])
        shape = (images, *decoding.shape)
        if images + len(unreadable) != files or path.stat().st_size != prod(shape):
            return None
        if not prod(shape):  # nothing can be mapped
            return Decoded(torch.empty(shape, dtype=torch.uint8), str(index["digest"]), unreadable)
        with warnings.catch_warnings():
            # Not by torch.from_file: it maps for writing too, which is refused beyond the memory's size.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            mapped = torch.from_numpy(np.memmap(path, np.uint8, "r", shape=shape))
        return Decoded(mapped, str(index["digest"]), unreadable)
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _index(folder: Path) -> dict[str, Any]:
    """What the index of a folder says; nothing where it is missing or broken."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return index if isinstance(index, dict) else {}


def _key(decoding: Decoding, files: Sequence[str]) -> str:
    """32 hex digits that stand for how the files are decoded, their names, and which files they are.

    Name, size and time of change are not enough: an archive may give all its files one time, and images
    of one size are equally long. The inode and the time at which it changed cannot be set.

    Raises UserError for what may not be read, or is no file: a link that leads nowhere, a pipe.
    """
    digest = hashlib.sha256(json.dumps(decoding.plain() | {"source": ""}).encode())
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116, there may be a million
        except OSError as error:
            raise UserError(f"the file cannot be read: {error.strerror}", where=printable(file)) from None
        if not stat.S_ISREG(status.st_mode) or not os.access(file, os.R_OK):
            what = "may not be read" if stat.S_ISREG(status.st_mode) else "is no regular file"
            raise UserError(f"the file {what}", where=printable(file))
        name = os.fsencode(file.removeprefix(f"{decoding.source}/"))
        which = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino)
        digest.update(name + f"\0{which}\0".encode())
    return digest.hexdigest()[:32]


@contextmanager
def _alone(folder: Path, files: int, watching: Watching) -> Iterator[None]:
    """Be the only process that writes to this folder; wait for one that does."""
    while True:
        make_folder(folder, ANOTHER_DATA_DIR)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not _locked(descriptor):
                for _ in watching(_waiting(descriptor), files, "waiting for a process that decodes images"):
                    pass
            if _is(folder, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is(folder: Path, descriptor: int) -> bool:
    """Whether the folder is still the one that was opened: who tidies may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _waiting(descriptor: int) -> Iterator[None]:
    while not _locked(descriptor):
        yield  # where a signal may be heeded
        time.sleep(0.1)


def _tidy(decoding: Decoding, folder: Path) -> None:
    """Remove what earlier decodes left that were killed, and the same source as it was before."""
    for leftover in folder.glob("*.tmp"):
        leftover.unlink(missing_ok=True)
    for other in folder.parent.iterdir():
        if other == folder or not _KEPT.match(other.name) or not other.is_dir():
            continue
        index = _index(other)
        if index and any(index.get(key) != value for key, value in decoding.plain().items()):
            continue
        descriptor = os.open(other, os.O_RDONLY)
        try:
            if _locked(descriptor):  # else a process is at work there
                shutil.rmtree(other, ignore_errors=True)
        finally:
            os.close(descriptor)
