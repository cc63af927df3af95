"""Config: every key of a config file with its type, default, help and rules. A new key is added here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Gt, Le

from dlrun.config.mistakes import ConfigError, Mistake
from dlrun.config.options import Claim, Count, Duration, NonNegative, NonNegativeInt, Positive, Seed, Threads
from dlrun.config.registry import KINDS, REQUIRED, Option, Parts
from dlrun.config.strict_yaml import Located

TrackerName = Literal["tensorboard", "mlflow", "wandb"]
SPLITS = ("train", "valid", "test", "trainset")
AVERAGED = "_average"  # ends the names of the figures of averaged weights
NO_AVERAGE = "none"  # the part of `average` that keeps no averaged weights
DATA_PATH = "dataset.path"
WEIGHTS = "architecture.weights"
TEACHER_KEY = "loss.teacher"
FOLDS, FOLD = "dataset.folds", "dataset.fold"
SWEEP_KEY = "sweep"  # the key under which a file lists the values of a sweep; not in a Config
OF_EARLIER_RUNS = {"evaluation_batch_size": 1024}  # the values of keys that an earlier dlrun did not have
# Options with the value that counts as none: some runs have it written, those of another dlrun do not.
_UNWRITTEN = {("loss", "label_smoothing"): 0.0, ("loss", "pos_weight"): None}
AUTO = "auto"  # in `plots`: the plots that suit the data and the model


@dataclass(frozen=True)
class Choice:
    """A part by name, with all its options, including defaults."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> str | dict[str, Any]:
        """The choice as YAML has it: only the name if there are no options."""
        return {"name": self.name} | self.options if self.options else self.name


@dataclass(frozen=True)
class Key:
    """The help and the rules of a top-level key; its type and default are those of the field of Config."""

    help: str
    changes: Literal["nothing", "bits", "results"] = "results"  # effect on the weights learnt from a seed
    is_timed: bool = True  # True if the duration of an epoch depends on it
    at_resume: bool | str = False  # True if `dlrun resume` may change it; a string: only this option of it
    at_evaluation: bool | str = False  # True if `dlrun eval` may change it, or an option, as at resume
    keeps_claims: bool = False  # True if `expect` is judged although the command line has changed it


