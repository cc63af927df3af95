"""An example of weight 2 counts as two: in what is learnt, in every figure, and in what is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, of_seed, outcome, own_parts, planned, trained
from torch import Tensor
from torch.nn.functional import cross_entropy

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.trees import single
from dlrun.errors import Diverged, UserError
from dlrun.run_folders.run import Run
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.trained import Trained

COUNTED = '''
"""Examples of each task, which stand there several times, or have weights."""
import torch
from dlrun.data import Data, Examples


def counted(root, *, task: str = "classification", ways: str = "weights", equal: float = 0.0, first: int = 0):
    """`ways` is weights, copies (as many as the weight says), or none of both; all `equal`."""
    kinds = {
        "classification": {"classes": ("a", "b", "c")},
        "regression": {"targets": 2, "target_names": ("one", "two")},
        "multilabel": {"classes": ("a", "b", "c")},
        "sequence": {"classes": ("a", "b", "c"), "places": (2,)},
        "reconstruction": {},
    }

    def targets_of(x, n):
        if task == "multilabel":
            return (x[:, :3] > 0.2).float()
        if task == "regression" or task == "reconstruction":
            return torch.stack([x[:, 0] - x[:, 1].square(), 3 + 2 * x[:, 2]], 1)
        if task == "sequence":
            found = (3 * x[:, :2].sigmoid()).long()
            found[::5, 1] = -100
            return found
        return (3 * x[:, 0].sigmoid()).long()

    def read():
        stream = torch.Generator().manual_seed(3)
        splits = {}
        for name, n in (("train", 40), ("valid", 21), ("test", 30)):
            x = torch.randn(n, 4, generator=stream)
            targets = targets_of(x, n)
            weights = torch.randint(0, 4, (n,), generator=stream)
            weights[0] += first
            if equal:
                weights = torch.full((n,), equal)
            rows = torch.arange(n)
            if ways == "copies":
                rows = rows.repeat_interleave(weights)
            splits[name] = Examples(x[rows], targets[rows], weights=weights if ways == "weights" else None)
        return splits

    splits = ("train", "valid", "test")
    return Data(task, (4,), read, splits=splits, weighted=ways == "weights", **kinds[task])
'''
WHOLE = '''
import torch
task = "classification"
whole = True


def furthest(outputs, targets, weights=None):
    """The mean of the largest output, of examples that count as often as their weights say."""
    each = torch.ones(len(outputs)) if weights is None else weights
    return (outputs.amax(1) * each).sum() / each.sum()
'''
WARM = '''
import torch
from torch import nn
from torch.nn.functional import cross_entropy


class Warm(nn.Module):
    def __init__(self):
        super().__init__()
        self.heat = nn.Parameter(torch.tensor(1.5))

    def forward(self, outputs, targets):
        return cross_entropy(outputs * self.heat, targets, reduction="none") + self.heat.square()


def warm():
    """A loss with a weight of its own."""
    return Warm()


def probabilities(outputs):
    return outputs.softmax(-1)
'''
NAMED = '''
from torch import nn


def each_place(shape, outputs):
    """Outputs (n, classes, 2) of a sequence of two."""
    return nn.Sequential(nn.Linear(4, 2 * outputs), nn.Unflatten(1, (outputs, 2)))
'''
MORE = {
    "dataset/counted.py": COUNTED,
    "metrics/furthest.py": WHOLE,
    "loss/warm.py": WARM,
    "architecture/each_place.py": NAMED,
}
OF_TASK: dict[str, dict[str, Any]] = {
    "classification": {"metrics": ["accuracy", "f1", "furthest"]},
    "regression": {"loss": "mse", "metrics": ["mae", "rmse", "r2"]},
    "multilabel": {"loss": "bce", "metrics": ["f1", "exact_match"]},
    "sequence": {"architecture": "each_place", "metrics": ["accuracy", "perplexity"]},
    "reconstruction": {"loss": "mse", "metrics": ["mae"], "architecture": {"name": "mlp", "hidden": [3]}},
}
SGD: dict[str, Any] = {"name": "sgd", "lr": 0.05, "momentum": 0.9}


def changes(task: str = "classification", ways: str = "weights", **more: Any) -> dict[str, Any]:
    dataset = {"name": "counted", "task": task, "ways": ways, **more.pop("dataset", {})}
    return {"dataset": dataset, "optimizer": SGD, **OF_TASK[task], **more}


def report_of(run: Run, parts: Parts, split: str = "test") -> tuple[Trained, dict[str, Any]]:
    model, saved = open_checkpoint(run.last, run, [], parts, Path("no-data"))
    return model, evaluate_run(model, saved, run.last, split)


def numbers_in(tree: Any, place: str = "") -> dict[str, float]:
    """The numbers of a report by their places, without those that count rows."""
    if isinstance(tree, dict):
        left_out = ("examples", "weight", "sha256")
        each = [(key, own) for key, own in tree.items() if key not in left_out]
    elif isinstance(tree, list):
        each = list(enumerate(tree))
    else:
        return {place: tree} if isinstance(tree, int | float) else {}
    return {key: own for name, inner in each for key, own in numbers_in(inner, f"{place}.{name}").items()}


def assert_close(one: dict[str, float], other: dict[str, float], tolerance: float) -> None:
    assert one.keys() == other.keys()
    far = {
        key: (one[key], other[key])
        for key in one
        if one[key] != pytest.approx(other[key], rel=tolerance, abs=1e-9)
    }
    assert not far


@pytest.mark.parametrize(
    ("task", "more"),
    [
        *((task, {}) for task in OF_TASK),
        ("classification", {"loss": "warm"}),
        ("regression", {"optimizer": {"name": "lbfgs", "iterations": 4}}),
        ("classification", {"seeds": [0, 4], "stacked": True, "metrics": ["accuracy", "f1"]}),
        ("regression", {"gradient_clip": 0.1, "evaluate_train_every": 1}),
    ],
)
def test_weights_are_as_examples_that_stand_there_several_times(
    tmp_path: Path, task: str, more: dict[str, Any]
) -> None:
    parts = own_parts(tmp_path, MORE)
    found = []
    for ways in ("weights", "copies"):
        whole = changes(task, ways, precision="float64", batch_size="full", evaluation_batch_size=8, **more)
        run = trained(planned(parts, **whole), tmp_path / ways)
        found.append((run, outcome(run), run.rows(), run.summary(), report_of(run, parts)[1]))
    (_, ours, rows, summary, report), (_, theirs, their_rows, their_summary, their_report) = found
    for own, their_own in zip(ours["model"], theirs["model"], strict=True):
        for name, weight in own.items():
            assert torch.allclose(weight, their_own[name], rtol=1e-7, atol=1e-9), name
    for column in set(rows) - {"seconds"}:
        assert rows[column] == pytest.approx(their_rows[column], rel=1e-6, abs=1e-9), column
    assert summary["baselines"] or "loss" in more
    assert_close(numbers_in(summary["baselines"]), numbers_in(their_summary["baselines"]), 1e-5)
    for entry in ("loss", "metrics", "per_seed", "baselines", "per_class", "confusion", "per_target"):
        assert (entry in report) == (entry in their_report)
        assert_close(numbers_in(report.get(entry, {})), numbers_in(their_report.get(entry, {})), 1e-5)
    assert report["weight"] == their_report["examples"] or task == "sequence"


def test_weights_of_1_change_no_bit_of_what_is_learnt(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE)
    runs = [
        trained(
            planned(parts, **changes(ways=ways, dataset={"equal": 1.0}, seeds=[0, 1], metrics=["accuracy"])),
            tmp_path / ways,
        )
        for ways in ("weights", "none")
    ]
    with_ones, without = map(outcome, runs)
    assert not differences(with_ones["model"], without["model"])
    assert not differences(with_ones["optimizer"], without["optimizer"])
    rows, plain = with_ones["rows"], without["rows"]
    assert rows["train_accuracy"] == plain["train_accuracy"]
    for column in rows:  # sums of pairs are taken in another order
        assert rows[column] == pytest.approx(plain[column], rel=1e-13), column


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e5])
def test_only_the_proportions_of_weights_count(tmp_path: Path, factor: float) -> None:
    parts = own_parts(tmp_path, MORE)
    runs = [
        trained(
            planned(parts, **changes("regression", precision="float64", dataset={"equal": equal})),
            tmp_path / str(equal),
        )
        for equal in (1.0, factor)
    ]
    ours, theirs = (run.rows() for run in runs)
    for column in set(ours) - {"seconds"}:
        assert ours[column] == pytest.approx(theirs[column], rel=1e-6), column


def test_figures_are_those_of_their_formulas(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE)
    model, found = report_of(trained(planned(parts, **changes(epochs=15)), tmp_path / "runs"), parts)
    outputs, targets = model.outputs("test")
    weights = model.weights("test")
    assert weights is not None and found["weight"] == weights.sum() and found["examples"] == 30
    losses = cross_entropy(outputs[0], targets, reduction="none")
    right = (outputs[0].argmax(1) == targets).double()
    assert found["loss"] == pytest.approx(float((losses * weights).sum() / weights.sum()), rel=1e-6)
    assert found["metrics"]["accuracy"] == pytest.approx(float((right * weights).sum() / weights.sum()))
    confusion = torch.tensor(found["confusion"]["0"])
    assert float(confusion.trace() / confusion.sum()) == pytest.approx(found["metrics"]["accuracy"])
    for number, (name, own) in enumerate(found["per_class"].items()):
        of_class, said = targets == number, outputs[0].argmax(1) == number
        assert own["examples"] == int(of_class.sum()) and own["weight"] == float(weights[of_class].sum()), (
            name
        )
        hits = float(weights[of_class & said].sum())
        assert own["recall"] == pytest.approx(hits / float(weights[of_class].sum()))
        assert own["precision"] == pytest.approx(hits / float(weights[said].sum()))
    training, own_weights = model.loaded["train"].targets, model.weights("train")
    assert own_weights is not None
    shares = torch.bincount(training, own_weights.double()) / own_weights.sum()
    guess = float(-(shares.log()[targets] * weights).sum() / weights.sum())
    assert found["baselines"]["class prior"]["loss"] == pytest.approx(guess, rel=1e-5)

    model, found = report_of(trained(planned(parts, **changes("regression")), tmp_path / "runs"), parts)
    outputs, truth = (some.double() for some in model.outputs("test"))
    share = []
    for number, name in enumerate(("one", "two")):
        y, missed = truth[:, number], outputs[0, :, number] - truth[:, number]
        mean = (weights * y).sum() / weights.sum()
        share.append(float(1 - (weights * missed.square()).sum() / (weights * (y - mean).square()).sum()))
        assert found["per_target"][name]["r2"] == pytest.approx(share[-1], rel=1e-6)
        mae = float((weights * missed.abs()).sum() / weights.sum())
        assert found["per_target"][name]["mae"] == pytest.approx(mae, rel=1e-6)
    assert found["metrics"]["r2"] == pytest.approx(sum(share) / 2, rel=1e-6)


def test_each_seed_learns_what_it_does_alone(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE)
    together, stacked = (
        trained(planned(parts, **changes("regression", seeds=[3, 1], stacked=way)), tmp_path / str(way))
        for way in (False, True)
    )
    for seed in (3, 1):
        alone = of_seed(
            trained(planned(parts, **changes("regression", seeds=[seed])), tmp_path / "alone"), seed
        )
        assert not differences(of_seed(together, seed), alone)
        for name, weight in of_seed(stacked, seed)["model"].items():
            assert torch.allclose(weight, alone["model"][name], rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("stacked", [False, True])
def test_a_resumed_run_is_as_if_it_never_stopped(tmp_path: Path, stacked: bool) -> None:
    parts = own_parts(tmp_path, MORE)
    noise = [{"name": "noise", "sd": 0.1}]
    whole = changes("regression", seeds=[0, 2], stacked=stacked, augmentations=noise)
    unbroken = trained(planned(parts, **whole), tmp_path / "unbroken")
    halves = trained(planned(parts, **whole), tmp_path / "halves", stop_after=1)
    go_on(halves, whole, parts)
    assert not differences(outcome(unbroken), outcome(halves))


def test_other_weights_are_other_data(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE)
    loaded = [planned(parts, **changes(dataset={"first": first})).load().fingerprint for first in (0, 0, 1)]
    assert loaded[0] == loaded[1] != loaded[2]


def test_lower_precision_learns_nearly_the_same(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE)
    losses = [
        trained(planned(parts, **changes(precision=precision)), tmp_path / precision).rows()["train_loss"][-1]
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def refused(tmp_path: Path, more: dict[str, str] | None = None, **own: Any) -> str:
    with pytest.raises((ConfigError, UserError)) as error:
        plan = planned(own_parts(tmp_path, MORE | (more or {})), **changes(**own))
        plan.load()
    return str(error.value)


def test_parts_that_take_no_weights_are_refused_with_the_remedy(tmp_path: Path) -> None:
    said = refused(tmp_path, augmentations=[{"name": "mixup"}])
    assert "mixup changes targets, and may blend examples of different weights" in said
    loss = "batchwise = True\n\ndef hull(outputs, targets):\n    return outputs.square().max()\n"
    said = refused(tmp_path, {"loss/hull.py": loss}, loss="hull")
    assert "hull judges a batch as a whole" in said and "a loss of each example" in said
    metric = "whole = True\n\ndef peak(outputs, targets):\n    return outputs.max()\n"
    said = refused(tmp_path, {"metrics/peak.py": metric}, metrics=["peak"])
    assert "peak is one figure of a whole split" in said and "(outputs, targets, weights=None)" in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("weights.float() - 1", "train: the weight of example 5, counted from 0, is -1, but"),
        ("weights.float() / 0", "is inf, but a weight is finite and not below 0"),
        ("weights.float()[:, None]", "weights need a number for each of the 40 examples"),
        ("weights > 0", "weights are no numbers"),
        ("[1.0] * n", "weights need a number for each of the 40 examples"),
        ("None", "Data states weighted=True, but Examples have no weights"),
        ("0 * weights", "all 40 examples of train have weight 0"),
        ("weights * (name != 'test')", "all 30 examples of test have weight 0"),
    ],
)
def test_what_is_no_weight_is_refused_with_its_place(tmp_path: Path, wrong: str, said: str) -> None:
    text = COUNTED.replace("weights=weights if", f"weights={wrong} if")
    assert said in refused(tmp_path, {"dataset/counted.py": text})


def test_weights_that_data_does_not_state_are_refused(tmp_path: Path) -> None:
    text = COUNTED.replace('weighted=ways == "weights", ', "")
    assert "add weighted=True to Data" in refused(tmp_path, {"dataset/counted.py": text})


def test_an_epoch_of_weight_0_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    text = COUNTED.replace("weights=weights if", "weights=1 * (torch.arange(n) == 0) if")
    parts = own_parts(tmp_path, MORE | {"dataset/counted.py": text})
    plan = planned(parts, **changes(epoch_examples=2, metrics=["accuracy"], epochs=30))
    with pytest.raises(Diverged, match="no example of epoch 1 counts, for their weights sum to 0"):
        trained(plan, tmp_path / "runs")


def test_a_report_that_counts_examples_says_so(tmp_path: Path) -> None:
    task = """
