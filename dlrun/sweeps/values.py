"""The values of a sweep's keys: lists and ranges, all combinations of them (a grid) or a random sample.

    optimizer.lr=1e-4,1e-3,1e-2         these three
    optimizer.lr=log(1e-4,1e-1,7)       seven from 0.0001 to 0.1, evenly spaced on a logarithmic scale
    dataset.noise=linspace(0,0.5,6)     six from 0 to 0.5, evenly spaced
    architecture.hidden=[50],[100]      lists
    dataset.seed=1..5                   the whole numbers from 1 to 5

Numbers of a range are rounded to the few digits that tell them from their neighbours: 0.0003162; those of a
key that takes whole numbers, such as batch_size, are whole. Duplicate values count once. Without a count,
`log(1e-4,1e-1)` and `linspace(0,0.5)` are continuous ranges, from which --random and --optuna draw. The text
is parsed, never evaluated.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise, product
from typing import Any

from dlrun.config.strict_yaml import Place, parse
from dlrun.errors import UserError, in_words, shortened
from dlrun.sweeps.other_words import mapping_meant, range_meant

MOST_VALUES = 10_000  # of one key, and combinations of all keys
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(log|linspace)\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*(?:,\s*(\d{{1,6}})\s*)?\)\Z")
_WHOLE = re.compile(r"([-+]?\d{1,18})\.\.([-+]?\d{1,18})\Z")
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
EXAMPLE = "write values such as 1e-4,1e-3 or a range such as log(1e-4,1e-1,7)"


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, or the whole ones; with `is_log` uniform on a logarithmic scale."""

    low: float
    high: float
    is_log: bool
    is_whole: bool = False

    @property
    def fault(self) -> str:
        """The reason why nothing can be drawn from the range; "" if something can."""
        low, high = sorted((self.low, self.high))
        if not math.isfinite(high - low):
            return "the ends of a range are finite"
        if self.is_log and low <= 0:
            return "a logarithm needs numbers above 0"
        if self.is_whole and math.ceil(low) > math.floor(high):
            return "there is no whole number between the ends"
        return ""

    def at(self, share: float) -> float:
        """The number at a share from 0 (`low`) to 1 (`high`) of the range."""
        if share in (0.0, 1.0):
            return self.high if share else self.low
        if self.is_log:
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return self.low + share * (self.high - self.low)

    def tidy(self, number: float, digits: int = 4) -> float:
        """Round a number of the range to `digits` significant digits, or to a whole number."""
        low, high = sorted((self.low, self.high))
        if self.is_whole:
            return min(max(round(number), math.ceil(low)), math.floor(high))
        rounded = float(f"{number:.{digits}g}")
        return rounded if low <= rounded <= high else number


@dataclass(frozen=True)
class SweptKey:
    """A config key with its values in a sweep, or the range that they are drawn from."""

    key: str
    values: list[Any] | Range
    where: str = field(default="", compare=False)  # file:line:column, or the command line
    place: Place | None = field(default=None, compare=False)  # of values in a file

    @property
    def is_row(self) -> bool:
        """True if the values are consecutive whole numbers, such as those of `1..5`."""
        values = self.values
        return (
            isinstance(values, list)
            and len(values) > 2
            and all(type(value) is int for value in values)
            and all(abs(b - a) == 1 for a, b in pairwise(values))
            and len(values) == 1 + abs(values[-1] - values[0])
        )

    def __str__(self) -> str:
        """The values in one line, in the syntax of the command line."""
        if isinstance(self.values, Range):
            return _shown(self.values)
        return (
            f"{self.values[0]}..{self.values[-1]}" if self.is_row else ", ".join(map(json.dumps, self.values))
        )

    def plain(self) -> list[Any] | dict[str, Any]:
        """The values as plain JSON content."""
        return asdict(self.values) if isinstance(self.values, Range) else self.values

    @classmethod
    def of_plain(cls, key: str, plain: Any) -> SweptKey:
        """The key and values that `plain` describes. Raises TypeError or ValueError if it is malformed."""
        if not isinstance(plain, dict):
            values = list(plain)
            if not 1 <= len(values) <= MOST_VALUES:
                raise ValueError(f"{shortened(key)} has no values")
            return cls(key, values)
        scale = Range(**plain)
        if scale.fault:
            raise ValueError(f"{shortened(key)}: {scale.fault}")
        return cls(key, scale)

    def draw(self, generator: random.Random) -> Any:
        """Draw one value at random."""
        if isinstance(self.values, Range):
            return self.values.tidy(self.values.at(generator.random()))
        return generator.choice(self.values)


