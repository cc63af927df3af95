"""Cache of decoded images: image files are decoded once into one file, which later runs memory-map."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from dlrun.config.options import Resize
from dlrun.data.images import Unreadable, printable, read_image
from dlrun.errors import RunFailed, UserError
from dlrun.system import machine
from dlrun.system.files import ANOTHER_DATA_DIR, cannot_write, size_text, write_atomically
from dlrun.system.locks import alone, remove_unless_in_use
from dlrun.system.progress import Progress

FORMAT = 2  # of the cache; images cached in another format are decoded again
_PIECE = 2**20  # bytes of decoded images in one task of a thread
_LONG = 2**30  # bytes; from this size on the progress of the check is shown
_KEPT = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class Decoding:
    """The settings for decoding the files of a folder into images (channels, height, width)."""

    source: Path
    shape: tuple[int, int, int]
    resize: Resize

    def plain(self) -> dict[str, Any]:
        source = printable(self.source.resolve())
        return {"format": FORMAT, "source": source, "shape": list(self.shape), "resize": self.resize}


@dataclass(frozen=True)
class Decoded:
    """Images (n, channels, height, width) uint8 of the readable files, in their order.

    `unreadable` maps the index of each other file to the reason; `digest` is the SHA-256 of the images.
    """

    images: Tensor
    digest: str
    unreadable: dict[int, str]


def decoded_once(decoding: Decoding, files: Sequence[str], parent: Path, progress: Progress) -> Decoded:
    """The images in the files below the source: memory-mapped from the cache, after decoding if needed.

    The cache is parent/KEY, where the key is a hash of the names, sizes and times of the files. An
    incomplete cache of a killed process is not used; the next decoding removes it, and the cache of an
    earlier state of the same source. The images are checked against their digest and decoded again if a
    bit has changed. Raises UserError for a file that cannot be opened, RunFailed if `parent` cannot be
    written to.
    """
    folder = parent / _key(decoding, files)
    found = _checked(decoding, folder, len(files), progress)
    if found is None:
        try:
            with alone(folder, progress, "decodes images"):
                # Another process may have decoded them while this one waited for the lock.
                found = _checked(decoding, folder, len(files), progress)
                if found is None:
                    _tidy(decoding, folder)
                    _decode(decoding, files, folder, progress)
                    found = _mapped(decoding, folder, len(files))
        except OSError as error:
            raise cannot_write(folder, error, ANOTHER_DATA_DIR) from None
        assert found is not None, "what was written this moment can be read"
    return found


def decoded(decoding: Decoding, files: Sequence[str]) -> Iterator[Tensor | Unreadable]:
    """Yield each file's image, or the reason why it is unreadable, in order; they are decoded in parallel.

    Raises UserError if the disk refuses a file: that may be temporary and must not be cached.
    """
    channels, height, width = decoding.shape
    read = partial(read_image, height=height, width=width, channels=channels, resize=decoding.resize)

    def read_some(some: Sequence[str]) -> list[Tensor | Unreadable]:
        return [_tried(read, file) for file in some]

    size = max(1, min(32, _PIECE // prod(decoding.shape)))
    # Threads: Pillow releases the GIL while it decodes and resizes. Small files gain nothing by them, but
    # processes, two of which double their 3,000 a second, would each take seconds to import torch.
    workers = machine.cores()
    ahead: deque[Future[list[Tensor | Unreadable]]] = deque()
    pool = ThreadPoolExecutor(workers, "decoding")
    try:
        for start in range(0, len(files), size):
            ahead.append(pool.submit(read_some, files[start : start + size]))
            if len(ahead) > 2 * workers:  # enough to keep the threads busy, and no more in memory
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _tried(read: Callable[[str], Tensor], file: str) -> Tensor | Unreadable:
    try:
        return read(file)
    except Unreadable as error:
        return error


def _decode(decoding: Decoding, files: Sequence[str], folder: Path, progress: Progress) -> None:
    """Write the images of all files, and once they are synced to the disk the index that makes them valid."""
    wanted, free = len(files) * prod(decoding.shape), shutil.disk_usage(folder).free
    if wanted > free:
        sizes = f"{size_text(wanted)}, and {folder} has {size_text(free)} left"
        fix = f"free some space, or {ANOTHER_DATA_DIR}"
        raise RunFailed(f"{len(files):,} decoded images take {sizes}", fix=fix)
    digest, unreadable = hashlib.sha256(), {}

    def write(file: IO[bytes]) -> None:
        every = progress(decoded(decoding, files), len(files), "decoding images")
        for number, image in enumerate(every):
            if isinstance(image, Unreadable):
                unreadable[number] = image.reason
            else:
                file.write(image.numpy().data)
                digest.update(image.numpy().data)

    write_atomically(folder / "images", write, ANOTHER_DATA_DIR, lambda: wanted)
    index = decoding.plain() | {
        "images": len(files) - len(unreadable),
        "digest": digest.hexdigest(),
        "unreadable": list(unreadable.items()),
    }
    text = json.dumps(index | {"check": _check(index)}).encode()
    write_atomically(folder / "index.json", lambda file: file.write(text), ANOTHER_DATA_DIR)


def _checked(decoding: Decoding, folder: Path, files: int, progress: Progress) -> Decoded | None:
    """The cached images of a number of `files`; None if they are incomplete or fail the digest."""
    found = _mapped(decoding, folder, files)
    if found is None:
        return None
    digest, size = hashlib.sha256(), found.images.numel()
    try:
        with (folder / "images").open("rb") as file:
            pieces: Iterable[bytes] = iter(partial(file.read, _PIECE), b"")
            if size > _LONG:
                pieces = progress(pieces, -(-size // _PIECE), "checking decoded images (MiB)")
            for piece in pieces:
                digest.update(piece)
    except OSError:
        return None
    return found if digest.hexdigest() == found.digest else None


def _mapped(decoding: Decoding, folder: Path, files: int) -> Decoded | None:
    """The cached images of a number of `files`, memory-mapped, not checked; None if incomplete."""
    index, path = _index(folder), folder / "images"
    try:
        images, unreadable = int(index["images"]), dict(index["unreadable"])
        shape = (images, *decoding.shape)
        if images + len(unreadable) != files or path.stat().st_size != prod(shape):
            return None
        if not prod(shape):  # an empty file cannot be mapped
            return Decoded(torch.empty(shape, dtype=torch.uint8), str(index["digest"]), unreadable)
        with warnings.catch_warnings():
            # Not torch.from_file: it maps writable memory, which is refused if larger than the machine's.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            mapped = torch.from_numpy(np.memmap(path, np.uint8, "r", shape=shape))
        return Decoded(mapped, str(index["digest"]), unreadable)
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _index(folder: Path) -> dict[str, Any]:
    """The content of a folder's index.json; {} if it is missing or damaged."""
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(index, dict) or index.pop("check", None) != _check(index):
        return {}
    return index


