"""YAML, what it inherits and KEY=VALUE words become one frozen Config, or every mistake at once."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from dlrun.components import KINDS, REQUIRED, Parts, describe
from dlrun.errors import ConfigError, UserError, listed, nearest, shortened
from dlrun.options import Claim, Count, Positive, Seed, Threads
from dlrun.strict_yaml import DEEPEST, MOST_VALUES, Located, Place, parse, read_file

SPLITS = ("train", "valid", "test", "trainset")
_DEVICE = re.compile(r"(auto|cpu|cuda(:[0-9]{1,2})?|mps)\Z")
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)  # on Windows
_CLAIM = re.compile(r"\s*(>=|<=|==|>|<)\s*(\S+)\s*$")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
# What may differ between two runs that are one: nothing of it changes what is learnt from a seed.
FREE = frozenset({"name", "plots", "expect", "expect_epochs"})
SWEEP = "sweep"  # the key of a file under which a sweep finds its values; no part of a Config
AUTO = "auto"  # among plots: whatever suits the data and the model


@dataclass(frozen=True)
class Choice:
    """A part by name, with all its options, defaults filled in."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> str | dict[str, Any]:
        """As YAML has it: a bare name where there are no options."""
        return {"name": self.name} | self.options if self.options else self.name


def _key(help: str, default: Any = MISSING) -> Any:
    """One top-level key of a config: what it does, and its default if it may be left out."""
    if default is MISSING:
        return field(metadata={"help": help})
    return field(metadata={"help": help}, default_factory=lambda: default)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that is configured, checked and complete. Its fields are the keys of a config file."""

    name: str = _key("what the run folder is named after (default: the file's own name)")
    seeds: list[Seed] = _key("the copies trained: initial weights, order, dropout, augmentation", [0])
    device: str = _key("auto, cpu, cuda, cuda:N or mps; auto takes an accelerator if there is one", "auto")
    threads: Threads | Literal["auto"] = _key("CPU threads; auto goes by the work in a step", "auto")
    precision: Literal["float32", "bfloat16", "float16"] = _key("arithmetic of the forward pass", "float32")
    stacked: bool = _key(
        "whether all seeds train as one model: faster where steps are small, but not bit for bit as alone",
        False,
    )
    graph: bool | Literal["auto"] = _key(
        "whether a CUDA device repeats each step as one recorded graph; auto: where the step allows it; "
        "false, for parts of your own that do something else at each step",
        "auto",
    )
    compile: bool = _key("whether torch.compile makes the model faster, after a slow start", False)
    dataset: Choice = _key("what is learnt from")
    augmentations: list[Choice] = _key("random changes of each training batch, in this order", [])
    architecture: Choice = _key("the model")
    loss: Choice = _key("what training lowers")
    optimizer: Choice = _key("how the weights are updated")
    schedule: Choice = _key("the learning rate over the run", Choice("constant"))
    gradient_clip: Positive | None = _key("longest gradient of a copy (2-norm); null: any", None)
    epochs: Count = _key("passes over the training set")
    batch_size: Count | Literal["full"] = _key("examples in a step, or full")
    evaluate_every: Count = _key("epochs between evaluations on the validation set, or else the test set", 1)
    evaluate_train_every: Count | None = _key(
        "epochs between measurements of the whole training set with the weights as they stand", None
    )
    metrics: list[Choice] = _key("what is measured beside the loss", [])
    monitor: str | None = _key("the column that chooses best.pt (default: valid_loss, else train_loss)", None)
    patience: Count | None = _key("epochs without a better monitored figure before stopping early", None)
    plots: list[Choice] = _key(
        "the pictures drawn at the end; auto: those that suit the task", [Choice(AUTO)]
    )
    expect: dict[str, Claim] = _key("claims about the last row, such as {train_accuracy: '>= 0.94'}", {})
    expect_epochs: Count | None = _key(
        "the epochs that expect speaks of; a shorter run is not judged (default: the file's epochs)", None
    )
    tree: Located = field(repr=False, compare=False)  # where everything stands, for messages

    @property
    def is_stacked(self) -> bool:
        """Whether the seeds train as one model; a single one has nothing to be stacked with."""
        return self.stacked and len(self.seeds) > 1

    def plain(self) -> dict[str, Any]:
        """The config as YAML and checkpoints hold it: complete, it runs again as it stands."""
        return {key: _plain(getattr(self, key)) for key in keys()}

    def mistake(self, key: str, what: str) -> str:
        """One line that says what is wrong at `key`, such as `architecture.hidden`, and where."""
        path = tuple(key.split("."))
        return _mistake(self.tree.at(path).place, path, what)

    def refuse(self, mistakes: Sequence[str]) -> ConfigError:
        """All of the `mistakes` as one error."""
        return ConfigError(self.tree.place.source, mistakes)


def keys() -> dict[str, str]:
    """Every top-level key with what it does: the one list of them."""
    return {f.name: f.metadata["help"] for f in fields(Config) if "help" in f.metadata}


def default(key: str) -> Any:
    """The default of a top-level key, as YAML has it; REQUIRED where it has none."""
    for f in fields(Config):
        if f.name == key and f.default_factory is not MISSING:
            return _plain(f.default_factory())
    return REQUIRED


@cache
def _types() -> dict[str, Any]:
    hints = get_type_hints(Config, include_extras=True)
    return {key: hints[key] for key in keys()}


def shipped() -> Path:
    """The folder of the configs that come with dlrun."""
    inside = Path(__file__).parent / "configs"  # in a wheel
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


def shipped_names() -> list[str]:
    """The names of the configs that come with dlrun."""
    return sorted(path.stem for path in shipped().glob("*.yaml"))


def shipped_sweeps() -> list[str]:
    """The names of the sweeps that come with dlrun, such as `sweeps/spiral_width`."""
    return sorted(f"sweeps/{path.stem}" for path in shipped().glob("sweeps/*.yaml"))


def find(text: str, beside: Path | None = None) -> Path:
    """The config file that `text` names: a path (relative to `beside`), or a shipped name."""
    if not text:
        raise UserError("no config is named", fix="name a YAML file")
    path = (beside or Path()) / text
    with suppress(OSError):  # a name too long for any file
        if path.is_dir() and (path / "config.yaml").exists():
            path = path / "config.yaml"
        if path.is_dir():
            raise UserError(f"{text} is a folder", fix="name a YAML file in it")
        if path.exists():
            return path
    name = text.removesuffix(".yaml")
    if name in (*shipped_names(), *shipped_sweeps()):
        return shipped() / f"{name}.yaml"
    raise UserError(f"there is no config {text[:200]}{nearest(Path(text).stem, shipped_names())}")


def load(path: Path, overrides: Sequence[str] = (), parts: Parts | None = None) -> Config:
    """The config in the file at `path`, with KEY=VALUE `overrides` on top; what it says of a sweep aside.

    Raises ConfigError with every mistake, UserError where the file cannot be read at all.
    """
    tree = read(path, overrides)
    tree.value.pop(SWEEP, None)
    return check(tree, parts or Parts())


def read(path: Path, overrides: Sequence[str] = ()) -> Located:
    """What the file at `path` and its bases say, with KEY=VALUE `overrides` on top; nothing is checked.

    Raises UserError where a file cannot be read.
    """
    tree = _with_base(path, seen=())
    file_epochs = tree.at(("epochs",)).value
    tree = _override(tree, overrides)
    epochs = tree.at(("epochs",)).value
    both = type(file_epochs) is type(epochs) is int
    if _is_unset(tree, "expect_epochs") and both and epochs < file_epochs:
        tree.value["expect_epochs"] = Located(file_epochs, tree.place, tree.place)
    named = path.parent.name if path.name == "config.yaml" else path.stem
    if _is_unset(tree, "name"):
        tree.value["name"] = Located(named, tree.place, tree.place)
    return tree


def takes_whole_numbers(tree: Located, key: str, parts: Parts) -> bool:
    """Whether a key, such as `optimizer.lr`, takes whole numbers and no others in the config of a tree."""
    kind, dot, option = key.partition(".")
    if not dot:
        return _is_whole(_types().get(kind))
    named = tree.at((kind, "name")).value or tree.at((kind,)).value
    if kind not in KINDS or not isinstance(named, str) or named not in parts.names(kind):
        return False
    known = parts.part(kind, named).options.get(option)
    return known is not None and _is_whole(known.type)


def _is_whole(kind: Any) -> bool:
    """Whether a type has whole numbers among what it allows, and no others."""
    allowed, left = set[Any](), [kind]
    while left:
        each = left.pop()
        if get_origin(each) is Annotated:
            left.append(get_args(each)[0])
        elif get_origin(each) in (Union, UnionType):
            left.extend(get_args(each))
        else:
            allowed.add(each)
    return int in allowed and float not in allowed


def from_plain(plain: Any, source: str, overrides: Sequence[str] = (), parts: Parts | None = None) -> Config:
    """The config that `plain` values describe, such as those of a checkpoint; `source` names them."""
    _refuse_what_no_file_could_hold(plain, source)
    return check(_override(_located(plain, Place(source)), overrides), parts or Parts())


def changed(old: Config, new: Config) -> list[str]:
    """The keys, such as `optimizer.lr`, in which two configs differ."""
    different = []
    for key in keys():
        a, b = getattr(old, key), getattr(new, key)
        if isinstance(a, Choice) and isinstance(b, Choice) and a.name == b.name:
            names = sorted(a.options.keys() | b.options.keys())
            different += [f"{key}.{n}" for n in names if a.options.get(n) != b.options.get(n)]
        elif a != b:
            different.append(key)
    return different


def dump(config: Config) -> str:
    """The config as YAML text that `load` reads back as the same config."""
    text: str = yaml.dump(
        config.plain(),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes every text that is not a plain word, so that none is read back as a number."""


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*$")
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if _WORD.match(text) else '"'
    ),
)


