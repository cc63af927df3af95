"""Merge configs: a file over its base, and the KEY=VALUE arguments of the command line over a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.config.dumping import as_argument, in_one_line
from dlrun.config.keys import SWEEP_KEY, Choice, default_of, key_types
from dlrun.config.option_values import accepts
from dlrun.config.registry import REQUIRED, Parts
from dlrun.config.strict_yaml import Located, Place, parse
from dlrun.errors import UserError, in_words, shortened

_PART = 1  # the depth of a part's name in a config: a text further inside is the value of an option
_LONGEST_QUOTED = 200  # characters of a value
_PARTED = "a shell ends a word at a space, so that the value is cut off"
COMMAND_LINE = Place("on the command line")


def _merge(below: Located, above: Located) -> Located:
    """Merge a key of a config option by option, `above` overriding `below`.

    Another part replaces a part with all its options. The value of an option is replaced as a whole, though
    it is a mapping, such as one of weights of classes.
    """
    if isinstance(below.value, dict) and isinstance(above.value, str) and "name" in below.value:
        above = expanded(above)
    if isinstance(below.value, str) and isinstance(above.value, dict):
        below = expanded(below)
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    names = [tree.value["name"].value for tree in (below, above) if "name" in tree.value]
    if len(names) == 2 and str(names[0]).lower() != str(names[1]).lower():
        return above
    return Located(below.value | above.value, above.place, above.key_place)


def inherit(below: dict[str, Located], above: dict[str, Located]) -> dict[str, Located]:
    """The keys of two configs, `above` overriding `below`."""
    both = {key: _merge(below[key], item) if key in below else item for key, item in above.items()}
    return below | both


def expanded(name: Located) -> Located:
    """Turn the bare name of a part into the mapping {name: …} that it stands for."""
    return Located({"name": name}, name.place, name.key_place)


def written(key: str, value: Any, place: Place) -> str:
    """A key with its value as `place` has them: `loss: mse` in a file, `loss=mse` on the command line."""
    return as_argument(key, value) if place == COMMAND_LINE else f"{key}: {in_one_line(value)}"


def override(
    tree: Located, overrides: Sequence[str], parts: Parts, places: Mapping[str, Place] | None = None
) -> tuple[Located, list[str]]:
    """Set each KEY=VALUE of the command line in `tree`: KEY is a dotted path, VALUE is YAML.

    The second value says which options of a file are left out because another part does not have them.
    `places` are as for `load_config`.
    """
    notes = list[str]()
    for index, text in enumerate(overrides):
        key, _, written = text.partition("=")
        source = COMMAND_LINE.source
        if key.split(".")[0] == SWEEP_KEY:
            fix = "write the values themselves: dlrun sweep CONFIG optimizer.lr=1e-4,1e-3"
            raise UserError(
                f"{SWEEP_KEY}: is allowed only in a config file",
                where=f"{source}: {shortened(text)}",
                fix=fix,
            )
        refuse_form(overrides, index)
        shown = shortened(key)
        path = key.split(".")
        if is_claim := path[0] == "expect" and len(path) > 1:
            path = ["expect", ".".join(path[1:])]  # the dot in best.COLUMN is part of the column's name
        if is_claim and not written.startswith(("'", '"')):
            value = located(written, Place(source))  # YAML would take its > for a folded block
        else:
            try:
                value = parse(written, source, has_lines=False)
            except UserError as error:
                where = f"{source}: {shortened(text)}"
                if whole := _parted_by_a_shell(overrides, index):
                    raise UserError(_PARTED, where=where, fix=f"write {whole}") from None
                raise UserError(error.what, where=where, fix=error.fix) from None
        if places and key in places:
            value = located(value.plain(), places[key])
        if path[1:] in ([], ["name"]) and key_types().get(path[0]) is Choice and isinstance(value.value, str):
            new, path = shortened(value.value), path[:1]
            value, left_out = _other_part(path[0], tree.value.get(path[0]), value, parts)
            if left_out:
                are = "is" if len(left_out) == 1 else "are"
                notes.append(f"{shown}={new}: {in_words(left_out)} of the config {are} left out")
        tree = _put(tree, path, value)
    return tree, notes


def refuse_form(words: Sequence[str], index: int, form: str = "KEY=VALUE", fix: str = "") -> None:
    """Raise UserError unless the word at `index` is a key and its value; `fix` if it is not clear."""
    word, following = words[index], words[index + 1 : index + 2]
    key, equals, value = word.partition("=")
    bare = key.lstrip("+~").rstrip(":")
    said, where = shortened(word), COMMAND_LINE.source
    if key.startswith("~"):
        fix = f"write {bare}=null for its default" if _may_be_null(bare) else "delete it in the file"
        raise UserError(f"{said!r}: a key cannot be taken away on the command line", where=where, fix=fix)
    if key.startswith("+") and bare:
        fix = f"write {bare}={value}" if equals else f"write {bare}=VALUE"
        raise UserError(f"{said!r}: a key needs no + in front of it", where=where, fix=shortened(fix))
    beside = next((each for each in following if each != "=" and "=" not in each), "")
    beside = beside or next(iter(words[index + 2 : index + 3]), "") if following == ["="] else beside
    if equals and key and not value.strip():
        null = f"write {shortened(key)}=null for none" if _may_be_null(key) else "write it behind the ="
        fix = f"write {shortened(f'{key}={beside}')}, without a space" if beside else null
        raise UserError(f"{shortened(key)} is given no value", where=where, fix=fix)
    if not equals or not key:
        name, _, inside = word.partition(":")
        begun = next((n for n in range(index - 1, -1, -1) if "=" in words[n]), index)
        if begun < index and (whole := _parted_by_a_shell(words, begun)):
            raise UserError(_PARTED, where=f"{where}: {shortened(words[begun])}", fix=f"write {whole}")
        if name.split(".")[0] in key_types():
            meant = inside.strip() or beside or "VALUE"
            fix = f"write {shortened(f'{name}={meant}')}"
        raise UserError(f"{said!r} is not of the form {form}", where=where, fix=fix)


def _parted_by_a_shell(words: Sequence[str], index: int) -> str:
    """The whole KEY=VALUE, as one word, of which a shell has made several; "" if it has not."""
    key, _, opened = words[index].partition("=")
    if not opened.startswith(("[", "{", "(")):
        return ""
    closing = {"[": "]", "{": "}", "(": ")"}[opened[0]]
    end = next((n for n in range(index + 1, len(words)) if words[n].endswith(closing)), index)
    whole = " ".join([opened, *words[index + 1 : end + 1]])
    if end == index or opened.endswith(closing) or len(whole) > _LONGEST_QUOTED:
        return ""
    try:
        value = parse(f"[{whole[1:-1]}]" if closing == ")" else whole, "", has_lines=False).plain()
    except UserError:
        return ""
    return as_argument(key, value)


def _may_be_null(key: str) -> bool:
    """True for a top-level key that has a default, which null stands for."""
    return key in key_types() and default_of(key) is not REQUIRED


def _other_part(kind: str, old: Located | None, name: Located, parts: Parts) -> tuple[Located, list[str]]:
    """Another part with those options of the old one that it has too, and the names of those left out.

    Options given on the command line all stay, for they are meant for this part.
    """
    known = parts.canonical(kind, name.value)
    if old is None or not isinstance(old.value, dict) or known not in parts.names(kind):
        return name, []
    new, before = parts.part(kind, known), old.at(("name",)).value
    options = new.options | new.common
    earlier = parts.canonical(kind, before) if isinstance(before, str) else ""
    defaults = parts.part(kind, earlier).defaults if earlier in parts.names(kind) else {}
    kept, left_out = {"name": name}, list[str]()
    for key, value in old.value.items():
        fits = key in options and accepts(options[key].type, value.plain())
        if key != "name" and (fits or earlier == known or value.place == COMMAND_LINE):
            kept[key] = value
        elif key != "name" and (key not in defaults or value.plain() != defaults[key]):
            left_out.append(key)
    return Located(kept, name.place, name.key_place) if len(kept) > 1 else name, left_out


def _put(tree: Located, path: Sequence[str], value: Located, depth: int = 0) -> Located:
    if not path:
        return value
    if isinstance(tree.value, str) and depth == _PART:
        tree = expanded(tree)
    entries = dict(tree.value) if isinstance(tree.value, dict) else {}
    here = entries.get(path[0])
    old_name = here.value.get("name") if here and isinstance(here.value, dict) else None
    if list(path[1:]) == ["name"] and old_name and old_name.value != value.value:
        here = None  # another part: drop the options of the old one
    entries[path[0]] = _put(here or Located({}, value.place, value.place), path[1:], value, depth + 1)
    return Located(entries, tree.place, tree.key_place)


def located(plain: Any, place: Place) -> Located:
    if isinstance(plain, dict):
        plain = {key: located(item, place) for key, item in plain.items()}
    elif isinstance(plain, list | tuple):
        plain = [located(item, place) for item in plain]
    return Located(plain, place, place)
