"""The cause of a text that is not YAML, found by repairing a line and reading the text again.

A YAML parser reports the place at which it can read no further, often a line or more behind the mistake.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import yaml

from dlrun.config.file_kinds import NAME_ANOTHER

_LONGEST_LINE = 100  # characters of a line in a remedy
_MOST_REPAIRS = 100
_LONGEST = 10_000  # characters of a text that is repaired: without libyaml reading takes its time
_ALL = (float("inf"), 0)
_CLOSING = {"[": "]", "{": "}"}
_BEGINNING = r"(\s*(?:- +)?(?:[\w.]+: +)?)"  # of a line, in front of a value
_KEY = r"^(\s*(?:- +)?)([A-Za-z_][\w.]*)"
_NO_SPACE = re.compile(rf"{_KEY}:([^\s:/].*)$")
_EQUALS = re.compile(rf"{_KEY}\s*=\s*(.+)$")
_WIDE_COLON = re.compile(rf"{_KEY}\s*\N{{FULLWIDTH COLON}}\s*(.*)$")
_NO_COLON = re.compile(rf"{_KEY}\s+(\S.*)$")
_KEY_ALONE = re.compile(rf"{_KEY}$")
_DASH = re.compile(r"^(\s*)-([^\s-].*)$")
_INDICATOR = re.compile(rf"^{_BEGINNING}([@`%|>!&*][^,\]}}]*)(.*)$")
_COLON_INSIDE = re.compile(r"^(\s*(?:- +)?[\w.]+: +)([^\[{'\"].*:(?: .*)?)$")
_APOSTROPHE = re.compile(r"^([^']*)'([^\"]*'[^\"]*)'(.*)$")
_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_PYTHON = re.compile(
    r"^(import [\w.]+|from [\w.]+ import |def \w+\(|class \w+[(:]|@\w+|#!.*python)", re.MULTILINE
)
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Cause:
    """A mistake of syntax: what it is, its line and column, counted from 0, and the remedy."""

    what: str
    line: int
    column: int
    fix: str = ""


def cause_of(text: str, error: yaml.YAMLError, loader: Any) -> Cause:
    """The cause of an `error` that reading `text` raised."""
    lines = text.splitlines()
    if control := _CONTROL.search(text):
        *whole, begun = f"{text[: control.start()]}.".splitlines()
        line, column = len(whole), len(begun) - 1
        return Cause(f"the character U+{ord(control[0]):04X} is no text", line, column, "delete it")
    if not isinstance(error, yaml.MarkedYAMLError):
        return Cause(str(error).splitlines()[0], 0, 0)
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    begun_at = error.context_mark.line if error.context_mark else line
    if "another document" in str(error.problem):
        return Cause("a second document begins here", line, column, "keep one config in a file")
    if is_python(text):
        return Cause("this is Python code", 0, 0, NAME_ANOTHER)
    before = next((n for n in range(min(line, len(lines)) - 1, -1, -1) if _body(lines[n])), line)
    suspects = [n for n in dict.fromkeys((begun_at, line, before)) if n < len(lines) and _body(lines[n])]
    for number in sorted(suspects):
        indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
        if "\t" in indent:
            return Cause("a tab; use spaces", number, indent.index("\t"), "indent by two spaces a level")
    known = _said(error, lines, line, column)
    if len(text) > _LONGEST:
        return known
    reached, best = _reached(lines, loader), None
    repairs = chain(_of_lines(lines, suspects), _of_brackets(lines, error), _of_indents(lines, suspects))
    for repair in islice(repairs, _MOST_REPAIRS):
        now = _reached([*lines[: repair.line], repair.written, *lines[repair.line + 1 :]], loader)
        if now == _ALL:
            return repair.cause
        if now[0] > reached[0]:  # there may be another mistake behind this one
            best = best or repair.cause
    if best:
        return best
    return known


def is_python(text: str) -> bool:
    """True for Python code, of which a YAML file has no line."""
    if not _PYTHON.search(text):
        return False
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


@dataclass(frozen=True)
class _Repair:
    """A line as it may have been meant, and what is wrong with it if that can be read."""

    line: int
    written: str
    what: str
    column: int
    fix: str = ""
    at: int | None = None  # the line of the mistake, if it is another one than the line to repair

    @property
    def cause(self) -> Cause:
        """The mistake that this repairs."""
        line, written = self.line if self.at is None else self.at, self.written.strip()
        place = f" line {self.line + 1} as" if line != self.line else ""
        fix = self.fix or (f"write{place} {written}" if len(written) <= _LONGEST_LINE else "")
        return Cause(self.what, line, self.column, fix)


def _of_lines(lines: Sequence[str], suspects: Sequence[int]) -> Iterator[_Repair]:
    """Repairs of the colons, dashes and quotes of single lines."""
    for number in suspects:
        line, said = _body(lines[number]), f"line {number + 1}"
        for pattern, what in (
            (_NO_SPACE, f"{said} has no space behind its colon"),
            (_EQUALS, f"{said} has = where a colon belongs"),
            (_WIDE_COLON, f"the colon of {said} is a full-width one"),
            (_NO_COLON, f"{said} has no colon"),
        ):
            if found := pattern.match(line):
                yield _Repair(number, f"{found[1]}{found[2]}: {found[3]}", what, found.end(2))
        if found := _KEY_ALONE.match(line):
            yield _Repair(number, f"{line}:", f"{said} has no colon", found.end())
        if found := _DASH.match(line):
            what = f"{said} has no space behind its dash"
            yield _Repair(number, f"{found[1]}- {found[2]}", what, found.end(1))
        if line.lstrip().startswith("- ") and "\n".join(lines[number + 1 : number + 2]).strip():
            what = f"{said} begins with a dash, as the items of a list do, and the next line does not"
            dash = line.index("-")
            yield _Repair(number, line[:dash] + line[dash + 1 :].lstrip(), what, dash)
        for quote in "\"'":
            if line.count(quote) % 2:
                end = len(line.rstrip(" ,]}"))
                for at in dict.fromkeys((end, len(line))):
                    yield _Repair(
                        number,
                        f"{line[:at]}{quote}{line[at:]}",
                        f"the quote {quote} is never closed",
                        line.index(quote),
                    )
        if found := _APOSTROPHE.match(line):
            what = "an apostrophe in single quotes ends them"
            column = found.start(2) + found[2].index("'")
            yield _Repair(number, f'{found[1]}"{found[2]}"{found[3]}', what, column)
        if found := _INDICATOR.match(line):
            quoted = f"{found[1]}'{found[2].rstrip()}'{found[3]}"
            what = f"a value that begins with {found[2][0]} needs quotes"
            yield _Repair(number, quoted, what, found.start(2))
        if found := _COLON_INSIDE.match(line):
            what = "a value with a colon in it needs quotes"
            yield _Repair(number, f'{found[1]}"{found[2]}"', what, found.start(2))


def _of_brackets(lines: Sequence[str], error: yaml.MarkedYAMLError) -> Iterator[_Repair]:
    """Repairs of brackets and commas, between the bracket that YAML was reading and where it stopped."""
    mark, begun = error.problem_mark, error.context_mark or error.problem_mark
    if mark is None or begun is None:
        return
    opened: list[tuple[str, int, int]] = []
    last = min(mark.line, len(lines) - 1)
    first = begun.line if begun.line < len(lines) else 0
    for number in range(first, last + 1):
        line = _body(lines[number])
        for column, letter in _outside_quotes(line):
            if letter in _CLOSING:
                opened.append((letter, number, column))
            elif letter in _CLOSING.values():
                if opened and _CLOSING[opened[-1][0]] == letter:
                    opened.pop()
                    continue
                if opened:
                    opener, at, there = opened[-1]
                    written = f"{line[:column]}{_CLOSING[opener]}{line[column:]}"
                    yield _Repair(number, written, f"the bracket {opener} is not closed", there, at=at)
                what = f"the bracket {letter} closes nothing"
                yield _Repair(number, line[:column] + line[column + 1 :], what, column)
    closers = "".join(_CLOSING[opener] for opener, *_ in reversed(opened))
    if opened:
        opener, at, there = opened[-1]
        for number in dict.fromkeys((at, last, max(0, last - 1))):
            line = _body(lines[number])
            missing = f"the bracket {opener} is never closed"
            yield _Repair(number, line + closers, missing, there, at=at)
            inner = line.rstrip("]}")
            yield _Repair(number, inner + closers + line[len(inner) :], missing, there, at=at)
    if mark.line < len(lines) and "flow" in str(error.context):  # elsewhere a comma parts nothing
        line, column = _body(lines[mark.line]), mark.column
        for word in (re.search(r"\s+([\w.]+)\s*$", line[:column]), re.search(r"\s*()$", line[:column])):
            if word and word.start():
                written = f"{line[: word.start()]}, {line[word.start(1) :]}"
                yield _Repair(mark.line, written, "a comma is missing", word.start())


def _of_indents(lines: Sequence[str], suspects: Sequence[int]) -> Iterator[_Repair]:
    """Repairs of the indentation of single lines: that of a line above or of the next one."""
    for number in sorted(suspects, reverse=True):
        line = lines[number]
        own = len(line) - len(line.lstrip(" "))
        others = [
            len(other) - len(other.lstrip(" "))
            for other in (*lines[:number][::-1], *lines[number + 1 : number + 2])
            if _body(other)
        ]
        if not others or others[0] == own:
            continue
        what = f"line {number + 1} is indented by {_spaces(own)}, the line above it by {others[0] or 'none'}"
        for indent in dict.fromkeys(others):
            if indent != own:
                fix = "give it the indentation of the lines that it stands beside"
                yield _Repair(number, " " * indent + line.lstrip(" "), what, own, fix)


def _spaces(count: int) -> str:
    return f"{count or 'no'} space{'' if count == 1 else 's'}"


def _said(error: yaml.MarkedYAMLError, lines: Sequence[str], line: int, column: int) -> Cause:
    """The cause in other words than the parser's, if no repair of a line shows it."""
    problem, context = str(error.problem or error.context), str(error.context or "")
    begun = error.context_mark if error.context_mark and error.context_mark.line < len(lines) else None
    if begun and "quoted scalar" in context and "end of stream" in problem:
        quote = lines[begun.line][begun.column]
        return Cause(f"the quote {quote} is never closed", begun.line, begun.column, "close it")
    if begun and "flow" in context:
        bracket = lines[begun.line][begun.column : begun.column + 1]
        what = f"in the brackets that begin with {bracket} a comma or the closing bracket is missing"
        return Cause(what, begun.line, begun.column)
    if begun and "simple key" in context:
        return Cause(f"line {begun.line + 1} has no colon", begun.line, begun.column, "write KEY: VALUE")
    if "cannot start any token" in problem and line < len(lines):
        letter = lines[line][column : column + 1]
        return Cause(f"a value that begins with {letter} needs quotes", line, column)
    if "mapping values" in problem:
        return Cause("a colon where no key can be", line, column, "put a value with a colon in quotes")
    if "document start" in problem:
        return Cause("text behind the end of a value", line, column, "put the whole value in quotes")
    if "did not find expected key" in problem or "expected <block end>" in problem:
        what = "this is no continuation of the lines above it"
        return Cause(what, line, column, "check its indentation, and the quotes and brackets above it")
    return Cause(problem, line, column)


def _reached(lines: Sequence[str], loader: Any) -> tuple[float, int]:
    """The line and the distance from its end up to which a text can be read; `_ALL` if all of it can."""
    try:
        for _ in yaml.parse("\n".join(lines) + "\n", Loader=loader):
            pass
    except yaml.MarkedYAMLError as error:
        is_open = "end of stream" in str(error.problem)  # such as a quote: the rest is no text that was read
        mark = (error.context_mark if is_open else None) or error.problem_mark or error.context_mark
        if mark is None:
            return 0, 0
        return mark.line, mark.column - len(lines[mark.line]) if mark.line < len(lines) else 0
    except yaml.YAMLError:
        return 0, 0
    return _ALL


def _body(line: str) -> str:
    """A line without its comment and the spaces at its end."""
    return _COMMENT.sub("", line).rstrip()


def _outside_quotes(line: str) -> Iterator[tuple[int, str]]:
    quote = ""
    for column, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and not line[column - 1 : column].isalnum():
            quote = letter
        else:
            yield column, letter
