"""The types of options: read from annotations without evaluating them, and described for messages."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types

from dlrun.config import options


def read_type(node: ast.expr) -> Any:
    """The type that an option's annotation names, from a closed list; nothing is evaluated.

    int, float, bool, str, None, Literal, list, Sequence, dict, `X | None`, the names of
    dlrun.config.options, and Annotated[…, Ge(0), Gt(0), Le(1), Lt(1)]. Raises ValueError for others.
    """
    plain = {"int": int, "float": float, "bool": bool, "str": str}
    match node:
        case ast.Name(id=name) if name in plain:
            return plain[name]
        case ast.Name(id=name) if name in options.__all__:
            return getattr(options, name)
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return read_type(left) | read_type(right)
        case ast.Subscript(value=ast.Name(id="list" | "Sequence"), slice=item):
            return GenericAlias(list, (read_type(item),))
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, item])):
            return GenericAlias(dict, (read_type(key), read_type(item)))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            listed = values.elts if isinstance(values, ast.Tuple) else [values]
            return _one_of(*map(ast.literal_eval, listed))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner_node, *bounds])):
            return Annotated[(read_type(inner_node), *map(_bound, bounds))]
    raise ValueError(f"{ast.unparse(node)} is not a type that an option can have")


def _one_of(*choices: Any) -> Any:
    """The type of a choice among texts or numbers."""
    only_texts = all(isinstance(choice, str) for choice in choices)
    return Literal[choices] if only_texts else Annotated[Literal[choices], _Exactly(choices)]


@dataclass(frozen=True)
class _Exactly:
    """Tells pydantic that of these choices 1 is neither 1.0 nor true."""

    choices: tuple[Any, ...]

    def __get_pydantic_core_schema__(self, kind: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_before_validator_function

        return no_info_before_validator_function(self._checked, handler(kind))

    def _checked(self, value: Any) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in self.choices):
            raise ValueError("none of the choices")
        return value


def _bound(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="Ge" | "Gt" | "Le" | "Lt" as name), args=[limit]):
            return getattr(annotated_types, name)(ast.literal_eval(limit))
    raise ValueError(f"{ast.unparse(node)} is not a bound (there are: Ge, Gt, Le, Lt)")


def describe(kind: Any) -> str:
    """Describe a type for a message: `a number > 0`, `a list of whole numbers >= 1`, `one of: a, b`."""
    if kind is None or kind is type(None):
        return "null"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if kind in words:
        return words[kind]
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        signs = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
        if said := next((words for words in inside[1:] if isinstance(words, str)), ""):
            return said
        bounds = [
            f"{signs[type(bound).__name__]} {getattr(bound, type(bound).__name__.lower())}"
            for bound in inside[1:]
            if type(bound).__name__ in signs
        ]
        return " ".join([describe(inside[0]), " and ".join(bounds)]).strip()
    if origin is Literal:
        return "one of: " + ", ".join(map(str, inside)) if len(inside) > 1 else str(inside[0])
    if origin is list:
        item = describe(inside[0])
        plural = item.removeprefix("a ").replace("number", "numbers", 1)
        return f"a list of {plural}"
    if origin is dict:
        return f"a mapping of names to {describe(inside[1])}"
    choices = [choice for one in inside if get_origin(one) is Literal for choice in get_args(one)]
    each = (Literal[*choices] if get_origin(one) is Literal else one for one in inside)
    # of nested unions each member is said once
    return ", or ".join(dict.fromkeys(part for one in each for part in describe(one).split(", or ")))


def choices_of(kind: Any) -> list[str]:
    """The texts among which a type, or the items of a list, let one choose."""
    if get_origin(kind) is Literal:
        return [choice for choice in get_args(kind) if isinstance(choice, str)]
    return [choice for inside in get_args(kind) for choice in choices_of(inside)]


def takes_list(kind: Any) -> bool:
    """True if a type, or one of several, is a list."""
    return get_origin(kind) is list or any(map(takes_list, get_args(kind)))


def takes_bool(kind: Any) -> bool:
    """True if a type, or one of several, is true or false."""
    return kind is bool or any(map(takes_bool, get_args(kind)))
