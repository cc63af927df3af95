"""A table that is written in another way keeps its splits: a row's key is that of what its cells mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import planned, trained

from dlrun.config.loading import load_run_config
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.data.table_files.columns import column_of, plain_number
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import Reading
from dlrun.data.tabular.row_keys import row_keys
from dlrun.dataset.csv import csv
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_making import make_plan

Cell = str | int | float
HEADER = ["day", "Größe", "price", "count", "gap", "y"]
TOWNS = ("Köln", "Bonn", "Zürich")
ROWS: list[tuple[Cell, ...]] = [
    (
        f"{2000 + n % 20}-{n % 12 + 1:02}-{n % 28 + 1:02}",
        TOWNS[n % 3],
        n * 97.25,
        n * 1037,
        "" if n % 9 == 0 else n / 8,
        n * 31.5,
    )
    for n in range(60)
]


def as_comma(cell: Cell) -> str:
    return str(cell).replace(".", ",") if isinstance(cell, float) else str(cell)


def as_thousands(cell: Cell) -> str:
    return str(cell) if isinstance(cell, str) else f"{cell:,}"


def as_german(cell: Cell) -> str:
    if isinstance(cell, str):
        return ".".join(reversed(cell.split("-"))) if cell.startswith("20") else cell
    return f"{cell:,}".translate(str.maketrans(",.", ".,"))


def written(
    folder: Path,
    name: str = "table.csv",
    said: Callable[[Cell], str] = str,
    *,
    separator: str = ",",
    quote: str = "",
    end: str = "\n",
    encoding: str = "utf-8",
    columns: Sequence[int] = range(len(HEADER)),
    rows: Sequence[Sequence[Cell]] = ROWS,
) -> Path:
    lines = [HEADER, *([said(cell) for cell in row] for row in rows)]
    text = "".join(separator.join(f"{quote}{row[at]}{quote}" for at in columns) + end for row in lines)
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def data_of(path: Path, known: Any = None, **options: Any) -> Data:
    return csv(path.parent, known, path=str(path), target="y", **options)


def keys_of(data: Data) -> dict[str, list[int]]:
    """The keys of each split, in order."""
    return {name: sorted(some.keys.tolist()) for name, some in data.read().items() if some.keys is not None}


@pytest.mark.parametrize(
    "way",
    [
        {"quote": '"', "end": "\r\n"},
        {"encoding": "utf-16", "separator": "\t"},
        {"encoding": "utf-8-sig", "columns": [5, 2, 0, 1, 4, 3]},
        {"rows": ROWS[::-1]},
        {"said": as_comma, "separator": ";"},
        {"said": as_thousands, "quote": '"'},
        {"said": as_german, "separator": ";"},
        {"said": lambda cell: f"{cell}.0" if isinstance(cell, int) else str(cell)},
        {"said": lambda cell: f"${cell}" if isinstance(cell, float) else str(cell)},
        {"said": lambda cell: "?" if cell == "" else str(cell)},
        {"said": lambda cell: unicodedata.normalize("NFD", str(cell))},
    ],
    ids=["quotes", "encoding", "columns", "rows", "comma", "thousands", "german", "1.0", "$", "?", "NFD"],
)
def test_a_table_written_in_another_way_has_the_same_splits(tmp_path: Path, way: dict[str, Any]) -> None:
    first = data_of(written(tmp_path))
    again = data_of(written(tmp_path, "again.csv", **way))
    assert keys_of(again) == keys_of(first)
    assert len({key for keys in keys_of(first).values() for key in keys}) == 60, "other rows, other keys"


def test_a_trained_model_knows_its_rows_in_another_way_of_writing(tmp_path: Path) -> None:
    dataset = {"name": "csv", "path": str(written(tmp_path)), "target": "y", "thousands": ","}
    run = trained(planned(dataset=dataset, loss="mse", metrics=["mae"]), tmp_path / "runs")
    other = written(tmp_path, "again.csv", as_thousands, quote='"')
    model, _ = open_checkpoint(run.best, run, [f"dataset.path={other}"], Parts(), tmp_path)
    seen = model.seen("train")
    assert seen is not None and bool(seen.all()) and model.left_out == {}


def test_groups_stand_together_in_any_form_of_unicode(tmp_path: Path) -> None:
    groups = [f"Zürich {n % 15}" for n in range(60)]
    both = [unicodedata.normalize(("NFC", "NFD")[n % 2], group) for n, group in enumerate(groups)]
    found = [
        keys_of(
            data_of(written(tmp_path, rows=[(n, each, *row[2:]) for n, (each, row) in rows]), group="Größe")
        )
        for some in (groups, both)
        for rows in [[*enumerate(zip(some, ROWS, strict=True))]]
    ]
    assert found[0] == found[1]


def test_the_keys_of_an_earlier_run_are_as_they_were(tmp_path: Path) -> None:
    columns = {"x": ["1,070", "2.0", ""], "k": ["Ko\u0308ln", "a", "1"]}
    told = [4953225961053211091, -3104133209236817693, -57507502815142083]  # by the dlrun of before
    assert row_keys({name: column_of(cells) for name, cells in columns.items()}).tolist() == told
    path = written(tmp_path)
    first = data_of(path, test_fraction=0.5, valid_fraction=0.0)
    earlier = {name: each for name, each in first.known.items() if name != "keys_by"}
    then = data_of(path, earlier, **first.guessed, test_fraction=0.5, valid_fraction=0.0)
    table = read_table(path, Reading())
    expected = row_keys({name: table.columns[name] for name in HEADER}).tolist()
    assert sorted(key for keys in keys_of(then).values() for key in keys) == sorted(expected)
    assert then.known["keys_by"] == "cells"
    with pytest.raises(ValueError, match="the stored rule of keys is none"):
        data_of(path, earlier | {"keys_by": "rows"})


def test_a_run_of_before_learns_the_same_again(tmp_path: Path) -> None:
    copied = [(1000 + 7 * (n if n % 20 else max(0, n - 1)), *row) for n, row in enumerate(ROWS)]
    path = tmp_path / "ids.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in (["user_id", *HEADER], *copied)))
    dataset: dict[str, Any] = {"name": "csv", "path": str(path), "target": "y", "keys_by": "cells"}
    first = planned(dataset=dataset, loss="mse", metrics=["mae"])
    run = trained(first, tmp_path / "runs")
    run.config.write_text(re.sub("\n *keys_by: cells", "", run.config.read_text()))  # as of before
    again = make_plan(load_run_config(run.config), Parts(), tmp_path)
    assert again.load().fingerprint == first.load().fingerprint
    assert again.data.features[0] == "user_id" not in data_of(path).features
    assert keys_of(again.data) == keys_of(first.data) != keys_of(data_of(path))


def test_a_key_says_what_a_row_holds_whatever_the_order_of_columns() -> None:
    one = {"a": column_of(["1", "2", ""]), "b": column_of(["x", "y", "x"])}
    other = {"b": column_of(["x", "y", "x"]), "a": column_of(["1.0", "2", "NA"])}
    swapped = {"b": one["a"], "a": one["b"]}
    assert torch.equal(row_keys(one), row_keys(other))
    assert not set(row_keys(one).tolist()) & set(row_keys(swapped).tolist())


def test_truths_have_one_key_however_they_are_spelled_and_other_texts_their_own() -> None:
    spelled, stored, others = (
        row_keys({"b": column_of(cells)}, plain_number)
        for cells in (["True", "FALSE", ""], ["true", "false", ""], ["True", "false", "yes"])
    )
    assert torch.equal(spelled, stored)
    assert others[1] == stored[1] and others[0] != stored[0]
