"""docs/config.md is what `dlrun parts --markdown` writes, and nothing of a config is missing in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from places import PROJECT

from dlrun.config.keys import KEYS
from dlrun.config.registry import FOLDERS, Parts

PAGE = (PROJECT / "docs" / "config.md").read_text(encoding="utf-8")


def sections(level: str, text: str) -> dict[str, str]:
    """The text below each heading of a level, by the heading."""
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in text.split(f"\n{level} ")[1:]}


def test_the_page_is_what_the_command_writes(dlrun: Callable[..., Any]) -> None:
    assert dlrun("parts", "--markdown").out == PAGE, "dlrun parts --markdown > docs/config.md"


def test_the_page_has_a_row_for_each_key_and_each_option() -> None:
    kinds, parts = sections("##", PAGE), Parts()
    assert list(kinds) == ["Keys", *FOLDERS]
    assert [row.split("`")[1] for row in kinds["Keys"].splitlines() if row.startswith("| `")] == list(KEYS)
    for kind in FOLDERS:
        described = sections("###", kinds[kind])
        assert list(described) == parts.names(kind)
        for name, text in described.items():
            rows = [row.split("`")[1] for row in text.splitlines() if row.startswith("| `")]
            assert rows == list(parts.part(kind, name).options), f"{kind}.{name}"


def test_every_table_of_the_page_has_as_many_cells_in_each_row_as_in_its_head() -> None:
    for block in PAGE.split("\n\n"):
        rows = [row.replace(r"\|", "") for row in block.splitlines() if row.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, block
