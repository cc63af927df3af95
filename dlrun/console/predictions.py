"""The predictions of a model for new inputs (`dlrun predict`)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from rich.text import Text

from dlrun.console.layout import plain_table
from dlrun.console.numbers import number
from dlrun.console.streams import clean, out, say, say_line
from dlrun.data.csv_files import cell

OF_CLASSES = {"probabilities": "probability", "shares": "share"}  # entries with a figure for each class
_MOST_SHOWN = 1000  # characters of a text before its continuation


def print_predictions(rows: Sequence[Mapping[str, Any]], unit: str) -> None:
    """Print a table with the prediction for each input; of many classes the three with the largest shares.

    Texts that were continued are printed as they are, several with their names.
    """
    if "continuation" in rows[0]:
        for row in rows:
            if len(rows) > 1:
                say_line(f"--- {row['input']}")
            prompt = row["prompt"]
            shown = prompt if len(prompt) <= _MOST_SHOWN else f"…{prompt[-_MOST_SHOWN:]}"
            say((shown + row["continuation"]).expandtabs())
        return
    table = plain_table()
    flat = [_without_shares(row) for row in rows]
    for heading in flat[0]:
        words = heading.replace("_", " ") + (f", {unit}" if unit and heading not in ("input", "sd") else "")
        is_text = isinstance(flat[0][heading], str)
        table.add_column(Text(clean(words)), justify="left" if is_text else "right")
    of_classes = "probabilities" in rows[0]
    if of_classes:
        table.add_column("next")
    if "shares" in rows[0]:
        table.add_column("largest shares")
    for row, cells in zip(rows, flat, strict=True):
        texts = [number(own) if isinstance(own, float) else _text(own) for own in cells.values()]
        if of_classes:
            ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])[1:3]
            texts.append(", ".join(f"{name} {number(share)}" for name, share in ranked))
        if "shares" in row:
            ranked = sorted(row["shares"].items(), key=lambda item: -item[1])[:3]
            texts.append(", ".join(f"{name} {number(share)}" for name, share in ranked if share))
        table.add_row(*(Text(clean(text)) for text in texts))
    out().print(table)


def print_predictions_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the prediction for each input as CSV, with a column for the figure of each class."""
    lines = StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    of_classes = {key: word for key, word in OF_CLASSES.items() if key in rows[0]}
    headings = [f"{word} of {name}" for key, word in of_classes.items() for name in rows[0][key]]
    writer.writerow(map(cell, [*_without_shares(rows[0]), *headings]))
    for row in rows:
        shares = [share for key in of_classes for share in row[key].values()]
        writer.writerow(
            cell(own if isinstance(own, float | int) else _text(own))
            for own in (*_without_shares(row).values(), *shares)
        )
    out().file.write(clean(lines.getvalue()))


def _text(value: Any) -> str:
    """A cell as text; labels are separated by commas."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _without_shares(row: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a row that are no figure for each class."""
    return {key: value for key, value in row.items() if key not in OF_CLASSES}
