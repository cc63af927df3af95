"""Tables of the parts that a config may name, and of its keys (`dlrun parts`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

if TYPE_CHECKING:
    from dlrun.config.registry import Part
from dlrun.config.registry import COMMON
from dlrun.console.numbers import yaml_text
from dlrun.console.streams import clean, out


def print_parts(kind: str, parts: Sequence[Part], describe: Callable[[Any], str], required: object) -> None:
    """Print the parts of one kind with their options, types and defaults."""
    console = out()
    console.print(Text(kind, "bold"))
    for option in COMMON.get(kind, {}).values():
        text = f"  each: {option.name}: {describe(option.type)} (default {yaml_text(option.default)})"
        console.print(Text(text), soft_wrap=True)
    for part in parts:
        console.print(Text.assemble("  ", (part.name, "bold"), f"  {clean(part.summary)}"), soft_wrap=True)
        for option in part.options.values():
            default = "required" if option.default is required else f"default {yaml_text(option.default)}"
            console.print(Text(f"      {option.name}: {describe(option.type)} ({default})"), soft_wrap=True)


def print_keys(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print the top-level keys of a config with their help and defaults."""
    console = out()
    console.print(Text("keys of a config", "bold"))
    for key, help_text, default in rows:
        console.print(Text(f"  {key}: {help_text}{f' [{default}]' if default else ''}"), soft_wrap=True)
