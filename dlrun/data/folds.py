"""Folds of cross-validation: parts of the examples, of which one takes the place of the validation split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlrun.config.options import MOST_FOLDS
from dlrun.data.hash_split import RANKS, nearest, ranks_of
from dlrun.errors import UserError, shortened
from dlrun.system.randomness import generator

LATER = "later"  # the dates behind a fold and before the test split


@dataclass(frozen=True)
class Fold:
    """Fold `number` of `count`, numbered from 0: it is held out, and the others are trained on."""

    number: int
    count: int

    @classmethod
    def of(cls, folds: int | None, fold: int | None) -> Fold | None:
        """The fold that the options of a dataset choose; None without folds. Raises UserError otherwise."""
        if folds is None and fold is None:
            return None
        if folds is None:
            raise UserError("a fold is one of several, and folds is not set", fix="set dataset.folds=5")
        last = folds - 1
        if fold is None:
            fix = f"hold out one with dataset.fold=0, or each in turn: dlrun train CONFIG --folds {folds}"
            raise UserError(f"there are {folds} folds, and none is chosen to be held out", fix=fix)
        if fold > last:
            what = f"there is no fold {fold} among {folds}, which are numbered from 0"
            raise UserError(what, fix=f"write one from 0 to {last}")
        return cls(fold, folds)

    def block(self, n: int) -> tuple[int, int]:
        """The place (start, end) of the fold among `n` examples in the order of time.

        Folds are the last blocks of one length, and what stands before a block is trained on. Raises
        UserError for fewer examples than there are blocks with the first one, which is never held out.
        """
        length = n // (self.count + 1)
        if not length:
            raise UserError(
                f"{n:,} examples in the order of time make no {self.count} folds with some before the first",
                fix="take fewer folds, or more examples",
            )
        start = n - (self.count - self.number) * length
        return start, start + length

    def dates(self, ordered: Sequence[int]) -> dict[str, int]:
        """The first date of the block among dates in their order, and that of what is later, if any is."""
        start, end = starts_of(ordered, self.block(len(ordered)))
        found = {"valid": ordered[start]}
        return found if end == len(ordered) else found | {LATER: ordered[end]}

    def parted(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The places (m,) of the training and of the validation split, by the fold (n,) of each example."""
        is_held_out = numbers == self.number
        return {"train": np.flatnonzero(~is_held_out), "valid": np.flatnonzero(is_held_out)}


