"""A name or a category is the same in either form of Unicode: é as one sign, or as e and an accent."""

from __future__ import annotations

import unicodedata
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dlrun.data.examples import Data, NewInputs
from dlrun.dataset.csv import csv
from dlrun.errors import UserError

COMPOSED, APART = partial(unicodedata.normalize, "NFC"), partial(unicodedata.normalize, "NFD")
TOWNS = ("Köln", "Bonn", "Zürich")


def written(folder: Path, name: str = "table.csv", form: Any = COMPOSED, other: Any = None) -> Path:
    """A table in one form of Unicode, or with every second row in another."""
    path = folder / name
    rows = [f"{TOWNS[n % 3]},{n % 7},{n}" for n in range(60)]
    forms = (form, other or form)
    path.write_text("\n".join([form("Städt,x,Größe"), *(forms[n % 2](row) for n, row in enumerate(rows))]))
    return path


def data_of(path: Path, known: Any = None, **options: Any) -> Data:
    return csv(path.parent, known, path=str(path), **{"target": "Größe"} | options)


def inputs_of(data: Data) -> list[list[float]]:
    return sorted(torch.cat([some.inputs for some in data.read().values()]).tolist())


def test_categories_in_two_forms_are_one(tmp_path: Path) -> None:
    plain = data_of(written(tmp_path))
    mixed = data_of(written(tmp_path, "mixed.csv", COMPOSED, APART))
    assert mixed.features == plain.features == ("Städt=Bonn", "Städt=Köln", "Städt=Zürich", "x")
    assert inputs_of(mixed) == inputs_of(plain)
    classes = data_of(tmp_path / "mixed.csv", target="Städt", task="classification")
    assert classes.classes == ("Bonn", "Köln", "Zürich")
    counts = sum(some.targets.bincount(minlength=3) for some in classes.read().values())
    assert counts.tolist() == [20, 20, 20]


@pytest.mark.parametrize(("form", "of_names"), [(APART, COMPOSED), (COMPOSED, APART)], ids=["NFD", "NFC"])
def test_an_option_names_a_column_in_either_form(tmp_path: Path, form: Any, of_names: Any) -> None:
    path = written(tmp_path, form=form)
    data = data_of(path, target=of_names("Größe"), categorical=[of_names("Städt")])
    assert len(data.features) == 4 and data.target == of_names("Größe")
    assert data_of(path, target=of_names("Größe"), inputs=[of_names("Stä*")]).shape == (3,)
    assert data_of(path, target=of_names("Größe"), ignore=[of_names("Städt")]).features == ("x",)
    assert data_of(path, target=of_names("Größe"), stratify=of_names("Städt")).shape == (4,)
    with pytest.raises(UserError, match="there is no column 'Stadt'"):
        data_of(path, target=of_names("Größe"), group="Stadt")


def test_a_trained_model_reads_a_file_in_the_other_form(tmp_path: Path) -> None:
    first = data_of(written(tmp_path))
    other = written(tmp_path, "other.csv", APART)
    again = data_of(other, dict(first.known), **first.guessed)
    assert inputs_of(again) == inputs_of(first) and again.notes == []
    assert first.read_new is not None
    (piece,) = first.read_new(other)
    assert isinstance(piece, NewInputs) and sorted(piece.inputs.tolist()) == inputs_of(first)


def test_a_model_of_before_keeps_two_categories_that_differ_in_form(tmp_path: Path) -> None:
    path = written(tmp_path, "mixed.csv", COMPOSED, APART)
    first = data_of(path)
    both = ["Bonn", COMPOSED("Köln"), APART("Köln"), "Zürich"]
    known = dict(first.known) | {"categories": {"Städt": both}}
    data = data_of(path, known, **first.guessed)
    learnt_again = data_of(path, keys_by="cells").known["categories"]["Städt"]
    assert {*learnt_again} == {form(town) for town in TOWNS for form in (COMPOSED, APART)}, "by a resume"
    assert sum(some.inputs[:, :4].sum(0) for some in data.read().values()).tolist() == [20, 10, 10, 20]
