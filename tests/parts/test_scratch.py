"""The parts written out by hand, with the library as the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_runs import planned
from torch import Tensor, nn

from dlrun.architecture.linear import linear
from dlrun.architecture.mlp import mlp
from dlrun.architecture.mlp_scratch import mlp_scratch
from dlrun.architecture.softmax_scratch import softmax_scratch
from dlrun.loss.bce import bce
from dlrun.loss.cross_entropy import cross_entropy
from dlrun.loss.cross_entropy_scratch import cross_entropy_scratch, softmax
from dlrun.loss.mse import mse
from dlrun.loss.mse_scratch import mse_scratch
from dlrun.loss.nll import nll
from dlrun.optimizer.sgd_scratch import sgd_scratch
from dlrun.training.loop import fit


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))
    )


def with_gradient(function: Any, inputs: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
    inputs = inputs.clone().requires_grad_()
    value = function(inputs, *more)
    (value * torch.arange(1, value.numel() + 1).view(value.shape)).sum().backward()
    assert inputs.grad is not None
    return value.detach(), inputs.grad


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


TARGETS = torch.tensor([0, 3, 2, 2, 1, 0])


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_cross_entropy_by_hand_is_the_librarys(scale: float) -> None:
    logits = drawn(6, 4, scale=scale)
    library = with_gradient(lambda o, t: F.cross_entropy(o, t, reduction="none"), logits, TARGETS)
    same(with_gradient(cross_entropy_scratch, logits, TARGETS), library)
    same(with_gradient(cross_entropy, logits, TARGETS), library)


def test_softmax_by_hand_is_the_librarys_and_does_not_overflow() -> None:
    logits = drawn(6, 4)
    same(with_gradient(softmax, logits), with_gradient(lambda o: o.softmax(-1), logits))
    logits = drawn(6, 4, scale=1000.0)
    same((softmax(logits),), (logits.softmax(-1),))
    assert torch.isfinite(softmax(torch.tensor([[1e4, -1e4]]))).all()


def test_nll_is_the_librarys() -> None:
    logs = drawn(6, 4).log_softmax(1)
    library = with_gradient(lambda o, t: F.nll_loss(o, t, reduction="none"), logs, TARGETS)
    same(with_gradient(nll, logs, TARGETS), library)


def test_log_softmax_and_nll_are_cross_entropy_on_logits() -> None:
    logits = drawn(6, 4)
    separate = with_gradient(lambda o, t: nll(o.log_softmax(1), t), logits, TARGETS)
    same(separate, with_gradient(cross_entropy, logits, TARGETS))


def test_squared_error_by_hand_is_the_librarys() -> None:
    outputs, targets = drawn(6, 3), drawn(6, 3, scale=2.0)
    library = with_gradient(lambda o, t: F.mse_loss(o, t, reduction="none").mean(1), outputs, targets)
    same(with_gradient(mse_scratch, outputs, targets), library)
    same(with_gradient(mse, outputs, targets), library)


@pytest.mark.parametrize("loss", [mse, mse_scratch])
def test_squared_error_over_classes_is_that_to_one_hot_targets(loss: Any) -> None:
    outputs, one_hot = drawn(6, 4), F.one_hot(TARGETS, 4).double()
    library = with_gradient(lambda o: F.mse_loss(o, one_hot, reduction="none").mean(1), outputs)
    same(with_gradient(loss, outputs, TARGETS), library)


def test_cross_entropy_of_sigmoids_is_the_librarys_mean_over_classes() -> None:
    logits, one_hot = drawn(6, 4), F.one_hot(TARGETS, 4).double()
    library = with_gradient(
        lambda o: F.binary_cross_entropy(o.sigmoid(), one_hot, reduction="none").mean(1), logits
    )
    same(with_gradient(bce, logits, TARGETS), library)


def test_behind_a_sigmoid_squared_error_has_a_gradient_that_vanishes_and_cross_entropy_has_not() -> None:
    """(p - y) / k with cross entropy, and 2 (p - y) p (1 - p) / k with squared error."""
    logits, one_hot = drawn(6, 4, scale=5.0), F.one_hot(TARGETS, 4)
    p = logits.sigmoid()
    _, of_entropy = with_gradient(lambda o: bce(o, TARGETS).sum(), logits)
    _, of_squares = with_gradient(lambda o: mse(o.sigmoid(), TARGETS).sum(), logits)
    same((of_entropy, of_squares), ((p - one_hot) / 4, 2 * (p - one_hot) * p * (1 - p) / 4))


@pytest.mark.parametrize("loss", [cross_entropy, cross_entropy_scratch])
def test_the_gradient_of_softmax_and_cross_entropy_is_predicted_minus_true_probability(loss: Any) -> None:
    logits = drawn(6, 4).requires_grad_()
    loss(logits, TARGETS).sum().backward()
    true = F.one_hot(TARGETS, 4)
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - true, rtol=1e-10, atol=1e-12)


def given(module: nn.Module, weights: list[Tensor], biases: list[Tensor]) -> nn.Module:
    """The library's module with those weights and biases."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return module


