"""The mistakes of a config, each with its place and key, and ConfigError, which raises them together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dlrun.config.strict_yaml import Place
from dlrun.errors import UserError, first_few, one_line

_LIST = re.compile(r" \(there are: [^()]*\)")
_MOST_SAID = 20  # without --debug
_LONGEST_KEY = 120  # characters


@dataclass(frozen=True)
class Mistake:
    """One mistake: its place, its key such as `architecture.hidden[1]`, what is wrong, and the remedy.

    One in another file than the config, such as that of a part, says `where`, and may have the `excerpt` of a
    UserError.
    """

    place: Place
    key: str
    what: str
    fix: str = ""
    where: str = ""
    excerpt: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The mistake in one line: `spiral.yaml:3:5 optimizer.lr: -1 is not a number > 0`."""
        fix = f"; {self.fix}" if self.fix else ""
        where = f" ({self.where})" if self.where else ""
        place = self.place if self.place.line else f"{self.place}:"
        return f"{place} {self.key[:_LONGEST_KEY]}: {self.what}{fix}{where}"


class ConfigError(UserError):
    """All mistakes of a config, a line each, in the order of the file."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{source}: {count}")
        self.mistakes = list(mistakes)

    @property
    def inline(self) -> str:
        """The first mistake, and the number of the others, to be used inside a line."""
        return first_few([str(mistake) for mistake in self.mistakes], 1)

    def __str__(self) -> str:
        return "\n".join([self.what, *_said(self.mistakes)])

    def lines(self, *, debug: bool = False) -> list[str]:
        """A line for each mistake; of many only the first ones, unless `debug` is set."""
        shown = self.mistakes if debug else self.mistakes[:_MOST_SAID]
        left = len(self.mistakes) - len(shown)
        more = [f"  and {left:,} more, which dlrun --debug shows"] if left else []
        return [one_line(line) for line in (f"error: {self.what}", *_said(shown), *more)]


def _said(mistakes: Sequence[Mistake]) -> Iterator[str]:
    """Yield the indented lines of some mistakes, a list of what there is only once."""
    met = set[str]()
    for each in mistakes:
        text = str(each)
        for listed in _LIST.findall(text):
            text = text.replace(listed, "") if listed in met else text
            met.add(listed)
        yield f"  {text}"
        yield from (f"      {line}" for line in each.excerpt)


def key_of(path: Sequence[str | int]) -> str:
    """The key of a path as it is written in messages: `metrics[1].name`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
