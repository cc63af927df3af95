"""Lags: earlier values of the target as inputs, looked up by their time in each series."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, outcome, planned, trained

from dlrun.config.registry import Parts
from dlrun.data.examples import Data, Examples, NewInputs
from dlrun.data.loaded import Loaded
from dlrun.data.tabular.suspicious_columns import column_warnings
from dlrun.data.trees import single
from dlrun.dataset.csv import csv
from dlrun.errors import UserError
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint

Dlrun = Callable[..., Any]
CPU = torch.device("cpu")
FIRST = date(2023, 1, 30)
DAYS = 60
SHOPS = ("north", "south")
NO_ROW = {("north", 20), ("north", 21), ("south", 33)}
NO_CELL = {("north", 9), ("south", 0), ("south", 40)}
BOTH: dict[str, Any] = {"target": "sold", "date": ["day"], "lags": [1, 7], "series": "shop"}
OPTIONS: dict[str, Any] = {"metrics": ["mae"], "loss": "mse", "epochs": 4, "seeds": [0, 1]}

Sold = dict[tuple[str, int], float]


def sold(days: int = DAYS) -> Sold:
    """The sales of each shop by its day, as far as the table has them."""
    every = {
        (shop, day): round(10 * place + 5 * math.sin(day) + (day % 7 == 2) * 20 + day / 10, 2)
        for day in range(days)
        for place, shop in enumerate(SHOPS, 1)
    }
    return {key: value for key, value in every.items() if key not in NO_ROW}


def day(number: int) -> str:
    return str(FIRST + timedelta(number))


def lines_of(known: Sold, *, empty: set[tuple[str, int]] = NO_CELL) -> list[str]:
    return [
        f"{day(n)},{shop},{(n * 7) % 5},{'' if (shop, n) in empty else value}"
        for (shop, n), value in known.items()
    ]


def written(folder: Path, lines: list[str] | None = None, name: str = "shops.csv") -> Path:
    path = folder / name
    lines = lines_of(sold()) if lines is None else lines
    path.write_text("\n".join(["day,shop,flyers,sold", *lines]) + "\n", encoding="utf-8")
    return path


def data_of(path: Path, known: Any = None, **options: Any) -> Data:
    return csv(path.parent, known, **{"path": str(path)} | BOTH | options)


def again(first: Data, path: Path, **options: Any) -> Data:
    """The data of another table by the encoding of the first."""
    return data_of(path, json.loads(json.dumps(dict(first.known))), **first.guessed | options)


def refusal(path: Path, known: Any = None, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        data_of(path, known, **options).read()
    assert max(map(len, refused.value.lines())) < 260
    return " ".join(refused.value.lines())


def rows_of(data: Data, some: Examples) -> Iterator[tuple[str, int, dict[str, float]]]:
    """The shop, the day and the inputs of each example."""
    midnights = (some.aside["date"] - int((FIRST - date(1970, 1, 1)).days) * 86400) // 86400
    for number, inputs in zip(midnights.tolist(), single(some.inputs).tolist(), strict=True):
        named = dict(zip(data.features, inputs, strict=True))
        yield ("north" if named["shop=north"] else "south"), number, named


def earlier(known: Sold, shop: str, number: int, lag: int) -> float:
    """The value so many days before, by a plain look-up."""
    key = (shop, number - lag)
    return known[key] if key in known and key not in NO_CELL else math.nan


def same(value: float, wanted: float) -> bool:
    return value == pytest.approx(wanted, rel=1e-6, nan_ok=True)


# ------------------------------------------------------------------------ the values


def test_each_row_gets_the_values_of_its_own_series_by_their_time(tmp_path: Path) -> None:
    lines = lines_of(sold())
    data = data_of(written(tmp_path, lines[::2] + lines[1::2]))
    lagged = ("sold lag 1", "sold lag 7", "sold lag 1 is missing", "sold lag 7 is missing")
    assert data.features == ("shop=north", "shop=south", "flyers", *lagged)
    seen, known = set(), sold()
    for some in data.read().values():
        targets = some.targets.flatten().tolist()
        for (shop, number, named), target in zip(rows_of(data, some), targets, strict=True):
            seen.add((shop, number))
            assert same(target, known[shop, number])
            for lag in (1, 7):
                wanted = earlier(known, shop, number, lag)
                assert same(named[f"sold lag {lag}"], wanted), (shop, number, lag)
                assert named[f"sold lag {lag} is missing"] == math.isnan(wanted)
    first_days = {("north", 0), ("south", 0), ("south", 1)}  # the first cell of south is empty
    assert seen == known.keys() - NO_CELL - first_days


def test_what_is_left_out_and_what_is_predicted_is_said(tmp_path: Path) -> None:
    data = data_of(written(tmp_path))
    left_out, found_little = data.notes[::-1]
    assert left_out == (
        "5 of 117 rows are left out: 3 cells are missing: sold in row 3, sold in row 20, sold in row 80; "
        "3 rows have no earlier value: row 2, row 3, row 5"
    )
    known = sold()
    rows = known.keys() - {("north", 0), ("south", 0), ("south", 1)}
    lacking = sum(math.isnan(earlier(known, *key, 7)) for key in rows)
    assert found_little.startswith(f"sold lag 7 finds no value in {lacking} of 114 rows: a step is 1 day")
    said = "each row is predicted one step (1 day) ahead, from true earlier values of each shop: sold lag 1, "
    assert f"{said}sold lag 7" in data.findings
    assert any("the median of training" in each and "sold lag 7 in row 4" in each for each in data.findings)


@pytest.mark.parametrize(
    ("times", "lag", "step"),
    [
        ([datetime(2024, 1, 31) + timedelta(hours=n) for n in range(40)], timedelta(hours=3), "1 hour"),
        (
            [datetime(2024, 1, 31) + timedelta(minutes=15 * n) for n in range(40)],
            timedelta(minutes=45),
            "15 ",
        ),
        ([datetime(2024, 1, 29) + timedelta(7 * n) for n in range(40)], timedelta(21), "1 week"),
        ([datetime(2000 + n // 12, n % 12 + 1, 1) for n in range(40)], 3, "1 month"),
        ([datetime(2000 + n // 4, n % 4 * 3 + 3, (31, 30, 30, 31)[n % 4]) for n in range(40)], 9, "3 months"),
        ([datetime(1960 + n, 12, 31) for n in range(40)], 36, "12 months"),
    ],
    ids=["hours", "quarters of an hour", "weeks", "months", "quarters", "years"],
)
def test_a_step_is_the_usual_distance_in_time(
    tmp_path: Path, times: list[datetime], lag: timedelta | int, step: str
) -> None:
    values = {
        time: float(number * number % 17) for number, time in enumerate(times) if number not in (11, 12)
    }
    path = tmp_path / "series.csv"
    path.write_text("t,y\n" + "".join(f"{time},{value}\n" for time, value in values.items()))
    options = {
        "target": "y",
        "date": ["t"],
        "test_fraction": 0.0,
        "valid_fraction": 0.0,
        "split_rule": "drawn",
    }
    data = data_of(path, lags=[3], series=[], **options)
    assert any(f"one step ({step}" in each for each in data.findings)

    def before(time: datetime) -> float:
        if isinstance(lag, timedelta):
            return values.get(time - lag, math.nan)
        months = time.year * 12 + time.month - 1 - lag
        return next((v for t, v in values.items() if t.year * 12 + t.month - 1 == months), math.nan)

    wanted = [before(time) for time in [*values][3:]]
    inputs = single(data.read()["train"].inputs)[:, data.features.index("y lag 3")].tolist()
    assert inputs == pytest.approx(wanted, nan_ok=True)
    assert sum(map(math.isnan, wanted)) == 2


def test_each_of_several_targets_is_lagged(tmp_path: Path) -> None:
    lines = [f"{line},{number * 3 % 11}" for number, line in enumerate(lines_of(sold(), empty=set()))]
    path = tmp_path / "two.csv"
    path.write_text("\n".join(["day,shop,flyers,sold,back", *lines]) + "\n")
    data = data_of(path, target=["sold", "back"], lags=[2, 1])
    lagged = ("sold lag 2", "back lag 2", "sold lag 1", "back lag 1")
    assert data.lags == lagged and [name for name in data.features if "lag" in name][:4] == [*lagged]
    some = data.read()["test"]
    inputs, places = single(some.inputs), [data.features.index(f"{name} lag 1") for name in ("sold", "back")]
    guesses = some.aside["last value"]
    assert guesses.shape == (len(some), 2)
    there = ~inputs[:, places].isnan()
    assert there.any() and torch.equal(guesses[there], inputs[:, places][there].float())


def test_a_row_has_a_past_if_one_of_the_targets_has(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    lines = [f"{day(n)},{n % 5},{n % 7 if n > 2 else ''}" for n in range(40)]
    path.write_text("\n".join(["day,sold,back", *lines]) + "\n")
    data = data_of(path, target=["sold", "back"], lags=[1], series=[])
    assert data.notes == [
        "3 of 40 rows are left out: 3 cells are missing: back in row 2, back in row 3, back in "
        "row 4; 1 row has no earlier value: row 2"
    ]
    assert single(data.read()["train"].inputs)[0, :2].tolist()[0] == 2


def test_series_may_be_named_by_numbers(tmp_path: Path) -> None:
    lines = [f"{day(n)},{shop},{n % 5},{n % 7 + shop}" for n in range(30) for shop in range(101, 113)]
    data = data_of(written(tmp_path, lines), lags=[1])
    assert data.features[:12] == tuple(f"shop={shop}" for shop in range(101, 113))


def test_rows_of_different_series_have_different_keys(tmp_path: Path) -> None:
    lines = [f"{day(n)},{shop},{n % 5},{n % 7}" for n in range(30) for shop in "ab"]
    data = data_of(written(tmp_path, lines), ignore=["shop"], lags=[1])
    keys = [int(key) for some in data.read().values() for key in some.keys]
    assert len({*keys}) == len(keys) == 58


def test_lags_are_scaled_as_numbers_and_stay_in_the_unit_of_a_log_target(tmp_path: Path) -> None:
    data = data_of(written(tmp_path), target_transform="log")
    loaded, place = Loaded(data, CPU), data.features.index("sold lag 1")
    raw = loaded["train"].raw()[:, place].tolist()
    ready = loaded["train"].batch(torch.arange(len(raw)))[0][:, place].tolist()
    there = [value for value in raw if not math.isnan(value)]
    mean, deviation = fmean(there), pstdev(there)
    filled = [median(there) if math.isnan(value) else value for value in raw]
    assert ready == pytest.approx([(value - mean) / deviation for value in filled], abs=1e-5)
    assert 5 < mean < 30, "no logarithm"


def test_lags_alone_are_inputs_enough(tmp_path: Path) -> None:
    data = data_of(written(tmp_path), ignore=["shop", "flyers"])
    assert data.features[:2] == ("sold lag 1", "sold lag 7")
    names = [f"{day(n)},north,x{n}y,{n % 9}" for n in range(40)]
    data = data_of(written(tmp_path, names), ignore=["shop"])
    assert data.features[0] == "sold lag 1"
    assert any("left out: flyers" in each for each in data.findings)


# ------------------------------------------------------------------------ missing values


def test_missing_lags_are_handled_as_missing_says(tmp_path: Path) -> None:
    path, known = written(tmp_path), sold()
    for_one = data_of(path, missing={"sold lag 7": "drop", "*": "fill"})
    assert for_one.features[-2:] == ("sold lag 1", "sold lag 7"), "no indicator"
    rows = [row for some in for_one.read().values() for row in rows_of(for_one, some)]
    assert all(not math.isnan(named["sold lag 7"]) for _, _, named in rows)
    assert any(math.isnan(earlier(known, shop, number, 1)) for shop, number, _ in rows)
    dropped = data_of(path, missing="drop")
    kept = {(shop, number) for some in dropped.read().values() for shop, number, _ in rows_of(dropped, some)}
    assert kept == {
        key
        for key in known.keys() - NO_CELL
        if not any(math.isnan(earlier(known, *key, lag)) for lag in (1, 7))
    }
    assert "sold lag 7 in row 4" in refusal(path, missing="refuse")


def test_a_lag_that_finds_little_is_said(tmp_path: Path) -> None:
    weekdays = [n for n in range(90) if (FIRST + timedelta(n)).weekday() < 5]
    path = written(tmp_path, [f"{day(n)},a,{n % 3},{n % 13}" for n in weekdays])
    data = data_of(path, lags=[1, 7], series=[])
    mondays = sum((FIRST + timedelta(n)).weekday() == 0 for n in weekdays[1:])
    said = f"sold lag 1 finds no value in {mondays} of {len(weekdays) - 1} rows: a step is 1 day, and times "
    assert [note for note in data.notes if "finds no value" in note] == [f"{said}without a row count too"]


# ------------------------------------------------------------------------ baselines


def test_the_last_value_and_the_season_are_the_baselines(tmp_path: Path) -> None:
    data, known = data_of(written(tmp_path)), sold()
    splits = data.read()
    assert data.baselines == ("last value", "season before")
    training = [*rows_of(data, splits["train"])]

    def first_of(shop: str, number: int, lags: Iterable[int]) -> float:
        """The first of some earlier values that is known, nan if none is."""
        values = (earlier(known, shop, number, lag) for lag in lags)
        return next((value for value in values if not math.isnan(value)), math.nan)

    for name, step in (("last value", 1), ("season before", 7)):
        seasons = range(7, 57, 7) if step == 7 else ()
        lags = [*seasons, *range(1, 200)]
        there = [v for shop, n, _ in training if not math.isnan(v := first_of(shop, n, lags))]
        usual = sum(there) / len(there)
        later = 0
        for some in splits.values():
            values = some.aside[name].tolist()
            for (shop, number, _), value in zip(rows_of(data, some), values, strict=True):
                wanted = first_of(shop, number, lags)
                assert same(value, usual if math.isnan(wanted) else wanted)
                later += math.isnan(earlier(known, shop, number, step))
        assert later > 3, "in some rows the first of these values is missing"
    assert data_of(written(tmp_path), lags=[7]).baselines == ("last value",)
    beside = data_of(written(tmp_path), baselines={"leaflets": "flyers"}, categorical=["shop"])
    assert beside.baselines == ("leaflets", "last value", "season before")


# ------------------------------------------------------------------------ no leak, and tables that grow


def test_the_last_rows_are_the_test_and_no_target_of_theirs_is_seen_in_training(tmp_path: Path) -> None:
    data = data_of(written(tmp_path))
    splits = data.read()
    ends = {name: (some.aside["date"].min(), some.aside["date"].max()) for name, some in splits.items()}
    assert ends["train"][1] < ends["valid"][0] and ends["valid"][1] < ends["test"][0]
    last = max(number for _, number, _ in rows_of(data, splits["train"]))
    changed = {key: value + 1000 * (key[1] > last) for key, value in sold().items()}
    other = again(data, written(tmp_path, lines_of(changed))).read()
    assert differences(single(splits["train"].inputs), single(other["train"].inputs)) == []


@pytest.mark.parametrize("rule", ["hash", "drawn"])
def test_rows_that_are_appended_change_neither_the_inputs_nor_the_split_of_others(
    tmp_path: Path, rule: str
) -> None:
    first = data_of(written(tmp_path), split_rule=rule)
    before = {
        (shop, number): (name, [*named.values()])
        for name, some in first.read().items()
        for shop, number, named in rows_of(first, some)
    }
    grown = written(tmp_path, [*lines_of(sold(DAYS + 20)), "2023-04-01,west,2,9", "2023-04-02,west,2,9"])
    second = again(first, grown, split_rule=rule)
    after = {
        (shop, number): (name, [*named.values()])
        for name, some in second.read().items()
        for shop, number, named in rows_of(second, some)
    }
    assert len(after) > len(before) + 30
    for key, (name, inputs) in before.items():
        assert after[key][1] == pytest.approx(inputs, nan_ok=True)
        assert rule == "drawn" or after[key][0] == name
    keys = [{int(k) for some in data.read().values() for k in some.keys} for data in (first, second)]
    assert keys[0] <= keys[1]


def test_a_column_or_a_file_may_say_the_splits_if_train_comes_first(tmp_path: Path) -> None:
    lines, header = lines_of(sold(), empty=set()), "day,shop,flyers,sold,part"
    path = tmp_path / "parts.csv"

    def put(part: Callable[[int, str], str]) -> Path:
        each = [f"{line},{part(number, line.split(',')[1])}" for number, line in enumerate(lines)]
        path.write_text("\n".join([header, *each]) + "\n")
        return path

    apart = data_of(put(lambda n, _: "test" if n > 80 else "train"), split_column="part", valid_fraction=0.0)
    assert len(apart.read()["test"]) == len(lines) - 81
    shops = put(lambda n, shop: "test" if n > (80 if shop == "north" else 60) else "train")
    assert data_of(shops, split_column="part", valid_fraction=0.0).read()
    said = refusal(put(lambda n, _: "test" if n in (60, 61) else "train"), split_column="part")
    assert "is a test row, and train goes on to" in said and "lags: []" in said
    known, edge = sold(), 45
    early = written(tmp_path, lines_of({k: v for k, v in known.items() if k[1] < edge}))
    late = written(tmp_path, lines_of({k: v for k, v in known.items() if k[1] >= edge}), "late.csv")
    data = data_of(early, test_path=str(late))
    first = next(row for row in rows_of(data, data.read()["test"]) if row[:2] == ("north", edge))
    assert same(first[2]["sold lag 1"], known["north", edge - 1]), "from the end of the other file"


# ------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lags": [0, 1]}, "from 1 on, and 0 is none"),
        ({"ignore": ["sold lag 7"]}, "sold lag 7 is an input by lags alone, and cannot be under ignore"),
        ({"lags": [1, 1]}, "lags has an entry twice"),
        ({"date": []}, "lags look up earlier values by their time, and need date"),
        ({"split": "random"}, "lags need a chronological split"),
        ({"split": "group", "group": "flyers"}, "lags need a chronological split"),
        ({"task": "classification"}, "lags are for a regression"),
        ({"lags": []}, "there are no lags"),
        ({"series": "day"}, "day is the target or the date"),
        ({"series": "town"}, "there is no column 'town'"),
        ({"baselines": {"last value": "flyers"}}, "a baseline cannot be called last value"),
        ({"lags": [99]}, "no row has a value of sold 99 steps before it; a step is 1 day"),
        ({"lags": [1, 50]}, "no training row has a value of sold lag 50: no value lies so far back"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    assert said in refusal(written(tmp_path), **options)


def test_two_rows_of_one_time_are_refused_with_the_option_that_tells_them_apart(tmp_path: Path) -> None:
    path = written(tmp_path)
    said = refusal(path, series=[])
    assert "rows 2 and 3 are both of 2023-01-30, and 56 more such pairs" in said
    assert "name the column that tells series apart under series" in said
    twice = written(tmp_path, [*lines_of(sold()), f"{day(5)},south,1,3"])
    assert "of one shop" in refusal(twice) and "a further column" in refusal(twice)
    path = tmp_path / "deep.csv"
    each = [f"{day(n)},{shop},{item},{n % 7}" for n in range(30) for shop in "ab" for item in "xy"]
    path.write_text("\n".join(["day,shop,item,sold", *each]) + "\n")
    both = data_of(path, series=["shop", "item"], lags=[1])
    assert sum(map(len, both.read().values())) == 4 * 29


def test_times_that_no_step_fits_are_refused(tmp_path: Path) -> None:
    lines = [f"{day(n)}{' 05:00' * (n == 30)},a,{n % 5},{n % 11}" for n in range(60)]
    said = refusal(written(tmp_path, lines), series=[])
    assert "most rows are 1 day apart, but row 32 is of 2023-03-01 05:00:00, and row 31 before it of" in said
    assert "make times regular" in said
    months = [f"2{n:03}-0{n % 9 + 1}-0{1 + (n == 7)},a,{n % 5},{n % 11}" for n in range(40)]
    assert "apart, but row" in refusal(written(tmp_path, months), series=[])
    single_rows = [f"{day(n)},s{n},{n % 5},{n % 11}" for n in range(40)]
    assert "no shop has two rows" in refusal(written(tmp_path, single_rows))


def test_a_column_of_the_name_of_a_lag_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("day,sold,sold lag 1\n" + "".join(f"{day(n)},{n % 7},{n % 5}.5\n" for n in range(40)))
    assert "sold lag 1 is a column of the table" in refusal(path, series=[])


# ------------------------------------------------------------------------ trained models


def small(path: Path, **options: Any) -> dict[str, Any]:
    return {"dataset": {"name": "csv", "path": str(path)} | BOTH} | OPTIONS | options


def test_a_run_is_evaluated_beside_the_baselines_and_on_another_file(tmp_path: Path, dlrun: Dlrun) -> None:
    path = written(tmp_path)
    run = trained(planned(**small(path)), tmp_path / "runs")
    model, saved = open_checkpoint(run.last, run, [], Parts(), tmp_path)
    found = evaluate_run(model, saved, run.last, "test")["baselines"]
    truth = model.loaded["test"].targets.flatten()
    for name in ("last value", "season before"):
        wanted = (model.loaded["test"].aside[name] - truth).abs().mean().item()
        assert found[name]["mae"] == pytest.approx(wanted, rel=1e-5), "in the unit of the target"
    told = dlrun("eval", run.folder)
    assert told.code == 0 and "last value" in told.out and "season before" in told.out
    later = {key: value for key, value in sold(DAYS + 30).items() if key[1] > 50}
    new = written(tmp_path, lines_of(later, empty=set()), "later.csv")
    told = dlrun("eval", run.folder, "--on", new, "--json")
    report = json.loads(told.out)
    assert report["examples"] == len(later) - 2, "the first day of each shop has no earlier one in the file"
    assert "2 rows have no earlier value: row 2, row 3" in told.err


def test_a_resumed_run_is_as_if_it_never_stopped(tmp_path: Path) -> None:
    config = small(written(tmp_path))
    whole, halves = (trained(planned(**config | {"epochs": n}), tmp_path / str(n)) for n in (4, 2))
    go_on(halves, config)
    assert differences(outcome(whole), outcome(halves)) == []


@pytest.mark.parametrize("changed", ["dataset.lags=[1]", "dataset.series=[]"])
def test_a_model_keeps_its_lags(tmp_path: Path, changed: str) -> None:
    run = trained(planned(**small(written(tmp_path)) | {"epochs": 1}), tmp_path / "runs")
    with pytest.raises(UserError, match=f"{changed.split('=')[0]} cannot be changed at evaluation"):
        open_checkpoint(run.last, run, [changed], Parts(), tmp_path)


def predicted(data: Data, path: Path) -> NewInputs:
    assert data.read_new is not None
    [piece] = data.read_new(path)
    assert isinstance(piece, NewInputs)
    return piece


def test_the_step_of_a_model_holds_for_other_files(tmp_path: Path) -> None:
    data, known = data_of(written(tmp_path)), sold()
    lines = [line for (_, n), line in zip(known, lines_of(known, empty=set()), strict=True) if n % 2 == 0]
    other = again(data, tmp_path / "shops.csv")
    assert other.read_labelled is not None
    some = other.read_labelled(written(tmp_path, lines, "even.csv"))
    rows = [named for _, _, named in rows_of(data, some)]
    assert len(rows) == len(lines) - 2 and all(math.isnan(named["sold lag 1"]) for named in rows)


def test_rows_after_the_last_known_value_are_predicted_one_step_ahead(tmp_path: Path) -> None:
    data, known = data_of(written(tmp_path)), sold(DAYS)
    kept = [line for (_, n), line in zip(known, lines_of(known), strict=True) if n >= 45]
    ahead = [f"{day(DAYS + n)},{shop},2," for n in range(2) for shop in (*SHOPS, "east")]
    other = [",south,1,", f"{day(90)},,1,", "noon,south,1,"]
    piece = predicted(
        again(data, written(tmp_path, [*kept, *ahead, *other], "new.csv")), tmp_path / "new.csv"
    )
    first = len(kept)
    nothing, not_yet = (
        "there is no earlier value of sold",
        f"sold lag 1: sold of {day(DAYS)} is not known yet",
    )
    places = (0, 1, *range(first + 2, first + 9))
    reasons = [nothing, nothing, nothing, not_yet, not_yet, nothing]
    reasons += ["day: there is no value", "shop: there is no value", "day: 'noon' is no date"]
    assert piece.refused == dict(zip(places, reasons, strict=True))
    assert piece.names[first] == f"row {first + 2}", "no date is made up for the row without one"
    inputs, there = single(piece.inputs), [n for n in range(len(piece.names)) if n not in piece.refused]
    for shop, row in zip(SHOPS, (first, first + 1), strict=True):
        own = dict(zip(data.features, inputs[there.index(row)].tolist(), strict=True))
        assert own[f"shop={shop}"] == 1
        assert same(own["sold lag 1"], known[shop, DAYS - 1]) and same(
            own["sold lag 7"], known[shop, DAYS - 7]
        )


def test_a_gap_in_a_file_to_be_predicted_is_handled_as_missing_says(tmp_path: Path) -> None:
    known = sold()
    empty = {("north", 52)}
    lines = [line for (_, n), line in zip(known, lines_of(known, empty=empty), strict=True) if n >= 50]
    lines.append(f"{day(DAYS - 1)}T00:00,west,1,4")
    after = lines.index(next(line for line in lines if line.startswith(f"{day(53)},north")))
    for missing, refused in (("auto", None), ("drop", "sold lag 1: there is no value")):
        data = data_of(written(tmp_path), missing=missing)
        new = again(data, written(tmp_path), missing=missing)
        piece = predicted(new, written(tmp_path, lines, "new.csv"))
        assert piece.refused.get(after) == refused
        assert any("cells are missing: sold lag" in note for note in new.notes) == (missing == "auto")


def test_a_file_without_what_lags_look_up_is_refused(tmp_path: Path) -> None:
    data = data_of(written(tmp_path))
    path = tmp_path / "bare.csv"

    def said(text: str) -> str:
        path.write_text(text)
        with pytest.raises(UserError) as refused:
            predicted(data, path)
        return " ".join(refused.value.lines())

    assert "there is no column sold, whose earlier values the model needs" in said(
        "day,shop,flyers\n2023-05-01,north,1\n"
    )
    assert "no column 'shop'" in said("day,flyers,sold\n2023-05-01,1,3\n")
    assert "rows 2 and 3 are both of" in said(
        "day,shop,flyers,sold\n2023-05-01,north,1,3\n2023-05-01,north,1,\n"
    )
    assert "1 day apart" in said(
        "day,shop,flyers,sold\n2023-05-01,north,1,3\n2023-05-02 06:00,north,1,\n2023-05-03,north,1,3\n"
    )
    assert "means a number" in said('day,shop,flyers,sold\n2023-05-01,north,1,"1,070"\n2023-05-02,north,1,\n')


def test_a_file_whose_dates_no_row_can_read_is_refused_for_them(tmp_path: Path) -> None:
    model = again(data_of(written(tmp_path)), tmp_path / "shops.csv")
    numbered = [f"day {line[8:10]}{line[10:]}" for line in lines_of(sold())]
    assert model.read_labelled is not None
    with pytest.raises(UserError, match=r"no row is left: .* 117 cells are unreadable: day in row 2"):
        model.read_labelled(written(tmp_path, numbered, "numbered.csv"))


def test_predict_prints_what_comes_next_and_why_a_row_is_blank(tmp_path: Path, dlrun: Dlrun) -> None:
    run = trained(planned(**small(written(tmp_path))), tmp_path / "runs")
    known = sold()
    kept = [line for (_, n), line in zip(known, lines_of(known), strict=True) if n >= 45]
    new = written(tmp_path, [*kept, f"{day(DAYS)},north,2,", f"{day(DAYS + 1)},north,2,"], "new.csv")
    done = dlrun("predict", run.folder, new, "--csv", "--columns")
    lines = done.out.strip().splitlines()
    assert len(lines) == len(kept) + 3 and done.code == 1
    assert lines[-2].startswith("row ") and "not known" not in lines[-2]
    assert f"sold lag 1: sold of {day(DAYS)} is not known yet" in lines[-1]
    model, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    assert any(character.isdigit() for character in lines[-2].split(",")[1])
    assert model.data.lags == ("sold lag 1", "sold lag 7")


def test_a_checkpoint_without_lags_is_read_as_before(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"lags": [], "series": []}
    first = data_of(written(tmp_path), **plain)
    earlier_one = {key: value for key, value in first.known.items() if key not in ("lags", "series", "step")}
    second = data_of(tmp_path / "shops.csv", earlier_one, **first.guessed, **plain)
    assert second.features == first.features and second.baselines == ()
    for name, some in first.read().items():
        assert differences(single(some.inputs), single(second.read()[name].inputs)) == []


@pytest.mark.parametrize(
    "spoilt", [{"lags": [0]}, {"lags": ["1"]}, {"step": None}, {"step": [0, 0]}, {"series": 3}]
)
def test_malformed_lags_are_not_taken_from_a_checkpoint(tmp_path: Path, spoilt: dict[str, Any]) -> None:
    data = data_of(written(tmp_path))
    with pytest.raises((ValueError, TypeError)):
        data_of(tmp_path / "shops.csv", dict(data.known) | spoilt, **data.guessed)


# ------------------------------------------------------------------------ what is shown


def test_dlrun_data_shows_the_lags_among_the_columns(tmp_path: Path, dlrun: Dlrun) -> None:
    config = tmp_path / "shops.yaml"
    config.write_text(
        f"name: shops\ndataset: {json.dumps({'name': 'csv', 'path': str(written(tmp_path))} | BOTH)}\n"
        "architecture: {name: mlp, hidden: [4]}\nloss: mse\noptimizer: {name: adam, lr: 0.01}\nepochs: 1\n"
        "batch_size: 8\nplots: []\n"
    )
    found = json.loads(dlrun("data", config, "--json").out)
    columns = {each["name"]: each for each in found["table"]["columns"]}
    assert [*columns][-2:] == ["sold lag 1", "sold lag 7"]
    assert columns["sold lag 7"]["tells"] > columns["flyers"]["tells"]
    known = sold()
    missing = [math.isnan(earlier(known, *key, 1)) for key in known.keys() - NO_CELL]
    assert columns["sold lag 1"]["missing"] == sum(missing) - 2, "without the two that begin"


def test_no_lag_is_called_a_column_that_gives_the_target_away(tmp_path: Path) -> None:
    slow = [f"{day(n)},a,{n * 7 % 5},{n}" for n in range(80)]
    data = data_of(written(tmp_path, slow), series=[], lags=[1])
    warnings = [*column_warnings(data, Loaded(data, CPU).splits)]
    assert not [each for each in warnings if "told from one input" in each or "counts" in each]
    [moved] = [each for each in warnings if "not distributed" in each]
    assert "sold lag 1" in moved and "take such steps out of lags" in moved
