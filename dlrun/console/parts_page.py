"""The reference of a config as a page in Markdown, docs/config.md (`dlrun parts --markdown`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from dlrun.config.option_types import describe
from dlrun.config.reference import KeyReference, KindReference, Reference, example_of
from dlrun.config.registry import REQUIRED, Option, Part, singular
from dlrun.console.numbers import yaml_text

_INTRODUCTION = """# Config reference

Every key of a config, and every part that it may name, with what each option means. `dlrun parts --markdown`
writes this page from the code; with `--parts` it has your own parts too. `dlrun parts adam` prints one part.

A part is named alone or with options: `loss: cross_entropy`, `optimizer: {name: adam, lr: 0.001}`. On the
command line a key or an option is `KEY=VALUE`, such as `optimizer.lr=0.01`. A file may also have `base`,
another config whose keys it takes over, and `sweep`, the values of [many runs](many_runs.md).

## In an editor

`dlrun schema -o config.schema.json` writes all of this as JSON Schema (draft 2020-12), with `--parts` your
own parts too. A config names that file in its first line, by the path from the config:

```yaml
# yaml-language-server: $schema=config.schema.json
```

Editors with yaml-language-server, such as VS Code with the YAML extension, Neovim, Helix and Zed, then offer
keys, parts, options and choices as you write, show what they mean, and underline what is wrong. PyCharm
takes the file under Schemas and DTDs, JSON Schema Mappings. `check-jsonschema --schemafile
config.schema.json my.yaml` checks a config without dlrun. The configs that come with dlrun name
`config.schema.json` in their folder, which has dlrun's own parts.

The schema accepts whatever dlrun accepts. It refuses the keys, parts, options, types and bounds that dlrun
refuses, but for a whole number that is written as `1.0` or `1e3`, which JSON does not tell from 1. It says
nothing of values that contradict each other, of a loss for another task, of files that are not there and of
a repeated key; and above a `base` or a `sweep`, which may have it, nothing of what is missing. `dlrun show
my.yaml` checks all of it, without training.
"""
# Signs that Markdown would take for more than letters; a _ within a word and a < before a number are none.
_MARKS = re.compile(r"[*~]|\b_|_\b|<(?=[A-Za-z/!])")


def page_of(reference: Reference) -> str:
    """The page, ending in a line break."""
    return "\n".join([_INTRODUCTION, *_keys(reference.keys), *_kinds(reference)]) + "\n"


def _keys(keys: Sequence[KeyReference]) -> Iterator[str]:
    yield "## Keys\n"
    yield "The last column says if `dlrun resume` or `dlrun eval` may change a key.\n"
    rows = ((*_cells(key.option, key.type_text), _may_change(key)) for key in keys)
    yield from _table(("key", "type", "default", "meaning", "may change at"), rows)


def _may_change(key: KeyReference) -> str:
    each = {"resume": key.at_resume, "eval": key.at_evaluation}
    return ", ".join(
        f"{command} (`{allowed}`)" if isinstance(allowed, str) else command
        for command, allowed in each.items()
        if allowed
    )


def _kinds(reference: Reference) -> Iterator[str]:
    helps = {key.option.name: key.option.help for key in reference.keys}
    for kind in reference.kinds:
        yield from _kind(kind, helps[kind.name])


def _kind(kind: KindReference, meaning: str) -> Iterator[str]:
    yield f"\n## {kind.name}\n"
    yield f"{_sentence(meaning)}\n"
    rows = ((f"[`{part.name}`](#{part.name})", _plain(part.summary)) for part in kind.parts)
    yield from _table(("part", ""), rows)
    if kind.common:
        yield f"\nEach {singular(kind.name)} has, beside its own options:\n"
        yield from _options(kind.common)
    for part in kind.parts:
        yield from _part(part)


def _part(part: Part) -> Iterator[str]:
    yield f"\n### {part.name}\n"
    for paragraph in (part.summary, *part.about.paragraphs):
        yield f"{_plain(paragraph)}\n"
    if part.options:
        yield from _options(part.options.values())
        yield ""
    if (may_change := part.constants.get("at_evaluation")) is not None:
        named = ", ".join(f"`{option.replace('=', ': ')}`" for option in may_change)
        yield f"`dlrun eval` may change {named or 'none of them'}.\n"
    if example := example_of(part):
        yield f"```yaml\n{example}\n```"


def _options(options: Iterable[Option]) -> Iterator[str]:
    rows = (_cells(option, describe(option.type)) for option in options)
    yield from _table(("option", "type", "default", "meaning"), rows)


def _cells(option: Option, type_text: str) -> tuple[str, ...]:
    default = "required" if option.default is REQUIRED else f"`{yaml_text(option.default)}`"
    return f"`{option.name}`", _plain(type_text), default, _plain(option.help)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _plain(text: str) -> str:
    """A text of a docstring, in which only code in backticks means more than its letters."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a backtick without a partner
        return _MARKS.sub(r"\\\g<0>", text)
    outside = (_MARKS.sub(r"\\\g<0>", piece) for piece in pieces[::2])
    return "`".join(piece for pair in zip(outside, [*pieces[1::2], ""], strict=True) for piece in pair)[:-1]


def _sentence(text: str) -> str:
    return _plain(text[:1].upper() + text[1:].rstrip(".") + ".")
