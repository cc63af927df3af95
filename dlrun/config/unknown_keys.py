"""Keys and options that do not exist: dlrun's words for them, in a form that it accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from dlrun.config.dumping import as_argument, in_one_line
from dlrun.config.keys import Choice, key_types, may_change_at_evaluation
from dlrun.config.merging import COMMAND_LINE, expanded, located, written
from dlrun.config.option_types import describe
from dlrun.config.option_values import acceptable, accepts
from dlrun.config.other_words import (
    ANSWERS,
    NAMES_OF_PART,
    NEEDLESS,
    SECTIONS,
    key_meant,
    option_meant,
    options_together,
    part_meant,
    plainly,
)
from dlrun.config.registry import KINDS, Part, Parts
from dlrun.config.strict_yaml import Located, parse
from dlrun.errors import UserError, closest, first_few, in_words, nearest

Note = Callable[..., None]
_MOST_EXPLAINED = 50  # keys: what is meant takes a look at every part
VALUE = "VALUE"  # stands for one in a remedy
_LONGEST = 100  # characters of a part that is written out in a remedy


def note_unknown_keys(tree: Located, parts: Parts, note: Note) -> set[str]:
    """Note the keys of a config that do not exist; gives the meant ones, such as `optimizer.lr`."""
    found, unknown = set[str](), {key: each for key, each in tree.value.items() if key not in key_types()}
    if not unknown:
        return found
    chosen = chosen_parts(tree, parts)
    explained = dict(islice(unknown.items(), _MOST_EXPLAINED))
    tree = _with_flat_options(tree, explained, chosen, parts)
    for key, item in unknown.items():
        if key not in explained:
            note((key,), "there is no such key", at_key=True)
        elif isinstance(item.value, dict) and item.value and plainly(key) in SECTIONS:
            for inner, value in islice(item.value.items(), _MOST_EXPLAINED):
                said, meaning = _unknown_key(inner, value, tree, chosen, parts, within=key)
                note((key, inner), said, at_key=True)
                found.add(meaning)
        else:
            said, meaning = _unknown_key(key, item, tree, chosen, parts)
            note((key,), said, at_key=True)
            found.add(meaning)
    return found


def unknown_option(key: str, item: Located, part: Part, path: str, parts: Parts) -> tuple[str, str]:
    """The message for an option that a part at `path` does not have, and the option that is meant, or ""."""
    known = part.options | part.common
    if plainly(key) in ("init_args", "kwargs", "args", "params", "options"):
        return f"there is no such option; write the options of {part.name} beside name", ""
    if plainly(key) in NAMES_OF_PART and isinstance(item.value, str):
        name = name_meant(part.kind, item.value, parts)
        written = _assignment(f"{path}.name", "name", name, item) if name else ""
        return f"there is no such option; dlrun's word is name{written}", ""
    if (together := options_together(key, known)) and isinstance(item.value, list):
        each = zip(together, item.value, strict=False)
        of_each = [_written(f"{path}.{name}", name, value, known[name].type) for name, value in each]
        are_options = len(item.value) == len(together) and all(
            text.startswith(": write ") for text in of_each
        )
        words = in_words([text.removeprefix(": write ") for text in of_each])
        fix = f": write {words}" if are_options else ""
        return f"there is no such option; dlrun's words are {in_words(together)}{fix}", together[0]
    if option := option_meant(key, known):
        written = _written(f"{path}.{option}", option, item, known[option].type)
        return f"there is no such option; dlrun's word is {option}{written}", option
    if close := closest(key, known):
        return f"there is no such option{nearest(key, known)}", close
    return f"{part.name} has no such option{nearest(key, known)}", ""


def chosen_parts(tree: Located, parts: Parts) -> dict[str, Part]:
    """The parts that an unchecked config names, by kind, as far as they exist."""
    found = {}
    for kind in KINDS:
        named = tree.at((kind, "name")).value if kind in tree.value else None
        named = named if isinstance(named, str) else tree.at((kind,)).value
        if isinstance(named, str) and (name := parts.canonical(kind, named)) in parts.names(kind):
            found[kind] = parts.part(kind, name)
    return found


def argument_instead(
    option: str, text: str, tree: Located, parts: Parts, *, at_evaluation: bool = False
) -> str:
    """The remedy for `--learning-rate 0.1` where KEY=VALUE is meant; "" if it means no key of a config.

    `text` is the option's value, "" if it has none; `at_evaluation` only some keys can be set.
    """
    word, chosen = plainly(option), chosen_parts(tree, parts)
    if word.removeprefix("no_") in NEEDLESS:
        return "leave it out: none is needed"
    value: Any = text
    with suppress(UserError):
        value = parse(text, "", has_lines=False).plain() if text else None
    item = located(value, COMMAND_LINE)
    key = word if word in key_types() else _unknown_key(word, item, tree, chosen, parts)[1]
    kind, _, name = key.partition(".")
    if at_evaluation and key and not may_change_at_evaluation(key):
        return f"leave it out: {key} is of training, not of evaluation"
    if kind == "device" and not text:
        return "write device=cuda"
    if not key or not text:
        return f"write {key}={VALUE}" if key else ""
    said = ""
    if not name:
        said = _key_written(key, item, chosen, parts)
    elif kind in chosen and (known := chosen[kind].options | chosen[kind].common).get(name):
        said = _written(key, name, item, known[name].type)
    if said.startswith(": write "):
        return said.removeprefix(": ")
    if said:
        return f"write {key}={VALUE}{said}"
    return f"write {as_argument(key, (key in KINDS and name_meant(key, text, parts)) or value)}"


def _with_flat_options(
    tree: Located, unknown: Mapping[str, Located], chosen: Mapping[str, Part], parts: Parts
) -> Located:
    """The config with options that stand beside a part put into it too, for a remedy that has all of them."""
    entries = dict(tree.value)
    for key, item in unknown.items():
        kind, option, having = with_option(key, chosen, parts)
        if kind not in chosen or chosen[kind].name not in having or key_meant(key):
            continue
        type_ = (chosen[kind].options | chosen[kind].common)[option].type
        value = item if accepts(type_, item.plain()) else located(acceptable(type_, item.plain()), item.place)
        if value.value is not None and item.place != COMMAND_LINE:
            part = entries[kind]
            part = expanded(part) if isinstance(part.value, str) else part
            entries[kind] = Located({**part.value, option: value}, part.place, part.key_place)
    return Located(entries, tree.place, tree.key_place)


def with_option(word: str, chosen: Mapping[str, Part], parts: Parts) -> tuple[str, str, list[str]]:
    """The kind and the option that a word without a part means, and the parts that have it; empty if none.

    One of the chosen parts if one has it, otherwise those of the first kind of which some have it.
    """
    for kind, part in chosen.items():
        if option := option_meant(word, part.options | part.common):
            return kind, option, [part.name]
    for kind in ("optimizer", "architecture", "dataset", "loss", "schedule"):
        every = [parts.part(kind, name) for name in parts.names(kind)]
        if having := [part for part in every if option_meant(word, part.options)]:
            return kind, option_meant(word, having[0].options), [part.name for part in having]
    return "", "", []


def name_meant(kind: str, word: str, parts: Parts) -> str:
    """The part of a kind that a word names, here or in another library; "" if there is none."""
    names, name = parts.names(kind), parts.canonical(kind, word)
    return name if name in names else part_meant(word, names)


def _unknown_key(
    key: str, item: Located, tree: Located, chosen: Mapping[str, Part], parts: Parts, within: str = ""
) -> tuple[str, str]:
    """The message for a key that does not exist, or stands `within` another, and the meant key, or ""."""
    types = key_types()
    none = f"there is no section {within}" if within else "there is no such key"
    if plainly(key) in NEEDLESS:
        return f"{none}, and none is needed: leave it out", ""
    if answer := ANSWERS.get(plainly(key)):
        return f"{none}; {answer}", ""
    is_ours = plainly(key) in types and (within or key.lower() != plainly(key))  # in a section, or batch-size
    ours = plainly(key) if is_ours else key_meant(key)
    kind, option, having = with_option(key, chosen, parts) if not ours else ("", "", [])
    close = closest(key, types)
    if ours == "base":  # no key of a Config
        return f"{none}; dlrun's word is {ours}: write {ours}: OTHER.yaml", ""
    if ours:
        place = " at the top level" if within else ""
        return f"{none}; dlrun's word is {ours}{place}{_key_written(ours, item, chosen, parts)}", ours
    if kind and not (close and plainly(key) != option and option not in plainly(key)):
        if kind not in chosen or chosen[kind].name not in having:
            not_of = f", not of {chosen[kind].name}" if kind in chosen else ""
            return (
                f"{none}; {option} is an option of {kind} {first_few(having, 4)}{not_of}",
                f"{kind}.{option}",
            )
        type_ = (chosen[kind].options | chosen[kind].common)[option].type
        written = _option_written(kind, option, item, tree, chosen[kind].name, type_)
        return f"{none}; {option} is an option of {kind}.{chosen[kind].name}{written}", f"{kind}.{option}"
    return f"{none}{nearest(key, types)}", close or ""


def _key_written(key: str, item: Located, chosen: Mapping[str, Part], parts: Parts) -> str:
    kind = key_types()[key]
    if key == "device":
        return ": auto, cpu, cuda, cuda:N or mps"
    if isinstance(item.value, dict) and item.place == COMMAND_LINE and key in chosen:
        known = chosen[key].options
        for other, value in item.value.items():  # one, unless two words name the same other key
            if option := option_meant(other, known):
                return _written(f"{key}.{option}", option, value, known[option].type)
    if kind is Choice or kind == list[Choice]:
        if not isinstance(item.value, str):
            return ""
        name = name_meant(key, item.value, parts)
        if not name or any(each.is_required for each in parts.part(key, name).options.values()):
            return ""
        return _assignment(key, key, name, item)
    return _written(key, key, item, kind)


def _option_written(kind: str, option: str, item: Located, tree: Located, name: str, type_: Any) -> str:
    if item.place == COMMAND_LINE:
        return _written(f"{kind}.{option}", option, item, type_)
    value = item.plain() if accepts(type_, item.plain()) else acceptable(type_, item.plain())
    if value is None:
        return f": {describe(type_)}"
    options = tree.value[kind].plain()
    whole = in_one_line({"name": name} | {key: each for key, each in options.items() if key != "name"})
    if len(whole) <= _LONGEST:
        return f": write {kind}: {whole}"
    return f": write {option}: {in_one_line(value)} under {kind}:"


def _written(key: str, last: str, item: Located, kind: Any) -> str:
    """`: write lr: 0.1`, or `: write optimizer.lr=0.1` on the command line; the type if the value is none."""
    value = item.plain()
    if not accepts(kind, value) and (value := acceptable(kind, value)) is None:
        return f": {describe(kind)}"
    return _assignment(key, last, value, item)


def _assignment(key: str, last: str, value: Any, item: Located) -> str:
    if len(in_one_line(value)) > _LONGEST:
        return ""
    return f": write {written(key if item.place == COMMAND_LINE else last, value, item.place)}"
