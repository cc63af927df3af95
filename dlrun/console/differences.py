"""The differences between two runs (`dlrun diff`), and of a run from its repetition (`dlrun reproduce`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlrun.errors import one_line

if TYPE_CHECKING:
    from dlrun.results.reproduction import Reproduction
    from dlrun.run_folders.differences import Differences
from dlrun.console.layout import print_lines
from dlrun.console.numbers import yaml_text
from dlrun.console.streams import err, print_line, say_sentence, warn


def print_differences(found: Differences) -> None:
    """Print the differences between two runs."""
    both = (found.first, found.second)
    lines: list[tuple[str, ...]] = [("", *found.names)]
    for key in found.settings:
        lines.append(
            (key, *(yaml_text(record.config[key]) if key in record.config else "–" for record in both))
        )
    for name, values in found.surroundings.items():
        lines.append((name, *("–" if value is None else yaml_text(value) for value in values)))
    for text in found.unknown:
        warn(text)
    if len(lines) > 1:
        print_lines(lines, with_all=True)
    elif not found.unknown:
        say_sentence("settings, data, machine and versions are the same")
    say_sentence(f"curves: {found.parting}")


def print_reproduction(found: Reproduction) -> None:
    """Print the verdict on a reproduced run, and what differed."""
    print_differences(found.differences)
    say_sentence(reproduced(found))


def print_not_reproduced(found: Reproduction) -> None:
    """Print on stderr why the exit code of `reproduce --quiet` is not 0."""
    print_line(reproduced(found), err())


def reproduced(found: Reproduction) -> str:
    """The verdict on a reproduced run in one line."""
    line = f"{one_line(found.differences.first.run.name)}: {found.verdict}"
    return f"{line}: {found.why}" if found.why else line
