"""Examples made of the images in a folder, which are listed, decoded and dealt out to the splits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.config.data_paths import data_places
from dlrun.config.file_kinds import is_table_name
from dlrun.data.examples import EVALUATION_BATCH, Examples, NewInputs, Scaling
from dlrun.data.folds import HashFolds
from dlrun.data.hash_split import HashSplit
from dlrun.data.image_files.dealing import Dealing, Kept
from dlrun.data.image_files.decoded_images import CACHE, Decoded, Decoding, decoded, decoded_once
from dlrun.data.image_files.finding import image_files, printable
from dlrun.data.image_files.grey_levels import Levels, said_levels
from dlrun.data.image_files.labels import ImageLabels
from dlrun.data.image_files.layout import Layout, Listing, few, is_are, left_out
from dlrun.data.image_files.reading import Picture
from dlrun.data.tabular.encoding import remembered_scalings
from dlrun.errors import UserError
from dlrun.system.files import is_file, size_text
from dlrun.system.progress import Progress, no_progress

_PIECE = 2**24  # bytes of new images that are read together
_OF_LABELLED = 2**40  # from this number in `Examples.origin` on an image is of a labelled folder
_LARGE = 2**30  # bytes of decoded images that are worth a message
_FEW_LEVELS = 0.1  # of the 256 grey levels, if the usual values have no more


@dataclass
class Images:
    """The images of all splits: `prepare` lists, decodes and assigns them."""

    path: str
    root: Path
    classes: tuple[str, ...]
    decoding: Decoding
    endings: tuple[str, ...]
    unreadable: str
    dealing: Dealing
    before: KnownImages | None
    table: ImageLabels | None = None
    size: tuple[int, int] | None = None  # (height, width) of the centres that the model gets; None: all of it
    notes: list[str] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)
    _dealt: dict[str, Examples] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)
    _more_names: list[str] = field(default_factory=list)  # of a labelled folder that was read besides

    def __post_init__(self) -> None:
        split, levels = (self.before.split, self.before.levels) if self.before else (None, None)
        self.known["classes"] = list(self.classes)
        self.known["split"] = split.known() if split else None
        if self.dealing.fold:
            folds = self.before.folds if self.before else None
            self.known["folds"] = folds.known() if folds else None
        self.known["levels"] = list(levels) if levels else None
        self._is_measured = not self.before and not self.decoding.levels

    def prepare(self, progress: Progress) -> None:
        source = image_place(self.path, self.root)
        listing = self._listing(source)
        decoding = replace(self._decoding(source), measured=self._is_measured)
        found = decoded_once(decoding, listing.files, self.root / CACHE, progress)
        self._refuse_unreadable(source, listing, found)
        kept = Kept.of(listing, found)
        if lost := sorted({*zip(listing.splits, listing.labels, strict=True)} - _groups(kept)):
            split, label = lost[0]
            of_class = f" of class {self.classes[label]}" if listing.is_stratified else ""
            what = f"no image{of_class} in {split} can be read"
            raise UserError(what, where=self.path, fix="replace them, or delete the folder")
        if self._is_measured:
            self.known["levels"] = list(found.levels) if found.levels else None
        self._dealt = self._deal(kept, found)
        self._names = kept.names
        self.notes[:] = [
            *listing.remarks,
            *self._notes_of_files(listing, found),
            *_notes_of_pixels(found),
            *_notes_of_size(found, self.root),
            *self._notes_of_folds(kept),
            *self.dealing.notes(self._dealt, kept, is_by_hash=self.known["split"] is not None),
        ]

    def read(self) -> dict[str, Examples]:
        if not self._dealt:
            self.prepare(no_progress)
        return self._dealt

    def name_of(self, number: int) -> str:
        """The path of an image below the folder that was read, by its number in `Examples.origin`."""
        if number >= _OF_LABELLED:
            return self._more_names[number - _OF_LABELLED]
        if not self._dealt:
            self.prepare(no_progress)
        return self._names[number]

    def read_labelled(self, path: Path) -> Examples:
        """All images of another folder of class folders, with or without splits.

        Raises UserError for a class that the model does not know; some may be missing.
        """
        listing = self._listing(path, is_own=False)
        if not listing.files:
            raise UserError("the folder holds no image", where=printable(path), fix=self._said_endings())
        found = decoded_once(self._decoding(path), listing.files, self.root / CACHE, no_progress)
        self._refuse_unreadable(path, listing, found)
        kept = Kept.of(listing, found)
        if not kept.names:
            raise UserError("no image in the folder can be read", where=printable(path))
        remarks = [*listing.remarks, *self._notes_of_files(listing, found), *_notes_of_pixels(found)]
        self.notes += [note for note in remarks if note not in self.notes]
        origin = _OF_LABELLED + len(self._more_names) + torch.arange(len(kept.names))
        self._more_names += kept.names
        rows = torch.arange(len(kept.names))
        digest = self._digest(found)
        centres = self._centres(found.images)
        return Examples(centres, kept.targets, rows=rows, digest=digest, keys=kept.keys, origin=origin)

    def read_new(self, path: Path) -> Iterator[NewInputs]:
        """Yield an image file, or all images of a folder at any depth, in pieces.

        Raises UserError for a file that cannot be read; of a folder such files are among the refused ones.
        """
        files = list(map(str, image_files(path, self.endings))) if path.is_dir() else [str(path)]
        if not files:
            raise UserError("the folder holds no image", where=str(path), fix=self._said_endings())
        decoding, remarks = self._decoding(path), Counter[str]()
        size = max(1, min(EVALUATION_BATCH, _PIECE // decoding.bytes))
        with closing(decoded(decoding, files)) as pictures:
            for start in range(0, len(files), size):
                some = files[start : start + size]
                found = [next(pictures) for _ in some]
                refused = {place: one for place, one in enumerate(found) if isinstance(one, UserError)}
                if refused and not path.is_dir():
                    raise refused[0]
                images = [one.pixels for one in found if isinstance(one, Picture)]
                remarks.update(name for one in found if isinstance(one, Picture) for name in one.remarks)
                every = torch.stack(images) if images else torch.empty(0, *decoding.shape, dtype=torch.uint8)
                yield NewInputs(
                    [printable(file) for file in some],
                    self._centres(every),
                    {place: getattr(error, "reason", error.what) for place, error in refused.items()},
                )
        self.notes += _said_remarks(remarks, decoding.levels)

    def _listing(self, source: Path, *, is_own: bool = True) -> Listing:
        """The files of the dataset's own folder, or of another one, in which classes may be missing."""
        if self.table:
            return self.table.listing(source, self.root, self.endings, self.classes)
        known = self.before.classes if self.before else () if is_own else self.classes
        layout = Layout.of(source, known=known, needs_train=is_own)
        return Listing.of(layout, self.classes, self.endings, may_lack=not is_own)

    def _decoding(self, source: Path) -> Decoding:
        """The settings of training for the images of a folder."""
        levels = self.known["levels"]
        return replace(
            self.decoding, source=source, levels=self.decoding.levels or (levels and tuple(levels))
        )

    def _centres(self, images: Tensor) -> Tensor:
        """The part of stored images (n, channels, height, width) that the model gets, without a copy."""
        rows, columns = images.shape[2:]
        height, width = self.size or (rows, columns)
        top, left = round((rows - height) / 2), round((columns - width) / 2)
        return images[:, :, top : top + height, left : left + width]

    def _deal(self, kept: Kept, found: Decoded) -> dict[str, Examples]:
        """The examples of each split, as rows of the one file that holds all decoded images."""
        centres = self._centres(found.images)
        every = Examples(
            centres,
            kept.targets,
            rows=torch.arange(len(kept.names)),
            digest=self._digest(found),
            keys=kept.keys,
            origin=torch.arange(len(kept.names)),
            stored=None if centres.shape == found.images.shape else found.images,
        )
        before = self.before.split if self.before else None
        dealt, split = self.dealing.dealt(every, kept, self.classes, before)
        if split:
            self.known["split"] = split.known()
        if self.dealing.fold:
            folds_before = self.before.folds if self.before else None
            dealt, folds = self.dealing.in_folds(dealt, every, kept, self.classes, folds_before)
            self.known["folds"] = folds.known() if folds else None
        return dealt

    def _digest(self, found: Decoded) -> str:
        """Covers the classes: the same images with other labels are other data."""
        return hashlib.sha256(json.dumps([self.classes, found.digest]).encode()).hexdigest()

    def _refuse_unreadable(self, source: Path, listing: Listing, found: Decoded) -> None:
        bad = _said_unreadable(listing, found)
        if bad and self.unreadable == "refuse":
            raise UserError(
                f"{few(bad)}: {len(bad):,} of {len(listing.files):,} images cannot be read",
                where=printable(source),
                fix="replace or delete them, or set dataset.unreadable=skip",
            )

    def _notes_of_files(self, listing: Listing, found: Decoded) -> Iterator[str]:
        """The files that are left out, in words."""
        labels = listing.labels if listing.is_stratified else []
        sizes = Counter(self.classes[label] for label in labels)
        if bad := _said_unreadable(listing, found):
            affected = Counter(self.classes[labels[number]] for number in found.unreadable if labels)
            sizes -= affected
            count, lacking = left_out(bad, len(listing.files), affected, sizes)
            images = f"{count} image{'s' * (len(bad) != 1)}"
            yield f"{images} cannot be read and {is_are(bad)} left out{lacking}: {few(bad)}"
        if others := listing.others:
            count, lacking = left_out(others, len(listing.files) + len(others), listing.affected, sizes)
            files = f"{count} file{'s' * (len(others) != 1)} {is_are(others)} left out{lacking}"
            yield f"{files}, whose names end in none of {', '.join(self.endings)}: {few(others)}"

    def _notes_of_folds(self, kept: Kept) -> Iterator[str]:
        if self.dealing.fold and (count := kept.splits.count("valid")):
            are = "is" if count == 1 else "are"
            yield f"{_count(count, 'image')} of valid {are} parted into folds as all others"

    def _said_endings(self) -> str:
        return f"images end in {', '.join(self.endings)}"


