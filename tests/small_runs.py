"""Small real runs, in milliseconds, and what the tests compare of them."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dlrun.config.dumping import dump_config
from dlrun.config.loading import config_from_plain, load_config
from dlrun.config.registry import Parts
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.run import Run
from dlrun.training import run_writer
from dlrun.training.checkpoint import FORMAT, load_checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.loop import fit
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan
from dlrun.training.recipe import Row
from dlrun.training.run_writer import Outcome
from dlrun.training.state import State
from dlrun.training.views import HiddenTraining

SMALL = {
    "name": "small",
    "seeds": [0],
    "device": "cpu",
    "threads": 1,
    "dataset": {"name": "spiral", "points": 20},
    "architecture": {"name": "mlp", "hidden": [8]},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 3,
    "batch_size": 16,
    "metrics": ["accuracy"],
    "plots": [],
}
SMALL_CNN = {
    "name": "cnn",
    "channels": [3, 4],
    "kernel_size": 3,
    "padding": 1,
    "hidden": [6],
    "batch_norm": True,
    "dropout": 0.3,
}
FILES_OF_A_RUN = {
    "config.yaml",
    "metrics.csv",
    "checkpoints/last.pt",
    "checkpoints/best.pt",
    "summary.json",
    "log.txt",
}
SIGNS = """\
import torch
from dlrun.config.options import Positive


