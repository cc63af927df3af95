"""Names that differ in case or spaces alone are different categories and classes, which is said."""

from __future__ import annotations

from pathlib import Path

from dlrun.data.examples import Data
from dlrun.dataset.csv import csv


def data_of(folder: Path, towns: tuple[str, ...], labels: tuple[str, ...] = ("yes", "no")) -> Data:
    rows = [f"{towns[n % len(towns)]},{n % 7},{labels[n % len(labels)]}" for n in range(90)]
    (folder / "table.csv").write_text("\n".join(["town,x,label", *rows]))
    return csv(folder, None, path="table.csv", target="label", task="classification")


def said_of(data: Data) -> list[str]:
    return [finding for finding in data.findings if "case or spaces" in finding]


def test_spellings_of_a_category_are_several_and_said(tmp_path: Path) -> None:
    data = data_of(tmp_path, ("New York", "new york", "NewYork", "Bonn"))
    assert {name for name in data.features if "town" in name} == {
        "town=New York",
        "town=new york",
        "town=NewYork",
        "town=Bonn",
    }
    [said] = said_of(data)
    assert said.startswith("town: ") and "'NewYork'" in said and "write them alike if they are one" in said
    assert "Bonn" not in said


def test_spellings_of_a_class_are_several_and_said(tmp_path: Path) -> None:
    data = data_of(tmp_path, ("Bonn", "Rome"), ("Cat", "cat", "dog"))
    assert data.classes == ("Cat", "cat", "dog")
    assert said_of(data) == [
        "label: 'Cat', 'cat' differ in case or spaces alone; write them alike if they are one"
    ]


def test_letters_and_different_words_are_no_spellings(tmp_path: Path) -> None:
    assert not said_of(data_of(tmp_path, ("a", "A", "Rome", "Roma"), ("b", "B")))
