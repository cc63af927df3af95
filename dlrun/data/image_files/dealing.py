"""Images dealt out to the splits: by a hash, by the folder in which they lie, or drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dlrun.data.examples import Examples
from dlrun.data.folds import Fold, HashFolds, drawn_folds, refuse_uneven
from dlrun.data.hash_split import HashSplit, mixed_keys, text_keys, together
from dlrun.data.hold_out import carve
from dlrun.data.image_files.decoded_images import Decoded
from dlrun.data.image_files.layout import Listing, few
from dlrun.errors import UserError


@dataclass(frozen=True)
class Dealing:
    """The rule by which the images of train are dealt out to the splits that have no folder."""

    rule: str
    seed: int
    test_fraction: float
    valid_fraction: float
    by_folder: bool
    fold: Fold | None = None

    def in_folds(
        self,
        dealt: Mapping[str, Examples],
        every: Examples,
        kept: Kept,
        classes: Sequence[str],
        before: HashFolds | None,
    ) -> tuple[dict[str, Examples], HashFolds | None]:
        """The examples of each split with the fold as the validation split, and the folds if a hash decides.

        The test split stays; the others are parted anew, by the folds of training (`before`) if there was
        one. Raises UserError for a fold without images of a class.
        """
        assert self.fold, "only called for folds"
        test = {name: some for name, some in dealt.items() if name == "test"}
        pool = torch.tensor([split != "test" for split in kept.splits])
        if test and (origin := test["test"].origin) is not None:
            pool[origin] = False
        places = pool.nonzero().squeeze(1)
        labels = kept.labels[places] if kept.is_stratified else None
        count, folds = self.fold.count, before
        if self.rule == "drawn":
            keys, numbers = None, drawn_folds(len(places), labels, count, self.seed)
        else:
            keys = next(self.keys(kept))[places]
            of_place = None if self.by_folder else labels
            if folds is None and self.by_folder:
                folds = HashFolds.of_groups(keys, labels, seed=self.seed, count=count)
            elif folds is None:
                folds = HashFolds.fitted(keys, classes, labels, seed=self.seed, count=count)
            numbers = folds.numbers(keys, classes, of_place)
        if before is None:
            refuse_uneven(numbers, keys, classes, labels, count)
        parted = self.fold.parted(numbers)
        return {
            name: every.take(places[torch.from_numpy(some)]) for name, some in parted.items()
        } | test, folds

    def dealt(
        self, every: Examples, kept: Kept, classes: Sequence[str], before: HashSplit | None
    ) -> tuple[dict[str, Examples], HashSplit | None]:
        """The examples of each split, and the borders between them if a hash decides.

        `before` are the borders of training, if there was one. Raises UserError for a split that is empty.
        """
        dealt = {
            name: every.take(torch.tensor([n for n, split in enumerate(kept.splits) if split == name]))
            for name in dict.fromkeys(kept.splits)
        }
        if self.rule == "drawn":
            if self.test_fraction:
                by_class = kept.is_stratified
                rest, chosen = carve(dealt["train"], self.test_fraction, self.seed, by_class=by_class)
                dealt |= {"train": rest, "test": chosen}
                self._refuse_empty("test", chosen)
            return dealt, None
        if not self.test_fraction and not self.valid_fraction:
            return dealt, None
        train = dealt["train"]
        for keys in self.keys(kept):
            some = keys[train.origin]
            labels = kept.labels[train.origin] if kept.is_stratified else None
            split = self.split(some, classes, labels, before)
            parts = split.rows(some, classes, labels)
            if all(map(len, parts.values())):
                break
        for name, rows in parts.items():
            dealt[name] = train.take(rows)
            if not (self.fold and name == "valid"):
                self._refuse_empty(name, dealt[name])
        return dealt, split

    def keys(self, kept: Kept) -> Iterator[Tensor]:
        """A key for each image, by which it is assigned; then others, if these leave a split empty.

        It is the key of its folder; or one that equal images have in common, then that of its own name.
        """
        if self.by_folder:
            folders = zip(kept.folders, kept.places, strict=True)
            yield text_keys(folder or place for folder, place in folders)
            return
        own = text_keys(kept.places)
        yield together(own, kept.pixels, self.seed)
        yield own

    def split(
        self, keys: Tensor, classes: Sequence[str], labels: Tensor | None, known: HashSplit | None
    ) -> HashSplit:
        """The borders between the splits: those of training, unless the options are others."""
        asked = (self.seed, self.test_fraction, self.valid_fraction)
        if known and asked == (known.seed, known.test_fraction, known.valid_fraction):
            return known
        return HashSplit.fitted(
            keys,
            classes,
            labels,
            seed=self.seed,
            test_fraction=self.test_fraction,
            valid_fraction=self.valid_fraction,
        )

    def notes(self, dealt: Mapping[str, Examples], kept: Kept, *, is_by_hash: bool) -> Iterator[str]:
        """The images that are alike and stand in several splits, in words."""
        if is_by_hash and not self.by_folder:
            yield from self._notes_of_equals(dealt)
        yield from self._notes_of_folders(dealt, kept)

    def _notes_of_equals(self, dealt: Mapping[str, Examples]) -> Iterator[str]:
        """The images that had to be dealt out apart from their equals, in words."""
        splits = {name: examples.keys for name, examples in dealt.items()}
        for name in ("valid", "test"):
            keys, train = splits.get(name), splits["train"]
            has_folder = not (getattr(self, f"{name}_fraction") or (self.fold and name == "valid"))
            if has_folder or keys is None or train is None:
                continue
            if count := int(torch.isin(keys, train).sum()):
                yield (
                    f"{count:,} of {len(keys):,} {name} images are in train too, pixel for pixel: there are "
                    "too few different ones for equal ones to stand together"
                )

    def _notes_of_folders(self, dealt: Mapping[str, Examples], kept: Kept) -> Iterator[str]:
        """The folders below the classes whose images are in several splits, in words."""
        if self.by_folder:
            if not any(kept.folders):
                yield "group: folder has no effect, for no class has folders in it"
            return
        several = {
            label
            for label, count in Counter(folder.split("/")[0] for folder in {*kept.folders} if folder).items()
            if count > 1
        }
        places: dict[str, set[str]] = {}
        for name, examples in dealt.items():
            for number in examples.origin.tolist() if examples.origin is not None else ():
                if (folder := kept.folders[number]) and folder.split("/")[0] in several:
                    places.setdefault(folder, set()).add(name)
        torn = [folder.removeprefix("/") for folder, names in places.items() if len(names) > 1]
        if torn:
            yield (
                f"images of the same folder are in train and in valid or test: {few(torn)} ({len(torn):,} "
                "folders); if those of a folder are alike, such as frames of one film, figures are too good: "
                "dataset.group=folder keeps them together"
            )

    def _refuse_empty(self, name: str, examples: Examples) -> None:
        if not len(examples):
            fraction = getattr(self, f"{name}_fraction", 1.0)
            to = {"test": "test on", "valid": "validate on", "train": "train on"}[name]
            fix = f"change dataset.{name}_fraction (0: no such split), or add a folder named {name}"
            raise UserError(f"{fraction} of each class leaves no image to {to}", fix=fix)


@dataclass(frozen=True)
class Kept:
    """The images that could be read, in the order of the decoded ones."""

    names: list[str]
    places: list[str]
    folders: list[str]
    splits: list[str]
    labels: Tensor
    targets: Tensor
    is_stratified: bool
    pixels: Tensor  # a key of the pixels of each
    keys: Tensor  # of its pixels and its target

    @classmethod
    def of(cls, listing: Listing, found: Decoded) -> Kept:
        some = [number for number in range(len(listing.files)) if number not in found.unreadable]
        folders = listing.sub_folders()
        labels = torch.tensor([listing.labels[number] for number in some], dtype=torch.int64)
        return cls(
            [listing.names[number] for number in some],
            [listing.places[number] for number in some],
            [folders[number] for number in some],
            [listing.splits[number] for number in some],
            labels,
            labels if listing.targets is None else listing.targets[some],
            listing.is_stratified,
            found.keys,
            mixed_keys(found.keys, text_keys(listing.said[number] for number in some)),
        )
