"""Print errors."""

from __future__ import annotations

import traceback

from rich.text import Text

from dlrun.console.streams import clean, err, in_width
from dlrun.errors import UserError


def print_error(error: UserError, raised: Exception | None = None) -> None:
    """Print the lines of an error; with `raised` (--debug) print all lines and its traceback."""
    console = err()
    if raised is not None:
        console.print(Text(clean("".join(traceback.format_exception(raised)))), soft_wrap=True)
    for line in error.lines(debug=raised is not None):
        style = "bold red" if line.startswith("error:") else ""
        is_excerpt = line.startswith("    ")  # whose caret stands under a column
        console.print(Text(line if is_excerpt else in_width(line, console), style), soft_wrap=True)
