"""Check a config against its keys and the signatures of its parts, and report all mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from dlrun.config.claims import parse_claim
from dlrun.config.dumping import as_argument, in_one_line
from dlrun.config.file_kinds import TABLES
from dlrun.config.keys import AUTO, AVERAGED, NO_AVERAGE, SPLITS, Choice, Config, default_of, key_types
from dlrun.config.merging import COMMAND_LINE, expanded, located, written
from dlrun.config.mistakes import ConfigError, Mistake, key_of
from dlrun.config.option_types import choices_of, describe, takes_list
from dlrun.config.option_values import acceptable, accepts, as_list, checked
from dlrun.config.other_words import NAMES_OF_PART
from dlrun.config.reference import as_shown
from dlrun.config.registry import KINDS, REQUIRED, Option, Part, Parts
from dlrun.config.strict_yaml import Located, Place, no_mapping
from dlrun.config.unknown_keys import Note, name_meant, note_unknown_keys, unknown_option
from dlrun.errors import UserError, listed, nearest, shortened
from dlrun.system.file_names import MOST_BYTES, composed_name, is_plain_name

DEVICE = r"(auto|cpu|cuda(:[0-9]{1,2})?|mps)"  # in lower case
FACTOR = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?x"  # such as 0.1x
_DEVICE, _FACTOR = re.compile(rf"{DEVICE}\Z"), re.compile(rf"{FACTOR}\Z")
_NAMES = ("monitor", "task", "weights", "path")  # texts that name something: 3 in quotes would name nothing
_NOTHING = ("none", "nil")  # words of other languages for null
_LONGEST_LINE = 120  # characters of a remedy
LONGEST_NAME = 64  # letters of a run's name


def check_config(tree: Located, parts: Parts, notes: Sequence[str] = ()) -> Config:
    """Turn a located tree into a Config, with the `notes` of its making.

    Raises ConfigError with every mistake that shows without torch.
    """
    if not isinstance(tree.value, dict):
        raise no_mapping(tree)
    mistakes: list[Mistake] = []

    def note(
        path: tuple[str | int, ...],
        what: str,
        fix: str = "",
        where: str = "",
        *,
        excerpt: Sequence[str] = (),
        at_key: bool = False,
    ) -> None:
        found = tree.at(path)
        place = found.key_place if at_key else found.place
        mistakes.append(Mistake(place, key_of(path), what, fix, where, tuple(excerpt)))

    values: dict[str, Any] = {}
    types = key_types()
    meant = note_unknown_keys(tree, parts, note)
    for key, kind in types.items():
        item = tree.value.get(key)
        if item is None or item.value is None:  # null means the default
            if default_of(key) is REQUIRED:
                if key not in meant:
                    note((key,), f"is missing: {_wanted(key, kind, parts)}{_as_indented(key, tree, parts)}")
                continue
            item = located(default_of(key), tree.place)
        if kind == list[Choice] and isinstance(item.value, str) and item.place == COMMAND_LINE:
            item = located(as_list(item.value) or item.value, item.place) if "," in item.value else item
        if kind is Choice:
            values[key] = _choice(key, (key,), item, parts, note, meant)
        elif key == "groups":
            values[key] = _groups(item, values.get("optimizer"), parts, note)
        elif kind == list[Choice] and isinstance(item.value, list):
            chosen = enumerate(item.value)
            values[key] = [_choice(key, (key, index), each, parts, note) for index, each in chosen]
        elif kind == list[Choice]:
            values[key] = [_choice(key, (key,), item, parts, note)]
        elif get_origin(kind) is dict and isinstance(item.value, dict):  # entry by entry: report all mistakes
            of_each = get_args(kind)[1]
            values[key] = {
                name: _value((key, name), of_each, each, note) for name, each in item.value.items()
            }
        else:
            values[key] = _value((key,), kind, item, note)
    _check_together(values, tree, parts, note)
    if mistakes:
        own = tree.place.source
        ordered = sorted(mistakes, key=lambda m: (m.place.source != own, m.place.line, m.place.column))
        raise ConfigError(own, list(dict.fromkeys(ordered)))
    return Config(**values, tree=tree, notes=tuple(notes))


def _choice(
    kind: str,
    path: tuple[str | int, ...],
    item: Located,
    parts: Parts,
    note: Note,
    meant: Collection[str] = (),
) -> Choice | None:
    """The part that `item` names, its options checked and defaults filled in; None after a mistake.

    Options that were `meant` by other keys, such as `optimizer.lr`, are not said to be missing.
    """
    if isinstance(item.value, str):
        item, named = expanded(item), path
    else:
        named = (*path, "name")
    if not isinstance(item.value, dict):
        note(path, f"{_shown(item)} is not the name of a part{_as_mapping(item)} {listed(parts.names(kind))}")
        return None
    if "name" not in item.value or not isinstance(item.value["name"].value, str):
        note(path, f"the name of the part is missing{_name_meant(kind, item, parts)}")
        return None
    name = parts.canonical(kind, item.value["name"].value)
    if kind == "plots" and name.lower() == AUTO and len(item.value) == 1:
        return Choice(AUTO)
    try:
        part = parts.part(kind, name)
    except UserError as error:
        what = f"{error.what}{_as_path(kind, name, item.place)}"
        note(named, what, error.fix, error.where, excerpt=error.excerpt)
        return None
    given: dict[str, Any] = {}
    known = part.options | part.common
    for key, value in item.value.items():
        if key == "name":
            continue
        if key in known:
            given[key] = _value((*path, key), known[key].type, value, note)
        else:
            said, other = unknown_option(key, value, part, key_of(path), parts)
            note((*path, key), said, at_key=True)
            meant = {*meant, f"{kind}.{other}"}
    missing = [
        option
        for option in part.options.values()
        if option.name not in given and option.is_required and f"{kind}.{option.name}" not in meant
    ]
    for option in missing:
        shown = _with_missing(path, item, part, missing, option)
        what = f"the option {option.name} is missing: {describe(option.type)}{shown}"
        note(path, what, at_key=True)
    complete = {o.name: given.get(o.name, o.default) for o in part.options.values()}
    # Defaults of common options are left out, so that runs of an earlier dlrun have the same settings.
    common = {key: value for key, value in given.items() if key in part.common}
    return Choice(name, complete | {k: v for k, v in common.items() if v != part.common[k].default})


def _with_missing(
    path: tuple[str | int, ...], item: Located, part: Part, missing: Sequence[Option], option: Option
) -> str:
    """A line that has the missing options, with the values of the part's example; "" if that lacks one."""
    shown = as_shown(part)
    if any(each.name not in shown for each in missing):
        return ""
    if item.place == COMMAND_LINE:
        return f", such as {as_argument(f'{part.kind}.{option.name}', shown[option.name])}"
    given = {key: value for key, value in item.plain().items() if key != "name"}
    whole = {"name": part.name} | {each.name: shown[each.name] for each in missing} | given
    key = f"{part.kind}: " if len(path) == 1 else ""
    return f", such as {key}{in_one_line(whole)}" if len(in_one_line(whole)) <= _LONGEST_LINE else ""


