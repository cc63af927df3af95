"""The examples of an epoch: all of them, a part of a pass, several passes, whole batches alone, a few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, mostly_slow, of_seed, outcome, own_parts, planned, trained
from torch.utils.data import WeightedRandomSampler

from dlrun.config.mistakes import ConfigError
from dlrun.data.batches import Batches, Sampling
from dlrun.data.examples import Examples
from dlrun.data.loaded import InMemory
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Preprocessing
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint

CPU = torch.device("cpu")


def batches(n: int, sampling: Sampling, seeds: list[int] | None = None) -> Batches:
    inputs = torch.arange(n).unsqueeze(1)
    return Batches(
        InMemory(Examples(inputs, torch.arange(n)), Preparation.of_single(Preprocessing()), CPU),
        sampling,
        seeds or [0, 5],
    )


@pytest.mark.parametrize("examples", [1, 7, 10, 13, 20, 37])
def test_the_order_goes_on_through_all_examples_before_it_begins_again(examples: int) -> None:
    n, passes = 20, 4
    whole, parts = batches(n, Sampling(4)), batches(n, Sampling(4, examples))
    epochs = -(-passes * n // examples)
    orders = torch.cat([parts.order(epoch) for epoch in range(1, epochs + 1)], 1)[:, : passes * n]
    assert torch.equal(orders, torch.cat([whole.order(epoch) for epoch in range(1, passes + 1)], 1))
    for some in orders.split(n, dim=1):
        assert some.sort(1).values.tolist() == [list(range(n))] * 2


@pytest.mark.parametrize(
    ("sampling", "sizes"),
    [
        (Sampling(8, is_balanced=True), [8, 8, 4]),
        (Sampling(8, drop_last=True, is_balanced=True), [8, 8]),
        (Sampling(8, 11, is_balanced=True), [8, 3]),
        (Sampling(30, is_balanced=True), [20]),
        (Sampling(8), [8, 8, 4]),
        (Sampling(8, drop_last=True), [8, 8]),
        (Sampling(8, 11), [8, 3]),
        (Sampling(8, 11, drop_last=True), [8]),
        (Sampling(8, 50), [8] * 6 + [2]),
        (Sampling(30), [20]),
        (Sampling(30, drop_last=True), [20]),
        (Sampling("full"), [20]),
        (Sampling(20), [20]),
        (Sampling(20, 20), [20]),
        (Sampling(30, 45), [30, 15]),
    ],
)
def test_an_epoch_has_these_batches(sampling: Sampling, sizes: list[int]) -> None:
    loader = batches(20, sampling)
    found = [loader.examples(*batch)[1].shape for batch in loader.shuffled(2)]
    assert found == [(2, size) for size in sizes]
    assert (len(loader), loader.examples_of_epoch) == (len(sizes), sum(sizes))
    assert (sampling.steps(20), sampling.size(20)) == (len(sizes), sizes[0])


MANY: dict[str, dict[str, Any]] = {
    "a part of a pass": {"epoch_examples": 25},
    "more than a pass": {"epoch_examples": 130},
    "whole batches": {"drop_last": True},
    "a number of the data": {"limit": 25},
    "a share of the data": {"limit": 0.3},
    "balanced": {"sampling": "balanced"},
    "balanced and stacked": {"sampling": "balanced", "epoch_examples": 25, "stacked": True},
}


@pytest.mark.parametrize(
    "kind", mostly_slow(MANY, "more than a pass", "a share of the data", "balanced and stacked")
)
def test_a_run_of_such_epochs_is_resumed_bit_for_bit_and_each_seed_is_as_alone(
    kind: str, tmp_path: Path
) -> None:
    wanted = MANY[kind] | {"seeds": [0, 3], "schedule": "cosine", "epochs": 5}
    unbroken = trained(planned(**wanted), tmp_path)
    run = trained(planned(**wanted), tmp_path, stop_after=3)
    go_on(run, wanted)
    assert not differences(outcome(unbroken), outcome(run))


def test_a_balanced_order_has_the_shares_of_pytorchs_weighted_sampler() -> None:
    """In 40 epochs of 1,000 examples; within a class each example is drawn as often as any other."""
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(2))
    classes = torch.tensor([0] * 900 + [3] * 90 + [1] * 10)[order]
    examples = Examples(torch.arange(1000).unsqueeze(1), classes)
    split = InMemory(examples, Preparation.of_single(Preprocessing()), CPU)
    loader = Batches(split, Sampling(64, is_balanced=True), [7])
    orders = [loader.order(epoch)[0] for epoch in range(1, 41)]
    assert all(len(order) == 1000 for order in orders)
    found = torch.bincount(torch.cat(orders), minlength=1000)
    each = 1 / torch.bincount(classes).double()[classes]
    torch.manual_seed(3)
    theirs = torch.bincount(torch.tensor([*WeightedRandomSampler(each.tolist(), 40_000)]), minlength=1000)
    for some in (classes == 0, classes == 1, classes == 3):
        for drawn in (found, theirs):
            share = float(drawn[some].sum()) / 40_000
            assert abs(share - 1 / 3) < 4 * (2 / 9 / 40_000) ** 0.5
            wanted = 40_000 / 3 / int(some.sum())
            spread = float((drawn[some] - wanted).square().mean()) / wanted
            assert spread < 3, "as of a binomial, whose variance is about its mean"
            assert int(drawn[some].min()) > 0


def test_a_balanced_order_is_that_of_the_seed_and_the_epoch(tmp_path: Path) -> None:
    loaded = planned().load()["train"]
    several = Batches(loaded, Sampling(16, is_balanced=True), [3, 5])
    alone = Batches(loaded, Sampling(16, is_balanced=True), [5])
    assert torch.equal(several.order(2)[1], alone.order(2)[0])
    assert len({tuple(several.order(epoch)[seed].tolist()) for epoch in (1, 2) for seed in (0, 1)}) == 4
    [batch] = Batches(loaded, Sampling(60, is_balanced=True), [5]).shuffled(2)
    assert torch.equal(torch.as_tensor(batch[0]), alone.order(2)), "of one batch too"
    run, single = (trained(planned(sampling="balanced", seeds=own), tmp_path) for own in ([3, 5], [5]))
    assert not differences(of_seed(run, 5), of_seed(single, 5))


@pytest.mark.parametrize("task", ["regression", "sequence", "reconstruction"])
def test_examples_without_a_single_class_are_not_balanced(task: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"dataset": "line", "loss": "mse", "metrics": []}
    if task == "sequence":
        path = tmp_path / "text.txt"
        path.write_text("some words of a text, again and again " * 9)
        dataset = {"name": "text_file", "path": str(path), "window": 8}
        more = {"dataset": dataset, "architecture": "rnn"}
    elif task == "reconstruction":
        more |= {"dataset": "dots", "task": task}
        more["architecture"] = {"name": "mlp", "hidden": [3], "flatten": True}
    with pytest.raises(ConfigError, match=f"an example of a task {task} has no single class"):
        planned(own_parts(tmp_path), **more, sampling="balanced")


def test_classes_that_count_twice_over_are_said(tmp_path: Path) -> None:
    for weights, is_said in (("balanced", True), (None, False)):
        loss = {"name": "cross_entropy", "class_weight": weights}
        run = trained(planned(sampling="balanced", loss=loss, epochs=1), tmp_path)
        assert any("leave one of both out" in warning for warning in run.summary()["warnings"]) == is_said


@pytest.mark.parametrize(("changes", "epochs"), [({"epoch_examples": 20}, 3), ({"drop_last": True}, 1)])
def test_the_figures_of_an_epoch_are_means_over_what_it_trained_on(
    changes: dict[str, Any], epochs: int, tmp_path: Path
) -> None:
    still = {"optimizer": {"name": "sgd", "lr": 0.0}, "epochs": epochs, "evaluate_train_every": 1}
    rows = trained(planned(**still, **changes), tmp_path).rows()
    if epochs == 3:  # 3 · 20 examples are one pass over all 60
        mean = sum(rows["train_loss"]) / 3
        assert mean == pytest.approx(rows["trainset_loss"][0], rel=1e-6)
        assert len({*rows["train_loss"]}) == 3
    else:  # 48 of 60
        plan = planned(**still, **changes)
        order = Batches(plan.load()["train"], plan.recipe.sampling, [0]).order(1)[0]
        assert len(order) == 48
        inputs, targets = plan.load()["train"].batch(order)
        losses = plan.recipe.loss(plan.model().copies[0](inputs), targets)
        assert rows["train_loss"][0] == pytest.approx(float(losses.mean().detach()), rel=1e-5)


def test_a_few_examples_are_taken_of_every_split_and_all_evaluated_on_request(tmp_path: Path) -> None:
    run = trained(planned(limit=25, epochs=1), tmp_path)
    assert run.summary()["data"]["examples"] == {"train": 25, "test": 25}
    assert trained(planned(limit=0.1, epochs=1), tmp_path).summary()["data"]["examples"]["train"] == 6
    whole = trained(planned(epochs=1), tmp_path).summary()["data"]
    assert run.summary()["data"]["fingerprint"] == whole["fingerprint"], "it is the same data"
    for overrides, examples in (([], 25), (["limit=null"], 60)):
        model, saved = open_checkpoint(run.best, run, overrides, planned().parts, Path("no-data"))
        assert evaluate_run(model, saved, run.best, "test")["examples"] == examples


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"batch_size": "full", "epoch_examples": 10},
            "epoch_examples: a full batch is the whole training set",
        ),
        ({"batch_size": "full", "drop_last": True}, "drop_last: a full batch is the whole training set"),
        ({"batch_size": "full", "sampling": "balanced"}, "sampling: a full batch is the whole training set"),
        ({"batch_size": 16, "epoch_examples": 10, "drop_last": True}, "nothing is left of 10 examples"),
        ({"limit": 0.0}, "limit: 0.0 is not"),
        ({"limit": 1.5}, "limit: 1.5 is not"),
        ({"limit": 0}, "limit: 0 is not"),
    ],
)
def test_what_leaves_no_examples_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(**changes)
    assert said in " ".join(map(str, refused.value.mistakes))
