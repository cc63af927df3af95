"""Files from the network: whole and as they were published, or not there at all."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from dlrun.errors import UserError
from dlrun.system.files import ANOTHER_DATA_DIR, cannot_write, write_atomically
from dlrun.system.locks import alone
from dlrun.system.progress import Progress

PATIENCE = 30.0  # seconds without a byte
_PIECE = 2**20


@dataclass(frozen=True)
class Published:
    """A file on the network: where it is to be had, its SHA-256, and how many bytes it has at most.

    One that is `packed` is kept as what is in the gzip file.
    """

    urls: Sequence[str]
    sha256: str
    most: int
    packed: bool = False


def fetch(file: Published, path: Path, progress: Progress, *, called: str, fix: str) -> None:
    """Put a published file under `path`, unpacked, unless one is there.

    Who finds another process fetching it waits, and fetches nothing. Raises UserError where it is not to
    be had as it was published, saying `fix`, and RunFailed where the disk refuses; then no file is left.
    """
    try:
        if _is_there(path):
            return
        with alone(path.parent, progress, f"fetches {called}"):
            if _is_there(path):  # another process was first
                return
            for leftover in path.parent.glob(f"{path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            content = _received(file, progress, called, path.parent, fix)
            write_atomically(path, lambda target: target.write(content), ANOTHER_DATA_DIR)
    except OSError as error:
        raise cannot_write(path, error, ANOTHER_DATA_DIR) from None


def _is_there(path: Path) -> bool:
    """Whether the file is there. Raises UserError for anything else: to read a pipe may take for ever."""
    if path.exists() and not path.is_file():
        raise UserError("this is no file", where=str(path), fix="move it away, and the file is fetched")
    return path.exists()


def _received(file: Published, progress: Progress, called: str, folder: Path, fix: str) -> bytes | bytearray:
    """The content of a published file, from the first place that gives it."""
    reasons = []
    for url in file.urls:
        try:
            return _content(url, file, progress, called)
        except _NotAsPublished as error:
            reasons.append(str(error))
    what = f"{called} could not be downloaded: {'; '.join(reasons)}"
    raise UserError(what, where=str(folder), fix=fix)


def cannot_read(path: Path, error: OSError) -> UserError:
    """What to say when the disk does not give a file that is there."""
    return UserError(
        f"cannot read {path}: {error.strerror or error}", fix=f"mend that, or {ANOTHER_DATA_DIR}"
    )


class _NotAsPublished(Exception):
    """What comes from a URL is not the file, in words."""


def _content(url: str, file: Published, progress: Progress, called: str) -> bytes | bytearray:
    """What a URL gives, unpacked. Raises _NotAsPublished for anything but what was published."""
    content, what = bytearray(), f"downloading {called} from {urlsplit(url).netloc} (MiB)"
    try:
        with closing(urlopen(Request(url, headers={"User-Agent": "dlrun"}), timeout=PATIENCE)) as response:
            announced = response.length
            total = -(-(announced or file.most) // _PIECE)
            for piece in progress(iter(partial(response.read, _PIECE), b""), total, what):
                content += piece
                if len(content) > file.most:
                    raise _NotAsPublished(f"{url} gives more than {file.most:,} bytes")
    except (OSError, HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise _NotAsPublished(f"{url}: {reason[:150]}") from None
    if announced is not None and len(content) < announced:
        raise _NotAsPublished(f"{url} ended after {len(content):,} of {announced:,} bytes")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        differs = "bytes that are not what was published (their SHA-256 differs)"
        raise _NotAsPublished(f"{url} gives {len(content):,} {differs}")
    return gzip.decompress(content) if file.packed else content
