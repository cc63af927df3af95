"""Docstrings of parts in Google style: the first line, paragraphs, the meaning of each option, an example."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from textwrap import dedent

_SECTION = re.compile(r"([A-Z][a-z]+(?: [A-Z][a-z]+)?):")
_ENTRY = re.compile(r"\*{0,2}(\w+)(?: ?\([^)]*\))?: *(.*)")  # in brackets a type, which the signature has too
_OF_OPTIONS = ("Args", "Arguments", "Keyword Args", "Keyword Arguments")
_OF_EXAMPLES = ("Example", "Examples")


@dataclass(frozen=True)
class Docstring:
    """The content of a docstring; without a section `Args` it has no meanings."""

    summary: str = ""
    paragraphs: tuple[str, ...] = ()  # each in one line, without the sections
    meanings: dict[str, str] = field(default_factory=dict)  # the entries of `Args`, by name
    example: str = ""  # a piece of YAML


def read_docstring(text: str) -> Docstring:
    """Read a docstring without its indentation, as `ast.get_docstring` gives it."""
    summary, _, rest = text.partition("\n")
    prose, found = list[str](), dict[str, list[str]]()
    section: list[str] | None = None
    for line in rest.splitlines():
        header = _SECTION.fullmatch(line.rstrip())
        if header and header[1] in (*_OF_OPTIONS, *_OF_EXAMPLES):
            section = found.setdefault("Args" if header[1] in _OF_OPTIONS else "Example", [])
        elif section is None or (line and not line[0].isspace()):
            section = None
            prose.append(line)
        else:
            section.append(line)
    example = dedent("\n".join(found.get("Example", []))).strip()
    return Docstring(summary.strip(), _paragraphs(prose), _entries(found.get("Args", [])), example)


def _paragraphs(lines: list[str]) -> tuple[str, ...]:
    blocks = groupby(map(str.strip, lines), key=bool)
    return tuple(" ".join(block) for is_text, block in blocks if is_text)


def _entries(lines: list[str]) -> dict[str, str]:
    """The text of each entry by its name; a line that is indented further continues an entry."""
    entries, name = dict[str, str](), ""
    for line in dedent("\n".join(lines)).splitlines():
        begun = _ENTRY.fullmatch(line)
        if begun:
            name = begun[1]
        text = begun[2] if begun else line.strip()
        if name:
            entries[name] = f"{entries.get(name, '')} {text}".strip()
    return entries
