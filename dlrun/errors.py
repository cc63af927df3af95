"""Exceptions for the user: the message in a few lines, and the exit code of the process."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from unicodedata import combining, east_asian_width

_MOST_LISTED = 50
_MOST_BESIDE_MEANT = 20
_MOST_COMPARED = 1000  # finding the closest of nine thousand long names takes ten seconds
_SHORTEST_BEGINNING = 3  # letters by which a name may be meant
_LONGEST = 60  # characters of a name or a value
_LONGEST_SAID = 300  # characters of an exception's message
_PACKAGE = Path(__file__).parent
# Prefixes of notes on an exception: the command to resume the run, the user's part that was tried, and the
# user's parts that were at work.
_RESUME, _OWN_PART, _AT_WORK = "resume: ", "part: ", "parts: "


class UserError(Exception):
    """An error that the user can fix: bad usage, a bad config, missing data.

    `where` is a place (file:line:column, a key, a path), `fix` one action that corrects it. `value` is that
    of an option which is wrong, such as the name of a column that is not there: where it stands is the place.
    `instead` is a key and its value that `fix` has as a line of a file; a command line has it as a word.
    It is caught once, in `console.commands.app.main`, which prints it and exits with `exit_code`.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        fix: str = "",
        excerpt: Sequence[str] = (),
        value: str = "",
        instead: tuple[str, object] | None = None,
    ) -> None:
        super().__init__(what)
        self.value, self.instead = value, instead
        self.what, self.where, self.fix = what, where, fix
        self.excerpt = excerpt  # the line of a file at `where`, and a line that marks its column
        self.resume = ""  # the command that resumes the run, if there is one
        self.is_heard = False  # whichever of several processes that have met raises it

    def __str__(self) -> str:
        """The whole message, as it is printed."""
        return "\n".join([self.lines()[0].removeprefix("error: "), *self.lines()[1:]])

    @property
    def inline(self) -> str:
        """The message and its place, to be used inside a line."""
        return f"{self.what} ({self.where})" if self.where else self.what

    def lines(self, *, debug: bool = False) -> list[str]:
        """The lines of the printed message: at most five, unless --debug asks for the rest."""
        lines = [f"error: {self.what}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        lines += [f"    {line}" for line in self.excerpt]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        if self.resume:
            lines.append(f"  resume: {self.resume}")
        return [one_line(line) for line in lines]


class RunFailed(UserError):
    """The run could not continue: storage, memory, another process."""

    exit_code = 1


class Diverged(UserError):
    """A loss, a measurement or a weight is no longer a finite number."""

    exit_code = 3

    def __init__(self, what: str) -> None:
        super().__init__(what, fix="lower optimizer.lr, or set gradient_clip")


class CheckpointRefused(UserError):
    """A checkpoint that is damaged, hostile, or not of this run."""

    exit_code = 4


def one_line(text: str) -> str:
    """Return untrusted text as one line, with line ends and terminal control characters replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.splitlines()))


def in_full(path: Path | str) -> str:
    """A path as absolute, printable text, to say in which folder something was looked for."""
    return os.fsencode(Path(path).absolute()).decode("utf-8", "replace")


def shortened(value: object) -> str:
    """Return an untrusted value as text, truncated if it is long."""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def excerpt(text: str, line: int, column: int) -> tuple[str, ...]:
    """A line of an untrusted text and a caret under a column of it, both counted from 0; cut if it is long.

    Nothing of an empty line.
    """
    lines = text.splitlines()
    whole = lines[line] if line < len(lines) else ""
    if not whole.strip():
        return ()
    start = max(0, column - _LONGEST)
    shown = f"{'…' * (start > 0)}{one_line(whole[start : start + 2 * _LONGEST].replace(chr(9), '→'))}"
    before = shown[: column - start + (start > 0)]
    wide = sum(2 if east_asian_width(c) in "WF" else not combining(c) for c in before)
    return shown, " " * wide + "^"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory: on the host, on an accelerator, or during an import."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    words = ("can't allocate memory", "not enough memory", "out of memory")
    if isinstance(error, ImportError):
        words = ("failed to map segment", "cannot allocate memory", "Cannot allocate memory")
    return isinstance(error, RuntimeError | ImportError) and any(some in str(error) for some in words)


class Unforeseen(UserError):
    """An unexpected exception, reported as briefly as a UserError.

    One from inside a file of the user's, or in dlrun while a part of the user's is tried, is placed there.
    `command` repeats the command with --debug, which prints the traceback.
    """

    exit_code = 1

    def __init__(self, error: Exception, command: str) -> None:
        said = " ".join(str(error).split())[:_LONGEST_SAID]
        where, fix = own_place(error), "correct this file"
        if where:
            where = f"in your file {where}"
        elif noted := noted_part(error):
            where = f"in your file {noted}; raised {_said_place(*_innermost(error))}"
        else:
            where = _said_place(*_innermost(error))
            fix = "please report this: dlrun should say what is wrong"
            if at_work := _noted(error, _AT_WORK):
                fix = f"see first if your own {at_work} gives what it should; if so, please report this"
        super().__init__(
            f"{type(error).__name__}: {said}" if said else type(error).__name__, where=where, fix=fix
        )
        self.resume = noted_resume(error)
        self.command = command

    def lines(self, *, debug: bool = False) -> list[str]:
        also = ", and so does log.txt of the run" if self.resume else ""
        shows = [] if debug else [one_line(f"  debug: {self.command} shows the whole traceback{also}")]
        return [*super().lines(), *shows]


def own_place(error: BaseException) -> str:
    """The innermost line of the user's files that an exception, or its cause, came through: `x.py:7, in f`.

    "" if it came through none.
    """
    each: BaseException | None = error
    while each is not None:
        for path, line, function in reversed(_frames(each)):
            if not path.is_relative_to(_PACKAGE) and path.is_file() and not _is_of_library(path):
                return _said_place(path, line, function)
        each = each.__cause__
    return ""


def note_part(error: Exception, place: str) -> None:
    """Attach to an exception the place of the user's part that was tried; `noted_part` reads it."""
    error.add_note(f"{_OWN_PART}{place}")


def note_parts_at_work(error: Exception, paths: Sequence[str]) -> None:
    """Attach to an exception the files of the user's parts that were at work, for `Unforeseen`."""
    if paths:
        error.add_note(f"{_AT_WORK}{' or '.join(paths)}")


def noted_part(error: Exception) -> str:
    """The place that `note_part` attached to an exception; "" if there is none."""
    return _noted(error, _OWN_PART)


def note_resume(error: Exception, command: str) -> None:
    """Attach to an exception the command that resumes its run; `noted_resume` reads it."""
    error.add_note(f"{_RESUME}{command}")


def noted_resume(error: Exception) -> str:
    """The command that `note_resume` attached to an exception; "" if there is none."""
    return _noted(error, _RESUME)


def _noted(error: Exception, prefix: str) -> str:
    notes = (note for note in getattr(error, "__notes__", ()) if note.startswith(prefix))
    return next(notes, "").removeprefix(prefix)


def _frames(error: BaseException) -> list[tuple[Path, int, str]]:
    """The file, line and function of each frame of a traceback, the innermost last."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return [(Path(frame.filename), frame.lineno or 0, frame.name) for frame in frames]


def _is_of_library(path: Path) -> bool:
    import sysconfig

    libraries = (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(path.is_relative_to(folder) for folder in libraries)


def _innermost(error: Exception) -> tuple[Path, int, str]:
    """The innermost file, line and function of dlrun in a traceback; of a library if there are no others."""
    frames = _frames(error)
    return next((frame for frame in reversed(frames) if frame[0].is_relative_to(_PACKAGE)), frames[-1])


def _said_place(path: Path, line: int, function: str) -> str:
    is_ours = path.is_relative_to(_PACKAGE)
    return f"{path.relative_to(_PACKAGE.parent) if is_ours else path}:{line}, in {function}"


def first_few(names: Sequence[str], most: int, joint: str = ", ", total: int | None = None) -> str:
    """The first of some names and the number of the others, of `total` ones: `a, b and 3 more`."""
    shown, more = joint.join(names[:most]), (len(names) if total is None else total) - most
    return f"{shown}{' ' if joint == ', ' else joint}and {more:,} more" if more > 0 else shown


def in_words(names: Iterable[str]) -> str:
    """The names as a sentence has them: `a, b and c`; "" if there are none."""
    *others, last = [*names] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def listed(names: Iterable[str]) -> str:
    """The names in one line, in parentheses, to be appended to a message; only the first of very many."""
    names = list(names)
    shown = first_few([shortened(name) for name in names], _MOST_LISTED)
    return f"(there are: {shown})" if names else "(there are none)"


def meant(name: str, names: Iterable[str], *, likeness: float = 0.55) -> str:
    """`; did you mean 'lr'?` for a name that is not among `names`; "" if `closest` finds none."""
    close = closest(name, names, likeness=likeness)
    return "" if close is None else f"; did you mean {close!r}?"


def closest(name: str, names: Iterable[str], *, likeness: float = 0.55) -> str | None:
    """The name among `names` that is meant by another one; None if none has this likeness, of 1.

    The only one that begins with `name` is meant too: accuracy by acc.
    """
    names = list(names)
    if len(names) > _MOST_COMPARED:
        return None
    close = get_close_matches(name.lower()[:200], [n.lower() for n in names], n=1, cutoff=likeness)
    longer = [n for n in names if len(name) >= _SHORTEST_BEGINNING and n.lower().startswith(name.lower())]
    if not close and len(longer) != 1:
        return None
    found = close[0] if close else longer[0].lower()
    return next(n for n in names if n.lower() == found)


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'lr'? (there are: …)` for a name that is not among `names`; of many the close one."""
    names = list(names)
    close = meant(name, names)
    return close if close and len(names) > _MOST_BESIDE_MEANT else f"{close} {listed(names)}"
