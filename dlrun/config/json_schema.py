"""The JSON Schema of a config, draft 2020-12, for editors and validators (`dlrun schema`).

It is made of the types, defaults and texts of the checks, and agrees with them on keys, parts, options, types
and bounds. What several values or files say together it accepts: that is left to the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from re import sub
from typing import Any

from dlrun import __version__
from dlrun.config import claims
from dlrun.config.checking import DEVICE, FACTOR, LONGEST_NAME
from dlrun.config.dumping import in_one_line
from dlrun.config.json_sweep import SWEPT, sweep_schema
from dlrun.config.json_types import (
    NOT_FINITE,
    NOT_FINITE_NAME,
    Schema,
    either,
    in_any_case,
    one_of,
    ref,
    refusal,
    type_schema,
    with_null,
)
from dlrun.config.keys import AUTO, AVERAGED, SPLITS, SWEEP_KEY, Choice
from dlrun.config.option_types import describe
from dlrun.config.options import Claim
from dlrun.config.reference import KeyReference, KindReference, Reference, as_shown
from dlrun.config.registry import Option, Part
from dlrun.errors import in_words

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MADE_BY = "Made by dlrun schema, of dlrun"  # by which a file is known as one
BASE_KEY = "base"
_BASE = (
    "Another config, whose keys this one takes over: by its path from here, or by the name of one that comes "
    "with dlrun."
)
# Names in letters of other scripts are left to the checks.
_NAME = rf"^([0-9A-Za-z][0-9A-Za-z._-]{{0,{LONGEST_NAME - 1}}}|.*[^\x00-\x7f].*)$"
_DEVICE = f"^{sub('[a-z]', lambda letter: f'[{letter[0]}{letter[0].upper()}]', DEVICE)}$"
_MATCH = "A pattern of names of weights, such as '*.bias'; the first that matches a name counts."
_NO_COLUMN = "There is no such column; write one such as valid_loss, or of a metric valid_accuracy."
_UNSEEN: Schema = {"doNotSuggest": True}  # of a key that editors offer already, by another schema
_NAMELESS: Schema = {"type": "object", "not": {"required": ["name"]}}


def schema_of(reference: Reference) -> Schema:
    """The schema of a config that may name the parts of a reference."""
    kinds = {kind.name: kind for kind in reference.chosen}
    tasks = next(kind for kind in reference.kinds if kind.name == "task")
    keys = {key.option.name: key for key in reference.keys}
    return {
        "$schema": DIALECT,
        "$comment": f"{MADE_BY} {__version__}.",
        "description": "A config of dlrun: one run, its data, model, loss, optimizer and training.",
        "type": "object",
        "properties": {
            BASE_KEY: {"description": _BASE, "type": "string"},
            **{
                name: _about(key.option, key.type_text) | _key(key, kinds, tasks)
                for name, key in keys.items()
            },
            SWEEP_KEY: sweep_schema(reference),
        },
        "additionalProperties": False,
        # a base has what a file lacks, and so have the values of a sweep
        "if": {"not": {"anyOf": [{"required": [BASE_KEY]}, {"required": [SWEEP_KEY]}]}},
        "then": {
            "required": [name for name, key in keys.items() if key.option.is_required],
            "properties": {name: _UNSEEN | {"allOf": [ref(f"{name}-complete")]} for name in kinds},
        },
        "allOf": _groups(kinds["optimizer"]),
        "$defs": {name: each for kind in kinds.values() for name, each in _definitions(kind).items()}
        | {NOT_FINITE_NAME: NOT_FINITE, **SWEPT},
    }


def _key(key: KeyReference, kinds: dict[str, KindReference], tasks: KindReference) -> Schema:
    """The schema of a top-level key; null stands for its default."""
    option = key.option
    if option.type in (Choice, list[Choice]):
        return _choice(option)
    metrics = [part.name for part in kinds["metrics"].parts]
    match option.name:
        case "name":
            found = _text(_NAME, "This cannot name a folder: letters, digits, '.', '_' and '-', at most 64.")
        case "device":
            found = _text(_DEVICE, "There is no such device (there are: auto, cpu, cuda, cuda:N, mps).")
            found["examples"] = ["auto", "cpu", "cuda", "mps"]
        case "monitor":
            found = _text(_columns(metrics), _NO_COLUMN)
            found["examples"] = ["valid_loss", "train_loss"]
        case "task":
            names, meanings = zip(*((part.name, part.summary) for part in tasks.parts), strict=True)
            found = {"type": "string"} | one_of(names, meanings)
        case "seeds":
            found = type_schema(option.type) | {"minItems": 1, "uniqueItems": True}
        case "expect":
            columns = _text(_columns(metrics, r"(best\.)?", "seconds|"), _NO_COLUMN)
            claim = _text(claims.PATTERN, refusal(describe(Claim)))
            found = {"type": "object", "propertyNames": columns, "additionalProperties": claim}
        case "groups":
            found = {"type": "array", "items": {"type": "object", "required": ["match"]}}
        case _:
            found = type_schema(option.type)
    return found if option.is_required else with_null(found)


def _choice(option: Option) -> Schema:
    """The schema of a key that names a part, or several."""
    kind, types = option.name, ["string", "object"]
    found: Schema = {"type": types if option.is_required else [*types, "null"], "allOf": [ref(kind)]}
    if option.type is Choice:
        return found
    item = {"type": types, "allOf": [ref(kind), ref(f"{kind}-complete")]}
    return found | {"type": ["array", *found["type"]], "items": item}


def _text(pattern: str, message: str) -> Schema:
    """The schema of a text of some form, with the message that editors show for others."""
    return {"type": "string", "pattern": pattern, "errorMessage": message}


def _columns(metrics: Sequence[str], before: str = "", others: str = "") -> str:
    """The pattern of the columns of metrics.csv with any of the metrics."""
    figure = f"({'|'.join(['loss', *metrics])})"
    evaluated = "|".join(split for split in SPLITS if split != "train")
    return f"^({others}{before}(train_{figure}|({evaluated})_{figure}({AVERAGED})?))$"


def _definitions(kind: KindReference) -> dict[str, Schema]:
    """The definitions of a kind of part: the choice of one, their names, and each part with its options.

    A mapping without a name, which the base has, may have the `-options` of any part; without a base, a part
    has to be `-complete`. All of them take whatever is neither a text nor a mapping.
    """
    parts = {part.name: _part(part) for part in kind.parts}
    if kind.name == "plots":
        parts[AUTO] = _mapping("Those that suit the task.", {})
    meanings = [each["description"].partition("\n")[0] for each in parts.values()]
    name = ref(f"{kind.name}-name")
    of_each = [{"if": _named(each), "then": ref(f"{kind.name}.{each}")} for each in parts]
    nameless = {"if": _NAMELESS, "then": ref(f"{kind.name}-options")}
    common = {option.name: _option(option) for option in kind.common}
    of_any = {option: either(each) for option, each in _options_of(kind).items()}
    return {
        kind.name: {
            "properties": {"name": {"type": "string", "allOf": [name]}},
            "allOf": [name, *of_each, nameless],
        },
        f"{kind.name}-name": one_of([*parts], meanings),
        f"{kind.name}-options": _mapping("", of_any),
        f"{kind.name}-complete": _complete(kind.parts),
        **({f"{kind.name}-common": {"properties": common}} if common else {}),
        **{f"{kind.name}.{each}": schema for each, schema in parts.items()},
    }


def _named(name: str) -> Schema:
    """The condition that a part has this name, be it a text or a mapping."""
    pattern = in_any_case([name])
    of_mapping = {"required": ["name"], "properties": {"name": {"type": "string", "pattern": pattern}}}
    return {"type": ["string", "object"], "pattern": pattern} | of_mapping


def _complete(parts: Sequence[Part]) -> Schema:
    """The schema of a part of which no base has anything: a name, and the options without a default."""
    found = [{"if": {"type": "object"}, "then": {"required": ["name"]}}]
    for part in parts:
        if missing := [option.name for option in part.options.values() if option.is_required]:
            shown, named = as_shown(part), in_words(missing)
            said = f"The option {named} is" if len(missing) == 1 else f"The options {named} are"
            said += f" missing, such as {in_one_line(shown)}." if shown else " missing."
            needed = {"type": "object", "required": missing, "errorMessage": said}
            found.append({"if": _named(part.name), "then": needed})
    return {"allOf": found}


def _part(part: Part) -> Schema:
    shown = as_shown(part)
    options = {name: _option(each, shown.get(name)) for name, each in part.options.items()}
    common = {name: ref(f"{part.kind}-common/properties/{name}") for name in part.common}
    return _mapping("\n\n".join([part.summary, *part.about.paragraphs]), options | common)


def _mapping(description: str, options: dict[str, Schema]) -> Schema:
    """The schema of a part with these options and no other."""
    about = {"description": description} if description else {}
    return about | {"properties": {"name": _UNSEEN, **options}, "additionalProperties": False}


def _option(option: Option, shown: Any = None) -> Schema:
    """The schema of an option of a part; one without a default has the value that an example has."""
    examples = {"examples": [shown]} if option.is_required and shown is not None else {}
    return _about(option, describe(option.type)) | type_schema(option.type) | examples


def _about(option: Option, type_text: str) -> Schema:
    """The meaning of a key or an option, its type in words, and its default."""
    meaning = f"{option.help.removesuffix('.')}.\n\n" if option.help else ""
    if option.is_required:
        return {"description": f"{meaning}Type: {type_text}. Required."}
    default = f"Default: {in_one_line(option.default)}."
    return {"description": f"{meaning}Type: {type_text}. {default}", "default": option.default}


def _options_of(kind: KindReference) -> dict[str, list[Schema]]:
    """Each option of the parts of a kind, with its schemas, of equal types only one."""
    found: dict[str, dict[str, Schema]] = {}
    places = [(f"{kind.name}.{part.name}", part.options.values()) for part in kind.parts]
    for place, options in [*places, (f"{kind.name}-common", kind.common)]:
        for option in options:
            of_type = found.setdefault(option.name, {})
            of_type.setdefault(str(option.type), ref(f"{place}/properties/{option.name}"))
    return {name: [*each.values()] for name, each in found.items()}


def _groups(optimizers: KindReference) -> list[Schema]:
    """The options in `groups`, which are those of the optimizer; without its name, of any."""
    found = []
    for part in optimizers.parts:
        options = {name: [ref(f"optimizer.{part.name}/properties/{name}")] for name in part.options}
        of_part = {"required": ["optimizer"], "properties": {"optimizer": _named(part.name)}}
        found.append({"if": of_part, "then": _in_groups(options)})
    return [
        *found,
        {"if": {"properties": {"optimizer": _NAMELESS}}, "then": _in_groups(_options_of(optimizers))},
    ]


def _in_groups(options: dict[str, list[Schema]]) -> Schema:
    properties: dict[str, Schema] = {"match": {"description": _MATCH, "type": "string"}}
    for name, each in options.items():
        properties[name] = either(each)
        if name == "lr":
            factor = {
                "pattern": f"^{FACTOR}$",
                "errorMessage": refusal("a number, nor a factor such as 0.1x"),
            }
            properties[name] = {"if": {"type": "string"}, "then": factor, "else": properties[name]}
    items = {"properties": properties, "additionalProperties": False}
    return {"properties": {"groups": _UNSEEN | {"items": items}}}
