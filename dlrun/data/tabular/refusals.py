"""Checks that refuse tables and options of tables, each with a message that names the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dlrun.data.examples import Scaling
from dlrun.data.table_files.columns import Column, is_number
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.cells import SHOWN, Cells
from dlrun.data.tabular.column_figures import Figures
from dlrun.data.tabular.column_kinds import instead_of_an_id, is_meant_as_nothing
from dlrun.data.tabular.dates import ISO, formats_of, said_format
from dlrun.data.tabular.encoding import LAST, SEASON, Encoding, TableOptions
from dlrun.data.tabular.number_readings import is_like_a_number, is_too_large, said_marks
from dlrun.errors import UserError, first_few, listed, meant

_MOST_NAMED = 10  # columns in a message


def refuse_contradictions(options: TableOptions) -> None:
    """Raise UserError for options that contradict each other, whatever the table."""
    mistakes: list[str] = []
    categorical = set() if options.categorical == "auto" else {*options.categorical}
    for key, columns in (
        ("categorical", () if options.categorical == "auto" else options.categorical),
        ("dates", () if options.dates == "auto" else options.dates),
        ("date", options.date),
        ("ignore", options.ignore),
        ("baselines", list(options.baselines.values())),
    ):
        for target in options.targets:
            if target in columns:
                mistakes.append(f"{target} is the target, and cannot be under {key} too")
        if key != "baselines" and len(set(columns)) < len(columns):
            mistakes.append(f"{key} names a column twice")
    if len(options.date) not in (0, 1, 3):
        mistakes.append("date must name one column, or three: year, month and day")
    if len(options.date) == 1 and options.date[0] in {*categorical, *options.baselines.values()}:
        mistakes.append(f"{options.date[0]} is the date, and can be nothing else")
    if both := sorted(categorical & {*options.baselines.values()}):
        mistakes.append(f"{both[0]} is categorical, and cannot be a baseline")
    if options.split == "group" and not options.group:
        mistakes.append("a split by group needs group, the column that names it")
    if options.stratify and (options.group or options.is_chronological):
        mistakes.append("stratify is for a random split of single rows")
    if options.date_cycles and not options.date:
        mistakes.append("date_cycles need a date")
    if options.split == "chronological" and not options.date:
        mistakes.append("a chronological split needs a date")
    own = {"date", "mean"} | ({LAST, SEASON} if options.lags else set())
    if taken := sorted(options.baselines.keys() & own):
        mistakes.append(f"a baseline cannot be called {taken[0]}")
    if options.has_classes and (options.baselines or options.scale_target is True):
        mistakes.append("baselines and scale_target are for a regression")
    if options.has_classes and options.target_transform:
        mistakes.append("target_transform is for a regression")
    if options.other_targets:
        if len(set(options.targets)) < len(options.targets):
            mistakes.append("target names a column twice")
        if options.has_classes:
            mistakes.append("a class is in one column, and target names several")
        if options.baselines:
            mistakes.append("baselines guess one target, and target names several")
    mistakes += _of_lags(options)
    if options.scale != "standard" and not options.standardise:
        mistakes.append(f"standardise: false leaves numbers as they are, but scale: {options.scale} does not")
    if mistakes:
        raise UserError("; ".join(mistakes))


def _of_lags(options: TableOptions) -> list[str]:
    """The mistakes in the options of lags."""
    if not options.lags:
        return ["series tells apart what lags look up, and there are no lags"] if options.series else []
    mistakes = []
    if wrong := [lag for lag in options.lags if lag < 1]:
        mistakes.append(f"lags are steps back in time, from 1 on, and {wrong[0]} is none")
    for key, given in (("lags", options.lags), ("series", options.series)):
        if len(set(given)) < len(given):
            mistakes.append(f"{key} has an entry twice")
    if named := [name for name in (*options.ignore, *options.inputs) if name in options.lagged]:
        mistakes.append(f"{named[0]} is an input by lags alone, and cannot be under ignore or inputs")
    if options.has_classes:
        mistakes.append("lags are for a regression")
    if not options.date:
        mistakes.append("lags look up earlier values by their time, and need date")
    elif not options.is_chronological:
        mistakes.append(
            "lags need a chronological split: in another, targets of test rows are inputs in training"
        )
    if wrong_roles := [name for name in options.series if name in {*options.targets, *options.date}]:
        mistakes.append(f"{wrong_roles[0]} is the target or the date, and cannot be under series too")
    return mistakes


def refuse_other_roles_of_weights(options: TableOptions, source: str) -> None:
    """Raise UserError for options that give the column of weights another role too."""
    roles: dict[str, Iterable[str | None]] = {
        "the target": options.targets,
        "categorical": () if options.categorical == "auto" else options.categorical,
        "the date": options.date,
        "an input of dates": () if options.dates == "auto" else options.dates,
        "a baseline": options.baselines.values(),
        "the group": (options.group,),
        "the id": (options.id,),
        "the column of the splits": (options.split_column,),
    }
    own = options.weights
    if own and (taken := [role for role, columns in roles.items() if own in columns]):
        what = f"{own} is {taken[0]}, and cannot be the weights too"
        raise UserError(what, where=source, fix="name another column of weights")


def needed_columns(options: TableOptions) -> list[str]:
    """The columns that the options require beside the inputs."""
    weights = [options.weights] if options.weights else []
    return [*options.targets, *options.date, *options.baselines.values(), *options.text_roles, *weights]


def refuse_missing_columns(table: Table, wanted: Iterable[str]) -> None:
    """Raise UserError if the table lacks a wanted column."""
    there = set(table.columns)
    missing = [column for column in dict.fromkeys(wanted) if column not in there]
    if missing:
        if all(map(is_number, table.columns)):
            what = "the first row holds numbers, but must name the columns"
            raise UserError(what, where=f"{table.source}:1", fix="put a row of names before it")
        said = [f"{column[:40]!r}{meant(column, table.columns)}" for column in missing[:SHOWN]]
        what = f"there is no column {', nor '.join(said)}{', …' if len(missing) > SHOWN else ''}"
        what = f"{what} {listed(name[:40] for name in table.columns)}"
        raise UserError(what, where=table.source, fix=header_remedy(table), value=missing[0])


def header_remedy(table: Table) -> str:
    """The remedy for names that a table lacks: its first line may hold them, or another sheet."""
    if sheet := next((note for note in table.notes if note.startswith("the sheet ")), ""):
        return f"{sheet}: name another under sheet"
    return "if line 1 names the columns set header: 1" if table.guessed.get("header") == "none" else ""


def refuse_unlabelled(table: Table, options: TableOptions) -> None:
    """Raise UserError for a table without the target, which `dlrun predict` may read all the same."""
    for target in options.targets:
        if target not in table.columns:
            what = f"there is no column {target}, the target"
            raise UserError(what, where=table.source, fix="for rows without a target use dlrun predict")


def refuse_text(
    cells: Cells, table: Table, options: TableOptions, columns: Sequence[str], of_text: str = ""
) -> None:
    """Raise UserError for columns that should hold numbers or dates but mostly hold something else.

    `of_text` is the remedy for columns of text in a dataset that takes only numbers.
    """
    mistakes, fixes, mostly_text = [], [], []
    for column, texts in cells.trouble.odd.items():
        missing = len(cells.trouble.missing.get(column, ()))
        if 2 * len(texts) <= len(cells) - missing:
            continue
        mostly_text.append(column)
        first = min(texts)
        text = texts[first]
        are_dates = [column] == list(options.date) or column in cells.moments
        date_format = options.format_of(column) if are_dates else ISO
        what = "numbers beyond float32" if is_too_large(text) and not are_dates else "text"
        of_format = f", which is no date of the format {date_format!r}" if date_format else ""
        mistakes.append(f"{column} holds {what} such as {text[:40]!r} ({table.place(first)}){of_format}")
        if are_dates:
            fixes.append(_said_format(table.columns[column], date_format))
        elif column in options.date:
            fixes.append("year, month and day are whole numbers, such as 2016, 1 and 31")
        elif is_like_a_number(text):
            fixes.append(said_marks([*texts.values()], options.numbers))
        elif is_meant_as_nothing(text):
            fixes.append("leave cells without a value empty, or write NA")
        elif of_text:
            fixes.append(of_text)
        elif column in options.targets:
            another = instead_of_an_id({*texts.values()}, len(texts))
            fixes.append(another or "for names of classes set task: classification")
        elif column in columns:
            fixes.append("list columns of text under categorical, date or ignore")
        else:
            fixes.append("weights, baselines, and dates in three columns, are numbers")
    if mistakes:
        wrong = [
            name for name in cells.trouble if options.treatment(name) == "refuse" and name not in mostly_text
        ]
        if others := cells.trouble.of(wrong):
            mistakes.append(cells.said(others))
            fixes.append("correct cells, or set missing: auto, drop or fill")
        fix = "; ".join(dict.fromkeys(fixes))
        raise UserError(first_few(mistakes, _MOST_NAMED, "; "), where=table.source, fix=fix)


def _said_format(column: Column, date_format: str) -> str:
    """A remedy for a column whose dates are not of a format, "" of ISO 8601: one that fits, if any does."""
    found = formats_of([text for text in column.as_texts().texts if not is_meant_as_nothing(text)])
    if found == [ISO]:
        return "leave date_format out, for the dates are of ISO 8601"
    if found:
        return f"set date_format: {' or '.join(map(repr, found))}"
    written = f"write dates as {said_format(date_format)}"
    return written if date_format else f"{written} or 2016-01-31 12:00"


def refuse_unlearnable(
    figures: Mapping[str, Figures], encoding: Encoding, options: TableOptions, source: str
) -> None:
    """Raise UserError if a column has no value in any training row, or a target to scale is constant."""
    empty = [column for column, values in encoding.categories.items() if not values]
    empty += [column for column, each in figures.items() if not each.count]
    if empty:
        what = f"no training row has a value of {some_columns(empty)}"
        it = "it" if len(empty) == 1 else "them"
        if beyond := [name for name in empty if name in options.lagged]:
            fix = f"take the steps of {some_columns(beyond)} out of lags"
            raise UserError(f"{what}: no value lies so far back", where=source, fix=fix)
        are_guesses = set(empty) & {*options.baselines.values()}
        fix = f"take {it} out of baselines, and list {it} under ignore" if are_guesses else ""
        raise UserError(what, where=source, fix=fix or f"list {it} under ignore")
    if options.other_targets:
        constant = [name for name in options.targets if figures[name].is_constant]
        if constant:
            what = f"{some_columns(constant)}: the same in all training rows, so that nothing can be learnt"
            raise UserError(what, where=source, fix="take such columns out of target")
    refuse_constant_target(encoding.scaling, options, source)


def refuse_constant_target(scaling: Scaling | None, options: TableOptions, source: str) -> None:
    """Raise UserError if a target that is to be scaled has no deviation."""
    if options.scale_target is True and scaling is None:
        what = f"{options.target} is the same in all training rows, and cannot be scaled"
        raise UserError(what, where=source, fix="set scale_target: false, or name another target")


def refuse_another_encoding(encoding: Encoding, options: TableOptions) -> None:
    """Raise UserError for options that would change the encoding of a trained model."""
    roles = [(column, "the target") for column in options.targets]
    roles += [(column, "ignored") for column in options.ignore]
    roles += [(options.weights, "the weights")] if options.weights else []
    mistakes = [
        f"{column} is an input of the model, and cannot be {role}"
        for column, role in roles
        if column in encoding.columns
    ]
    if {*options.categorical} & {*encoding.columns} != encoding.categories.keys():
        mistakes.append(f"the model has its own categorical columns {listed(encoding.categories)}")
    if {*options.dates} & {*encoding.columns} != encoding.dates.keys():
        mistakes.append(f"the model has its own columns of dates {listed(encoding.dates)}")
    if encoding.placement and encoding.placement.dates and not options.date:
        mistakes.append("the splits of the model go by dates, and need date")
    if by_hash := encoding.placement and encoding.placement.by_hash:
        own = {key: getattr(by_hash, key) for key in ("seed", "test_fraction", "valid_fraction")}
        mistakes += [
            f"the splits of the model were made with {key}: {value}"
            for key, value in own.items()
            if getattr(options, key) != value and (value or key == "seed")  # 0: of a split not by hash
        ]
    if not encoding.fills and any(
        options.treatment(name) not in ("drop", "refuse") for name in encoding.columns
    ):
        mistakes.append("the model was trained without missing: fill, and has nothing to fill with")
    for key in ("lags", "series"):
        if list(getattr(options, key)) != (trained := list(getattr(encoding, key))):
            mistakes.append(f"the model was trained with {key}: [{', '.join(map(str, trained))}]")
    mistakes += other_targets(options, encoding.classes, encoding.scaling)
    if options.target_transform != encoding.target_transform:
        mistakes.append(f"the model was trained with target_transform: {encoding.target_transform or 'null'}")
    if mistakes:
        raise UserError("; ".join(mistakes))


def other_targets(options: TableOptions, classes: Sequence[str], scaling: Scaling | None) -> list[str]:
    """The mistakes in options of a target that is not the one of a trained model."""
    mistakes = []
    if scaling is not None:
        means, targets = scaling[0], len(options.targets)
        if (count := len(means) if isinstance(means, tuple) else 1) != targets:
            mistakes.append(f"the model was trained for {said_count(count)}, and target names {targets}")
    if options.scale_target is True and scaling is None:
        mistakes.append("the model was trained without a scale of the target")
    if options.has_classes != bool(classes):
        mistakes.append(f"the model was not trained for {options.task}")
    return mistakes


def said_unseen(first: tuple[int, str, str], count: int) -> str:
    line, column, text = first
    others = f" (and {count - 1:,} more such cell{'s' * (count > 2)})" if count > 1 else ""
    return f"{column} holds {text[:40]!r} in row {line}{others}"


def some_columns(columns: Sequence[str]) -> str:
    return first_few(columns, _MOST_NAMED)


def said_count(targets: int) -> str:
    return "one target" if targets == 1 else f"{targets:,} targets"


def said_different(n: int) -> str:
    return "a single value" if n == 1 else f"{n:,} different values"
