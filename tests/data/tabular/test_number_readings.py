"""Numbers as people write them: read where one reading fits all cells of a column, else not at all."""

import pytest

from dlrun.data.tabular.number_readings import (
    NumberReading,
    chosen_reading,
    decimal_of,
    is_like_a_number,
    said_marks,
)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["300", "1,070", "2,345,678"], [300, 1070, 2345678]),
        (["1,234.5", "12"], [1234.5, 12]),
        (["1.234,5", "12"], [1234.5, 12]),
        (["3,5", "2,25"], [3.5, 2.25]),
        (["1.234", "3,5"], [1234, 3.5]),
        (["$4,733", "$12.50"], [4733, 12.5]),
        (["-$5", "$-6", "$7"], [-5, -6, 7]),
        (["($1,234)", "$5"], [-1234, 5]),
        (["62.0%", "5 %"], [62, 5]),
        (["1'000.5", "7"], [1000.5, 7]),
        (["1 000", "2\u00a0000\u00a0000".replace("\u00a0", " ")], [1000, 2000000]),
        (["12 €", "1 €"], [12, 1]),
        (["\u22127", "8"], [-7, 8]),
        (["1.5e3", "+2"], [1500, 2]),
    ],
)
def test_one_reading_fits_the_whole_column(texts: list[str], values: list[float]) -> None:
    reading = chosen_reading(texts)
    assert reading is not None
    assert [reading.read(text) for text in texts] == values
    assert all(map(is_like_a_number, texts))


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "1"],
        ["12/5", "1"],
        ["1,07", "1.07"],  # a comma and a point that both end in cents
        ["1,23,4", "5"],
        ["1.2.3"],
        ["--5"],
        ["5 kg"],
    ],
)
def test_no_reading_fits_what_is_no_number_or_contradicts_itself(texts: list[str]) -> None:
    assert chosen_reading(texts) is None


def test_the_decimal_mark_of_the_file_decides_on_what_one_column_leaves_open() -> None:
    other, column = ["3,5", "0,25"], ["1.234", "2.500"]
    assert decimal_of([column]) == ""
    assert decimal_of([column, other]) == ","
    reading = chosen_reading(column, ",")
    assert reading == NumberReading(",", ".")
    assert [reading.read(text) for text in column] == [1234, 2500]
    assert chosen_reading(["1,070"], ",") == NumberReading(",")


@pytest.mark.parametrize("text", ["", "a", "red", "?", "nil", "1 of 2", "12a", "2016-01-31", "12:30", "1/2"])
def test_what_means_no_number_is_not_taken_for_one(text: str) -> None:
    assert not is_like_a_number(text)


def test_the_remedy_for_a_number_fits_the_marks_that_are_stated() -> None:
    commas = NumberReading(",", ".")
    assert said_marks(["0.33", "61.7"], commas) == "set decimal: '.', or write numbers as 1234,5"
    assert said_marks(["1,070", "850"]) == "set thousands: ',', or write numbers as 1234.5"
    assert said_marks(["1--5"]).endswith("write numbers as 1234.5, with no sign but + or -")
