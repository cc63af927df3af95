"""Paths of data in a config: `dataset.path` is looked up in the few folders that it may be relative to."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import replace
from glob import has_magic, iglob
from pathlib import Path

from dlrun.config.keys import Choice, Config
from dlrun.config.merging import COMMAND_LINE
from dlrun.config.registry import Parts
from dlrun.errors import UserError, shortened
from dlrun.system.file_names import meant_file
from dlrun.system.files import with_home

PATHS = ("path", "test_path", "valid_path")  # of a dataset, of dlrun or of the user


def data_places(text: str, data_dir: Path, beside: Path | None = None) -> list[Path]:
    """The candidates for a relative path: in the current folder, `beside` the config, in the data folder.

    An absolute path, or one that begins with `~`, is the only candidate.
    """
    path = Path(with_home(text))
    return [path, *([beside / path] if beside else []), data_dir / path][: 1 if path.is_absolute() else None]


def found_at(places: Sequence[Path]) -> list[Path]:
    """The places that exist, or are a pattern that matches something; each once, by whatever path.

    Raises OSError for an invalid path.
    """
    found = list[Path]()
    for place in places:
        if _is_there(place) and not any(_are_same(place, other) for other in found):
            found.append(place)
    return found


def _are_same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.absolute() == other.absolute()


def _is_there(place: Path) -> bool:
    """True for a file or folder, and for a pattern such as `data/*.csv` that matches one."""
    if place.exists() or not has_magic(str(place)):
        return place.exists()
    return next(iglob(str(place), recursive=True), None) is not None  # noqa: PTH207, it takes absolute ones


def file_at(text: str, data_dir: Path) -> Path:
    """The file at a path: absolute, or relative to the working directory or else to the data folder.

    If there is none, it is the first place where one could be. Raises UserError for an invalid path.
    """
    places = data_places(text, data_dir)
    try:
        found = found_at(places)
    except OSError as error:
        raise UserError(f"there is no file {text[:100]}: {error.strerror}") from None
    return [*found, *places][0]


def with_data_found(
    config: Config, parts: Parts, data_dir: Path, *, is_needed: bool, is_of_checkpoint: bool = False
) -> Config:
    """The config with the paths of its dataset made absolute, so that it holds in any current folder.

    A path in a file is also looked for beside that file; one on the command line is not, it is relative to
    the current folder. `is_needed` is False if a checkpoint holds all that is needed of the data. A missing
    path of a user's dataset is left to the dataset. Raises UserError if several different files or folders
    are found, except for the config of a run or a checkpoint: an older run wrote relative paths and took the
    first one, and the fingerprint of the data tells whether that is still right. By the same token data that
    a run recorded, and that are gone, are looked for by their name (see `moved_data`).
    """
    for option in PATHS:
        if absolute := _found(option, config, parts, data_dir, is_needed, is_of_checkpoint):
            choice = config.dataset
            config = replace(config, dataset=Choice(choice.name, choice.options | {option: absolute}))
    return config


def say_where(option: str = "path") -> str:
    """The remedy for data that are missing."""
    return f"say where it is with dataset.{option}=…"


def moved_data(config: Config) -> str:
    """A sentence on data that a run recorded at a place where they no longer are; "" if all are there.

    `config` is that of `with_data_found`, which has found them by their name.
    """
    for option in PATHS:
        recorded, found = config.tree.at(("dataset", option)).value, config.dataset.options.get(option)
        if not isinstance(recorded, str) or not isinstance(found, str) or not Path(recorded).is_absolute():
            continue
        if Path(recorded).name == Path(found).name and not Path(recorded).exists() and Path(found).exists():
            return f"the data are no longer at {recorded}; taken from {found}"
    return ""


def _found(
    option: str, config: Config, parts: Parts, data_dir: Path, is_needed: bool, is_of_checkpoint: bool
) -> str:
    """The absolute path that an option of the dataset names; "" if it names none, or none that is there."""
    choice = config.dataset
    text = choice.options.get(option)
    if not isinstance(text, str) or not text:
        return ""
    place = config.tree.at(("dataset", option)).place
    places = data_places(text, data_dir, Path(place.source).parent if place.line else None)
    home = Path(place.source).parent  # of a run, maybe
    is_of_run = place.line > 0 and (home / "checkpoints").is_dir()
    if is_of_checkpoint:
        home, is_of_run = home.parent if home.name == "checkpoints" else home, True
    if is_of_run and place != COMMAND_LINE and Path(text).is_absolute() and not has_magic(text):
        places += [folder / Path(text).name for folder in (home.parent, Path(), data_dir)]
    try:
        found = found_at(places)
    except (OSError, ValueError):
        return ""  # the dataset says what is wrong with the name
    if len(found) > 1 and not is_of_run:
        which = " or ".join(str(_plainly(each)) for each in found)
        fix = f"write the whole path of the one that is meant, such as dataset.{option}={_plainly(found[0])}"
        raise UserError(f"{shortened(text)} could be {which}", fix=fix)
    if not found and is_needed and parts.part("dataset", choice.name).built_in:
        beside = Path(config.tree.place.source).parent / text
        fix = say_where(option)
        if place == COMMAND_LINE and beside.exists():
            fix = f"a path on the command line is relative to where you are: dataset.{option}={beside}"
        close = "" if has_magic(text) else next(filter(None, map(meant_file, places)), "")
        raise UserError(f"there is no file or folder {_listed(places)}{close}", fix=fix)
    return writable(found[0]) if found else ""


def _listed(places: Sequence[Path]) -> str:
    """The places as a list in words, each once: `a, b or c`."""
    *others, last = dict.fromkeys(str(_plainly(place)) for place in places)
    return f"{', '.join(others)} or {last}" if others else last


def _plainly(path: Path) -> Path:
    """The absolute path without `..`, unless a link in it would change the meaning."""
    absolute = path.absolute()
    plain = Path(os.path.normpath(absolute))
    if not absolute.exists() or (plain.exists() and plain.samefile(absolute)):
        return plain
    return absolute


def writable(path: Path) -> str:
    """The path as text for a config: absolute, or relative if only that is valid UTF-8; "" if neither is."""
    plain = _plainly(path)
    for text in (str(plain), os.path.relpath(plain)):
        try:
            text.encode()
        except UnicodeEncodeError:
            continue
        return text
    return ""
