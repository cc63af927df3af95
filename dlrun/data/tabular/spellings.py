"""Categories and classes whose names differ in case or spaces alone, and are one to a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dlrun.errors import first_few, shortened

_MOST_SPELLINGS, _MOST_NAMES = 3, 2  # of a name, and names of a column, that are said
_SHORTEST = 2  # letters: `a` and `A` may be two letters


def said_alike(names_of: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each column that has several spellings of a name; `names_of` has each column's names."""
    said = []
    for column, names in names_of.items():
        if several := list(_spellings(names)):
            of_each = [
                first_few([f"'{shortened(name)}'" for name in one], _MOST_SPELLINGS) for one in several
            ]
            what = first_few(of_each, _MOST_NAMES, joint="; ")
            said.append(f"{column}: {what} differ in case or spaces alone; write them alike if they are one")
    return said


def _spellings(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the spellings of each name that has several."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault("".join(name.split()).casefold(), []).append(name)
    return (each for key, each in found.items() if len(each) > 1 and len(key) >= _SHORTEST)
