"""Names of folders that are plain words in any script, and that lead nowhere else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from dlrun.errors import meant

_MOST_BESIDE = 1000  # files that are looked at
MOST_BYTES = 200  # of a name in UTF-8: file systems take 255, and numbers follow
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)  # on Windows
# Letters and marks that nothing is seen of: fillers of Hangul, joiners, selectors of variants.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def composed_name(text: str) -> str:
    """A name in Unicode's composed form (NFC), in which it is the same whatever system wrote it."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_plain_name(text: str, longest: int) -> bool:
    """True for a word of letters of any script, the digits 0 to 9, `.`, `_` and `-`.

    It is composed, begins with a letter or a digit, has at most `longest` signs, and is no name of a device
    of Windows.
    """
    if not 0 < len(text) <= longest or _RESERVED.match(text) or text != composed_name(text):
        return False
    if not (_is_letter(text[0]) or text[0] in "0123456789"):
        return False
    of_word = all(_is_letter(sign) or sign in "0123456789._-" or _is_mark(sign) for sign in text)
    return of_word and not _UNSEEN.search(text) and len(text.encode()) <= MOST_BYTES


def meant_file(path: Path, endings: Sequence[str] = ()) -> str:
    """`; did you mean 'base.yaml'?` for a file that is not there, by those beside it; "" if none is close.

    Only those with one of the `endings`, by default that of the path.
    """
    endings = endings or (path.suffix,)
    try:
        beside = list(islice(path.parent.iterdir(), _MOST_BESIDE))
    except (OSError, ValueError):
        return ""
    return meant(path.name, [each.name for each in beside if each.suffix in endings])


def _is_letter(sign: str) -> bool:
    return unicodedata.category(sign).startswith("L")


def _is_mark(sign: str) -> bool:
    """True for a part of a letter, such as a vowel of Thai."""
    return unicodedata.category(sign) in ("Mn", "Mc")
