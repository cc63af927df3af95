"""Values of Python as configs have them: plain ones, and KEY=VALUE texts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.errors import UserError

NAME = "run"  # of the runs of a config that is a dict and has no name


def plain_config(value: Any) -> Any:
    """A config, or a value in it, with numbers and lists of Python for those of numpy, texts for paths."""
    if isinstance(value, Mapping):
        return {str(key): plain_config(own) for key, own in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # an array or a number of numpy
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain_config(own) for own in value]
    return value


def words_of(overrides: Sequence[str], **options: Any) -> list[str]:
    """KEY=VALUE texts, followed by those that arguments stand for; `seeds` is a number of them or their list.

    Raises UserError for an override that is no text, and for seeds that are neither.
    """
    if wrong := next((each for each in overrides if not isinstance(each, str)), None):
        what = f"{wrong!r} is no KEY=VALUE text"
        raise UserError(what, fix='write each as a text, such as "epochs=5"')
    given = {key: plain_config(own) for key, own in options.items() if own is not None}
    if (seeds := seeds_of(given.get("seeds"))) is not None:
        given["seeds"] = seeds
    return [*overrides, *(f"{key}={json.dumps(own, ensure_ascii=False)}" for key, own in given.items())]


def seeds_of(seeds: Any) -> list[int] | None:
    """The seeds that a number of them or a list stands for. Raises UserError for anything else."""
    seeds = plain_config(seeds)
    if seeds is None or (isinstance(seeds, list) and seeds and all(type(each) is int for each in seeds)):
        return seeds
    if type(seeds) is int and seeds > 0:
        return list(range(seeds))
    raise UserError(f"seeds is a number of them or a list, not {seeds!r}")


def refuse_no_count(**counts: int | None) -> None:
    """Raise UserError for an argument that is no whole number above 0."""
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            raise UserError(f"{name} is a whole number >= 1, not {count!r}")
