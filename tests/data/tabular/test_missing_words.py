"""Words that training reads as missing are missing in every later file too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dlrun.data.examples import Data, NewInputs
from dlrun.data.tabular import new_rows
from dlrun.dataset.csv import csv
from dlrun.errors import UserError

WORDS = ["k.A.", "?", "N.A.", "n/d", "-", "#NV", "inf"]


def data_of(folder: Path, incomes: list[str], known: Any = None, **options: Any) -> Data:
    path = folder / "table.csv"
    rows = [f"{income},{n % 7}.5,{n}" for n, income in enumerate(incomes)]
    path.write_text("\n".join(["income,age,y", *rows]) + "\n")
    return csv(folder, known, **{"path": str(path), "target": "y"} | options)


def new_file(folder: Path, cells: list[str]) -> Path:
    path = folder / "new.csv"
    path.write_text("\n".join(["income,age,y", *(f"{cell},1.5,2" for cell in cells)]) + "\n")
    return path


def predicted(data: Data, path: Path) -> tuple[torch.Tensor, dict[str, str]]:
    """The inputs of a file, and the problem of each row without any by its name."""
    assert data.read_new is not None
    pieces = [piece for piece in data.read_new(path) if isinstance(piece, NewInputs)]
    problems = {piece.names[row]: why for piece in pieces for row, why in piece.refused.items()}
    return torch.cat([torch.as_tensor(piece.inputs) for piece in pieces]), problems


@pytest.mark.parametrize("held", ["", "k.A."])
def test_what_training_would_read_as_missing_is_missing_in_new_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setattr(new_rows, "_AT_ONCE", 2)
    first = data_of(tmp_path, [f"{n}.5" if n % 9 else held for n in range(60)])
    data = csv(
        tmp_path,
        dict(first.known),
        path=str(tmp_path / "table.csv"),
        **{"target": "y", **first.guessed},
    )
    words, _ = predicted(data, new_file(tmp_path, [*WORDS, "3.5"]))
    said, filled = data.notes
    blanks, _ = predicted(data, new_file(tmp_path, ["" for _ in WORDS] + ["3.5"]))
    assert torch.equal(words.nan_to_num(-1), blanks.nan_to_num(-1))
    assert said.startswith("read as missing: ") and all(
        (word == held) or repr(word) in said for word in WORDS
    )
    assert "7 cells are missing" in filled
    data.notes.clear()
    _, problems = predicted(data, new_file(tmp_path, ["wide", "k.A"]))
    assert list(problems.values()) == ["income: 'wide' is no number", "income: 'k.A' is no number"]


def test_they_are_missing_in_rows_that_are_judged(tmp_path: Path) -> None:
    data = data_of(tmp_path, [f"{n}.5" if n % 9 else "" for n in range(60)])
    assert data.read_labelled is not None
    held = data.read_labelled(new_file(tmp_path, WORDS)).inputs
    assert torch.equal(
        held.nan_to_num(-1), data.read_labelled(new_file(tmp_path, [""] * 7)).inputs.nan_to_num(-1)
    )
    assert any("read as missing: 'k.A.' (in income)" in note for note in data.notes)


def test_where_nothing_is_guessed_they_are_no_numbers(tmp_path: Path) -> None:
    data = data_of(tmp_path, [f"{n}.5" if n % 9 else "" for n in range(60)], read="strict")
    _, problems = predicted(data, new_file(tmp_path, ["k.A.", "1.5"]))
    assert problems == {"row 2": "income: 'k.A.' is no number"}
    assert data.read_labelled is not None
    with pytest.raises(UserError, match="1 cell is unreadable: income in row 2"):
        data.read_labelled(tmp_path / "new.csv")


def test_nothing_stands_in_for_a_date_that_the_model_needs(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [f"2020-01-{n % 28 + 1:02},{n % 7}.5,{n}" for n in range(60)]
    path.write_text("\n".join(["when,age,y", *rows]) + "\n")
    data = csv(tmp_path, path=str(path), target="y", date=["when"], date_cycles=["week"], split="random")
    new = tmp_path / "new.csv"
    new.write_text("when,age\n,1.5\n2020-03-01,2.5\n")
    inputs, problems = predicted(data, new)
    assert problems == {"row 2": "when: there is no value"} and len(inputs) == 1