@pytest.mark.parametrize("relu_output", [False, True])
def test_the_network_by_hand_is_the_librarys(relu_output: bool) -> None:
    by_hand = mlp_scratch((3, 2, 2), 4, hidden=[7, 5], relu_output=relu_output).double()
    with torch.no_grad():
        for bias in by_hand.biases:
            bias.copy_(drawn(*bias.shape))
    output = "relu" if relu_output else "identity"
    library = mlp((3, 2, 2), 4, hidden=[7, 5], output_activation=output, flatten=True).double()
    given(library, list(by_hand.weights), list(by_hand.biases))
    images = drawn(6, 3, 2, 2)
    same(with_gradient(by_hand, images), with_gradient(library, images))
    layers = [layer for layer in library.modules() if isinstance(layer, nn.Linear)]
    for layer, weight, bias in zip(layers, by_hand.weights, by_hand.biases, strict=True):
        same((weight.grad, bias.grad), (layer.weight.grad, layer.bias.grad))


def test_softmax_regression_by_hand_is_the_librarys() -> None:
    by_hand = softmax_scratch((3, 2, 2), 4).double()
    library = given(linear((3, 2, 2), 4, flatten=True).double(), [by_hand.W.T], [by_hand.b])
    images = drawn(6, 3, 2, 2)
    same(with_gradient(by_hand, images), with_gradient(library, images))
    [layer] = [layer for layer in library.modules() if isinstance(layer, nn.Linear)]
    same((by_hand.W.grad.T, by_hand.b.grad), (layer.weight.grad, layer.bias.grad))


def test_networks_by_hand_start_as_they_say() -> None:
    torch.manual_seed(0)
    network = mlp_scratch((400,), 300, hidden=[500])
    for weight, before in zip(network.weights, (400, 500), strict=True):
        assert weight.std().item() == pytest.approx((2 / before) ** 0.5, rel=0.02)
        assert abs(weight.mean().item()) < 0.002
    assert not any(bias.any() for bias in network.biases)
    regression = softmax_scratch((784,), 10)
    assert regression.W.std().item() == pytest.approx(0.01, rel=0.05)
    assert not regression.b.any()


def test_descent_by_hand_is_the_librarys() -> None:
    start, inputs = drawn(4, 3), drawn(6, 4)
    found = []
    for build in (sgd_scratch, torch.optim.SGD):
        p = start.clone().requires_grad_()
        unused = drawn(2).requires_grad_()
        optimizer = build([p, unused], lr=0.3)
        for _ in range(5):
            optimizer.zero_grad()
            (inputs @ p).square().mean().backward()
            optimizer.step()
        found.append((p.detach(), unused.detach()))
    same(*found)


def test_the_summed_gradient_over_the_batch_size_is_the_trainers_mean_loss() -> None:
    rate = 0.7
    plan = planned(
        architecture="softmax_scratch",
        loss="cross_entropy_scratch",
        optimizer={"name": "sgd_scratch", "lr": rate},
        epochs=1,
        batch_size="full",
        seeds=[2],
    )
    loaded = plan.load()
    state = plan.state(plan.hardware(loaded))
    [copy] = state.model.copies
    before = {name: p.detach().clone() for name, p in copy.named_parameters()}
    inputs, targets = loaded["train"].batch(torch.arange(60))
    x, true = inputs.double(), F.one_hot(targets, 3).double()
    predicted = (x @ before["W"].double() + before["b"].double()).softmax(1)
    summed = {"W": x.T @ (predicted - true), "b": (predicted - true).sum(0)}

    list(fit(state, loaded, plan.recipe, plan.hardware(loaded)))
    for name, p in copy.named_parameters():
        by_hand = before[name].double() - rate * summed[name] / len(targets)
        torch.testing.assert_close(p.detach().double(), by_hand, rtol=1e-5, atol=1e-7)
