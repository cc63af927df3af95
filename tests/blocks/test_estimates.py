"""Outputs estimate the targets if the loss is smallest at them and grows with the distance from them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.estimates import are_estimates
from dlrun.blocks.tasks import LossPart, Measure
from dlrun.config.registry import Parts


def huber(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.huber_loss(outputs, targets, reduction="none", delta=0.3).mean(1)


def quantile(outputs: Tensor, targets: Tensor) -> Tensor:
    missed = targets - outputs
    return torch.maximum(0.9 * missed, -0.1 * missed).mean(1)


def tolerant(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets).abs() - 0.1).clamp_min(0).mean(1)


def relative(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) / (targets.abs() + 0.1)).square().mean(1)


def logit(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)


def cosine(outputs: Tensor, targets: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(outputs, targets)


def spread(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).var(1)


def counts(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.exp() - targets * outputs).mean(1)


def of_sum(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.sum(1) - targets.sum(1)).square()


def constant(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0 * outputs.sum(1)


ESTIMATING: list[Measure] = [huber, quantile, tolerant, relative]  # type: ignore[list-item]
OTHERS: list[Measure] = [logit, cosine, spread, counts, of_sum, constant]  # type: ignore[list-item]


@pytest.mark.parametrize("numbers", [2, 5])
def test_outputs_estimate_the_targets_if_the_loss_grows_with_the_distance(numbers: int) -> None:
    found = {loss.__name__: are_estimates(LossPart("own", loss), numbers, None) for loss in ESTIMATING}
    found |= {loss.__name__: are_estimates(LossPart("own", loss), numbers, None) for loss in OTHERS}
    assert found == {loss.__name__: loss in ESTIMATING for loss in (*ESTIMATING, *OTHERS)}


def test_a_loss_blind_to_the_scale_makes_no_estimates_of_a_single_target() -> None:
    assert not are_estimates(LossPart("own", cosine), 1, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["mse", "mse_scratch", "l1"])
@pytest.mark.parametrize("scaling", [None, (250_000.0, 80_000.0), (3e-9, 2e-9), (290.0, 5.0)])
def test_estimates_are_found_in_any_unit(name: str, scaling: tuple[float, float] | None) -> None:
    loss = Parts().find("loss", name)

    def measure(outputs: Tensor, targets: Tensor) -> Tensor:
        mean, sd = scaling or (0.0, 1.0)
        figures: Tensor = loss((outputs - mean) / sd, (targets - mean) / sd)
        return figures

    assert are_estimates(LossPart(name, measure), 1, scaling)  # type: ignore[arg-type]