def _check(index: dict[str, Any]) -> str:
    """A checksum of the index."""
    return hashlib.sha256(json.dumps(index).encode()).hexdigest()


def _key(decoding: Decoding, files: Sequence[str]) -> str:
    """The key of the cache, 32 hex digits: a hash of the settings and of each file's name and status.

    Name, size and modification time are not enough: an archive may give all its files one time, and
    uncompressed images have one size. The inode and its change time cannot be set by a program.

    Raises UserError for a file that cannot be read, or is none: a dangling link, a pipe.
    """
    digest = hashlib.sha256(json.dumps(decoding.plain() | {"source": ""}).encode())
    above = f"{decoding.source.as_posix()}/"
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116, there may be a million
        except OSError as error:
            raise UserError(f"the file cannot be read: {error.strerror}", where=printable(file)) from None
        if not stat.S_ISREG(status.st_mode) or not os.access(file, os.R_OK):
            what = "may not be read" if stat.S_ISREG(status.st_mode) else "is no regular file"
            raise UserError(f"the file {what}", where=printable(file))
        name = os.fsencode(file.removeprefix(above))
        which = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino)
        digest.update(name + f"\0{which}\0".encode())
    return digest.hexdigest()[:32]


def _tidy(decoding: Decoding, folder: Path) -> None:
    """Remove temporary files of killed processes, and the cache of an earlier state of the same source."""
    for leftover in folder.glob("*.tmp"):
        leftover.unlink(missing_ok=True)
    for other in folder.parent.iterdir():
        if other == folder or not _KEPT.match(other.name) or not other.is_dir():
            continue
        index = _index(other)
        if index and any(index.get(key) != value for key, value in decoding.plain().items()):
            continue
        remove_unless_in_use(other)
