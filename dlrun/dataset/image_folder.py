"""Your own images, in a folder for each class."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.config.data_paths import data_places
from dlrun.config.options import Count, Fraction, Normalise, Resize, Seed
from dlrun.data.decoded_images import Decoded, Decoding, decoded, decoded_once
from dlrun.data.examples import Data, Examples, carve
from dlrun.data.images import SUFFIXES, files_below, image_files, is_hidden, printable
from dlrun.data.pixels import FITS
from dlrun.errors import UserError, listed
from dlrun.system.progress import Progress, no_progress

_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}  # folder -> split
_ENDINGS = ", ".join(SUFFIXES)
_MOST_NAMED = 3  # files in a message
_MOST_SIDE = 4096  # pixels: decoding more takes more than dlrun.data.images.MOST_BYTES


def image_folder(
    root: Path,
    known: Mapping[str, Any] | None = None,
    *,
    path: str,
    size: Count | list[Count] = 64,
    colour: bool = True,
    resize: Resize = "crop",
    normalise: Normalise = "train",
    valid_fraction: Fraction = 0.0,
    test_fraction: Fraction = 0.2,
    seed: Seed = 0,
    unreadable: Literal["refuse", "skip"] = "refuse",
) -> Data:
    """Your own images, in a folder for each class.

    PNG, JPEG, WEBP and BMP files in PATH/CLASS/…, or in PATH/train/CLASS/…, PATH/test/CLASS/… and
    PATH/valid/CLASS/… (or val). `path` is looked for in the working directory, beside the config and in the
    data folder. Without a folder named test, `test_fraction` of each class is the test split; without one
    named valid, `valid_fraction` of the rest is the validation split. `seed` chooses both. Hidden folders
    (.git, __MACOSX) are no classes.

    Images are resized to `size` pixels, a number or [height, width]: crop keeps the centre of the longer
    side, pad adds black, stretch distorts; see `dlrun.data.images.read_image`. They are decoded once, into
    DATA/image_folder/, and memory-mapped from there, so that images beyond the memory are read as needed.
    That folder may be deleted; the next run decodes again.

    `normalise` is as for mnist. `unreadable: skip` leaves out damaged images and reports them.
    """
    sides = [size, size] if isinstance(size, int) else size
    if len(sides) != 2:
        raise UserError(f"size is {size}, but must be one number, or [height, width]")
    if max(sides) > _MOST_SIDE:
        raise UserError(f"size is {size}, but may be {_MOST_SIDE:,} pixels at most")
    shape = (3 if colour else 1, sides[0], sides[1])
    splits = {"train": Path(), "test": Path()}  # replaced by those of the folder below
    if known is None:
        splits = _splits(_place(path, root))
        classes = _classes(splits)
    else:
        classes = _checked(known)
        with suppress(UserError):  # a prediction does not need the training images
            splits = _splits(_place(path, root))
    every = _Images(path, root, classes, shape, resize, unreadable, test_fraction, seed)
    names = [*splits, "test"] if test_fraction and "test" not in splits else splits
    return Data(
        task="classification",
        input_shape=shape,
        read=every.read,
        classes=classes,
        splits=tuple(names),
        fit=FITS[normalise],
        valid_fraction=valid_fraction,
        seed=seed,
        prepare=every.prepare,
        read_new=partial(read_new, shape, resize, every.notes if unreadable == "skip" else None),
        resize=resize,
        known={"classes": list(classes)},
        notes=every.notes,
    )


def read_new(
    shape: tuple[int, int, int], resize: Resize, skipped: list[str] | None, path: Path
) -> tuple[list[str], Tensor]:
    """Read an image file, or all images of a folder at any depth: their names, and (n, *shape) uint8.

    Raises UserError, naming the file, for one that cannot be read; if `skipped` is a list, an unreadable
    file of a folder is added to it instead.
    """
    files = list(map(str, image_files(path))) if path.is_dir() else [str(path)]
    if not files:
        raise UserError("the folder holds no image", where=str(path), fix=f"images end in {_ENDINGS}")
    names, images = [], []
    for file, image in zip(files, decoded(Decoding(path, shape, resize), files), strict=True):
        if isinstance(image, Tensor):
            names.append(printable(file))
            images.append(image)
        elif skipped is None or not path.is_dir() or len(files) == 1:
            raise image
        else:
            skipped.append(f"{printable(file)} is left out: {image.reason}")
    if not images:
        raise UserError("no image in the folder can be read", where=printable(path))
    return names, torch.stack(images)


@dataclass
class _Images:
    """The images of all splits: `prepare` lists, decodes and assigns them."""

    path: str
    root: Path
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    resize: Resize
    unreadable: str
    test_fraction: float
    seed: int
    notes: list[str] = field(default_factory=list)
    _dealt: dict[str, Examples] = field(default_factory=dict)

    def prepare(self, progress: Progress) -> None:
        source = _place(self.path, self.root)
        listing = _listing(source, self.classes)
        decoding = Decoding(source, self.shape, self.resize)
        found = decoded_once(decoding, listing.files, self.root / "image_folder", progress)
        bad = [f"{listing.names[number]} ({why})" for number, why in found.unreadable.items()]
        if bad and self.unreadable == "refuse":
            fix = "replace or delete them, or set dataset.unreadable=skip"
            raise UserError(
                f"{_few(bad)}: {len(bad):,} of {len(listing.files):,} images cannot be read",
                where=printable(source),
                fix=fix,
            )
        self._dealt = self._deal(listing, found)
        self.notes.clear()
        if bad:
            self.notes.append(f"{_count(bad, 'image')} cannot be read and {_are(bad)} left out: {_few(bad)}")
        if listing.others:
            count = f"{_count(listing.others, 'file')} {_are(listing.others)} left out"
            self.notes.append(f"{count}, whose names end in none of {_ENDINGS}: {_few(listing.others)}")

    def read(self) -> dict[str, Examples]:
        if not self._dealt:
            self.prepare(no_progress)
        return self._dealt

    def _deal(self, listing: _Listing, found: Decoded) -> dict[str, Examples]:
        """The examples of each split, as rows of the one file that holds all decoded images."""
        kept = [group for number, group in enumerate(listing.groups) if number not in found.unreadable]
        if lost := sorted(set(listing.groups) - set(kept)):
            split, label = lost[0]
            what = f"no image of class {self.classes[label]} in {split} can be read"
            raise UserError(what, where=self.path, fix="replace them, or delete the folder")
        targets = torch.tensor([label for _, label in kept])
        # The digest covers the classes: the same images with other labels are other data.
        digest = hashlib.sha256(json.dumps([self.classes, found.digest]).encode()).hexdigest()
        dealt = {}
        for name in dict.fromkeys(split for split, _ in kept):
            rows = torch.tensor([row for row, (split, _) in enumerate(kept) if split == name])
            dealt[name] = Examples(found.images, targets[rows], rows=rows, digest=digest)
        if self.test_fraction and "test" not in dealt:
            rest, chosen = carve(dealt["train"], self.test_fraction, self.seed, by_class=True)
            if not len(chosen):
                fix = "raise dataset.test_fraction, or add a folder named test"
                raise UserError(f"{self.test_fraction} of each class leaves no image to test on", fix=fix)
            dealt |= {"train": rest, "test": chosen}
        return dealt


@dataclass
class _Listing:
    """The files with the suffix of an image, with the split and class of each, and all other files."""

    files: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # below the source, as text
    groups: list[tuple[str, int]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def _listing(source: Path, classes: Sequence[str]) -> _Listing:
    """List all files of a source folder. Raises UserError for a class that is empty or not in `classes`."""
    found = _Listing()
    for split, folder in _splits(source).items():
        names = _folders(folder)
        if unknown := [name for name in names if name not in classes]:
            raise UserError(
                f"the model has no class {', '.join(unknown)} {listed(classes)}", where=str(folder)
            )
        for name in names:
            before = len(found.files)
            for file in files_below(folder / name):
                below = printable(file.removeprefix(f"{source.as_posix()}/"))
                if file.lower().endswith(SUFFIXES):
                    found.files.append(file)
                    found.names.append(below)
                else:
                    found.others.append(below)
            new = len(found.files) - before
            if not new:
                fix = f"delete the folder, or add files that end in {_ENDINGS}"
                raise UserError(f"the class {name} has no image", where=str(folder / name), fix=fix)
            found.groups += [(split, classes.index(name))] * new
    return found


def _place(path: str, root: Path) -> Path:
    """The folder that `path` names, in the working directory or the data folder."""
    fix = "name the folder of the class folders with dataset.path=…"
    try:
        places = data_places(path, root)
        place = next((place for place in places if place.is_dir()), None)
    except OSError as error:  # a name that is too long
        what = error.strerror or error
        raise UserError(f"there is no folder {printable(path[:100])}: {what}", fix=fix) from None
    if place is None:
        raise UserError(f"there is no folder {' or '.join(dict.fromkeys(map(printable, places)))}", fix=fix)
    if root.resolve().is_relative_to(place.resolve()):
        raise UserError(
            f"the data folder {printable(root)} lies among the images, and would become a class",
            fix="name another with --data-dir",
        )
    return place


def _splits(source: Path) -> dict[str, Path]:
    """The folder of each split; if the source holds classes, it is itself the training folder.

    Raises UserError if its folders could be either splits or classes.
    """
    names = _folders(source)
    splits = [name for name in names if name in _SPLITS]
    inside = _folders(source / "train") if "train" in names else []
    if len(splits) < len(names) or not names:
        if not inside:
            return {"train": source}  # a dataset of vehicles may have a class named train
        others = ", ".join(name for name in names if name not in _SPLITS)
        raise UserError(
            f"{printable(source)} holds classes in the folder train, and besides: {others}",
            fix="move them elsewhere, or put a dot before their names",
        )
    if not inside:
        raise UserError(f"{printable(source / 'train')} holds no folders with the images of a class")
    if {"valid", "val"} <= set(names):
        raise UserError(f"{printable(source)} holds both valid and val")
    order = list(_SPLITS)
    return {_SPLITS[name]: source / name for name in sorted(splits, key=order.index)}


def _classes(splits: Mapping[str, Path]) -> tuple[str, ...]:
    """The classes of all splits. Raises UserError if the splits have different classes."""
    found = {split: _folders(folder) for split, folder in splits.items()}
    classes = found["train"]
    if not classes:
        raise UserError(
            f"{printable(splits['train'])} holds no folders", fix="put the images of each class into a folder"
        )
    for split, names in found.items():
        for one, other, has, has_not in ((classes, names, "train", split), (names, classes, split, "train")):
            if alone := [name for name in one if name not in other]:
                raise UserError(
                    f"{has} has the class {', '.join(alone)}, and {has_not} has not: {splits[split]}",
                    fix="give all splits the same class folders",
                )
    return tuple(classes)


def _folders(place: Path) -> list[str]:
    """The sorted names of the folders in a folder, with links to folders, without hidden ones."""
    try:
        with os.scandir(place) as entries:
            shown = [entry for entry in entries if not is_hidden(entry.name)]
            for entry in shown:
                if entry.is_symlink() and not Path(entry.path).exists():
                    raise UserError(f"{printable(entry.path)} is a link that leads nowhere", fix="delete it")
            names = sorted(entry.name for entry in shown if entry.is_dir())
    except OSError as error:
        raise UserError(f"{printable(place)} cannot be listed: {error.strerror}") from None
    for name in names:
        if printable(name) != name:
            what = f"the name of the folder {printable(place / name)} is no UTF-8 text"
            raise UserError(what, fix="give it another")
    return names


def _checked(known: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes stored in a checkpoint. Raises ValueError if they are malformed."""
    classes = known["classes"]
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise ValueError("classes")
    if len(set(classes)) < len(classes):
        raise ValueError("classes")
    return tuple(classes)


def _count(names: Sequence[str], what: str) -> str:
    return f"{len(names):,} {what}{'s' * (len(names) != 1)}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
