"""Pictures of a run or a sweep, which show themselves in a notebook."""

from __future__ import annotations

from html import escape
from pathlib import Path

from dlrun.errors import UserError
from dlrun.run_folders import pictures


class Picture:
    """A picture file, which is read when it is shown."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The name of the plot, such as `confusion_matrix_test`."""
        return self.path.stem

    def __repr__(self) -> str:
        return f"<Picture {self.path}>"

    def _repr_html_(self) -> str:
        found = pictures.read_picture(self.path, self.name)
        if found is None:
            raise UserError(f"{self.path} is no picture any more")
        return f'<img alt="{escape(self.name)}" src="{found.uri}" style="max-width: 40em">'


class Pictures(dict[str, Picture]):
    """The pictures of a folder by their names, such as `curves`."""

    def _repr_html_(self) -> str:
        return "".join(picture._repr_html_() for picture in self.values())


def pictures_in(folder: Path) -> Pictures:
    """The pictures in a folder; none if it is not there, or a link."""
    return Pictures({path.stem: Picture(path) for path in pictures.files_in(folder)})
