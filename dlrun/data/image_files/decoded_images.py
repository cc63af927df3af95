"""Cache of decoded images: image files are decoded once into one file, which later runs memory-map."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dlrun.config.options import Resize
from dlrun.data.checked_index import read_index, write_index
from dlrun.data.image_files.decoding_processes import DecodingProcesses
from dlrun.data.image_files.finding import printable
from dlrun.data.image_files.formats import readable_formats
from dlrun.data.image_files.grey_levels import Levels, Spread
from dlrun.data.image_files.reading import Picture, Unreadable, read_picture, spread_of
from dlrun.errors import RunFailed, UserError
from dlrun.system import machine
from dlrun.system.files import ANOTHER_DATA_DIR, cannot_write, size_text, write_atomically
from dlrun.system.locks import alone, remove_unless_in_use
from dlrun.system.progress import Progress

FORMAT = 3  # of the cache; images cached in another format are decoded again
CACHE = "image_folder"  # in the data folder
MOST_KEPT = 20  # GiB of decoded images of all folders; the environment variable DLRUN_CACHE_GIB sets another
_PIECE = 2**20  # bytes of decoded images in one task of a thread
_MANY = 2_000  # files; of fewer the start of the processes takes what they save
_SMALL = 2**18  # bytes of a decoded image; larger ones take long to hand from one process to another
_LONG = 2**30  # bytes; from this size on the progress of the check is shown
_KEPT = re.compile(r"[0-9a-f]{32}\Z")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Decoding:
    """The settings for decoding the files of a folder into images (channels, height, width).

    `levels` are those of `read_image`. If they are to be `measured`, they are the smallest and the largest
    value of all images of more than 8 bits.
    """

    source: Path
    shape: tuple[int, int, int]
    resize: Resize
    levels: Levels | None = None
    measured: bool = False

    @property
    def bytes(self) -> int:
        """The bytes of a decoded image."""
        return prod(self.shape)

    def plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "source": printable(self.source.resolve()),
            "shape": list(self.shape),
            "resize": self.resize,
            "levels": self.levels and list(self.levels),
            "measured": self.measured,
            "formats": list(readable_formats()),
        }


@dataclass(frozen=True)
class Decoded:
    """Images (n, channels, height, width) uint8 of the readable files, in their order.

    `unreadable` maps the index of each other file to the reason; `digest` is the SHA-256 of the images.
    `keys` (n,) int64 identify each image by its pixels. `levels` became 0 and 255 in the images of more than
    8 bits, if there are any, and `spread` is that of their values, if they were measured. `counts` are the
    files that are deep, cut or the first of several frames (see `Picture`). `is_new` if they were decoded
    this moment.
    """

    images: Tensor
    digest: str
    unreadable: dict[int, str]
    keys: Tensor
    levels: Levels | None = None
    spread: Spread | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    is_new: bool = False


def decoded_once(decoding: Decoding, files: Sequence[str], parent: Path, progress: Progress) -> Decoded:
    """The images in the files below the source: memory-mapped from the cache, after decoding if needed.

    The cache is parent/KEY, where the key is a hash of the names, sizes and times of the files. An
    incomplete cache of a killed process is not used; the next decoding removes it, and the cache of an
    earlier state of the same source. The images are checked against their digest and decoded again if a
    bit has changed. Raises UserError for a file that cannot be opened, RunFailed if `parent` cannot be
    written to.
    """
    if not decoding.measured:  # perhaps these are the ones that were measured
        usual = replace(decoding, levels=None, measured=True)
        found = _checked(usual, parent / _key(usual, files), len(files), progress)
        if found and found.levels in (None, decoding.levels):
            return found
    folder = parent / _key(decoding, files)
    found = _checked(decoding, folder, len(files), progress)
    if found is None:
        try:
            with alone(folder, progress, "decodes images"):
                # Another process may have decoded them while this one waited for the lock.
                found = _checked(decoding, folder, len(files), progress)
                if found is None:
                    _tidy(decoding, folder, len(files) * decoding.bytes)
                    _decode(decoding, files, folder, progress)
                    found = _mapped(decoding, folder, len(files))
        except OSError as error:
            raise cannot_write(folder, error, ANOTHER_DATA_DIR) from None
        assert found is not None, "what was written this moment can be read"
        return replace(found, is_new=True)
    return found


def decoded(decoding: Decoding, files: Sequence[str]) -> Generator[Picture | UserError]:
    """Yield the picture in each file, or the error why there is none, in order; decoded in parallel."""
    channels, height, width = decoding.shape
    settings: dict[str, Any] = {
        "height": height,
        "width": width,
        "channels": channels,
        "resize": decoding.resize,
        "levels": decoding.levels,
    }
    read, size = partial(read_picture, **settings), max(1, min(32, _PIECE // decoding.bytes))
    if len(files) < _MANY or decoding.bytes > _SMALL or machine.cores() == 1:
        yield from _in_order(read, files, size)
        return
    with DecodingProcesses(machine.cores(), settings) as processes:
        yield from _in_order(read, files, size, processes.pictures)


def _in_order(
    read: Callable[[str], _Read],
    files: Sequence[str],
    size: int,
    read_apart: Callable[[Sequence[str]], Sequence[_Read | None]] | None = None,
) -> Iterator[_Read | UserError]:
    """Yield what `read` gives for each file, or its error, in order; threads read `size` files at a time.

    Of these they read those for which `read_apart` gives None. Raises RunFailed if memory runs out.
    """

    def read_some(some: Sequence[str]) -> list[_Read | UserError]:
        before = read_apart(some) if read_apart else [None] * len(some)
        pairs = zip(some, before, strict=True)
        return [_tried(read, file) if found is None else found for file, found in pairs]

    # Threads: Pillow releases the GIL while it decodes and resizes, most of the time for a photograph.
    workers = machine.cores()
    ahead: deque[Future[list[_Read | UserError]]] = deque()
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


def _tried(read: Callable[[str], _Read], file: str) -> _Read | UserError:
    try:
        return read(file)
    except RunFailed:
        raise
    except UserError as error:
        return error


class _HasLevels(Exception):
    """There is an image of more than 8 bits, whose levels must be measured before it is decoded."""


def _decode(decoding: Decoding, files: Sequence[str], folder: Path, progress: Progress) -> None:
    """Write the images of all files, and once they are synced to the disk the index that makes them valid."""
    wanted, free = len(files) * decoding.bytes, shutil.disk_usage(folder).free
    if wanted > free:
        sizes = f"{size_text(wanted)}, and {folder} has {size_text(free)} left"
        fix = f"free some space, or {ANOTHER_DATA_DIR}"
        raise RunFailed(f"{len(files):,} decoded images take {sizes}", fix=fix)
    spread, used = None, decoding
    try:
        found = _write(used, files, folder, progress, stops_at_levels=decoding.measured)
    except _HasLevels:
        spread = _spread(files, progress)
        used = replace(decoding, levels=spread.levels if spread else None)
        found = _write(used, files, folder, progress)
    has_levels = "deep" in found["counts"]
    index = found | {
        "key": decoding.plain(),
        "levels": used.levels if has_levels else None,
        "spread": asdict(spread) if spread else None,
    }
    write_index(folder, index)


def _write(
    decoding: Decoding,
    files: Sequence[str],
    folder: Path,
    progress: Progress,
    *,
    stops_at_levels: bool = False,
) -> dict[str, Any]:
    """Write the images and their keys; gives what the index says of them.

    Raises _HasLevels at the first image of more than 8 bits if it `stops_at_levels`; UserError if the disk
    refuses a file: that may be temporary and must not be cached.
    """
    digest, keys, unreadable, counts = hashlib.sha256(), bytearray(), {}, Counter[str]()

    def write(file: IO[bytes]) -> None:
        with closing(decoded(decoding, files)) as pictures:
            for number, image in enumerate(progress(pictures, len(files), "decoding images")):
                if isinstance(image, Unreadable):
                    if stops_at_levels and image.needs_levels:
                        raise _HasLevels
                    unreadable[number] = image.reason
                    continue
                if isinstance(image, UserError):
                    raise image
                if stops_at_levels and image.is_deep:
                    raise _HasLevels
                pixels = image.values.data
                file.write(pixels)
                digest.update(pixels)
                keys.extend(hashlib.blake2b(pixels, digest_size=8).digest())
                counts.update(image.remarks)

    size = len(files) * decoding.bytes
    write_atomically(folder / "images", write, ANOTHER_DATA_DIR, lambda: size)
    write_atomically(folder / "keys", lambda file: file.write(keys), ANOTHER_DATA_DIR)
    return {
        "images": len(files) - len(unreadable),
        "digest": digest.hexdigest(),
        "keys": hashlib.sha256(keys).hexdigest(),
        "unreadable": list(unreadable.items()),
        "counts": dict(counts),
    }


def _spread(files: Sequence[str], progress: Progress) -> Spread | None:
    """The values of all images of more than 8 bits; those that cannot be read are passed over."""
    each = progress(_in_order(spread_of, files, 8), len(files), "measuring grey levels")
    return Spread.of_all([one for one in each if isinstance(one, Spread)])


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
    index, path = read_index(folder), folder / "images"
    try:
        images, unreadable = int(index["images"]), dict(index["unreadable"])
        shape = (images, *decoding.shape)
        keys = (folder / "keys").read_bytes() if (folder / "keys").is_file() else b""
        if images + len(unreadable) != files or path.stat().st_size != prod(shape):
            return None
        if hashlib.sha256(keys).hexdigest() != index["keys"]:
            return None
        levels, spread = index["levels"], index["spread"]
        about = partial(
            Decoded,
            digest=str(index["digest"]),
            unreadable=unreadable,
            keys=torch.frombuffer(bytearray(keys), dtype=torch.int64) if keys else torch.empty(0).long(),
            levels=(float(levels[0]), float(levels[1])) if levels else None,
            spread=Spread(**spread) if spread else None,
            counts=dict(index["counts"]),
        )
        if not prod(shape):  # an empty file cannot be mapped
            return about(torch.empty(shape, dtype=torch.uint8))
        with warnings.catch_warnings():
            # Not torch.from_file: it maps writable memory, which is refused if larger than the machine's.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            mapped = torch.from_numpy(np.memmap(path, np.uint8, "r", shape=shape))
        with suppress(OSError):
            os.utime(folder)  # the folders that were not used for the longest time are removed first
        return about(mapped)
    except (OSError, KeyError, TypeError, ValueError):
        return None


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


def _tidy(decoding: Decoding, folder: Path, needed: int) -> None:
    """Remove temporary files of killed processes, and the cache of an earlier state of the same source.

    Then, as far as all would take more than MOST_KEPT with the `needed` bytes, what was not used for the
    longest time.
    """
    for leftover in folder.glob("*.tmp"):
        leftover.unlink(missing_ok=True)
    kept = []
    for other in _caches(folder.parent):
        if other == folder:
            continue
        key = read_index(other).get("key")
        if key is None or all(key.get(each) == value for each, value in decoding.plain().items()):
            remove_unless_in_use(other)
        else:
            with suppress(OSError):  # another process removes it
                kept.append((other.stat().st_mtime, _size(other), other))
    kept.sort()
    room = _most_kept() - needed - sum(size for _, size, _ in kept)
    while kept and room < 0:
        _, size, other = kept.pop(0)
        remove_unless_in_use(other)
        room += size


def _most_kept() -> float:
    """The bytes that all decoded images may take. Raises UserError if DLRUN_CACHE_GIB is no number."""
    stated = os.environ.get("DLRUN_CACHE_GIB") or str(MOST_KEPT)
    try:
        return max(0.0, float(stated)) * 2**30
    except ValueError:
        what = f"the environment variable DLRUN_CACHE_GIB is {stated!r}, not a number of GiB"
        raise UserError(what, fix=f"set it to a number such as {MOST_KEPT}, or unset it") from None


def clear_cache(root: Path) -> int:
    """Delete the decoded images in a data folder, but for those that a process decodes now.

    Gives the bytes that were freed; the next run decodes again.
    """
    freed = 0
    for folder in _caches(root / CACHE):
        size = _size(folder)
        remove_unless_in_use(folder)
        freed += size if not folder.exists() else size - _size(folder)
    return freed


def _caches(parent: Path) -> list[Path]:
    """The folders of decoded images in a folder, and nothing else that lies there."""
    try:
        return [each for each in parent.iterdir() if _KEPT.match(each.name) and each.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(folder: Path) -> int:
    """The bytes that the files of a folder take."""
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except OSError:  # another process removes them
        return 0
