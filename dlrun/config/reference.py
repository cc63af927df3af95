"""All that a config may say, as data: each key, and each part with its options, their types and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlrun.config.dumping import dump
from dlrun.config.keys import KEYS, Choice, default_of, key_types
from dlrun.config.option_types import describe
from dlrun.config.registry import COMMON, FOLDERS, KINDS, REQUIRED, Option, Part, Parts, singular
from dlrun.config.strict_yaml import parse
from dlrun.errors import UserError

_OPTIONS_OF_AN_EXAMPLE = 2


@dataclass(frozen=True)
class KeyReference:
    """A top-level key, of which `option` has the type, the default and the meaning."""

    option: Option
    at_resume: bool | str  # a string: only this option of it may change
    at_evaluation: bool | str

    @property
    def type_text(self) -> str:
        """The type in words."""
        name, kind = self.option.name, self.option.type
        if kind is Choice:
            return f"a part: {name}"
        if kind == list[Choice]:
            return f"a list of parts: {name}"
        return "a list of mappings" if name == "groups" else describe(kind)


@dataclass(frozen=True)
class KindReference:
    """A kind of part: the options that each of its parts has, the parts, and those that cannot be read."""

    name: str
    common: tuple[Option, ...]
    parts: tuple[Part, ...]
    unreadable: dict[str, UserError]


@dataclass(frozen=True)
class Reference:
    """Every key and every kind, in the order of `Config` and of the folders."""

    keys: tuple[KeyReference, ...]
    kinds: tuple[KindReference, ...]

    @property
    def chosen(self) -> tuple[KindReference, ...]:
        """The kinds of which a config names parts by keys of their own: all but the task."""
        return tuple(kind for kind in self.kinds if kind.name in KINDS)


def reference_of(parts: Parts) -> Reference:
    """The reference of dlrun with these parts."""
    return Reference(tuple(map(key_reference, KEYS)), tuple(kind_reference(parts, kind) for kind in FOLDERS))


def whole_reference_of(parts: Parts) -> Reference:
    """The reference of dlrun with these parts. Raises UserError if one of them cannot be read."""
    reference = reference_of(parts)
    for mistake in (error for kind in reference.kinds for error in kind.unreadable.values()):
        raise mistake
    return reference


def key_reference(name: str) -> KeyReference:
    """One of the top-level keys."""
    key = KEYS[name]
    default = None if name == "name" else default_of(name)  # the loader takes the file's name
    return KeyReference(Option(name, key_types()[name], default, key.help), key.at_resume, key.at_evaluation)


def parts_with(parts: Parts, name: str) -> list[tuple[str, Option]]:
    """An option such as `lr` or `optimizer.lr`, beside each part that has it; none if it is a part's name.

    The part is named as `optimizer.adam`, and one that every part of a kind has is of `each loss`.
    """
    kind, dot, option = name.rpartition(".")
    kinds = [each for each in FOLDERS if not dot or each == kind]
    if any(option in parts.names(each) for each in kinds):
        return []
    every = (part for each in kinds for part in kind_reference(parts, each).parts)
    own = [(f"{part.kind}.{part.name}", part.options[option]) for part in every if option in part.options]
    common = [
        (f"each {singular(each)}", COMMON[each][option]) for each in kinds if option in COMMON.get(each, {})
    ]
    return [*common, *own]


def kind_reference(parts: Parts, kind: str) -> KindReference:
    """The parts of one kind."""
    readable, unreadable = [], {}
    for name in parts.names(kind):
        try:
            readable.append(parts.part(kind, name))
        except UserError as error:
            unreadable[name] = error
    return KindReference(kind, tuple(COMMON.get(kind, {}).values()), tuple(readable), unreadable)


def as_shown(part: Part) -> dict[str, Any]:
    """The options of a part with their values in the example of its docstring; none without an example."""
    try:
        shown = parse(part.about.example, "", has_lines=False).plain()
    except UserError:
        return {}
    choice = shown.get(part.kind) if isinstance(shown, dict) else None
    each = choice if isinstance(choice, list) else [choice]
    return next((one for one in each if isinstance(one, dict) and one.get("name") == part.name), {})


def example_of(part: Part) -> str:
    """A piece of a config that chooses the part: that of its docstring, or its name with a few defaults.

    "" if an option is required and the docstring has no example.
    """
    if part.about.example or any(option.default is REQUIRED for option in part.options.values()):
        return part.about.example
    filled = {name: value for name, value in part.defaults.items() if value not in (None, "", [], {})}
    options = dict(list(filled.items())[:_OPTIONS_OF_AN_EXAMPLE])
    choice: Any = Choice(part.name, options).plain()
    if key_types()[part.kind] == list[Choice]:
        choice = [choice]
    return f"{part.kind}: {choice}" if isinstance(choice, str) else dump({part.kind: choice}).rstrip()
