"""Merge configs: a file over its base, and the KEY=VALUE arguments of the command line over a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.config.keys import SWEEP_KEY
from dlrun.config.strict_yaml import Located, Place, parse
from dlrun.errors import UserError, shortened

COMMAND_LINE = Place("on the command line:")


def _merge(below: Located, above: Located) -> Located:
    """Merge key by key, `above` overriding `below`; another part replaces a part with all its options."""
    if isinstance(below.value, dict) and isinstance(above.value, str) and "name" in below.value:
        above = expanded(above)
    if isinstance(below.value, str) and isinstance(above.value, dict):
        below = expanded(below)
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    names = [tree.value["name"].value for tree in (below, above) if "name" in tree.value]
    if len(names) == 2 and names[0] != names[1]:
        return above
    return Located(inherit(below.value, above.value), above.place, above.key_place)


def inherit(below: dict[str, Located], above: dict[str, Located]) -> dict[str, Located]:
    both = {key: _merge(below[key], item) if key in below else item for key, item in above.items()}
    return below | both


def expanded(name: Located) -> Located:
    """Turn the bare name of a part into the mapping {name: …} that it stands for."""
    return Located({"name": name}, name.place, name.key_place)


def override(tree: Located, overrides: Sequence[str], places: Mapping[str, Place] | None = None) -> Located:
    """Set each KEY=VALUE of the command line in `tree`: KEY is a dotted path, VALUE is YAML.

    `places` are as for `load_config`.
    """
    for text in overrides:
        key, equals, written = text.partition("=")
        source = COMMAND_LINE.source
        if key.split(".")[0] == SWEEP_KEY:
            fix = "write the values themselves: dlrun sweep CONFIG optimizer.lr=1e-4,1e-3"
            raise UserError(
                f"{SWEEP_KEY}: is allowed only in a config file", where=f"{source} {shortened(text)}", fix=fix
            )
        if not equals or not key:
            raise UserError(f"{shortened(text)!r} is not of the form KEY=VALUE")
        shown = shortened(key)
        if not written.strip():
            raise UserError(f"{shown} is given no value", where=source, fix=f"write {shown}=null for none")
        path = key.split(".")
        if is_claim := path[0] == "expect" and len(path) > 1:
            path = ["expect", ".".join(path[1:])]  # the dot in best.COLUMN is part of the column's name
        if is_claim and not written.startswith(("'", '"')):
            value = located(written, Place(source))  # YAML would take its > for a folded block
        else:
            try:
                value = parse(written, source, has_lines=False)
            except UserError as error:
                raise UserError(error.what, where=f"{source} {shortened(text)}", fix=error.fix) from None
        if places and key in places:
            value = located(value.plain(), places[key])
        tree = _put(tree, path, value)
    return tree


def _put(tree: Located, path: Sequence[str], value: Located) -> Located:
    if not path:
        return value
    if isinstance(tree.value, str):
        tree = expanded(tree)
    entries = dict(tree.value) if isinstance(tree.value, dict) else {}
    here = entries.get(path[0])
    old_name = here.value.get("name") if here and isinstance(here.value, dict) else None
    if list(path[1:]) == ["name"] and old_name and old_name.value != value.value:
        here = None  # another part: drop the options of the old one
    entries[path[0]] = _put(here or Located({}, value.place, value.place), path[1:], value)
    return Located(entries, tree.place, tree.key_place)


def located(plain: Any, place: Place) -> Located:
    if isinstance(plain, dict):
        plain = {key: located(item, place) for key, item in plain.items()}
    elif isinstance(plain, list | tuple):
        plain = [located(item, place) for item in plain]
    return Located(plain, place, place)