def _as_path(kind: str, name: str, place: Place) -> str:
    """The remedy for a file in place of a dataset's name; "" for anything else."""
    if kind != "dataset" or Path(name).suffix.lower() not in TABLES:
        return ""
    table = written("dataset", {"name": "csv", "path": name, "target": "COLUMN"}, place)
    return f"; write {table} for a table"


def _as_indented(key: str, tree: Located, parts: Parts) -> str:
    """The remedy for a key without a value above `name: mlp`, which is then no part but the run's name."""
    name = tree.at(("name",))
    is_below = key in tree.value and name.place.source == tree.at((key,)).key_place.source
    if not is_below or name.value not in (parts.names(key) if key in KINDS else ()):
        return ""
    return f"; indent the lines that belong to {key}, from name: {name.value} on"


def _as_mapping(item: Located) -> str:
    """The remedy for a list where the mapping in it is wanted, or the name; "" for anything else."""
    if isinstance(item.value, list) and len(item.value) == 1 and isinstance(item.value[0].value, str):
        return f"; write {shortened(in_one_line(item.value[0].value))} without the brackets"
    if not isinstance(item.value, list) or not all(isinstance(each.value, dict) for each in item.value):
        return ""
    whole = {key: value for each in item.value for key, value in each.plain().items()}
    if "name" not in whole or len(whole) < sum(len(each.value) for each in item.value):
        return ""
    return f"; write it without the dashes, as {in_one_line(whole)}"


