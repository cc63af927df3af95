"""Conditions of --where, such as `optimizer.name == adam and train_accuracy > 0.9`: their grammar and parser.

    either     = both ("or" both)*
    both       = claim ("and" claim)*
    claim      = "not" claim | "(" either ")" | KEY SIGN VALUE
    SIGN       = "==" | "!=" | "<" | "<=" | ">" | ">="

KEY is letters, digits, `_` and `.`; VALUE is a word, a number, true, false, null, a text in quotes or a list
in brackets, in YAML's syntax. No Python code is evaluated.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dlrun.config.strict_yaml import parse
from dlrun.errors import UserError

Lookup = Callable[[str], Any]  # a key -> the value of a run; raises KeyError if it has none
Claim = Callable[[Lookup], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<sign>==|!=|<=|>=|<|>)|(?P<bracket>[()])|(?P<list>\[[^\[\]]*\])"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<word>[^\s()\[\]<>=!'\"]+))"
)
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DEEPEST = 50  # nested brackets


@dataclass(frozen=True)
class Condition:
    """A parsed condition on a run, and the keys that it names."""

    claim: Claim
    keys: list[str]

    def __call__(self, lookup: Lookup) -> bool:
        """Return whether a run meets the condition; `lookup` gives the run's value of a key."""
        return self.claim(lookup)


def parse_condition(text: str) -> Condition:
    """Parse a condition. Raises UserError with the position of a syntax error.

    For a run without the key only `!=` is true.
    """
    reader = _Reader(text)
    return Condition(reader.whole(), list(dict.fromkeys(reader.keys)))


class _Reader:
    """A recursive descent parser: one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text, self.next, self.depth = text, 0, 0
        self.tokens: list[tuple[str, str, int]] = []  # kind, word, where it begins
        self.keys: list[str] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if not found or not found.lastgroup:
                raise self._mistake("cannot be read", place + len(text[place:]) - len(text[place:].lstrip()))
            self.tokens.append((found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
            place = found.end()

    def whole(self) -> Claim:
        read = self._either()
        if self.next < len(self.tokens):
            raise self._mistake("expected and, or, or the end")
        return read

    def _either(self) -> Claim:
        read = [self._both()]
        while self._takes("word", "or"):
            read.append(self._both())
        return read[0] if len(read) == 1 else lambda lookup: any(each(lookup) for each in read)

    def _both(self) -> Claim:
        read = [self._claim()]
        while self._takes("word", "and"):
            read.append(self._claim())
        return read[0] if len(read) == 1 else lambda lookup: all(each(lookup) for each in read)

    def _claim(self) -> Claim:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._mistake("nested too deeply")
        try:
            if self._takes("word", "not"):
                refused = self._claim()
                return lambda lookup: not refused(lookup)
            if self._takes("bracket", "("):
                inside = self._either()
                if not self._takes("bracket", ")"):
                    raise self._mistake("expected )")
                return inside
            return self._comparison()
        finally:
            self.depth -= 1

    def _comparison(self) -> Claim:
        key = self._take("a key, such as optimizer.lr", "word")
        self.keys.append(key)
        sign = self._take("one of == (not =) != < <= > >=", "sign")
        written = self._take("a value", "word", "text", "list")
        try:
            value = parse(written, "--where", has_lines=False).plain()
        except UserError as error:
            raise self._mistake(error.what, self.tokens[self.next - 1][2]) from None
        if sign in _ORDERED and not is_number(value):
            raise self._mistake(f"{sign} needs a number", self.tokens[self.next - 1][2])

        def holds(lookup: Lookup) -> bool:
            try:
                found = lookup(key)
            except KeyError:
                return sign == "!="
            if sign in _ORDERED:
                return is_number(found) and _ORDERED[sign](found, value)
            return _same(found, value) is (sign == "==")

        return holds

    def _takes(self, kind: str, word: str) -> bool:
        """Consume the next word if it is this one; return whether it was."""
        if self.next < len(self.tokens) and self.tokens[self.next][:2] == (kind, word):
            self.next += 1
            return True
        return False

    def _take(self, wanted: str, *kinds: str) -> str:
        if self.next == len(self.tokens) or self.tokens[self.next][0] not in kinds:
            raise self._mistake(f"expected {wanted}")
        self.next += 1
        return self.tokens[self.next - 1][1]

    def _mistake(self, what: str, place: int | None = None) -> UserError:
        if place is None:
            place = self.tokens[self.next][2] if self.next < len(self.tokens) else len(self.text)
        near = f" at {self.text[place : place + 30]!r}" if self.text[place:].strip() else " at its end"
        return UserError(
            f"{what}{near}",
            where=f"--where {self.text[:100]!r}, character {place + 1}",
            fix="write one such as 'optimizer.name == adam and train_accuracy > 0.9'",
        )


def _same(found: Any, value: Any) -> bool:
    return found == value and isinstance(found, bool) is isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
