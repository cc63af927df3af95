"""The tables of a model's layers (`dlrun show`) and of the weights that it takes from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

if TYPE_CHECKING:
    from dlrun.training.layers import Layers
from dlrun.console.layout import plain_table
from dlrun.console.numbers import shape_text, value_text
from dlrun.console.streams import clean, out, print_line
from dlrun.errors import first_few


def print_layers(layers: Layers, inputs: str, freezing: str = "") -> None:
    """Print the layers of a model: output shape, parameters, multiply-adds for one example.

    `freezing` says how many parameters are frozen, in words.
    """
    console = out()
    print_line(f"input {inputs}, one example", console)
    table = plain_table()
    formulas = any(layer.formula for layer in layers.layers)
    for heading, justify in (
        ("layer", "left"),
        ("kind", "left"),
        ("output", "left"),
        ("parameters", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("multiply-adds", justify="right")
    if formulas:
        table.add_column("side")
    for layer in layers.layers:
        cells = [
            layer.name,
            layer.kind,
            shape_text(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
        ]
        cells += [layer.formula] if formulas else []
        table.add_row(*(Text(clean(cell)) for cell in cells))
    table.add_section()
    table.add_row("in all", "", "", f"{layers.parameters:,}", f"{layers.multiply_adds:,}")
    console.print(table)
    if freezing:
        print_line(f"parameters: {freezing}", console)


def print_groups(groups: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
    """Print the options that groups of weights have of their own, and the names of these weights."""
    console, table = out(), plain_table()
    for heading in ("optimizer", "weights", ""):
        table.add_column(heading, justify="right" if heading == "weights" else "left")
    for options, names in groups:
        said = ", ".join(f"{name} {value_text(value)}" for name, value in options.items())
        table.add_row(Text(clean(said or "as stated")), f"{len(names):,}", Text(clean(first_few(names, 4))))
    console.print(table)


def print_weights(weights: Mapping[str, Any]) -> None:
    """Print which weights of a model were taken from a run or a file, by their entry in summary.json."""
    from dlrun.training.initial_weights import rows_of, said_source

    console = out()
    console.print(Text(clean(said_source(weights))), soft_wrap=not console.is_terminal)
    table = plain_table()
    table.add_column("weights")
    table.add_column("tensors", justify="right")
    table.add_column("")
    for kind, count, which in rows_of(weights):
        table.add_row(kind, f"{count:,}", Text(clean(which)))
    console.print(table)
