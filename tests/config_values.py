"""Values for the keys and options of a config: by type, some that it takes, and a pool of others."""

from __future__ import annotations

import math
import random
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from dlrun.config.keys import Choice
from dlrun.config.options import Duration

POOL: list[Any] = [
    *("no such thing", "", "1e-3", "true", "9" * 4000, "\x1b[31m", "a\nb", True, False),
    *(-1, 0, 2**63, 2**64, 10**30, -0.5, 1.5, 1e300, math.nan, math.inf, -math.inf),
    *([], [None], [[]], ["x", 1], [-1], [math.nan], {}, {"a": 1}, {"name": 5}, {"name": "no_such_part"}),
]


def accepts(kind: Any, value: Any) -> bool:
    """True if an option may have a value of this type, decided without dlrun's own checks."""
    if kind is None or kind is NoneType:
        return value is None
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e308
    if kind in (int, bool, str):
        return type(value) is kind
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        bounds = [bound for bound in inside[1:] if not isinstance(bound, str)]
        return accepts(inside[0], value) and all(_within(value, bound) for bound in bounds)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inside)
    if origin is list:
        return isinstance(value, list) and all(accepts(inside[0], item) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(accepts(inside[1], item) for item in value.values())
    return any(accepts(each, value) for each in inside)


def refused_by_key(key: str, kind: Any) -> list[Any]:
    """Values that a top-level key of this type may not have."""
    of_parts = kind in (Choice, list[Choice])
    bad = [value for value in POOL if of_parts or not accepts(kind, value)]
    if of_parts:  # an empty list chooses no part, where several may be chosen
        bad = [value for value in bad if not (value == [] and kind == list[Choice])]
    if key in ("device", "monitor", "task"):  # texts, each of a form of its own
        bad += [value for value in POOL if isinstance(value, str)]
    if key == "name":
        bad += ["", "a b", "a\nb", "\x1b[31m", "../x", "9" * 4000]
    return bad


def some(kind: Any, random: random.Random) -> Any:
    """A value that an option of this type may have."""
    if kind is None or kind is NoneType:
        return None
    if kind is bool:
        return random.random() < 0.5
    if kind is int:
        return random.choice([0, 1, -1, random.randrange(10**6), random.randrange(2**63)])
    if kind is float:
        return random.choice([0.0, 1e-300, 1e300, 1.0, -2.5, random.random(), 10 ** random.uniform(-12, 12)])
    if kind is str:
        return random.choice(TEXTS)
    origin, inside = get_origin(kind), get_args(kind)
    if kind == Duration:
        return random.choice(["45s", "1h30m", "0.5d"])
    if origin is Annotated:
        while True:
            value = some(inside[0], random)
            if all(_within(value, bound) for bound in inside[1:] if isinstance(bound, Ge | Gt | Le | Lt)):
                return value
    if origin is Literal:
        return random.choice(inside)
    if origin in (Union, UnionType):
        return some(random.choice(inside), random)
    if origin is list:
        return [some(inside[0], random) for _ in range(random.randrange(4))]
    assert origin is dict, kind
    return {random.choice(TEXTS): some(inside[1], random) for _ in range(random.randrange(4))}


def _within(value: Any, bound: Any) -> bool:
    sign = type(bound).__name__.lower()
    if sign == "predicate":
        return bool(bound.func(value))
    limit = getattr(bound, sign)
    return {"ge": value >= limit, "gt": value > limit, "le": value <= limit, "lt": value < limit}[sign]


TEXTS = [
    *("1e-3", "no", "null", "true", "~", "", " ", "010", "1:30", "2024-01-02", ".nan", "-", "=", "<<", "y"),
    *("[a]", "{a: b}", "a: b", "# c", "&a", "*a", "!x", "a\nb", "\ttab", "'", '"', "\\", "%", "@", "`"),
    *("ü", "‮", "\u2028", "\x85", "😀", "\x1b[31m", "\x00", "0x10", "1_000", "NaN", "x" * 300, "a # b", "a: "),
    *(
        "\ufeff",
        "- a",
        "? a",
        "| a",
        "> a",
        "...",
        "---",
        "null\n",
        "no ",
        " no",
        "\r\n",
        "0.1.2",
        "+1",
        "1e5",
    ),
]


def misspelt(name: str) -> str:
    """A name with its second letter left out, or of two letters with one too many."""
    return name[0] + name[2:] if len(name) > 2 else name + name[-1]
