"""Rows of predictions as CSV, in the terminal and in files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from io import StringIO
from math import isfinite
from struct import pack, unpack
from typing import Any

from dlrun.data.table_files.csv_files import cell
from dlrun.results.prediction import FAR

OF_CLASSES = {"probabilities": "probability", "shares": "share"}  # entries with a figure for each class
_MOST = 3e38  # of float32, nearly


def for_csv(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as cells by their headings, those of the classes behind the others."""
    shares = {
        f"{word} of {name}": share
        for key, word in OF_CLASSES.items()
        for name, share in row.get(key, {}).items()
    }
    return flat_row(row) | shares


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """Lines of cells as CSV."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for cells in lines:
        writer.writerow(
            cell(_number(own) if isinstance(own, float | int) else cell_text(own)) for own in cells
        )
    return text.getvalue()


def _number(value: float) -> float:
    """A number; one of float32 by the fewest digits that mean it: 18789.64 instead of 18789.640625."""
    if not isinstance(value, float) or not isfinite(value) or abs(value) > _MOST or _single(value) != value:
        return value
    shorter = (float(f"{value:.{digits}g}") for digits in range(6, 10))
    return next((each for each in shorter if _single(each) == value), value)


def _single(value: float) -> float:
    """The nearest number of float32."""
    nearest: float = unpack("f", pack("f", value))[0]
    return nearest


def cell_text(value: Any) -> str:
    """A cell as text; labels are separated by commas."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def columns_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells that are carried from the file, by headings that no entry of a prediction has."""
    return {f"{name} (given)": text for name, text in row.get("columns", {}).items()}


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a row that are no figure for each class, with those carried from its file."""
    rest = {key: value for key, value in row.items() if key not in (*OF_CLASSES, "columns", "input", FAR)}
    return {"input": row["input"]} | columns_of(row) | rest
