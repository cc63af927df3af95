"""Your own table, from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
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
    fold: Fold | None = None,
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
    """The rows of a CSV file: a number or a class is predicted from the other columns.

    Reading. Unless `read` is strict, dlrun looks at the file, says in a line what it found, and records it in
    the run's config; an option that is given is not guessed. A cell is missing if it is empty, NA, N/A, n/a,
    NaN, nan, NULL or null; where dlrun guesses, words such as ? or k.A. in a column of numbers or dates are,
    too. A cell that means a number in another way of writing is never missing: it is read if one way fits its
    whole column, and refused otherwise. A row without a target or a date is left out.

    Several targets are predicted together: a row without one of them is left out. Each is scaled by itself,
    and `dlrun eval` has the figures of each: a metric is their mean, also of those in different units.

    Lags. Earlier values are looked up by `date`, so that a time without a row shifts nothing; a step is the
    most frequent distance between neighbouring times, such as an hour, a day or a month, and times that are
    no whole steps apart are refused. A value that is not there is missing, and `missing` says for the column
    of that name (`sales lag 7` of a target sales) what is done; rows before which nothing is known are left
    out. Every row is predicted one step ahead, from true earlier values, those of the test split too. The
    baseline `last value` guesses the last value that is known at the shortest lag. With several lags, `season
    before` guesses the value at the longest of them, or if that is missing at twice this lag, and so on. If
    there is none at all, both guess the mean. Lags are scaled as other numbers are, without
    `target_transform`. A file for `dlrun predict` has the earlier rows with their targets, and behind them
    rows without; one that would need a target which is not known yet is left blank.

    Splits. A hash of what each row's cells mean, or of its `id`, decides whether it is a test row, so that no
    row changes its split when others are added, in another order of rows or columns, or when the file is
    written in another way: marks in numbers, forms of dates, quotes, encoding, words for missing cells. Equal
    rows stand together. The split is chronological if there is a `date`. Weights do not
    change the splits, the categories and the quantiles of `scale`, in which each row counts once; but nothing
    is learnt from a row of weight 0.

    New rows. `dlrun predict` reads a file of rows without targets piece by piece, a workbook whole. Rows are
    named by their `id`, or their `date` if no two have the same, or their line. Rows with a number below the
    smallest or above the largest of its column in the training rows, by more than the difference of these
    two, are predicted, and a line says which.

    Args:
        path: File to read, looked for in the working directory, beside the config and in the data folder;
            also packed, Parquet, Feather or .xlsx, or several such as data/*.csv.
        target: Column to predict, by its name or place (1 is the first, -1 the last); in a regression also a
            list.
        task: Prediction of a number (regression) or of one of several classes (classification).
        unit: Unit of the target, for figures and pictures, such as °C.
        read: Guesses at everything that is not given (guess), or none (strict): cells between commas, UTF-8,
            decimal points, and columns of text listed under `categorical`.
        separator: Character between cells, or whitespace.
        decimal: Mark before fractions, a point or a comma.
        thousands: Mark between thousands, such as ' in 1'000.
        symbols: Signs beside numbers that are passed over, such as $ or %.
        encoding: Encoding of the text, such as utf-8 or cp1252.
        header: Line that names the columns, counted from 1; none if no line does.
        columns: Names for the columns, instead of those in the file; a file that has some of these at other
            places keeps its own.
        na_values: Further words for a missing cell.
        sheet: Sheet of a workbook by its name or number from 1 (null: the first that holds a table), or the
            file in an archive of several.
        inputs: Columns that the model sees, where * stands for any letters; none named: all without another
            role.
        ignore: Columns that the model does not see, where * stands for any letters.
        categorical: Columns of categories, each a one-hot vector over the texts in the training rows; auto
            takes columns of text, of at most ten whole numbers in many rows, and of whole numbers with zeros
            in front, such as 01067, and leaves out columns that identify or number the rows. Equal numbers
            are one category.
        max_categories: Categories of a column that keep an input of their own, the most frequent ones; all
            others, and those of a single training row, are one category, other. null: no limit.
        unknown: Treatment of a text that no training row holds: all zeros, or an error.
        dates: Columns of dates that become numbers, with sine and cosine of the cycles (year, week, day) that
            they go through; auto finds them.
        date: Column that dates the rows, in ISO 8601 (2016-01-31, 2016-01-31 12:00, UTC unless it says
            otherwise) or `date_format`, and is no input; or three, year, month and day, which are inputs.
        date_format: Form of the dates, of `date` and of `dates`, as in Python, such as %d.%m.%Y, and %q for
            the quarter; empty: ISO 8601.
        date_cycles: Further inputs, the sine and cosine of the date within the year, the week or the day.
        lags: Steps back at which earlier values of the target become inputs: [1, 7] gives each row those 1
            and 7 steps before it.
        series: Columns that tell series apart, such as a shop; each looks up lags of its own.
        baselines: Columns that guess the target, as a mapping of names of your choice to columns; they stay
            inputs unless ignored.
        missing: Treatment of missing cells of numbers: auto puts the median of the training rows there and
            adds an input that is 1 where a cell is missing, fill takes the mean and adds none, drop leaves
            such rows out, refuse refuses the file; or a mapping of columns to one of these or a number, where
            * stands for the others.
        standardise: Scale numbers by the training rows, in the way of `scale`.
        scale: Way of scaling: standard to mean 0 and standard deviation 1; robust by median and interquartile
            range (where that is 0, the standard deviation), so that outliers change little and stay far out;
            quantile to the normal quantile of a number's rank among up to 1,000 quantiles, the first or last
            rank beyond them.
        scale_target: Let the loss see a target with mean 0 and standard deviation 1 over the training rows,
            while metrics stay in its unit; auto: in a regression.
        target_transform: Let the loss see log(1 + y) of a target y, scaled after that, for targets of 0 or
            more that span orders of magnitude; predictions, metrics and baselines stay in the unit of y.
        id: Column that names and identifies the rows, and is no input.
        split: Choice of test rows: the last ones, by hash, or by hash with each `group` together; null: as
            the other options suggest.
        split_rule: Way of choosing rows without a date: by hash, or drawn by number as earlier versions did.
        keys_by: Base of the hash: what cells mean (values), or their letters (cells) as in earlier versions,
            which also left out other columns.
        split_column: Column that says train, valid or test for each row.
        test_path: File of test rows, with the same columns.
        valid_path: File of validation rows, with the same columns.
        group: Column whose equal values stay in one split, such as a patient.
        stratify: Column whose values have the same shares in all splits, in place of the classes.
        weights: Column of numbers, 0 or more, which is no input: a row of weight 2 counts as two in the loss,
            in every metric and baseline, and in the means, medians and deviations by which numbers are filled
            and scaled. A row without a weight is left out; a file without the column is evaluated with
            weights of 1.
        test_fraction: Share of all rows, of each class by itself, that becomes the test split; with a date
            the last ones.
        valid_fraction: Share of the rest that becomes the validation split; with a date its last rows.
        seed: Choice of another hash, and so of other test and validation rows.

    Example:
        dataset: {name: csv, path: houses.csv, target: price}
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
        fold=fold,
    )
    others = {"valid": valid_path, "test": test_path}
    there = {name: each for name, each in others.items() if each}
    return table_data(partial(file_table, path, root, others=there), options, known)
