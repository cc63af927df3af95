"""Gradients are clipped as PyTorch and timm clip them, of each copy by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import FULL, SMALL_CNN, differences, go_on, of_seed, outcome, own_parts, planned, trained
from torch import Tensor, nn

from dlrun.config.mistakes import ConfigError
from dlrun.training.clipping import Mode, clip_alone, clip_stacked

SHAPES = ((5, 4), (5,), (3, 2, 3, 3), (), (4, 1))


def made_up(seed: int) -> list[nn.Parameter]:
    """Weights with gradients, some of them 0."""
    stream = torch.Generator().manual_seed(seed)
    weights = [nn.Parameter(torch.randn(shape, generator=stream)) for shape in SHAPES]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=stream)
    weights[0].data[1] = 0
    assert weights[0].grad is not None
    weights[0].grad[2] = 0
    return weights


def gradients(weights: list[nn.Parameter]) -> list[Tensor | None]:
    return [weight.grad for weight in weights]


def by_unit(weight: Tensor) -> Tensor:
    """The norm of each row, or of a vector or number as a whole, as timm's `unitwise_norm`."""
    if weight.ndim <= 1:
        return weight.norm()
    return weight.square().sum(tuple(range(1, weight.ndim)), keepdim=True).sqrt()


def expected(mode: Mode, most: float) -> list[Tensor | None]:
    weights = made_up(0)
    if mode == "value":
        nn.utils.clip_grad_value_(weights, most)
    elif mode == "norm":
        nn.utils.clip_grad_norm_(weights, most)
    else:  # Brock et al. 2021, equation 3
        for weight in weights:
            assert weight.grad is not None
            longest = most * by_unit(weight.detach()).clamp_min(1e-3)
            length = by_unit(weight.grad)
            clipped = weight.grad * (longest / length.clamp_min(1e-6))
            weight.grad = torch.where(length > longest, clipped, weight.grad)
    return gradients(weights)


@pytest.mark.parametrize("most", [0.01, 0.5, 1e6])
@pytest.mark.parametrize("mode", ["norm", "value", "agc"])
def test_a_gradient_is_clipped_as_it_is_elsewhere(mode: Mode, most: float) -> None:
    ours = made_up(0)
    clip_alone(ours, most, mode)
    for own, theirs in zip(gradients(ours), expected(mode, most), strict=True):
        torch.testing.assert_close(own, theirs)


@pytest.mark.parametrize("mode", ["norm", "value", "agc"])
def test_stacked_gradients_are_clipped_as_each_alone(mode: Mode) -> None:
    alone = [made_up(seed) for seed in range(3)]
    stacked = []
    for every in zip(*alone, strict=True):
        stacked.append(nn.Parameter(torch.stack([each.detach() for each in every])))
        stacked[-1].grad = torch.stack([each.grad for each in every])  # type: ignore[misc]
    clip_stacked(stacked, 0.3, mode)
    for weights in alone:
        clip_alone(weights, 0.3, mode)
    for together, *own in zip(stacked, *alone, strict=True):
        assert together.grad is not None
        for one, weight in zip(together.grad, own, strict=True):
            torch.testing.assert_close(one, weight.grad)


@pytest.mark.parametrize("mode", ["value", "agc"])
def test_a_clipped_run_is_resumed_bit_for_bit_and_each_seed_is_as_alone(mode: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = FULL | {"gradient_clip": 0.02, "gradient_clip_mode": mode, "epochs": 3}
    whole = trained(planned(**changes), tmp_path / "a")
    halves = trained(planned(**changes), tmp_path / "b", stop_after=1)
    go_on(halves, changes)
    assert not differences(outcome(whole), outcome(halves))
    alone = trained(planned(**changes | {"seeds": [1]}), tmp_path / "c")
    assert not differences(of_seed(whole, 1), of_seed(alone, 1))
    free = trained(planned(**changes | {"gradient_clip": None, "gradient_clip_mode": "norm"}), tmp_path / "d")
    assert differences(of_seed(whole, 1), of_seed(free, 1))


def test_a_convolutional_network_is_clipped_by_its_kernels(tmp_path: Path) -> None:
    changes = {"dataset": "dots", "architecture": SMALL_CNN, "epochs": 1, "metrics": []}
    clipped = {"gradient_clip": 1e-4, "gradient_clip_mode": "agc"}
    run = trained(planned(own_parts(tmp_path), **changes, **clipped), tmp_path)
    assert run.summary()["status"] == "finished"


def test_a_mode_without_a_limit_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        planned(gradient_clip_mode="value")
    [mistake] = map(str, refused.value.mistakes)
    assert "gradient_clip_mode: nothing is clipped; set gradient_clip" in mistake
