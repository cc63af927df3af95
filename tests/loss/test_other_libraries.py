"""Losses have the values and gradients of PyTorch, torchvision or their paper, also of extreme numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_runs import planned
from torch import Tensor
from torch.nn import functional as F

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Data, Examples
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError

PARTS = Parts()
Oracle = Callable[[Tensor, Tensor], Tensor]  # outputs, targets -> figures (n,), in float64


def focal_of_paper(gamma: float) -> Oracle:
    def of(outputs: Tensor, targets: Tensor) -> Tensor:
        p = outputs.softmax(1)[torch.arange(len(targets)), targets]
        return -((1 - p) ** gamma) * p.log()

    return of


def poly_of_paper(epsilon: float) -> Oracle:
    def of(outputs: Tensor, targets: Tensor) -> Tensor:
        p = outputs.softmax(1)[torch.arange(len(targets)), targets]
        return -p.log() + epsilon * (1 - p)

    return of


def torchvisions(alpha: float, gamma: float) -> Oracle:
    return lambda o, t: import_torchvision().ops.sigmoid_focal_loss(o, t.double(), alpha, gamma).mean(1)


def pytorchs(function: Any, **options: Any) -> Oracle:
    return lambda o, t: function(o, t, reduction="none", **options).mean(1)


CLASSES: list[tuple[str, dict[str, Any], Oracle]] = [
    ("focal", {}, focal_of_paper(2)),
    ("focal", {"gamma": 0.0}, lambda o, t: F.cross_entropy(o, t, reduction="none")),
    ("focal", {"gamma": 0.5}, focal_of_paper(0.5)),
    ("poly", {}, poly_of_paper(1)),
    ("poly", {"epsilon": -1.0}, poly_of_paper(-1)),
]
LABELS: list[tuple[str, dict[str, Any], Oracle]] = [
    ("sigmoid_focal", {}, torchvisions(-1, 2)),
    ("sigmoid_focal", {"alpha": 0.25, "gamma": 1.5}, torchvisions(0.25, 1.5)),
    ("sigmoid_focal", {"gamma": 0.0}, pytorchs(F.binary_cross_entropy_with_logits)),
]
NUMBERS: list[tuple[str, dict[str, Any], Oracle]] = [
    ("huber", {}, pytorchs(F.huber_loss)),
    ("huber", {"delta": 0.3}, pytorchs(F.huber_loss, delta=0.3)),
    ("smooth_l1", {}, pytorchs(F.smooth_l1_loss)),
    ("smooth_l1", {"beta": 0.2}, pytorchs(F.smooth_l1_loss, beta=0.2)),
    ("log_cosh", {}, lambda o, t: (o - t).cosh().log().mean(1)),
    ("cosine", {}, lambda o, t: 1 - (F.normalize(o) * F.normalize(t)).sum(1)),
]


def compare(name: str, options: dict[str, Any], oracle: Oracle, outputs: Tensor, targets: Tensor) -> None:
    """Values and gradients in float32 are those that the oracle has in float64."""
    given = PARTS.part("loss", name).defaults | options
    narrow, wide = outputs.float().requires_grad_(), outputs.double().requires_grad_()
    own = targets.float() if targets.is_floating_point() else targets
    found = PARTS.find("loss", name)(narrow, own, **given)
    wanted = oracle(wide, targets)
    torch.testing.assert_close(found.double(), wanted, rtol=2e-5, atol=1e-6)
    found.sum().backward()
    wanted.sum().backward()
    torch.testing.assert_close(narrow.grad.double(), wide.grad, rtol=1e-4, atol=1e-6)  # type: ignore[union-attr]


def drawn(*shape: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.01, 2.0, 20.0])
@pytest.mark.parametrize(("name", "options", "oracle"), CLASSES)
def test_a_loss_of_classes_is_that_of_its_paper(
    name: str, options: dict[str, Any], oracle: Oracle, scale: float
) -> None:
    compare(name, options, oracle, drawn(30, 4, scale=scale), torch.arange(30) % 4)


@pytest.mark.parametrize("scale", [0.01, 2.0, 10.0])
@pytest.mark.parametrize(("name", "options", "oracle"), LABELS)
def test_a_loss_of_labels_is_that_of_torchvision(
    name: str, options: dict[str, Any], oracle: Oracle, scale: float
) -> None:
    labels = torch.randint(2, (30, 4), generator=torch.Generator().manual_seed(9)).double()
    compare(name, options, oracle, drawn(30, 4, scale=scale), labels)


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
@pytest.mark.parametrize(("name", "options", "oracle"), NUMBERS)
def test_a_loss_of_numbers_is_that_of_pytorch(
    name: str, options: dict[str, Any], oracle: Oracle, scale: float
) -> None:
    outputs = drawn(30, 3, scale=scale)
    compare(name, options, oracle, outputs, outputs.flip(0) / 2)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("name", ["focal", "sigmoid_focal"])
def test_a_sure_prediction_has_a_finite_gradient(name: str, gamma: float) -> None:
    """Right or wrong, with outputs at which probabilities round to 0 and 1."""
    outputs = torch.tensor([[300.0, -300.0], [-300.0, 300.0], [20.0, -20.0]]).requires_grad_()
    targets = torch.zeros(3).long()
    losses = PARTS.find("loss", name)(outputs, targets, gamma=gamma)
    losses.sum().backward()
    assert bool(losses.isfinite().all()) and bool(outputs.grad.isfinite().all())  # type: ignore[union-attr]
    assert losses[0] == 0 and losses[1] > 250


def test_the_logarithm_of_a_hyperbolic_cosine_neither_overflows_nor_rounds_to_0() -> None:
    errors = torch.tensor([[0.0], [1e-6], [1e-3], [1e4], [-1e30]]).requires_grad_()
    found = PARTS.find("loss", "log_cosh")(errors, torch.zeros(5, 1))
    torch.testing.assert_close(found[:3], torch.tensor([0.0, 5e-13, 5e-7]), rtol=1e-4, atol=0)
    torch.testing.assert_close(found[3:], torch.tensor([1e4 - 0.6931472, 1e30]))
    found.sum().backward()
    assert errors.grad is not None
    wanted = torch.tensor([[0.0], [1e-6], [1e-3], [1.0], [-1.0]])
    torch.testing.assert_close(errors.grad, wanted, rtol=1e-4, atol=0)


def test_blended_targets_are_means_over_their_classes() -> None:
    outputs, shares = drawn(1, 3).float(), torch.tensor([[0.2, 0.5, 0.3]])
    for name in ("focal", "poly"):
        loss, options = PARTS.find("loss", name), PARTS.part("loss", name).defaults
        each = torch.cat([loss(outputs, torch.tensor([number]), **options) for number in range(3)])
        torch.testing.assert_close(loss(outputs, shares, **options), (shares @ each))


def test_directions_need_several_targets() -> None:
    data = Data("regression", (3,), dict[str, Examples], targets=1)
    with pytest.raises(UserError, match="compares the directions of vectors"):
        PARTS.module("loss", "cosine").outputs(data)


@pytest.mark.parametrize("name", ["focal", "poly", "sigmoid_focal", "huber", "smooth_l1", "log_cosh"])
def test_a_plan_takes_these_losses_by_name(name: str) -> None:
    """Errors of the target are also measured in metrics of estimates, such as R²."""
    is_of_numbers = PARTS.part("loss", name).constants["task"] == "regression"
    spiral, temperatures = {}, {"dataset": "daily_temperatures", "metrics": ["mae", "r2"]}
    suited, other = (temperatures, spiral) if is_of_numbers else (spiral, temperatures)
    task = planned(loss=name, **suited).task
    assert task.are_estimates if is_of_numbers else task.decision is not None
    with pytest.raises(ConfigError, match=f"{name} is for"):
        planned(loss=name, **other)
