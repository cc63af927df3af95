"""The encoding of a table, fitted on its training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlrun.data.placement import Placement, Rows
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.cells import Cells, in_order
from dlrun.data.tabular.column_figures import Figures
from dlrun.data.tabular.dates import formats_of, is_date, said_offsets
from dlrun.data.tabular.encoding import Encoding, TableOptions, different, places_of, sameness
from dlrun.data.tabular.far_values import ranges_of
from dlrun.data.tabular.guesses import input_columns
from dlrun.data.tabular.inputs import constant_columns, cycles_of, needs_float64, scaling_of_each
from dlrun.data.tabular.lags import add_lags, gaps_of_lags, refuse_later_training, said_lags
from dlrun.data.tabular.parsing import classes_of, parsed, without_trouble
from dlrun.data.tabular.refusals import refuse_text, refuse_unlearnable, some_columns
from dlrun.data.tabular.row_weights import note_weights, that_count
from dlrun.data.tabular.settled_tables import SettledTable
from dlrun.data.tabular.spellings import said_alike
from dlrun.data.tabular.splits import rows_of_splits, said_borders
from dlrun.errors import UserError

_LOOKED_AT = 10_000  # different dates of a column


@dataclass(frozen=True)
class Fitted:
    """An encoding, with the options and the rows of each split by which it was fitted."""

    options: TableOptions
    encoding: Encoding
    cells: Cells
    rows: Rows


def fitted(settled: SettledTable, notes: list[str]) -> Fitted:
    """Split the rows of a table and fit the encoding on those of training.

    An input that is missing in all of these is left out, if the option `missing` leaves that open.
    """
    table, options = settled.table, settled.options
    said, findings = list[str](), list[str]()
    columns = input_columns(table, options)
    if not (columns or options.date_cycles or options.lags):
        raise UserError("beside the target there is no column to learn from", where=table.source)
    categorical = [column for column in columns if column in options.categorical]
    options = replace(options, formats=_formats(table, options))
    cells = parsed(table, options, columns, categorical)
    refuse_text(cells, table, options, columns)
    findings += _mixed_offsets(table, options)
    own = list(columns)
    if options.lags:
        options = add_lags(cells, table, options)
        columns += options.lagged
        findings.append(said_lags(options))
        said += gaps_of_lags(cells, options)
    cells = without_trouble(cells, options, said, findings=findings)
    note_weights(cells, options, findings)
    classes = classes_of(cells, options)
    rows, placement = rows_of_splits(cells, options, len(table), said)
    refuse_later_training(cells, rows, options)
    findings += said_borders(placement, options)
    training = that_count(cells.take(rows["train"]), options)
    is_open = not options.reading.is_strict and options.missing == "auto"
    if empty := [name for name in own if is_open and bool(training.is_missing(name).all())]:
        settled.leave_out(empty, "has no value in the training rows")
        return fitted(settled, notes)
    figures = training.figures()
    encoding = _encoding(training, figures, columns, classes, placement, options, findings)
    refuse_unlearnable(figures, encoding, options, table.source)
    said += unlearnable_classes(training, classes, options)
    findings += said_alike({**encoding.categories, **({options.target: classes} if classes else {})})
    said += constant_columns({name: figures[name] for name in columns if name in figures}, options)
    if options.scale_target == "auto":
        settled.guessed["scale_target"] = encoding.scaling is not None
        options = replace(options, scale_target=encoding.scaling is not None)
    notes += said
    settled.findings += findings
    return Fitted(options, encoding, cells, rows)


def _encoding(
    training: Cells,
    figures: Mapping[str, Figures],
    columns: Sequence[str],
    classes: tuple[str, ...],
    placement: Placement,
    options: TableOptions,
    findings: list[str],
) -> Encoding:
    """The encoding of rows by the training ones."""
    categories, others = dict[str, tuple[str, ...]](), list[str]()
    for column in columns:
        if column in options.categorical:
            categories[column], has_others = _categories(training, column, options, findings)
            others += [column] * has_others
    dates = {column: cycles_of(training.moments[column]) for column in columns if column in training.moments}
    filled = [column for column in columns if options.treatment(column) not in ("refuse", "drop")]
    indicators = [
        column
        for column in filled
        if options.treatment(column) == "auto"
        and (figures[column].missing if column in figures else bool(training.is_missing(column).any()))
    ]
    is_new = options.split_rule == "hash"
    return Encoding(
        columns=tuple(columns),
        categories=categories,
        classes=classes,
        scaling=scaling_of_each(training, options),
        fills=bool(filled),
        others=tuple(others),
        indicators=tuple(indicators),
        dates=dates,
        formats=options.formats,
        placement=placement if is_new else None,
        is_wide=not is_new or needs_float64(each for name, each in figures.items() if name in columns),
        target_transform=options.target_transform,
        ranges=ranges_of(figures, [name for name in columns if name not in categories]),
        keys_by=options.keys_by,
        lags=tuple(options.lags),
        series=tuple(options.series),
        step=options.step,
    )


def _categories(
    training: Cells, column: str, options: TableOptions, findings: list[str]
) -> tuple[tuple[str, ...], bool]:
    """The categories of a column in their order, and True if there are others, rare ones, beside them.

    Without `max_categories` all are taken. Else a category of a single training row is rare, and those beyond
    the most frequent are.
    """
    texts = training.texts[column]
    if options.max_categories is None and options.split_rule == "drawn":
        return in_order(texts.present), False
    counts: dict[str, int] = {}
    names = different(texts.present, options.keys_by)
    place = places_of(names)
    for text, count in zip(texts.texts, texts.counts.tolist(), strict=True):
        if count:
            name = names[place(text)]
            counts[name] = counts.get(name, 0) + count
    same = sameness(names, options.keys_by)  # the order is the same for 01, as a text, and for 1, as a number
    by_count = sorted(counts, key=lambda name: (-counts[name], same(name)))
    least = 1 if options.max_categories is None else 2
    kept = [name for name in by_count if counts[name] >= least][: options.max_categories]
    kept = kept or by_count[: options.max_categories]
    if rare := by_count[len(kept) :]:
        rows = sum(counts[name] for name in rare)
        become = "categories of {} become" if len(rare) > 1 else "category of {} becomes"
        said = f"{len(rare):,} rare {become.format(column)} other: {some_columns(rare[:3])}"
        more = "; max_categories keeps more" if counts[rare[0]] > 1 else ""
        findings.append(
            f"{said}{', …' if len(rare) > 3 else ''} ({rows:,} training row{'s' * (rows > 1)}){more}"
        )
    spellings = {same(name): name for name in kept}
    return tuple(spellings[name] for name in in_order(spellings)), bool(rare)


def _formats(table: Table, options: TableOptions) -> dict[str, str]:
    """The format of each column of dates: the stated one, or unless the reading is strict one that fits.

    A stated one is that of the date; of inputs it is that of those columns which hold such dates.
    """
    columns, stated = [*options.dates, *(options.date if len(options.date) == 1 else ())], options.date_format
    found = dict.fromkeys(columns, stated)
    for name in columns if not options.reading.is_strict else ():
        texts = table.columns[name].as_texts().texts
        is_stated = name in options.date or any(is_date(text, stated) for text in texts[:_LOOKED_AT])
        if not (stated and is_stated) and (fitting := formats_of(texts)):
            found[name] = fitting[0]
    return found


def _mixed_offsets(table: Table, options: TableOptions) -> list[str]:
    """A note for each column of dates that have different offsets from UTC, as summer and winter have."""
    columns = [*options.dates, *(options.date if len(options.date) == 1 else ())]
    each = {
        name: said_offsets(table.columns[name].as_texts().texts[:_LOOKED_AT], options.format_of(name))
        for name in dict.fromkeys(columns)
    }
    return [
        f"{name} has dates of several offsets from UTC ({said}): its days and hours are those of UTC"
        for name, said in each.items()
        if said
    ]


def unlearnable_classes(training: Cells, classes: Sequence[str], options: TableOptions) -> list[str]:
    """A note that names the classes of no training row, if there are any."""
    place = places_of(training.texts[options.target].present if options.has_classes else ())
    if absent := [name for name in classes if place(name) < 0]:
        return [f"no training row is of the class {some_columns(absent)}: it cannot be learnt"]
    return []
