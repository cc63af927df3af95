"""The code blocks of the project's pages, by the file that the text before each of them names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from places import PROJECT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([\w./]+\.(?:py|yaml|csv))`")


def page(name: str) -> str:
    """The text of a page, by its path in the project."""
    return (PROJECT / name).read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the kind of each block, the file that the text before it names last, and the content."""
    named, end = "", 0
    for block in _BLOCK.finditer(text):
        named = [named, *_NAMED.findall(text[end : block.start()])][-1]
        end = block.end()
        yield block[1], named, block[2]


def parts_of(name: str) -> dict[str, str]:
    """The parts that a page has as Python code, by their paths in a folder of parts."""
    files = {named: content for kind, named, content in blocks(page(name)) if kind == "python"}
    return {named.removeprefix("my_parts/"): content for named, content in files.items()}
