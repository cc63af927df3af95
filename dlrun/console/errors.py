"""Errors as they are printed."""

from __future__ import annotations

import traceback

from rich.text import Text

from dlrun.console.streams import clean, err
from dlrun.errors import UserError


def print_error(error: UserError, raised: Exception | None = None) -> None:
    """Print an error as it stands in its lines; with what was `raised`, all of it and its traceback."""
    console = err()
    if raised is not None:
        console.print(Text(clean("".join(traceback.format_exception(raised)))), soft_wrap=True)
    for line in error.lines(debug=raised is not None):
        style = "bold red" if line.startswith("error:") else ""
        console.print(Text(line, style), soft_wrap=True)
