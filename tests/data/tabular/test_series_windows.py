"""A series in windows: what is input and what target, the borders of splits, gaps, guesses, forecasts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import differences, go_on, outcome, planned, trained
from torch import Tensor

from dlrun.config.registry import Parts
from dlrun.data.devices import overlaps
from dlrun.data.examples import Data, Examples
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import single
from dlrun.dataset.hourly_demand import hourly_demand
from dlrun.dataset.windows import windows
from dlrun.errors import CheckpointRefused, UserError
from dlrun.results.prediction import predict_files
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint, open_given, open_plan

FIRST = date(2020, 1, 1)
ROWS = 60


def load(row: int) -> float:
    """The target: no two rows have the same."""
    return round(100 + row + 7 * ((row * 5) % 11), 1)


def heat(row: int) -> int:
    return (row * 13) % 17


def written(folder: Path, rows: list[int] | None = None, **cells: str) -> Path:
    """A row for each day, of those whose numbers are given; `cells` replaces the load of some: r7="NA"."""
    lines = ["day,load,heat"]
    for row in range(ROWS) if rows is None else rows:
        own = cells.get(f"r{row}", str(load(row)))
        lines.append(f"{FIRST + timedelta(days=row)},{own},{heat(row)}")
    path = folder / "series.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def series(path: Path, known: Any = None, **options: Any) -> Data:
    usual: dict[str, Any] = {"target": "load", "date": ["day"], "window": 5, "horizon": 3}
    return windows(path.parent, known, path=str(path), **usual | options)


def steps(examples: Examples) -> list[list[int]]:
    """The rows of the targets, by the numbers in the file."""
    back = {np.float32(load(row)): row for row in range(ROWS)}
    return [[back[np.float32(value)] for value in values] for values in single(examples.targets).tolist()]


def seen(examples: Examples) -> list[list[int]]:
    """The rows of each window, by the numbers in the file."""
    back = {load(row): row for row in range(ROWS)}
    return [[back[value] for value in values] for values in single(examples.inputs)[:, :, 0].tolist()]


def refusal(path: Path, known: Any = None, **options: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        series(path, known, **options).read()
    assert max(map(len, refused.value.lines())) < 250
    return refused.value


# ------------------------------------------------------------------------ windows and splits


def test_a_window_is_followed_by_its_targets_and_no_target_is_in_two_splits(tmp_path: Path) -> None:
    data = series(written(tmp_path), test_fraction=0.25, valid_fraction=0.2)
    splits = data.read()
    assert (data.shape, data.features, data.targets) == ((5, 2), ("load", "heat"), 3)
    assert list(splits) == list(data.splits) == ["train", "valid", "test"]
    # 60 rows: 45 before test, of which the last 9 are valid; every run of rows, worked out by hand
    expected = {"train": range(34 - 5), "valid": range(36 - 5, 45 - 7), "test": range(45 - 5, 60 - 7)}
    for name, starts in expected.items():
        assert seen(splits[name]) == [list(range(start, start + 5)) for start in starts], name
        assert steps(splits[name]) == [list(range(start + 5, start + 8)) for start in starts], name
        rows = single(splits[name].inputs)[0, :, 1].tolist()
        assert rows == [heat(row) for row in range(starts[0], starts[0] + 5)]
        days = [[(FIRST - date(1970, 1, 1)).days + row for row in rows] for rows in steps(splits[name])]
        assert (splits[name].aside["date"] // 86_400).tolist() == days
        assert splits[name].aside["step"].tolist() == steps(splits[name])
    of = {name: {row for rows in steps(split) for row in rows} for name, split in splits.items()}
    assert max(of["train"]) < min(of["valid"]) and max(of["valid"]) < min(of["test"])
    assert of["test"] == set(range(45, 60)), "whatever the window"


def test_the_targets_of_test_do_not_depend_on_the_window(tmp_path: Path) -> None:
    path = written(tmp_path)
    short, long = (series(path, window=window).read()["test"] for window in (2, 20))
    assert steps(short) == steps(long) and len(long) == 10


def test_training_windows_begin_every_stride_and_all_are_views(tmp_path: Path) -> None:
    splits = series(written(tmp_path), stride=4).read()
    assert [rows[0] for rows in steps(splits["train"])] == list(range(5, 46, 4))
    assert [rows[0] for rows in steps(splits["test"])] == list(range(48, 58)), "evaluation leaves none out"
    for split in splits.values():
        assert overlaps(single(split.inputs))


def test_another_series_is_read_whole(tmp_path: Path) -> None:
    data = series(written(tmp_path))
    assert data.read_labelled
    found = data.read_labelled(written(tmp_path, list(range(20, 32))))
    assert seen(found) == [list(range(row, row + 5)) for row in range(20, 25)]
    assert steps(found) == [list(range(row, row + 3)) for row in range(25, 30)]
    assert set(data.baselines) <= found.aside.keys()
    with pytest.raises(UserError, match="in 7 rows there is no window of 5 rows and the 3 behind"):
        data.read_labelled(written(tmp_path, list(range(7))))


def test_another_series_stands_beside_its_last_values_without_the_training_data(tmp_path: Path) -> None:
    path = written(tmp_path)
    dataset = {"name": "windows", "path": str(path), "target": "load", "date": ["day"], "window": 5}
    architecture = {"name": "mlp", "hidden": [3], "flatten": True}
    plan = planned(dataset=dataset, architecture=architecture, loss="mse", metrics=["mae"], epochs=1)
    run = trained(plan, tmp_path)
    path.rename(tmp_path / "moved.csv")
    other = tmp_path / "other.csv"
    written(tmp_path, list(range(20, 40))).rename(other)
    model, saved = open_given(run.best, run, [], Parts(), tmp_path, other)
    found = evaluate_run(model, saved, run.best, model.given)
    assert found["baselines"].keys() == {"last value"} and found["no_baselines"]
    last = [abs(load(row) - load(row - 1)) for row in range(25, 40)]
    assert found["baselines"]["last value"]["mae"] == pytest.approx(sum(last) / 15, rel=1e-5)


def test_inputs_are_all_columns_but_the_date_or_those_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert series(path, inputs=["heat"]).features == ("heat",)
    assert series(path, inputs=["load"], date_cycles=["week"]).features == ("load", "sin(week)", "cos(week)")
    undated = tmp_path / "undated.csv"
    undated.write_text("\n".join(line.split(",", 1)[1] for line in path.read_text().splitlines()))
    data = series(undated, date=[])
    assert data.features == ("load", "heat") and "date" not in data.read()["train"].aside
    three = "year,month,day,load\n" + "\n".join(f"2020,1,{1 + row},{load(row)}" for row in range(31))
    undated.write_text(three)
    assert series(undated, date=["year", "month", "day"]).features == ("load",)


@pytest.mark.parametrize("stride", [1, 3, 9])
def test_numbers_are_standardised_over_training_rows(tmp_path: Path, stride: int) -> None:
    data = series(written(tmp_path), stride=stride)
    training = data.read()["train"]
    rows = sorted({row for window in seen(training) for row in window})
    prepared = data.fit(training)
    assert isinstance(prepared, Preprocessing)
    column = np.array([[load(row), heat(row)] for row in rows])
    assert prepared.offset is not None and prepared.scale is not None
    np.testing.assert_allclose(prepared.offset, column.mean(0))
    np.testing.assert_allclose(prepared.scale, column.std(0))
    assert data.scaling == pytest.approx((np.mean(before := [load(r) for r in range(48)]), np.std(before)))
    plain = series(written(tmp_path), standardise=False, scale_target=False)
    assert plain.scaling is None and plain.fit(training) == Preprocessing()


# ------------------------------------------------------------------------ guesses


@pytest.mark.parametrize("season", [2, 5])
def test_baselines_are_the_last_value_and_that_of_the_season_before(tmp_path: Path, season: int) -> None:
    data = series(written(tmp_path), season=season, horizon=6)
    assert data.baselines == ("last value", "season before")
    for split in data.read().values():
        for example, rows in enumerate(steps(split)):
            last = rows[0] - 1
            assert split.aside["last value"][example].tolist() == pytest.approx([load(last)] * 6)
            before = [row - season * (1 + (row - rows[0]) // season) for row in rows]
            assert max(before) <= last, "nothing is known of later"
            assert split.aside["season before"][example].tolist() == pytest.approx([*map(load, before)])
    assert series(written(tmp_path)).baselines == ("last value",)


def test_every_figure_of_several_steps_stands_beside_those_of_the_guesses(
    tmp_path: Path, dlrun: Callable[..., Any]
) -> None:
    dataset: dict[str, Any] = {"name": "windows", "path": str(written(tmp_path)), "target": "load"}
    dataset |= {"date": ["day"], "window": 5, "horizon": 3, "season": 5, "unit": "MW"}
    plan = planned(
        dataset=dataset,
        architecture={"name": "mlp", "flatten": True},
        loss="mse",
        metrics=["mae", "rmse", "r2"],
        seeds=[0, 1],
    )
    run = trained(plan, tmp_path)
    model, saved = open_checkpoint(run.last, run, [], Parts(), tmp_path)
    found = evaluate_run(model, saved, run.last, "test")
    outputs, targets = (tensor.double().numpy() for tensor in model.outputs("test"))
    rows = steps(series(written(tmp_path)).read()["test"])
    assert targets.tolist() == pytest.approx(np.array([[load(row) for row in own] for own in rows]))

    def figures(guess: Any) -> dict[str, float]:
        missed = guess - targets
        r2 = 1 - (missed**2).mean(0) / targets.var(0)
        return {"mae": abs(missed).mean(), "rmse": (missed**2).mean() ** 0.5, "r2": r2.mean()}

    for copy, seed in enumerate(("0", "1")):
        for figure, value in figures(outputs[copy]).items():
            assert found["per_seed"][seed][figure] == pytest.approx(value, rel=1e-5), figure
    last = np.array([[load(own[0] - 1)] * 3 for own in rows])
    for figure, value in figures(last).items():
        assert found["baselines"]["last value"][figure] == pytest.approx(value, rel=1e-5), figure
    assert list(found["per_target"]) == [
        "load, 1 step ahead",
        "load, 2 steps ahead",
        "load, 3 steps ahead",
    ]
    for step, row in enumerate(found["per_target"].values()):
        missed = outputs[..., step] - targets[:, step]
        assert row["mae"] == pytest.approx(abs(missed).mean())
        assert row["rmse"] == pytest.approx(((missed**2).mean(1) ** 0.5).mean())
    printed = dlrun("eval", run.folder).out
    assert "last value" in printed and "load, 3 steps ahead" in printed


# ------------------------------------------------------------------------ gaps and other faults


@pytest.mark.parametrize("dated", [True, False])
def test_no_window_goes_across_a_gap(tmp_path: Path, dated: bool) -> None:
    there = [row for row in range(ROWS) if row not in (20, 21, 52)]
    cells = {} if dated else {"r20": "", "r21": "NA", "r52": "?"}
    path = written(tmp_path, there if dated else None, **cells)
    options: dict[str, Any] = {} if dated else {"date": [], "inputs": ["load", "heat"]}
    error = refusal(path, **options)
    assert (
        "rows are 1 day apart, but row 22 is of 2020-01-23, the one before of 2020-01-20, and 1 more"
        if dated
        else "2 cells are missing: load in row 22, load in row 23; 1 cell is unreadable"
    ) in error.what
    data = series(path, **options, gaps="split", test_fraction=0.5)
    splits = data.read()
    for split in splits.values():
        for window, ahead in zip(seen(split), steps(split), strict=True):
            assert (rows := window + ahead) == list(range(rows[0], rows[0] + 8))
            assert split.aside["step"][0].diff().tolist() == [1, 1]
    begun = [rows[0] for split in splits.values() for rows in seen(split)]
    whole = [start for start in range(53) if not {20, 21, 52} & {*range(start, start + 8)}]
    border = there[29]  # of 57 rows the last 28 are to test on
    assert begun == [start for start in whole if start + 7 < border or start + 5 >= border]
    assert any("gap" in note if dated else "left out" in note for note in data.notes)
    joined = series(path, **options, gaps="join").read()
    assert any(19 in rows and 22 in rows for rows in seen(joined["train"]))


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([*range(20), 19, *range(20, 40)], {}, "row 22 has the date 2020-01-20, as the row before it"),
        ([*range(39, -1, -1)], {}, "row 3 is of 2020-02-08, and the row before it of 2020-02-09"),
        ([*range(20), 19, *range(20, 40)], {"gaps": "join"}, "row 22 has the date"),
        (None, {"target": "loud"}, "there is no column 'loud'; did you mean 'load'?"),
        (None, {"inputs": ["load", "load"]}, "inputs names a column twice"),
        (None, {"date": []}, "day holds text such as '2020-01-01'"),
        (None, {"season": 6}, "season: 6 is longer than window: 5"),
        (None, {"window": 46}, "of 60 rows the train split gets 48: there is no window of 46 rows"),
        (None, {"horizon": 20}, "of 60 rows the test split gets 12: there is no window of 5 rows and the 20"),
        (None, {"date": [], "date_cycles": ["week"], "inputs": ["load"]}, "date_cycles need a date"),
        ([row * row for row in range(1, 30)], {"gaps": "split"}, "without a gap"),
    ],
)
def test_what_cannot_be_a_series_is_refused(
    tmp_path: Path, rows: Any, options: dict[str, Any], message: str
) -> None:
    assert message in refusal(written(tmp_path, rows), **options).what


def test_a_constant_column_is_said_and_a_constant_target_is_not_scaled(tmp_path: Path) -> None:
    path = tmp_path / "flat.csv"
    path.write_text("load,heat\n" + "1,2\n" * 50)
    assert "cannot be scaled" in refusal(path, date=[]).what
    data = series(path, date=[], scale_target=False)
    assert data.notes == ["load, heat are the same in all training rows, and become 0"]


# ------------------------------------------------------------------------ checkpoints and forecasts


def run_of(path: Path, folder: Path, **changes: Any) -> Any:
    dataset = {"name": "windows", "path": str(path), "target": "load", "date": ["day"], "window": 5}
    dataset |= {"horizon": 3, "unit": "MW", **changes.pop("dataset", {})}
    settings: dict[str, Any] = {
        "dataset": dataset,
        "architecture": {"name": "mlp", "hidden": [8], "flatten": True},
        "loss": "mse",
        "metrics": ["mae"],
    }
    return trained(planned(**settings | changes), folder), settings | changes


def test_a_file_is_forecast_from_its_last_rows_with_the_dates_that_follow(
    tmp_path: Path, dlrun: Callable[..., Any]
) -> None:
    path = written(tmp_path)
    run, _ = run_of(path, tmp_path, seeds=[0, 1])
    model, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    outputs, _ = model.outputs("test")
    (tmp_path / "new").mkdir()
    # the file ends where the horizon of the fifth window of test begins, and is damaged long before
    new = written(tmp_path / "new", [*range(10), *range(30, 52)], r3="?")
    path.unlink()
    rows = predict_files(run.best, [new], Parts(), tmp_path).rows()
    assert [row["input"] for row in rows] == ["2020-02-22", "2020-02-23", "2020-02-24"]
    expected = outputs[:, 4].double()
    assert [row["load"] for row in rows] == pytest.approx(expected.mean(0).tolist(), rel=1e-5)
    assert [row["sd"] for row in rows] == pytest.approx(expected.std(0).tolist(), rel=1e-3)
    twice = predict_files(run.best, [new, new], Parts(), tmp_path).rows()
    assert [row["input"] for row in twice][3] == "series.csv: 2020-02-22" and len(twice) == 6
    told = json.loads(dlrun("predict", run.folder, new, "--json").out)
    assert (told["unit"], len(told["predictions"])) == ("MW", 3)
    undated = tmp_path / "undated.csv"
    undated.write_text("\n".join(line.split(",", 1)[1] for line in new.read_text().splitlines()))
    again = predict_files(run.best, [undated], Parts(), tmp_path).rows()
    assert [row["input"] for row in again] == ["1 step ahead", "2 steps ahead", "3 steps ahead"]
    assert [row["load"] for row in again] == [row["load"] for row in rows]


@pytest.mark.parametrize(
    ("rows", "cells", "message"),
    [
        ([*range(4)], {}, "the file has 4 rows, but the model forecasts from 5"),
        ([*range(20), 25], {}, "row 22 is of 2020-01-26, the one before of 2020-01-20"),
        ([*range(0, 40, 2)], {}, "from 5 rows that are 1 day apart"),
        ([*range(20)], {"r17": ""}, "the last 5 rows, but 1 cell is missing: load in row 19"),
        ([*range(18), 19, 18], {}, "row 21 is of 2020-01-19, and the row before it of 2020-01-20"),
    ],
)
def test_a_file_that_gives_no_window_is_refused(
    tmp_path: Path, rows: list[int], cells: dict[str, str], message: str
) -> None:
    run, _ = run_of(written(tmp_path), tmp_path)
    (tmp_path / "new").mkdir()
    new = written(tmp_path / "new", rows, **cells)
    with pytest.raises(UserError) as refused:
        predict_files(run.best, [new], Parts(), tmp_path)
    assert message in refused.value.what
    new.write_text("day,load\n2020-01-01,3\n")
    with pytest.raises(UserError, match="there is no column 'heat'"):
        predict_files(run.best, [new], Parts(), tmp_path)


def test_rows_that_were_joined_are_joined_in_a_new_file(tmp_path: Path) -> None:
    path = written(tmp_path, [row for row in range(ROWS) if row % 7 < 5])
    run, _ = run_of(path, tmp_path, dataset={"gaps": "join"})
    (tmp_path / "new").mkdir()
    new = written(tmp_path / "new", [10, 11, 14, 15, 16, 17, 18], r16="")
    [first, *_] = predict_files(run.best, [new], Parts(), tmp_path).rows()
    assert first["input"] == "1 step ahead", "what day follows is not known"


def test_a_resumed_run_is_as_if_it_never_stopped(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole, settings = run_of(path, tmp_path / "whole", epochs=4)
    half, _ = run_of(path, tmp_path / "half", epochs=2)
    go_on(half, settings | {"epochs": 4})
    assert not differences(outcome(whole), outcome(half))


def test_the_inputs_of_a_trained_model_stay_what_they_are(tmp_path: Path) -> None:
    path = written(tmp_path)
    known = series(path).known
    assert series(path, known, inputs=["load", "heat"]).read()["test"].aside.keys() >= {"date", "step"}
    assert "the model has its own inputs" in refusal(path, known, inputs=["heat"]).what
    assert "without a scale" in refusal(path, dict(known, scaling=None)).what
    run, _ = run_of(path, tmp_path)
    saved = load_checkpoint(run.best)
    saved.data["known"]["interval"] = [0, 0]
    save_checkpoint(tmp_path / "bad.pt", saved)
    with pytest.raises(CheckpointRefused):
        open_plan(tmp_path / "bad.pt", [], Parts(), tmp_path)


# ------------------------------------------------------------------------ the generated series


def test_the_generated_demand_has_the_seasons_that_it_states() -> None:
    data = hourly_demand(Path("none"), days=400, window=24, season=24, test_fraction=0.0)
    training = data.read()["train"]
    values = torch.cat([single(training.inputs)[0, :, 0], single(training.targets)[:, 0].double()])
    days = values[: 24 * 399].view(399, 24)
    hours = days.mean(0)
    assert hours.argmax() in (18, 19) and hours.argmin() in (2, 3, 4)
    assert 0.85 < days[0::7].mean() / days[2::7].mean() < 0.95, "Saturdays and Mondays"
    assert days[:30].mean() > 1.1 * days[180:210].mean(), "January and July"
    assert torch.equal(
        single(
            hourly_demand(Path("none"), days=400, window=24, season=24, test_fraction=0.0)
            .read()["train"]
            .inputs
        ),
        single(training.inputs),
    )
    other: Tensor = single(hourly_demand(Path("none"), days=40, season=24, seed=1).read()["train"].inputs)
    assert not torch.equal(other[0, :24, 0], days[0])
