"""The claims of `expect`, such as `>= 0.94`: parsed, and compared with the measured values."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from dlrun.errors import shortened

_CLAIM = re.compile(r"\s*(>=|<=|==|>|<)\s*(\S+)\s*$")
_FIGURE = r"[-+]?([0-9](_?[0-9])*(\.([0-9](_?[0-9])*)?)?|\.[0-9](_?[0-9])*)([eE][-+]?[0-9](_?[0-9])*)?"
_CLAUSE = rf"\s*(>=|<=|==|>|<)\s*({_FIGURE}|[-+]?([iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN]))\s*"
PATTERN = rf"^{_CLAUSE}(,{_CLAUSE})*$"  # of a claim, for JSON Schema
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


def parse_claim(text: str) -> list[tuple[str, float]]:
    """Parse `>= 0.48, <= 0.55` into [(">=", 0.48), ("<=", 0.55)]. Raises ValueError for anything else."""
    found = []
    for clause in text.split(","):
        match = _CLAIM.match(clause)
        try:
            found.append((match[1], float(match[2])) if match else ("", 0.0))
        except ValueError:
            found.append(("", 0.0))
        if not found[-1][0]:
            raise ValueError(f"{shortened(text)!r} is not a claim; write one such as '>= 0.94'")
    return found


def meets(value: float, claim: str) -> bool:
    """True if a measured value fulfils the claim."""
    return all(_SIGNS[sign](value, limit) for sign, limit in parse_claim(claim))


def missed_by(value: float, claim: str) -> float:
    """The distance of a measured value from the claimed range; 0 on a bound that the range excludes."""
    return max(
        (abs(value - limit) for sign, limit in parse_claim(claim) if not _SIGNS[sign](value, limit)),
        default=0.0,
    )
