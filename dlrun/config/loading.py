"""Load a config: a file, the files it inherits from and KEY=VALUE arguments become one checked Config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dlrun.config.checking import check_config
from dlrun.config.judging import with_inherited_claims
from dlrun.config.keys import OF_EARLIER_RUNS, SWEEP_KEY, Config
from dlrun.config.lookup import find_config
from dlrun.config.merging import inherit, located, override
from dlrun.config.registry import Parts
from dlrun.config.strict_yaml import DEEPEST, MOST_VALUES, Located, Place, no_mapping, read_file
from dlrun.errors import UserError
from dlrun.system.pipes import folder_beside, name_of


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    parts: Parts | None = None,
    places: Mapping[str, Place] | None = None,
) -> Config:
    """Load the config file at `path` with KEY=VALUE `overrides`; its key `sweep` is left out.

    `places` maps overridden keys to the places of their values, if these are not on the command line.
    Raises ConfigError with every mistake, UserError if the file cannot be read at all.
    """
    parts = parts or Parts()
    tree, notes = _read(path, overrides, parts, places)
    tree.value.pop(SWEEP_KEY, None)
    config = check_config(tree, parts, notes)
    return with_inherited_claims(config, overrides, partial(load_config, parts=parts))


def load_run_config(path: Path, overrides: Sequence[str] = (), parts: Parts | None = None) -> Config:
    """Load the config.yaml of a run with KEY=VALUE `overrides`.

    A key that an earlier dlrun did not know means what that dlrun did. Raises as `load_config` does.
    """
    parts = parts or Parts()
    tree, notes = _read(path, overrides, parts)
    tree.value.pop(SWEEP_KEY, None)
    return check_config(_of_run(tree, parts), parts, notes)


def _of_run(tree: Located, parts: Parts) -> Located:
    """The tree of a run's config, with what an earlier dlrun did where it lacks a key."""
    if not isinstance(tree.value, dict):
        return tree
    # A loss of whole batches was always evaluated at the batch size of training, as `auto` does.
    if not _judges_batches(tree, parts):
        for key, value in OF_EARLIER_RUNS.items():
            tree.value.setdefault(key, Located(value, tree.place, tree.place))
    dataset = tree.value.get("dataset")
    name = tree.at(("dataset", "name")).value
    if dataset and isinstance(name, str) and name in parts.names("dataset"):
        earlier = parts.part("dataset", name).constants.get("of_earlier_runs", {})
        for option, value in earlier.items():
            dataset.value.setdefault(option, located(value, dataset.place))
    return tree


def _judges_batches(tree: Located, parts: Parts) -> bool:
    """True if the loss of a config judges a batch as a whole."""
    name = tree.at(("loss", "name")).value or tree.at(("loss",)).value
    known = isinstance(name, str) and name in parts.names("loss")
    return known and parts.part("loss", name).constants.get("batchwise") is True


def read_config(path: Path, overrides: Sequence[str] = (), parts: Parts | None = None) -> Located:
    """Read the file at `path` and its bases, with KEY=VALUE `overrides`, as an unchecked tree.

    Raises UserError if a file cannot be read.
    """
    return _read(path, overrides, parts or Parts())[0]


def _read(
    path: Path, overrides: Sequence[str], parts: Parts, places: Mapping[str, Place] | None = None
) -> tuple[Located, list[str]]:
    """The tree of `read_config`, and notes about what the overrides leave out of the file."""
    tree = _with_base(path, seen=())
    is_empty, file_epochs = not tree.value, tree.at(("epochs",)).value
    tree, notes = override(tree, overrides, parts, places)
    if is_empty and "dataset" not in tree.value:
        fix = "write one to begin with: dlrun init, or for your own data dlrun init my.csv"
        raise UserError("the config is empty", where=str(path), fix=fix)
    epochs = tree.at(("epochs",)).value
    both = type(file_epochs) is type(epochs) is int
    if _is_unset(tree, "expect_epochs") and both and epochs < file_epochs:
        tree.value["expect_epochs"] = Located(file_epochs, tree.place, tree.place)
    named = name_of(path)
    if _is_unset(tree, "name"):
        tree.value["name"] = Located(named, tree.place, tree.place)
    return tree, notes


def config_from_plain(
    plain: Any,
    source: str,
    overrides: Sequence[str] = (),
    parts: Parts | None = None,
    *,
    is_of_run: bool = False,
) -> Config:
    """The config from plain values, which `source` names in messages; `is_of_run` if a checkpoint has them.

    A key that an earlier dlrun did not know then means what that dlrun did.
    """
    _refuse_what_no_file_could_hold(plain, source)
    tree, parts = located(plain, Place(source)), parts or Parts()
    tree, notes = override(_of_run(tree, parts) if is_of_run else tree, overrides, parts)
    return check_config(tree, parts, notes)


def _with_base(path: Path, seen: tuple[Path, ...]) -> Located:
    tree = read_file(path)
    if not isinstance(tree.value, dict):
        raise no_mapping(tree)
    if "base" not in tree.value:
        return tree
    base = tree.value.pop("base")
    if not isinstance(base.value, str):
        raise UserError("base must name another config", where=str(base.place))
    if path.resolve() in seen or len(seen) > 20:
        raise UserError("this config is its own base", where=str(base.place))
    try:
        found = find_config(base.value, beside=folder_beside(path))
    except UserError as error:
        raise UserError(error.inline, where=str(base.place)) from None
    below = _with_base(found, (*seen, path.resolve()))
    below.value.pop("name", None)  # `name` is not inherited
    return Located(inherit(below.value, tree.value), tree.place, tree.key_place)


def _is_unset(tree: Located, key: str) -> bool:
    """True if a key is missing or null, so that its default applies."""
    return key not in tree.value or tree.value[key].value is None


def _refuse_what_no_file_could_hold(plain: Any, source: str) -> None:
    """Raise UserError for more values than a config file can hold, and for keys that are not strings."""
    values, pending = 0, [(plain, 0)]
    while pending:
        value, depth = pending.pop()
        values += 1
        if values > 2 * MOST_VALUES or depth > 2 * DEEPEST:
            raise UserError("the config is nested too deeply or holds too many values", where=source)
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise UserError("a key of the config is not a string", where=source)
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            pending += [(item, depth + 1) for item in value]
