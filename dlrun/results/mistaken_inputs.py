"""Files of another kind than a model takes, such as an image for a model of tables."""

from __future__ import annotations

from pathlib import Path

from dlrun.config.file_kinds import is_table_name, kind_by_beginning
from dlrun.data.examples import Data
from dlrun.data.image_files.finding import printable
from dlrun.errors import UserError

_HEAD = 16  # bytes of a file that tell its kind


def mistaken_input(data: Data, path: Path) -> UserError | None:
    """The error for a file of another kind than a model takes; None if its kind is right or not known."""
    try:
        with path.open("rb") as file:
            kind = kind_by_beginning(file.read(_HEAD))
    except OSError:
        return None
    if not kind.endswith(("image", "PDF file")):
        kind = "a table" if is_table_name(path.name) else ""
    takes, fix = _taken(data)
    is_right = kind.endswith("image") if takes == "images" else kind == "a table"
    if not kind or is_right:
        return None
    return UserError(f"this is {kind}; the model takes {takes}", where=printable(path), fix=fix)


def _taken(data: Data) -> tuple[str, str]:
    """The inputs that a model takes, and the remedy for others."""
    if data.encode is not None:
        return "texts", "name a text file, or give the text itself"
    if len(data.shape) == 3:
        return "images", "name an image or a folder of images"
    return "tables", "name a CSV file with a row for each input"