class Signs(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad.sign()


def signs(parameters, *, lr: Positive):
    '''A step of the same size along every axis.'''
    return Signs(parameters, lr)
"""

# What could be forgotten between two halves of a run.
FULL: dict[str, Any] = {
    "seeds": [3, 1],
    "architecture": {"name": "mlp", "hidden": [8], "batch_norm": True, "dropout": 0.3},
    "augmentations": [{"name": "noise", "sd": 0.2}],
    "dataset": {"name": "spiral", "points": 20, "valid_fraction": 0.2},
    "gradient_clip": 0.5,
}
STEPS = 3  # of an epoch of these 48 examples in batches of 16
NOW_AND_THEN: dict[str, Any] = {"evaluate_every": 2, "evaluate_train_every": 3}
COSINE: dict[str, Any] = {"name": "cosine", "warmup": 0.3}
WITH_CLOSURES = ("lbfgs", "sam", "sam_adamw")  # optimizers that compute the loss several times in a step
OPTIMIZER_OPTIONS: dict[str, dict[str, Any]] = {  # so that there is a state to lose
    "sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "rmsprop": {"momentum": 0.5, "centered": True},
    "lbfgs": {"iterations": 4, "history": 3},
}

# A folder of class folders of small images stands for PATH.
PHOTOS = """\
seeds: [0]
dataset: {name: image_folder, path: PATH, size: 8}
architecture: {name: mlp, hidden: [4], flatten: true}
loss: cross_entropy
optimizer: {name: adam, lr: 1e-2}
epochs: 1
batch_size: 4
plots: []
"""

# What dlrun does not bring: a regression, small images, few and uneven classes.
OWN_PARTS = {
    "dataset/line.py": '''
"""A noisy plane over three features."""
import torch
from dlrun.data.examples import Data, Examples
from dlrun.data.preprocessing import Preprocessing
from dlrun.config.options import Count, Fraction


def line(root, *, points: Count = 50, scale: float = 1.0, valid_fraction: Fraction = 0.0):
    """Two figures for each example."""

    def read():
        stream = torch.Generator().manual_seed(5)
        splits = {}
        for name, n in (("train", points), ("test", 30)):
            x = torch.randn(n, 3, generator=stream)
            noise = 0.1 * torch.randn(n, 2, generator=stream)
            splits[name] = Examples(x, scale * (torch.stack([x.sum(1), x[:, 0] - 2], 1) + noise))
        return splits

    def fit(training):
        return Preprocessing(training.inputs.mean(0), training.inputs.std(0))

    return Data("regression", (3,), read, unit="m", targets=2, fit=fit, valid_fraction=valid_fraction)
''',
    "dataset/dots.py": '''
"""Small random images of three classes, a bright row for each."""
import torch
from dlrun.data.examples import Data, Examples
from dlrun.data.image_files.pixels import FITS
from dlrun.config.options import Count, Fraction


def dots(root, *, images: Count = 40, valid_fraction: Fraction = 0.0, named: bool = False):
    """uint8 images of 1×8×8 pixels."""

    def read():
        stream = torch.Generator().manual_seed(6)
        splits = {}
        for name, n in (("train", images), ("test", 20)):
            targets = torch.randint(3, (n,), generator=stream)
            pixels = torch.randint(0, 120, (n, 1, 8, 8), generator=stream, dtype=torch.uint8)
            pixels[torch.arange(n), 0, 2 * targets] += 100
            splits[name] = Examples(pixels, targets, origin=torch.arange(n) if named else None)
        return splits

    return Data("classification", (1, 8, 8), read, classes=("top", "middle", "bottom"), fit=FITS["train"],
                valid_fraction=valid_fraction, name_of=lambda number: f"new/image {number}.png")
''',
    "dataset/days.py": '''
"""A year of days, each guessed from the day before."""
import torch
from dlrun.data.examples import Data, Examples
from dlrun.data.preprocessing import Preprocessing
from dlrun.config.options import Count


def days(root, *, days: Count = 80, mixed: bool = False):
    """A figure for each day in K; the last quarter is to test on, or a random one where mixed."""

    def read():
        stream = torch.Generator().manual_seed(8)
        warmth = 280 + 10 * torch.sin(torch.arange(days + 1) / 12) + torch.randn(days + 1, generator=stream)
        inputs = torch.stack([warmth[:-1], torch.arange(days) % 7, torch.full((days,), 4.0)], 1)
        date = 1_500_000_000 // 86400 * 86400 + 86400 * torch.arange(days)
        every = Examples(inputs, warmth[1:, None], {"date": date, "day before": warmth[:-1]})
        order = torch.randperm(days, generator=stream) if mixed else torch.arange(days)
        cut = 3 * days // 4
        return {"train": every.take(order[:cut]), "test": every.take(order[cut:])}

    def fit(training):
        return Preprocessing(training.inputs.mean(0), training.inputs.std(0).clamp_min(1e-3))

    return Data("regression", (3,), read, features=("before", "weekday", "always"), target="warmth", unit="K",
                fit=fit, baselines=("day before",))
''',
    "dataset/points.py": '''
"""Your own points, a line of a text file for each."""
from pathlib import Path
import torch
from dlrun.config.options import Fraction
from dlrun.data.examples import Data, Examples, NewInputs
from dlrun.data.hash_split import text_keys
from dlrun.errors import UserError


def points(root, *, path: str, test_fraction: Fraction = 0.25, unreadable: str = "refuse"):
    """Lines of two numbers and a class, a or b; the last are to test on."""

    def read_all(path):
        lines = Path(path).read_text().splitlines()
        cells = [line.split() for line in lines]
        if missing := [number for number, own in enumerate(cells, 1) if len(own) < 3]:
            raise UserError(f"line {missing[0]} has no class", where=str(path))
        inputs = torch.tensor([[float(cell) for cell in own[:2]] for own in cells])
        targets = torch.tensor(["ab".index(own[2]) for own in cells])
        return Examples(inputs, targets, keys=text_keys(lines), origin=torch.arange(1, len(lines) + 1))

    def read():
        every = read_all(path)
        n = len(every)
        cut = n - round(test_fraction * n)
        parts = {"train": torch.arange(cut), "test": torch.arange(cut, n)}
        return {name: every.take(rows) for name, rows in parts.items()}

    def read_new(path):
        lines = Path(path).read_text().splitlines()
        for start in range(0, len(lines), 3):
            some = [line.split()[:2] for line in lines[start : start + 3]]
            read = [own for own in some if "?" not in own]
            yield NewInputs(
                [f"line {start + number}" for number in range(1, len(some) + 1)],
                torch.tensor([[float(cell) for cell in own] for own in read]).view(-1, 2),
                {number: "? is no number" for number, own in enumerate(some) if "?" in own},
                {"x": [own[0] for own in some]},
            )

    return Data("classification", (2,), read, classes=("a", "b"), read_labelled=read_all, read_new=read_new,
                name_of=lambda number: f"line {number}")
''',
    "dataset/uneven.py": '''
"""Points of four classes, of which one is much more frequent."""
import torch
from dlrun.data.examples import Data, Examples


def uneven(root, *, poisoned: int = -1):
    """24, 8, 4 and 4 points of each class; example number `poisoned` is not finite."""

    def read():
        stream = torch.Generator().manual_seed(7)
        targets = torch.arange(4).repeat_interleave(torch.tensor([24, 8, 4, 4]))
        splits = {name: Examples(torch.randn(40, 2, generator=stream) + targets[:, None], targets)
                  for name in ("train", "test")}
        if poisoned >= 0:
            splits["train"].inputs[poisoned] = float("inf")
        return splits

    return Data("classification", (2,), read, classes=("a", "b", "c", "d"))
''',
}


ENERGY = '''
"""Cross entropy of energies: the smallest output is the most probable class."""
import torch.nn.functional as F
task = "classification"


def energy(outputs, targets):
    """Cross entropy of the softmax of the negative outputs."""
    return F.cross_entropy(-outputs, targets, reduction="none")


def probabilities(outputs):
    return (-outputs).softmax(-1)


def constant(shares):
    return -shares.log()
'''  # a loss whose largest output is that of the least probable class


def own_parts(folder: Path, more: dict[str, str] | None = None) -> Parts:
    """A folder of parts as a user would write them, `more` among them."""
    return parts_in(folder, OWN_PARTS | (more or {}))


def parts_in(folder: Path, files: dict[str, str]) -> Parts:
    """A folder with these files of parts."""
    for name, text in files.items():
        path = folder / "parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip(), encoding="utf-8")
    return Parts(folder / "parts")


def lines_of_points(n: int, seed: int = 0) -> list[str]:
    """The lines of a file for the dataset `points`: two numbers, and the class a where they are alike."""
    pairs = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)).tolist()
    return [f"{x:.4f} {y:.4f} {'a' if x * y > 0 else 'b'}" for x, y in pairs]


def planned(parts: Parts | None = None, data_dir: Path = Path("no-data"), **changes: Any) -> Plan:
    """The plan of the small config with some keys changed."""
    parts = parts or Parts()
    return make_plan(config_from_plain(SMALL | changes, "small.yaml", parts=parts), parts, data_dir)


def started(plan: Plan, folder: Path) -> Run:
    """A new run folder for a plan, nothing trained yet."""
    return create_run(folder, plan.config.name, dump_config(plan.config))


def trained(plan: Plan, folder: Path, **options: Any) -> Run:
    """A new run of a plan, trained to the end."""
    run = started(plan, folder)
    train_run(plan, run, options.pop("view", HiddenTraining()), **options)
    return run


def mostly_slow(every: Iterable[Any], *usual: Any) -> list[Any]:
    """Parameters of a test, of which all but the `usual` ones are for the slow tests."""
    return [pytest.param(one, marks=[] if one in usual else pytest.mark.slow) for one in every]


def go_on(run: Run, changes: dict[str, Any], parts: Parts | None = None, **options: Any) -> Outcome:
    """Go on with a run of the small config with some keys changed, in this process."""
    plan = planned(parts, **changes)
    return train_run(plan, run, options.pop("view", HiddenTraining()), **options)


def only_run(runs_dir: Path) -> Run:
    """The run in a folder that has no other."""
    [run] = runs_in(runs_dir)
    return run


def saved_epoch(run: Run) -> int:
    """The epoch that a run can be resumed from, or -1 if it was never saved."""
    return int(load_checkpoint(run.last).state["epoch"]) if run.last.exists() else -1


class Listening(HiddenTraining):
    """A view that remembers the warnings and, when asked to, acts at a step."""

    def __init__(self, at_step: int = -1, act: Callable[[], object] = lambda: None) -> None:
        self.warnings: list[str] = []
        self.steps, self.at_step, self.act = 0, at_step, act

    def tick(self, examples: int) -> None:
        self.steps += 1
        if self.steps == self.at_step:
            self.act()

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def interrupting(at_step: int) -> Listening:
    """A view during which Ctrl-C is pressed, in the middle of a step."""
    return Listening(at_step, lambda: os.kill(os.getpid(), signal.SIGINT))


def outcome(run: Run) -> dict[str, Any]:
    """All that a run learnt, as it must be bit for bit: nothing in it depends on the clock."""
    state = load_checkpoint(run.last).state
    best = [dict(own, figures=timeless(own["figures"])) if own else None for own in state["best"]]
    saved_best = load_checkpoint(run.best)
    return {
        "model": state["model"],
        "optimizer": state["optimizer"],
        "scaler": state["scaler"],
        "epoch": state["epoch"],
        "best": best,
        "stopped": state["stopped"],
        "best.pt": saved_best.state["model"],
        "best.pt figures": timeless(saved_best.figures),
        "rows": timeless(run.rows()),
    }


def files_of(run: Run) -> set[str]:
    """The files in a run folder, by their paths relative to it."""
    return {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}


def timeless(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns that do not depend on the clock."""
    return {name: values for name, values in columns.items() if name != "seconds"}


def far_figures(run: Run, other: Run, tolerance: float = 1e-6) -> list[str]:
    """The columns of two runs whose figures differ by more than rounding."""
    ours, theirs = (timeless(each.rows()) for each in (run, other))
    assert ours.keys() == theirs.keys()

    def numbers(values: list[Any]) -> list[float]:
        return [math.nan if each is None else each for each in values]

    return [
        column
        for column in ours
        if numbers(ours[column]) != pytest.approx(numbers(theirs[column]), rel=tolerance, nan_ok=True)
    ]


def of_seed(run: Run, seed: int) -> dict[str, Any]:
    """The weights and rows of one of a run's seeds, as if it had been alone."""
    rows = run.rows()
    mine = [index for index, each in enumerate(rows["seed"]) if each == seed]
    seeds = load_config(run.config, parts=Parts()).seeds if not run.last.exists() else None
    saved = load_checkpoint(run.last)
    index = (seeds or saved.config["seeds"]).index(seed)
    return {
        "model": saved.state["model"][index],
        "rows": {name: [values[i] for i in mine] for name, values in timeless(rows).items()},
    }


def written(path: Path, **changes: Any) -> Path:
    """A checkpoint file with some entries of another content, made without `save` and its checks."""
    plain = {
        "format": FORMAT,
        "dlrun": "0.1.0",
        "config": {},
        "data": {},
        "state": {},
        "figures": {},
        "environment": {},
    }
    torch.save(plain | changes, path)
    return path


def run_through(plan: Plan, watch: Any = iter) -> tuple[State, list[Row]]:
    """A plan's state after all its epochs, and their rows."""
    loaded = plan.load()
    hardware = plan.hardware(loaded)
    hardware.use()
    state = plan.state(hardware)
    return state, list(fit(state, loaded, plan.recipe, hardware, watch))


def weights(state: State) -> list[dict[str, Tensor]]:
    """The weights of each copy by their names."""
    return [{n: p.detach().clone() for n, p in copy.named_parameters()} for copy in state.model.copies]


def differences(a: Any, b: Any, place: str = "") -> list[str]:
    """The places where two trees of values differ in any bit; nan equals nan."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(7), b.nan_to_num(7))
        return [] if same and torch.equal(a.isnan(), b.isnan()) else [place]
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return [f"{place}: {list(a)} and {list(b)}"]
        return [found for key in a for found in differences(a[key], b[key], f"{place}.{key}")]
    if type(a) is not type(b):
        return [f"{place}: {type(a).__name__} and {type(b).__name__}"]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{place}: {len(a)} and {len(b)} values"]
        return [
            found
            for i, pair in enumerate(zip(a, b, strict=True))
            for found in differences(*pair, f"{place}[{i}]")
        ]
    same = a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
    return [] if same else [f"{place}: {a!r} and {b!r}"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content; nothing for one that is a pipe or leads nowhere."""
    return {name: raw for name, (_, raw) in tree(folder).items()}


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with the time at which it was written, in nanoseconds, and its content."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The files that are other ones, or are in only one of two trees."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def save_at_every_epoch() -> None:
    """Save after each epoch rather than every few seconds, in this process."""
    run_writer.SAVE_EVERY = run_writer.SAVE_SHARE = 0


@contextmanager
def little_memory() -> Iterator[None]:
    """Not a gigabyte more than the process has, so that what would take all of it fails soon."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, limits[1]))
    except (OSError, ValueError):
        pass  # not every system has it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# ------------------------------------------------------------ runs in a process that may be killed


def child(target: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    """A process of its own, begun: forked from one that imported torch but never computed anything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "dlrun.console.commands.app",
            "dlrun.console.training_view",
            "dlrun.sweeps.sweep",
            "dlrun.training.experiment",
            "torch._dynamo",
            "torch.utils.flop_counter",
        ]
    )
    process = context.Process(target=_heeding_signals, args=(target, *arguments))
    main = vars(sys.modules["__main__"])
    program = main.pop("__file__", None)  # each child would import it anew: `pytest` takes half a second
    try:
        process.start()
    finally:
        if program is not None:
            main["__file__"] = program
    return process


def _heeding_signals(target: Callable[..., None], *arguments: Any) -> None:
    """The first code of `child`: it restores the signals, which a server begun by a sweep ignores."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    target(*arguments)


def train_in_child(folder: str, changes: dict[str, Any]) -> None:
    """Go on with the run in `folder`, saving at every epoch."""
    save_at_every_epoch()
    train_run(planned(**changes), Run(Path(folder)), HiddenTraining())
