"""The claims of `expect`, such as `>= 0.94`: read, and held against what was measured."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from dlrun.errors import shortened

_CLAIM = re.compile(r"\s*(>=|<=|==|>|<)\s*(\S+)\s*$")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


def parse_claim(text: str) -> list[tuple[str, float]]:
    """`>= 0.48, <= 0.55` as its parts [(">=", 0.48), ("<=", 0.55)]. Raises ValueError."""
    found = []
    for clause in text.split(","):
        match = _CLAIM.match(clause)
        try:
            found.append((match[1], float(match[2])) if match else ("", 0.0))
        except ValueError:
            found.append(("", 0.0))
        if not found[-1][0]:
            raise ValueError(f"{shortened(text)!r} is no claim; write one such as '>= 0.94'")
    return found


def meets(value: float, claim: str) -> bool:
    """Whether a measured value is what the claim says."""
    return all(_SIGNS[sign](value, limit) for sign, limit in parse_claim(claim))


def missed_by(value: float, claim: str) -> float:
    """How far a measured value is from what the claim says; 0 where it is on a border that is excluded."""
    return max(
        (abs(value - limit) for sign, limit in parse_claim(claim) if not _SIGNS[sign](value, limit)),
        default=0.0,
    )
