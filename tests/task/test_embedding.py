"""Embeddings: judged by their neighbours, by nothing that takes outputs for scores of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from small_runs import (
    FULL,
    STEPS,
    Listening,
    differences,
    go_on,
    interrupting,
    of_seed,
    outcome,
    own_parts,
    planned,
    trained,
)
from torch import Tensor

import dlrun
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.prediction import predict_files
from dlrun.system.randomness import generator
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint

NOWHERE = Path("no-data")
RECALL = Parts().find("metrics", "recall_at_k")
EMBEDDING: dict[str, Any] = {
    "task": "embedding",
    "loss": {"name": "triplet", "dimensions": 4},
    "metrics": ["recall_at_k"],
}
UNSTATED = '''
batchwise = True


def spread(outputs, targets):
    """Minus the spread of a batch."""
    return -outputs.var()
'''


def random(n: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(n)
    return torch.randn(n, 3, generator=stream), torch.randint(classes, (n,), generator=stream)


# ----------------------------------------------------------------------------------------- the metric


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("n", [12, 1500])  # more than are compared at once
def test_recall_is_that_of_scikit_learns_neighbours(n: int, k: int) -> None:
    outputs, targets = random(n, classes=2)
    near = NearestNeighbors(n_neighbors=k).fit(outputs.numpy()).kneighbors(return_distance=False)
    wanted = (targets[torch.from_numpy(near)] == targets[:, None]).any(1).double().mean()
    assert float(RECALL(outputs, targets, k=k)) == pytest.approx(float(wanted))


@pytest.mark.parametrize("k", [1, 2])
def test_embeddings_that_coincide_recall_no_more_than_chance(k: int) -> None:
    targets = torch.arange(3).repeat_interleave(torch.tensor([20, 15, 5]))
    counts = targets.bincount().double()
    missed = (40 - counts) / 39 * (1 if k == 1 else (39 - counts) / 38)
    wanted = float((counts / 40 * (1 - missed)).sum())
    found = RECALL(torch.ones(40, 3), targets, k=k)
    assert float(found) == pytest.approx(wanted)


def test_an_example_without_another_of_its_class_does_not_count() -> None:
    outputs = torch.tensor([[0.0], [0.1], [5.0]])
    assert float(RECALL(outputs, torch.tensor([0, 0, 1]))) == 1
    assert float(RECALL(outputs, torch.tensor([0, 1, 0]))) == 0
    assert RECALL(outputs, torch.arange(3)).isnan() and RECALL(outputs[:1], torch.zeros(1).long()).isnan()


# --------------------------------------------------------------------------------- training and judging


@pytest.mark.parametrize("loss", ["triplet", "supervised_contrastive"])
def test_a_run_goes_on_as_if_it_had_never_stopped_and_each_seed_is_as_alone(
    loss: str, tmp_path: Path
) -> None:
    changes = FULL | EMBEDDING | {"loss": loss, "sampling": "balanced"}
    whole = trained(planned(**changes), tmp_path / "whole")
    run = trained(planned(**changes), tmp_path / "cut", view=interrupting(STEPS + 1))
    assert run.summary()["status"] == "interrupted"
    go_on(run, changes)
    assert not differences(outcome(run), outcome(whole))
    alone = trained(planned(**changes | {"seeds": [1]}), tmp_path / "alone")
    assert not differences(of_seed(whole, 1), of_seed(alone, 1))


def test_batches_are_judged_in_a_random_order_though_the_split_is_sorted_by_class(tmp_path: Path) -> None:
    changes = EMBEDDING | {"dataset": "uneven", "batch_size": 8}
    run = trained(planned(own_parts(tmp_path), **changes), tmp_path)
    model, saved = open_checkpoint(run.last, run, [], own_parts(tmp_path), NOWHERE)
    report = evaluate_run(model, saved, run.last, "test")
    assert report["recorded"]["loss"]["difference"] == report["recorded"]["recall_at_k"]["difference"] == 0
    assert report["loss_of_batches"] == 8
    outputs, targets = model.outputs("test")
    assert torch.equal(targets, targets.sort().values)  # in their own order a batch has one class
    order = torch.randperm(40, generator=generator("evaluation", 0, 0))
    triplet = Parts().find("loss", "triplet")
    batches = [triplet(outputs[0, some], targets[some]) for some in order.split(8)]
    assert report["loss"] == pytest.approx(float(torch.stack(batches).mean()), rel=1e-5)
    assert report["metrics"]["recall_at_k"] == pytest.approx(float(RECALL(outputs[0], targets)))


def test_the_inputs_themselves_are_the_baseline_of_the_metric_alone(tmp_path: Path) -> None:
    plan = planned(**EMBEDDING | {"dataset": FULL["dataset"]})
    run, valid = trained(plan, tmp_path), plan.load()["valid"]
    inputs, targets = valid.batch(torch.arange(len(valid)))
    assert isinstance(inputs, Tensor) and isinstance(targets, Tensor)
    wanted = {"the inputs": {"recall_at_k": pytest.approx(float(RECALL(inputs, targets)))}}
    assert run.summary()["baselines"] == {"train": {}, "valid": wanted}


def test_a_prediction_is_a_point_of_length_1_in_the_space_of_one_seed(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("x,y\n1,2\n-1,0.5\n")
    for seeds in ([0], [0, 1]):
        run = trained(planned(**EMBEDDING | {"seeds": seeds}), tmp_path / str(len(seeds)))
        found = predict_files(run.best, [tmp_path / "new.csv"], Parts(), NOWHERE, None)
        if len(seeds) == 1:
            rows = found.rows()  # type: ignore[operator]
            points = torch.tensor([[row[f"output {n}"] for n in (1, 2, 3, 4)] for row in rows])
            torch.testing.assert_close(points.norm(dim=1), torch.ones(2))
            with torch.no_grad():
                again = dlrun.load(run.folder).model(torch.tensor([[1.0, 2.0], [-1.0, 0.5]]))
            torch.testing.assert_close(points, again)
        else:
            with pytest.raises(UserError, match="2 seeds, each with a space of its own, in which a mean"):
                found.rows()  # type: ignore[operator]


# ------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"task": None},
            "triplet is for embedding, but spiral is a classification task; write task: embedding",
        ),
        ({"loss": "cross_entropy"}, "spiral is an embedding task; write loss: supervised_contrastive"),
        ({"metrics": ["accuracy"]}, "spiral is an embedding task; write metrics: [recall_at_k]"),
        ({"plots": ["confusion_matrix"]}, "confusion_matrix is for classification"),
        ({"augmentations": ["mixup"]}, "mixup is for classification"),
        ({"loss": {"name": "triplet", "label_smoothing": 0.1}}, "a task embedding has no classes over which"),
        (
            {"loss": {"name": "triplet", "class_weight": "balanced"}},
            "a task embedding has no class that it is",
        ),
        ({"evaluation_batch_size": 7}, "it is evaluated at the batch size of training, 16"),
        ({"batch_size": 1}, "batch_size: triplet compares the examples of a batch, and one of a single"),
        ({"loss": {"name": "triplet", "dimensions": 0}}, "loss.dimensions: 0 is not a whole number >= 1"),
        ({"dataset": "line"}, "embeddings are of examples that have one class each"),
        (
            {"dataset": {"name": "spiral", "classes": 1}},
            "it needs two or more classes, but the dataset has 1",
        ),
        (
            {"seeds": [0, 1], "stacked": True},
            "triplet looks at its batch as a whole, in which all seeds would be one",
        ),
        ({"loss": "spread"}, "spread does not say how many dimensions it needs"),
    ],
)
def test_what_takes_outputs_for_classes_or_examples_for_alone_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, {"loss/spread.py": UNSTATED})
    with pytest.raises(ConfigError) as error:
        planned(parts, **EMBEDDING | changes)
    assert said in str(error.value)


@pytest.mark.parametrize(("size", "others"), [(2, "0.33"), (3, "0.67"), (16, "")])
def test_it_is_said_that_examples_seldom_meet_one_of_their_class(
    size: int, others: str, tmp_path: Path
) -> None:
    view = Listening()
    trained(planned(**EMBEDDING | {"batch_size": size, "epochs": 1}), tmp_path, view=view)
    found = [text for text in view.warnings if "meets" in text]
    wanted = (
        f"in a batch of {size} an example meets {others} others of its class on average, by which triplet"
    )
    assert [text[: len(wanted)] for text in found] == [wanted] * bool(others)
