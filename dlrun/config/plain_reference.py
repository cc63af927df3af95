"""The reference of keys and parts as plain values, for `dlrun parts --json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlrun.config.option_types import choices_of, describe
from dlrun.config.reference import KeyReference, KindReference, Reference, example_of
from dlrun.config.registry import Option, Part

OptionsOf = list[tuple[str, Option]]  # an option, beside each part that has it


def as_plain(found: Reference | KindReference | KeyReference | Sequence[Part] | OptionsOf) -> dict[str, Any]:
    """Keys, parts and options that were asked for, each a list, and the parts that cannot be read."""
    keys, kinds, parts, options = list[KeyReference](), list[KindReference](), list[Part](), OptionsOf()
    match found:
        case Reference():
            keys, kinds = [*found.keys], [*found.kinds]
        case KindReference():
            kinds = [found]
        case KeyReference():
            keys = [found]
        case _:
            parts = [each for each in found if isinstance(each, Part)]
            options = [each for each in found if isinstance(each, tuple)]
    parts += [part for kind in kinds for part in kind.parts]
    unreadable = [
        {"kind": kind.name, "name": name, "error": error.inline}
        for kind in kinds
        for name, error in kind.unreadable.items()
    ]
    return {
        "keys": [_key(each) for each in keys],
        "parts": [_part(each) for each in parts],
        "options": [{"of": of} | _option(option) for of, option in options],
        "unreadable": unreadable,
    }


def _key(key: KeyReference) -> dict[str, Any]:
    may = {"at_resume": key.at_resume, "at_evaluation": key.at_evaluation}
    return _option(key.option) | {"type": key.type_text} | may


def _part(part: Part) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "name": part.name,
        "summary": part.summary,
        "description": [*part.about.paragraphs],
        "options": [_option(each) for each in (*part.options.values(), *part.common.values())],
        "example": example_of(part),
        "file": str(part.path),
        "built_in": part.built_in,
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": describe(option.type),
        "choices": choices_of(option.type),
        "required": option.is_required,
        "default": None if option.is_required else option.default,
        "help": option.help,
    }