def _with_base(path: Path, seen: tuple[Path, ...]) -> Located:
    tree = read_file(path)
    if not isinstance(tree.value, dict):
        raise UserError("a config must be a mapping of keys to values", where=str(tree.place))
    if "base" not in tree.value:
        return tree
    base = tree.value.pop("base")
    if not isinstance(base.value, str):
        raise UserError("base must name another config", where=str(base.place))
    if path.resolve() in seen or len(seen) > 20:
        raise UserError("this config is its own base", where=str(base.place))
    try:
        found = find(base.value, beside=path.parent)
    except UserError as error:
        raise UserError(error.what, where=str(base.place)) from None
    below = _with_base(found, (*seen, path.resolve()))
    below.value.pop("name", None)  # a name belongs to one config
    return Located(_inherit(below.value, tree.value), tree.place, tree.key_place)


def _merge(below: Located, above: Located) -> Located:
    """Key by key, `above` winning; a part of another name replaces the part whole."""
    if isinstance(below.value, dict) and isinstance(above.value, str) and "name" in below.value:
        above = _expanded(above)
    if isinstance(below.value, str) and isinstance(above.value, dict):
        below = _expanded(below)
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    names = [tree.value["name"].value for tree in (below, above) if "name" in tree.value]
    if len(names) == 2 and names[0] != names[1]:
        return above
    return Located(_inherit(below.value, above.value), above.place, above.key_place)


