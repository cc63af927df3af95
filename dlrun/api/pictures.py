"""Pictures of a run or a sweep, which show themselves in a notebook."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path


class Picture:
    """A picture file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The name of the plot, such as `confusion_matrix_test`."""
        return self.path.stem

    def __repr__(self) -> str:
        return f"<Picture {self.path}>"

    def _repr_png_(self) -> bytes | None:
        return self.path.read_bytes() if self.path.suffix == ".png" else None

    def html(self) -> str:
        """The picture as an HTML element that holds it."""
        kind = {".png": "png", ".gif": "gif", ".svg": "svg+xml"}.get(self.path.suffix, "png")
        content = b64encode(self.path.read_bytes()).decode("ascii")
        return f'<img alt="{escape(self.name)}" src="data:image/{kind};base64,{content}">'


class Pictures(dict[str, Picture]):
    """The pictures of a folder by their names, such as `curves`."""

    def _repr_html_(self) -> str:
        return "".join(picture.html() for picture in self.values())


def pictures_in(folder: Path) -> Pictures:
    """The pictures in a folder; none if it is not there."""
    found = sorted(path for path in folder.glob("*") if path.suffix in (".png", ".gif", ".svg"))
    return Pictures({path.stem: Picture(path) for path in found})
