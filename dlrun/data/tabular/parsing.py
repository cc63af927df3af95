"""The cells of a table parsed by its options; rows that cannot be used are refused, left out or filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.cells import Cells, Trouble, TroubleSaid, in_order
from dlrun.data.tabular.column_kinds import instead_of_an_id
from dlrun.data.tabular.encoding import Encoding, TableOptions, different, places_of
from dlrun.data.tabular.number_readings import PLAIN, is_like_a_number, said_marks
from dlrun.data.tabular.refusals import said_different
from dlrun.data.tabular.row_keys import row_keys
from dlrun.errors import UserError

_MOST_CLASSES = 1000


def parsed(
    table: Table,
    options: TableOptions,
    columns: Sequence[str],
    categorical: Iterable[str],
    *,
    labelled: bool = True,
) -> Cells:
    """Parse the cells of the inputs and the date, and with `labelled` of what else the options name."""
    cells, texts = Cells.of(table), list(categorical)
    dates = [] if options.dates == "auto" else [name for name in options.dates if name in set(columns)]
    numbers = [column for column in columns if column not in {*texts, *dates}]
    if labelled:
        (texts if options.has_classes else numbers).extend(options.targets)
        numbers += [*options.baselines.values(), *([options.weights] if options.weights else [])]
        texts += options.text_roles
    else:
        texts += [*options.series, *([options.id] if options.id and options.id in table.columns else [])]
    is_plain = options.reading.is_strict and options.numbers == PLAIN
    for column in dict.fromkeys(numbers):
        cells.read_numbers(table, column, None if is_plain else options.numbers)
    for column in dict.fromkeys(texts):
        cells.read_texts(table, column)
    for column in dates:
        cells.read_moments(table, column, options.format_of(column))
    if options.date:
        cells.read_dates(table, options.date, options.format_of(options.date[0]))
    if labelled:
        named = dict.fromkeys((*columns, *options.date, *options.targets, *options.series))
        if options.keys_by == "cells":
            cells.keys = row_keys({name: table.columns[name] for name in named})
        else:
            held = {name: cells.column(name, table.columns[name], options.date) for name in named}
            cells.keys = row_keys(held, options.numbers.read)
    return cells


def without_trouble(
    cells: Cells,
    options: TableOptions,
    notes: list[str],
    *,
    labelled: bool = True,
    fillable: bool = True,
    findings: list[str] | None = None,
) -> Cells:
    """Apply the option `missing` to rows with missing and unreadable cells, and note what was done.

    Replacements for missing cells that nobody asked for are noted among the `findings`.

    A row without a target or a date is left out, whatever is done with others; so is one without a weight, a
    group, a split or an id. `fillable` is False for a dataset that cannot fill. Raises UserError for cells
    that are refused, for a weight that is no number, and for any that means a number: such a cell is neither
    left out nor filled.
    """
    if not (cells.trouble or cells.without_past):
        return cells
    refuse_numbers(cells, options)
    essential = {*options.date, *options.text_roles, *options.targets * labelled}
    essential |= {options.weights} if options.weights else set()
    treatments = {
        column: options.treatment(column) for column in (*cells.trouble.missing, *cells.trouble.odd)
    }
    refused = [name for name, how in treatments.items() if how == "refuse"]
    wrong = Trouble(cells.trouble.of(refused).missing, cells.trouble.of(refused).odd)
    unread = [
        name
        for name, how in treatments.items()
        if how not in ("drop", "fill", "refuse") and name not in essential
    ]
    unread += [name for name in cells.trouble.odd if name == options.weights and treatments[name] != "drop"]
    wrong = Trouble(wrong.missing, {**wrong.odd, **cells.trouble.of(unread).odd})
    if wrong:
        fix = "correct them, or set missing: drop (leaves such rows out)"
        fix += " or fill (takes the mean of training)" * fillable
        raise UserError(cells.said(wrong), where=cells.source, fix=fix)
    dropping = {name for name, how in treatments.items() if how == "drop"} | essential
    bad = np.union1d(cells.trouble.of(dropping).rows(), np.array([*cells.without_past], np.int64))
    why = "; ".join(filter(None, (cells.said(cells.trouble.of(dropping)), cells.said_without_past())))
    if len(bad) == len(cells):
        raise UserError(f"no row is left: {why}", where=cells.source)
    is_bad = np.zeros(len(cells), bool)
    is_bad[bad] = True
    if len(bad):
        are = "is" if len(bad) == 1 else "are"
        notes.append(f"{len(bad):,} of {len(cells):,} rows {are} left out: {why}")
    if filled := cells.trouble.among(~is_bad):
        said = findings if options.missing == "auto" and findings is not None else notes
        of_all = TroubleSaid()
        of_all.add(filled, cells.lines)
        said.append(said_filled(of_all, options))
    return cells.take(np.flatnonzero(~is_bad))


def refuse_numbers(cells: Cells, options: TableOptions) -> None:
    """Raise UserError for cells that mean numbers by marks that the options do not name."""
    odd = {
        column: {
            row: text
            for row, text in texts.items()
            if is_like_a_number(text) and not options.numbers.reads([text])  # some numbers are no dates
        }
        for column, texts in cells.trouble.odd.items()
        if column in cells.numbers
    }
    if meant := Trouble(odd={column: texts for column, texts in odd.items() if texts}):
        what = f"{cells.said(meant)}; such a cell means a number, and is not taken for a missing one"
        texts = {text for of_column in meant.odd.values() for text in of_column.values()}
        fix = said_marks(texts, options.numbers)
        raise UserError(what, where=cells.source, fix=fix)


def classes_of(cells: Cells, options: TableOptions) -> tuple[str, ...]:
    """The classes that the target's cells name, () in a regression. Raises UserError for one or too many."""
    if not options.has_classes:
        return ()
    there = cells.texts[options.target].present
    classes = in_order(there if options.split_rule == "drawn" else different(there))
    if not 2 <= len(classes) <= _MOST_CLASSES:
        has = f"{options.target} has {said_different(len(classes))}"
        fix = "for numbers set task: regression" if len(classes) > 1 else "name another target"
        fix = instead_of_an_id(classes, len(cells)) or fix
        raise UserError(f"{has}, but classes are 2 to {_MOST_CLASSES:,}", where=cells.source, fix=fix)
    return classes


