"""docs/config.md is what `dlrun parts --markdown` writes, and nothing of a config is missing in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from places import PROJECT

from dlrun.config.keys import KEYS
from dlrun.config.registry import COMMON, FOLDERS, Parts

PAGE = (PROJECT / "docs" / "config.md").read_text(encoding="utf-8")


def sections(level: str, text: str) -> dict[str, str]:
    """The text below each heading of a level, by the heading."""
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in text.split(f"\n{level} ")[1:]}


def test_the_page_is_what_the_command_writes(dlrun: Callable[..., Any]) -> None:
    assert dlrun("parts", "--markdown").out == PAGE, "dlrun parts --markdown > docs/config.md"


def rows_of(text: str) -> list[str]:
    """The keys or options with a row each in a text."""
    return [row.split("`")[1] for row in text.splitlines() if row.startswith("| `")]


def test_the_page_has_a_row_for_each_key_and_each_option() -> None:
    kinds, parts = sections("##", PAGE), Parts()
    assert list(kinds) == ["In an editor", "Keys", *FOLDERS]
    assert rows_of(kinds["Keys"]) == list(KEYS)
    for kind in FOLDERS:
        described = sections("###", kinds[kind])
        assert list(described) == parts.names(kind)
        for name, text in described.items():
            assert rows_of(text) == list(parts.part(kind, name).options), f"{kind}.{name}"
        assert rows_of(kinds[kind].partition("\n### ")[0]) == list(COMMON.get(kind, {})), kind


OWN = '''
def own(outputs, targets, *, weight: float, sign: Literal["a|b", "c"] = "a|b"):
    """A *loss* of `x * y`, for x_1 < 2, <b>not</b> bold.

    A lone ` and a *mark*.

    Args:
        weight: Weight of ~all~ classes | none.

    Example:
        loss: {name: own, weight: 2}
    """
    return outputs
'''
SHOWN = r"""
### own

A \*loss\* of `x * y`, for x_1 < 2, \<b>not\</b> bold.

A lone ` and a \*mark\*.

| option | type | default | meaning |
| --- | --- | --- | --- |
| `weight` | a number | required | Weight of \~all\~ classes \| none. |
| `sign` | one of: a\|b, c | `a\|b` |  |

```yaml
loss: {name: own, weight: 2}
```
"""


def test_a_part_of_ones_own_is_shown_to_the_letter(
    dlrun: Callable[..., Any], write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    write("mine/loss/own.py", OWN)
    page = dlrun("parts", "--markdown", "--parts", tmp_path / "mine").out
    assert SHOWN in page
