"""docs/performance.md: what dlrun costs, beside the loop written by hand and the tools used instead.

    python -m benchmarks                               # every section, then the page
    python -m benchmarks threenet memory --rounds 7    # these again, then the page
    python -m benchmarks --table                       # the page from what was measured before

Each section is kept as soon as it is measured. Between contestants the machine does the same fixed work; if
its time varies much, the page says so, and judges a goal only if every round agrees.

A section is a module of this folder, named in SECTIONS, with

    TITLE: str
    def measure(rounds: int) -> dict[str, Any]          # figures that strict JSON can hold, with
                                                        # "machine": benchmarks.measured.machine()
    def table(measured: dict[str, Any]) -> list[str]    # Markdown made from those figures alone

and, where it answers to goals, GOALS: a sequence of Goal, which the page lists first, all sections together.
A section that cannot be measured on this machine gives {"not measured": why}. A `measure` that has a second
parameter `threads` is given the --threads of the command line, None without.

What a section gives is kept under its name in docs/performance.json, from which the page is written.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import Any, Literal, Protocol, cast

from benchmarks.measured import PROJECT, keep, markdown, measured_on, read
from benchmarks.noise import QUIET, said, seconds_in, spread

MEASURED = PROJECT / "docs" / "performance.json"
PAGE = PROJECT / "docs" / "performance.md"
SECTIONS = (
    "threenet",
    "spiral",
    "busy",
    "language",
    "commands",
    "memory",
    "seeds",
    "sweeps",
    "fast_paths",
    "long",
    "saving",
    "large_table",
    "photographs",
    "jpegs",
    "image_loops",
    "several",
    "memory_format",
    "augmentations",
    "threads",
    "scale",
    "gpu",
)
HEADINGS = ("what", "minimum", "median", "maximum", "goal", "met")
INTRODUCTION = """\
Written by `python -m benchmarks`, which runs the contestants of each section in turn, each in its own
process unless the section says otherwise. Ratios are computed within a round, and the median of all
rounds is compared with the goal; minimum and maximum show the spread, to which other programs on the
machine contribute. `pip install -c constraints.txt -e '.[bench]'` installs the other libraries; one that
is not installed is left out."""


class Section(Protocol):
    """The interface of a section, which is a module of this folder."""

    TITLE: str

    def measure(self, rounds: int) -> dict[str, Any]: ...
    def table(self, measured: dict[str, Any]) -> list[str]: ...


@dataclass(frozen=True)
class Goal:
    """A bound that the median of a figure, measured in each round, has to keep.

    `figures` reads them from what the section measured; none, where it was not measured. `note` says, of a
    goal that is not met, what was tried and what stands in the way.
    """

    what: str
    sign: Literal["≤", "≥", "<"]
    bound: float
    figures: Callable[[dict[str, Any]], Sequence[float]]
    unit: str = ""
    note: str = ""

    def met(self, figures: Sequence[float]) -> bool:
        """True if the median keeps the bound."""
        return self.is_kept_by(median(figures))

    def is_kept_by(self, figure: float) -> bool:
        """True if one figure keeps the bound."""
        return {"≤": figure <= self.bound, "≥": figure >= self.bound, "<": figure < self.bound}[self.sign]

    def can_be_judged(self, found: dict[str, Any]) -> bool:
        """True on a quiet machine; on a noisy one only if every round says the same."""
        noise = spread(seconds_in(found))
        of_each = set(map(self.is_kept_by, self.measured(found)))
        return noise is None or noise <= QUIET or len(of_each) == 1

    def measured(self, found: dict[str, Any]) -> Sequence[float]:
        """Its figures, as far as the section was measured."""
        return self.figures(found) if found and "not measured" not in found else ()

    def missed(self, found: dict[str, Any]) -> bool:
        """True if the goal was measured and not met."""
        figures = self.measured(found)
        return bool(figures) and self.can_be_judged(found) and not self.met(figures)

    def row(self, found: dict[str, Any]) -> list[str]:
        """Its line in the table of goals."""
        goal = f"{self.sign} {self.bound:g}{self.unit}"
        figures = self.measured(found)
        if not figures:
            return [self.what, "–", "–", "–", goal, "not measured"]
        shown = [f"{figure:.3g}{self.unit}" for figure in (min(figures), median(figures), max(figures))]
        if not self.can_be_judged(found):
            return [self.what, *shown, goal, "not judged: noisy"]
        return [self.what, *shown, goal, "yes" if self.met(figures) else "**no**"]


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for, then write the page and print the goals."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure dlrun and write docs/performance.md."
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant runs (default: 5)")
    parser.add_argument("--threads", type=int, help="CPU threads of every contestant (default: dlrun's rule)")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.sections) - set(SECTIONS)):
        parser.error(f"there is no section {unknown[0]!r} (there are: {', '.join(SECTIONS)})")
    if asked.rounds < 1:
        parser.error("there must be at least one round")
    measured = read(MEASURED)
    for name in () if asked.table else SECTIONS:
        if not asked.sections or name in asked.sections:
            print(f"{name} …", flush=True)
            measured[name] = measure(section(name), asked.rounds, asked.threads)
            keep(MEASURED, measured, in_order=True)  # whatever becomes of the next section
            print("\n".join(section_lines(name, measured)), flush=True)
            write_page()
    write_page()
    print("\n".join(goal_lines(measured)))


def write_page() -> None:
    """Write the page from what was measured so far."""
    PAGE.write_text("\n".join(lines(read(MEASURED))) + "\n", encoding="utf-8")


def section(name: str) -> Section:
    """The module of a section."""
    return cast(Section, import_module(f"benchmarks.{name}"))


def measure(section: Section, rounds: int, threads: int | None) -> dict[str, Any]:
    """Measure a section, with the number of threads of the command line if the section takes one."""
    matters = "threads" in inspect.signature(section.measure).parameters
    more = {"threads": threads} if matters else {}
    return section.measure(rounds, **more)


def goals(name: str) -> Sequence[Goal]:
    """The goals of a section; some have none."""
    return getattr(section(name), "GOALS", ())


def lines(measured: dict[str, Any]) -> Iterator[str]:
    """The page as Markdown."""
    yield "# Performance"
    yield ""
    yield INTRODUCTION
    yield ""
    yield from goal_lines(measured)
    yield from note_lines(measured)
    for name in SECTIONS:
        yield ""
        yield from section_lines(name, measured)


def goal_lines(measured: dict[str, Any]) -> Iterator[str]:
    """The goals of all sections, each with what was measured."""
    rows = [goal.row(measured.get(name, {})) for name in SECTIONS for goal in goals(name)]
    yield from markdown(HEADINGS, rows)


def note_lines(measured: dict[str, Any]) -> Iterator[str]:
    """The notes on goals that are not met."""
    named: dict[str, list[str]] = {}  # by note: two goals may have the same
    for name in SECTIONS:
        for goal in goals(name):
            if goal.note and goal.missed(measured.get(name, {})):
                named.setdefault(goal.note, []).append(goal.what)
    for note, missed in named.items():
        yield ""
        yield f"{'; '.join(missed)}: {note}"


def section_lines(name: str, measured: dict[str, Any]) -> Iterator[str]:
    """One section of the page."""
    found = measured.get(name, {"not measured": "nobody has asked for it yet"})
    yield f"## {section(name).TITLE}"
    yield ""
    if "not measured" in found:
        yield f"Not measured: {found['not measured']}."
        return
    yield from section(name).table(found)
    yield ""
    yield f"{measured_on(found['machine'])} {said(seconds_in(found))}".rstrip()
