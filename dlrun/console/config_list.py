"""The list of the configs that are shipped with dlrun (`dlrun configs`)."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from dlrun.console.layout import plain_table
from dlrun.console.streams import out, print_line


def print_configs(configs: Mapping[str, str], sweeps: Mapping[str, str]) -> None:
    """Print the names of configs and of sweeps, each with its comment."""
    console = out()
    table = plain_table()
    table.add_column("config", no_wrap=True)
    table.add_column("about")
    for several in (configs, sweeps):
        for name, about in several.items():
            table.add_row(Text(name, "bold"), Text(about))
        table.add_section()
    console.print(table)
    if console.is_terminal:
        print_line("dlrun show NAME --yaml > my.yaml writes one out, to be changed", console)
