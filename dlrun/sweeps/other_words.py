"""Ranges and lists of values as other tools write them, to say in a message how dlrun writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_CALL = re.compile(r"([A-Za-z_.-]+)\((.*)\)\Z", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\Z")
_WHOLE_NUMBER = re.compile(r"[-+]?\d+\Z")
_TAGGED = re.compile(r"tag\(\s*log\s*,\s*interval\((.*)\)\s*\)\Z")  # Hydra's Ax plugin
_LOG_WORD = re.compile(r",?\s*log\s*=\s*[Tt]rue\s*")
_LOG = (
    *("loguniform", "qloguniform", "log_uniform", "log_uniform_values", "q_log_uniform_values"),
    *("logscale", "geomspace", "lograndint", "qlograndint"),
)
_EXPONENTS = {"logspace": 10.0}  # NumPy's ends are exponents of 10
_OF_E = ("loguniform", "qloguniform", "log_uniform")  # in some tools the ends are exponents of e
_EVEN = ("uniform", "quniform", "q_uniform", "interval", "float", "linspace")
_WHOLE = ("randint", "qrandint", "int", "integer", "int_uniform", "range", "arange")
_EXCLUSIVE = ("range", "randint", "arange")  # their ends are left out
_LISTS = ("choice", "choices", "grid", "grid_search", "categorical", "values", "list", "shuffle", "sort")
_ENDS = (("min", "max"), ("low", "high"), ("lower", "upper"))
_OF_MAPPINGS = {
    *(end for ends in _ENDS for end in ends),
    *("distribution", "values", "value", "choices", "log", "q"),
}
_COMMAS = "write the values with commas between them"
_MOST_LISTED = 20  # values of a range with a step


def range_meant(text: str) -> str:
    """The remedy for values as a call of another tool, such as `loguniform(1e-4,1e-1)`; "" for none."""
    if tagged := _TAGGED.fullmatch(text):
        return _as_log(_parted(tagged[1]))
    called = _CALL.fullmatch(text)
    if not called:
        return ""
    word = called[1].rpartition(".")[2].lower().replace("-", "_").removeprefix("suggest_")
    inside, is_log = _LOG_WORD.sub("", called[2]), bool(_LOG_WORD.search(called[2]))
    if word in _LISTS and inside.strip():
        return f"{_COMMAS}: {inside.strip().removeprefix('[').removesuffix(']')}"
    ends = _parted(inside)
    if not ends or not all(map(_NUMBER.fullmatch, ends)):
        return ""
    if word in _EXPONENTS and len(ends) > 1:
        ends[:2] = [f"{_EXPONENTS[word] ** float(end):.3g}" for end in ends[:2]]
        return _as_log(ends)
    if (word in _LOG or is_log) and len(ends) > 1:
        if word in _OF_E and any(float(end) < 0 for end in ends[:2]):
            ends[:2] = [f"{math.exp(float(end)):.3g}" for end in ends[:2]]
        return _as_log(ends)
    if word in _WHOLE and all(map(_WHOLE_NUMBER.fullmatch, ends)):
        return _as_whole([int(end) for end in ends], is_exclusive=word in _EXCLUSIVE)
    return _as_range("linspace", ends[:2]) if word in (*_EVEN, *_WHOLE) and len(ends) > 1 else ""


def mapping_meant(written: Mapping[str, Any]) -> str:
    """The remedy for values as a mapping, such as {min: 0, max: 1} or {values: [1, 2]}; "" for none."""
    if not written or not written.keys() <= _OF_MAPPINGS:
        return ""
    for word in ("values", "choices", "value"):
        if word in written:
            found = written[word] if isinstance(written[word], list) else [written[word]]
            return f"write the list itself: {found}"
    both = next(([written[low], written[high]] for low, high in _ENDS if {low, high} <= written.keys()), [])
    ends = [f"{end}" for end in both]
    if not ends or not all(map(_NUMBER.fullmatch, ends)):
        return ""
    distribution = str(written.get("distribution", ""))
    if "log" not in distribution and written.get("log") is not True:
        return _as_range("linspace", ends)
    if distribution.endswith("log_uniform"):  # exponents of e, where log_uniform_values are the numbers
        ends = [f"{math.exp(float(end)):.3g}" for end in ends]
    return _as_log(ends)


def _as_log(ends: list[str]) -> str:
    """The remedy that has a logarithmic range; "" for one that has no numbers, or some below 0."""
    if len(ends) < 2 or not all(_NUMBER.fullmatch(end) and float(end) > 0 for end in ends[:2]):
        return ""
    return _as_range("log", ends[:2], ends[2] if len(ends) == 3 else "5")


def _as_whole(ends: list[int], *, is_exclusive: bool) -> str:
    """The remedy that has the whole numbers of a range, with its step if it has one."""
    first, last, step = (0, *ends, 1) if len(ends) == 1 else (*ends, 1)[:3]
    numbers = range(first, last + (not is_exclusive), step) if step > 0 else range(0)
    if not numbers:
        return ""
    if step == 1 and len(numbers) > 1:
        return f"write {numbers[0]}..{numbers[-1]}, which has both ends"
    listed = ",".join(map(str, numbers[:_MOST_LISTED]))
    return f"{_COMMAS}: {listed}{'' if len(numbers) <= _MOST_LISTED else ',…'}"


def _as_range(scale: str, ends: list[str], count: str = "5") -> str:
    """The remedy that has a range with a count, and without one."""
    said = f"{scale}({ends[0]},{ends[1]}"
    return f"write {said},{count}) for {count} values, or {said}) with --random N"


def _parted(inside: str) -> list[str]:
    return [one.strip() for one in inside.split(",") if one.strip()]
