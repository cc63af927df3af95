"""The range test of learning rates: a training by the config's loop, in which only the rate is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned
from torch import nn

from dlrun.data.batches import Batches
from dlrun.errors import Diverged, UserError
from dlrun.training import rate_range
from dlrun.training.meters import DeviceMeter, Meter
from dlrun.training.rate_range import RateCurve, RateRange, has_risen, highest, rate_curves

RANGE = RateRange(1e-4, 1.0, 30)
SGD = {"optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.9}}
ADAMW = {"optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1}}
DEEP = {"architecture": {"name": "mlp", "hidden": [8, 6]}}
FROZEN = DEEP | {"freeze": ["*", "!4.*"]}


def curves(tested: RateRange = RANGE, parts: Any = None, **changes: Any) -> list[RateCurve]:
    plan = planned(parts, **changes)
    return rate_curves(plan, plan.load(), tested)


def losses(tested: RateRange = RANGE, parts: Any = None, **changes: Any) -> list[float]:
    """The losses of the only seed of a plan."""
    [curve] = curves(tested, parts, **changes)
    return curve.losses


def test_rates_grow_by_one_factor_from_the_smallest_to_the_largest() -> None:
    assert RateRange(1e-4, 1.0, 5).rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


@pytest.mark.parametrize("bias", [1.0, 0.1])
@pytest.mark.parametrize("size", [16, "full"])  # epochs of four steps and of one
def test_the_losses_are_those_of_a_plain_loop_whose_rate_grows(size: int | str, bias: float) -> None:
    groups = {"groups": [{"match": "*.bias", "lr": f"{bias}x"}]} if bias < 1 else {}
    plan = planned(**ADAMW, **groups, batch_size=size)
    loaded = plan.load()
    model, split = plan.model().copies[0], loaded["train"]
    batches = Batches(split, plan.recipe.sampling, [0])
    named = dict(model.named_parameters())
    of_bias = [weight for name, weight in named.items() if name.endswith("bias")]
    others = [weight for name, weight in named.items() if not name.endswith("bias")]
    by_hand = torch.optim.AdamW([{"params": others}, {"params": of_bias}], weight_decay=0.1)
    expected = list[float]()
    each = (batch for epoch in range(1, 31) for batch in batches.shuffled(epoch))
    for rate, batch in zip(RANGE.rates, each, strict=False):
        for group, factor in zip(by_hand.param_groups, (1.0, bias), strict=True):
            group["lr"] = rate * factor
        inputs, targets = batches.examples(*batch)
        loss = nn.functional.cross_entropy(model(inputs[0]), targets[0])
        expected.append(loss.item())
        by_hand.zero_grad()
        loss.backward()
        by_hand.step()
    assert losses(**ADAMW, **groups, batch_size=size) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stacked", [False, True])
def test_each_seed_is_tested_as_it_would_be_alone(stacked: bool) -> None:
    together = curves(**SGD, seeds=[3, 0, 5], stacked=stacked)
    assert [curve.seed for curve in together] == [3, 0, 5]
    assert together == [curve for seed in (3, 0, 5) for curve in curves(**SGD, seeds=[seed])]


def test_a_test_is_exact_twice() -> None:
    plan = planned(architecture={"name": "mlp", "hidden": [8], "dropout": 0.4}, augmentations=["noise"])
    loaded = plan.load()
    assert rate_curves(plan, loaded, RANGE) == rate_curves(plan, loaded, RANGE)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"name": "adam", "lr": 7.0}},
        {"schedule": "cosine", "epochs": 1},
        {"average": "ema"},
        {"metrics": [], "evaluate_train_every": 1},
        {"micro_batch": 5},
    ],
    ids=str,
)
def test_what_the_rate_stands_in_for_has_no_effect(changes: dict[str, Any]) -> None:
    assert losses(**changes) == pytest.approx(losses(), rel=1e-3)


def test_frozen_weights_stay_frozen_over_all_its_epochs() -> None:
    assert losses(**FROZEN, freeze_epochs=1) == losses(**FROZEN)
    assert losses(**FROZEN) != pytest.approx(losses(**DEEP), rel=1e-3)


def test_weights_of_classes_count_as_in_a_run() -> None:
    rare = {"loss": {"name": "cross_entropy", "class_weight": [1.0, 5.0, 0.5]}}
    plan = planned(**rare, batch_size="full")
    inputs, targets = plan.load()["train"].batch(torch.arange(60))
    weights = torch.tensor([1.0, 5.0, 0.5])
    first = nn.functional.cross_entropy(plan.model().copies[0](inputs), targets, weights).item()
    assert losses(**rare, batch_size="full")[0] == pytest.approx(first)


def test_it_ends_where_the_loss_has_risen() -> None:
    [curve] = curves(RateRange(1e-4, 1e5, 60), **SGD)
    assert curve.end == "risen"
    assert len(curve.rates) == len(curve.losses) < 60
    assert has_risen(curve.losses)
    assert not has_risen(curve.losses[:-1])


def test_a_loss_that_is_not_finite_ends_the_test_of_its_seed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_range, "has_risen", lambda losses: False)
    days = {"dataset": "days", "loss": "mse", "metrics": [], "seeds": [0, 1, 2, 3]}
    each = curves(RateRange(1e-4, 1e4, 100), own_parts(tmp_path), **SGD | days)
    assert [curve.end for curve in each] == ["not finite"] * 4
    assert all(10 <= len(curve.losses) < 100 for curve in each)
    assert len({len(curve.losses) for curve in each}) > 1


def test_a_loss_that_is_never_finite_is_an_error_with_its_cause(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    with pytest.raises(Diverged, match="seed 0") as refused:
        curves(parts=parts, dataset={"name": "uneven", "poisoned": 4}, batch_size="full")
    assert "example" in refused.value.what + refused.value.fix


def test_losses_below_zero_rise_above_where_they_began() -> None:
    falling = [0.5] * 10 + [-3.0] * 10
    assert highest(falling) == 0.5 + 3 * 3.5
    assert not has_risen([*falling, *[8.0] * 5])
    assert has_risen([*falling, *[12.0] * 5])
    assert not has_risen([*falling, 1e9, 1e9])  # single batches


def test_an_optimizer_without_a_rate_is_refused(tmp_path: Path) -> None:
    fixed = '''
"""A descent that sets its own rate."""
from torch import optim


def fixed(parameters, *, momentum: float = 0.0):
    """Descend.

    Args:
        momentum: Share of the last step.
    """
    return optim.SGD(parameters, lr=0.1, momentum=momentum)
'''
    with pytest.raises(UserError, match="fixed has no learning rate lr to be tested"):
        curves(parts=own_parts(tmp_path, {"optimizer/fixed.py": fixed}), optimizer="fixed")
    with pytest.raises(UserError, match=r"optimizer\.lr is 0"):
        curves(optimizer={"name": "adam", "lr": 0.0})


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_both_meters_give_the_mean_of_the_last_step(weight: float) -> None:
    plan = planned(seeds=[0, 1], metrics=[])
    both = [
        Meter(plan.recipe, plan.model(), 12, "here"),
        DeviceMeter(torch.device("cpu"), plan.recipe, plan.model(), 12, "here", 4),
    ]
    losses = torch.rand(2, 12, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, weight])
    nothing = torch.zeros(2, 4)
    for meter in both:
        for start in (0, 4, 8):
            some = losses[:, start : start + 4]
            meter.add([*some], [*nothing], nothing)
            mean = (some[..., 0].sum(1) / some[..., 1].sum(1)).tolist()
            assert meter.means_of_step(4) == pytest.approx(mean)
