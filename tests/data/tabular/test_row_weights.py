"""A column of weights: a row of weight 2 counts as two rows, and is refused or counted where it is none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import planned, trained

from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.tabular.column_figures import Figures, median
from dlrun.data.trees import single
from dlrun.dataset.csv import csv
from dlrun.errors import UserError
from dlrun.results.prediction import predict_files

N = 90
HEADER = "age,income,hours,region,spend,w,part"
SURVEY: dict[str, Any] = {"loss": "mse", "metrics": ["mae", "rmse", "r2"], "epochs": 4, "batch_size": "full"}
SURVEY |= {"precision": "float64", "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}}


def row(number: int, **cells: object) -> str:
    age, income = 20 + 7 * number % 61, round(2e4 * math.exp(math.sin(number)))
    usual: dict[str, object] = {
        "age": age,
        "income": "" if number % 11 == 3 else income,
        "hours": number % 40,
        "region": ("north", "south", "east")[number % 3],
        "spend": round(200 + 0.01 * income + 2 * age + 30 * math.sin(5 * number), 3),
        "w": number % 4,
        "part": ("train", "train", "train", "valid", "test")[number % 5],
    }
    return ",".join(str(value) for value in (usual | cells).values())


def written(
    folder: Path, lines: list[str] | None = None, name: str = "survey.csv", header: str = HEADER
) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("\n".join([header, *(lines or map(row, range(N)))]) + "\n")
    return path


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "target": "spend", "weights": "w", "split_column": "part"} | more


def data_of(path: Path, known: Any = None, **more: Any) -> Data:
    return csv(path.parent, known, **options(path, **more))


def refusal(path: Path, **more: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        data_of(path, **more).read()
    return refused.value


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"missing": "fill", "target_transform": "log"},
        {"target": ["spend", "hours"]},
        {"baselines": {"of income": "income"}},  # where it is missing, its mean stands in
        {"target": "region", "task": "classification"},
    ],
)
def test_a_run_with_weights_is_that_on_a_table_of_repeated_rows(tmp_path: Path, more: dict[str, Any]) -> None:
    repeated = [row(number) for number in range(N) for _ in range(number % 4)]
    kind: dict[str, Any] = {"loss": "cross_entropy", "metrics": ["accuracy", "f1"]} if "task" in more else {}
    runs = [
        trained(planned(**SURVEY | kind | {"dataset": {"name": "csv"} | own}), tmp_path / name)
        for name, own in (
            ("weighted", options(written(tmp_path / "a"), **more)),
            ("repeated", options(written(tmp_path / "b", repeated), **more, weights=None, ignore=["w"])),
        )
    ]
    ours, theirs = (run.rows() for run in runs)
    for column in set(ours) - {"seconds"}:
        assert ours[column] == pytest.approx(theirs[column], rel=2e-6, abs=1e-9), column
    assert ours["train_loss"][0] > ours["train_loss"][-1], "it learnt"
    baselines, others = (run.summary()["baselines"] for run in runs)
    for split, guesses in baselines.items():
        for guess, figures in guesses.items():
            assert figures == pytest.approx(others[split][guess], rel=1e-5, abs=1e-9), (split, guess)


def test_the_column_of_weights_is_no_input_and_is_told(tmp_path: Path, dlrun: Callable[..., Any]) -> None:
    path = written(tmp_path)
    data = data_of(path)
    assert "w" not in data.features and data.weighted
    total = sum(number % 4 for number in range(N))
    assert f"weights: column w (from 0 to 3, sum {total}; 23 of 90 are 0)" in data.findings
    held = data.read()["train"].weights
    assert held is not None and held[:4].tolist() == [0, 1, 2, 1]
    config = tmp_path / "survey.yaml"
    dataset = ", ".join(f"{key}: {value}" for key, value in options(path).items())
    config.write_text(
        f"dataset: {{name: csv, {dataset}}}\narchitecture: linear\nloss: mse\n"
        "optimizer: {name: sgd, lr: 0.1}\nepochs: 1\nbatch_size: 16\n"
    )
    found = json.loads(dlrun("data", config, "--json").out)
    [column] = [each for each in found["table"]["columns"] if each["name"] == "w"]
    assert (column["remark"], column["tells"]) == ("the weights", None)
    assert "the figures above count every example once, whatever its weight" in found["findings"]
    told = dlrun("train", config, "--runs-dir", tmp_path / "runs")
    assert (
        told.code == 0
        and f"weights: column w (from 0 to 3, sum {total}; 23 of 90 are 0)" in told.out + told.err
    )


def test_no_row_changes_its_split_for_its_weight(tmp_path: Path) -> None:
    path, ignored = written(tmp_path), ["part", "w"]
    parts = [
        data_of(path, split_column=None, ignore=ignored[:n], weights=own) for n, own in ((1, "w"), (2, None))
    ]
    for name, examples in parts[0].read().items():
        other = parts[1].read()[name].origin
        assert examples.origin is not None and other is not None
        assert torch.equal(examples.origin, other)


def test_weights_are_read_as_other_numbers_of_the_file_are(tmp_path: Path) -> None:
    lines = [row(number, w=f'"{number % 3},5"', spend=f'"{number},25"') for number in range(N)]
    weights = data_of(written(tmp_path, lines)).read()["train"].weights
    assert weights is not None and weights[:3].tolist() == [0.5, 1.5, 2.5]


def test_a_row_without_a_weight_is_left_out_and_counted(tmp_path: Path) -> None:
    lines = [row(number, **({"w": ""} if number in (3, 9) else {})) for number in range(N)]
    data = data_of(written(tmp_path, lines))
    assert sum(map(len, data.read().values())) == N - 2
    assert "2 of 90 rows are left out: 2 cells are missing: w in row 5, w in row 11" in data.notes[0]
    lines = [row(number, **({"w": "none"} if number == 3 else {})) for number in range(N)]
    data = data_of(written(tmp_path, lines))
    assert "1 of 90 rows is left out: 1 cell is missing: w in row 5" in data.notes[0]


@pytest.mark.parametrize(
    ("cell", "read", "said"),
    [
        (
            -2,
            "guess",
            "w holds -2 in row 9 (and so on in 1 more row), but a weight is finite and not below 0",
        ),
        (
            -2,
            "strict",
            "w holds -2 in row 9 (and so on in 1 more row), but a weight is finite and not below 0",
        ),
        ("inf", "strict", "2 cells are unreadable: w in row 9 ('inf'), w in row 10 ('inf')"),
        ("1e39", "strict", "w in row 9 ('1e39')"),
        ("1e39", "guess", "w holds '1e39', a number beyond float32 (row 9)"),
        ("heavy", "strict", "2 cells are unreadable: w in row 9 ('heavy'), w in row 10 ('heavy')"),
    ],
)
def test_a_cell_that_is_no_weight_is_refused_with_its_place(
    tmp_path: Path, cell: object, read: str, said: str
) -> None:
    lines = [row(number, **({"w": cell} if number in (7, 8) else {})) for number in range(N)]
    found = refusal(written(tmp_path, lines), read=read, categorical=["region"])
    assert said in found.what and "survey.csv" in found.where


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"weights": "weight"}, "there is no column 'weight'"),
        ({"weights": "region"}, "region holds text"),
        ({"weights": "spend"}, "spend is the target, and cannot be the weights too"),
        ({"target": 5, "weights": "spend"}, "spend is the target, and cannot be the weights too"),
        ({"categorical": ["w"]}, "w is categorical, and cannot be the weights too"),
        ({"baselines": {"guess": "w"}}, "w is a baseline, and cannot be the weights too"),
        ({"weights": "part"}, "part is the column of the splits, and cannot be the weights too"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path), **more).what


def test_a_split_of_weight_0_is_refused(tmp_path: Path) -> None:
    lines = [row(number, w=int(number % 5 != 4)) for number in range(N)]
    with pytest.raises(UserError, match="all 18 examples of test have weight 0"):
        planned(**SURVEY | {"dataset": {"name": "csv"} | options(written(tmp_path, lines))}).load()
    lines = [row(number, w=0) for number in range(N)]
    assert "every cell of w is 0" in refusal(written(tmp_path, lines)).what


def test_other_rows_are_judged_with_their_weights_or_counted_once(
    tmp_path: Path, dlrun: Callable[..., Any]
) -> None:
    whole = SURVEY | {"dataset": {"name": "csv"} | options(written(tmp_path))}
    run = trained(planned(**whole), tmp_path / "runs")
    lines = [row(number, w=number % 3) for number in range(100, 120)]
    other = written(tmp_path, lines, "other.csv")
    told = dlrun("eval", run.folder, "--on", other, "--json")
    found = json.loads(told.out)
    assert (found["examples"], found["weight"]) == (20, sum(number % 3 for number in range(100, 120)))
    assert "has no weights" not in told.err
    rows = dlrun("eval", run.folder, "--on", other, "--csv").out.splitlines()
    assert rows[0] == "input,true,spend,trained_on,weight,loss"
    cells = [line.split(",") for line in rows[1:]]
    weights = {f"row {2 + place}": (100 + place) % 3 for place in range(20)}
    assert {cell[0]: float(cell[4]) for cell in cells} == weights
    mean = sum(float(cell[4]) * float(cell[5]) for cell in cells) / sum(weights.values())
    assert mean == pytest.approx(found["loss"], rel=1e-5), "the loss of a row is its own"

    bare = [",".join(line.split(",")[:5]) for line in lines]
    without = written(tmp_path, bare, "bare.csv", header="age,income,hours,region,spend")
    told = dlrun("eval", run.folder, "--on", without, "--json")
    assert "bare.csv has no weights: each of its examples counts once" in told.err
    found = json.loads(told.out)
    assert found["weight"] == found["examples"] == 20
    losses = [float(cell[5]) for cell in cells]
    assert found["loss"] == pytest.approx(sum(losses) / 20, rel=1e-5)
    predicted = predict_files(run.best, [without], Parts(), tmp_path).rows()
    assert [each["spend"] for each in predicted] == pytest.approx(
        [float(cell[2]) for name in weights for cell in cells if cell[0] == name], rel=1e-5
    )


@pytest.mark.parametrize("scale", ["standard", "robust", "quantile"])
def test_rows_of_weight_0_tell_nothing_of_the_scale(tmp_path: Path, scale: str) -> None:
    lines = [row(number, **({"age": 9e6, "spend": 1e7} if number % 4 == 0 else {})) for number in range(N)]
    data, other = (
        data_of(written(tmp_path / name, own), scale=scale)
        for name, own in (("all", lines), ("rest", [line for line in lines if not line.startswith("9000")]))
    )
    assert data.scaling == pytest.approx(other.scaling)
    ours, theirs = (each.fit(each.read()["train"]) for each in (data, other))
    assert isinstance(ours, Preprocessing) and isinstance(theirs, Preprocessing)
    for name, step in ours.state_dict().items():
        wanted = theirs.state_dict()[name]
        assert step is not None and wanted is not None and torch.allclose(step, wanted), name


def test_what_only_rows_of_weight_0_hold_is_not_learnt(tmp_path: Path) -> None:
    lines = [
        row(number, **({"income": 5e6, "region": "west"} if number % 4 == 0 else {"income": ""}))
        for number in range(N)
    ]
    data = data_of(written(tmp_path, lines))
    assert "left out: income (has no value in the training rows)" in data.findings
    assert not [name for name in data.features if "west" in name or "income" in name]
    inputs = single(data.fit(data.read()["train"])(data.read()["train"].inputs))
    assert bool(inputs.isfinite().all())


def test_equal_weights_scale_as_none_do(tmp_path: Path) -> None:
    path = written(tmp_path, [row(number, w=0.25) for number in range(N)])
    data, other = data_of(path), data_of(path, weights=None, ignore=["w"])
    assert data.scaling == pytest.approx(other.scaling)
    ours, theirs = (each.fit(each.read()["train"]) for each in (data, other))
    for step in ("offset", "scale", "fill"):
        own, of_other = getattr(ours, step), getattr(theirs, step)
        assert own.tolist() == pytest.approx(of_other.tolist()), step
    again = data_of(path, dict(data.known), scale_target=True)
    inputs, same = (single(each.read()["train"].inputs) for each in (data, again))
    assert torch.equal(inputs.nan_to_num(-1), same.nan_to_num(-1))


def test_weighted_figures_are_those_of_repeated_numbers() -> None:
    stream = np.random.default_rng(1)
    for size in (1, 2, 5, 40):
        values = stream.normal(size=size).round(1)
        values[1::7] = np.nan
        counts = stream.integers(0, 4, size)
        counts[0] += 1
        repeated = np.repeat(values, counts)
        assert median(values, counts.astype(float)) == pytest.approx(float(np.nanmedian(repeated)))
        assert median(values, counts / 7) == pytest.approx(float(np.nanmedian(repeated)))
        found, wanted = Figures.of(values, counts.astype(float)), Figures.of(repeated)
        assert (found.low, found.high) == (wanted.low, wanted.high)
        assert (found.mean, found.deviation) == pytest.approx((wanted.mean, wanted.deviation), abs=1e-12)
    assert math.isnan(median(np.array([math.nan]), np.array([1.0])))