def swept_key(
    key: str, written: Any, where: str, *, is_whole: bool = False, keeps_repeated: bool = False
) -> SweptKey:
    """The values written for a key, as text (command line) or as a list (YAML).

    With `is_whole` the key takes only whole numbers, and so do its ranges. Each value is there once, unless
    it `keeps_repeated` ones. Raises UserError for a malformed range and for more than MOST_VALUES values.
    """
    if isinstance(written, list):
        items = [each for item in written for each in _values(item, where, is_whole)]
    elif isinstance(written, str):
        items = [each for item in _split(written) for each in _values(item, where, is_whole, is_text=True)]
    else:
        items = [written]
    if len(items) == 1 and isinstance(items[0], Range):
        return SweptKey(key, items[0], where)
    if not items or any(isinstance(item, Range) for item in items):
        raise UserError(f"{shortened(key)} has no values to sweep", where=where, fix=EXAMPLE)
    if len(items) > MOST_VALUES:
        raise UserError(f"{shortened(key)} has more than {MOST_VALUES:,} values", where=where)
    return SweptKey(key, items if keeps_repeated else distinct(items), where)


def distinct(values: Iterable[Any]) -> list[Any]:
    """The values without repetitions; 1, 1.0 and true are three."""
    return list({repr(value): value for value in values}.values())


def identity_of(values: Mapping[str, Any]) -> str:
    """A text that is the same for equal values of the same keys, in any order; 1, 1.0 and true are three."""
    return repr(sorted(values.items()))


def combinations(axes: Sequence[SweptKey]) -> list[dict[str, Any]]:
    """All combinations of the values, key -> value; the last key varies fastest.

    Raises UserError for a range without a count, and for more than MOST_VALUES combinations.
    """
    lists = [listed(axis) for axis in axes]
    count = math.prod(map(len, lists))
    if count > MOST_VALUES:
        raise UserError(f"{count:,} combinations are more than {MOST_VALUES:,}", fix="draw some: --random N")
    return [dict(zip((each.key for each in axes), values, strict=True)) for values in product(*lists)]


def pairs(axes: Sequence[SweptKey]) -> list[dict[str, Any]]:
    """The first values of all keys together, then the second ones, and so on (--zip); key -> value.

    Raises UserError for a range without a count, and if the keys have not as many values.
    """
    lists = {axis.key: listed(axis, may_draw=False) for axis in axes}
    if len(lists) < 2:
        what = f"only {shortened(axes[0].key)} has several values" if axes else "no key has several values"
        raise UserError(f"--zip pairs the values of keys, and {what}", fix="leave out --zip")
    if len({*map(len, lists.values())}) > 1:
        counts = in_words([f"{shortened(key)} has {len(values)}" for key, values in lists.items()])
        fix = "give as many to each; the seeds, and keys with one value, are the same in all"
        raise UserError(f"--zip pairs the values of keys one by one, but {counts}", fix=fix)
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def listed(axis: SweptKey, *, may_draw: bool = True) -> list[Any]:
    """The values of a key. Raises UserError for a range without a count, from which --random `may_draw`."""
    if isinstance(axis.values, Range):
        fix = f"write how many, such as {_shown(axis.values)[:-1]},5)"
        fix += ", or draw from it with --random N" if may_draw else ""
        raise UserError(f"{shortened(axis.key)} is a range without a count", fix=fix)
    return axis.values


