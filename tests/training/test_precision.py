"""float64: weights, inputs and updates in double precision, from the raw numbers on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, of_seed, outcome, own_parts, planned, trained

from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_trials import try_on

WAYS: dict[str, dict[str, Any]] = {
    "classes": {},
    "numbers": {"dataset": "line", "loss": "mse", "metrics": ["mae", "rmse", "r2"]},
    "stacked": {"stacked": True},
    "images": {
        "dataset": "dots",
        "architecture": {"name": "cnn", "channels": [2], "kernel_size": 3, "padding": 1, "hidden": [4]},
    },
    "noise and dropout": {
        "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3},
        "augmentations": [{"name": "noise", "sd": 0.1}],
    },
}


@pytest.mark.parametrize("name", WAYS)
def test_a_run_in_float64_is_resumed_and_evaluated_bit_for_bit(name: str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    changes = {"precision": "float64", "seeds": [0, 2], **WAYS[name]}
    plan = planned(parts, **changes)
    try_on(plan, plan.load())
    unbroken = trained(plan, tmp_path)
    run = trained(planned(parts, **changes), tmp_path, stop_after=1)
    go_on(run, changes, parts)
    assert not differences(outcome(unbroken), outcome(run))
    for weights in load_checkpoint(run.last).state["model"]:
        assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float64}
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    assert evaluate_run(model, saved, run.best, "test")["recorded"]["loss"]["difference"] == 0
    if name != "stacked":
        alone = trained(planned(parts, **changes | {"seeds": [2]}), tmp_path)
        assert not differences(of_seed(alone, 2), of_seed(run, 2))


def test_it_is_the_loop_in_double_precision(tmp_path: Path) -> None:
    plan = planned(
        own_parts(tmp_path),
        dataset="line",
        loss="mse",
        metrics=[],
        precision="float64",
        batch_size="full",
        epochs=4,
        optimizer={"name": "sgd", "lr": 0.1},
    )
    run = trained(plan, tmp_path)
    model = plan.model().copies[0]
    training = plan.load()["train"]
    raw = training.raw()
    spread = raw.std(0)
    inputs = (raw.double() - raw.mean(0)) * spread.reciprocal()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(4):
        loss = (model(inputs) - training.targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert run.rows()["train_loss"] == pytest.approx(losses, rel=1e-12)


def test_it_is_not_float32(tmp_path: Path) -> None:
    one, other = (
        trained(planned(precision=precision), tmp_path).rows()["train_loss"]
        for precision in ("float64", "float32")
    )
    assert one != other
    assert one == pytest.approx(other, rel=1e-3)
