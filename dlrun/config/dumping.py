"""Write a Config as YAML text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any

import yaml

from dlrun.config.keys import Config
from dlrun.system.processes import quoted

_NEEDS_QUOTES = re.compile(r"[^\w.,:=/+\[\]-]")


def dump_config(config: Config) -> str:
    """The config as YAML text; `load_config` reads the same config back from it."""
    return dump(config.plain())


def dump(some: Mapping[str, Any]) -> str:
    """Some keys of a config as YAML text."""
    text: str = yaml.dump(
        some,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return text


def in_one_line(value: Any) -> str:
    """A value of a config in one line of YAML, as it can be written into a file or behind KEY=."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=inf, default_flow_style=True
    )
    return text.removesuffix("...\n").rstrip("\n")


def as_argument(key: str, value: Any) -> str:
    """KEY=VALUE as one word of a command line: without spaces, or in quotes where a shell needs them."""
    text = in_one_line(value)
    tight = text.replace(", ", ",")
    with suppress(yaml.YAMLError):
        text = tight if yaml.safe_load(tight) == yaml.safe_load(text) else text
    return as_word(f"{key}={text}")


def as_word(argument: str) -> str:
    """An argument as one word of a command line, in quotes where a shell needs them."""
    return quoted([argument]) if _NEEDS_QUOTES.search(argument) else argument


def dump_scalar(value: str | int | float | bool | None) -> str:
    """One value of a config as YAML text in one line, as it can stand inside a mapping in braces."""
    return in_one_line([value])[1:-1]


class _Dumper(yaml.SafeDumper):
    """Quotes every string that is not a plain word, so that none is read back as a number."""


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*$")
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if _WORD.match(text) else '"'
    ),
)
