"""The types of options as JSON Schema, draft 2020-12: what the checker accepts, and nothing else.

The members of a union that differ in their JSON type stand in one schema, not in `anyOf`: then a validator
can name the bound or the choices that a value misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from dlrun.config.durations import PATTERN, is_duration
from dlrun.config.option_types import describe

Schema = dict[str, Any]

_LARGEST = 1.7976931348623157e308
# A bound refuses by a comparison, which is never true of .nan: it fulfils these, and is refused by `not`.
NOT_FINITE: Schema = {
    "type": "number",
    "anyOf": [{"exclusiveMinimum": _LARGEST}, {"exclusiveMaximum": -_LARGEST}],
}
NOT_FINITE_NAME = "not_finite"  # of the definition, to which every number refers
_JSON_TYPES = {
    int: "integer",
    float: "number",
    bool: "boolean",
    str: "string",
    NoneType: "null",
    None: "null",
}
_BOUNDS = {"Ge": "minimum", "Gt": "exclusiveMinimum", "Le": "maximum", "Lt": "exclusiveMaximum"}
_PATTERNS = {is_duration: PATTERN}
_SYNTAX = r"^$\.*+?()[]{}|/"  # of patterns


def type_schema(kind: Any, *, any_case: bool = True) -> Schema:
    """The schema of an option's type; with `any_case` a choice may be written as ReLU, as the checker allows.

    Editors show `errorMessage` and the meanings of choices; validators pass over them.
    """
    members = members_of(kind)
    texts = [choice for each in members if _is_choice(each) for choice in get_args(each)]
    found = [_member(each, any_case) for each in members if not _is_choice(each)]
    if texts:
        found.insert(0, {"type": "string"} | (one_of(texts) if any_case else {"enum": texts}))
    types = [each["type"] for each in found]
    said = {"errorMessage": refusal(describe(kind))}
    are_apart = len({"number" if each == "integer" else each for each in types}) == len(types)
    if len(found) > 1 and not (are_apart and all("enum" not in each for each in found)):
        return either([*found[:-1], found[-1] | said])
    merged = {key: value for each in found for key, value in each.items()}
    types.sort(key="null".__eq__)  # at the end
    if len(types) > 1 or "pattern" in merged:
        merged |= said
    if "then" in merged and types not in (["string"], ["string", "null"]):
        merged["then"] = merged["then"] | said
    return merged | {"type": types if len(types) > 1 else types[0]}


def refusal(type_text: str) -> str:
    """The message for a value that is not of a type."""
    return f"This is not {type_text}."


def one_of(texts: Sequence[str], meanings: Sequence[str] = ()) -> Schema:
    """The schema of a text that is one of several, in any case, and of whatever is no text.

    Editors offer choices that stand in `anyOf`, with their `meanings`, but none that stand in `then`.
    """
    enum: Schema = {"enum": [*texts]}
    shown = enum | ({"markdownEnumDescriptions": [*meanings]} if meanings else {})
    others = {"type": "string", "not": {"pattern": in_any_case(texts)}}
    return {"anyOf": [shown, {}], "if": others, "then": enum}


def in_any_case(texts: Sequence[str]) -> str:
    """The pattern of one of several texts in any case: `^([aA][dD][aA][mM]|[sS][gG][dD])$`."""
    return f"^({'|'.join(''.join(map(_in_any_case, text)) for text in texts)})$"


def ref(name: str) -> Schema:
    """The schema that is defined under a name, or in one such as `loss.mse/properties/delta`."""
    return {"$ref": f"#/$defs/{name}"}


def with_null(schema: Schema) -> Schema:
    """The schema that takes null too."""
    if "type" not in schema:
        return either([{"type": "null"}, schema])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema | {"type": types if "null" in types else [*types, "null"]}


def either(schemas: Sequence[Schema]) -> Schema:
    """The schema of what fulfils one of several; for what fulfils none, validators say why not the last."""
    *others, found = schemas
    for each in reversed(others):
        found = {"if": each, "else": found}
    return found


def members_of(kind: Any) -> list[Any]:
    """The types of a union, and of the unions in it; choices are parted into texts, numbers and others."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return [each for one in inside for each in members_of(one)]
    if origin is Literal:
        return [Literal[*each] for each in _by_type(inside)]
    if origin is Annotated:
        members = members_of(inside[0])
        is_choice = get_origin(members[0]) is Literal
        return members if is_choice else [Annotated[each, *inside[1:]] for each in members]
    return [kind]


def _by_type(choices: Sequence[Any]) -> list[list[Any]]:
    alike: dict[type, list[Any]] = {}
    for choice in choices:
        alike.setdefault(type(choice), []).append(choice)
    return [*alike.values()]


def _is_choice(kind: Any) -> bool:
    """True for a choice of texts."""
    return get_origin(kind) is Literal and isinstance(get_args(kind)[0], str)


def _member(kind: Any, any_case: bool) -> Schema:
    """The schema of a type that is neither a union nor a choice of texts."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _member(inside[0], any_case) | _bounds(inside[1:])
    if origin is Literal:
        return {"type": _JSON_TYPES[type(inside[0])], "enum": [*inside]}
    if origin is list:
        return {"type": "array", "items": type_schema(inside[0], any_case=any_case)}
    if origin is dict:  # whose values the checker takes in their own letters alone
        keys, values = (type_schema(each, any_case=False) for each in inside)
        named = {} if inside[0] is str else {"propertyNames": keys}
        return {"type": "object", "additionalProperties": values} | named
    found: Schema = {"type": _JSON_TYPES[kind]}
    return found | {"not": ref(NOT_FINITE_NAME)} if kind is float else found


def _bounds(limits: Sequence[Any]) -> Schema:
    found: Schema = {}
    for limit in limits:
        name = type(limit).__name__
        if name in _BOUNDS:
            found[_BOUNDS[name]] = getattr(limit, name.lower())
        elif name == "Predicate":
            found["pattern"] = _PATTERNS[limit.func]
    return found


def _in_any_case(letter: str) -> str:
    """The pattern of a letter in both cases; of other signs only those of the syntax may be escaped."""
    both = (letter.lower(), letter.upper())
    if both[0] != both[1] and all(len(each) == 1 for each in both):
        return f"[{''.join(both)}]"
    return f"\\{letter}" if letter in _SYNTAX else letter
