"""Targets whose logarithm is learnt: the loss sees log(1 + y), all that is shown is in the unit of y."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import differences, go_on, outcome, own_parts, planned, trained

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.data.log_targets import from_log, to_log
from dlrun.data.misfits import refuse_malformed
from dlrun.data.trees import single
from dlrun.dataset.csv import csv
from dlrun.errors import CheckpointRefused, UserError
from dlrun.results.prediction import predict_files
from dlrun.results.trained_model import load
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint, open_plan

N = 60
SMALL: dict[str, Any] = {"loss": "mse", "metrics": ["mae"], "epochs": 2, "seeds": [0, 1], "batch_size": 16}
SMALL |= {"optimizer": {"name": "adam", "lr": 0.01}}


def row(number: int) -> str:
    x = math.sin(number)
    return f"{x},{math.exp(5 + 3 * x)},{number % 40}"


def written(folder: Path, lines: list[str] | None = None) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(["x,price,visits", *(lines or map(row, range(N)))]) + "\n")
    return path


def options_of(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "target": "price", "inputs": ["x"], "target_transform": "log"} | more


def data_of(path: Path, known: Any = None, **more: Any) -> Data:
    return csv(path.parent, known, **options_of(path, **more))


def small(path: Path, **more: Any) -> dict[str, Any]:
    return {"dataset": {"name": "csv"} | options_of(path, **more)} | SMALL


def test_the_logarithm_goes_there_and_back_and_on_below_0() -> None:
    numbers = torch.tensor([0, 1e-6, 0.5, 1, 1e3, 1e9, -0.5, -1, -7], dtype=torch.float64, requires_grad=True)
    logs = to_log(numbers)
    wanted = [*np.log1p(numbers.detach().numpy()[:6]).tolist(), -0.5, -1, -7]
    assert logs.tolist() == pytest.approx(wanted)
    assert from_log(logs).tolist() == pytest.approx(numbers.tolist())
    (slopes,) = torch.autograd.grad(logs.sum(), numbers)
    assert slopes.tolist() == pytest.approx([1 / (1 + max(0, y)) for y in numbers.tolist()]), "smooth at 0"
    assert from_log(torch.tensor([5.0], dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("scaled", [True, False])
def test_the_loss_sees_the_logarithm_and_metrics_the_unit(tmp_path: Path, scaled: bool) -> None:
    path = written(tmp_path)
    plan = planned(**small(path, scale_target=scaled))
    logs = np.log1p(single(data_of(path).read()["train"].targets).double().numpy())
    mean, sd = (logs.mean(), logs.std()) if scaled else (0.0, 1.0)
    assert plan.data.scaling == (pytest.approx((mean, sd)) if scaled else None)
    outputs, targets = torch.tensor([[20.0], [7.0]]), torch.tensor([[400.0], [0.0]])
    missed = np.log1p([20.0, 7.0]) - np.log1p([400.0, 0.0])
    assert plan.recipe.loss(outputs, targets).tolist() == pytest.approx(((missed / sd) ** 2).tolist())
    assert plan.recipe.metrics["mae"].measure(outputs, targets).tolist() == [380, 7]
    model = plan.build()
    with torch.no_grad():
        inner, own = model[0](torch.ones(1, 1)), model(torch.ones(1, 1))
    wanted = mean + sd * inner.item()
    assert own.item() == pytest.approx(math.expm1(wanted) if wanted > 0 else wanted, rel=1e-4)


def test_what_is_shown_is_in_the_unit_of_the_target(tmp_path: Path, dlrun: Callable[..., Any]) -> None:
    path = written(tmp_path)
    run = trained(planned(**small(path)), tmp_path / "runs")
    model, saved = open_checkpoint(run.last, run, [], Parts(), tmp_path)
    found = evaluate_run(model, saved, run.last, "test")
    outputs, targets = (each.double() for each in model.outputs("test"))
    assert found["per_seed"]["1"]["mae"] == pytest.approx((outputs[1] - targets).abs().mean().item())
    mean = model.loaded["train"].targets.double().mean()
    assert found["baselines"]["mean"]["mae"] == pytest.approx((targets - mean).abs().mean().item())
    assert model.plan.data.scaling is not None
    sd = model.plan.data.scaling[1]
    missed = (np.log1p(outputs[1].numpy()) - np.log1p(targets.numpy())) / sd
    assert found["per_seed"]["1"]["loss"] == pytest.approx((missed**2).mean(), rel=1e-4)
    rows = predict_files(run.last, [path], Parts(), tmp_path).rows()
    first = int(model.loaded["train"].origin[0])  # type: ignore[index]
    there, _ = model.outputs("train")
    assert rows[first]["price"] == pytest.approx(there[:, 0, 0].mean().item(), rel=1e-5)
    module = load(run.folder, seed=0, checkpoint="last").model
    assert torch.allclose(module(model.loaded["train"].raw(torch.arange(5))), there[0, :5])
    on = json.loads(dlrun("eval", run.folder, "--on", path, "--json").out)
    assert on["examples"] == N


@pytest.mark.parametrize("stacked", [False, True])
def test_a_resumed_run_is_as_if_it_never_stopped(tmp_path: Path, stacked: bool) -> None:
    changes = small(written(tmp_path)) | {"stacked": stacked}
    whole = trained(planned(**changes), tmp_path / "whole")
    halves = trained(planned(**changes), tmp_path / "halves", stop_after=1)
    go_on(halves, changes)
    assert not differences(outcome(whole), outcome(halves))


def test_each_of_several_targets_has_its_logarithm(tmp_path: Path) -> None:
    data = data_of(written(tmp_path), target=["visits", "price"])
    logs = np.log1p(single(data.read()["train"].targets).double().numpy())
    assert data.scaling is not None
    assert data.scaling[0] == pytest.approx(logs.mean(0).tolist())
    assert data.scaling[1] == pytest.approx(logs.std(0).tolist())


def test_negative_targets_are_refused_with_their_row(tmp_path: Path, dlrun: Callable[..., Any]) -> None:
    path = written(tmp_path)
    run = trained(planned(**small(path)), tmp_path / "runs")
    written(tmp_path, [row(0), "0.5,-2,1", row(1), "0.1,-3,1", *map(row, range(2, N))])
    with pytest.raises(UserError) as refused:
        data_of(path)
    assert refused.value.what.startswith("price holds -2 in row 3 (and so on in 1 more rows)")
    assert "target_transform: null" in refused.value.fix
    assert "price holds -2 in row 3" in dlrun("eval", run.folder, "--on", path).err


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(UserError, match="target_transform is for a regression"):
        data_of(path, task="classification")
    product = "def product(outputs, targets):\n    return (outputs * targets).sum(1)\n"
    parts = own_parts(tmp_path / "parts", {"loss/product.py": product})
    with pytest.raises(ConfigError) as refused:
        planned(parts, **small(path) | {"loss": "product", "metrics": []})
    assert "target_transform: null" in str(refused.value)


def test_a_dataset_that_states_another_transform_is_refused() -> None:
    with pytest.raises(UserError, match="Data states target_transform='sqrt'"):
        refuse_malformed(Data("regression", (2,), dict, target_transform="sqrt"))  # type: ignore[arg-type]


def test_a_model_keeps_the_transform_it_was_trained_with(tmp_path: Path) -> None:
    run = trained(planned(**small(written(tmp_path))), tmp_path / "runs")
    with pytest.raises(UserError, match=r"dataset\.target_transform cannot be changed"):
        open_plan(run.last, ["dataset.target_transform=null"], Parts(), tmp_path)
    saved = load_checkpoint(run.last)
    for forged in ("square", ["log"], 1, None):
        saved.data["known"]["target_transform"] = forged
        save_checkpoint(run.last, saved)
        with pytest.raises((CheckpointRefused, ConfigError)):
            open_plan(run.last, [], Parts(), tmp_path)


def test_an_encoding_of_before_has_no_transform(tmp_path: Path) -> None:
    path = written(tmp_path)
    known = dict(data_of(path, target_transform=None).known)
    del known["target_transform"]
    again = data_of(path, known, target_transform=None, scale_target=True)
    assert again.target_transform is None and again.scaling is not None
