"""The table of a new run with its options settled: as they are stated, and beside that as it suggests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from typing import Any

from dlrun.data.table_files.tables import Reading, Table
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.guesses import codes_among, settled, without_words
from dlrun.data.tabular.refusals import (
    header_remedy,
    needed_columns,
    refuse_missing_columns,
    refuse_other_roles_of_weights,
    some_columns,
)
from dlrun.errors import UserError, listed

_AUTO = ("categorical", "dates")  # options that may be found by looking at the columns

# The columns that keep their texts, and how the file is to be read -> the table.
Read = Callable[[Sequence[str], Reading], Table]


@dataclass
class SettledTable:
    """A table and its options, of which those that it suggested are `guessed`; `findings` say each guess."""

    table: Table
    options: TableOptions
    guessed: dict[str, Any]
    findings: list[str]

    def leave_out(self, columns: Sequence[str], why: str) -> None:
        """Take some columns out of the inputs."""
        ignore = (*self.options.ignore, *map(escape, columns))
        self.options = replace(self.options, ignore=ignore)
        self.guessed["ignore"] = list(ignore)
        self.findings.append(f"left out: {some_columns(columns)} ({why})")


def settled_table(read: Read, options: TableOptions) -> SettledTable:
    """Read a table and settle its options. Raises UserError with all mistakes that are seen."""
    table = read(options.texts, options.reading)
    targets = named_targets(options.targets, table)
    guessed = dict(table.guessed)
    if targets != options.targets:
        guessed["target"] = list(targets) if len(targets) > 1 else targets[0]
    options = replace(options, target=targets[0], other_targets=targets[1:])
    refuse_other_roles_of_weights(options, table.source)
    is_earlier = options.keys_by == "cells" and not options.reading.is_strict  # they were not looked for
    refuse_missing_columns(table, [*needed_columns(options), *(() if is_earlier else _named(options))])
    found = SettledTable(table, options, guessed, list(table.notes))
    return _strict(found) if options.reading.is_strict else _guessed(found, read)


def _named(options: TableOptions) -> list[str]:
    """The columns that options of the inputs name, without patterns; a lag is no column of the table."""
    named = [name for key in _AUTO if (each := getattr(options, key)) != "auto" for name in each]
    named += options.missing if isinstance(options.missing, Mapping) else ()
    return [name for name in (*named, *options.named_inputs) if name not in (*options.lagged, "*")]


def _strict(stated: SettledTable) -> SettledTable:
    """Take the options as they are stated."""
    table, options = stated.table, stated.options
    options = replace(
        options,
        categorical=() if options.categorical == "auto" else options.categorical,
        dates=() if options.dates == "auto" else options.dates,
    )
    return replace(stated, table=without_words(table, options.reading.na_values), options=options)


def _guessed(stated: SettledTable, read: Read) -> SettledTable:
    """Guess the options that are open by the columns, some of which are read again for that."""
    table, options = stated.table, stated.options
    guessed, findings = dict(stated.guessed), list(stated.findings)
    if decimal := table.guessed.get("decimal"):
        options = replace(options, reading=replace(options.reading, decimal=decimal))
    texts = options.texts
    if codes := codes_among(table, options):
        texts = (*texts, *codes)
        table = read(texts, options.reading)
    found = settled(without_words(table, options.reading.na_values), options)
    if "decimal" in found.changed:  # cells such as 1.000 were read with a point
        options = replace(options, reading=replace(options.reading, decimal=found.changed["decimal"]))
        guessed["decimal"] = found.changed["decimal"]
        findings.append("numbers have decimal commas")
        table = read(texts, options.reading)
        found = settled(without_words(table, options.reading.na_values), options)
    table, options = found.table, found.options
    if commas := _with_commas(table, options):
        again = read([*options.texts, *commas], options.reading).columns
        spelt = replace(table, columns={**table.columns, **{name: again[name] for name in commas}})
        table = without_words(spelt, options.reading.na_values)
    return SettledTable(table, options, guessed | found.changed, [*findings, *found.notes])


def _with_commas(table: Table, options: TableOptions) -> list[str]:
    """The categories that were read as numbers with decimal commas, and whose texts are lost: 12,80 is 12.8.

    A run reads them as texts, so that its rows would be other ones.
    """
    if options.reading.decimal != ",":
        return []
    columns = {name: table.columns[name] for name in options.categorical if name in table.columns}
    return [name for name, column in columns.items() if column.numbers is not None and not column.is_typed]


def named_targets(stated: Iterable[str], table: Table) -> tuple[str, ...]:
    """The names of targets that may be stated by their place: 1 for the first column, -1 for the last."""
    found, columns = [], list(table.columns)
    for target in stated:
        if target in columns or not target.lstrip("-").isdigit():
            found.append(target)
            continue
        place = int(target)
        if not 1 <= abs(place) <= len(columns):
            what = f"there is no column {target}, nor a {target}. of {len(columns)} columns"
            what, fix = f"{what} {listed(columns)}", header_remedy(table)
            raise UserError(what, where=table.source, fix=fix, value=target)
        found.append(columns[place - 1 if place > 0 else place])
    return tuple(found)
