"""Updates by fused kernels: bit for bit those of PyTorch's optimizers, and the same state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from dlrun.training.fused_updates import fused_update

MAKERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda weights: SGD(weights, lr=0.1, fused=True),
    "momentum": lambda weights: SGD(weights, lr=0.1, momentum=0.9, dampening=0.1, fused=True),
    "nesterov": lambda weights: SGD(
        weights, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, maximize=True, fused=True
    ),
    "adam": lambda weights: Adam(weights, lr=0.1, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1, fused=True),
    "adamw": lambda weights: AdamW(weights, lr=0.1, weight_decay=0.1, fused=True),
}
SHAPES = torch.Size([3, 4]), torch.Size([3])


def weights_of(dtype: torch.dtype) -> list[nn.Parameter]:
    return [
        nn.Parameter(torch.linspace(-1, 1, n, dtype=dtype).view(shape))
        for n, shape in ((12, (3, 4)), (3, (3,)))
    ]


def give_gradients(weights: list[nn.Parameter], step: int) -> None:
    for number, weight in enumerate(weights):
        weight.grad = torch.sin(7 * weight.detach() + step + number)


def plain_state(optimizer: Optimizer) -> list[Any]:
    states = optimizer.state_dict()["state"].values()
    return [{name: each.tolist() for name, each in kept.items()} for kept in states]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MAKERS)
def test_steps_are_those_of_the_optimizer(name: str, dtype: torch.dtype) -> None:
    ours, theirs = weights_of(dtype), weights_of(dtype)
    one, other = MAKERS[name](ours), MAKERS[name](theirs)
    done = []
    for step in range(6):
        for weights, optimizer in ((ours, one), (theirs, other)):
            give_gradients(weights, step)
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        with torch.no_grad():
            done.append(fused_update(one))
        if not done[-1]:
            one.step()
        other.step()
        assert all(map(torch.equal, ours, theirs))
        assert plain_state(one) == plain_state(other)
    makes_state = name != "sgd"
    assert done == [not makes_state, *[True] * 5]


def test_weights_without_a_gradient_stay() -> None:
    ours, theirs = weights_of(torch.float32), weights_of(torch.float32)
    one, other = MAKERS["adam"](ours), MAKERS["adam"](theirs)
    for step in range(4):
        for weights in (ours, theirs):
            give_gradients(weights, step)
            weights[1].grad = None
        with torch.no_grad():
            if not fused_update(one):
                one.step()
        other.step()
    assert all(map(torch.equal, ours, theirs)) and torch.equal(ours[1], weights_of(torch.float32)[1])


def test_groups_have_their_own_options() -> None:
    ours, theirs = weights_of(torch.float32), weights_of(torch.float32)
    one, other = (
        SGD([{"params": [w[0]]}, {"params": [w[1]], "lr": 0.5, "weight_decay": 0.3}], lr=0.1, fused=True)
        for w in (ours, theirs)
    )
    give_gradients(ours, 1)
    give_gradients(theirs, 1)
    with torch.no_grad():
        assert fused_update(one)
    other.step()
    assert all(map(torch.equal, ours, theirs))


class Own(SGD):
    """An optimizer of one's own, whose step does more."""


def of_two_types() -> list[nn.Parameter]:
    return [weights_of(torch.float32)[0], weights_of(torch.float64)[1]]


def skipping(optimizer: Optimizer) -> Optimizer:
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]  # as `Optimizers.skip_if` sets it
    return optimizer


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: SGD(weights_of(torch.float32), lr=0.1),
        lambda: SGD(weights_of(torch.float32), lr=torch.tensor(0.1), fused=True),
        lambda: SGD(of_two_types(), lr=0.1, fused=True),
        lambda: Adam(weights_of(torch.float32), lr=0.1, amsgrad=True, fused=True),
        lambda: Own(weights_of(torch.float32), lr=0.1, fused=True),
        lambda: skipping(SGD(weights_of(torch.float32), lr=0.1, fused=True)),
        lambda: RMSprop(weights_of(torch.float32), lr=0.1),
    ],
)
def test_others_are_left_to_the_optimizer_with_nothing_done(optimizer: Callable[[], Optimizer]) -> None:
    made = optimizer()
    weights = made.param_groups[0]["params"]
    if isinstance(made, Adam):
        give_gradients(weights, 0)
        made.step()
    give_gradients(weights, 1)
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        assert not fused_update(made)
    assert all(map(torch.equal, weights, before))
