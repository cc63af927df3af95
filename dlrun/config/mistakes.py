"""A mistake of a config as a line: its place, its key, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from dlrun.config.strict_yaml import Place


def mistake_line(place: Place, path: tuple[str | int, ...], what: str) -> str:
    return f"{place} {_path_text(path)}: {what}"


def _path_text(path: Iterable[str | int]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")[:120]
