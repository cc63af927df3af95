"""Ranges and lists of values as other tools write them, to say in a message how dlrun writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_CALL = re.compile(r"([A-Za-z_.-]+)\((.*)\)\Z", re.DOTALL)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TAGGED = re.compile(r"tag\(\s*log\s*,\s*interval\((.*)\)\s*\)\Z")  # Hydra's Ax plugin
_LOG = ("loguniform", "qloguniform", "log_uniform", "log_uniform_values", "logscale", "logspace", "geomspace")
_EVEN = ("uniform", "quniform", "interval", "float", "arange")
_WHOLE = ("randint", "qrandint", "lograndint", "int", "integer", "int_uniform", "range")
_LISTS = ("choice", "choices", "grid", "grid_search", "categorical", "values", "list", "shuffle", "sort")
_ENDS = (("min", "max"), ("low", "high"), ("lower", "upper"))
_OF_MAPPINGS = {
    *(end for ends in _ENDS for end in ends),
    *("distribution", "values", "value", "choices", "log", "q"),
}
_COUNTED = ("logspace", "geomspace")  # with a third argument
_EXCLUSIVE = ("range", "randint", "arange")  # their ends are left out


def range_meant(text: str) -> str:
    """The remedy for values as a call of another tool, such as `loguniform(1e-4,1e-1)`; "" for none."""
    if tagged := _TAGGED.fullmatch(text):
        return _as_range("log", _parted(tagged[1]))
    called = _CALL.fullmatch(text)
    if not called:
        return ""
    word = called[1].rpartition(".")[2].lower().replace("-", "_").removeprefix("suggest_")
    given = _parted(called[2])
    if word in _LISTS and called[2].strip():
        values = called[2].strip().removeprefix("[").removesuffix("]")
        return f"write the values with commas between them: {values}"
    numbers = [one for one in given if re.fullmatch(_NUMBER, one)]
    if len(numbers) < 2 or len(numbers) < len(given):
        return ""
    if word == "logspace" and all(re.fullmatch(r"[-+]?\d+", one) for one in numbers[:2]):
        numbers[:2] = [f"1e{int(one)}" for one in numbers[:2]]  # NumPy's are exponents
    numbers = numbers[: 3 if word in _COUNTED else 2]
    if word in _LOG:
        return _as_range("log", numbers)
    if word in _WHOLE and all(re.fullmatch(r"[-+]?\d+", one) for one in numbers[:2]):
        last = int(numbers[1]) - (word in _EXCLUSIVE)
        return f"write {numbers[0]}..{last}, which has both ends"
    return _as_range("linspace", numbers) if word in (*_EVEN, *_WHOLE) else ""


def mapping_meant(written: Mapping[str, Any]) -> str:
    """The remedy for values as a mapping, such as {min: 0, max: 1} or {values: [1, 2]}; "" for none."""
    if not written or not written.keys() <= _OF_MAPPINGS:
        return ""
    for word in ("values", "choices", "value"):
        if word in written:
            found = written[word] if isinstance(written[word], list) else [written[word]]
            return f"write the list itself: {found}"
    ends = next(([written[low], written[high]] for low, high in _ENDS if {low, high} <= written.keys()), [])
    if not ends:
        return ""
    is_log = "log" in str(written.get("distribution", "")) or written.get("log") is True
    return _as_range("log" if is_log else "linspace", [f"{end}" for end in ends])


def _as_range(scale: str, numbers: list[str]) -> str:
    """The remedy that has a range with a count, and without one."""
    low, high, count = (*numbers, "5")[:3]
    said = f"{scale}({low},{high}"
    return f"write {said},{count}) for {count} values, or {said}) with --random N"


def _parted(inside: str) -> list[str]:
    return [one.strip() for one in inside.split(",") if one.strip()]