@dataclass(frozen=True)
class KnownImages:
    """The plain values that a checkpoint has of the images of training."""

    classes: tuple[str, ...]
    split: HashSplit | None = None
    folds: HashFolds | None = None
    levels: Levels | None = None
    scaling: Scaling | None = None

    @classmethod
    def of(cls, known: Mapping[str, Any], *, has_classes: bool) -> KnownImages:
        """Raises ValueError, TypeError or KeyError if they are malformed."""
        classes, split, levels = known["classes"], known.get("split"), known.get("levels")
        folds = known.get("folds")
        if (
            not isinstance(classes, list)
            or bool(classes) != has_classes
            or not all(isinstance(name, str) for name in classes)
        ):
            raise ValueError("classes")
        if len(set(classes)) < len(classes):
            raise ValueError("classes")
        return cls(
            tuple(classes),
            HashSplit.remembered(split) if split is not None else None,
            HashFolds.remembered(folds) if folds is not None else None,
            levels_of(levels) if levels is not None else None,
            remembered_scalings(known.get("scaling")),
        )


def _notes_of_pixels(found: Decoded) -> Iterator[str]:
    """The images that are not shown as they are, in words."""
    yield from _said_remarks(found.counts, found.levels)
    if found.spread and found.levels and (used := found.spread.used(found.levels)) < _FEW_LEVELS:
        usual = said_levels((found.spread.usual_low, found.spread.usual_high))
        low, high = (round(value, 6) for value in (found.spread.usual_low, found.spread.usual_high))
        yield (
            f"nearly all values lie between {usual.replace(' to ', ' and ')}, which is {100 * used:.1g} % of "
            f"the range: they become {max(1, round(256 * used))} of 256 grey levels; "
            f"dataset.value_range=[{low:g},{high:g}] takes that range instead"
        )


