"""The commands that a report prints, with the folder of own parts where a run needs one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlrun.config.keys import AUTO
from dlrun.config.registry import FOLDERS, Parts
from dlrun.errors import UserError
from dlrun.run_folders.records import Record
from dlrun.system.processes import quoted


@dataclass(frozen=True)
class Commands:
    """Commands for runs; with `has_own_parts` they need a folder of these, which may be unknown (None)."""

    has_own_parts: bool = False
    folder: Path | None = None

    def text(self, *words: str) -> str:
        """A command as a line of a shell."""
        folder = ["--parts", str(self.folder)] if self.has_own_parts and self.folder else []
        return quoted([*words, *folder])

    @property
    def remark(self) -> str:
        """A sentence on what the commands lack; "" if that is nothing."""
        if self.folder or not self.has_own_parts:
            return ""
        return "They need parts that are not of dlrun: with --parts and the folder of your own parts."


def commands_for(records: Iterable[Record], parts: Parts, folder: Path | None) -> Commands:
    """The commands for some runs; `folder` is that of own parts as it was named."""
    named = {each for record in records for each in _named_parts(record.config)}
    return Commands(any(_is_own(*each, parts) for each in named), folder)


def _is_own(kind: str, name: str, parts: Parts) -> bool:
    """True if a part is not dlrun's, or if one in the folder of own parts stands in for dlrun's."""
    try:
        return not parts.part(kind, name).built_in
    except UserError:  # it is not there, or its file cannot be read
        return True


def _named_parts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the kind and the name of each part in a flat config."""
    for kind in FOLDERS:
        value = config.get(f"{kind}.name") or config.get(kind)
        for each in value if isinstance(value, list) else [value]:
            name = each.get("name") if isinstance(each, dict) else each
            if isinstance(name, str) and (kind, name) != ("plots", AUTO):
                yield kind, name
