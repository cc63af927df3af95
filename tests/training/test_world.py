"""Several processes train one run: equal batches, equal figures, one error."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from small_runs import (
    SMALL_CNN,
    child,
    differences,
    far_figures,
    mostly_slow,
    outcome,
    own_parts,
    planned,
    started,
)

from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import Diverged
from dlrun.run_folders.locating import run_called
from dlrun.run_folders.run import Run
from dlrun.system.signals import request_stop
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.following import follow
from dlrun.training.loop import evaluate, fit
from dlrun.training.plan_making import make_plan
from dlrun.training.presence import Presence
from dlrun.training.views import HiddenTraining
from dlrun.training.world import World

PROJECT = Path(__file__).parents[2]
# Each example goes through one of two layers: of a few examples it may be the same for all.
ROUTED = {
    "architecture/routed.py": '''
from torch import nn, where


class Routed(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.one, self.other = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, inputs):
        takes_one = inputs[:, 0] > 0.3
        outputs = inputs.new_zeros(len(inputs), self.one.out_features)
        for layer, chosen in ((self.one, takes_one), (self.other, ~takes_one)):
            if chosen.any():
                outputs = outputs.index_put((chosen.nonzero()[:, 0],), layer(inputs[chosen]))
        return outputs


def routed(shape, outputs):
    """A layer for some examples, and another for the others."""
    return Routed(shape[0], outputs)
'''
}
SETTINGS: dict[str, dict[str, Any]] = {
    "an MLP": {},
    "dropout": {"architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3}},
    "convolutions and changes": {
        "dataset": "dots",
        "architecture": SMALL_CNN | {"batch_norm": False},
        "augmentations": [{"name": "crop", "padding": 1}, "mixup"],
        "batch_size": 9,
    },
    "two seeds": {"seeds": [0, 3], "gradient_clip": 0.1},
    "stacked": {"seeds": [0, 3], "stacked": True},
    "micro-batches": {"micro_batch": 3, "average": "ema"},
    "class weights": {"loss": {"name": "cross_entropy", "class_weight": "balanced"}},
    "batch normalisation": {"dataset": "dots", "architecture": SMALL_CNN, "batch_size": 9, "seeds": [0, 3]},
    "batch normalisation, a last batch of two": {
        "architecture": {"name": "mlp", "hidden": [8], "batch_norm": True},
        "batch_size": 58,
    },
    "a last batch of one": {"batch_size": 59, "epoch_examples": 60},
    "class weights, a last batch of one": {
        "loss": {"name": "cross_entropy", "class_weight": [1.0, 3.0, 2.0]},
        "batch_size": 59,
        "epoch_examples": 60,
    },
    "branches": {"architecture": "routed", "batch_size": 3},
    "whole metrics": {"metrics": ["accuracy", "auroc"], "evaluation_batch_size": 7},
}


def process(rank: int, size: int, folder: str, act: Callable[[World, str], Any]) -> None:
    """The main function of one of several processes; leaves what `act` gives, or its error."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    try:
        torch.set_num_threads(1)
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/meeting",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=60),
        )
        store = dist.FileStore(f"{folder}/notes", size)
        found: Any = act(World(rank, size, Presence(store, rank, size, "60s")), folder)
        dist.destroy_process_group()
    except Exception as error:
        found = error if isinstance(error, Diverged) else "".join(traceback.format_exception(error))
    Path(folder, f"found-{rank}").write_bytes(pickle.dumps(found))


def together(size: int, folder: Path, act: Callable[[World, str], Any]) -> list[Any]:
    """The results of `act(world, folder)` in each of so many processes."""
    folder.mkdir()
    processes = [child(process, rank, size, str(folder), act) for rank in range(size)]
    for each in processes:
        each.join(120)
    return [pickle.loads((folder / f"found-{rank}").read_bytes()) for rank in range(size)]


class Trained:
    """Two epochs of a setting: the rows, the weights, and the figures of these weights."""

    def __init__(self, parts: str, changes: dict[str, Any]) -> None:
        self.parts, self.changes = parts, changes

    def __call__(self, world: World, folder: str) -> Any:
        plan = planned(Parts(Path(self.parts)), **self.changes | {"precision": "float64", "epochs": 2})
        loaded = plan.load()
        hardware = replace(plan.hardware(loaded), world=world)
        hardware.use()
        state = plan.state(hardware)
        rows = list(fit(state, loaded, plan.recipe, hardware))
        weights = [value.detach().clone() for value in state.model.values()]
        return rows, weights, evaluate(state.model, loaded["test"], plan.recipe, hardware)


def numbers(row: dict[str, list[float]]) -> list[float]:
    return [value for column, values in row.items() if column != "seconds" for value in values]


USUAL = ("batch normalisation", "micro-batches")
SIZES = mostly_slow((2, 3), 3)


