"""The results of `dlrun export`."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from dlrun.console.calibration import print_calibrated
from dlrun.console.layout import plain_table
from dlrun.console.numbers import seeds_text
from dlrun.console.streams import clean, out, print_line
from dlrun.results.export import Exported
from dlrun.system.files import size_text


def print_export(exported: Exported) -> None:
    """Print what the file takes and gives, and how near to dlrun that is."""
    console, about = out(), exported.description
    epochs = sorted({*about["epochs"]})
    of_epochs = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
    seeds = about["seeds"]
    of_seeds = f"the mean of seeds {seeds_text(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]}"
    weights = f", {about['weights']} weights" if "weights" in about else ""
    print_line(f"{about['run']}, {of_epochs}, {of_seeds}{weights}", console)
    table = plain_table()
    for heading in ("", "name", "shape", "type"):
        table.add_column(heading)
    for kind in ("inputs", "outputs"):
        for own in about[kind]:
            table.add_row(kind[:-1], Text(clean(own["name"])), _shape(own["shape"]), own["dtype"])
    console.print(table)
    print_calibrated(about)
    for note in exported.notes:
        print_line(note, console, "yellow")
    of = f"{exported.split} examples" if exported.split else "random inputs"
    said = f"{exported.examples} {of}, the largest difference from dlrun is {exported.difference:.1g}"
    print_line(f"loaded again and compared on {said}", console)
    opset = f", opset {about['opset']}" if "opset" in about else ""
    print_line(f"{exported.path}: {size_text(exported.path.stat().st_size)}{opset}", console)


def _shape(shape: list[Any]) -> str:
    return f"({', '.join(map(str, shape))})"
