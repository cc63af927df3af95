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
AT_PATHS = (*(f"dataset.{option}" for option in PATHS), WEIGHTS, TEACHER_KEY)


@dataclass(frozen=True)
class SweepBase:
    """A config, unchecked, for its parts may be swept, and the KEY=VALUE arguments that all runs have."""

    content: dict[str, Any]
    words: list[str]  # in `content`; applied again, for another part drops them

    def located(self, planned: Sequence[Config]) -> SweepBase:
        """The base with the paths and the claims of the configs that were planned in it.

        A path is taken of a config that has the same part as the base, else of any that has one.
        """
        content, words = dict(self.content), list(self.words)
        for key in AT_PATHS:
            kind, _, option = key.partition(".")
            part = content.get(kind)
            if not isinstance(part, dict) or part.get(option) is None:
                continue
            chosen = [
                each for each in (getattr(config, kind) for config in planned) if each.options.get(option)
            ]
            alike = [each for each in chosen if each.name == part.get("name")]
            for each in (alike or chosen)[:1]:
                content[kind] = part | {option: each.options[option]}
                given = override_words({key: each.options[option]})
                words = [word for old in words for word in (given if old.startswith(f"{key}=") else [old])]
        if planned[0].not_judged:
            content["not_judged"] = planned[0].not_judged
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
