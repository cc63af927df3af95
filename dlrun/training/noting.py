"""Mistakes of a config that are found while its parts are tried, noted so that all are raised together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dlrun.config.keys import Choice, Config
from dlrun.config.merging import written
from dlrun.config.mistakes import Mistake
from dlrun.config.registry import FOLDERS, Parts
from dlrun.config.strict_yaml import Place
from dlrun.errors import UserError, note_part, own_place


class Noting:
    """The mistakes of a config, each with its key, and with the user's file if it is of a part in one."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self.config, self.parts = config, parts
        self.mistakes: list[Mistake] = []

    @contextmanager
    def __call__(self, key: str, name: str = "") -> Iterator[None]:
        """Note a UserError that is raised inside as a mistake at `key`, and go on.

        `name` is the part that is tried; that of a key with a single part is known. Any other exception is
        raised, and carries the place of the part if it is the user's.
        """
        try:
            yield
        except UserError as error:
            if place := self._own_part(key, name):
                error.where = error.where or own_place(error) or place
            named = self._option_with(key, error.value) if error.value else key
            fix = error.fix
            if error.instead:
                other, value = error.instead
                line, as_there = (written(other, value, each) for each in (Place(""), self._place(key)))
                fix = fix.replace(line, as_there)
            self.mistakes.append(self.config.mistake(named, error.what, fix, error.where))
        except Exception as error:
            if place := self._own_part(key, name):
                note_part(error, place)
            raise

    def refuse(self) -> None:
        """Raise ConfigError if there is any mistake."""
        if self.mistakes:
            raise self.config.refuse(self.mistakes)

    def _place(self, key: str) -> Place:
        return self.config.tree.at((key,)).place

    def _option_with(self, key: str, value: str) -> str:
        """The key of the option in which a value stands, such as `dataset.target`, or else of the part."""
        options = self.config.tree.at((key,)).value
        for option, item in options.items() if isinstance(options, dict) else ():
            found = item.plain()
            each = (
                found
                if isinstance(found, list)
                else [*found.values()]
                if isinstance(found, dict)
                else [found]
            )
            if option != "name" and value in map(str, each):
                return f"{key}.{option}"
        return key

    def _own_part(self, key: str, name: str) -> str:
        """The place of the part in question if it is in a file of the user's, else ""."""
        chosen = getattr(self.config, key, None)
        name = name or (chosen.name if isinstance(chosen, Choice) else "")
        with suppress(UserError):  # the file cannot be read, and the mistake says so itself
            part = self.parts.part(key, name) if key in FOLDERS else None
            return "" if part is None or part.built_in else part.place
        return ""