def said_filled(filled: TroubleSaid, options: TableOptions) -> str:
    """A note on the missing cells for which something stands in."""
    ways = {
        "fill": "numbers get the mean of training, texts no category",
        "auto": "numbers get the median of training, texts no category",
    }
    each = map(options.treatment, filled.columns)
    used = {how if isinstance(how, str) else "a number" for how in each}
    what = (
        ways.get(used.pop(), "they get the stated number") if len(used) == 1 else "they get what missing says"
    )
    return f"{filled}; {what}"


def refused_rows(cells: Cells, options: TableOptions, encoding: Encoding) -> dict[int, str]:
    """The rows that cannot be predicted, with the reason for each: a cell without what the model needs."""
    found, needed = dict(cells.without_past), {*options.series}
    needed |= {*options.date} if options.date_cycles or options.lags else set()
    for column, texts in cells.trouble.odd.items():
        what = "is no date" if column in cells.moments or column in options.date else "is no number"
        is_filled = options.treatment(column) == "fill" and column not in needed
        for row, text in texts.items() if not is_filled else ():
            marked = is_like_a_number(text) and options.numbers.decimal == "," and what == "is no number"
            found.setdefault(
                row, f"{column}: {text[:40]!r} {what}{' with a decimal comma' if marked else ''}"
            )
    for column, rows in cells.trouble.missing.items():
        is_needed = options.treatment(column) in ("refuse", "drop") or column in needed
        if column == options.id or not is_needed:
            continue
        for row in rows.tolist():
            found.setdefault(row, f"{column}: there is no value")
    if options.unknown == "refuse":
        for column, values in encoding.categories.items():
            held, place = cells.texts[column], places_of(values)
            unseen = [code for code, text in enumerate(held.texts) if place(text) < 0]
            assert held.codes is not None, "it was read as texts"
            for row in np.flatnonzero(np.isin(held.codes, unseen)).tolist() if unseen else ():
                found.setdefault(row, f"{column}: no training row holds {held.cell(row)[:40]!r}")
    return found