def _name_meant(kind: str, item: Located, parts: Parts) -> str:
    """The remedy for a part whose name stands under another word, such as `type`."""
    for word in NAMES_OF_PART:
        if word in item.value and isinstance(text := item.value[word].value, str):
            name = name_meant(kind, text, parts)
            written = f": write name: {name}" if name else ""
            return f"; dlrun's word for {word} is name{written} {listed(parts.names(kind))}"
    return f" {listed(parts.names(kind))}"


def _groups(item: Located, optimizer: Choice | None, parts: Parts, note: Note) -> list[dict[str, Any]]:
    """The groups of weights: a pattern of names each, and options of the optimizer, which are checked."""
    if not isinstance(item.value, list):
        note(("groups",), f"{_shown(item)} is not a list of groups, such as [{{match: '*.bias', lr: 0.1x}}]")
        return []
    options = parts.part("optimizer", optimizer.name).options if optimizer else {}
    found = []
    for index, group in enumerate(item.value):
        path: tuple[str | int, ...] = ("groups", index)
        if not isinstance(group.value, dict) or not isinstance(group.at(("match",)).value, str):
            note(path, f"{_shown(group)} needs match, a pattern of names such as '*.bias', and options")
            continue
        values: dict[str, Any] = {}
        for key, value in group.value.items():
            is_factor = key == "lr" and isinstance(value.value, str) and bool(_FACTOR.match(value.value))
            if key == "match" or is_factor:
                values[key] = value.value
                rate = optimizer.options.get("lr") if optimizer else None
                if is_factor and optimizer and not isinstance(rate, int | float):
                    why = "whose lr is not a number" if "lr" in options else "which has no option lr"
                    remedy = "; set optimizer.lr, or a number here" if "lr" in options else ""
                    note(
                        (*path, key),
                        f"{value.value} is a factor of the lr of {optimizer.name}, {why}{remedy}",
                    )
            elif key in options:
                values[key] = _value((*path, key), options[key].type, value, note)
            elif optimizer:
                known = nearest(key, {"match": None} | options)
                note((*path, key), f"{optimizer.name} has no such option{known}", at_key=True)
        found.append(values)
    return found


def _value(path: tuple[str | int, ...], kind: Any, item: Located, note: Note) -> Any:
    """The value of one option, validated as type `kind`; None after a mistake, which is noted."""
    plain = item.plain()
    try:
        return checked(kind, plain)
    except ValidationError as error:
        steps = error.errors(include_url=False, include_input=False, include_context=False)[0]["loc"]
    of_words = isinstance(plain, str) and item.place == COMMAND_LINE and takes_list(kind)
    of_words = of_words and ("," in plain or plain in choices_of(kind))
    if of_words and accepts(kind, several := as_list(plain)):
        return several
    deeper: tuple[str | int, ...] = ()
    for step in steps:  # pydantic's steps include names of union members, which are not in the path
        if item.at((*deeper, step)) is not item.at(deeper):
            deeper = (*deeper, step)
    shown = _shown(item.at(deeper))
    note((*path, *deeper), f"{shown} is not {_item_type(kind, bool(deeper))}{_as_accepted(path, kind, item)}")
    return None


def _is_of_before(claim: str, tree: Located) -> bool:
    """True for a claim of before the metrics were changed, which is not judged: of a base, or of the file."""
    own, given = tree.place.source, COMMAND_LINE.source
    claims, metrics = (tree.at(path).place.source for path in (("expect", claim), ("metrics",)))
    return claims != metrics and (metrics == given or claims not in (own, given))


def _as_accepted(path: tuple[str | int, ...], kind: Any, item: Located) -> str:
    """The remedy: the value as the type accepts it, if there is such a form of it."""
    plain = item.plain()
    if isinstance(plain, str) and plain.lower() in _NOTHING and accepts(kind, None):
        return "; write null"
    if path == ("device",):
        return f"; write cuda:{plain}" if type(plain) is int and 0 <= plain < 100 else ""
    if path == ("seeds",) and isinstance(plain, str):  # such as 0..7, which only a sweep takes
        return "; write a list such as [0, 1, 2], or --seeds 3 on the command line"
    meant = acceptable(kind, plain)
    if meant is None or (path[-1] in _NAMES and not isinstance(plain, str)):
        return ""
    text = in_one_line(meant)
    if item.place == COMMAND_LINE and text.startswith('"'):  # of which a shell would take the quotes
        return f"; write {shortened(as_argument(key_of(path), meant))}"
    return f"; write {shortened(text)}{' without quotes' if text == plain else ''}"


