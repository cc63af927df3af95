"""The predictions of a model for new inputs (`dlrun predict`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

from rich.text import Text

from dlrun.console.layout import plain_table
from dlrun.console.numbers import number
from dlrun.console.streams import clean, out, say, say_line
from dlrun.results.prediction import PROBLEM
from dlrun.results.prediction_rows import cell_text, columns_of, csv_text, flat_row, for_csv

_MOST_AT_ONCE = 10_000  # rows of a table, which is laid out as a whole
_MOST_SHOWN = 1000  # characters of a text before its continuation


def print_predictions(rows: Iterable[Mapping[str, Any]], unit: str) -> Iterator[Mapping[str, Any]]:
    """Print a table with the prediction for each input, and yield them; very many are in several tables.

    Texts that were continued are printed as they are, several with their names.
    """
    left = iter(rows)
    while block := list(islice(left, _MOST_AT_ONCE)):
        _print_table(block, unit)
        yield from block


def _print_table(rows: Sequence[Mapping[str, Any]], unit: str) -> None:
    """Print some predictions; of many classes the three with the largest shares."""
    if "continuation" in rows[0]:
        for row in rows:
            if len(rows) > 1:
                say_line(f"--- {row['input']}")
            prompt = row["prompt"]
            shown = prompt if len(prompt) <= _MOST_SHOWN else f"…{prompt[-_MOST_SHOWN:]}"
            say((shown + row["continuation"]).expandtabs())
        return
    table = plain_table()
    flat = [flat_row(row) for row in rows]
    full = next((own for row, own in zip(rows, flat, strict=True) if PROBLEM not in row), flat[0])
    headings = [*(key for key in full if key != PROBLEM), *[PROBLEM] * any(PROBLEM in row for row in rows)]
    for heading in headings:
        plain = (*columns_of(rows[0]), "input", "sd", PROBLEM)
        words = heading.replace("_", " ") + (f", {unit}" if unit and heading not in plain else "")
        is_text = isinstance(full.get(heading, ""), str)
        table.add_column(Text(clean(words)), justify="left" if is_text else "right")
    of_classes = any("probabilities" in row for row in rows)
    if of_classes:
        table.add_column("next")
    of_shares = any("shares" in row for row in rows)
    if of_shares:
        table.add_column("largest shares")
    for row, cells in zip(rows, flat, strict=True):
        own = [cells.get(heading, "") for heading in headings]
        texts = [number(each) if isinstance(each, float) else cell_text(each) for each in own]
        if of_classes:
            # by a threshold the predicted class need not be the most probable one
            predicted = {row.get("class"), *row.get("labels", ())}
            others = [item for item in row.get("probabilities", {}).items() if item[0] not in predicted]
            ranked = sorted(others, key=lambda item: -item[1])[:2]
            texts.append(", ".join(f"{name} {number(share)}" for name, share in ranked))
        if of_shares:
            ranked = sorted(row.get("shares", {}).items(), key=lambda item: -item[1])[:3]
            texts.append(", ".join(f"{name} {number(share)}" for name, share in ranked if share))
        table.add_row(*(Text(clean(text)) for text in texts))
    out().print(table)


def print_predictions_csv(
    rows: Iterable[Mapping[str, Any]], *, with_problems: bool
) -> Iterator[Mapping[str, Any]]:
    """Print each row as CSV as soon as it is there, with a column for the figure of each class; yield it.

    The last column is, on request, the `problem` of an input without a prediction, whose other cells are
    blank.
    """
    stream = out().file  # looked up once, for this takes longer than a row
    waiting: list[Mapping[str, Any]] = []  # for the first prediction, which has the names of the columns
    headings: list[str] = []
    for row in rows:
        waiting.append(row)
        if not headings and PROBLEM not in row:
            headings = [*for_csv(row), *[PROBLEM] * with_problems]
            _print_cells(stream, [headings])
        if headings:
            cells = map(for_csv, waiting)
            _print_cells(stream, ([own.get(key, "") for key in headings] for own in cells))
            yield from waiting
            waiting.clear()
    if waiting:  # none could be predicted
        headings = [*for_csv(waiting[0])]
        cells = map(for_csv, waiting)
        _print_cells(stream, [headings, *([own[key] for key in headings] for own in cells)])
        yield from waiting


def _print_cells(stream: IO[str], lines: Iterable[Iterable[Any]]) -> None:
    stream.write(clean(csv_text(lines)))
    stream.flush()
