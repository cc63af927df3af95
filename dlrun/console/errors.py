"""Print errors."""

from __future__ import annotations

import traceback

from dlrun.console.streams import err, in_width, print_unbroken
from dlrun.errors import UserError


def print_error(error: UserError, raised: Exception | None = None) -> None:
    """Print the lines of an error; with `raised` (--debug) print all lines and its traceback."""
    console = err()
    if raised is not None:
        print_unbroken("".join(traceback.format_exception(raised)), console)
    for line in error.lines(debug=raised is not None):
        style = "bold red" if line.startswith("error:") else ""
        is_excerpt = line.startswith("    ")  # whose caret stands under a column
        print_unbroken(line if is_excerpt else in_width(line, console), console, style)
