"""Where the data is that a config names: a file or folder is looked for in the few places a person means."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dlrun.config.keys import Choice, Config
from dlrun.config.merging import COMMAND_LINE
from dlrun.config.registry import Parts
from dlrun.errors import UserError, shortened
from dlrun.system.files import with_home

_OPTION = "path"  # of a dataset, its own or one of dlrun's


def data_places(text: str, data_dir: Path, beside: Path | None = None) -> list[Path]:
    """The places of a file or folder: where you are, `beside` the config, in the data folder.

    An absolute path, or one that begins with `~`, is its own only place.
    """
    path = Path(with_home(text))
    return [path, *([beside / path] if beside else []), data_dir / path][: 1 if path.is_absolute() else None]


def found_at(places: Sequence[Path]) -> list[Path]:
    """Those of the places where there is something, each file or folder once, by whatever ways it is reached.

    Raises OSError for a name that no file can have.
    """
    found = list[Path]()
    for place in places:
        if place.exists() and not any(place.samefile(other) for other in found):
            found.append(place)
    return found


def with_data_found(config: Config, parts: Parts, data_dir: Path, *, is_needed: bool) -> Config:
    """The config with the `path` of its dataset as an absolute one, which means the same from everywhere.

    It is looked for beside the file in which it stands. A word of the command line is not: there a path is
    relative to where one is, as in every command. A dataset of dlrun's `is_needed`, unless a checkpoint
    remembers enough of it; what the `path` of one's own is when nothing is there, it knows by itself.
    Raises UserError where different files or folders are found: of what a run wrote down before it wrote
    absolute paths, the first one counts, as it did, and its fingerprint says whether it is the right one.
    """
    choice = config.dataset
    text = choice.options.get(_OPTION)
    if not isinstance(text, str) or not text:
        return config
    place = config.tree.at(("dataset", _OPTION)).place
    places = data_places(text, data_dir, Path(place.source).parent if place.line else None)
    try:
        found = found_at(places)
    except (OSError, ValueError):
        return config  # the dataset says what is wrong with the name
    home = Path(place.source).parent  # of a run, maybe
    is_of_run = not is_needed or (place.line > 0 and (home / "checkpoints").is_dir())
    if len(found) > 1 and not is_of_run:
        which = " or ".join(str(_plainly(each)) for each in found)
        fix = f"write the whole path of the one that is meant, such as dataset.path={_plainly(found[0])}"
        raise UserError(f"{shortened(text)} could be {which}", fix=fix)
    if not found and is_needed and parts.part("dataset", choice.name).built_in:
        beside = Path(config.tree.place.source).parent / text
        fix = "say where it is with dataset.path=…"
        if place == COMMAND_LINE and beside.exists():
            fix = f"a path on the command line is relative to where you are: dataset.path={beside}"
        raise UserError(f"there is no file or folder {_listed(places)}", fix=fix)
    if not found or not (absolute := _writable(found[0])):
        return config
    return replace(config, dataset=Choice(choice.name, choice.options | {_OPTION: absolute}))


def _listed(places: Sequence[Path]) -> str:
    """The places as a person enumerates them, each once."""
    *others, last = dict.fromkeys(str(_plainly(place)) for place in places)
    return f"{', '.join(others)} or {last}" if others else last


def _plainly(path: Path) -> Path:
    """An absolute path without `..`, unless a link on the way gives that another meaning."""
    absolute = path.absolute()
    plain = Path(os.path.normpath(absolute))
    if not absolute.exists() or (plain.exists() and plain.samefile(absolute)):
        return plain
    return absolute


def _writable(path: Path) -> str:
    """A path as a config may hold it, absolute where its name is text; "" where it is none at all."""
    plain = _plainly(path)
    for text in (str(plain), os.path.relpath(plain)):
        try:
            text.encode()
        except UnicodeEncodeError:
            continue
        return text
    return ""
