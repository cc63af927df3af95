"""A page of HTML as a reader has it: its headings, tables, pictures, scripts and texts."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID = ("meta", "wbr", "img", "input", "br")


class ReadPage(HTMLParser):
    """The elements of a page, each with its attributes and the text in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, {name: value or "" for name, value in attrs}, list[str]())
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"{tag} is closed amid another element"

    def handle_data(self, data: str) -> None:
        for _, _, texts in self._open:
            texts.append(data)

    def of(self, tag: str, **wanted: str) -> list[tuple[dict[str, str], str]]:
        """The attributes and the text of the elements of a kind."""
        return [
            (own, "".join(texts).strip())
            for name, own, texts in self.elements
            if name == tag and all(own.get(key) == value for key, value in wanted.items())
        ]

    def texts(self, tag: str, **wanted: str) -> list[str]:
        return [text for _, text in self.of(tag, **wanted)]

    def tables(self) -> dict[str, list[list[str]]]:
        """The rows of each table by its caption, the headings first."""
        found: dict[str, list[list[str]]] = {}
        rows: list[list[str]] = []
        caption = ""
        for tag, _, texts in self.elements:
            text = "".join(texts).strip()
            if tag == "table":
                rows, caption = [], ""
            elif tag == "caption":
                caption = text
                found[caption] = rows
            elif tag == "tr":
                rows.append([])
            elif tag in ("th", "td"):
                rows[-1].append(text)
        return found

    def charts(self) -> list[dict[str, Any]]:
        """The figures of the charts."""
        import json

        return [json.loads(text) for text in self.texts("script", type="application/json")]
