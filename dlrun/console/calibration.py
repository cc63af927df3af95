"""The results of `dlrun calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlrun.console.layout import plain_table
from dlrun.console.numbers import of_seeds
from dlrun.console.streams import out, print_line


def print_calibration(report: Mapping[str, Any], file: Path) -> None:
    """Print the temperatures, and each figure before and after."""
    console = out()
    each = f"temperature {of_seeds(report['temperatures'])}"
    examples = f"fitted on {report['examples']['valid']:,} validation examples"
    print_line(f"{report['run'] or report['checkpoint']}, {each}, {examples}", console)
    table = plain_table()
    for heading in ("", "as trained", "calibrated"):
        table.add_column(heading, justify="right" if heading else "left")
    for split, of_split in report["figures"].items():
        for figure, before in of_split["before"].items():
            table.add_row(f"{split}_{figure}", of_seeds(before), of_seeds(of_split["after"][figure]))
    console.print(table)
    print_line(f"eval, plot and predict use it from now on: {file}", console)
