"""Splits by hash: each example's own key says in which split it is, so that none moves when data grow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlrun.system.randomness import derived_seed

_PARTS = ("test", "valid")  # in the order of their ranks; train has the rest
RANKS = 2**63  # ranks are from 0 to this number, without it


@dataclass(frozen=True)
class HashSplit:
    """The borders between the splits of the examples of each class, by which new examples are placed too.

    An example has a rank, a hash of its key and the seed. Those of a class that rank below
    `borders[class][0]` are the test split, those below `borders[class][1]` the validation split, all others
    train. A class without borders of its own has those of the fractions. Without classes all examples are of
    the class "".
    """

    seed: int
    test_fraction: float
    valid_fraction: float
    borders: Mapping[str, tuple[int, int]]

    @classmethod
    def fitted(
        cls,
        keys: Tensor,
        classes: Sequence[str],
        labels: Tensor | None,
        *,
        seed: int,
        test_fraction: float,
        valid_fraction: float,
        least: int = 1,
    ) -> HashSplit:
        """Borders by which the fractions are met as well as whole groups of one key allow, in each class.

        `keys` (n,) are int64, `labels` (n,) the class numbers. A class of at least three different keys has
        an example in every split, one of two has one in train and one in the test or else the validation
        split; where there are enough they have `least` of them.
        """
        ranks = ranks_of(keys, seed)
        names = classes if labels is not None else ("",)
        borders = {}
        for number, name in enumerate(names):
            own = ranks if labels is None else ranks[labels.numpy() == number]
            if len(own):
                borders[name] = _borders(own, test_fraction, valid_fraction, least)
        return cls(seed, test_fraction, valid_fraction, borders)

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> HashSplit:
        """The split in a checkpoint. Raises ValueError, TypeError or KeyError if it is malformed."""
        borders = {}
        for name, (test, valid) in known["borders"].items():
            if not isinstance(name, str) or type(test) is not int or type(valid) is not int:
                raise TypeError("the borders of a split are whole numbers")
            if not 0 <= test <= valid <= RANKS:
                raise ValueError("the borders of a split contradict each other")
            borders[name] = (test, valid)
        seed, fractions = known["seed"], (float(known["test_fraction"]), float(known["valid_fraction"]))
        if type(seed) is not int or not all(0 <= fraction < 1 for fraction in fractions):
            raise ValueError("the fractions of a split are not valid")
        return cls(seed, *fractions, borders)

    def known(self) -> dict[str, Any]:
        """The split as plain values, for a checkpoint."""
        return {
            "seed": self.seed,
            "test_fraction": self.test_fraction,
            "valid_fraction": self.valid_fraction,
            "borders": {name: list(each) for name, each in self.borders.items()},
        }

    def rows(self, keys: Tensor, classes: Sequence[str], labels: Tensor | None) -> dict[str, Tensor]:
        """The examples (m,) of each split that has a fraction, in their order, by their keys (n,)."""
        ranks = ranks_of(keys, self.seed)
        usual = self.borders.get("", self._of_fractions())
        each = [self.borders.get(name, usual) for name in classes] if labels is not None else [usual]
        of_class = np.zeros(len(ranks), np.int64) if labels is None else labels.numpy()
        tests = np.array([test for test, _ in each], np.uint64)[of_class]
        valids = np.array([valid for _, valid in each], np.uint64)[of_class]
        is_test = ranks < tests
        is_valid = ~is_test & (ranks < valids)
        found = {"train": ~is_test & ~is_valid}
        found |= {"valid": is_valid} if self.valid_fraction else {}
        found |= {"test": is_test} if self.test_fraction else {}
        return {name: torch.from_numpy(np.flatnonzero(chosen)) for name, chosen in found.items()}

    def _of_fractions(self) -> tuple[int, int]:
        test = round(self.test_fraction * RANKS)
        return test, test + round(self.valid_fraction * (RANKS - test))


def text_keys(texts: Iterable[str]) -> Tensor:
    """A key for each text, (n,) int64: equal texts have equal keys."""
    digests = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest() for text in texts
    )
    return torch.from_numpy(np.frombuffer(digests, np.int64).copy())


def mixed(values: np.ndarray) -> np.ndarray:
    """Numbers (…) uint64 whose every bit depends on all bits of the given ones, each of another one.

    The finaliser of SplitMix64: Steele, Lea and Flood, 2014, doi:10.1145/2660193.2660195.
    """
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    last: np.ndarray = values ^ (values >> np.uint64(31))
    return last


def ranks_of(keys: Tensor, seed: int) -> np.ndarray:
    """The ranks (n,) uint64 below RANKS of examples with these keys."""
    salted = keys.numpy().view(np.uint64) ^ np.uint64(derived_seed("split", seed, 0))
    ranks: np.ndarray = mixed(salted) >> np.uint64(1)
    return ranks


def _borders(ranks: np.ndarray, test_fraction: float, valid_fraction: float, least: int) -> tuple[int, int]:
    """The borders of one class, between the ranks of different keys."""
    groups, counts = np.unique(ranks, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])  # examples before each group, and in all
    n, most = len(ranks), len(groups) - 1  # train keeps a group
    wants_valid = bool(valid_fraction) and most >= (2 if test_fraction else 1)
    least = min(least, n // 2)
    test = nearest(before, max(least, test_fraction * n), 0, most - wants_valid) if test_fraction else 0
    valid = test
    if wants_valid:
        wanted = max(least, valid_fraction * (n - before[test]))
        valid = nearest(before, before[test] + wanted, test, most)
    ends = [int(groups[place]) if place < len(groups) else RANKS for place in (test, valid)]
    return ends[0] if test else 0, ends[1] if valid else 0


def nearest(before: np.ndarray, wanted: float, start: int, end: int) -> int:
    """The number of groups, start + 1 to `end`, whose count of examples is nearest to `wanted`."""
    if end <= start:
        return start
    return start + 1 + int(np.abs(before[start + 1 : end + 1] - wanted).argmin())


def together(keys: Tensor, contents: Tensor, seed: int) -> Tensor:
    """The keys (n,) with one in common for all examples of equal `contents` (n,).

    It is the one that ranks highest, which is the nearest to train: an example that is added can move its
    equals from the test split to train, but none that was trained on to the test split.
    """
    _, group = np.unique(contents.numpy(), return_inverse=True)
    ranks = ranks_of(keys, seed)
    order = np.argsort(ranks, kind="stable")
    last = np.empty(int(group.max(initial=-1)) + 1, np.int64)
    last[group[order]] = order  # the highest rank is written last
    return keys[torch.from_numpy(last[group])]


def mixed_keys(*each: Tensor) -> Tensor:
    """A key (n,) for each row of several keys (n,) each."""
    found = np.zeros(len(each[0]), np.uint64)
    for keys in each:
        found = mixed(found + np.uint64(0x9E3779B97F4A7C15) ^ keys.numpy().view(np.uint64))
    return torch.from_numpy(found.view(np.int64))