def _inherit(below: dict[str, Located], above: dict[str, Located]) -> dict[str, Located]:
    both = {key: _merge(below[key], item) if key in below else item for key, item in above.items()}
    return below | both


def _expanded(name: Located) -> Located:
    """A bare name as the mapping it stands for."""
    return Located({"name": name}, name.place, name.key_place)


def _override(tree: Located, overrides: Sequence[str]) -> Located:
    """`tree` with each KEY=VALUE put where KEY says. VALUE is YAML."""
    for text in overrides:
        key, equals, written = text.partition("=")
        source = "on the command line:"
        if key.split(".")[0] == SWEEP:
            fix = "write the values themselves: dlrun sweep CONFIG optimizer.lr=1e-4,1e-3"
            raise UserError(
                f"{SWEEP}: stands in a config file alone", where=f"{source} {shortened(text)}", fix=fix
            )
        if not equals or not key:
            raise UserError(f"{shortened(text)!r} is not of the form KEY=VALUE")
        shown = shortened(key)
        if not written.strip():
            raise UserError(f"{shown} is given no value", where=source, fix=f"write {shown}=null for none")
        path = key.split(".")
        if is_claim := path[0] == "expect" and len(path) > 1:
            path = ["expect", ".".join(path[1:])]  # about best.COLUMN, maybe: the dot is part of its name
        if is_claim and not written.startswith(("'", '"')):
            value = _located(written, Place(source))  # YAML would take its > for a folded block
        else:
            try:
                value = parse(written, source, has_lines=False)
            except UserError as error:
                raise UserError(error.what, where=f"{source} {shortened(text)}") from None
        tree = _put(tree, path, value)
    return tree


def _put(tree: Located, path: Sequence[str], value: Located) -> Located:
    if not path:
        return value
    if isinstance(tree.value, str):
        tree = _expanded(tree)
    entries = dict(tree.value) if isinstance(tree.value, dict) else {}
    here = entries.get(path[0])
    old_name = here.value.get("name") if here and isinstance(here.value, dict) else None
    if list(path[1:]) == ["name"] and old_name and old_name.value != value.value:
        here = None  # another part: the options of the old one mean nothing to it
    entries[path[0]] = _put(here or Located({}, value.place, value.place), path[1:], value)
    return Located(entries, tree.place, tree.key_place)