def draws(axes: Sequence[SweptKey], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` different combinations drawn at random, key -> value; fewer if there are no more."""
    generator, found = random.Random(seed), dict[str, dict[str, Any]]()
    for _ in range(20 * count):
        drawn = {each.key: each.draw(generator) for each in axes}
        found.setdefault(repr(drawn), drawn)
        if len(found) == count:
            break
    return list(found.values())


def parts_first(given: Iterable[str]) -> list[str]:
    """Sort KEY=VALUE arguments: an option is one of the part that is named, so names come first."""

    def depth(word: str) -> int:
        key = word.partition("=")[0]
        return 0 if "." not in key else 1 if key.endswith(".name") else 2

    return sorted(given, key=depth)


def override_words(settings: dict[str, Any]) -> list[str]:
    """Values, key -> value, as KEY=VALUE arguments."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]


def _values(item: Any, where: str, is_whole: bool, *, is_text: bool = False) -> Iterator[Any]:
    """Yield the values that one item stands for: itself, or those of a range."""
    if not isinstance(item, str):
        yield item
        return
    text = item.strip()
    if is_text and not text:
        raise UserError("a value is missing between two commas", where=where, fix=EXAMPLE)
    if found := _RANGE.match(text):
        scale = Range(float(found[2]), float(found[3]), found[1] == "log", is_whole)
        if scale.fault:
            raise UserError(f"{text}: {scale.fault}", where=where)
        if not found[4]:
            yield scale
            return
        count = int(found[4])
        if not 1 <= count <= MOST_VALUES:
            raise UserError(f"{text}: a range has 1 to {MOST_VALUES:,} values", where=where)
        yield from _tidy([scale.at(index / max(1, count - 1)) for index in range(count)], scale)
    elif found := _WHOLE.match(text):
        first, last = int(found[1]), int(found[2])
        if abs(last - first) >= MOST_VALUES:
            raise UserError(f"{text}: a range has 1 to {MOST_VALUES:,} values", where=where)
        step = 1 if last >= first else -1
        yield from range(first, last + step, step)
    elif text.startswith(("log(", "linspace(")):
        fix = EXAMPLE if is_text else 'in a list put a range in quotes: ["log(1e-4,1e-1,7)"]'
        raise UserError(f"{shortened(text)} is not a range", where=where, fix=fix)
    elif meant := range_meant(text):
        raise UserError(f"{shortened(text)} is how another tool writes values", where=where, fix=meant)
    else:
        value = parse(text, where, has_lines=False).plain() if is_text else item
        if isinstance(value, dict) and (fix := mapping_meant(value)):
            raise UserError(f"{shortened(text)} is how another tool writes values", where=where, fix=fix)
        yield value


def _tidy(numbers: Sequence[float], scale: Range) -> Iterator[float]:
    """Round the numbers to four digits, or to more if that is off by over a thousandth of their step."""
    for index, number in enumerate(numbers):
        beside = (*numbers[max(0, index - 1) : index], *numbers[index + 1 : index + 2])
        near = 1e-3 * min((abs(number - other) for other in beside), default=0.0)
        rounded = (scale.tidy(number, digits) for digits in range(4, 12))
        is_near = (each for each in rounded if scale.is_whole or abs(each - number) <= near)
        yield next(is_near, scale.tidy(number, 12))


def _split(text: str) -> list[str]:
    """Split a text at commas outside brackets and quotes."""
    items, closing, quote = [""], list[str](), ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in _BRACKETS:
            closing.append(_BRACKETS[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == "," and not closing:
            items.append("")
            continue
        items[-1] += letter
    return items


def _shown(scale: Range) -> str:
    return f"{'log' if scale.is_log else 'linspace'}({scale.low:g},{scale.high:g})"
