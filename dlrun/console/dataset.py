"""The facts and warnings of `dlrun data`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from dlrun.console.layout import class_name, plain_table
from dlrun.console.numbers import inputs_text, number
from dlrun.console.streams import clean, out


def print_preview(found: Mapping[str, Any]) -> None:
    """Print the facts about a dataset as tables."""
    console = out()
    counts = ", ".join(f"{split['examples']:,} {name}" for name, split in found["splits"].items())
    shape, unit = inputs_text(found["input_shape"]), f" in {found['unit']}" if found["unit"] else ""
    tokens = f" of a vocabulary of {found['vocabulary']:,} tokens" if found["vocabulary"] else ""
    about = f"{found['dataset']}: {found['task']}, inputs of {shape}{tokens}, {counts}"
    console.print(Text(clean(about)), soft_wrap=True)
    counted = next((key for key in ("classes", "labels") if key in next(iter(found["splits"].values()))), "")
    if counted:
        balance = plain_table()
        balance.add_column("label" if counted == "labels" else "class")
        for name in found["splits"]:
            balance.add_column(name, justify="right")
        for name in found["classes"]:
            cells = [f"{split[counted][name]:,}" for split in found["splits"].values()]
            balance.add_row(Text(class_name(name)), *cells)
        console.print(balance)
    ranges = plain_table()
    ranges.add_column("training split")
    for heading in ("min", "mean", "sd", "max"):
        ranges.add_column(heading, justify="right")
    rows = {"all inputs, raw": found["ranges"], "all inputs, as the model gets them": found["prepared"]}
    rows = {name: figures for name, figures in rows.items() if figures}
    rows |= found["features"]
    for name, split in found["splits"].items():
        if "target" in split:
            rows[f"{found['target'] or 'target'}{unit}, {name}"] = split["target"]
    for name, figures in rows.items():
        ranges.add_row(
            Text(clean(name[:60])), *(number(figures[key]) for key in ("min", "mean", "sd", "max"))
        )
    if rows:
        console.print(ranges)
    for text in found["warnings"]:
        console.print(Text(f"warning: {clean(text)}", "yellow"), soft_wrap=True)
