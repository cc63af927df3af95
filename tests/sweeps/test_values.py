"""The values that a sweep goes through."""

from __future__ import annotations

from typing import Any

import pytest

from dlrun.errors import UserError
from dlrun.sweeps.values import Range, combinations, draws, override_words, swept_key


def values_of(written: Any) -> Any:
    return swept_key("key", written, "here").values


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("1e-4,1e-3,1e-2", [1e-4, 1e-3, 1e-2]),
        ("[50],[100],[200, 100]", [[50], [100], [200, 100]]),
        ("relu,tanh", ["relu", "tanh"]),
        ("{name: sgd, lr: 0.1},adam", [{"name": "sgd", "lr": 0.1}, "adam"]),
        ("'a,b',c", ["a,b", "c"]),
        ("true,null,3", [True, None, 3]),
        ("log(1e-4,1e-1,4)", [1e-4, 1e-3, 1e-2, 1e-1]),
        ("log(100, 1, 3)", [100.0, 10.0, 1.0]),
        ("linspace(0,0.5,6)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ("linspace(2,3,1)", [2.0]),
        ("1..5", [1, 2, 3, 4, 5]),
        ("2..-1", [2, 1, 0, -1]),
        ("1e-3,0.001,adam,adam", [0.001, "adam"]),
        ("log(1e-4,1e-1,7)", [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2, 3.162e-2, 1e-1]),
        ("linspace(1000.5,1000.6,3)", [1000.5, 1000.55, 1000.6]),
        ("linspace(0,1,4)", [0.0, 0.3333, 0.6667, 1.0]),
        ("1..3,10", [1, 2, 3, 10]),
        ("log(1e-4,1e-1)", Range(1e-4, 1e-1, is_log=True)),
        ([1, [2], "1..3", "log(1,100,3)"], [1, [2], 2, 3, 1.0, 10.0, 100.0]),
        ("3", [3]),
        (3, [3]),
    ],
)
def test_values_are_read_as_they_are_written(written: Any, values: Any) -> None:
    assert values_of(written) == values


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("log(8,64,4)", [8, 16, 32, 64]),
        ("linspace(1,2,5)", [1, 2]),
        ("linspace(1.5,3.5,3)", [2, 3]),  # which lie between the ends
        ("log(1000000,10000019,2)", [1000000, 10000019]),  # to the last digit
        ("1.5,2", [1.5, 2]),  # written so, and refused later
        ("log(16,256)", Range(16, 256, is_log=True, is_whole=True)),
    ],
)
def test_a_range_for_a_key_that_takes_whole_numbers_holds_those(written: str, values: Any) -> None:
    found = swept_key("key", written, "here", is_whole=True).values
    assert found == values
    assert isinstance(found, Range) or [type(each) for each in found] == [type(each) for each in values]


def test_a_number_with_few_digits_stays_in_its_range() -> None:
    narrow = Range(0.123456, 0.123459, is_log=False)
    assert [narrow.tidy(each) for each in (0.123456, 0.1234589)] == [0.123456, 0.1234589]
    assert Range(0.1, 0.2, is_log=False).tidy(0.1234589) == 0.1235
    assert type(Range(2, 9, is_log=True, is_whole=True).tidy(3.4)) is int


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("log(0,1,3)", "a logarithm needs numbers above 0"),
        ("linspace(0,1e999,3)", "the ends of a range are finite"),
        ("linspace(-1e308,1e308,3)", "the ends of a range are finite"),
        ("log(1,2,0)", "a range has 1 to 10,000 values"),
        ("log(1,2", "is not a range"),
        (["log(1e-4", "1e-1", "5)"], "is not a range"),
        ("log(1,__import__('os'),3)", "is not a range"),
        ("1..99999999", "a range has 1 to 10,000 values"),
        ("1,,2", "a value is missing"),
        ("", "a value is missing"),
        ("[1,2", "this is not YAML"),
        ([], "has no values"),
        ("1,log(1,2)", "has no values to sweep"),
    ],
)
def test_what_is_no_list_of_values_is_refused(written: Any, says: str) -> None:
    with pytest.raises(UserError, match=says.replace("(", r"\(")):
        values_of(written)


def test_a_range_without_a_whole_number_is_refused() -> None:
    with pytest.raises(UserError, match="there is no whole number between the ends"):
        swept_key("key", "linspace(1.2,1.8,3)", "here", is_whole=True)


def test_values_are_shown_as_they_are_written() -> None:
    shown = [
        str(swept_key("key", written, "")) for written in ("log(1e-4,1)", "1..5", "5..3", "1,3", "[8],null")
    ]
    assert shown == ["log(0.0001,1)", "1..5", "5..3", "1, 3", "[8], null"]


def test_all_combinations_are_taken_the_last_key_first() -> None:
    found = combinations([swept_key("a", "1,2", "here"), swept_key("b", "x,y", "here")])
    assert found == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


def test_too_many_combinations_and_open_ranges_are_refused() -> None:
    with pytest.raises(UserError, match="1,000,000 combinations"):
        combinations([swept_key(key, "1..1000", "here") for key in ("a", "b")])
    with pytest.raises(UserError, match="a range without a count") as refused:
        combinations([swept_key("a", "log(1e-4,1)", "here")])
    assert "log(0.0001,1,5)" in refused.value.fix


def test_draws_are_different_within_their_ranges_and_the_same_for_a_seed() -> None:
    axes = [swept_key("a", "log(1e-4,1e-1)", "here"), swept_key("b", "x,y", "here")]
    found = draws(axes, 20)
    assert found == draws(axes, 20)
    assert found != draws(axes, 20, seed=1)
    assert len({repr(each) for each in found}) == 20
    assert all(1e-4 <= each["a"] <= 1e-1 and each["b"] in "xy" for each in found)
    assert {each["a"] < 1e-3 for each in found} == {True, False}  # by the factor, not by the difference
    assert len(draws([swept_key("b", "x,y", "here")], 20)) == 2


def test_settings_are_words_of_a_command_line() -> None:
    assert override_words(
        {"optimizer.lr": 1e-5, "architecture.hidden": [50], "monitor": None, "name": "a"}
    ) == [
        "optimizer.lr=1e-05",
        "architecture.hidden=[50]",
        "monitor=null",
        'name="a"',
    ]