@dataclass(frozen=True)
class HashFolds:
    """The folds of the examples of each class, by which new examples are placed too.

    An example has a rank, as in `HashSplit`. From the rank `pieces[class][i][0]` to the next one, examples of
    the class are in fold `pieces[class][i][1]`. Without classes, or of whole groups, the class is "".
    """

    seed: int
    count: int
    pieces: Mapping[str, tuple[tuple[int, int], ...]]

    @classmethod
    def fitted(
        cls, keys: Tensor, classes: Sequence[str], labels: Tensor | None, *, seed: int, count: int
    ) -> HashFolds:
        """Folds of the examples of each class by the ranks of their keys (n,).

        A class `labels` (n,) is spread over all folds, which differ by at most one example as far as equal
        keys allow.
        """
        ranks = ranks_of(keys, seed)
        names = classes if labels is not None else ("",)
        of_class = np.zeros(len(ranks), np.int64) if labels is None else labels.numpy()
        sizes = _sizes(of_class, len(names), count)
        pieces = {
            name: _in_order(ranks[of_class == place], own)
            for place, (name, own) in enumerate(zip(names, sizes, strict=True))
            if own.any()
        }
        return cls(seed, count, pieces)

    @classmethod
    def of_groups(cls, keys: Tensor, labels: Tensor | None, *, seed: int, count: int) -> HashFolds:
        """Folds of whole groups, whose examples have one key each, as even in size and classes as they allow.

        The largest group comes first, and each goes to the fold that has the least of its classes so far. Of
        equal ones the rank decides.
        """
        ranks, group = np.unique(ranks_of(keys, seed), return_inverse=True)
        of_class = np.zeros(len(keys), np.int64) if labels is None else labels.numpy()
        counts = np.zeros((len(ranks), int(of_class.max(initial=0)) + 1))
        np.add.at(counts, (group, of_class), 1)
        shares = counts / np.maximum(1, counts.sum(0))  # a rare class counts as much as a frequent one
        filled, sizes = np.zeros((count, shares.shape[1])), np.zeros(count)
        found = np.zeros(len(ranks), np.int64)
        order = np.argsort(-counts.sum(1), kind="stable")
        for place in order:
            fold = int(np.lexsort((sizes, (filled @ shares[place]).round(12)))[0])
            filled[fold] += shares[place]
            sizes[fold] += counts[place].sum()
            found[place] = fold
        starts = [place for place in range(len(ranks)) if not place or found[place] != found[place - 1]]
        return cls(seed, count, {"": tuple((int(ranks[place]), int(found[place])) for place in starts)})

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> HashFolds:
        """The folds in a checkpoint. Raises ValueError, TypeError or KeyError if they are malformed."""
        seed, count, pieces = known["seed"], known["count"], {}
        if type(seed) is not int or type(count) is not int:
            raise TypeError("the seed and the number of folds are whole numbers")
        if not 2 <= count <= MOST_FOLDS:
            raise ValueError("there are too few or too many folds")
        for name, own in known["pieces"].items():
            pairs = tuple((start, fold) for start, fold in own)
            if (
                not isinstance(name, str)
                or not pairs
                or any(type(n) is not int for pair in pairs for n in pair)
            ):
                raise TypeError("the ranks of folds are whole numbers")
            starts = [start for start, _ in pairs]
            if starts != sorted(starts) or starts[0] < 0 or starts[-1] > RANKS:
                raise ValueError("the ranks of folds contradict each other")
            if not all(0 <= fold < count for _, fold in pairs):
                raise ValueError("there are fewer folds")
            pieces[name] = pairs
        return cls(seed, count, pieces)

    def known(self) -> dict[str, Any]:
        """The folds as plain values, for a checkpoint."""
        pieces = {name: [list(pair) for pair in own] for name, own in self.pieces.items()}
        return {"seed": self.seed, "count": self.count, "pieces": pieces}

    def numbers(self, keys: Tensor, classes: Sequence[str], labels: Tensor | None) -> np.ndarray:
        """The fold (n,) of each example, by the keys (n,); `labels` (n,) are the numbers of classes."""
        ranks = ranks_of(keys, self.seed)
        usual = tuple((fold * (RANKS // self.count), fold) for fold in range(self.count))
        usual = self.pieces.get("", usual)
        names = classes if labels is not None else ("",)
        of_class = np.zeros(len(ranks), np.int64) if labels is None else labels.numpy()
        found = np.zeros(len(ranks), np.int64)
        for place, name in enumerate(names):
            starts, folds = np.array(self.pieces.get(name, usual), np.uint64).T
            own = np.flatnonzero(of_class == place)
            # below the first rank, an example is in the fold of the first
            found[own] = folds[np.maximum(0, np.searchsorted(starts, ranks[own], "right") - 1)]
        return found


def splits_of(valid_fraction: float, test_fraction: float, fold: Fold | None) -> tuple[str, ...]:
    """The names of the splits that these options lead to."""
    return ("train", *["valid"] * bool(valid_fraction or fold), *["test"] * bool(test_fraction))


def by_date(dates: np.ndarray, borders: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The places (m,) of the training and of the validation split, by the dates (n,) of `Fold.dates`."""
    is_before = dates < borders["valid"]
    is_later = dates >= borders[LATER] if LATER in borders else np.zeros(len(dates), bool)
    return {"train": np.flatnonzero(is_before), "valid": np.flatnonzero(~is_before & ~is_later)}


def starts_of(dates: Sequence[int], borders: Sequence[int]) -> list[int]:
    """The places of splits' borders among sorted dates, moved so that no date has examples on both sides.

    If no later date follows, one moves to the start of the last date; with a single date it stays.
    """
    starts = [0, *(place for place in range(1, len(dates)) if dates[place] != dates[place - 1])]
    if len(starts) == 1:
        return [*borders]
    return [
        border
        if border in (0, len(dates))
        else next((start for start in starts if start >= border), starts[-1])
        for border in borders
    ]


def drawn_folds(n: int, labels: Tensor | None, count: int, seed: int) -> np.ndarray:
    """The fold (n,) of each of `n` examples, drawn by the seed alone, in equal shares of each class (n,)."""
    of_class = np.zeros(n, np.int64) if labels is None else labels.numpy()
    chooser, found = generator("folds", seed, 0), np.zeros(n, np.int64)
    for place, sizes in enumerate(_sizes(of_class, int(of_class.max(initial=0)) + 1, count)):
        own = np.flatnonzero(of_class == place)
        drawn = torch.randperm(len(own), generator=chooser).numpy()
        found[own[drawn]] = np.repeat(np.arange(count), sizes)
    return found


def refuse_uneven(
    numbers: np.ndarray,
    keys: Tensor | None,
    classes: Sequence[str],
    labels: Tensor | None,
    count: int,
    source: str = "",
) -> None:
    """Raise UserError for a fold without an example, or without one of a class of `labels` (n,).

    Examples with equal `keys` (n,) stand together.
    """
    different = np.arange(len(numbers)) if keys is None else keys.numpy()
    of_class = np.zeros(len(numbers), np.int64) if labels is None else labels.numpy()
    for place, name in enumerate(("",) if labels is None else classes):
        own = of_class == place
        if len(np.unique(numbers[own])) == count or (name and not own.any()):
            continue
        n, groups = int(own.sum()), len(np.unique(different[own]))
        has = f"class {shortened(name)} has" if name else f"there {'is' if n == 1 else 'are'}"
        said = f"{has} {n:,} example{'s' * (n != 1)}"
        said += f" in {groups:,} group{'s' * (groups != 1)} that stand together" * (groups < n)
        fix = f"set dataset.folds={groups}, or " if 1 < groups < count else ""
        if groups >= count:
            said += ", of which a fold gets none"
            fix = "take fewer folds, or "
        else:
            said += f", too few for {count} folds"
        raise UserError(said, where=source, fix=f"{fix}{'leave the class out' if name else 'add examples'}")


def _sizes(of_class: np.ndarray, classes: int, count: int) -> np.ndarray:
    """The examples (classes, folds) of each class in each fold; sizes of folds differ by one at most.

    Examples in the order of their classes are dealt out in turn, as by scikit-learn's StratifiedKFold.
    """
    ends = np.cumsum(np.bincount(of_class, minlength=classes))
    dealt = (ends[:, None] + count - 1 - np.arange(count)) // count  # before each end, to each fold
    return np.diff(dealt, axis=0, prepend=0)


def _in_order(ranks: np.ndarray, sizes: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The pieces of one class whose folds have about these sizes, from the lowest rank on."""
    groups, counts = np.unique(ranks, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])  # examples before each group, and in all
    pieces, first, wanted = [(0, 0)], 0, 0
    for fold, size in enumerate(sizes[:-1], 1):
        wanted += size
        first = nearest(before, wanted, first, len(groups) - (len(sizes) - fold))
        pieces.append((int(groups[min(first, len(groups) - 1)]), fold))
    return tuple(pieces)
