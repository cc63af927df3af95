"""The layout of a folder of images: the folders of its splits and classes, and the files in them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from dlrun.data.composed import composed
from dlrun.data.image_files.finding import SUFFIXES, files_below, is_hidden, printable
from dlrun.data.placement import SPLIT_NAMES, in_split_order
from dlrun.errors import UserError, listed

_DEEPEST = 5  # wrapper folders in one another
_MOST_NAMED = 3  # files in a message
_MANY = 10  # a message says how much of a class is left out from this share on: 1 / _MANY


@dataclass(frozen=True)
class Layout:
    """The class folders of each split, by their names, and what was passed over or gone into, in words.

    Names are composed (Unicode NFC), so that they are equal whatever system wrote them.
    """

    source: Path
    splits: Mapping[str, Mapping[str, Path]]
    remarks: Sequence[str] = ()

    @classmethod
    def of(cls, source: Path, *, known: Collection[str] = (), needs_train: bool = True) -> Layout:
        """The layout of a folder of images; `known` are the classes of a model, if there is one.

        Folders that are called as splits are, in any case, and that hold folders of classes, are the splits;
        without one of the training images these lie in the class folders beside them. A lone folder that
        holds all that is gone into. Raises UserError if its folders could be either splits or classes.
        """
        inside, folders, remarks = source, _folders(source), list[str]()
        for _ in range(_DEEPEST):
            if not _is_wrapper(folders, known):
                break
            [(name, inside)] = folders.items()
            folders = _folders(inside)
            remarks.append(f"{printable(source)} holds the folder {name} alone, in which the images are")
        if stray := _files(inside):
            remarks.append(f"{_left_out(stray, 'file')} beside the folders {is_are(stray)} left out")
        splits = _in_splits(folders, known, remarks) or {"train": folders}
        layout = cls(source, in_split_order(splits), remarks)
        layout._check(inside, needs_train=needs_train)
        return layout

    def _check(self, inside: Path, *, needs_train: bool) -> None:
        """Raise UserError if there are no classes, or none to train on."""
        if needs_train and not self.splits.get("train"):
            if any(self.splits.values()):
                what = f"{printable(inside)} has no folder of training images"
                raise UserError(what, fix="call the folder with their classes train")
            raise _too_deep(inside) or UserError(f"{printable(inside)} holds no folders", fix=_ONE_EACH)
        if not any(self.splits.values()):
            what = f"{printable(inside)} holds no folders of classes"
            raise _too_deep(inside) or UserError(what, fix=_ONE_EACH)

    def classes(self) -> list[str]:
        """The names of the class folders in natural order. Raises UserError if the splits differ in them."""
        found = {split: set(folders) for split, folders in self.splits.items()}
        for split, names in found.items():
            for one, other, has, has_not in (
                (found["train"], names, "train", split),
                (names, found["train"], split, "train"),
            ):
                if alone := sorted(one - other):
                    raise UserError(
                        f"{has} has the class {', '.join(alone)}, and {has_not} has not: {self.source}",
                        fix="give all splits the same class folders",
                    )
        return sorted(found["train"], key=natural)


_ONE_EACH = "put the images of each class into a folder"


def _too_deep(folder: Path) -> UserError | None:
    """The error for a folder that holds the images of one class itself; None if it holds no images."""
    if not _has_images(folder):
        return None
    parent = folder.parent if folder.name else folder.absolute().parent
    classes = list[str]()
    with suppress(UserError):  # of what lies beside it and cannot be read
        beside = _folders(parent).items()
        classes = [name for name, each in beside if name.casefold() not in SPLIT_NAMES and _has_images(each)]
    fix = _ONE_EACH
    if len(classes) > 1 and folder.absolute().name in classes:
        is_split = parent.name.casefold() in SPLIT_NAMES
        taken = printable(parent.parent) if is_split else "that"
        fix = f"its parent {printable(parent)} has the classes {few(classes)}: take {taken}"
    return UserError(f"{printable(folder)} holds images itself, and no folders of classes", fix=fix)


def _has_images(folder: Path) -> bool:
    """True if a folder itself holds files with an image's ending."""
    return any(name.lower().endswith(SUFFIXES) for name in _files(folder))


