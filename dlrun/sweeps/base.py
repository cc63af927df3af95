"""The base of a sweep: the config in which its values are set. It is kept, so that the sweep can grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlrun.config.data_paths import PATHS
from dlrun.config.dumping import dump
from dlrun.config.keys import SWEEP_KEY, TEACHER_KEY, WEIGHTS, Config
from dlrun.config.loading import read_config
from dlrun.config.registry import Parts
from dlrun.run_folders.sweep_folder import BASE, Sweep
from dlrun.sweeps.grid import swept_keys
from dlrun.sweeps.values import override_words, parts_first
from dlrun.system.files import write_atomically

# Keys at which a path may stand that is relative to the working directory, or to the config file.
_AT_PATHS = (*(f"dataset.{option}" for option in PATHS), WEIGHTS, TEACHER_KEY)


@dataclass(frozen=True)
class SweepBase:
    """A config, unchecked, for its parts may be swept, and the KEY=VALUE arguments that all runs have."""

    content: dict[str, Any]
    words: list[str]  # in `content`; applied again, for another part drops them

    def located(self, config: Config) -> SweepBase:
        """The base with the paths and the claims of a config that was planned in it."""
        content, words = dict(self.content), list(self.words)
        for key in _AT_PATHS:
            kind, _, option = key.partition(".")
            part, found = content.get(kind), getattr(config, kind).options.get(option)
            if found is None or not isinstance(part, dict) or part.get(option) is None:
                continue
            if part.get("name") == getattr(config, kind).name:
                content[kind] = part | {option: found}
                given = override_words({key: found})
                words = [word for old in words for word in (given if old.startswith(f"{key}=") else [old])]
        if config.not_judged:
            content["not_judged"] = config.not_judged
        return replace(self, content=content, words=words)

    def keep(self, sweep: Sweep) -> None:
        """Write it into a sweep's folder. The caller writes sweep.json."""
        text = dump(self.content).encode()
        write_atomically(sweep.folder / BASE, lambda file: file.write(text))
        sweep.content["words"] = self.words


def base_of_grid(path: Path, given: Sequence[str], parts: Parts, *, is_zipped: bool = False) -> SweepBase:
    """The base of a sweep of the config at `path`; the arguments are those of `settings_of_grid`."""
    _, plain = swept_keys(path, given, None, parts, is_zipped=is_zipped)
    words = [word for word in plain if not word.startswith("seeds=")]
    content = read_config(path, parts_first(words), parts).plain()
    content.pop(SWEEP_KEY, None)
    return SweepBase(content, words)
