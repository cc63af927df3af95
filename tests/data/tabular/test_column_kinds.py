"""Columns tell by their cells if they hold numbers, categories or dates, and if anything can be learnt."""

from __future__ import annotations

from datetime import date

import pytest

from dlrun.data.table_files.columns import column_of
from dlrun.data.tabular.column_kinds import are_codes, is_few_valued, kind_of, why_useless
from dlrun.data.tabular.dates import formats_of, seconds_of


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "", "NA"], "number"),
        (["1,070", "850"], "number"),
        (["$5", "$1,000"], "number"),
        (["red", "blue", ""], "category"),
        (["yes", "no"], "category"),
        (["1.2.3", "1.2.4"], "category"),
        (["A1", "2"], "category"),
        (["2016-01-31", "2016-02-01"], "date"),
        (["31.01.2016", "01.02.2016"], "date"),
        (["Jan 5 2000", "Feb 12 2001"], "date"),
        (["1960 Jan", "1960 Feb"], "date"),
        (["1960 Q1", "1960 Q2"], "date"),
        (["1991 W06", "1991 W07"], "date"),
        ([*(f"2016-{n % 12 + 1:02}-01" for n in range(30)), "unbekannt", "k.A."], "date"),
        ([*(f"2016-{n % 12 + 1:02}-01" for n in range(9)), "31.01.2016", "1.2.16"], "category"),
        (["", "NA"], "empty"),
        (["?", "-"], "empty"),
        ([*map(str, range(60)), "?"], "number"),
        ([*map(str, range(60)), "broken", "lost"], "number"),
        ([*map(str, range(60)), *"abcdefghij"], "category"),
        ([*map(str, range(60)), *["unbekannt"] * 9], "number"),
        ([*map(str, range(20)), *["unbekannt"] * 70], "number"),
        ([*map(str, range(19)), *["unbekannt"] * 70], "category"),
        ([*"01230123", "4+"], "category"),
        (["7e88", "a1b2", "03fe", "9c4d"], "category"),
        ([*"0123" * 30, "4+"], "category"),
        (["<18", "18-65", ">65"] * 30, "category"),
        (["21,5", "19,25", *["k.A."] * 3], "number"),
        (["00", "07", "23"], "number"),
        (["0930", "1645", "2359"], "number"),
        (["21.5", "19.2", *["#NV"] * 3, "#WERT!", "n/d"], "number"),
    ],
)
def test_the_cells_tell_the_kind(cells: list[str], kind: str) -> None:
    found = kind_of(column_of(cells))
    assert (found.name, found.mistake) == (kind, "")


def test_words_in_a_column_of_numbers_are_missing_and_noted() -> None:
    found = kind_of(column_of([*map(str, range(60)), "?", "broken"]))
    assert (found.nothing, found.has_frequent_words) == (("?", "broken"), False)
    found = kind_of(column_of([*map(str, range(60)), *["?", "broken"] * 40]))
    assert (found.nothing, found.has_frequent_words) == (("?", "broken"), True)
    assert not kind_of(column_of([*map(str, range(60)), *["?"] * 70])).has_frequent_words


