"""The rows of a table as examples: what is an input, what is missing, which rows teach and which judge."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch
from cells import rows_of
from small_runs import planned, trained
from torch import Tensor

from dlrun.config.loading import load_config, load_run_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Data, NewInputs
from dlrun.data.loaded import Loaded
from dlrun.data.tabular import inputs as table_inputs
from dlrun.data.trees import single
from dlrun.dataset.csv import csv
from dlrun.dataset.daily_temperatures import COLUMNS, WEEK, daily_temperatures, made
from dlrun.errors import CheckpointRefused, UserError
from dlrun.results.trained_model import load
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.opening import open_checkpoint, open_plan
from dlrun.training.trained import outputs_for

CPU = torch.device("cpu")
HEADER = "when,sky,wind,guess,heat"
# Nothing is guessed, and each row is drawn into a split.
EXPLICIT: dict[str, Any] = {"read": "strict", "missing": "refuse", "unknown": "refuse", "scale_target": False}
EXPLICIT |= {"max_categories": None, "split_rule": "drawn", "valid_fraction": 0.0}
SKIES = ("grey", "blue", "grey", "Blue")
Dlrun = Callable[..., Any]
PROJECT = Path(__file__).parents[3]


def row(day: int, **cells: object) -> str:
    """One day of a small table: every figure says which day it is."""
    values = {"when": date(2020, 1, 1) + timedelta(day), "sky": SKIES[day % 4], "wind": day, "guess": day + 3}
    return ",".join(str(value) for value in (values | {"heat": 10 * day} | cells).values())


def rows(n: int = 20) -> list[str]:
    return [row(day) for day in range(n)]


def written(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    path = folder / "days.csv"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


def days(path: Path, known: Any = None, **options: Any) -> Data:
    usual = EXPLICIT | {"target": "heat", "categorical": ["sky"], "date": ["when"]}
    return csv(path.parent, known, path=str(path), **usual | options)


def refusal(path: Path, **options: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        days(path, **options)
    assert max(map(len, refused.value.lines())) < 250
    return refused.value


def heats(data: Data) -> dict[str, list[float]]:
    """The targets of each split."""
    return {name: examples.targets.flatten().tolist() for name, examples in data.read().items()}


# ------------------------------------------------------------------------ what is an input


def test_every_column_but_the_target_is_an_input(tmp_path: Path) -> None:
    data = days(written(tmp_path, rows()), unit="°C")
    assert data.features == ("sky=Blue", "sky=blue", "sky=grey", "wind", "guess")
    assert (data.input_shape, data.target, data.unit, data.task) == ((5,), "heat", "°C", "regression")
    train = data.read()["train"]
    assert train.inputs.dtype == torch.float64
    assert train.inputs[:4].tolist() == [
        [0, 0, 1, 0, 3],
        [0, 1, 0, 1, 4],
        [0, 0, 1, 2, 5],
        [1, 0, 0, 3, 6],
    ], "categories are taken as they are spelled"
    assert train.targets[:4].tolist() == [[0], [10], [20], [30]]
    assert days(written(tmp_path, rows()), ignore=["sky", "guess"]).features == ("wind",)


def test_categories_that_are_numbers_stand_by_size(tmp_path: Path) -> None:
    path = written(tmp_path, [row(day, sky=10 - day % 5) for day in range(20)])
    assert days(path).features[:5] == ("sky=6", "sky=7", "sky=8", "sky=9", "sky=10")


def test_a_date_is_in_seconds_since_1970_in_either_form(tmp_path: Path) -> None:
    text = days(written(tmp_path, rows())).read()["train"].aside["date"]
    assert text.dtype == torch.int64
    assert text[:2].tolist() == [1577836800, 1577836800 + 86400]
    parts = [f"{day % 7},2020,1,{day + 1},{day}" for day in range(20)]
    path = written(tmp_path, parts, "a,year,month,day,heat")
    three = days(path, categorical=[], date=["year", "month", "day"])
    assert torch.equal(three.read()["train"].aside["date"], text)
    assert three.features == ("a", "year", "month", "day"), "dates in figures are inputs too"
    moments = [row(day, when=f"2020-01-01T{day:02}:30:15{'+02:00' * (day % 2)}") for day in range(20)]
    in_order = days(written(tmp_path, moments), split="random", test_fraction=0.0).read()["train"]
    assert [seconds - 1577836800 for seconds in in_order.aside["date"][:2].tolist()] == [1815, 1815 - 3600]


def test_cycles_of_the_date_go_round(tmp_path: Path) -> None:
    when = ["2020-01-06", "2020-07-02", "2021-01-01T06:00", "2021-07-02T12:00", "2020-01-08T12:00:00"]
    path = written(tmp_path, [row(day, when=text) for day, text in enumerate(when)])
    options: dict[str, Any] = {"ignore": ["sky", "wind", "guess"], "test_fraction": 0.0, "split": "random"}
    data = days(path, date_cycles=["year", "week", "day"], **options)
    assert data.features == ("sin(year)", "cos(year)", "sin(week)", "cos(week)", "sin(day)", "cos(day)")
    inputs = data.read()["train"].inputs
    half_a_year = [[0, -1], [0, -1]]
    torch.testing.assert_close(inputs[[1, 3], :2], torch.tensor(half_a_year).double())
    assert inputs[0, 2:].tolist() == [0, 1, 0, 1], "midnight before a Monday"
    assert inputs[2, 4:].tolist() == pytest.approx([1, 0]), "six in the morning"
    angle = 2 * math.pi * 2.5 / 7
    assert inputs[4, 2:4].tolist() == pytest.approx([math.sin(angle), math.cos(angle)])
    assert torch.equal(Loaded(data, CPU)["train"].batch(torch.arange(5))[0], inputs.float()), "as they are"


def test_numbers_are_standardised_by_the_training_rows_alone(tmp_path: Path) -> None:
    days_after = [row(day, wind=1000, guess=4) for day in range(16, 20)]
    path = written(tmp_path, [row(day, guess=3) for day in range(16)] + days_after)
    data = days(path)
    loaded = Loaded(data, CPU)
    inputs, _ = loaded["train"].batch(torch.arange(16))
    wind = inputs[:, 3]
    assert wind.mean().item() == pytest.approx(0, abs=1e-6)
    assert wind.square().mean().item() == pytest.approx(1)
    assert set(inputs[:, :3].flatten().tolist()) == {0, 1}, "categories stay 0 and 1"
    assert loaded["test"].batch(torch.arange(4))[0][:, 3].tolist() == pytest.approx(
        [(1000 - 7.5) / torch.arange(16.0).std(correction=0).item()] * 4
    )
    for split in ("train", "test"):
        assert not loaded[split].batch(torch.arange(4))[0][:, 4].any(), "what never changed becomes 0"
    assert data.notes == ["guess is the same in all training rows, and becomes 0"]
    raw = Loaded(days(path, standardise=False), CPU)["train"]
    assert torch.equal(raw.batch(torch.arange(16))[0], raw.raw().float())


def test_outliers_have_less_say_by_median_and_interquartile_range(tmp_path: Path) -> None:
    """RobustScaler of scikit-learn gives the same: of 0 … 14 and 1000 the median is 7.5, the range 7.5."""
    lines = [row(day, wind=day if day < 15 else 1000, guess=3 + (day == 4)) for day in range(20)]
    data = days(written(tmp_path, lines), scale="robust")
    inputs, _ = Loaded(data, CPU)["train"].batch(torch.arange(16))
    assert inputs[:, 3].tolist() == pytest.approx([(day - 7.5) / 7.5 for day in (*range(15), 1000)])
    assert set(inputs[:, :3].flatten().tolist()) == {0, 1}, "categories stay 0 and 1"
    guess = torch.tensor([float(day == 4) for day in range(16)])
    assert torch.allclose(inputs[:, 4], guess / guess.std(correction=0)), "a range of 0 is no scale"


@pytest.mark.parametrize("far", [0, 2**40])
def test_ranks_of_numbers_are_those_among_the_training_rows(tmp_path: Path, far: int) -> None:
    lines = [row(day, wind=far + day**3, guess=3) for day in range(20)]
    data = days(written(tmp_path, lines), scale="quantile")
    loaded = Loaded(data, CPU)
    inputs, _ = loaded["train"].batch(torch.arange(16))
    shares = [max(1 / 32, min(31 / 32, day / 15)) for day in range(16)]
    assert inputs[:, 3].tolist() == pytest.approx([NormalDist().inv_cdf(share) for share in shares])
    assert set(inputs[:, :3].flatten().tolist()) == {0, 1} and not inputs[:, 4].any()
    end = NormalDist().inv_cdf(31 / 32)
    assert loaded["test"].batch(torch.arange(4))[0][:, 3].tolist() == pytest.approx([end] * 4)


def test_many_rows_have_a_thousand_quantiles(tmp_path: Path) -> None:
    drawn = torch.rand(3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = written(tmp_path, [f"{number},{number}" for number in drawn.tolist()], "wind,heat")
    data = days(path, categorical=[], date=[], scale="quantile", missing="auto")
    loaded = Loaded(data, CPU)
    steps, raw = loaded.preprocessing.each[""], loaded["train"].raw()[:, 0]
    assert steps.quantiles is not None and steps.quantiles.shape == (1, 1000)
    torch.testing.assert_close(steps.quantiles[0], raw.quantile(torch.linspace(0, 1, 1000).to(raw)).double())
    assert float(steps(torch.tensor([[torch.nan]]))[0, 0]) == pytest.approx(0, abs=2e-3), "the median fills"


@pytest.mark.parametrize("scale", ["robust", "quantile"])
def test_a_model_of_scaled_numbers_predicts_as_it_was_judged(tmp_path: Path, scale: str) -> None:
    dataset = small_dataset(written(tmp_path, rows())) | {"scale": scale}
    run = trained(planned(dataset=dataset, **CONFIG), tmp_path / "runs")
    before, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    plan, preprocessing, saved = open_plan(run.best, [], Parts(), tmp_path)
    assert ("quantiles" in saved.data["preprocessing"]) == (scale == "quantile")
    _, inputs, _ = new_rows(plan.data, tmp_path / "days.csv")
    found = outputs_for(before.model, inputs, preprocessing, before.hardware, 16)
    assert torch.equal(found[:, -4:], before.outputs("test")[0])
    module = load(run.folder, seed=0, data_dir=tmp_path).model
    torch.testing.assert_close(module(inputs), found[0])


def test_a_target_is_scaled_for_the_loss_alone(tmp_path: Path) -> None:
    path = written(tmp_path, rows())
    dataset = EXPLICIT | {"name": "csv", "path": str(path), "target": "heat", "date": ["when"]}
    dataset |= {"categorical": ["sky"]}
    plain, scaled = (
        planned(dataset=dataset | {"scale_target": wanted}, loss="mse", metrics=["mae"])
        for wanted in (False, True)
    )
    assert plain.data.scaling is None
    assert scaled.data.scaling == pytest.approx((75, 10 * torch.arange(16.0).std(correction=0).item()))
    assert scaled.data.scaling is not None
    outputs, targets = torch.full((1, 1), 75 + scaled.data.scaling[1]), torch.full((1, 1), 75.0)
    assert scaled.recipe.loss(outputs, targets).item() == pytest.approx(1)
    mae = scaled.recipe.metrics["mae"].measure
    assert mae(outputs, targets).item() == pytest.approx(scaled.data.scaling[1])
    assert heats(plain.data) == heats(scaled.data)


def test_baselines_are_kept_beside_the_examples(tmp_path: Path) -> None:
    data = days(written(tmp_path, rows()), baselines={"Ann": "guess"}, ignore=["guess"])
    assert data.baselines == ("Ann",)
    assert data.read()["test"].aside["Ann"].tolist() == [19, 20, 21, 22]
    assert "guess" not in data.features


def test_classes_are_learnt_from_a_column_of_names(tmp_path: Path) -> None:
    path = written(tmp_path, rows(40))
    data = days(path, target="sky", task="classification", categorical=[], split="random", valid_fraction=0.2)
    assert (data.task, data.classes) == ("classification", ("Blue", "blue", "grey"))
    assert data.features == ("wind", "guess", "heat")
    splits = data.read()
    for examples in splits.values():
        wanted = [data.classes.index(SKIES[int(day) % 4]) for day in examples.inputs[:, 0].tolist()]
        assert examples.targets.tolist() == wanted
    counts = {name: torch.bincount(examples.targets).tolist() for name, examples in splits.items()}
    assert counts == {"train": [6, 6, 13], "valid": [2, 2, 3], "test": [2, 2, 4]}


# ------------------------------------------------------------------------ which rows


def test_by_date_the_last_rows_judge(tmp_path: Path) -> None:
    shuffled = rows()
    random.Random(4).shuffle(shuffled)
    found = heats(days(written(tmp_path, shuffled), valid_fraction=0.25))
    assert found == {
        "train": [10 * day for day in range(12)],
        "valid": [10 * day for day in range(12, 16)],
        "test": [10 * day for day in range(16, 20)],
    }
    same_day = [row(day, when="2020-01-01") for day in range(10)]
    assert heats(days(written(tmp_path, same_day)))["test"] == [80, 90], "of one day the last in the file"
    assert days(written(tmp_path, rows()), test_fraction=0.0).splits == ("train",)


def test_without_a_date_rows_are_drawn_by_the_seed(tmp_path: Path) -> None:
    path = written(tmp_path, rows(50))
    options: dict[str, Any] = {"date": [], "ignore": ["when"], "valid_fraction": 0.25}
    first, again, other = (heats(days(path, seed=seed, **options)) for seed in (1, 1, 2))
    assert first == again
    assert all(first[name] != other[name] for name in first)
    assert {name: len(some) for name, some in first.items()} == {"train": 30, "valid": 10, "test": 10}
    assert sorted(heat for some in first.values() for heat in some) == [10 * day for day in range(50)]
    assert heats(days(path, split="random", valid_fraction=0.25, seed=1)) == first, "a date may be unused"


@pytest.mark.parametrize(
    ("n", "options", "said"),
    [
        (1, {}, "of 1 row the train split gets 1"),
        (4, {}, "of 4 rows the test split gets 1"),
        (20, {"valid_fraction": 0.05}, "of 20 rows the valid split gets 1"),
        (20, {"test_fraction": 0.99}, "of 20 rows the train split gets 0"),
    ],
)
def test_a_split_of_less_than_two_rows_is_refused(
    n: int, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    refused = refusal(written(tmp_path, rows(n)), **options)
    assert said in refused.what
    assert "_fraction" in refused.fix


def test_classes_that_are_very_many_are_refused_as_such(tmp_path: Path) -> None:
    refused = refusal(written(tmp_path, rows(1001)), target="heat", task="classification")
    assert refused.what == "heat has 1,001 different values, but classes are 2 to 1,000"
    refused = refusal(
        written(tmp_path, rows(40)), target="heat", task="classification", date=[], ignore=["when"]
    )
    assert refused.what == "of 40 rows in 40 classes the test split gets 0, but needs 2"


def test_numbers_whose_squares_vanish_become_0_and_not_infinite(tmp_path: Path) -> None:
    loaded = Loaded(days(written(tmp_path, [row(day, wind=f"{day}e-300") for day in range(20)])), CPU)
    inputs, _ = loaded["train"].batch(torch.arange(16))
    assert bool(inputs.isfinite().all())


def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="File name too long"):
        csv(tmp_path, path="x" * 5000, target="a")


# ------------------------------------------------------------------------ what is missing

HOLES = {3: {"wind": ""}, 5: {"wind": "NA", "guess": "12 kn"}, 7: {"sky": "n/a"}, 9: {"heat": "?"}}


def with_holes(folder: Path, holes: dict[int, dict[str, str]] = HOLES) -> Path:
    return written(folder, [row(day, **holes.get(day, {})) for day in range(20)])


def test_what_is_missing_is_refused_with_its_row_and_column(tmp_path: Path) -> None:
    refused = refusal(with_holes(tmp_path))
    assert refused.what == (
        "3 cells are missing: wind in row 5, wind in row 7, sky in row 9; "
        "2 cells are unreadable: guess in row 7 ('12 kn'), heat in row 11 ('?')"
    )
    assert refused.where == str(tmp_path / "days.csv")
    assert "drop" in refused.fix and "fill" in refused.fix
    many = {day: {"wind": "x"} for day in range(3, 10)} | {2: {"guess": "y"}}
    said = "8 cells are unreadable: guess in row 4 ('y'), wind in row 5 ('x'), wind in row 6 ('x'), …"
    assert refusal(with_holes(tmp_path, many)).what == said, "the first ones in the file"


def test_rows_that_lack_something_are_left_out_and_counted(tmp_path: Path) -> None:
    data = days(with_holes(tmp_path), missing="drop")
    left = [10.0 * day for day in range(20) if day not in HOLES]
    found = heats(data)
    assert found["train"] + found["test"] == left
    assert data.notes == [
        "4 of 20 rows are left out: 3 cells are missing: wind in row 5, wind in row 7, sky in row 9; "
        "2 cells are unreadable: guess in row 7 ('12 kn'), heat in row 11 ('?')"
    ]


def test_what_is_missing_is_filled_with_the_mean_of_training(tmp_path: Path) -> None:
    data = days(with_holes(tmp_path), missing="fill", test_fraction=0.5, baselines={"guess": "guess"})
    splits = data.read()
    left = [10.0 * day for day in range(20) if day != 9]
    assert heats(data)["train"] + heats(data)["test"] == left, "only a row without its target goes"
    train = splits["train"]
    assert train.inputs[3, 3].isnan() and train.inputs[5, 3:].isnan().all(), "raw inputs say so"
    assert not train.inputs[7, :3].any(), "of no category"
    there = [day for day in range(9) if day not in (3, 5)]
    assert train.aside["guess"][5].item() == pytest.approx(sum(d + 3 for d in range(9) if d != 5) / 8)
    loaded = Loaded(data, CPU)
    assert loaded.preprocessing.each[""].fill is not None
    assert loaded.preprocessing.each[""].fill[3].item() == pytest.approx(sum(there) / len(there))
    inputs, _ = loaded["train"].batch(torch.arange(9))
    assert inputs[[3, 5], 3].tolist() == pytest.approx([0, 0], abs=1e-6)
    plain = Loaded(days(with_holes(tmp_path), missing="fill", standardise=False), CPU)
    assert torch.isfinite(plain["train"].batch(torch.arange(9))[0]).all()
    assert data.notes[0] == "1 of 20 rows is left out: 1 cell is unreadable: heat in row 11 ('?')"
    assert data.notes[1].startswith("3 cells are missing:")


@pytest.mark.parametrize("missing", ["drop", "fill"])
def test_a_row_without_a_date_is_left_out(tmp_path: Path, missing: str) -> None:
    path = with_holes(tmp_path, {4: {"when": ""}, 6: {"when": "2020-13-40"}})
    data = days(path, missing=missing)
    assert (
        "2 of 20 rows are left out: 1 cell is missing: when in row 6; 1 cell is unreadable" in data.notes[0]
    )
    assert "when in row 8 ('2020-13-40')" in data.notes[0]
    parts = [f"2020,{month},{day},{day},{month}" for month, day in ((1, 1), (1, 2), (2, 30), (1, 3), (1, 4))]
    path = written(tmp_path, [*parts, "2020,1,1.5,3,2", *parts[:2]], "year,month,day,a,heat")
    some = days(path, missing=missing, categorical=[], date=["year", "month", "day"], test_fraction=0.0)
    assert "2 cells are unreadable: day in row 4 ('2020-2-30'), day in row 7 ('1.5')" in some.notes[0]


def test_a_column_that_nobody_filled_in_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [row(day, wind="", sky="" if day < 16 else "grey") for day in range(20)])
    assert "no training row has a value of sky, wind" in refusal(path, missing="fill").what
    assert "no row is left: 36 cells are missing" in refusal(path, missing="drop").what
    days(path, missing="fill", ignore=["sky", "wind"])


def test_a_category_that_training_never_saw_is_refused_or_none(tmp_path: Path) -> None:
    path = written(tmp_path, [row(day, sky="gray" if day > 17 else "grey") for day in range(20)])
    refused = refusal(path)
    assert "sky holds 'gray' in row 20 (and 1 more such cell), which no training row holds" in refused.what
    assert "did you mean 'grey'?" in refused.what
    data = days(path, unknown="zeros")
    assert data.features[0] == "sky=grey"
    assert data.read()["test"].inputs[:, 0].tolist() == [1, 1, 0, 0]
    assert data.notes[0].startswith("2 cells hold what no training row holds, and are of no category")
    assert data.notes[0].endswith("sky in row 20 ('gray'), …")


def test_text_among_the_numbers_is_told_from_a_few_bad_cells(tmp_path: Path) -> None:
    path = written(tmp_path, rows())
    refused = refusal(path, categorical=[], date=[], missing="drop")
    assert refused.what == (
        "when holds text such as '2020-01-01' (row 2); sky holds text such as 'grey' (row 2)"
    )
    assert "categorical, date or ignore" in refused.fix
    assert "task: classification" in refusal(path, target="sky", categorical=[]).fix
    assert "2016-01-31" in refusal(written(tmp_path, [row(d, when=f"1/{d}/2020") for d in range(9)])).fix
    ignored = refusal(written(tmp_path, rows()), baselines={"Ann": "sky"}, categorical=[], ignore=["sky"])
    assert "baselines, and dates in three columns, are numbers" in ignored.fix


# ------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "heet"}, "there is no column 'heet'; did you mean 'heat'? (there are: when, sky,"),
        ({"ignore": ["x1", "x2"]}, "there is no column 'x1', nor 'x2' ("),
        ({"baselines": {"a": "b"}}, "there is no column 'b'"),
        ({"categorical": ["heat"]}, "heat is the target, and cannot be under categorical too"),
        ({"baselines": {"self": "heat"}}, "cannot be under baselines too"),
        ({"baselines": {"sky": "sky"}}, "sky is categorical, and cannot be a baseline"),
        ({"ignore": ["heat"], "date": ["heat"]}, "under date too; heat is the target, and cannot be"),
        ({"ignore": ["wind", "wind"]}, "ignore names a column twice"),
        ({"date": ["when", "wind"]}, "date must name one column, or three"),
        ({"categorical": ["when"]}, "when is the date, and can be nothing else"),
        ({"date": [], "date_cycles": ["year"]}, "date_cycles need a date"),
        ({"date": [], "split": "chronological"}, "a chronological split needs a date"),
        ({"baselines": {"date": "guess"}}, "cannot be called date"),
        ({"task": "classification", "scale_target": True}, "are for a regression"),
        ({"standardise": False, "scale": "robust"}, "but scale: robust does not"),
        ({"ignore": ["sky", "wind", "guess"]}, "no column to learn from"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, rows()), **options).what


def test_of_very_many_columns_the_first_are_named(tmp_path: Path) -> None:
    names = [f"c{index}" for index in range(2000)]
    path = written(tmp_path, [",".join("1" for _ in names)] * 9, ",".join(names))
    with pytest.raises(UserError) as refused:
        csv(tmp_path, path=str(path), target="c2000")
    assert "c48, c49 and 1,950 more)" in refused.value.what


def test_a_table_that_teaches_nothing_is_refused(tmp_path: Path) -> None:
    same = written(tmp_path, [row(day, heat=7, sky="grey") for day in range(20)])
    assert "heat is the same in all training rows" in refusal(same, scale_target=True).what
    days(same)
    options: dict[str, Any] = {"task": "classification", "categorical": []}
    assert "sky has a single value" in refusal(same, target="sky", **options).what
    many = written(tmp_path, [row(day, wind=day) for day in range(1001)])
    assert "1,001 different values" in refusal(many, target="wind", **options | {"ignore": ["sky"]}).what
    twice = written(tmp_path, [f"{line},0" for line in rows()], f"{HEADER},sky=grey")
    assert "two inputs are called 'sky=grey'" in refusal(twice).what


def test_inputs_that_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, [row(day, sky=f"id {day}") for day in range(60)])
    days(path, unknown="zeros")
    monkeypatch.setattr(table_inputs, "_MOST_FIGURES", 60 * 40)
    assert "60 rows of 50 inputs, 48 different values in sky alone" in refusal(path, unknown="zeros").what


def test_a_mistake_in_the_table_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    path = written(tmp_path, [*rows(), "1,2"])
    with pytest.raises(ConfigError) as refused:
        dataset = EXPLICIT | {"name": "csv", "path": str(path), "target": "heat"}
        planned(dataset=dataset, loss="mse", metrics=[])
    [mistake] = map(str, refused.value.mistakes)
    assert "dataset: row 22 has 2 cells, but the header names 5 columns; name each" in mistake
    assert mistake.endswith(f"({path}:22)")


def test_a_path_is_from_here_or_else_from_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    written(tmp_path / "data", rows(30))
    options: dict[str, Any] = {"path": "days.csv", "target": "heat", "ignore": ["when", "sky"]}
    assert sum(map(len, heats(csv(tmp_path / "data", **options)).values())) == 30
    written(tmp_path / "here", rows(20))
    assert sum(map(len, heats(csv(tmp_path / "data", **options)).values())) == 20
    with pytest.raises(UserError, match=r"there is no file .*/here/none\.csv"):
        csv(tmp_path / "data", **options | {"path": "none.csv"})


# ------------------------------------------------------------------------ what a checkpoint knows


def test_the_file_is_read_once(tmp_path: Path) -> None:
    path = written(tmp_path, rows())
    data = days(path)
    path.unlink()
    assert len(data.read()["train"]) == 16


def test_another_file_has_the_inputs_of_the_first(tmp_path: Path) -> None:
    first = days(written(tmp_path, rows()), scale_target=True)
    other = [f"{row(day, sky='blue')},1" for day in range(30)]
    path = written(tmp_path, other, f"{HEADER},more")
    again = days(path, dict(first.known), scale_target=True)
    assert (again.features, again.scaling) == (first.features, first.scaling)
    assert again.read()["test"].inputs[0].tolist() == [0, 1, 0, 24, 27]
    lacking = days(written(tmp_path, ["1,2,3"], "when,sky,heat"), dict(first.known))
    with pytest.raises(UserError, match="there is no column 'wind', nor 'guess'"):
        lacking.read()


def new_rows(data: Data, path: Path) -> tuple[list[str], Tensor, dict[int, str]]:
    """The names of the rows of a file, the inputs of those that can be predicted, and why others cannot."""
    assert data.read_new is not None
    (piece,) = data.read_new(path)
    assert isinstance(piece, NewInputs)
    return piece.names, single(piece.inputs), dict(piece.refused)


def test_new_rows_need_the_inputs_alone(tmp_path: Path) -> None:
    data = days(written(tmp_path, rows()), baselines={"Ann": "guess"})
    new = tmp_path / "new.csv"
    new.write_text("guess,sky,wind\n1,blue,2\n\n3,grey,4\n")
    names, inputs, _ = new_rows(data, new)
    assert names == ["row 2", "row 4"]
    assert inputs.tolist() == [[0, 1, 0, 2, 1], [0, 0, 1, 4, 3]]
    new.write_text("guess,sky,wind,when\n1,blue,2,2021-05-06\n3,grey,4,2021-05-07\n")
    assert new_rows(data, new)[0] == ["2021-05-06", "2021-05-07"]
    new.write_text("guess,sky,wind,when\n1,blue,2,2021-05-06T12:00\n3,grey,4,2021-05-07\n")
    assert new_rows(data, new)[0] == ["2021-05-06 12:00:00", "2021-05-07 00:00:00"]
    for dates in (("2021-05-06", "2021-05-06"), ("2021-05-06", "tomorrow")):
        new.write_text("guess,sky,wind,when\n" + "".join(f"1,blue,2,{when}\n" for when in dates))
        assert new_rows(data, new)[0] == ["row 2", "row 3"], "dates that tell no row apart"
    new.write_text("guess,sky\n1,blue\n")
    with pytest.raises(UserError, match="there is no column 'wind'"):
        new_rows(data, new)
    new.write_text("guess,sky,wind\n1,grey,\n1,green,3\n1,blue,4\n2,blue,4 m\n")
    names, inputs, refused = new_rows(data, new)
    assert (names, len(inputs)) == (["row 2", "row 3", "row 4", "row 5"], 1)
    assert refused == {
        0: "wind: there is no value",
        1: "sky: no training row holds 'green'",
        3: "wind: '4 m' is no number",
    }


def test_new_rows_that_lack_something_go_the_way_of_the_others(tmp_path: Path) -> None:
    path, new = written(tmp_path, rows()), tmp_path / "new.csv"
    new.write_text("guess,sky,wind\n1,blue,x\n3,green,4\n")
    for missing, lost in (("drop", {0: "wind: 'x' is no number"}), ("fill", {})):
        data = days(path, missing=missing, unknown="zeros")
        found, inputs, refused = new_rows(data, new)
        assert (found, refused) == (["row 2", "row 3"], lost)
        assert inputs[-1].tolist() == [0, 0, 0, 4, 3]
        assert any("wind in row 2 ('x')" in note for note in data.notes) == (missing == "fill")
        assert any("sky holds 'green' in row 3" in note for note in data.notes)
    cycles = days(path, date_cycles=["week"])
    with pytest.raises(UserError, match="there is no column 'when'"):
        new_rows(cycles, new)
    for text, why in (("", "there is no value"), ("noon", "'noon' is no date")):
        new.write_text(f"when,guess,sky,wind\n2020-03-01,1,blue,2\n{text},1,blue,2\n")
        for missing in ("auto", "fill"):
            names, inputs, refused = new_rows(days(path, missing=missing, date_cycles=["week"]), new)
            assert refused == {1: f"when: {why}"}
            assert (names, len(inputs)) == (["row 2", "row 3"], 1), "no date is made up"


CONFIG: dict[str, Any] = {"loss": "mse", "metrics": ["mae"], "seeds": [0, 1]}


def small_dataset(path: Path) -> dict[str, Any]:
    return EXPLICIT | {
        "name": "csv",
        "path": str(path),
        "target": "heat",
        "categorical": ["sky"],
        "date": ["when"],
        "scale_target": True,
        "baselines": {"Ann": "guess"},
    }


def test_a_trained_model_predicts_new_rows_where_its_file_is_gone(tmp_path: Path) -> None:
    path = written(tmp_path, rows())
    run = trained(planned(dataset=small_dataset(path), **CONFIG), tmp_path / "runs")
    before, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    there, targets = before.outputs("test")
    assert before.baselines("test")["Ann"]["mae"] == pytest.approx((targets[:, 0] / 10 * 9 - 3).mean().item())
    path.rename(tmp_path / "new.csv")
    plan, preprocessing, _ = open_plan(run.best, [], Parts(), tmp_path)
    names, inputs, _ = new_rows(plan.data, tmp_path / "new.csv")
    assert names[-1] == "2020-01-20"
    found = outputs_for(before.model, inputs, preprocessing, before.hardware, 7)
    torch.testing.assert_close(found[:, -4:], there)
    with pytest.raises(UserError, match="there is no file"):
        open_checkpoint(run.best, run, [], Parts(), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "wind"}, "wind is an input of the model, and cannot be the target"),
        ({"ignore": ["wind"]}, "wind is an input of the model, and cannot be ignored"),
        ({"categorical": ["sky", "wind"]}, "the model has its own categorical columns"),
        ({"missing": "fill"}, "has nothing to fill with"),
    ],
)
def test_what_a_trained_model_cannot_follow_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = written(tmp_path, rows())
    with pytest.raises(UserError, match=said):
        days(path, days(path).known, **change)


FORGERIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing": lambda known: known.clear(),
    "no columns": lambda known: known.pop("columns"),
    "columns that are a number": lambda known: known.update(columns=10**12),
    "columns that are text": lambda known: known.update(columns="wind"),
    "columns that are numbers": lambda known: known.update(columns=["sky", 7, 8]),
    "a column twice": lambda known: known["columns"].append("wind"),
    "a column too many": lambda known: known["columns"].append("more"),
    "categories of no column": lambda known: known["categories"].update(colour=["red"]),
    "categories that are a list": lambda known: known.update(categories=["sky"]),
    "categories that are numbers": lambda known: known["categories"].update(sky=[10**9]),
    "categories that are text": lambda known: known["categories"].update(sky="grey"),
    "one category more": lambda known: known["categories"]["sky"].append("red"),
    "a scale of nothing": lambda known: known.update(scaling=[1.0, 0.0]),
    "a scale beyond all": lambda known: known.update(scaling=[math.inf, 1.0]),
    "a scale that is no float": lambda known: known.update(scaling=[10**400, 1]),
    "a scale of three": lambda known: known.update(scaling=[1.0, 1.0, 1.0]),
    "a scale that is a number": lambda known: known.update(scaling=1.0),
    "classes that are a number": lambda known: known.update(classes=10**12),
    "no classes": lambda known: known.pop("classes"),
    "ranges that are a list": lambda known: known.update(ranges=["wind"]),
    "a range of a category": lambda known: known.update(ranges={"sky": [0.0, 1.0]}),
    "a range without an end": lambda known: known.update(ranges={"wind": [0.0, math.inf]}),
    "a range of one number": lambda known: known.update(ranges={"wind": [0.0]}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_checkpoint_that_knows_nonsense_is_refused(tmp_path: Path, forgery: str, no_hanging: None) -> None:
    run = trained(planned(dataset=small_dataset(written(tmp_path, rows())), **CONFIG), tmp_path / "runs")
    saved = load_checkpoint(run.last)
    FORGERIES[forgery](saved.data["known"])
    save_checkpoint(run.last, saved)
    with pytest.raises(CheckpointRefused) as refused:
        open_plan(run.last, [], Parts(), tmp_path)
    assert refused.value.where == str(run.last)


# ------------------------------------------------------------------------ a year of temperatures


def figures(data: Data) -> dict[str, Tensor]:
    """The figures of all days, in the order of the year."""
    splits = data.read()
    inputs = torch.cat([splits[name].inputs for name in data.splits])
    found = {name: inputs[:, index] for index, name in enumerate(data.features)}
    found["actual"] = torch.cat([splits[name].targets[:, 0] for name in data.splits]).double()
    return found


def test_a_made_year_is_like_the_real_one(tmp_path: Path) -> None:
    for seed in range(3):
        data = daily_temperatures(tmp_path, seed=seed)
        assert data.features == (
            *("year", "month", "day"),
            *(f"week={name}" for name in sorted(WEEK)),
            *("temp_2", "temp_1", "average", "friend"),
        )
        assert (data.target, data.unit, data.baselines) == (
            "actual",
            "°F",
            ("yesterday", "average", "friend"),
        )
        year = figures(data)
        assert 340 < len(year["actual"]) < 360, "a few days are missing"
        assert 30 < year["actual"].min() < 45 and 80 < year["actual"].max() < 100
        assert year["month"][year["average"].argmax()] in (7, 8)
        anomaly = year["actual"] - year["average"]
        assert 4.5 < anomaly.std() < 8
        assert 0.5 < torch.corrcoef(torch.stack([anomaly[1:], anomaly[:-1]]))[0, 1] < 0.85
        errors = {
            name: (year[name] - year["actual"]).abs().mean() for name in ("temp_1", "average", "friend")
        }
        assert 3 < errors["temp_1"] < errors["average"] < 7 < errors["friend"] < 15


def test_a_made_year_hangs_together() -> None:
    table = made(3)
    assert tuple(table.columns) == COLUMNS
    days = [date(*(int(cell) for cell in some[:3])) for some in rows_of(table)]
    assert days == sorted(set(days))
    assert {day.year for day in days} == {2016}
    assert [some[3] for some in rows_of(table)] == [WEEK[day.weekday()] for day in days]
    actual = {day: some[7] for day, some in zip(days, rows_of(table), strict=True)}
    for day, some in zip(days, rows_of(table), strict=True):
        for column, before in (("temp_1", 1), ("temp_2", 2)):
            earlier = actual.get(day - timedelta(before))
            assert earlier is None or some[COLUMNS.index(column)] == earlier
    assert rows_of(table) == rows_of(made(3)) != rows_of(made(4))


def test_a_file_of_the_same_columns_takes_the_place_of_the_made_year(tmp_path: Path) -> None:
    path = written(tmp_path, [",".join(some) for some in rows_of(made(5))], ",".join(COLUMNS))
    from_file, from_seed = daily_temperatures(tmp_path, path=str(path)), daily_temperatures(tmp_path, seed=5)
    assert torch.equal(from_file.read()["train"].inputs, from_seed.read()["train"].inputs)
    with pytest.raises(UserError, match="there is no column 'actual', nor 'year'"):
        daily_temperatures(tmp_path, path=str(written(tmp_path, rows())))
    assert daily_temperatures(tmp_path, ignore=["week", "friend"]).input_shape == (6,)


def test_a_year_in_the_data_folder_takes_the_place_of_the_made_one(tmp_path: Path) -> None:
    made_up = daily_temperatures(tmp_path, seed=3)
    assert made_up.guessed["source"] == "generated", "and stays so when a file comes later"
    path = written(tmp_path, [",".join(some) for some in rows_of(made(5))], ",".join(COLUMNS))
    path.rename(tmp_path / "temps.csv")
    found, five, three = (
        daily_temperatures(tmp_path, **options).read()["train"].inputs
        for options in ({"seed": 3}, {"source": "generated", "seed": 5}, {"source": "generated", "seed": 3})
    )
    assert torch.equal(found, five)
    assert not torch.equal(found, three)
    data = daily_temperatures(tmp_path)
    assert data.guessed["path"] == str(tmp_path / "temps.csv"), "it is recorded with the run"
    assert data.findings[-1] == f"the year is that of {tmp_path}/temps.csv; source: generated makes one up"
    again = daily_temperatures(tmp_path, dict(made_up.known), seed=3)
    assert "path" not in again.guessed, "a trained model keeps its own"


def test_a_run_of_before_keeps_the_year_that_was_made(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("base: temps\ndataset: {name: daily_temperatures}\n")
    assert load_run_config(path).dataset.options["source"] == "generated"
    assert load_config(path).dataset.options["source"] == "auto"


def test_the_real_year_is_what_it_is_known_to_be(tmp_path: Path) -> None:
    path = Path(os.environ.get("DLRUN_DATA") or PROJECT / "data") / "temps.csv"
    if not path.exists():
        pytest.skip(f"there is no {path} (set DLRUN_DATA)")
    data = daily_temperatures(tmp_path, path=str(path))
    splits = data.read()
    assert {name: len(some) for name, some in splits.items()} == {"train": 278, "test": 70}
    assert data.input_shape == (14,)
    test = splits["test"]
    errors = {name: (test.aside[name] - test.targets[:, 0]).abs().mean().item() for name in data.baselines}
    assert errors == pytest.approx({"yesterday": 3.214, "average": 5.321, "friend": 11.457}, abs=1e-3)


def test_temperatures_are_learnt_and_a_rate_too_small_is_found_out(dlrun: Dlrun) -> None:
    config = PROJECT / "configs" / "temps_scratch.yaml"
    assert dlrun("train", config, "plots=[]", "--quiet").code == 0
    missed = dlrun("train", config, "plots=[]", "optimizer.lr=1e-7", "--check")
    assert missed.code == 5
    assert "missed by" in missed.out


def test_no_date_has_rows_on_both_sides_of_a_split(tmp_path: Path) -> None:
    lines = [row(number // 5) for number in range(30)]  # five rows a day
    data = days(written(tmp_path, lines), test_fraction=0.15, valid_fraction=0.3)
    splits = data.read()
    dates = {name: set(some.aside["date"].tolist()) for name, some in splits.items()}
    assert not (dates["train"] & dates["valid"] or dates["valid"] & dates["test"])
    assert sum(map(len, splits.values())) == 30


def test_a_class_that_only_the_hold_out_has_is_said(tmp_path: Path) -> None:
    lines = [f"2016-01-{day:02d},fair,{day},{'new' if day > 17 else 'ab'[day % 2]}" for day in range(1, 21)]
    path = written(tmp_path, lines, "when,sky,guess,kind")
    told = days(path, target="kind", task="classification").notes
    assert "no training row is of the class new: it cannot be learnt" in told


def test_categories_are_those_of_the_training_rows_alone(tmp_path: Path) -> None:
    lines = [f"2016-01-{day:02d},{'fog' if day > 18 else 'fair'},{day},{day}" for day in range(1, 21)]
    path = written(tmp_path, lines, "when,sky,guess,heat")
    features = days(path, unknown="zeros", test_fraction=0.2).features
    assert "sky=fair" in features and "sky=fog" not in features


def test_a_column_that_never_changes_is_no_hindrance_to_evaluation(
    dlrun: Dlrun, write: Callable[[str, str], Path], runs_dir: Path
) -> None:
    rows = "\n".join(f"2016,{n},{3 * n}" for n in range(40))
    table = write("table.csv", f"year,n,y\n{rows}\n")
    path = write(
        "tiny.yaml",
        f"dataset: {{name: csv, path: {table}, target: y}}\narchitecture: {{name: mlp, hidden: [4]}}\n"
        "loss: mse\noptimizer: {name: adam, lr: 1e-2}\nepochs: 2\nbatch_size: 8\nmetrics: [mae]\nplots: []\n",
    )
    assert dlrun("train", path).code == 0
    done = dlrun("eval", "last", "--split", "valid")
    assert (done.code, "exactly as recorded at training" in done.out) == (0, True)
    assert dlrun("predict", "last", table).code == 0
