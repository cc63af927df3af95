"""Dates in tables: ISO 8601, three whole numbers, or another format that fits a whole column."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from torch import Tensor

from dlrun.data.table_files.columns import number

START = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = (  # the seconds since 1970 of the dates that there are
    (moment.replace(tzinfo=UTC) - START).total_seconds() for moment in (datetime.min, datetime.max)
)
_DAYS = (
    "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y",
    "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d %Y", "%B %d %Y",
    "%b-%d-%Y", "%b %d, %Y", "%B %d, %Y", "%Y-%b-%d", "%Y %b %d", "%b %Y", "%B %Y", "%b-%Y", "%b-%y",
    "%Y %b", "%Y %B", "%m/%Y", "%Y-%m", "%Y/%m", "%Y-%b", "%Y Q%q", "%Y-Q%q", "%YQ%q", "%G W%V", "%G-W%V",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FORMATS = tuple(day + time for time in _TIMES for day in _DAYS)
_TRIED = 20  # texts, by which formats are chosen before all are tried
ISO = ""  # stands for ISO 8601 in all its forms


def seconds_of(texts: Sequence[str], date_format: str = ISO) -> int:
    """The seconds since 1970 of a date: one text, or year, month and day; UTC unless a text has a zone.

    Raises ValueError for anything else.
    """
    try:
        if len(texts) == 1 and date_format:
            moment = _moment(texts[0], date_format)
        elif len(texts) == 1:
            moment = datetime.fromisoformat(texts[0])
        else:
            year, month, day = (_whole(text) for text in texts)
            moment = datetime(year, month, day, tzinfo=UTC)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - START) // timedelta(seconds=1)
    except (OverflowError, re.error) as error:  # re.error: a format that names a part twice
        raise ValueError(str(error)) from None


def _moment(text: str, date_format: str) -> datetime:
    """The date in a format of Python's, or with the quarter as `%q`; a week (`%V`) is its Monday."""
    if "%q" in date_format:
        for quarter in range(1, 5):
            with suppress(ValueError):
                found = datetime.strptime(text, date_format.replace("%q", str(quarter)))
                return found.replace(month=3 * quarter - 2)
        raise ValueError("no quarter")
    if "%V" in date_format and not re.search("%[auwA]", date_format):
        text, date_format = f"{text} 1", f"{date_format} %u"
    return datetime.strptime(text, date_format)


def formats_of(texts: Collection[str]) -> list[str]:
    """The formats that fit every one of some texts and give them different dates; ISO 8601 alone if it fits.

    Plain numbers such as 20160131 are no dates by themselves.
    """
    if all(_fits([text], ISO) for text in texts):
        return [ISO]
    left = list(FORMATS)
    for text in texts:
        left = [each for each in left if _fits([text], each)]
        if not left:
            return []
    return _different(left, texts)


def formats_of_most(counts: Mapping[str, int], share: float) -> list[str]:
    """The formats that fit the most cells, and at least a share of them, and give them different dates.

    `counts` are the numbers of cells of each text. Only formats that fit most of some texts are tried on all.
    """
    texts = list(counts)
    tried = texts[:: max(1, len(texts) // _TRIED)]
    if 2 * sum(any(map(str.isdigit, text)) for text in tried) <= len(tried):
        return []
    likely = [each for each in (ISO, *FORMATS) if 2 * sum(_fits([text], each) for text in tried) > len(tried)]
    cells, fitted = sum(counts.values()), dict[str, int]()
    for each in likely:
        fitting = [text for text in texts if _fits([text], each)]
        if (count := sum(counts[text] for text in fitting)) >= share * cells:
            fitted[each] = count
    best = [each for each, count in fitted.items() if count == max(fitted.values())]
    return _different(best, [text for text in texts if _fits([text], best[0])]) if best else []


def said_offsets(texts: Iterable[str], date_format: str = ISO) -> str:
    """The different offsets from UTC of some dates, such as `+01:00, +02:00`; "" unless there are several.

    A date without one counts as one of UTC.
    """
    if date_format and "%z" not in date_format:
        return ""
    found = set()
    for text in texts:
        with suppress(ValueError, re.error):
            moment = _moment(text, date_format) if date_format else datetime.fromisoformat(text)
            found.add(moment.isoformat()[-6:] if moment.tzinfo else "none")
    return ", ".join(sorted(found - {"none"}) + ["none"] * ("none" in found)) if len(found) > 1 else ""


def is_date(text: str, date_format: str) -> bool:
    """True for a date of a format."""
    return _fits([text], date_format)


def said_format(date_format: str) -> str:
    """A date of a format, as an example: `31.01.2016`."""
    return datetime(2016, 1, 31, 18, 30).strftime((date_format or "%Y-%m-%d").replace("%q", "1"))


def _different(formats: Sequence[str], texts: Collection[str]) -> list[str]:
    """Those of some formats that give texts which all of them fit different dates."""
    meanings: dict[tuple[int, ...], str] = {}
    for each in formats:
        meanings.setdefault(tuple(seconds_of([text], each) for text in texts), each)
    return list(meanings.values())


def said_dates(dates: Tensor, *, are_days: bool | None = None) -> list[str]:
    """Dates (n,) in seconds since 1970 as texts: `2016-01-31`, or with the time if one is not at midnight.

    `are_days` is known of dates among others.
    """
    moments = [START + timedelta(seconds=value) for value in dates.tolist()]
    are_days = not bool((dates % 86400).any()) if are_days is None else are_days
    return [str(moment.date() if are_days else moment.replace(tzinfo=None)) for moment in moments]


def _fits(texts: Sequence[str], date_format: str) -> bool:
    try:
        seconds_of(texts, date_format)
    except ValueError:
        return False
    return True


def _whole(text: str) -> int:
    value = number(text)
    if value is None or not value.is_integer():
        raise ValueError("no whole number")
    return int(value)
