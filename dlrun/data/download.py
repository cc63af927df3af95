"""Downloads: a file is stored only if it is complete and its SHA-256 is right."""

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

PATIENCE = 30.0  # seconds without a byte, after which a connection is given up
_PIECE = 2**20


@dataclass(frozen=True)
class Published:
    """A file to download: its URLs, its SHA-256, and an upper bound of its size in bytes.

    Of the SHA-256 only the first digits may be known. A gzip file that is `packed` is stored decompressed.
    """

    urls: Sequence[str]
    sha256: str
    most: int
    packed: bool = False


def fetch(file: Published, path: Path, progress: Progress, *, called: str, fix: str) -> None:
    """Download a file to `path` and decompress it, unless it exists.

    If another process is downloading it, wait for that one instead. Raises UserError with `fix` if no URL
    gives the right file, and RunFailed if the disk refuses; then no file is left.
    """
    try:
        if _is_there(path):
            return
        with alone(path.parent, progress, f"fetches {called}"):
            if _is_there(path):  # another process has downloaded it
                return
            for leftover in path.parent.glob(f"{path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            content = _received(file, progress, called, path.parent, fix)
            write_atomically(path, lambda target: target.write(content), ANOTHER_DATA_DIR)
    except OSError as error:
        raise cannot_write(path, error, ANOTHER_DATA_DIR) from None


def _is_there(path: Path) -> bool:
    """Return whether the file exists. Raises UserError for a folder or a pipe, which may never end."""
    if path.exists() and not path.is_file():
        raise UserError("this is no file", where=str(path), fix="move it away, and the file is fetched")
    return path.exists()


def _received(file: Published, progress: Progress, called: str, folder: Path, fix: str) -> bytes | bytearray:
    """The content of a file, from the first URL that gives the right one."""
    reasons = []
    for url in file.urls:
        try:
            return _content(url, file, progress, called)
        except _NotAsPublished as error:
            reasons.append(str(error))
    what = f"{called} could not be downloaded: {'; '.join(reasons)}"
    raise UserError(what, where=str(folder), fix=fix)


def cannot_read(path: Path, error: OSError) -> UserError:
    """The error for an existing file that cannot be read."""
    return UserError(
        f"cannot read {path}: {error.strerror or error}", fix=f"correct that, or {ANOTHER_DATA_DIR}"
    )


class _NotAsPublished(Exception):
    """A URL does not give the right file; the message is the reason."""


def _content(url: str, file: Published, progress: Progress, called: str) -> bytes | bytearray:
    """Download from one URL and decompress. Raises _NotAsPublished if that fails or the content is wrong."""
    content, what = bytearray(), f"downloading {called} from {urlsplit(url).netloc} (MiB)"
    try:
        with closing(urlopen(Request(url, headers={"User-Agent": "dlrun"}), timeout=PATIENCE)) as response:
            announced = getattr(response, "length", None)  # of file:///… there is none
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
    if not hashlib.sha256(content).hexdigest().startswith(file.sha256):
        differs = "bytes that are not what was published (their SHA-256 differs)"
        raise _NotAsPublished(f"{url} gives {len(content):,} {differs}")
    return gzip.decompress(content) if file.packed else content
