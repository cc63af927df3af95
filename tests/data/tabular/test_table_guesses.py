"""A csv is read as people have it: each guess is said, recorded, and repeated by the recorded options."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch

from dlrun.data.examples import Data, NewInputs
from dlrun.dataset.csv import csv
from dlrun.errors import UserError

CASES = {
    "thousands": [f'{n},"{1000 * n:,}"' for n in range(40)],
    "words": [f"{n % 7},{'?' if n == 3 else n}" for n in range(40)],
    "dates": [f"{n % 28 + 1:02}.03.2020,{n}" for n in range(40)],
    "categories": [f"{'red' if n % 3 else 'blue'},{n}" for n in range(40)],
    "missing": [f"{'' if n % 5 == 0 else n},{n}" for n in range(40)],
    "minus": [f"{n % 7},\u2212{n}" for n in range(1, 41)],
    "ids": [f"name {n},{n}" for n in range(40)],
}


def table(folder: Path, rows: Iterable[str], header: str = "x,y") -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def data_of(path: Path, known: Any = None, **options: Any) -> Data:
    return csv(path.parent, known, **{"path": str(path), "target": "y"} | options)


def every(data: Data) -> dict[str, torch.Tensor]:
    """The inputs of all splits, prepared."""
    examples = data.read()
    prepare = data.fit(examples["train"])
    return {name: prepare(some.inputs) for name, some in examples.items()}


@pytest.mark.parametrize(
    ("case", "features", "said"),
    [
        ("thousands", ("x",), "numbers are read from y ('10,000' is 10000)"),
        ("words", ("x",), "read as missing: '?' (in y)"),
        ("dates", ("x", "sin(week of x)", "cos(week of x)"), "dates are inputs: x"),
        ("categories", ("x=blue", "x=red"), "categories: x (text)"),
        ("missing", ("x", "x is missing"), "numbers get the median of training, texts no category"),
    ],
)
def test_a_guess_is_said(tmp_path: Path, case: str, features: tuple[str, ...], said: str) -> None:
    data = data_of(table(tmp_path, CASES[case]))
    assert data.features == features
    assert any(said in finding for finding in data.findings), data.findings


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_recorded_options_give_the_same_examples(tmp_path: Path, case: str) -> None:
    path = table(tmp_path, [f"{n % 4},{row}" for n, row in enumerate(CASES[case])], "z,x,y")
    first = data_of(path)
    again = data_of(path, **first.guessed)
    restored = data_of(path, dict(first.known), **first.guessed)
    for other in (again, restored):
        assert other.features == first.features
        for name, inputs in every(first).items():
            assert torch.equal(inputs, every(other)[name])


def test_what_only_names_a_row_is_left_out_and_said(tmp_path: Path) -> None:
    path = table(tmp_path, (f"name {n},{n},{n % 7},{n % 5}" for n in range(40)), "who,id,x,y")
    data = data_of(path)
    assert data.features == ("x",)
    assert data.guessed["ignore"] == ["who", "id"]
    assert "left out: who (all its texts differ); id (numbers the rows)" in data.findings
    assert "who=name 3" in data_of(path, categorical=["who"], max_categories=None).features
    with pytest.raises(UserError, match=r"there is nothing to learn from: who \(all its texts differ\)"):
        data_of(path, inputs=["who"])


def test_a_cell_that_means_a_number_is_never_missing(tmp_path: Path) -> None:
    path = table(tmp_path, [f'{n},"{900 + 50 * n:,}"' for n in range(40)])
    for missing in ("auto", "drop", "fill"):
        read = data_of(path, missing=missing).read()
        assert sum(map(len, read.values())) == 40
        assert {2850.0} <= {float(y) for some in read.values() for y in some.targets}
        with pytest.raises(UserError) as refused:
            data_of(path, missing=missing, read="strict")
        assert refused.value.fix == "set thousands: ',', or write numbers as 1234.5"
        read = data_of(path, missing=missing, read="strict", thousands=",").read()
        assert sum(map(len, read.values())) == 40
    few = table(tmp_path, [f'{n},"{100 * n:,}"' for n in range(12)])
    for missing in ("drop", "fill"):
        with pytest.raises(UserError, match="such a cell means a number, and is not taken for a missing"):
            data_of(few, missing=missing, read="strict")


def test_all_columns_that_nobody_can_read_are_said_at_once(tmp_path: Path) -> None:
    rows = [f'{n}/{n % 12 + 1}/2020,"{n}%",{n},a' for n in range(1, 12)] + ["1/1/2020,0.5,3,b"]
    with pytest.raises(UserError) as refused:
        data_of(table(tmp_path, rows, "day,share,x,y"))
    for said in ("day holds dates such as", "share holds percentages", "y holds text such as 'a'"):
        assert said in refused.value.what
    assert "date_format" in refused.value.fix
    assert "task: classification" in refused.value.fix


def test_strict_reading_guesses_nothing_and_says_every_kind_of_mistake(tmp_path: Path) -> None:
    holed = (((n, "red", 1), (n, "", 2), ("", "blue", n), (n, "red", n)) for n in range(10))
    path = table(tmp_path, (f"{a},{b},{y}" for some in holed for a, b, y in some), "a,b,y")
    with pytest.raises(UserError) as refused:
        data_of(path, read="strict", missing="refuse")
    assert "b holds text such as 'red' (row 2); 10 cells are missing: a in row 4" in refused.value.what
    guessed = data_of(path)
    assert guessed.features == ("a", "b=blue", "b=red", "a is missing", "b is missing")


def test_equal_numbers_are_one_category_and_so_are_the_spellings_of_truth(tmp_path: Path) -> None:
    rows = [f"{('1', '1.0', '2')[n % 3]},{('True', 'FALSE', 'true')[n % 3]},{n}" for n in range(60)]
    data = data_of(table(tmp_path, rows, "k,ok,y"), categorical=["k", "ok"])
    assert data.features == ("k=1", "k=2", "ok=FALSE", "ok=True")
    inputs = torch.cat([some.inputs for some in data.read().values()])
    assert torch.equal(inputs.sum(1), torch.full((60,), 2.0, dtype=torch.float64))
    new = tmp_path / "new.csv"
    new.write_text("k,ok\n1.00,tRUE\n2.0,false\n3,true\n")
    assert data.read_new is not None
    (piece,) = data.read_new(new)
    assert isinstance(piece, NewInputs)
    assert piece.inputs.tolist() == [[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]]
    assert any("k holds '3' in row 4, which no training row holds" in note for note in data.notes)


def test_rare_categories_are_one(tmp_path: Path) -> None:
    cities = ["A"] * 30 + ["B"] * 20 + ["C"] * 10 + [f"town {n}" for n in range(20)]
    path = table(tmp_path, (f"{city},{n % 9},{n}" for n, city in enumerate(cities)), "city,x,y")
    assert data_of(path).features == ("city=A", "city=B", "city=C", "city: other", "x")
    few = data_of(path, max_categories=2)
    assert few.features == ("city=A", "city=B", "city: other", "x")
    assert any("rare categories of city become other: C, town" in finding for finding in few.findings)
    keeps_more = [
        any("max_categories keeps more" in each for each in d.findings) for d in (data_of(path), few)
    ]
    assert keeps_more == [False, True]  # a category of a single row becomes other all the same
    new = tmp_path / "new.csv"
    new.write_text("city,x\nC,0\nnew,0\n,0\n")
    assert few.read_new is not None
    (piece,) = few.read_new(new)
    assert isinstance(piece, NewInputs)
    assert piece.inputs[:, 2].tolist() == [1, 1, 0]


def test_missing_cells_have_the_median_of_training_and_an_input_that_says_so(tmp_path: Path) -> None:
    path = table(tmp_path, (f"{'' if n % 4 == 0 else n * n},{n}" for n in range(100)))
    data = data_of(path, standardise=False)
    train = data.read()["train"]
    there = train.inputs[:, 0][train.inputs[:, 1] == 0]
    prepared = data.fit(train)(train.inputs)
    assert float(prepared[train.inputs[:, 1] == 1, 0].unique()) == float(there.quantile(0.5))
    stated = data_of(path, standardise=False, missing={"x": -1})
    assert stated.features == ("x",)
    assert float(stated.fit(stated.read()["train"])(stated.read()["train"].inputs)[:, 0].min()) == -1
    dropped = data_of(path, missing={"x": "drop"})
    assert sum(map(len, dropped.read().values())) == 75


def test_the_target_may_be_named_by_its_place(tmp_path: Path) -> None:
    path = table(tmp_path, [f"{n},{n % 5}" for n in range(40)])
    assert data_of(path, target=-1).target == data_of(path, target="2").target == "y"
    years = table(tmp_path, (f"{n % 7},{n}" for n in range(40)), "x,2010")
    assert data_of(years, target=2010).target == "2010", "a name goes before a place"
    path = table(tmp_path, (f"{n},{n % 5}" for n in range(40)))
    assert data_of(path, target="1").features == ("y",)
    with pytest.raises(UserError, match=r"nor a 3\. of 2 columns"):
        data_of(path, target="3")


def test_inputs_and_ignore_take_patterns(tmp_path: Path) -> None:
    path = table(tmp_path, (f"{n % 3},{n % 4},{n % 5},{n}" for n in range(40)), "a_1,a_2,b_1,y")
    assert data_of(path, inputs=["a_*"]).features == ("a_1", "a_2")
    assert data_of(path, ignore=["*_1"]).features == ("a_2",)
    assert data_of(path, inputs=["a_*"], ignore=["a_1"]).guessed["ignore"] == ["a_1", "b_1"]


def same_by_recorded_options(first: Data, path: Path, **options: Any) -> bool:
    again = data_of(path, **(options | dict(first.guessed)))
    return all(torch.equal(inputs, every(again)[name]) for name, inputs in every(first).items())


def test_marks_of_one_column_do_not_spoil_the_recorded_reading_of_another(tmp_path: Path) -> None:
    path = table(tmp_path, [f'{n % 9}%,"{n},000",{n}' for n in range(1, 40)], "share,price,y")
    first = data_of(path)
    assert (first.guessed["thousands"], first.guessed["symbols"]) == (",", ["%"])
    assert same_by_recorded_options(first, path)


def test_a_point_before_thousands_is_none_of_a_fraction_where_others_have_decimal_commas(
    tmp_path: Path,
) -> None:
    path = table(tmp_path, [f'{n}.000,"{n},5",{n % 7}' for n in range(10, 50)], "price,x,y")
    first = data_of(path, standardise=False)
    inputs = torch.cat([some.inputs for some in first.read().values()])
    assert sorted(inputs[:, 0].tolist()) == [1000.0 * n for n in range(10, 50)]
    assert sorted(inputs[:, 1].tolist()) == [n + 0.5 for n in range(10, 50)]
    assert "numbers have decimal commas" in first.findings
    assert same_by_recorded_options(first, path, standardise=False)


def test_a_word_for_a_missing_number_is_no_missing_class(tmp_path: Path) -> None:
    rows = [
        f"{'none' if n == 3 else n},{('none', 'mild')[n % 2]},{('A', 'B', 'none')[n % 3]}" for n in range(40)
    ]
    path = table(tmp_path, rows, "x,k,y")
    with pytest.raises(UserError, match="'none' stands for a missing number in x, but means something in y"):
        data_of(path, task="classification")
    left_out = data_of(path, task="classification", na_values=["none"])
    assert any("rows are left out" in note for note in left_out.notes)
    path = table(tmp_path, [row.rsplit(",", 1)[0] + f",{n}" for n, row in enumerate(rows)], "x,k,y")
    assert "read as missing: 'none' (in x, k)" in data_of(path).findings


def test_a_frequent_word_among_numbers_leaves_them_numbers_and_is_said(tmp_path: Path) -> None:
    rows = [f"{'leer' if n % 3 == 0 else n * n},{n % 7},{n}" for n in range(90)]
    data = data_of(table(tmp_path, rows, "x,z,y"), standardise=False)
    assert data.features == ("x", "z", "x is missing")
    remark = "read as missing: 'leer' (in x); if such words tell something, list x under categorical"
    assert remark in data.findings and data.guessed["na_values"] == ["leer"]
    inputs = torch.cat([some.inputs for some in data.read().values()])
    assert sorted(inputs[inputs[:, 2] == 0, 0].tolist()) == [n * n for n in range(90) if n % 3]
    listed = data_of(table(tmp_path, rows, "x,z,y"), categorical=["x"])
    assert "x=leer" in listed.features and "na_values" not in listed.guessed


def test_codes_with_zeros_in_front_are_categories_and_said(tmp_path: Path) -> None:
    rows = [f"{('01067', '10115', '80331')[n % 3]},{n % 24:02},{n}" for n in range(90)]
    path = table(tmp_path, rows, "zip,hour,y")
    data = data_of(path)
    assert data.features == ("zip=01067", "zip=10115", "zip=80331", "hour")
    assert "categories: zip (numbers with zeros in front)" in data.findings
    assert same_by_recorded_options(data, path)
    as_numbers = data_of(path, categorical=[])
    assert as_numbers.features == data_of(path, read="strict").features == ("zip", "hour")
    keys = [{name: some.keys for name, some in each.read().items()} for each in (data, as_numbers)]
    assert all(torch.equal(keys[0][name], keys[1][name]) for name in keys[0]), "the split is the same"
    new = tmp_path / "new.csv"
    new.write_text("zip,hour\n1067,00\n80331,01\n")  # as a spreadsheet writes it
    assert data.read_new is not None
    (piece,) = data.read_new(new)
    assert isinstance(piece, NewInputs)
    assert piece.inputs[:, :3].tolist() == [[1, 0, 0], [0, 0, 1]]
    counted = table(tmp_path, (f"{n:05},{n % 7},{n}" for n in range(60)), "customer,x,y")
    assert data_of(counted).features == ("x",)


def test_a_cell_that_bounds_a_number_is_neither_a_category_nor_missing(tmp_path: Path) -> None:
    path = table(tmp_path, [f"{'>100' if n % 9 == 0 else n / 4},{n}" for n in range(90)])
    with pytest.raises(
        UserError, match=r"x holds 10 cells that only bound a number, such as '>100' \(row 2\)"
    ) as refused:
        data_of(path)
    assert "na_values: ['>100']" in refused.value.fix
    assert data_of(path, na_values=[">100"]).features == ("x", "x is missing")


def test_a_date_in_another_form_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    rows = [f"{'1/2/2020' if n == 7 else f'2020-01-{n % 28 + 1:02}'},{n}" for n in range(40)]
    path = table(tmp_path, rows, "day,y")
    for options in ({}, {"date": ["day"]}):
        with pytest.raises(UserError, match=r"but also a cell such as '1/2/2020' \(row 9\)") as refused:
            data_of(path, **options)
        assert refused.value.fix.startswith("write dates as 2016-01-31, or set na_values: ['1/2/2020']")
    data = data_of(path, na_values=["1/2/2020"])
    assert data.guessed["dates"] == ["day"]
    words = table(tmp_path, [row.replace("1/2/2020", "unbekannt") for row in rows], "day,y")
    data = data_of(words)
    assert data.guessed["dates"] == ["day"]
    assert "read as missing: 'unbekannt' (in day)" in data.findings


def test_a_number_beyond_float32_has_a_remedy_of_its_own(tmp_path: Path) -> None:
    path = table(tmp_path, [f"{'1e39' if n == 5 else n},{n}" for n in range(40)])
    for options in ({}, {"read": "strict"}, {"missing": "fill", "read": "strict"}):
        with pytest.raises(UserError, match="row 7") as refused:
            data_of(path, **options)
        assert refused.value.fix == "give such numbers in a larger unit: float32 holds none beyond 3.4e38"


@pytest.mark.parametrize(
    ("date_format", "day", "said", "fix"),
    [
        ("%d/%m/%Y", "{:02}.03.2020", "which is no date of the format '%d/%m/%Y'", "'%d.%m.%Y'"),
        ("DD.MM.YYYY", "{:02}.03.2020", "no date of the format 'DD.MM.YYYY'", "'%d.%m.%Y'"),
        ("%d.%m.%Y", "2020-03-{:02}", "no date of the format '%d.%m.%Y'", "leave date_format out"),
        ("", "{:02}.03.2020", "day holds text such as '01.03.2020' (row 2)", "'%d.%m.%Y'"),
        ("", "{}/3/2020", "day holds text such as '1/3/2020'", "set date_format: '%d/%m/%Y'"),
        ("%Y", "week {}", "no date of the format '%Y'", "write dates as 2016"),
    ],
)
def test_a_wrong_format_of_dates_is_said_with_one_that_fits(
    tmp_path: Path, date_format: str, day: str, said: str, fix: str
) -> None:
    path = table(tmp_path, [f"{day.format(n % 28 + 1)},{n % 5},{n}" for n in range(40)], "day,x,y")
    for role in ("date", "dates"):
        options = {role: ["day"], "date_format": date_format, "read": "strict"}
        with pytest.raises(UserError) as refused:
            data_of(path, **options)
        assert said in refused.value.what and fix in refused.value.fix


def test_dates_that_could_mean_two_things_order_no_rows(tmp_path: Path) -> None:
    path = table(tmp_path, [f"0{n % 9 + 1}/0{n % 7 + 1}/2020,{n},{n % 5}" for n in range(60)], "day,x,y")
    with pytest.raises(UserError, match=r"day holds dates such as '01/01/2020', which .* read otherwise"):
        data_of(path, date=["day"])
    dated = data_of(path, date=["day"], date_format="%d/%m/%Y").read()
    assert sum(map(len, dated.values())) == 60
    with pytest.raises(UserError, match="day holds text such as '01/01/2020'"):
        data_of(path, date=["day"], date_format="%d/%d/%Y")


def test_a_column_that_is_left_out_takes_no_other_with_it(tmp_path: Path) -> None:
    path = table(tmp_path, [f"same,{n % 7},7,{n % 4},{n}" for n in range(40)], "p*,price,x[0],x0,y")
    first = data_of(path)
    assert first.features == ("price", "x[0]", "x0")
    assert same_by_recorded_options(first, path)


def test_numbers_that_differ_in_the_last_of_many_digits_are_different_categories(tmp_path: Path) -> None:
    large = [str(2**53 + n) for n in range(4)]
    path = table(tmp_path, [f"{large[n % 4]},{n % 7},{n}" for n in range(400)], "account,x,y")
    listed = data_of(path, categorical=["account"])
    assert listed.features == (*(f"account={number}" for number in large), "x")
    assert data_of(path, target="account", task="classification").classes == tuple(large)
    assert data_of(path).guessed["categorical"] == ["x"]


def test_categories_keep_their_order_when_their_column_is_read_as_text(tmp_path: Path) -> None:
    cells = ["09", "10", "8.0", "x", "y", "z", "w"]
    path = table(
        tmp_path, [f"{cells[n % 3] if n % 5 else cells[3 + n % 4]},{n % 9},{n}" for n in range(60)], "k,x,y"
    )
    for options in ({}, {"max_categories": None}):
        first = data_of(path, **options)
        assert first.guessed["categorical"] == ["k"]
        assert same_by_recorded_options(first, path, **options)
    path = table(tmp_path, [f"{('1', '1.0', 'x')[n % 3]},{n}" for n in range(60)], "k,y")
    assert data_of(path, categorical=["k"], max_categories=None).features == ("k=1", "k=x")


def test_cells_beside_predictions_are_as_they_are_written(tmp_path: Path) -> None:
    data = data_of(table(tmp_path, [f"{n % 7},{n}" for n in range(40)]))
    new = tmp_path / "new.csv"
    new.write_text(f"account,plz,x\n{2**53 + 1},00123,1.50\n{2**53 + 2},123,broken\n")
    assert data.read_new is not None
    (piece,) = data.read_new(new)
    assert isinstance(piece, NewInputs)
    assert dict(piece.columns) == {
        "account": [str(2**53 + 1), str(2**53 + 2)],
        "plz": ["00123", "123"],
        "x": ["1.50", "broken"],
    }
    assert piece.inputs.tolist() == [[1.5]]


def test_categories_with_decimal_commas_are_the_same_when_the_run_is_opened_again(tmp_path: Path) -> None:
    """The run knows then that `size` holds texts; a first look takes most of its cells for numbers."""
    sizes = ["9,50", "10,5", "11,00", "broken"]
    rows = [f"{sizes[n % 4]};{n % 7},5;{n}" for n in range(200)]
    path = table(tmp_path, rows, "size;x;y")
    first = data_of(path)
    assert set(first.features) == {"size=9,50", "size=10,5", "size=11,00", "size=broken", "x"}
    again = data_of(path, first.known, **first.guessed)
    before, after = first.read(), again.read()
    for split, examples in before.items():
        assert torch.equal(examples.inputs, after[split].inputs)
        assert torch.equal(examples.keys, after[split].keys)
    assert (before["train"].inputs[:, :4].sum(1) == 1).all()


def test_a_file_with_points_is_read_with_points_by_a_model_of_commas(tmp_path: Path) -> None:
    path = table(tmp_path, (f"{n % 9},{n % 7}5;{n}" for n in range(60)), "x;y")
    data = data_of(path, standardise=False)
    assert data.guessed["decimal"] == ","
    assert data.read_new is not None and data.read_labelled is not None
    new = tmp_path / "new.csv"
    new.write_text("x,y\n1.200,3\n2.5,4\n")
    (piece,) = data.read_new(new)
    assert isinstance(piece, NewInputs)
    assert piece.inputs[:, 0].tolist() == pytest.approx([1.2, 2.5])
    assert data.read_labelled(new).inputs[:, 0].tolist() == pytest.approx([1.2, 2.5])
    assert any("new.csv has decimal points" in note for note in data.notes)
    new.write_text("x;y\n1.200;3\n2,5;4\n")
    (piece,) = data.read_new(new)
    assert isinstance(piece, NewInputs)
    assert (piece.inputs[:, 0].tolist(), dict(piece.refused)) == (
        [2.5],
        {0: "x: '1.200' is no number with a decimal comma"},
    )


def test_a_column_without_a_value_where_there_is_a_target_is_left_out(tmp_path: Path) -> None:
    rows = [f"{n % 7},{'' if n < 40 else n},{n * n if n < 40 else ''}" for n in range(80)]
    data = data_of(table(tmp_path, rows, "a,later,y"))
    assert data.features == ("a",)
    assert "left out: later (has no value where there is a target)" in data.findings
    with pytest.raises(UserError, match="no row is left: 80 cells are missing: y in row 2"):
        data_of(table(tmp_path, [f"{n % 7},{n}," for n in range(80)], "a,later,y"))
    assert list(data.guessed["ignore"]) == ["later"]


def test_a_table_without_inputs_names_the_datasets_that_could_learn_from_it(tmp_path: Path) -> None:
    reviews = [f'"{word} film, seen on day {n}",{n}' for n, word in enumerate(["good", "bad"] * 15)]
    with pytest.raises(UserError, match=r"review \(all its texts differ\)") as no:
        data_of(table(tmp_path, reviews, "review,y"))
    assert "{name: text_table, text: review}" in no.value.fix
    with pytest.raises(UserError, match=r"index \(numbers the rows\)") as no:
        data_of(table(tmp_path, [f"{n},{n % 5}.5" for n in range(1, 40)], "index,y"))
    assert "{name: windows}" in no.value.fix


@pytest.mark.parametrize("target", ["1990", "9"])
def test_a_target_that_is_not_there_may_stand_in_a_line_that_was_not_taken_for_names(
    tmp_path: Path, target: str
) -> None:
    with pytest.raises(UserError, match=r"there are: c1, c2, c3") as no:
        data_of(table(tmp_path, ["B,1991,1970", "C,1992,1960", "D,1993,1950"], "A,1990,1980"), target=target)
    assert no.value.fix == "if line 1 names the columns set header: 1"


def test_a_column_with_values_in_other_rows_than_those_of_training_is_left_out(tmp_path: Path) -> None:
    path = table(tmp_path, [f"{n % 7},,{n}" for n in range(60)], "a,late,y")
    test = tmp_path / "test.csv"
    test.write_text("a,late,y\n1,5,3\n2,6,4\n", encoding="utf-8")
    data = data_of(path, test_path=str(test))
    assert data.features == ("a",) and list(data.guessed["ignore"]) == ["late"]
    assert data.findings.count("left out: late (has no value in the training rows)") == 1
    assert len(data.findings) == len(set(data.findings)) and len(data.notes) == len(set(data.notes))
    again = data_of(path, data.known, test_path=str(test), **data.guessed)
    assert all(map(torch.equal, every(data).values(), every(again).values()))


def test_columns_of_a_file_with_an_unnamed_one_are_found_by_their_names(tmp_path: Path) -> None:
    rows = [f"{n},{n % 7},{10 * (n % 5)},{n % 7 + 30 * (n % 5)}" for n in range(40)]
    data = data_of(table(tmp_path, rows, ",a,b,y"))
    assert data.guessed["columns"] == ["index", "a", "b", "y"]
    told = data_of(tmp_path / "table.csv", data.known, **data.guessed)
    assert told.read_new is not None
    for header, row in ((",a,b,y", "9,1,20,0"), ("b,a", "20,1"), (",b,y,a", "3,20,5,1"), ("a,z,b", "1,8,20")):
        new = tmp_path / "new.csv"
        new.write_text(f"{header}\n{row}\n{row}\n", encoding="utf-8")
        (piece,) = told.read_new(new)
        assert isinstance(piece, NewInputs)
        assert piece.inputs.tolist() == [[1, 20], [1, 20]]


def test_other_names_for_the_columns_of_a_file_are_those_of_their_places(tmp_path: Path) -> None:
    path = table(tmp_path, [f"{n % 7},{n % 5},{n % 3}" for n in range(40)], "x,a,y")
    assert data_of(path, columns=["size", "a", "y"]).features == ("size", "a")
    moved = data_of(path, columns=["a", "x", "y"])
    assert moved.features == ("x", "a")
    assert "columns names columns of the file at other places: its own names are taken" in moved.findings


@pytest.mark.parametrize("option", ["ignore", "inputs", "categorical", "dates", "missing"])
def test_a_column_that_an_option_names_has_to_be_there(tmp_path: Path, option: str) -> None:
    path = table(tmp_path, [f"{n % 7},{n % 5},{n}" for n in range(40)], "width,height,y")
    named: Any = {"widht": 0} if option == "missing" else ["widht"]
    with pytest.raises(UserError, match=r"no column 'widht'; did you mean 'width'\?"):
        data_of(path, **{option: named})
    data_of(path, ignore=["nothing*"])


def test_points_that_may_stand_between_thousands_are_said(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    said = "y: numbers such as 4.001 are read with a decimal point; if it stands between thousands, set"
    rows = [f"{n % 7};{4 + n % 3}.{(137 * n + 1) % 1000:03}" for n in range(40)]
    path.write_text("x;y\n" + "\n".join(rows) + "\n")
    assert f"{said} decimal: ','" in data_of(path).findings
    assert not any("decimal point" in each for each in data_of(path, decimal=".").findings)
    others = [f"{n % 7};{4 + n % 3}.{(137 * n + 1) % 100:02}" for n in range(40)]  # of hundredths
    finer = [f"{row}5" for row in rows]
    for body in ([*rows, "3;0.25"], others, finer):
        path.write_text("x;y\n" + "\n".join(body) + "\n")
        assert not any("decimal point" in each for each in data_of(path).findings)
    path.write_text("x;y\n3;\n3;4.000\n" + "\n".join(rows) + "\n")
    assert f"{said} decimal: ','" in data_of(path).findings, "the example shows a point"


@pytest.mark.parametrize("dates", ["auto", ["when", "iso"]])
@pytest.mark.parametrize("date_format", ["%d/%m/%Y", "%d in %m of %Y"])
def test_a_stated_format_is_that_of_dates_that_are_inputs(
    tmp_path: Path, dates: Any, date_format: str
) -> None:
    days = [date(2020, n % 12 + 1, n % 11 + 1) for n in range(60)]
    rows = [f"{day.strftime(date_format)},{day},{n}" for n, day in enumerate(days)]
    path = table(tmp_path, rows, "when,iso,y")
    data = data_of(path, dates=dates, date_format=date_format)
    assert data.features == ("when", "iso"), "one that has another format is read by this"
    train = data.read()["train"].inputs
    assert torch.equal(train[:, 0], train[:, 1]) and len(train.unique()) > 20
    again = data_of(path, data.known, **{"dates": dates, "date_format": date_format} | data.guessed)
    assert torch.equal(again.read()["train"].inputs, train)


def test_words_among_dates_of_a_stated_format_are_missing(tmp_path: Path) -> None:
    rows = [f"{n % 9 + 1} in 3 of 2020,{n}" for n in range(60)]
    path = table(tmp_path, [*rows, "?,7", "soon,8"], "when,y")
    for dates in ("auto", ["when"]):
        data = data_of(path, dates=dates, date_format="%d in %m of %Y")
        assert data.features == ("when", "when is missing") and data.guessed["na_values"] == ["?", "soon"]


def test_numbers_under_dates_are_dates_of_a_stated_format_however_few_differ(tmp_path: Path) -> None:
    path = table(tmp_path, [*(f"2020030{n % 4 + 1},{n}" for n in range(160)), "?,7"], "when,y")
    data = data_of(path, dates=["when"], date_format="%Y%m%d", missing="drop")
    assert data.features == ("when",) and data.guessed["na_values"] == ["?"]
    first = float(data.read()["train"].inputs.min())
    assert first == (date(2020, 3, 1) - date(1970, 1, 1)).days * 86400
    of_few = data_of(path, missing="drop")
    assert of_few.features == ("when=20200301", "when=20200302", "when=20200303", "when=20200304")


def test_dates_of_several_offsets_are_said_to_be_counted_in_utc(tmp_path: Path) -> None:
    rows = [f"2021-{n % 9 + 1:02}-{n % 28 + 1:02}T08:00:00+0{1 + (n % 9 > 2)}:00,{n}" for n in range(60)]
    said = "when has dates of several offsets from UTC (+01:00, +02:00): its days and hours are those of UTC"
    assert said in data_of(table(tmp_path, rows, "when,y")).findings
    assert said in data_of(tmp_path / "table.csv", date=["when"], date_cycles=["day"]).findings
    mixed = [row.replace("+02:00", "").replace("+01:00", "+0100") for row in rows]
    assert any("(+01:00, none)" in each for each in data_of(table(tmp_path, mixed, "when,y")).findings)
    by_format = [row.replace("T", " at ") for row in rows]
    path = table(tmp_path, by_format, "when,y")
    assert said in data_of(path, dates=["when"], date_format="%Y-%m-%d at %H:%M:%S%z").findings
    alike = [row.replace("+02", "+01") for row in rows]
    assert not any("UTC" in each for each in data_of(table(tmp_path, alike, "when,y")).findings)