def _key(help: str, default: Any = MISSING, **more: Any) -> Any:
    """Define a top-level key, optional if it has a default; `more` are the fields of `Key`."""
    about = {"key": Key(help, **more)}
    if default is MISSING:
        return field(metadata=about)
    return field(metadata=about, default_factory=lambda: default)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A checked, complete config. Its fields are the keys of a config file."""

    name: str = _key(
        "the name of the run folder, before its number (default: the name of the file)",
        changes="nothing",
        is_timed=False,
        at_resume=True,
        keeps_claims=True,
    )
    seeds: list[Seed] = _key(
        "the random seeds, one for each copy trained: initial weights, order, dropout, augmentation",
        [0],
        is_timed=False,
    )
    device: str = _key(
        "auto, cpu, cuda, cuda:N or mps; auto takes an accelerator if there is one",
        "auto",
        at_resume=True,
        at_evaluation=True,
        keeps_claims=True,
    )
    threads: Threads | Literal["auto"] = _key(
        "CPU threads; auto chooses them by the work in a step",
        "auto",
        changes="bits",
        at_resume=True,
        at_evaluation=True,
        keeps_claims=True,
    )
    processes: Count | Literal["auto"] = _key(
        "processes that train together, each on its part of every batch: what is learnt is the same up to "
        "rounding; auto: one for each GPU, one on a CPU",
        1,
        changes="bits",
        at_resume=True,
        keeps_claims=True,
    )
    process_timeout: Duration = _key(
        "for which one of several processes is waited for, such as 90s or 1h30m, before the run ends with an "
        "error that names it",
        "10m",
        changes="nothing",
        at_resume=True,
        keeps_claims=True,
    )
    precision: Literal["float32", "bfloat16", "float16", "float64"] = _key(
        "type of the forward pass: bfloat16 and float16 are mixed precision, float64 is that of all weights",
        "float32",
    )
    stacked: bool = _key(
        "train all seeds as one model: faster if steps are small, but not bit for bit as each alone",
        False,
        changes="bits",
    )
    graph: bool | Literal["auto"] = _key(
        "replay each step as a CUDA graph; auto: if the step allows it; false is for parts of your own that "
        "do something else at each step",
        "auto",
        at_resume=True,
        keeps_claims=True,
    )
    channels_last: bool = _key(
        "keep the channels of images last in memory, in which most convolutions are faster, on a CPU too",
        False,
        changes="bits",
    )
    compile: bool = _key("use torch.compile: faster steps after a slow start", False, keeps_claims=True)
    dataset: Choice = _key("the data", at_resume="path", at_evaluation=True)
    task: str | None = _key(
        "the task, if not that of the dataset: reconstruction gives back the inputs",
        None,
    )
    augmentations: list[Choice] = _key("random changes of each training batch, in this order", [])
    architecture: Choice = _key("the model")
    loss: Choice = _key("the loss that training minimises", at_resume="teacher", at_evaluation="teacher")
    optimizer: Choice = _key("the optimizer of the weights, with its learning rate lr", is_timed=False)
    groups: list[dict[str, Any]] = _key(
        "weights with options of the optimizer of their own: a list of {match: '*.bias', weight_decay: 0}; "
        "the first match of a weight's name counts, and lr may be a factor such as 0.1x",
        [],
        is_timed=False,
    )
    layer_decay: Annotated[float, Gt(0), Le(1)] | None = _key(
        "factor by which each block of the model learns more slowly than the one after it, such as 0.75; "
        "null: all at one rate",
        None,
        is_timed=False,
    )
    no_decay: list[str] = _key(
        "weights without weight decay: bias, norm (of normalisation layers), or patterns of names",
        [],
        is_timed=False,
    )
    freeze: list[str] = _key(
        "weights that keep their values, as patterns of names such as 'features.*'; of several patterns that "
        "match a name the last counts, and ! before it lets the weight learn: ['*', '!fc.*']",
        [],
    )
    freeze_epochs: Count | None = _key(
        "the first epochs, in which the weights of `freeze` keep their values; null: all", None
    )
    schedule: Choice = _key("the learning rate schedule over the run", Choice("constant"), is_timed=False)
    average: Choice = _key(
        "averaged weights, kept and measured beside those that are trained: columns such as "
        "valid_loss_average; best.pt takes them unless monitor names a column of the others",
        Choice("none"),
        is_timed=True,
    )
    gradient_clip: Positive | None = _key(
        "most of a copy's gradient, in the sense of gradient_clip_mode; null: no clipping", None
    )
    gradient_clip_mode: Literal["norm", "value", "agc"] = _key(
        "quantity that is clipped: the 2-norm of the whole gradient, the value of each number, or (agc) "
        "the 2-norm of each unit's gradient as a share of that of its weights (Brock et al. 2021)",
        "norm",
    )
    epochs: Count = _key("passes over the training set", is_timed=False, at_resume=True)
    max_time: Duration | None = _key(
        "most training time of the whole run, such as 45s, 1h30m or 3:50:00: after an epoch the run ends if "
        "one more would take longer; a first epoch is always trained; null: no limit",
        None,
        is_timed=False,
        at_resume=True,
    )
    batch_size: Count | Literal["full"] = _key("examples in a step, or full")
    micro_batch: Count | None = _key(
        "examples of a batch that are computed at once, for batches that do not fit into memory: what is "
        "learnt is the batch's; null: all of it",
        None,
        changes="bits",
    )
    epoch_examples: Count | None = _key(
        "examples in an epoch, for rows, saves and evaluations more often than once in a pass over the "
        "training set, or less often; null: all of it",
        None,
    )
    sampling: Literal["shuffled", "balanced"] = _key(
        "the examples of an epoch: shuffled, each once; or balanced, as many, drawn with replacement so that "
        "each class comes equally often; then train_* figures are those of the examples drawn",
        "shuffled",
    )
    drop_last: bool = _key("leave out the last batch of an epoch if it is smaller than the others", False)
    limit: Count | Annotated[float, Gt(0), Le(1)] | None = _key(
        "for a quick look, so many examples of each split, or a share such as 0.1; null: all",
        None,
        at_evaluation=True,
    )
    evaluation_batch_size: Count | Literal["auto", "full"] = _key(
        "examples evaluated at once; auto: at most 1,024, fewer if the layers' outputs are large",
        "auto",
        changes="bits",
        at_evaluation=True,
    )
    evaluate_every: Count = _key("epochs between evaluations on the validation set, or else the test set", 1)
    evaluate_train_every: Count | None = _key(
        "epochs between evaluations on the whole training set; null: never", None
    )
    metrics: list[Choice] = _key("the metrics measured beside the loss", [], at_evaluation=True)
    monitor: str | None = _key(
        "the column that chooses best.pt (default: valid_loss, else train_loss)", None, is_timed=False
    )
    patience: Count | None = _key(
        "early stopping of a seed after so many epochs without a better monitored figure; null: none",
        None,
        is_timed=False,
        at_resume=True,
    )
    min_delta: NonNegative = _key(
        "for patience, by how much the figure has to be better to count; best.pt takes any better one",
        0.0,
        is_timed=False,
    )
    patience_warmup: NonNegativeInt = _key(
        "for patience, the first epochs, in which it does not run out", 0, is_timed=False
    )
    keep: Count | None = _key(
        "keep the checkpoints of so many best epochs by the monitored column, as checkpoints/epoch_0012.pt",
        None,
        changes="nothing",
        is_timed=False,
        keeps_claims=True,
    )
    keep_every: Count | None = _key(
        "keep the checkpoint of every so many epochs, too",
        None,
        changes="nothing",
        is_timed=False,
        keeps_claims=True,
    )
    plots: list[Choice] = _key(
        "the pictures drawn at the end; auto: those that suit the task",
        [Choice(AUTO)],
        changes="nothing",
        is_timed=False,
        at_resume=True,
        at_evaluation=True,
        keeps_claims=True,
    )
    track: list[TrackerName] = _key(
        "the trackers that a run is logged to while it trains: tensorboard, mlflow, wandb",
        [],
        changes="nothing",
        is_timed=False,
        at_resume=True,
        keeps_claims=True,
    )
    expect: dict[str, Claim] = _key(
        "claims about the last row, such as {train_accuracy: '>= 0.94'}; judged if the config is trained as "
        "it stands",
        {},
        changes="nothing",
        is_timed=False,
        at_resume=True,
        keeps_claims=True,
    )
    expect_epochs: Count | None = _key(
        "the epochs that `expect` refers to; a shorter run is not judged (default: the file's epochs)",
        None,
        changes="nothing",
        is_timed=False,
        at_resume=True,
        keeps_claims=True,
    )
    not_judged: dict[str, str] = _key(
        "the claims of `expect` that are not judged, each with the reason; written by dlrun train and resume",
        {},
        changes="nothing",
        is_timed=False,
        at_resume=True,
        keeps_claims=True,
    )
    tree: Located = field(repr=False, compare=False)  # the place of each value, for messages
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)  # what its making left out

    @property
    def is_stacked(self) -> bool:
        """True if several seeds train as one model; a single seed is never stacked."""
        return self.stacked and len(self.seeds) > 1

    def plain(self) -> dict[str, Any]:
        """The complete config as plain values, as written to config.yaml and checkpoints."""
        return {key: _plain(getattr(self, key)) for key in KEYS}

    def mistake(self, key: str, what: str, fix: str = "", where: str = "") -> Mistake:
        """A mistake at `key`, such as `architecture.hidden`, with its place in the file."""
        return Mistake(self.tree.at(tuple(key.split("."))).place, key, what, fix, where)

    def refuse(self, mistakes: Sequence[Mistake]) -> ConfigError:
        """One ConfigError for all `mistakes`."""
        return ConfigError(self.tree.place.source, mistakes)


# The one list of top-level keys.
KEYS: dict[str, Key] = {f.name: f.metadata["key"] for f in fields(Config) if "key" in f.metadata}
# Keys in which two runs of one setting may differ, because they do not change what a seed learns.
FREE = frozenset(name for name, key in KEYS.items() if key.changes == "nothing")


def identifies(key: str) -> bool:
    """True if two runs that differ only in a key, such as `optimizer.lr`, are runs of two settings.

    The path of the data is no such key: the fingerprint of the data identifies it, wherever it lies. The size
    of evaluation batches is none, because figures differ by rounding alone.
    """
    return key not in (DATA_PATH, "evaluation_batch_size") and key.partition(".")[0] not in FREE


def may_change_at_resume(key: str) -> bool:
    """True if a key, such as `epochs` or `dataset.path`, may change when a run is resumed."""
    return _is_allowed(key, KEYS[key.partition(".")[0]].at_resume)


def may_change_at_evaluation(key: str) -> bool:
    """True if a key, such as `metrics` or `loss.teacher`, may change when a model is evaluated."""
    name = key.partition(".")[0]
    return name in KEYS and _is_allowed(key, KEYS[name].at_evaluation)


def _is_allowed(key: str, allowed: bool | str) -> bool:
    return allowed if isinstance(allowed, bool) else key.partition(".")[2] == allowed


def default_of(key: str) -> Any:
    """The default of a top-level key, as YAML has it; REQUIRED if it has none."""
    for f in fields(Config):
        if f.name == key and f.default_factory is not MISSING:
            return _plain(f.default_factory())
    return REQUIRED


@cache
def key_types() -> dict[str, Any]:
    hints = get_type_hints(Config, include_extras=True)
    return {key: hints[key] for key in KEYS}


def takes_whole_numbers(tree: Located, key: str, parts: Parts) -> bool:
    """True if a key, such as `batch_size`, takes only whole numbers in the config of a tree."""
    kind, dot, option = key.partition(".")
    if not dot:
        return _is_whole(key_types().get(kind))
    known = _option_of(tree, kind, option, parts)
    return known is not None and _is_whole(known.type)


def takes_only_lists(tree: Located, key: str, parts: Parts) -> bool:
    """True if a key, such as `architecture.hidden`, takes only lists, and not of parts."""
    kind, dot, option = key.partition(".")
    known = _option_of(tree, kind, option, parts) if dot else None
    type_ = known.type if known else None if dot else key_types().get(kind)
    return get_origin(type_) is list and get_args(type_) != (Choice,)


def _option_of(tree: Located, kind: str, option: str, parts: Parts) -> Option | None:
    """An option of the part that a tree names; None if there is no such part or option."""
    named = tree.at((kind, "name")).value
    named = named if isinstance(named, str) else tree.at((kind,)).value
    if kind not in KINDS or not isinstance(named, str):
        return None
    name = parts.canonical(kind, named)
    return parts.part(kind, name).options.get(option) if name in parts.names(kind) else None


def _is_whole(kind: Any) -> bool:
    """True if a type allows int and does not allow float."""
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


def changed_keys(old: Config, new: Config) -> list[str]:
    """The keys, such as `optimizer.lr`, in which two configs differ."""
    different = []
    for key in KEYS:
        a, b = getattr(old, key), getattr(new, key)
        if isinstance(a, Choice) and isinstance(b, Choice) and a.name == b.name:
            names = sorted(a.options.keys() | b.options.keys())
            different += [f"{key}.{n}" for n in names if a.options.get(n) != b.options.get(n)]
        elif a != b:
            different.append(key)
    return different


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return value.plain()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def with_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """A config as read from YAML with the defaults of the keys that it lacks, as of an earlier dlrun."""
    return plain | {key: value for key, value in _defaults().items() if key not in plain}


@cache
def _defaults() -> dict[str, Any]:
    """The values of keys that a run of before lacks."""
    every = {key: OF_EARLIER_RUNS.get(key, default_of(key)) for key in KEYS}
    return {key: value for key, value in every.items() if value is not REQUIRED}


def flat_config(plain: dict[str, Any]) -> dict[str, Any]:
    """Flatten a config as read from YAML: `optimizer.lr`, and both `optimizer` and `optimizer.name`."""
    config: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            if key not in ("expect", "not_judged") and "name" in value:
                config[key] = value["name"]
            own = {n: option for n, option in value.items() if _UNWRITTEN.get((key, n), ...) != option}
            config |= {f"{key}.{name}": option for name, option in own.items()}
        else:
            config[key] = value
            if key in KINDS and isinstance(value, str):  # a part without options
                config[f"{key}.name"] = value
    return config
