"""The pictures in a run's folder: PNG and GIF files, from a stranger's folder too."""

from __future__ import annotations

import stat
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dlrun.system.files import read_bounded

_PNG, _GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
_MOST_BYTES = 1 << 25  # of a picture that is read


@dataclass(frozen=True)
class Picture:
    """A PNG or GIF file: its bytes, its size in pixels, and a sentence on what it shows."""

    path: Path
    content: bytes
    width: int
    height: int
    shows: str
    of_data: bool = False  # not of a model

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:image/{self.path.suffix[1:].lower()};base64,{b64encode(self.content).decode()}"


def files_in(*folders: Path) -> Iterable[Path]:
    """Yield the regular files of pictures in some folders; none of a folder that is a link."""
    for folder in folders:
        if not folder.is_symlink():
            yield from sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".gif"))


def read_picture(path: Path, shows: str, of_data: bool = False) -> Picture | None:
    """Read a picture; None for a link or for what is not a PNG or GIF file."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        content = read_bounded(path, _MOST_BYTES)
    except OSError:
        return None
    if content.startswith(_PNG) and path.suffix.lower() == ".png":
        width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    elif content.startswith(_GIF) and path.suffix.lower() == ".gif":
        width, height = (int.from_bytes(content[at : at + 2], "little") for at in (6, 8))
    else:
        return None
    return Picture(path, content, width, height, shows, of_data)