@pytest.mark.parametrize("setting", mostly_slow(SETTINGS, *USUAL))
@pytest.mark.parametrize("size", SIZES)
def test_any_number_of_processes_learns_the_same(size: int, setting: str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, ROUTED)
    trained = Trained(str(parts.folder), SETTINGS[setting])
    rows, weights, _ = trained(World(), "")
    found = together(size, tmp_path / "together", trained)
    assert all(isinstance(each, tuple) for each in found), found
    for own_rows, own, _ in found:
        for ours, theirs in zip(own_rows, rows, strict=True):
            torch.testing.assert_close(torch.tensor(numbers(ours)), torch.tensor(numbers(theirs)))
        for ours, theirs in zip(own, weights, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        assert all(map(torch.equal, own, found[0][1])), "each process has the same weights bit for bit"


SEEN = {
    "architecture/seeing.py": '''
from torch import nn

SEEN, is_idle = [], lambda: False


class Seeing(nn.Linear):
    def forward(self, inputs):
        if self.training and not is_idle():
            SEEN.append(inputs[:, 0].tolist())
        return super().forward(inputs)


def seeing(shape, outputs):
    """A layer that keeps what it was trained on."""
    return Seeing(shape[0], outputs)
'''
}


def seen(parts: str, batch: int, world: World, folder: str) -> list[list[float]]:
    """The examples of which this process computed each step of two epochs."""
    own = Parts(Path(parts)).module("architecture", "seeing")
    own.is_idle = lambda: (
        world.is_idle
    )  # then it computes an example of another process, which does not count
    Trained(parts, {"architecture": "seeing", "batch_size": batch})(world, folder)
    found: list[list[float]] = own.SEEN
    return found


@pytest.mark.parametrize("batch", mostly_slow([7, 59, 60], 7))  # of 60 examples: the last ones are 4, 1, 60
@pytest.mark.parametrize("size", SIZES)
def test_the_processes_together_see_each_batch_once(size: int, batch: int, tmp_path: Path) -> None:
    see = partial(seen, str(own_parts(tmp_path, SEEN).folder), batch)
    [whole], every = together(1, tmp_path / "one", see), together(size, tmp_path / "more", see)
    assert len(whole) == 2 * -(-60 // batch), whole
    if batch == 59:  # the last example of an epoch is the first process's
        assert [len(each) for each in every] == [4, *[2] * (size - 1)]
        every = [every[0], *([each[0], [], each[1], []] for each in every[1:])]
    steps = list(zip(*every, strict=True))
    assert [[*chain.from_iterable(parts)] for parts in steps] == whole
    assert all(max(map(len, parts)) - min(map(len, parts)) <= 1 for parts in steps)


def short_of_memory(parts: str, world: World, folder: str) -> Any:
    """The figures of a model for which memory suffices for 5 examples in the second process."""
    plan = planned(Parts(Path(parts)), evaluation_batch_size=10, precision="float64")
    loaded, said = plan.load(), list[str]()
    hardware = replace(plan.hardware(loaded), world=world, warn=said.append)

    def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if world.rank == 1 and len(inputs[0]) > 5:
            torch.empty(2**50)

    model = plan.state(hardware).model
    model.copies[0].register_forward_pre_hook(refuse)
    return evaluate(model, loaded["test"], plan.recipe, hardware), hardware.pieces.most, said


def test_memory_that_does_not_suffice_in_one_process_is_known_to_all(tmp_path: Path) -> None:
    act = partial(short_of_memory, str(own_parts(tmp_path).folder))
    first, second = together(2, tmp_path / "two", act)
    assert (first[1], second[1]) == (5, 5)
    assert first[2] == ["memory of another process does not suffice: from here on evaluation_batch_size is 5"]
    assert second[2] == [
        "memory does not suffice for 10 examples at once: from here on evaluation_batch_size is 5"
    ]
    alone, most, _ = act(World(), "")
    assert most is None
    assert numbers(first[0]) == numbers(second[0]) == pytest.approx(numbers(alone), rel=1e-12)


TEXT = ("char_lm", "dataset.count=600", "batch_size=17")
READER = "architecture={name: transformer, layers: 2, width: 16, dropout: 0.1}"
SHIPPED: dict[str, tuple[str, ...]] = {
    "spiral_relu": ("spiral_relu", "epochs=20"),
    "mnist_cnn": ("mnist_cnn", "limit=1300"),
    "batch normalisation": ("mnist_cnn", "limit=1300", "architecture.batch_norm=true"),
    "several seeds": ("spiral_relu", "epochs=20", "seeds=[0,1,2]", "batch_size=149"),
    "a transformer on text": TEXT,
    "its dropout": (*TEXT, "architecture.dropout=0.1", "architecture.drop_path=0.1"),
    "texts of different lengths": ("reviews_gru", "dataset.count=400", "batch_size=15", READER),
}


class Shipped(Trained):
    """A shipped config with other values, in float64."""

    def __init__(self, words: tuple[str, ...], data: Path) -> None:
        self.words, self.data = words, data

    def __call__(self, world: World, folder: str) -> Any:
        name, *words = self.words
        parts = Parts()
        config = load_config(PROJECT / "configs" / f"{name}.yaml", [*words, "precision=float64"], parts)
        plan = make_plan(replace(config, epochs=min(config.epochs, 20)), parts, self.data)
        loaded = plan.load()
        hardware = replace(plan.hardware(loaded), world=world, threads=1)
        hardware.use()
        state = plan.state(hardware)
        training = fit(state, loaded, plan.recipe, hardware)
        rows = [next(training)] if config.epochs < 20 else list(training)
        assert plan.recipe.sampling.steps(len(loaded["train"])) * len(rows) >= 20
        return rows, [], evaluate(state.model, loaded["test"], plan.recipe, hardware)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SHIPPED)
def test_a_shipped_config_learns_the_same_in_any_number_of_processes(
    setting: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words = SHIPPED[setting]
    data: Path = request.getfixturevalue("real_mnist") if "mnist" in words[0] else tmp_path
    shipped = Shipped(words, data)
    rows, _, _ = shipped(World(), "")
    for size in (2, 3):
        for own_rows, _, _ in together(size, tmp_path / f"of-{size}", shipped):
            for ours, theirs in zip(own_rows, rows, strict=True):
                assert numbers(ours) == pytest.approx(numbers(theirs), abs=1e-5)


class Evaluated(Trained):
    """The figures of the initial weights, in float32, in pieces of 7 examples."""

    def __call__(self, world: World, folder: str) -> Any:
        plan = planned(Parts(Path(self.parts)), **self.changes | {"evaluation_batch_size": 7})
        loaded = plan.load()
        hardware = replace(plan.hardware(loaded), world=world)
        state = plan.state(hardware)
        return [evaluate(state.model, loaded[name], plan.recipe, hardware) for name in ("train", "test")]


@pytest.mark.parametrize("size", SIZES)
def test_equal_weights_have_equal_figures_to_the_last_bit(size: int, tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    changes = {"seeds": [0, 3], "metrics": ["accuracy", "auroc", "f1", "log_loss"]}
    evaluated = Evaluated(str(parts.folder), changes)
    alone = evaluated(World(), "")
    assert together(size, tmp_path / "together", evaluated) == [alone] * size


def test_a_loss_that_is_not_finite_for_one_of_them_stops_all_before_the_step(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    changes = {"dataset": "line", "loss": "mse", "metrics": [], "optimizer": {"name": "sgd", "lr": 1e20}}
    found = together(2, tmp_path / "of-2", Trained(str(parts.folder), changes | {"batch_size": 3}))
    assert [type(each) for each in found] == [Diverged, Diverged], found
    assert len({str(each) for each in found}) == 1
    assert "the loss of seed 0 is " in str(found[0])


class WholeRun:
    """A run of several processes in its folder, of which the first writes; the exit code or the error."""

    def __init__(self, parts: str, changes: dict[str, Any], runs: str, **options: Any) -> None:
        self.parts, self.changes, self.runs, self.options = parts, changes, runs, options

    def __call__(self, world: World, folder: str) -> Any:
        parts = Parts(Path(self.parts))
        if world.rank:
            follow(world, parts, Path("no-data"))
            return 0
        plan = planned(parts, **self.changes)
        options = dict(self.options)
        latest = run_called(Path(self.runs), "small") if options.pop("resume", False) else None
        run = latest or started(plan, Path(self.runs))
        view = StopsAt(options.pop("stop_at", 0))
        return train_run(plan, run, view, world=world, **options).exit_code


class StopsAt(HiddenTraining):
    """A view at whose so-manieth step the process is asked to stop."""

    def __init__(self, step: int) -> None:
        self.left = step

    def tick(self, examples: int) -> None:
        self.left -= 1
        if self.left == 0:
            request_stop()


WHOLE: dict[str, dict[str, Any]] = {
    "dropout": {"architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3}, "average": "ema"},
    "seeds that stop": {"seeds": [0, 3], "patience": 1, "epochs": 8, "optimizer": {"name": "sgd", "lr": 2.0}},
    "plateau": {"schedule": {"name": "plateau", "patience": 1}, "evaluate_every": 2},
}


@pytest.mark.parametrize("setting", mostly_slow(WHOLE, "seeds that stop"))
def test_a_run_of_two_is_resumed_bit_for_bit_by_two_and_nearly_by_one(setting: str, tmp_path: Path) -> None:
    parts, changes = own_parts(tmp_path), {"epochs": 5, "precision": "float64"} | WHOLE[setting]

    def whole(name: str, size: int, code: int = 0, **options: Any) -> Run:
        runs = tmp_path / name
        act = WholeRun(str(parts.folder), changes, str(runs), **options)
        found = together(size, tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}", act)
        assert found == [code, *[0] * (size - 1)], found
        run = run_called(runs, "small")
        assert run is not None
        return run

    unbroken = whole("unbroken", 2)
    stopped = whole("resumed", 2, 143, stop_at=2)
    assert load_checkpoint(stopped.step).state["within"]["step"], "within an epoch"
    resumed = whole("resumed", 2, resume=True)
    assert not differences(outcome(unbroken), outcome(resumed))
    whole("alone", 2, 143, stop_at=3)
    alone = whole("alone", 1, resume=True)
    assert not far_figures(alone, unbroken)