def _notes_of_size(found: Decoded, root: Path) -> Iterator[str]:
    if found.is_new and found.images.nbytes >= _LARGE:
        size = size_text(found.images.nbytes)
        yield f"the decoded images take {size} in {root / CACHE}; dlrun data --clear-cache deletes them"


def _said_remarks(counts: Mapping[str, int], levels: Levels | None) -> Iterator[str]:
    if count := counts.get("deep"):
        said = said_levels(levels) if levels else "0 to 65535"
        yield f"{_count(count, 'image')} of more than 8 bits: {said} are read as 0 to 255"
    if count := counts.get("clipped"):
        yield f"{_count(count, 'image')} with values beyond that range, where they are cut off"
    if count := counts.get("cut"):
        yield f"{_count(count, 'image')} with 16 bits for each colour, of which the upper 8 are read"
    if count := counts.get("first"):
        yield f"{_count(count, 'image')} with several frames or pages, of which the first is read"


def _said_unreadable(listing: Listing, found: Decoded) -> list[str]:
    return [f"{listing.names[number]} ({why})" for number, why in found.unreadable.items()]


def _groups(kept: Kept) -> set[tuple[str, int]]:
    return {*zip(kept.splits, kept.labels.tolist(), strict=True)}


def image_place(path: str, root: Path) -> Path:
    """The folder that `path` names, in the working directory or the data folder."""
    fix = "name the folder of the class folders with dataset.path=…"
    try:
        places = data_places(path, root)
        place = next((place for place in places if place.is_dir()), None)
    except OSError as error:  # a name that is too long
        what = error.strerror or error
        raise UserError(f"there is no folder {printable(path[:100])}: {what}", fix=fix) from None
    if place is None:
        if file := next((place for place in places if is_file(place)), None):
            another = "; the dataset csv reads a table" if is_table_name(file.name) else ""
            raise UserError(f"{printable(file)} is a file, not a folder of images", fix=fix + another)
        raise UserError(f"there is no folder {' or '.join(dict.fromkeys(map(printable, places)))}", fix=fix)
    if root.resolve().is_relative_to(place.resolve()):
        raise UserError(
            f"the data folder {printable(root)} lies among the images, and would become a class",
            fix="name another with --data-dir",
        )
    return place


def levels_of(stated: Sequence[float] | None) -> Levels | None:
    """Two values, the first smaller. Raises UserError for any others."""
    if stated is None:
        return None
    numbers = [float(value) for value in stated]
    if len(numbers) != 2 or not numbers[0] <= numbers[1] < float("inf"):
        raise UserError(f"value_range is {numbers}, but must be two values, the smaller one first")
    return numbers[0], numbers[1]


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
