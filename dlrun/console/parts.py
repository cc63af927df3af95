"""Lists of the parts that a config may name and of its keys, and one part whole (`dlrun parts`)."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from rich.text import Text

from dlrun.config.option_types import describe
from dlrun.config.reference import example_of
from dlrun.config.registry import REQUIRED
from dlrun.console.numbers import yaml_text
from dlrun.console.streams import clean, in_width, out, print_line, print_unbroken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from dlrun.config.reference import KeyReference, KindReference, Reference
    from dlrun.config.registry import Option, Part


def print_reference(reference: Reference) -> None:
    """Print the name and the first line of every part, and the keys of a config."""
    console = out()
    for kind in reference.kinds:
        console.print(Text(kind.name, "bold"))
        width = max((len(part.name) for part in kind.parts), default=0)
        for part in kind.parts:
            _print_name(console, part, width)
        _print_unreadable(console, kind)
    console.print(Text("keys of a config", "bold"))
    for key in reference.keys:
        option = key.option
        default = "" if option.default is REQUIRED else f" [{yaml_text(option.default)}]"
        print_line(f"  {option.name}: {option.help}{default}", console, indent=4)


def print_kind(kind: KindReference) -> None:
    """Print the parts of one kind with their options, types and defaults."""
    console = out()
    console.print(Text(kind.name, "bold"))
    for option in kind.common:
        print_line(f"  each: {_typed(option)}", console, indent=4)
    for part in kind.parts:
        _print_name(console, part)
        for option in part.options.values():
            print_line(f"      {_typed(option)}", console, indent=4)
    _print_unreadable(console, kind)
    if kind.parts and console.is_terminal:
        print_line(f"dlrun parts {kind.name}.{kind.parts[0].name} says what each option means", console)


def print_part(part: Part) -> None:
    """Print one part whole: what it does, what each option means, an example of a config, its file."""
    console = out()
    console.print(Text(f"{part.kind}.{part.name}", "bold"))
    for paragraph in (part.summary, *part.about.paragraphs):
        print_unbroken(f"{fill(clean(paragraph), console.width)}\n", console)
    for option in (*part.options.values(), *part.common.values()):
        print_line(f"  {_typed(option)}", console, "bold", indent=8)
        _print_meaning(console, option)
    if example := example_of(part):
        console.print(Text("\nin a config", "bold"))
        print_unbroken("\n".join(f"  {line}" for line in example.splitlines()), console)
    console.print(Text.assemble(("\nfile", "bold"), f" {clean(str(part.path))}"), soft_wrap=True)


def print_key(key: KeyReference) -> None:
    """Print one key of a config: its type, its default, its meaning, and the commands that may change it."""
    console = out()
    print_line(_typed(key.option, key.type_text), console, "bold", indent=8)
    _print_meaning(console, key.option)
    may = [
        command for command, allowed in (("resume", key.at_resume), ("eval", key.at_evaluation)) if allowed
    ]
    said = " and ".join(f"dlrun {command}" for command in may)
    of_it = f" its {key.at_resume}" if isinstance(key.at_resume, str) else ""
    print_line(f"{said or 'no other command than dlrun train'} may change{of_it or ' it'}", console)


def print_option(having: Sequence[tuple[str, Option]]) -> None:
    """Print an option as each part has it, or every part of a kind."""
    console = out()
    for of, option in having:
        print_line(of, console, "bold")
        print_line(f"  {_typed(option)}", console, indent=8)
        _print_meaning(console, option)


def _print_meaning(console: Console, option: Option) -> None:
    if option.help:
        indent = " " * 6
        meaning = fill(clean(option.help), console.width, initial_indent=indent, subsequent_indent=indent)
        print_unbroken(meaning, console)


def _print_name(console: Console, part: Part, width: int = 0) -> None:
    begun = f"  {part.name.ljust(width)}"
    line = in_width(f"{begun}  {clean(part.summary)}", console, width + 2 if width else 4)
    console.print(Text.assemble((line[: len(begun)], "bold"), line[len(begun) :]), soft_wrap=True)


def _print_unreadable(console: Console, kind: KindReference) -> None:
    """Print the names of parts whose files cannot be read, with the mistake in each."""
    for name, error in kind.unreadable.items():
        mistake = f"  cannot be used: {error.what}{f'; {error.fix}' * bool(error.fix)} ({error.where})"
        line = in_width(f"  {name}{clean(mistake)}", console, 4)
        begun = len(name) + 2
        console.print(Text.assemble((line[:begun], "bold red"), line[begun:]), soft_wrap=True)


def _typed(option: Option, type_text: str = "") -> str:
    """An option with its type and default."""
    default = "required" if option.default is REQUIRED else f"default {yaml_text(option.default)}"
    return f"{option.name}: {type_text or describe(option.type)} ({default})"