@pytest.mark.parametrize(
    ("cells", "mistake"),
    [
        (["1,070.5", "1.070,5", "2"], "no single reading fits"),
        (["1,07", "1.07", "2.5"], "no single reading fits"),
        (["5%", "0.05"], "percentages such as '5%' beside other numbers"),
        (["$5", "€6"], "no single reading fits"),
        (["01/02/2020", "03/04/2020"], "read otherwise"),
        (["1.5", "2.5", "1e39"], "holds '1e39', a number beyond float32"),
        (
            [*(f"2016-{n % 12 + 1:02}-01" for n in range(30)), "31.01.2016", "1.2.16"],
            "holds dates such as '2016-01-01', but also 2 cells such as '31.01.2016'",
        ),
        ([*(f"{n % 28 + 1}.03.2016" for n in range(30)), "2016-03-01"], "also a cell such as '2016-03-01'"),
        ([*map(str, range(60)), "<0.5"], "holds a cell that only bounds a number, such as '<0.5'"),
        (
            [*(f"{n},5" for n in range(60)), *["> 100", "≥90,5"] * 20],
            "holds 40 cells that only bound a number, such as '> 100'",
        ),
        ([*map(str, range(60)), "90+", "none"], "such as '90+'"),
    ],
)
def test_a_column_that_could_mean_two_things_is_a_mistake(cells: list[str], mistake: str) -> None:
    assert mistake in kind_of(column_of(cells)).mistake


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["01067", "10115", ""], True),
        (["007", "12", "k.A."], True),
        (["0117", "0575"], True),
        (["00", "07", "23"], False),
        (["0930", "1645", "2359"], False),
        (["001.5", "002"], False),
        (["-5", "007"], False),
        (["0.5", "100"], False),
        (["A1", "007", "B2", "C3"], False),
    ],
)
def test_whole_numbers_with_zeros_in_front_are_codes(cells: list[str], expected: bool) -> None:
    assert are_codes(column_of(cells)) is expected
    as_texts = column_of(cells, as_text=True)
    assert are_codes(as_texts) is expected
    assert not expected or kind_of(as_texts).name == "category"


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("Unnamed: 0", range(20), "numbers the rows"),
        ("id", range(1, 21), "numbers the rows"),
        ("x", range(20), ""),
        ("PassengerId", [7 * n % 41 for n in range(40)], "all its numbers differ"),
        ("PassengerId", [*(7 * n % 41 for n in range(40)), 7, 14], "nearly all its numbers differ"),
        ("PassengerId", [7 * n % 41 for n in range(40)] * 2, ""),
        ("id", [*range(1, 41), 38, 39, 40], "numbers the rows"),
        ("index", [*range(40)] * 2, "numbers the rows"),
        ("no", [1, 2, 3, 3], ""),
        ("number", [1, 2, 4, 5, 7, 8, 9, 11, 12, 15, 16], ""),
        ("paid", [7 * n % 41 for n in range(40)], ""),
        ("name", [f"name {n}" for n in range(20)], "all its texts differ"),
        ("name", [f"name {n}" for n in range(19)] * 2, ""),
        ("fruit", ["apple"] * 20, "is 'apple' in all rows"),
        ("fruit", ["apple", ""] * 10, ""),
        ("gone", [""] * 5, "has no value"),
    ],
)
def test_nothing_is_learnt_from_what_only_identifies_a_row(name: str, cells: list, reason: str) -> None:
    column = column_of([str(cell) for cell in cells])
    assert why_useless(name, column, kind_of(column)) == reason


def test_few_whole_numbers_in_many_rows_may_be_categories() -> None:
    assert is_few_valued(column_of(["1", "2", "3"] * 30))
    assert not is_few_valued(column_of(["1", "2", "3"] * 29)), "too few rows of each"
    assert not is_few_valued(column_of(["0", "1"] * 100)), "one number tells two apart"
    assert not is_few_valued(column_of(["1", "2", "2.5"] * 50))


@pytest.mark.parametrize(
    ("text", "date_format", "day"),
    [
        ("1960 Q1", "%Y Q%q", date(1960, 1, 1)),
        ("1960Q4", "%YQ%q", date(1960, 10, 1)),
        ("1991 W06", "%G W%V", date.fromisocalendar(1991, 6, 1)),
        ("1960 Mar", "%Y %b", date(1960, 3, 1)),
    ],
)
def test_quarters_weeks_and_months_are_dates_of_their_first_day(
    text: str, date_format: str, day: date
) -> None:
    assert formats_of([text]) == [date_format]
    assert seconds_of([text], date_format) == (day - date(1970, 1, 1)).days * 86400


def test_a_date_of_no_such_quarter_is_none() -> None:
    assert formats_of(["1960 Q5"]) == []
    with pytest.raises(ValueError, match="no quarter"):
        seconds_of(["1960 Q5"], "%Y Q%q")


def test_a_date_in_another_form_than_quarters_is_told_theirs() -> None:
    quarters = [f"{year} Q{quarter}" for year in range(1990, 2000) for quarter in range(1, 5)]
    assert "write dates as 2016 Q1," in kind_of(column_of([*quarters, "2000-01-01"])).fix


@pytest.mark.parametrize(
    ("text", "date_format", "day"),
    [("1960-3", "%Y-%q", date(1960, 7, 1)), ("4/1960", "%q/%Y", date(1960, 10, 1))],
)
def test_a_stated_format_may_have_the_quarter_anywhere(text: str, date_format: str, day: date) -> None:
    assert seconds_of([text], date_format) == (day - date(1970, 1, 1)).days * 86400