def _is_wrapper(folders: Mapping[str, Path], known: Collection[str]) -> bool:
    """True for a single folder that is neither a split nor a class, but holds folders and no image."""
    if len(folders) != 1:
        return False
    [(name, folder)] = folders.items()
    is_named = name.casefold() in SPLIT_NAMES or name in known
    return not is_named and bool(_folders(folder)) and not _files(folder)


def _in_splits(
    folders: Mapping[str, Path], known: Collection[str], remarks: list[str]
) -> dict[str, dict[str, Path]]:
    """The class folders of each split; {} if there are no splits. What is left out is added to `remarks`."""
    named = {
        name: folder
        for name, folder in folders.items()
        if name.casefold() in SPLIT_NAMES and name not in known
    }
    others = {name: folder for name, folder in folders.items() if name not in named}
    inner = {name: _folders(folder) for name, folder in named.items()}
    if not any(inner.values()):
        if named and not others:  # a dataset of vehicles has classes beside the one named train
            fix = "put the images of each class into a folder in it"
            raise UserError(f"the folders {', '.join(named)} hold no folders of classes", fix=fix)
        return {}
    has_train = any(inner[name] for name in named if SPLIT_NAMES[name.casefold()] == "train")
    if others and not has_train:
        classes = {*others, *known}
        for name in [name for name, classes_in in inner.items() if not classes & set(classes_in)]:
            remarks.append(f"the folder {name} is read as a class, for none of the others is in it")
            others[name] = named.pop(name)
        if not named:
            return {}
    splits: dict[str, dict[str, Path]] = {}
    for name, folder in named.items():
        split = SPLIT_NAMES[name.casefold()]
        if split in splits:
            both = sorted(each for each in named if SPLIT_NAMES[each.casefold()] == split)
            raise UserError(f"{printable(folder.parent)} holds both {' and '.join(both[::-1])}")
        splits[split] = inner[name]
        if stray := _files(folder):
            remarks.append(
                f"{_left_out(stray, 'file')} in {name} beside the classes {is_are(stray)} left out"
            )
    if not has_train:
        return ({"train": others} if others else {}) | splits
    if twice := sorted(set(others) & {name for classes_in in inner.values() for name in classes_in}):
        what = f"there are folders of classes in {_train(named)}, and besides: {', '.join(twice)}"
        raise UserError(what, fix="move them elsewhere, or put a dot before their names")
    if others:
        remarks.append(f"{_left_out(sorted(others), 'folder')} beside the splits {is_are(others)} left out")
    return splits


def _train(named: Collection[str]) -> str:
    return next(name for name in named if SPLIT_NAMES[name.casefold()] == "train")


