"""The value of an option: checked against its type, and the form in which it would be accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from dlrun.config.option_types import choices_of
from dlrun.config.other_words import value_meant
from dlrun.config.strict_yaml import parse
from dlrun.errors import UserError

_WHOLE = re.compile(r"[-+]?[0-9]{1,3}([_, ][0-9]{3})+\Z")
_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+\Z")
_PERCENT = re.compile(r"([0-9]+(\.[0-9]+)?) ?%\Z")
_YES = {
    **dict.fromkeys(("yes", "on", "true", "y"), True),
    **dict.fromkeys(("no", "off", "false", "n"), False),
}


def checked(kind: Any, value: Any) -> Any:
    """The value as type `kind`, choices in their own letters: relu for ReLU. Raises ValidationError."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError:
        in_case = _in_case(kind, value)
        if in_case is value:
            raise
        try:
            return _adapter(kind).validate_python(in_case)
        except ValidationError:
            pass
        raise


def accepts(kind: Any, value: Any) -> bool:
    """True if an option of type `kind` can have the value."""
    try:
        checked(kind, value)
    except ValidationError:
        return False
    return True


def as_list(text: str) -> list[Any] | None:
    """The list that `100,100` stands for; None if it is none."""
    try:
        found = parse(f"[{text}]", "", has_lines=False).plain()
    except UserError:
        return None
    return found if isinstance(found, list) else None


def acceptable(kind: Any, value: Any) -> Any:
    """The value that is probably meant by one that `kind` does not accept; None if there is none."""
    readings = [value_meant(str(value), choices_of(kind)), *_readings(value)]
    return next((each for each in readings if each is not None and accepts(kind, each)), None)


def _readings(value: Any) -> Iterator[Any]:
    """Other readings of a value, the likelier ones first."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("(") and text.endswith(")"):
            text = text[1:-1]
        if _PERCENT.match(text):
            yield float(text.rstrip("% ")) / 100
        if _WHOLE.match(text) and not text.startswith("0"):
            yield int(re.sub("[_, ]", "", text))
        elif _COMMA.match(text):
            yield float(text.replace(",", "."))
        yield _YES.get(text.lower())
        with suppress(UserError):
            yield parse(text, "", has_lines=False).plain()
        if "," in text or " " in text:
            yield as_list(text if "," in text else ", ".join(text.split()))
    if isinstance(value, float) and value.is_integer():
        yield int(value)
    if type(value) in (int, float):
        yield str(value)
    if type(value) is int and value in (0, 1):
        yield bool(value)
    if not isinstance(value, list | dict):
        yield [value]
    if isinstance(value, list) and len(value) == 1:
        yield value[0]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def _in_case(kind: Any, value: Any) -> Any:
    """The value with the texts in it that are choices of a type but for their case in the case of these."""
    if isinstance(value, list):
        return [_in_case(kind, item) for item in value]
    if not isinstance(value, str):
        return value
    alike = [choice for choice in choices_of(kind) if choice.lower() == value.lower()]
    return alike[0] if len(alike) == 1 else value