def _is_unset(tree: Located, key: str) -> bool:
    """Whether the default is meant: the key is not there, or null."""
    return key not in tree.value or tree.value[key].value is None


def _located(plain: Any, place: Place) -> Located:
    if isinstance(plain, dict):
        plain = {key: _located(item, place) for key, item in plain.items()}
    elif isinstance(plain, list):
        plain = [_located(item, place) for item in plain]
    return Located(plain, place, place)


def _refuse_what_no_file_could_hold(plain: Any, source: str) -> None:
    """Raises UserError for more values than YAML and the defaults make, and for keys that are no text."""
    values, pending = 0, [(plain, 0)]
    while pending:
        value, depth = pending.pop()
        values += 1
        if values > 2 * MOST_VALUES or depth > 2 * DEEPEST:
            raise UserError("the config is nested too deeply or holds too many values", where=source)
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise UserError("a key of the config is no text", where=source)
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            pending += [(item, depth + 1) for item in value]


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return value.plain()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def check(tree: Located, parts: Parts) -> Config:
    """The located tree as a Config. Raises ConfigError with every mistake that needs no torch."""
    if not isinstance(tree.value, dict):
        raise UserError("a config must be a mapping of keys to values", where=str(tree.place))
    mistakes: list[tuple[Place, str]] = []

    def note(path: tuple[str | int, ...], what: str, *, at_key: bool = False) -> None:
        found = tree.at(path)
        place = found.key_place if at_key else found.place
        mistakes.append((place, _mistake(place, path, what)))

    values: dict[str, Any] = {}
    types = _types()
    for key in tree.value:
        if key not in types:
            note((key,), f"there is no such key{nearest(key, types)}", at_key=True)
    for key, kind in types.items():
        item = tree.value.get(key)
        if item is None or item.value is None:  # null means the default
            if default(key) is REQUIRED:
                note((key,), f"is missing: {_wanted(key, kind, parts)}")
                continue
            item = _located(default(key), tree.place)
        if kind is Choice:
            values[key] = _choice(key, (key,), item, parts, note)
        elif kind == list[Choice] and isinstance(item.value, list):
            chosen = enumerate(item.value)
            values[key] = [_choice(key, (key, index), each, parts, note) for index, each in chosen]
        elif kind == list[Choice]:
            values[key] = [_choice(key, (key,), item, parts, note)]
        elif get_origin(kind) is dict and isinstance(item.value, dict):  # every mistake in it, not the first
            of_each = get_args(kind)[1]
            values[key] = {
                name: _value((key, name), of_each, each, note) for name, each in item.value.items()
            }
        else:
            values[key] = _value((key,), kind, item, note)
    _check_together(values, parts, note)
    if mistakes:
        ordered = sorted(mistakes, key=lambda m: (m[0].source != tree.place.source, m[0].line, m[0].column))
        raise ConfigError(tree.place.source, list(dict.fromkeys(text for _, text in ordered)))
    return Config(**values, tree=tree)


def _choice(
    kind: str, path: tuple[str | int, ...], item: Located, parts: Parts, note: Callable[..., None]
) -> Choice | None:
    """The part that `item` names, its options checked and completed; None after a mistake."""
    if isinstance(item.value, str):
        item, named = _expanded(item), path
    else:
        named = (*path, "name")
    if not isinstance(item.value, dict):
        note(path, f"{_shown(item)} is not the name of a part {listed(parts.names(kind))}")
        return None
    if "name" not in item.value or not isinstance(item.value["name"].value, str):
        note(path, f"the name of the part is missing {listed(parts.names(kind))}")
        return None
    name = item.value["name"].value
    if kind == "plots" and name == AUTO and len(item.value) == 1:
        return Choice(AUTO)
    try:
        part = parts.part(kind, name)
    except UserError as error:
        note(named, error.what if not error.where else f"{error.what} ({error.where})")
        return None
    given: dict[str, Any] = {}
    for key, value in item.value.items():
        if key == "name":
            continue
        if key in part.options:
            given[key] = _value((*path, key), part.options[key].type, value, note)
        else:
            note((*path, key), f"there is no such option{nearest(key, part.options)}", at_key=True)
    for option in part.options.values():
        if option.name not in given and option.default is REQUIRED:
            note(path, f"the option {option.name} is missing: {describe(option.type)}", at_key=True)
    complete = {o.name: given.get(o.name, o.default) for o in part.options.values()}
    return Choice(name, complete)


