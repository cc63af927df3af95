"""The facts and warnings of `dlrun data`, and the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from dlrun.config.dumping import dump
from dlrun.console.layout import plain_table, short_names
from dlrun.console.numbers import inputs_text, number
from dlrun.console.streams import clean, out, print_line, print_unbroken, print_warning
from dlrun.results.table_columns import ColumnFacts, grouped

_MOST_COLUMNS = 60  # lines of a table of columns
_LONG = 20  # columns in an option: more are not written out


def print_preview(found: Mapping[str, Any]) -> None:
    """Print the facts about a dataset as tables."""
    console = out()
    counts = ", ".join(f"{split['examples']:,} {name}" for name, split in found["splits"].items())
    shape, unit = inputs_text(found["input_shape"]), f" in {found['unit']}" if found["unit"] else ""
    tokens = f" of a vocabulary of {found['vocabulary']:,} tokens" if found["vocabulary"] else ""
    made_up = " (synthetic)" if found["synthetic"] else ""
    about = f"{found['dataset']}{made_up}: {found['task']}, inputs of {shape}{tokens}, {counts}"
    print_line(about, console)
    counted = next((key for key in ("classes", "labels") if key in next(iter(found["splits"].values()))), "")
    if counted:
        balance = plain_table()
        balance.add_column("label" if counted == "labels" else "class")
        for name in found["splits"]:
            balance.add_column(name, justify="right")
        for name, short in zip(found["classes"], short_names(found["classes"]), strict=True):
            cells = [f"{split[counted][name]:,}" for split in found["splits"].values()]
            balance.add_row(Text(short), *cells)
        console.print(balance)
    ranges = plain_table()
    ranges.add_column("training split")
    for heading in ("min", "mean", "sd", "max"):
        ranges.add_column(heading, justify="right")
    # raw ones together say something only if they are of one kind, such as pixels, unlike numbers and dates
    is_vector = isinstance(found["input_shape"], list) and len(found["input_shape"]) == 1
    raw = {} if is_vector else {"all inputs, raw": found["ranges"]}
    rows = raw | {"all inputs, as the model gets them": found["prepared"]}
    rows = {name: figures for name, figures in rows.items() if figures} | found["features"]
    for name, split in found["splits"].items():
        if "target" in split:
            rows[f"{found['target'] or 'target'}{unit}, {name}"] = split["target"]
        for target, figures in split.get("targets", {}).items():
            rows[f"{target}{unit}, {name}"] = figures
    for short, figures in zip(short_names(rows, 60), rows.values(), strict=True):
        ranges.add_row(Text(short), *(number(figures[key]) for key in ("min", "mean", "sd", "max")))
    if rows:
        console.print(ranges)
    for text in found["findings"]:
        print_line(text, console)
    for text in found["warnings"]:
        print_warning(text, console)


def print_columns(columns: Sequence[ColumnFacts]) -> None:
    """Print a line for each column of a table.

    Alike neighbours are one line; of too many lines those that tell most of the target are printed.
    """
    lines = list(grouped(columns))
    by_tells = sorted(range(len(lines)), key=lambda place: _rank(lines[place]), reverse=True)
    shown = [lines[place] for place in sorted(by_tells[:_MOST_COLUMNS])]
    table = plain_table()
    table.add_column("column")
    table.add_column("kind")
    for heading in ("missing", "different", "from", "to"):
        table.add_column(heading, justify="right")
    table.add_column("most frequent")
    table.add_column("tells", justify="right")
    table.add_column("")
    for each, short in zip(shown, short_names(each.name for each in shown), strict=True):
        usual = f"{each.usual[:24]} ({each.share:.0%})" if each.usual else ""
        tells = "" if each.tells is None else f"{each.tells:.2f}"
        kind = f"{each.count:,} {each.kind}s" if each.count > 1 else each.kind
        counts = (f"{each.missing:,}" if each.missing else "", f"{each.different:,}")
        texts = (short, kind, *counts, each.low, each.high, usual, tells, each.remark)
        table.add_row(*(Text(clean(text)) for text in texts))
    console = out()
    console.print(table)
    if len(shown) < len(lines):
        print_line(f"{len(lines) - len(shown):,} more tell less; --json has all of them", console)
    if any(each.tells is not None for each in columns):
        print_line("tells: the share of the target that a column alone tells, judged on other rows", console)


def _rank(column: ColumnFacts) -> tuple[bool, float]:
    return column.is_target, column.tells or 0.0


def print_dataset(name: str, options: Mapping[str, Any]) -> None:
    """Print the lines of a config for a dataset as it was understood, below a line that says so.

    Long lists of columns are left out.
    """
    short = {key: each for key, each in options.items() if not isinstance(each, list) or len(each) <= _LONG}
    text = f"in a config, with what was guessed:\n{dump({'dataset': {'name': name} | short})}"
    print_unbroken(text, out())