from dlrun.blocks.tasks import Report
from dlrun.task.classification import Classification

parts_of = "classification"


def rough(data, loss):
    '''A classification that counts for itself.'''
    return Rough(data, loss)


class Counting(Report):
    def __init__(self):
        self.count = 0

    def add(self, outputs, targets):
        self.count += targets.shape[1]

    def sections(self, seeds):
        return {"counted": self.count}


class Rough(Classification):
    def report(self, copies):
        return Counting()
"""
    parts = own_parts(tmp_path, MORE | {"task/rough.py": task})
    run = trained(planned(parts, **changes(metrics=["accuracy"]) | {"task": "rough"}), tmp_path / "runs")
    _, found = report_of(run, parts)
    assert found["counted"] == 30
    assert any("counts every example once, whatever its weight" in text for text in found["warnings"])


def test_batches_carry_the_weights_of_their_examples(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path, MORE), **changes())
    split = plan.load()["train"]
    assert isinstance(split.targets, Tensor) and split.weights is not None
    some = torch.tensor([[3, 1], [0, 2]])
    _, targets = split.batch(some)
    assert isinstance(targets, dict)
    assert torch.equal([*targets.values()][1], split.weights[some])
    assert torch.equal(single(split.targets_at(some.flatten())), split.targets[some.flatten()])
