"""Several targets of a table: each is scaled, judged and named by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, outcome, own_parts, planned, trained

from dlrun.config.keys import Choice
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.data.loaded import Loaded
from dlrun.data.misfits import refuse_malformed
from dlrun.data.trees import single
from dlrun.dataset.csv import csv
from dlrun.errors import CheckpointRefused, UserError
from dlrun.results.prediction import predict_files
from dlrun.results.trained_model import load
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.losses import loss_part
from dlrun.training.opening import open_checkpoint, open_plan

N = 60
HEADER = "x,z,height,loss"
SHARES: dict[str, Any] = {"loss": "mse", "metrics": ["mae", "r2"], "epochs": 2, "seeds": [0, 1]}
SHARES |= {"batch_size": 16, "optimizer": {"name": "adam", "lr": 0.01}}


def row(number: int, **cells: object) -> str:
    x, z = math.sin(number), math.cos(3 * number)
    usual = {"x": x, "z": z, "height": 170 + 10 * x + z, "loss": 5e4 - 3000 * z + 900 * x * x}
    return ",".join(str(value) for value in (usual | cells).values())


def written(folder: Path, lines: list[str] | None = None, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([HEADER, *(lines or map(row, range(N)))]) + "\n")
    return path


def data_of(path: Path, known: Any = None, **options: Any) -> Data:
    return csv(path.parent, known, **{"path": str(path), "target": ["height", "loss"]} | options)


def small(path: Path, **options: Any) -> dict[str, Any]:
    return {"dataset": {"name": "csv", "path": str(path), "target": ["height", "loss"]} | options} | SHARES


def refusal(path: Path, known: Any = None, **options: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        data_of(path, known, **options).read()
    return refused.value


def test_each_target_has_a_name_and_a_scale_of_its_own(tmp_path: Path) -> None:
    data = data_of(written(tmp_path), target=["-1", "height"])
    assert (data.targets, data.target_names, data.features) == (2, ("loss", "height"), ("x", "z"))
    targets = single(data.read()["train"].targets)
    assert targets.shape[1] == 2 and 4e4 < targets[0, 0] < 6e4 and 150 < targets[0, 1] < 190
    means, deviations = targets.double().mean(0), targets.double().std(0, correction=0)
    assert data.scaling is not None
    assert data.scaling[0] == pytest.approx(means.tolist())
    assert data.scaling[1] == pytest.approx(deviations.tolist())
    again = data_of(tmp_path / "table.csv", dict(data.known), target=["loss", "height"], scale_target=True)
    assert again.scaling == data.scaling and again.target_names == data.target_names


def test_a_target_stated_by_its_place_is_found_again(tmp_path: Path) -> None:
    path = written(tmp_path)
    for target, named in ((-1, "loss"), (["height", "-1"], ["height", "loss"])):
        first = data_of(path, target=target)
        assert first.guessed["target"] == named
        again = data_of(path, dict(first.known), **first.guessed)
        for name, examples in first.read().items():
            assert torch.equal(single(again.read()[name].targets), single(examples.targets))


def test_a_list_of_one_is_that_one(tmp_path: Path) -> None:
    one, alone = (data_of(written(tmp_path), target=target) for target in (["loss"], "loss"))
    assert (one.target, one.target_names, one.scaling) == ("loss", (), alone.scaling)
    assert one.known == alone.known and isinstance(one.scaling, tuple) and isinstance(one.scaling[0], float)
    for name, examples in alone.read().items():
        assert torch.equal(single(one.read()[name].targets), single(examples.targets)), name


def test_the_loss_sees_each_target_by_its_own_scale_and_metrics_its_unit(tmp_path: Path) -> None:
    plan = planned(**small(written(tmp_path)))
    (height, loss), (tall, costly) = plan.data.scaling
    targets = torch.tensor([[height, loss]])
    outputs = targets + torch.tensor([[2 * tall, costly]])
    assert plan.recipe.loss(outputs, targets).item() == pytest.approx((4 + 1) / 2, rel=1e-5)
    mae = plan.recipe.metrics["mae"].measure(outputs, targets)
    assert mae.item() == pytest.approx((2 * tall + costly) / 2, rel=1e-4)
    model = plan.build()
    assert not [name for name in model.state_dict() if "mean" in name or "sd" in name]
    with torch.no_grad():
        inner = model[0](torch.zeros(3, 2))
        own = model(torch.zeros(3, 2))
    assert torch.allclose(own, inner * torch.tensor([tall, costly]) + torch.tensor([height, loss]))


def test_a_loss_of_any_form_sees_standardised_targets(tmp_path: Path) -> None:
    apart = "def apart(outputs, targets):\n    return (outputs * targets).sum(1)\n"
    parts = own_parts(tmp_path / "parts", {"loss/apart.py": apart})
    data = Data("regression", (2,), dict, targets=2, scaling=((1.0, 5.0), (2.0, 10.0)))
    loss = loss_part(parts, Choice("apart", {}), data).measure
    for dtype in (torch.float32, torch.float64):
        outputs, targets = torch.tensor([[5.0, 25.0]], dtype=dtype), torch.tensor([[7.0, -5.0]], dtype=dtype)
        assert loss(outputs, targets).tolist() == [2 * 3 + 2 * -1]
        assert loss(outputs, targets).dtype == dtype


def test_a_row_without_one_of_the_targets_is_left_out(tmp_path: Path) -> None:
    lines = [row(number, **({"loss": ""} if number in (3, 9) else {})) for number in range(N)]
    data = data_of(written(tmp_path, lines))
    assert sum(map(len, data.read().values())) == N - 2
    assert "2 of 60 rows are left out: 2 cells are missing: loss" in data.notes[0]


def test_a_run_is_judged_and_predicts_by_the_name_of_each_target(
    tmp_path: Path, dlrun: Callable[..., Any]
) -> None:
    path = written(tmp_path)
    run = trained(planned(**small(path)), tmp_path / "runs")
    model, saved = open_checkpoint(run.last, run, [], Parts(), tmp_path)
    found = evaluate_run(model, saved, run.last, "test")
    outputs, targets = (each.double() for each in model.outputs("test"))
    missed = outputs - targets
    assert list(found["per_target"]) == ["height", "loss"]
    for place, figures in enumerate(found["per_target"].values()):
        own = missed[..., place]
        assert figures["mae"] == pytest.approx(own.abs().mean().item())
        assert figures["rmse"] == pytest.approx(own.square().mean(1).sqrt().mean().item())
        share = own.square().mean(1) / targets[:, place].var(correction=0)
        assert figures["r2"] == pytest.approx(1 - share.mean().item())
    means = model.loaded["train"].targets.double().mean(0)
    without = (means - targets).abs().mean().item()
    assert found["baselines"]["mean"]["mae"] == pytest.approx(without, rel=1e-5), "the mean of each"
    told = dlrun("eval", run.folder).out
    assert "height" in told and "above are means over all targets" in told

    there, _ = model.outputs("train")
    assert model.loaded["train"].origin is not None
    rows = predict_files(run.last, [path], Parts(), tmp_path).rows()
    first = int(model.loaded["train"].origin[0])
    assert list(rows[0]) == ["input", "height", "predicted loss"], "loss is a figure of a prediction"
    assert [*rows[first].values()][1:] == pytest.approx(there[:, 0].mean(0).tolist(), rel=1e-5)
    assert torch.allclose(
        load(run.folder, seed=0, checkpoint="last").model(model.loaded["train"].raw(torch.arange(5))),
        there[0, :5],
    )
    listed = dlrun("eval", run.folder, "--csv").out.splitlines()[0]
    assert listed == "input,true height,true loss,height,predicted loss,trained_on,loss"


def test_other_rows_are_judged_with_all_of_their_targets(tmp_path: Path, dlrun: Callable[..., Any]) -> None:
    run = trained(planned(**small(written(tmp_path))), tmp_path / "runs")
    other = written(tmp_path, [row(number) for number in range(100, 110)], "other.csv")
    found = json.loads(dlrun("eval", run.folder, "--on", other, "--json").out)
    assert found["examples"] == 10 and list(found["per_target"]) == ["height", "loss"]
    other.write_text("x,z,height\n1,2,3\n")
    refused = dlrun("eval", run.folder, "--on", other)
    assert refused.code == 2 and "there is no column loss, the target" in refused.err


@pytest.mark.parametrize("stacked", [False, True])
def test_a_resumed_run_is_as_if_it_never_stopped(tmp_path: Path, stacked: bool) -> None:
    changes = small(written(tmp_path)) | {"stacked": stacked}
    whole = trained(planned(**changes), tmp_path / "whole")
    halves = trained(planned(**changes), tmp_path / "halves", stop_after=1)
    go_on(halves, changes)
    assert not differences(outcome(whole), outcome(halves))


def test_the_data_are_told_of_each_target(tmp_path: Path, dlrun: Callable[..., Any]) -> None:
    lines = [row(number, z=number**2 % 41, loss=7 * (number**2 % 41)) for number in range(N)]
    path = written(tmp_path, lines)
    config = tmp_path / "table.yaml"
    config.write_text(
        f"dataset: {{name: csv, path: {path}, target: [height, loss]}}\n"
        "architecture: linear\noptimizer: {name: sgd, lr: 0.1}\nloss: mse\nepochs: 1\nbatch_size: 16\n"
    )
    done = dlrun("data", config, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    heights = single(data_of(path).read()["train"].targets)[:, 0]
    assert found["splits"]["train"]["targets"]["height"]["max"] == pytest.approx(heights.max().item())
    told = [text for text in found["warnings"] if "from one input alone" in text]
    assert [text.split(":")[0] for text in told] == ["loss can be told from one input alone"]
    columns = {each["name"]: each for each in found["table"]["columns"]}
    assert [name for name, each in columns.items() if each["is_target"]] == ["height", "loss"]
    assert 0.25 < columns["z"]["tells"] < 0.45, (
        "all of one target and nothing of the other, whatever their units"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": ["height", "height"]}, "target names a column twice"),
        ({"task": "classification"}, "a class is in one column, and target names several"),
        ({"baselines": {"guess": "x"}}, "baselines guess one target"),
        ({"ignore": ["loss"]}, "loss is the target, and cannot be under ignore too"),
        ({"target": ["height", "weight"]}, "there is no column 'weight'"),
        ({"target": ["height", "9"]}, "there is no column 9"),
        ({"target": []}, "there is no column ''"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path), **options).what


def test_a_target_that_never_changes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [row(number, loss=5) for number in range(N)])
    found = refusal(path)
    assert (
        "loss: the same in all training rows" in found.what and found.fix == "take such columns out of target"
    )


def test_a_target_of_text_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [row(number, loss="much" if number % 2 else "little") for number in range(N)])
    assert "loss holds text" in refusal(path).what
    assert "loss holds text" in refusal(path, read="strict").what


@pytest.mark.parametrize(
    "scaling",
    [
        [[170.0, 5e4], [10.0, 0.0]],
        [[170.0, math.inf], [10.0, 1.0]],
        [[170.0], [10.0]],
        [[170.0, 1.0, 1.0], [10.0, 1.0, 1.0]],
        [[170.0, 1.0], [10.0]],
        [[170.0, 1.0], 10.0],
        [[[170.0], [1.0]], [[10.0], [1.0]]],
        [[], []],
        [170.0, 10.0],
        [["x", "y"], ["a", "b"]],
    ],
)
def test_a_forged_scale_is_refused(tmp_path: Path, scaling: Any) -> None:
    run = trained(planned(**small(written(tmp_path)) | {"epochs": 1, "seeds": [0]}), tmp_path / "runs")
    saved = load_checkpoint(run.last)
    saved.data["known"]["scaling"] = scaling
    save_checkpoint(run.last, saved)
    with pytest.raises((CheckpointRefused, ConfigError)):
        open_plan(run.last, [], Parts(), tmp_path)


def test_a_model_of_two_targets_is_not_taken_for_one_of_one(tmp_path: Path) -> None:
    path = written(tmp_path)
    first = data_of(path)
    said = refusal(path, dict(first.known), target="height", scale_target=True, ignore=[]).what
    assert "the model was trained for 2 targets, and target names 1" in said


def test_targets_of_a_checkpoint_prepare_the_same_batches(tmp_path: Path) -> None:
    path = written(tmp_path)
    first = data_of(path)
    loaded, again = (
        Loaded(data, torch.device("cpu"))
        for data in (first, data_of(path, dict(first.known), scale_target=True))
    )
    for mine, own in zip(
        loaded["train"].batch(torch.arange(9)), again["train"].batch(torch.arange(9)), strict=True
    ):
        assert torch.equal(single(mine), single(own))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"target_names": ("a", "b", "c")}, "targets=2, but target_names for 3"),
        ({"target_names": ["a", "b"]}, "must be a tuple of names"),
        ({"scaling": ((1.0, 2.0), (1.0,))}, "targets=2, but scaling for 1"),
    ],
)
def test_a_dataset_that_names_or_scales_other_targets_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        refuse_malformed(Data("regression", (2,), dict, targets=2, **wrong))
    assert said in refused.value.what
