"""Metrics have the values of scikit-learn and of torchmetrics, also in degenerate cases."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sklearn
import torch
from torch import Tensor

from dlrun.blocks.tasks import Task
from dlrun.config.keys import Choice
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError
from dlrun.training.losses import loss_part
from dlrun.training.named_parts import metric

import_torchvision()
import torchmetrics.functional as torchmetrics  # noqa: E402  # it imports torchvision, if that can be imported

PARTS = Parts()
LOSSES = {"classification": "cross_entropy", "multilabel": "bce", "regression": "mse"}
AVERAGES = ("macro", "micro", "weighted")


def figure(
    name: str, outputs: Tensor, targets: Tensor, weights: Tensor | None = None, **options: Any
) -> float:
    """The figure of a metric for all examples, with one loss of its task."""
    kind = "regression"
    if "regression" not in str(PARTS.part("metrics", name).constants["task"]):
        kind = "classification" if targets.dim() == 1 else "multilabel"
    names = () if kind == "regression" else tuple(map(str, range(outputs.shape[1])))
    data = Data(kind, (5,), dict, names, targets=outputs.shape[1], weighted=weights is not None)
    task: Task = PARTS.find("task", kind)(data, loss_part(PARTS, Choice(LOSSES[kind]), data))
    defaults = {key: option.default for key, option in PARTS.part("metrics", name).options.items()}
    found = metric(PARTS, Choice(name, defaults | options), task)
    measure = found.with_weights(weights) if found.with_weights and weights is not None else found.measure
    figures = measure(outputs, targets).double()
    return found.finish(
        [float(figures)] if found.whole else figures.reshape(len(outputs), -1).mean(0).tolist()
    )


def of_classes(n: int, classes: int, seed: int, present: int | None = None) -> tuple[Tensor, Tensor]:
    """Random logits, and classes of which only the first few occur."""
    stream = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(n, classes, generator=stream)
    return outputs, torch.randint(present or classes, (n,), generator=stream)


CASES = {
    "three classes": of_classes(60, 3, 0),
    "two classes": of_classes(40, 2, 1),
    "a class that never occurs": of_classes(50, 4, 2, present=3),
    "one class alone": of_classes(20, 3, 3, present=1),
    "one row": of_classes(1, 3, 4),
    "equal outputs": (torch.zeros(30, 3), torch.arange(30) % 3),
    "all right": (10 * torch.eye(3).repeat(5, 1), torch.arange(15) % 3),
    "all wrong": (-10 * torch.eye(3).repeat(5, 1), torch.arange(15) % 3),
}


def close(ours: float, theirs: float) -> bool:
    return math.isnan(ours) if math.isnan(theirs) else ours == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("name", ["precision", "recall", "f1", "specificity"])
def test_scores_of_counts_are_those_of_torchmetrics(name: str, average: Any, case: str) -> None:
    outputs, targets = CASES[case]
    theirs: Callable[..., Tensor] = getattr(torchmetrics, {"f1": "f1_score"}.get(name, name))
    expected = theirs(
        outputs, targets, task="multiclass", num_classes=outputs.shape[1], average=average, top_k=1
    )
    assert close(figure(name, outputs, targets, average=average), float(expected))


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_scores_of_the_second_class_are_those_of_scikit_learn(name: str) -> None:
    outputs, targets = CASES["two classes"]
    theirs = getattr(sklearn, f"{name}_score")(targets, outputs.argmax(1))
    assert figure(name, outputs, targets, average="binary") == pytest.approx(theirs)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_scores_of_labels_are_those_of_scikit_learn(name: str, average: str) -> None:
    stream = torch.Generator().manual_seed(5)
    outputs = torch.randn(40, 3, generator=stream)
    targets = (torch.rand(40, 3, generator=stream) < 0.4).float()
    theirs = getattr(sklearn, f"{name}_score")(targets, outputs > 0, average=average)
    assert figure(name, outputs, targets, average=average) == pytest.approx(theirs)


@pytest.mark.parametrize("name", ["precision", "recall", "f1", "specificity"])
def test_the_score_of_a_second_class_is_refused_for_two_labels(name: str) -> None:
    outputs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    with pytest.raises(UserError, match="average: binary is of two classes, and these are labels"):
        figure(name, outputs, (outputs > 0).float(), average="binary")


OF_DECISIONS = {
    "balanced_accuracy": sklearn.balanced_accuracy_score,
    "matthews": sklearn.matthews_corrcoef,
    "kappa": sklearn.cohen_kappa_score,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", OF_DECISIONS)
def test_figures_of_decisions_are_those_of_scikit_learn(name: str, case: str) -> None:
    outputs, targets = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that never occur
        theirs = OF_DECISIONS[name](targets.numpy(), outputs.argmax(1).numpy())
    assert close(figure(name, outputs, targets), theirs)


RANKED = {"auroc": sklearn.roc_auc_score, "average_precision": sklearn.average_precision_score}


@pytest.mark.parametrize("case", ["three classes", "two classes", "equal outputs", "all right", "all wrong"])
@pytest.mark.parametrize("name", RANKED)
def test_areas_are_those_of_scikit_learn(name: str, case: str) -> None:
    outputs, targets = CASES[case]
    shares = outputs.double().softmax(1).numpy()
    if outputs.shape[1] == 2:
        theirs = RANKED[name](targets, shares[:, 1])
    else:
        theirs = np.mean([RANKED[name](targets == k, shares[:, k]) for k in range(outputs.shape[1])])
    assert figure(name, outputs, targets) == pytest.approx(theirs)


@pytest.mark.parametrize("name", RANKED)
def test_areas_of_labels_and_of_weighted_examples_are_those_of_scikit_learn(name: str) -> None:
    stream = torch.Generator().manual_seed(6)
    outputs = torch.randn(50, 3, generator=stream).round(decimals=1)  # with ties
    targets = (torch.rand(50, 3, generator=stream) < 0.4).float()
    assert figure(name, outputs, targets) == pytest.approx(RANKED[name](targets, outputs, average="macro"))
    two, classes = CASES["two classes"]
    weights = torch.rand(40, generator=stream)
    theirs = RANKED[name](classes, two[:, 1] - two[:, 0], sample_weight=weights)
    assert figure(name, two, classes, weights) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("name", RANKED)
def test_an_area_leaves_out_a_class_without_examples_and_is_nan_without_any_other(name: str) -> None:
    outputs, targets = CASES["a class that never occurs"]
    each = [RANKED[name](targets == k, outputs.double().softmax(1)[:, k]) for k in range(3)]
    assert figure(name, outputs, targets) == pytest.approx(np.mean(each))
    assert math.isnan(figure(name, *CASES["one class alone"]))
    assert math.isnan(figure(name, *CASES["one row"]))


def test_an_area_tells_apart_probabilities_that_are_all_rounded_to_1() -> None:
    outputs = torch.tensor([[0.0, 30], [0, 40], [0, 50], [0, 60]])
    assert figure("auroc", outputs, torch.tensor([0, 0, 1, 1])) == 1.0
    assert outputs.softmax(1)[:, 1].unique().numel() < 4


@pytest.mark.parametrize("case", ["three classes", "two classes", "equal outputs", "one row"])
def test_figures_of_probabilities_are_those_of_scikit_learn_and_torchmetrics(case: str) -> None:
    outputs, targets = CASES[case]
    k = outputs.shape[1]
    shares = outputs.double().softmax(1)
    assert figure("log_loss", outputs, targets) == pytest.approx(
        sklearn.log_loss(targets, shares, labels=range(k)), rel=1e-5
    )
    theirs = sklearn.brier_score_loss(targets, shares[:, 1] if k == 2 else shares, labels=range(k))
    assert figure("brier", outputs, targets) == pytest.approx(theirs, rel=1e-5)
    for bins in (15, 4):
        error = torchmetrics.calibration_error(
            outputs.softmax(1), targets, task="multiclass", num_classes=k, n_bins=bins
        )
        assert figure("ece", outputs, targets, bins=bins) == pytest.approx(float(error), abs=1e-6)


def estimates(n: int, seed: int, targets: int = 1) -> tuple[Tensor, Tensor]:
    """Numbers above 0, and estimates of them."""
    stream = torch.Generator().manual_seed(seed)
    true = torch.rand(n, targets, generator=stream, dtype=torch.float64) * 10 + 0.5
    return (true + torch.randn(n, targets, generator=stream)).clamp_min(0.1), true


OF_ESTIMATES: dict[str, Callable[..., Any]] = {
    "mape": sklearn.mean_absolute_percentage_error,
    "medae": sklearn.median_absolute_error,
    "msle": sklearn.mean_squared_log_error,
    "explained_variance": sklearn.explained_variance_score,
    "r2": sklearn.r2_score,
    "smape": lambda true, said: torchmetrics.symmetric_mean_absolute_percentage_error(said, true),
    "pearson": lambda true, said: torchmetrics.pearson_corrcoef(said, true).mean(),
    "spearman": lambda true, said: torchmetrics.spearman_corrcoef(said, true).mean(),
}


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("n", [9, 40])
@pytest.mark.parametrize("name", OF_ESTIMATES)
def test_figures_of_estimates_are_those_of_scikit_learn_and_torchmetrics(
    name: str, n: int, targets: int
) -> None:
    outputs, true = estimates(n, n, targets)
    one_of_each = name in ("pearson", "spearman") and targets == 1
    theirs = OF_ESTIMATES[name](*(each.squeeze(1) if one_of_each else each for each in (true, outputs)))
    assert figure(name, outputs, true) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_pinball_loss_is_that_of_scikit_learn(quantile: float) -> None:
    outputs, true = estimates(30, 7, 2)
    theirs = sklearn.mean_pinball_loss(true, outputs, alpha=quantile)
    assert figure("pinball", outputs, true, quantile=quantile) == pytest.approx(theirs)


def test_equal_values_share_their_ranks() -> None:
    outputs = torch.tensor([1.0, 2, 2, 3, 5]).unsqueeze(1)
    true = torch.tensor([2.0, 2, 4, 4, 9]).unsqueeze(1)
    theirs = torchmetrics.spearman_corrcoef(outputs.squeeze(1), true.squeeze(1))
    assert figure("spearman", outputs, true) == pytest.approx(float(theirs))


def test_figures_that_have_no_value_are_none() -> None:
    constant, true = torch.full((5, 1), 3.0), torch.arange(5.0).unsqueeze(1)
    for name in ("pearson", "spearman"):
        assert math.isnan(figure(name, constant, true)) and math.isnan(figure(name, true, constant))
    for name in ("explained_variance", "r2"):
        assert math.isnan(figure(name, true, constant))
    assert figure("mape", constant, true) == math.inf, "a share of 0"
    assert figure("smape", true, true) == 0
    assert math.isnan(figure("msle", constant - 5, true))
    assert figure("pearson", true, true + 1e6) == pytest.approx(1), "far from 0"


def test_a_score_of_the_second_class_is_refused_where_there_are_three() -> None:
    from small_runs import planned

    with pytest.raises(ConfigError) as refused:
        planned(metrics=[{"name": "f1", "average": "binary"}])
    [mistake] = map(str, refused.value.mistakes)
    assert "average: binary is of two classes, and there are 3; take macro" in mistake
