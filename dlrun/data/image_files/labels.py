"""Targets of images from the rows of a CSV file: a class, several labels, or numbers for each file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch

from dlrun.data.composed import composed
from dlrun.data.examples import Scaling
from dlrun.data.image_files.finding import files_below, printable
from dlrun.data.image_files.layout import Listing, few, is_are, natural
from dlrun.data.placement import SPLIT_NAMES
from dlrun.data.table_files.columns import is_number, number
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import EVERY_COLUMN, Reading, Table
from dlrun.errors import UserError, listed, nearest

_MOST_CLASSES = 0.5  # numbers of which more are different, as a share of the rows, are hardly classes


@dataclass(frozen=True)
class ImageLabels:
    """The table of the targets: its name, the columns of targets and of file names, the meaning of targets.

    `file_column` "" is the column of most names of files.
    """

    name: str
    targets: tuple[str, ...]
    file_column: str
    task: str

    def table(self, source: Path, root: Path) -> Table:
        """The table beside the images of a folder, or else in the working directory or the data folder."""
        places = [source / self.name, Path(self.name), root / self.name]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            said = " or ".join(dict.fromkeys(printable(place) for place in places))
            raise UserError(f"there is no table of labels {said}", fix="name it with dataset.labels=…")
        table = read_table(found, Reading(), EVERY_COLUMN)  # 01.png has no ending in many tables
        if not self.targets:
            raise UserError(
                f"dataset.target names no column {listed(table.columns)}",
                where=table.source,
                fix="set dataset.target to the column of the labels, or to a list of several",
            )
        for column in (*self.targets, *([self.file_column] if self.file_column else [])):
            if column not in table.columns:
                raise UserError(
                    f"there is no column {column!r}{nearest(column, table.columns)}",
                    where=table.source,
                    value=column,
                )
        return table

    def classes(self, table: Table) -> tuple[str, ...]:
        """The classes in a table in natural order, or the names of several labels; () of numbers."""
        if self.task == "multilabel":
            return self.targets
        if self.task == "regression":
            return ()
        if len(self.targets) > 1:
            fix = "set dataset.task to multilabel or regression, or dataset.target to one column"
            raise UserError("a class is in one column, and dataset.target names several", fix=fix)
        cells = [cell for cell in table.column(self.targets[0]) if cell]
        found = sorted({_class_name(cell) for cell in cells}, key=natural)
        if len(found) > max(20, _MOST_CLASSES * len(cells)) and all(map(is_number, found)):
            what = f"{self.targets[0]} has {len(found):,} different numbers in {len(cells):,} rows"
            raise UserError(
                what, where=table.source, fix="set dataset.task=regression, or name another column"
            )
        return tuple(found)

    def scaling(self, table: Table, *, apart: bool) -> Scaling | None:
        """The mean and the deviation of all numbers of a regression, or `apart` of each column.

        None of other targets. They are of all labels: the splits are known only once the images are decoded,
        because equal images stand together.
        """
        rows = [cells for _, cells in self._rows(table)] if self.task == "regression" else []
        if not rows:
            return None
        every = torch.tensor([_numbers(cells, "") for cells in rows], dtype=torch.float64)
        if len(self.targets) == 1 or not apart:
            return float(every.mean()), float(every.std(correction=0)) or 1.0
        deviations = every.std(0, correction=0)
        deviations[deviations == 0] = 1.0
        return tuple(every.mean(0).tolist()), tuple(deviations.tolist())

    def listing(self, source: Path, root: Path, endings: Sequence[str], classes: Sequence[str]) -> Listing:
        """The image files below a folder that have a row, with their targets.

        Raises UserError for rows that contradict each other, and a class that is not among `classes`.
        """
        table, found = self.table(source, root), Listing(is_stratified=self.task == "classification")
        above = f"{source.as_posix()}/"
        every = [file for file in files_below(source) if file.lower().endswith(tuple(endings))]
        names = [composed(file.removeprefix(above)) for file in every]
        rows, lost, blank = self._matched(table, names, endings)
        numbers, targets = {name: place for place, name in enumerate(classes)}, list[list[float]]()
        splits = _splits(names)
        for place, (file, name) in enumerate(zip(every, names, strict=True)):
            if place not in rows:
                continue
            where, cells = rows[place]
            if self.task == "classification":
                label = _class_name(cells[0])
                if label not in numbers:
                    raise UserError(f"the model has no class {label} {listed(classes)}", where=where)
                found.labels.append(numbers[label])
            else:
                targets.append(_numbers(cells, where, only_binary=self.task == "multilabel"))
                found.labels.append(0)
            found.files.append(file)
            found.names.append(printable(name))
            found.places.append(f"/{name}")
            found.splits.append(splits[place])
            found.said.append("\0".join(map(_class_name, cells)))
        if not found.files:
            shown = few([printable(name) for name in names]) or f"none end in {', '.join(endings)}"
            what = f"no row of the table names an image in {printable(source)} ({shown})"
            raise UserError(
                what, where=table.source, fix="name the column of the files: dataset.file_column=…"
            )
        if self.task != "classification":
            found.targets = torch.tensor(targets)
        without = [
            printable(name) for place, name in enumerate(names) if place not in rows and place not in blank
        ]
        for some, said in (
            (without, "image has no row|images have no row"),
            ([printable(names[place]) for place in blank], "image has no label|images have no label"),
            (lost, "row of the table names no image|rows of the table name no image"),
        ):
            if some:
                one, more = said.split("|")
                what = one if len(some) == 1 else more
                found.remarks.append(f"{len(some):,} {what} and {is_are(some)} left out: {few(some)}")
        return found

    def _matched(
        self, table: Table, names: Sequence[str], endings: Sequence[str]
    ) -> tuple[dict[int, tuple[str, list[str]]], list[str], list[int]]:
        """The row of each image, as its place and its targets; names of no image; images without label."""
        known = _Names(names, endings)
        column = self.file_column or max(
            (each for each in table.columns if each not in self.targets),
            key=lambda each: sum(map(known.has, table.column(each))),
            default="",
        )
        if not column:
            raise UserError("the table has no column for the names of the images", where=table.source)
        rows: dict[int, tuple[str, list[str]]] = {}
        lost, blank = list[str](), list[int]()
        cells_of = dict(self._rows(table))
        for row, (cell, line) in enumerate(zip(table.column(column), table.lines, strict=True)):
            place, where = known.find(cell), f"{table.source}:{line}"
            if place is None:
                lost.append(cell)
            elif row not in cells_of:
                blank.append(place)
            elif place in rows and rows[place][1] != cells_of[row]:
                one, other = " ".join(rows[place][1]), " ".join(cells_of[row])
                what = f"{cell} has {one} in one row, and {other} in another"
                raise UserError(what, where=f"{rows[place][0]} and {line}", fix="leave one of them")
            else:
                rows[place] = (where, cells_of[row])
        return rows, lost, [place for place in dict.fromkeys(blank) if place not in rows]

    def _rows(self, table: Table) -> Iterator[tuple[int, list[str]]]:
        """The rows that have every target, by their numbers."""
        for row, cells in enumerate(zip(*map(table.column, self.targets), strict=True)):
            if all(cells):
                yield row, list(cells)


class _Names:
    """The names of image files, as a table may write them: with or without their folder and their ending."""

    def __init__(self, names: Sequence[str], endings: Sequence[str]) -> None:
        self._endings = tuple(endings)
        self._ways: list[Mapping[str, int | None]] = [
            _places(way(name) for name in names)
            for way in (str, self._bare, _last, lambda name: self._bare(_last(name)))
        ]

    def has(self, cell: str) -> bool:
        """True if a cell names a file, or several."""
        return any(self._each(cell))

    def find(self, cell: str) -> int | None:
        """The place of the file that a cell names; None if there is none. Raises UserError for several."""
        found = next(self._each(cell), None)
        if found is None:
            return None
        way, name = found
        if (place := way[name]) is None:
            raise UserError(f"several images are called {cell}", fix="write their folders in the table")
        return place

    def _each(self, cell: str) -> Iterator[tuple[Mapping[str, int | None], str]]:
        """The ways of writing names in which a cell is one, each with that name."""
        text = composed(cell.replace("\\", "/")).removeprefix("./")
        for written in (text, _last(text)):
            for way, name in zip(self._ways, (written, self._bare(written)) * 2, strict=True):
                if name in way:
                    yield way, name

    def _bare(self, name: str) -> str:
        """A name without the ending of an image."""
        ending = next((each for each in self._endings if name.lower().endswith(each)), "")
        return name[: len(name) - len(ending)]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _places(names: Iterator[str]) -> dict[str, int | None]:
    """The place of each name; None of one that stands several times."""
    found: dict[str, int | None] = {}
    for place, name in enumerate(names):
        found[name] = None if name in found else place
    return found


def _splits(names: Sequence[str]) -> list[str]:
    """The split of each file: its first folder, if that of all is called as a split and one is train."""
    tops = [SPLIT_NAMES.get(name.split("/")[0].casefold(), "") if "/" in name else "" for name in names]
    return tops if all(tops) and "train" in tops else ["train"] * len(names)


def _class_name(cell: str) -> str:
    """The class in a cell: equal numbers, such as 1 and 1.0, are one class."""
    if is_number(cell) and isfinite(value := float(cell)):
        return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
    return composed(cell)


def _numbers(cells: Sequence[str], where: str, *, only_binary: bool = False) -> list[float]:
    found = []
    for cell in cells:
        try:
            value = number(cell)
        except ValueError as error:
            raise UserError(
                str(error), where=where, fix="or is it a class? dataset.task=classification"
            ) from None
        if value is None or (only_binary and value not in (0, 1)):
            what = f"{cell!r} is neither 0 nor 1: a label applies or not"
            raise UserError(what, where=where, fix="for columns of numbers set dataset.task: regression")
        found.append(value)
    return found
