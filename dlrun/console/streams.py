"""Consoles on stdout and stderr that never stop the program, and functions that print plain lines."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from textwrap import fill
from typing import TYPE_CHECKING, Any, TextIO

from dlrun.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console

_asked = {"plain": False}  # by --plain
_FILLER = "\0"  # a place beside a sign that takes two
_failures: list[OSError] = []  # errors because of which output on stdout is missing


class _Stream:
    """A stream that never raises: output that cannot be written is dropped."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = StringIO() if stream is None else stream  # None: closed before Python started
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._broken = False

    def write(self, text: str) -> int:
        if not self._broken:
            try:
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        if not self._broken:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def isatty(self) -> bool:
        try:
            return not self._broken and self._stream.isatty()
        except ValueError:  # closed
            return False

    def fileno(self) -> int:
        return self._stream.fileno()

    def _give_up(self, error: OSError | ValueError) -> None:
        """Drop all further output, without errors at exit: the reader is gone (`| head`) or the disk full."""
        self._broken = True
        if isinstance(error, OSError) and error.errno != errno.EPIPE and self._stream is sys.stdout:
            _failures.append(error)
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            pass


def _console(stream: TextIO | None) -> Console:
    from rich.console import Console

    file = _Stream(stream)
    columns = os.environ.get("COLUMNS", "")
    is_terminal = False if is_plain(file) else None  # None: as rich finds it
    # In a file or a pipe lines may be wide; a table for a narrow terminal would be cut needlessly.
    width = None if file.isatty() else int(columns) if columns.isdecimal() and int(columns) else 120
    return Console(
        file=file,  # type: ignore[arg-type]
        highlight=False,
        soft_wrap=False,
        width=width,
        force_terminal=is_terminal,
    )


def print_plainly(is_asked: bool) -> None:
    """Print lines without control characters from now on, or again what suits the stream (False)."""
    _asked["plain"] = is_asked


def is_plain(stream: _Stream) -> bool:
    """Return whether a stream gets lines without control characters, as one does that is no terminal.

    A notebook gives `!dlrun` a terminal that keeps every redrawn line, and so do some CI services.
    """
    environment = os.environ
    is_ci = environment.get("CI", "").lower() not in ("", "0", "false")
    is_dumb = environment.get("TERM", "").lower() in ("dumb", "unknown")
    is_notebook = "JPY_PARENT_PID" in environment  # set by Jupyter for its kernels
    return _asked["plain"] or not stream.isatty() or is_ci or is_dumb or is_notebook


def can_redraw(console: Console) -> bool:
    """Return whether a console is a terminal that can move its cursor and is meant to."""
    return console.is_terminal


def stdout() -> _Stream:
    """Stdout as it is now, for plain lines."""
    return _Stream(sys.stdout)


def out() -> Console:
    """The console on the current sys.stdout."""
    return _console(sys.stdout)


def err() -> Console:
    """The console on the current sys.stderr."""
    return _console(sys.stderr)


def output_failure() -> OSError | None:
    """The error that lost output on stdout since the last call; None if nothing was lost or nobody reads."""
    stdout().flush()
    first = _failures[0] if _failures else None
    _failures.clear()
    return first


@contextmanager
def as_comments() -> Iterator[None]:
    """Print what is printed inside on a terminal as it is, elsewhere as comments of YAML."""
    if out().is_terminal:
        yield
        return
    with redirect_stdout(StringIO()) as printed:
        yield
    for line in printed.getvalue().splitlines():
        say(f"# {line}".rstrip())


def say(text: str) -> None:
    """Print one line on stdout, without markup."""
    stream = stdout()
    stream.write(f"{clean(text)}\n")
    stream.flush()


def say_sentence(text: str) -> None:
    """Print a sentence on stdout, without markup, broken at words in a narrow terminal."""
    print_line(text, out())


def say_line(text: str) -> None:
    """Print one line on stdout, with control characters in it removed."""
    say(one_line(text))


def in_width(text: str, console: Console, indent: int = 2) -> str:
    """A line broken at words if it is wider than the terminal, and `indent` more spaces before what follows.

    In a pipe or a file it stays one line.
    """
    from rich.cells import cell_len

    if not console.is_terminal or cell_len(text) <= console.width:
        return text
    before = " " * (len(text) - len(text.lstrip(" ")) + indent)
    filled = fill(
        "".join(sign + _FILLER * (cell_len(sign) - 1) for sign in text),  # as long as it is wide
        max(console.width, 2 * len(before)),
        subsequent_indent=before,
        break_long_words=False,  # a path or a command is one word to whoever copies it
        break_on_hyphens=False,
    )
    return filled.replace(_FILLER, "")


def print_line(text: str, console: Console, style: str = "", indent: int = 2) -> None:
    """Print a line without markup or control characters, broken at words in a narrow terminal."""
    print_unbroken(in_width(text, console, indent), console, style)


def print_unbroken(text: str, console: Console, style: str = "") -> None:
    """Print lines as they are, without markup or control characters: a command can be copied."""
    from rich.text import Text

    console.print(Text(clean(text), style), soft_wrap=True)


def print_warning(text: str, console: Console) -> None:
    """Print a warning on a console."""
    print_line(f"warning: {one_line(text)}", console, "yellow")


def warn(text: str) -> None:
    """Print a warning on stderr."""
    print_warning(text, err())


def agreed(question: str) -> bool:
    """Ask a question on stderr, read the answer from stdin, and return True for yes."""
    stream = _Stream(sys.stderr)
    stream.write(f"{question} [y/N]: ")
    stream.flush()
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def say_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object and nothing else."""
    say(json.dumps(content, allow_nan=False))


def clean(text: str) -> str:
    """Text from an untrusted source without control sequences of terminals."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def show_progress(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """Yield the items while showing a progress bar, or without a terminal a line."""
    from rich.text import Text

    console = err()
    if not can_redraw(console):
        console.print(Text(f"{what}: {total:,}"), soft_wrap=True)
        yield from items
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        console.show_cursor(True)  # show it now: Ctrl-C ends the process at once
        yield from bar.track(items, total=total, description=what)
