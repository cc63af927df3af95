"""Files from the network: whole and as they were published, or not there at all."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.request import Request, urlopen

from dlrun.data import Watching
from dlrun.dataset._alone import alone
from dlrun.errors import UserError
from dlrun.files import ANOTHER_DATA_DIR, cannot_write, write_atomically

PATIENCE = 30.0  # seconds without a byte
_PIECE = 2**20


@dataclass(frozen=True)
class Published:
    """A file on the network: where it is to be had, and its MD5 as its authors publish it.

    It has no more than `most` bytes. With `unpacked` it is a gzip file of what has so many at most.
    """

    urls: Sequence[str]
    md5: str
    most: int
    unpacked: int | None = None


def fetch(file: Published, path: Path, watching: Watching, *, called: str, fix: str) -> None:
    """Put a published file under `path`, unpacked, unless one is there.

    Who finds another process fetching it waits, and fetches nothing. Raises UserError where it is not to
    be had as it was published, saying `fix`, and RunFailed where the disk refuses; then no file is left.
    """
    if path.exists():
        return
    reasons: list[str] = []
    try:
        with alone(path.parent, 1, watching, f"fetches {called}"):
            if path.exists():  # another process was first
                return
            for leftover in path.parent.glob(f"{path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            for url in file.urls:
                with TemporaryFile(dir=path.parent) as received:  # without a name: a kill leaves nothing
                    try:
                        _receive(url, file, received, watching)
                        _keep(received, file, path)
                        return
                    except _NotAsPublished as error:
                        reasons.append(str(error))
    except OSError as error:
        raise cannot_write(path, error, ANOTHER_DATA_DIR) from None
    what = f"{called} could not be downloaded: {'; '.join(reasons)}"
    raise UserError(what, where=str(path.parent), fix=fix)


class _NotAsPublished(Exception):
    """What comes from a URL is not the file, in words."""


def _receive(url: str, file: Published, received: IO[bytes], watching: Watching) -> None:
    """Let all that a URL gives stand in `received`."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for piece in _pieces(url, file.most, watching):
        digest.update(piece)
        received.write(piece)
        size += len(piece)
    if digest.hexdigest() != file.md5:
        raise _NotAsPublished(f"{url} gives {size:,} bytes that are not what was published (its md5 differs)")


def _pieces(url: str, most: int, watching: Watching) -> Iterator[bytes]:
    """What a URL gives, a mebibyte at a time. Raises _NotAsPublished for all that the network does."""
    try:
        with closing(urlopen(Request(url, headers={"User-Agent": "dlrun"}), timeout=PATIENCE)) as response:
            announced = response.length
            if (announced or 0) > most:
                raise _NotAsPublished(f"{url} would give {announced:,} bytes, more than {most:,}")
            total, size = -(-(announced or most) // _PIECE), 0
            name = url.rsplit("/", 1)[-1]
            for piece in watching(_read(response), total, f"downloading {name} (MiB)"):
                size += len(piece)
                if size > most:
                    raise _NotAsPublished(f"{url} gives more than {most:,} bytes")
                yield piece
            if announced is not None and size < announced:
                raise _NotAsPublished(f"{url} ended after {size:,} of {announced:,} bytes")
    except (OSError, HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise _NotAsPublished(f"{url}: {reason[:150]}") from None


def _read(response: Any) -> Iterator[bytes]:
    while piece := response.read(_PIECE):
        yield piece


def _keep(received: IO[bytes], file: Published, path: Path) -> None:
    """Put what was received under its name, unpacked."""
    received.seek(0)

    def write(target: IO[bytes]) -> None:
        source = gzip.GzipFile(fileobj=received) if file.unpacked is not None else received
        size = 0
        while piece := source.read(_PIECE):
            size += len(piece)
            if file.unpacked is not None and size > file.unpacked:
                raise _NotAsPublished(f"{path.name} unpacks to more than {file.unpacked:,} bytes")
            target.write(piece)

    write_atomically(path, write, ANOTHER_DATA_DIR)