def _item_type(kind: Any, is_item: bool) -> str:
    words = describe(kind)
    return f"allowed in {words}" if is_item else words


def _check_together(values: dict[str, Any], tree: Located, parts: Parts, note: Note) -> None:
    """Note mistakes that involve several keys, such as columns that are never measured."""
    name, device = values.get("name"), values.get("device")
    if isinstance(name, str):
        values["name"] = composed_name(name)
        if not is_plain_name(values["name"], LONGEST_NAME):
            allowed = f"letters, digits, '.', '_', '-', at most {LONGEST_NAME} and {MOST_BYTES} bytes"
            joined = "_".join(values["name"].split())
            meant = f"; write {joined}" if is_plain_name(joined, LONGEST_NAME) else ""
            note(("name",), f"{name[:80]!r} cannot name a folder: {allowed}{meant}")
    if isinstance(device, str):
        device = values["device"] = device.lower() if _DEVICE.match(device.lower()) else device
        if not _DEVICE.match(device):
            meant = "; write cuda" if device.lower() == "gpu" else ""
            note(
                ("device",),
                f"{device[:80]!r} is not a device{meant} (there are: auto, cpu, cuda, cuda:N, mps)",
            )
    task = values.get("task")
    if isinstance(task, str):
        task = values["task"] = parts.canonical("task", task)
    if isinstance(task, str) and task not in parts.names("task"):
        known = nearest(task, parts.names("task"))
        note(("task",), f"there is no task/{shortened(task)}.py{known}")
    seeds = values.get("seeds")
    if isinstance(seeds, list) and (not seeds or len(set(seeds)) < len(seeds)):
        note(("seeds",), "needs one or more seeds, each of them once")
    if values.get("batch_size") == "full":
        for key in ("epoch_examples", "drop_last", "sampling"):
            if values.get(key) not in (None, False, "shuffled"):
                note((key,), f"a full batch is the whole training set; leave out {key}, or set batch_size")
    if values.get("drop_last") and type(size := values.get("batch_size")) is int:
        drawn = values.get("epoch_examples")
        if drawn and drawn < size:
            note(("drop_last",), f"nothing is left of {drawn} examples without their only batch")
    metrics = [choice.name for choice in values.get("metrics") or [] if choice]
    for index, metric in enumerate(metrics):
        if metric in metrics[:index]:
            note(("metrics", index), f"{metric} is given a second time")
    trackers = values.get("track") or []
    for index, tracker in enumerate(trackers):
        if tracker in trackers[:index]:
            note(("track", index), f"{tracker} is given a second time")
    columns = [f"{split}_{figure}" for split in SPLITS for figure in ("loss", *metrics)]
    if (average := values.get("average")) and average.name != NO_AVERAGE:
        columns += [f"{column}{AVERAGED}" for column in columns if not column.startswith("train_")]
    monitor = values.get("monitor")
    if isinstance(monitor, str):
        if monitor not in columns:
            note(("monitor",), f"there is no column {monitor[:80]!r}{nearest(monitor, columns)}")
        elif monitor.startswith("trainset_") and not values.get("evaluate_train_every"):
            note(("monitor",), f"{monitor} is only measured where evaluate_train_every is set")
    claimable = [*columns, *(f"best.{column}" for column in columns), "seconds"]
    for column, claim in (values.get("expect") or {}).items():
        if column not in claimable:
            what = f"there is no such column{nearest(column, claimable)}"
            split, _, figure = column.removeprefix("best.").partition("_")
            if split in SPLITS and figure in parts.names("metrics"):
                if _is_of_before(column, tree) or column in (values.get("not_judged") or {}):
                    continue
                what = (
                    f"{figure} is not measured; add it to metrics, or leave out all claims with expect={{}}"
                )
            note(("expect", column), what, at_key=True)
        if claim is None:  # already noted as a mistake
            continue
        try:
            parse_claim(claim)
        except ValueError as error:
            note(("expect", column), str(error))


def _wanted(key: str, kind: Any, parts: Parts) -> str:
    if kind is Choice:
        return f"a part of the folder {key} {listed(parts.names(key))}"
    return describe(kind)


def _shown(item: Located) -> str:
    text = repr(item.plain()) if not isinstance(item.value, bool | None) else str(item.value).lower()
    if item.value is None:
        text = "null"
    return shortened(text)