def _value(path: tuple[str | int, ...], kind: Any, item: Located, note: Callable[..., None]) -> Any:
    """The value of one option, of the type `kind`; None after a mistake, which is noted."""
    try:
        return _adapter(kind).validate_python(item.plain())
    except ValidationError as error:
        steps = error.errors(include_url=False, include_input=False, include_context=False)[0]["loc"]
        deeper: tuple[str | int, ...] = ()
        for step in steps:  # among them are names of alternatives, which are no part of the path
            if item.at((*deeper, step)) is not item.at(deeper):
                deeper = (*deeper, step)
        shown = _shown(item.at(deeper))
        hint = f"; write [{shown}]" if get_origin(kind) is list and not isinstance(item.value, list) else ""
        note((*path, *deeper), f"{shown} is not {_item_type(kind, bool(deeper))}{hint}")
        return None


def _item_type(kind: Any, is_item: bool) -> str:
    words = describe(kind)
    return f"allowed in {words}" if is_item else words


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def _check_together(values: dict[str, Any], parts: Parts, note: Callable[..., None]) -> None:
    """What no key shows alone: patience beyond the epochs, columns that are never measured."""
    name, device = values.get("name"), values.get("device")
    if isinstance(name, str) and (not _RUN_NAME.match(name) or _RESERVED.match(name)):
        note(("name",), f"{name[:80]!r} cannot name a folder: letters, digits, '.', '_', '-', at most 64")
    if isinstance(device, str) and not _DEVICE.match(device):
        note(("device",), f"{device[:80]!r} is no device (there are: auto, cpu, cuda, cuda:N, mps)")
    seeds = values.get("seeds")
    if isinstance(seeds, list) and (not seeds or len(set(seeds)) < len(seeds)):
        note(("seeds",), "needs one or more seeds, each of them once")
    epochs, patience = values.get("epochs"), values.get("patience")
    if epochs and patience and patience > epochs:
        note(("patience",), f"{patience} epochs of patience never run out in {epochs} epochs")
    metrics = [choice.name for choice in values.get("metrics") or [] if choice]
    for index, metric in enumerate(metrics):
        if metric in metrics[:index]:
            note(("metrics", index), f"{metric} stands here a second time")
    columns = [f"{split}_{figure}" for split in SPLITS for figure in ("loss", *metrics)]
    monitor = values.get("monitor")
    if isinstance(monitor, str):
        if monitor not in columns:
            note(("monitor",), f"there is no column {monitor[:80]!r}{nearest(monitor, columns)}")
        elif monitor.startswith("trainset_") and not values.get("evaluate_train_every"):
            note(("monitor",), f"{monitor} is only measured where evaluate_train_every is set")
    claimable = [*columns, *(f"best.{column}" for column in columns), "seconds"]
    for column, claim in (values.get("expect") or {}).items():
        if column not in claimable:
            note(("expect", column), f"there is no such column{nearest(column, claimable)}", at_key=True)
        if claim is None:  # a mistake already
            continue
        try:
            claims(claim)
        except ValueError as error:
            note(("expect", column), str(error))


def claims(text: str) -> list[tuple[str, float]]:
    """`>= 0.48, <= 0.55` as its parts [(">=", 0.48), ("<=", 0.55)]. Raises ValueError."""
    found = []
    for clause in text.split(","):
        match = _CLAIM.match(clause)
        try:
            found.append((match[1], float(match[2])) if match else ("", 0.0))
        except ValueError:
            found.append(("", 0.0))
        if not found[-1][0]:
            raise ValueError(f"{shortened(text)!r} is no claim; write one such as '>= 0.94'")
    return found


def meets(value: float, claim: str) -> bool:
    """Whether a measured value is what the claim says."""
    return all(_SIGNS[sign](value, limit) for sign, limit in claims(claim))


def missed_by(value: float, claim: str) -> float:
    """How far a measured value is from what the claim says; 0 where it is on a border that is excluded."""
    return max(
        (abs(value - limit) for sign, limit in claims(claim) if not _SIGNS[sign](value, limit)), default=0.0
    )


def _wanted(key: str, kind: Any, parts: Parts) -> str:
    if kind is Choice:
        return f"a part of the folder {key} {listed(parts.names(key))}"
    return describe(kind)


def _mistake(place: Place, path: tuple[str | int, ...], what: str) -> str:
    return f"{place} {_path_text(path)}: {what}"


def _path_text(path: Iterable[str | int]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")[:120]


def _shown(item: Located) -> str:
    text = repr(item.plain()) if not isinstance(item.value, bool | None) else str(item.value).lower()
    if item.value is None:
        text = "null"
    return shortened(text)
