"""Image files decoded once, into one file that later runs map into memory."""

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

FORMAT = 2  # of what is kept; another one is decoded anew
_PIECE = 2**20  # bytes of decoded images that a thread hands over at once
_LONG = 2**30  # bytes, from which on it is shown that they are compared
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


def decoded_once(decoding: Decoding, files: Sequence[str], parent: Path, progress: Progress) -> Decoded:
    """The images in some files below the source: mapped if they were decoded before, else decoded.

    They are kept in parent/KEY, where the key stands for the names, sizes and times of the files. A
    decode that is killed leaves nothing that is taken for whole, and its remains go with the next
    decode, as do the images of the same source as it was before. What is kept is compared with its
    digest: images in which a bit changed are decoded again. Raises UserError for a file that cannot be
    opened, RunFailed where `parent` cannot be written to.
    """
    folder = parent / _key(decoding, files)
    found = _checked(decoding, folder, len(files), progress)
    if found is None:
        try:
            with alone(folder, progress, "decodes images"):
                # Another process may have been decoding.
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
    """Each file's image, or why it is none, in the order of the files, decoded in parallel.

    Raises UserError where a file could not be read: what the disk refuses now it may give tomorrow.
    """
    channels, height, width = decoding.shape
    read = partial(read_image, height=height, width=width, channels=channels, resize=decoding.resize)

    def read_some(some: Sequence[str]) -> list[Tensor | Unreadable]:
        return [_tried(read, file) for file in some]

    size = max(1, min(32, _PIECE // prod(decoding.shape)))
    # Threads: Pillow decodes and resizes photographs without the interpreter's lock. Small files gain nothing
    # by them, but two processes, which double their 3,000 a second, each take seconds to import torch.
    workers = machine.cores()
    ahead: deque[Future[list[Tensor | Unreadable]]] = deque()
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


def _tried(read: Callable[[str], Tensor], file: str) -> Tensor | Unreadable:
    try:
        return read(file)
    except Unreadable as error:
        return error


def _decode(decoding: Decoding, files: Sequence[str], folder: Path, progress: Progress) -> None:
    """Write the images of all files, and when they are on the disk the index that says so."""
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
    """What is kept of so many files in a folder; None where it is not whole, or not what was written."""
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
    """What is kept of so many files in a folder, mapped into memory; None where it is not whole."""
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
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(index, dict) or index.pop("check", None) != _check(index):
        return {}
    return index


def _check(index: dict[str, Any]) -> str:
    """What changes where a letter of an index does."""
    return hashlib.sha256(json.dumps(index).encode()).hexdigest()


def _key(decoding: Decoding, files: Sequence[str]) -> str:
    """32 hex digits that stand for how the files are decoded, their names, and which files they are.

    Name, size and time of change are not enough: an archive may give all its files one time, and images
    of one size are equally long. The inode and the time at which it changed cannot be set.

    Raises UserError for what may not be read, or is no file: a link that leads nowhere, a pipe.
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
    """Remove what earlier decodes left that were killed, and the same source as it was before."""
    for leftover in folder.glob("*.tmp"):
        leftover.unlink(missing_ok=True)
    for other in folder.parent.iterdir():
        if other == folder or not _KEPT.match(other.name) or not other.is_dir():
            continue
        index = _index(other)
        if index and any(index.get(key) != value for key, value in decoding.plain().items()):
            continue
        remove_unless_in_use(other)
