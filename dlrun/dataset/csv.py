"""Your own table, from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.table_files.tables import Reading
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.table import file_table, table_data

# The options that an earlier dlrun did not have mean what it did.
of_earlier_runs = {
    "read": "strict",
    "split_rule": "drawn",
    "keys_by": "cells",
    "max_categories": None,
    "dates": (),
}
# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = (
    "path",
    "test_path",
    "valid_path",
    "unit",
    "read",
    "separator",
    "decimal",
    "thousands",
    "symbols",
    "encoding",
    "header",
    "columns",
    "na_values",
    "sheet",
    "unknown",
    "missing=drop",
    "missing=refuse",
    "baselines",
    "id",
)


def csv(
    root: Path,
    known: Mapping[str, Any] | None = None,
    *,
    path: str,
    target: str | int | Sequence[str],
    task: Literal["regression", "classification"] = "regression",
    unit: str = "",
    read: Literal["guess", "strict"] = "guess",
    separator: str = "auto",
    decimal: Literal["auto", ".", ","] = "auto",
    thousands: str = "",
    symbols: Sequence[str] = (),
    encoding: str = "auto",
    header: Count | Literal["auto", "none"] = "auto",
    columns: Sequence[str] = (),
    na_values: Sequence[str] = (),
    sheet: str | int | None = None,
    inputs: Sequence[str] = (),
    ignore: Sequence[str] = (),
    categorical: Sequence[str] | Literal["auto"] = "auto",
    max_categories: Count | None = 50,
    unknown: Literal["refuse", "zeros"] = "zeros",
    dates: Sequence[str] | Literal["auto"] = "auto",
    date: Sequence[str] = (),
    date_format: str = "",
    date_cycles: Sequence[Literal["year", "week", "day"]] = (),
    lags: Sequence[Count] = (),
    series: str | Sequence[str] = (),
    baselines: dict[str, str] | None = None,
    missing: Literal["auto", "fill", "drop", "refuse"] | dict[str, float | str] = "auto",
    standardise: bool = True,
    scale: Literal["standard", "robust", "quantile"] = "standard",
    scale_target: bool | Literal["auto"] = "auto",
    target_transform: Literal["log"] | None = None,
    id: str | None = None,
    split: Literal["chronological", "random", "group"] | None = None,
    split_rule: Literal["hash", "drawn"] = "hash",
    keys_by: Literal["values", "cells"] = "values",
    split_column: str | None = None,
    test_path: str | None = None,
    valid_path: str | None = None,
    group: str | None = None,
    stratify: str | None = None,
    weights: str | None = None,
    test_fraction: Fraction = 0.2,
    valid_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Data:
    """The rows of a CSV file: a number (in `unit`) or a class is predicted from the other columns.

    `path` is looked for in the working directory, beside the config and in the data folder. `target` is the
    name of a column, or its place: 1 for the first, -1 for the last. In a regression it may be a list of
    columns, which are predicted together: a row without one of them is left out. Each is scaled by itself,
    and `dlrun eval` has the figures of each: a metric is their mean, also of those in different units.

    Reading. With `read: guess` dlrun looks at the file, says in a line what it found, and records it in the
    run's config; an option that is given is not guessed. `read: strict` guesses nothing: cells are separated
    by commas, in UTF-8, numbers have decimal points, and what is text must be listed under `categorical`.
    `separator` is the character between cells (or whitespace), `decimal` the mark before fractions,
    `thousands` that between thousands, and `symbols` are signs beside numbers, such as $ or %. `header` is
    the line that names the columns, `none` if none does; `columns` are other names for them. `encoding` is
    that of the text. A cell is missing if it is empty, NA, N/A, n/a, NaN, nan, NULL, null or one of
    `na_values`. Unless `read` is strict, words such as ? or k.A. in a column of numbers or dates are, too.
    `sheet` is the sheet of a workbook, by its name or its number from 1, and if none is named the first that
    holds a table; or the file in an archive of several.

    Inputs are all columns, or those that match a name in `inputs`, where * stands for any letters; never the
    `target`, the `id` and those that match `ignore`. A column listed in `categorical` becomes a one-hot
    vector over the texts in the training rows; auto takes columns of text, of at most ten whole numbers in
    many rows, and of whole numbers with zeros in front, such as 01067. Equal numbers are one category. Those
    beyond the `max_categories` most frequent, and those of a single training row, are one category, other. A
    text that no training row holds is all zeros, or with `unknown: refuse` an error. Columns listed in
    `dates` become numbers, with sine and cosine of the cycles (year, week, day) that they go through. auto
    leaves out columns that identify or number the rows.

    `date` is one column, of ISO 8601 (2016-01-31, 2016-01-31 12:00, UTC unless it says otherwise) or of
    `date_format` (as in Python, %d.%m.%Y, and %q for the quarter), or three: year, month and day, which stay
    inputs; a single date column does not. `date_cycles` adds the sine and cosine of the time within the year,
    the week or the day.
    `baselines` maps names of your choice to columns that guess the target; these stay inputs unless ignored.

    Lags. `lags: [1, 7]` gives each row the values of the targets 1 and 7 steps before it, as further inputs
    (`sales lag 7` of a target sales). They are looked up by `date`, so that a time without a row shifts
    nothing; a step is the most frequent distance between neighbouring times, such as an hour, a day or a
    month, and times that are no whole steps apart are refused. With `series`, one or several columns such as
    a shop, each series looks up its own values. A value that is not there is missing, and `missing` says
    for the column of that name what is done; rows before which nothing is known are left out. Every row is
    predicted one step ahead, from true earlier values, those of the test split too. The
    baseline `last value` is the last one that is known the shortest lag before, or earlier; with several
    lags `season before` is the value the longest of them before, or where it is missing twice that, and so
    on. Where they find none they have their mean. Lags are scaled as other numbers are, without
    `target_transform`. A file for `dlrun predict` has the earlier rows with their targets, and behind them
    rows without; one that would need a target which is not known yet is left blank.

    `missing: auto` puts the median of the training rows into missing cells of numbers, and adds an input
    that is 1 where a cell is missing. fill takes the mean and adds none, drop leaves such rows out, refuse
    refuses the file. It may also map columns to one of these, or to a number; * stands for the others. A row
    without a target or a date is left out in any case. A cell that means a number in another way of writing
    is never missing: it is read if one way fits its whole column, and refused otherwise.

    With `standardise` numbers have mean 0 and standard deviation 1 over the training rows. With
    `scale: robust` the median is subtracted, and the interquartile range divides (where that is 0, the
    standard deviation): outliers change little, and stay far out. With `scale: quantile` a number becomes the
    normal quantile of its rank among up to 1,000 quantiles of the training rows; one beyond all of them has
    the first or the last rank.

    With `scale_target`, which is on in a regression, the loss sees a target with mean 0 and standard
    deviation 1 over the training rows, while metrics stay in its unit. For targets that span orders of
    magnitude, all of 0 or more, `target_transform: log` lets the loss see log(1 + y) of a target y, which is
    scaled after that; predictions, metrics and baselines stay in the unit of y.

    `weights` names a column of numbers, 0 or more, which is no input: a row of weight 2 counts as two rows in
    the loss, in every metric and baseline, and in the means, medians and deviations by which numbers are
    filled and scaled. The splits, the categories and the quantiles of `scale` go by rows, of which one of
    weight 0 tells nothing but its split. A row without a weight is left out; a file without the column is
    evaluated with weights of 1.

    Splits. A hash of what each row's cells mean, or of its `id`, decides whether it is a test row, so that no
    row changes its split when others are added, in another order of rows or columns, or when the file is
    written in another way: marks in numbers, forms of dates, quotes, encoding, words for missing cells. Equal
    rows stand together. Each class has `test_fraction` of its rows in the test split and `valid_fraction` of
    the rest in the validation split; `stratify` names a column to balance instead, `group` one whose rows
    stay together, `seed` chooses another hash. The split is chronological if there is a `date`: then the last
    rows are the test split, the last of the rest the validation split. `split_column` names a column that
    says train, valid or test; `test_path` and `valid_path` are files of their own for these splits, with the
    same columns. Runs of earlier versions keep their splits, and the columns that these left out, by
    `keys_by: cells` and `split_rule: drawn`.

    New rows. `dlrun predict` reads a file of rows without targets piece by piece, a workbook whole. Rows are
    named by their `id`, or their `date` if no two have the same, or their line. Rows with a number below the
    smallest or above the largest of its column in the training rows, by more than the difference of these
    two, are predicted, and a line says which.
    """
    first, *further = [str(target)] if isinstance(target, str | int) else target or [""]
    options = TableOptions(
        target=first,
        other_targets=tuple(further),
        task=task,
        unit=unit,
        reading=Reading(
            separator=separator,
            decimal=decimal,
            encoding=encoding,
            header=header,
            columns=columns,
            na_values=na_values,
            sheet=None if sheet is None else str(sheet),
            is_strict=read == "strict",
        ),
        thousands=thousands,
        symbols=symbols,
        inputs=inputs,
        ignore=ignore,
        categorical=categorical,
        max_categories=max_categories,
        unknown=unknown,
        dates=dates,
        date=date,
        date_format=date_format,
        date_cycles=date_cycles,
        lags=lags,
        series=[series] if isinstance(series, str) else series,
        baselines=baselines or {},
        missing=missing,
        standardise=standardise,
        scale=scale,
        scale_target=scale_target,
        target_transform=target_transform,
        id=id,
        split=split,
        split_rule=split_rule,
        keys_by=keys_by,
        split_column=split_column,
        group=group,
        stratify=stratify,
        weights=weights,
        test_fraction=test_fraction,
        valid_fraction=valid_fraction,
        seed=seed,
    )
    others = {"valid": valid_path, "test": test_path}
    there = {name: each for name, each in others.items() if each}
    return table_data(partial(file_table, path, root, others=there), options, known)
