"""Readings of numbers: `1,234`, `1.234,5`, `$4,733` and `62.0%` as people write them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dlrun.data.table_files.columns import TooLarge, number

SYMBOLS = ("$", "€", "£", "¥", "%")  # signs that may stand before or behind a number
THOUSANDS = (",", ".", "'", "’", "_", " ", "\u00a0", "\u202f")  # marks between thousands
LARGER_UNIT = "give such numbers in a larger unit: float32 holds none beyond 3.4e38"
_MINUS = "\u2212"
_LIKE_A_NUMBER = re.compile(
    r"\(?[+\-\u2212]?\s?[$€£¥]?\s?[+\-\u2212]?"
    r"(\d+([.,'’_ \u00a0\u202f]\d+)*([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s?[%$€£¥]?\)?"
)


@dataclass(frozen=True)
class NumberReading:
    """The marks in numbers: the decimal one, the one between thousands ("" for none), and further signs."""

    decimal: str = "."
    thousands: str = ""
    symbols: Sequence[str] = ()

    def read(self, text: str) -> float:
        """The number that a text means. Raises ValueError if it means none by these marks."""
        plain = text.strip()
        is_negative = (
            plain.startswith("(") and plain.endswith(")") and bool(self.symbols)
        )  # as accounts write it
        plain = plain[1:-1].strip() if is_negative else plain
        sign = ""
        for _ in range(2):  # the sign of a debt may stand before its currency or behind it
            if plain[:1] in ("+", "-", _MINUS) and not sign:
                sign, plain = ("+" if plain[0] == "+" else "-"), plain[1:].lstrip()
            for symbol in self.symbols:
                plain = plain.removeprefix(symbol).removesuffix(symbol).strip()
        if plain[:1] in ("+", "-", _MINUS):
            raise ValueError(f"{text[:40]!r} has two signs")
        whole, mark, rest = plain.partition(self.decimal)
        if self.thousands and self.thousands in whole:
            if not re.fullmatch(rf"\d{{1,3}}({re.escape(self.thousands)}\d{{3}})+", whole):
                raise ValueError(f"{text[:40]!r} has {self.thousands!r} where no thousands end")
            whole = whole.replace(self.thousands, "")
        if self.decimal == "," and "." in whole + rest:
            raise ValueError(f"{text[:40]!r} has a point, but its decimal mark is a comma")
        value = number(f"{sign}{whole}{'.' if mark else ''}{rest}")
        if value is None:
            raise ValueError("the value is missing")
        return -value if is_negative else value

    def reads(self, texts: Iterable[str]) -> bool:
        """True if every one of some texts means a number by these marks."""
        try:
            for text in texts:
                self.read(text)
        except ValueError:
            return False
        return True


PLAIN = NumberReading()


def is_like_a_number(text: str) -> bool:
    """True if a text means a number, by whatever marks: such a cell is neither missing nor a category."""
    return bool(_LIKE_A_NUMBER.fullmatch(text.strip()))


def is_bound(text: str) -> bool:
    """True if a text bounds a number, such as `<0.5`, `> 100` or `90+`: it is neither this nor missing."""
    plain = text.strip()
    inner = plain.lstrip("<>≤≥=") if plain[:1] in "<>≤≥" else plain.removesuffix("+")
    return inner != plain and bool(inner) and is_like_a_number(inner)


def is_too_large(text: str) -> bool:
    """True for a number that float32 cannot hold."""
    try:
        number(text.strip())
    except TooLarge:
        return True
    except ValueError:
        pass
    return False


def readings_of(texts: Collection[str]) -> list[NumberReading]:
    """All readings by which every one of some texts is a number, the plainest first; [] if there is none."""
    symbols = tuple(symbol for symbol in SYMBOLS if any(symbol in text for text in texts))
    if len(symbols) > 1:  # of two currencies, or of money and shares
        return []
    if any(text.strip().startswith("(") for text in texts) and not symbols:
        symbols = ("$",)
    marks = ["", *(mark for mark in THOUSANDS if any(mark in text for text in texts))]
    pairs = [(decimal, mark) for decimal in (".", ",") for mark in marks if mark != decimal]
    every = (NumberReading(decimal, mark, symbols) for decimal, mark in pairs)
    return [reading for reading in every if reading.reads(texts)]


def chosen_reading(texts: Collection[str], decimal: str = "") -> NumberReading | None:
    """The reading of a column by its distinct texts; None if there is none, or if two give other numbers.

    `decimal` is the mark of the file, "" if it is not known. A comma before three digits in every text that
    has one, as in 1,070, stands between thousands unless the file's decimal mark is a comma.
    """
    found = [each for each in readings_of(texts) if each.decimal == decimal or not decimal]
    if len(found) < 2:
        return found[0] if found else None
    values = [[each.read(text) for text in texts] for each in found]
    if all(some == values[0] for some in values):
        return found[0]
    between = [each for each in found if each.thousands and each.decimal == "."]
    return between[0] if between and not decimal else found[0] if decimal else None


def decimal_of(columns: Iterable[Collection[str]]) -> str:
    """The decimal mark of a file by its columns of texts: "," if only this reads one of them, else ""."""
    for texts in columns:
        found = {each.decimal for each in readings_of(texts)}
        if found == {","}:
            return ","
    return ""


def said_marks(texts: Collection[str], numbers: NumberReading = PLAIN) -> str:
    """A remedy for texts that mean numbers, but not by the marks `numbers`.

    Such as `set thousands: ',', or write numbers as 1234.5`.
    """
    if any(map(is_too_large, texts)):
        return LARGER_UNIT
    reading = chosen_reading(texts)
    plainly = f"write numbers as 1234{numbers.decimal}5"
    if reading == numbers or (reading == PLAIN and numbers.decimal == "."):
        return f"{plainly}, with no sign but + or -"
    if reading is None:
        return f"set thousands, decimal or symbols, or {plainly}, with no sign but + or -"
    wanted = {"decimal": reading.decimal, "thousands": reading.thousands, "symbols": [*reading.symbols]}
    known = {"decimal": numbers.decimal, "thousands": "", "symbols": []}
    marks = " and ".join(f"{key}: {each!r}" for key, each in wanted.items() if each != known[key])
    return f"set {marks}, or {plainly}"