@dataclass
class Listing:
    """The image files of a folder, with the split, the class and the name of each, and all other files.

    `names` are paths below the source, as text. `places` are those below the split, CLASS/…, by which
    examples are assigned to splits: composed (Unicode NFC), with / on every system.
    """

    files: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # the target of each, as text
    others: list[str] = field(default_factory=list)
    affected: Counter[str] = field(default_factory=Counter)  # class -> other files in it
    remarks: list[str] = field(default_factory=list)
    targets: Tensor | None = None  # (n, k) floats, if they are no classes
    is_stratified: bool = True

    @classmethod
    def of(
        cls, layout: Layout, classes: Sequence[str], endings: Sequence[str], *, may_lack: bool = False
    ) -> Listing:
        """The files of a layout, of which images have one of some `endings`.

        Raises UserError for a class that is not among `classes`, or, unless it `may_lack` images, is empty.
        """
        found = cls(remarks=list(layout.remarks))
        numbers = {composed(name): number for number, name in enumerate(classes)}
        above = f"{layout.source.as_posix()}/"
        for split, folders in layout.splits.items():
            if unknown := [name for name in folders if name not in numbers]:
                what = f"the model has no class {', '.join(sorted(unknown, key=natural))} {listed(classes)}"
                raise UserError(what, where=printable(folders[unknown[0]].parent))
            for name in sorted(folders, key=numbers.__getitem__):
                before, top = len(found.files), f"{folders[name].as_posix()}/"
                for file in files_below(folders[name]):
                    shown = printable(file.removeprefix(above))
                    if file.lower().endswith(tuple(endings)):
                        found.files.append(file)
                        found.names.append(shown)
                        found.places.append(composed(f"{name}/{file.removeprefix(top)}"))
                    else:
                        found.others.append(shown)
                        found.affected[name] += 1
                new = len(found.files) - before
                if not new and not may_lack:
                    fix = f"delete the folder, or add files that end in {', '.join(endings)}"
                    raise UserError(f"the class {name} has no image", where=str(folders[name]), fix=fix)
                found.splits += [split] * new
                found.labels += [numbers[name]] * new
                found.said += [classes[numbers[name]]] * new
        return found

    def sub_folders(self) -> list[str]:
        """The place of each file's folder below its class, CLASS/person3; "" of a file without one."""
        parts = (place.split("/", 2) for place in self.places)
        return ["/".join(each[:2]) if len(each) == 3 else "" for each in parts]


def left_out(
    names: Sequence[str], of: int, affected: Mapping[str, int], sizes: Mapping[str, int]
) -> tuple[str, str]:
    """The count of files that are left out, and in words the share of each class that lacks many.

    `of` is the number of all files, `sizes` that of the images in each class, without those.
    """
    share = f" of {of:,}" if _MANY * len(names) >= of else ""
    lacking = [
        f"{count:,} of {count + sizes.get(name, 0):,} in {name}"
        for name, count in affected.items()
        if _MANY * count >= count + sizes.get(name, 0)
    ]
    return f"{len(names):,}{share}", f" ({few(lacking)})" if lacking else ""


def natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key that sorts texts by the numbers in them: class2 before class10."""
    parts = re.split(r"([0-9]{1,18})", name)
    pairs = zip(parts[::2], [*map(int, parts[1::2]), -1], strict=True)
    return [(text.casefold(), number) for text, number in pairs], name


def _folders(place: Path) -> dict[str, Path]:
    """The folders in a folder by their names, sorted, with links to folders, without hidden ones."""
    names = []
    for entry in _entries(place):
        if entry.is_symlink() and not Path(entry.path).exists():
            raise UserError(f"{printable(entry.path)} is a link that leads nowhere", fix="delete it")
        if entry.is_dir():
            names.append(entry.name)
    for name in names:
        if printable(name) != name:
            what = f"the name of the folder {printable(place / name)} is no UTF-8 text"
            raise UserError(what, fix="give it another")
    found: dict[str, Path] = {}
    for name in sorted(names):
        if composed(name) in found:
            what = (
                f"two folders in {printable(place)} are called {name}, with its accents written in two ways"
            )
            raise UserError(what, fix="give one of them another name")
        found[composed(name)] = place / name
    return found


def _files(place: Path) -> list[str]:
    """The sorted names of the files in a folder itself, without hidden ones."""
    return sorted(printable(entry.name) for entry in _entries(place) if not entry.is_dir())


def _entries(place: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            yield from (entry for entry in entries if not is_hidden(entry.name))
    except OSError as error:
        raise UserError(f"{printable(place)} cannot be listed: {error.strerror}") from None


def _left_out(names: Sequence[str], what: str) -> str:
    return f"the {what} {names[0]}" if len(names) == 1 else f"{len(names):,} {what}s ({few(names)})"


def is_are(names: Collection[str]) -> str:
    """The verb for so many."""
    return "is" if len(names) == 1 else "are"


def few(names: Sequence[str]) -> str:
    """The first of some names, in one line."""
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
