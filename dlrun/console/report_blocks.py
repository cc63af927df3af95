"""The blocks that a report is made of; the templates in report_files/ write each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dlrun.results.report_curves import MOST_POINTS, Chart
from dlrun.run_folders.pictures import Picture

_NUMBER = re.compile(r"[-+]?[\d,.]*(e[-+]?\d+)?( ± [\d,.]+(e[-+]?\d+)?| %)?|–|-?nan|-?inf")


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    kind: ClassVar[str] = "words"
    text: str


def sentence(line: str) -> Words:
    """A line as a sentence: with a capital letter and a full stop."""
    return Words(f"{line[:1].upper()}{line[1:]}.")


@dataclass(frozen=True)
class Warnings:
    """Warnings, a line each."""

    kind: ClassVar[str] = "warnings"
    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows."""

    kind: ClassVar[str] = "table"
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numeric(self) -> list[bool]:
        """True for each column of numbers alone, which stand to the right; the first one names the rows."""
        columns = zip(*self.rows, strict=True)
        return [at > 0 and all(map(_NUMBER.fullmatch, column)) for at, column in enumerate(columns)]


@dataclass(frozen=True)
class Charts:
    """Interactive charts, and a picture of the same for readers without JavaScript, if there is one."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]
    picture: Picture | None = None

    @property
    def note(self) -> str:
        """A line on the epochs that long lines leave out; "" if none does."""
        most = max(line.measured for chart in self.charts for line in chart.lines)
        shown = f"Of a line with more than {MOST_POINTS} epochs, {MOST_POINTS} are drawn, evenly spaced"
        return f"{shown}; the longest has {most:,}." if most > MOST_POINTS else ""


@dataclass(frozen=True)
class Pictures:
    """Pictures below each other."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Code:
    """A text to be copied: a config or commands."""

    kind: ClassVar[str] = "code"
    text: str
    language: str

    @property
    def fence(self) -> str:
        """Backticks around the text in Markdown, more of them than stand together in it."""
        return "`" * max(3, 1 + max(map(len, re.findall("`+", self.text)), default=0))


Block = Words | Warnings | Table | Charts | Pictures | Code


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The name by which a link leads to it."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Report:
    """A report: its title, the lines below it, and its sections."""

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    version: str  # of dlrun

    @property
    def pictures(self) -> list[Picture]:
        """All of its pictures."""
        found = list[Picture]()
        for block in (block for section in self.sections for block in section.blocks):
            if isinstance(block, Pictures):
                found += block.pictures
            elif isinstance(block, Charts) and block.picture:
                found.append(block.picture)
        return found
