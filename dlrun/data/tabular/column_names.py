"""Names of columns in options, which name a column of a file in whatever form of Unicode either is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from unicodedata import normalize

from dlrun.data.composed import composed
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.refusals import needed_columns


def names_in(options: TableOptions) -> list[str]:
    """The columns that options name, without patterns."""
    columns = [*needed_columns(options), *options.named_inputs]
    for more in (options.categorical, options.dates, options.missing):
        columns += [] if isinstance(more, str) else more  # auto, or a treatment of all columns
    return columns


def forms_of(names: Iterable[str]) -> list[str]:
    """Some names in both forms of Unicode, as a file may have them."""
    return [form for name in names for form in dict.fromkeys((name, composed(name), normalize("NFD", name)))]


def as_named(table: Table, names: Iterable[str]) -> Table:
    """The table with its columns called by names that differ from theirs in the form of Unicode alone."""
    others = {composed(name): name for name in names if not name.isascii() and name not in table.columns}
    if not others:
        return table
    columns = {others.get(composed(name), name): column for name, column in table.columns.items()}
    return replace(table, columns=columns) if len(columns) == len(table.columns) else table
