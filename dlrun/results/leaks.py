"""Examples that stand in two splits, alike or nearly so, or under two labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from dlrun.data.examples import Data, Split, in_pieces
from dlrun.data.tabular.suspicious_columns import column_warnings
from dlrun.data.trees import leaves
from dlrun.errors import first_few

_MOST_NAMED = 3
_FEW = 1e-3  # share of a split's examples below which copies hardly change a figure
_MOST_TESTED, _MOST_TRAINED = 10_000, 100_000  # pictures that are compared with each other
_SIDE = 8  # of the small grey pictures by which nearly equal ones are looked for
_ALIKE = 0.99  # correlation of the pixels of two pictures from which they are nearly equal
_AT_ONCE = 256  # pictures that are compared with all of train
_PAIRS_AT_ONCE = 16  # of pictures whose pixels are compared


def leak_warnings(data: Data, splits: Mapping[str, Split]) -> Iterator[str]:
    """Yield what may make the figures of a split better than those on new examples, with the remedy."""
    # rows of equal inputs that differ in their number are no copies: each was measured by itself
    with_targets = data.task == "regression" and len(data.shape) == 1
    digests = {name: digests_of(split, with_targets=with_targets) for name, split in splits.items()}
    names = Names(data, splits)
    for name, copies in duplicates(digests).items():
        if len(copies) > _FEW * len(splits[name]):
            yield (
                f"{_said(len(copies), len(splits[name]), name)} in train too, bit for bit: "
                f"{names.pairs(name, copies)}; remove the copies, or keep them in one split"
            )
    if is_seldom_equal := 2 * len(np.unique(digests["train"])) >= len(digests["train"]):
        yield from _repetitions(splits["train"], digests["train"], names)
    if is_seldom_equal and data.task == "classification":
        yield from _contradictions(data, splits["train"], digests["train"], names)
    if _are_pictures(data):
        for name in splits:
            if name != "train":
                yield from _near_copies(splits, digests, name, names)
    yield from column_warnings(data, splits)


class Names:
    """The names of examples: those that the dataset gives, else their places in a split."""

    def __init__(self, data: Data, splits: Mapping[str, Split]) -> None:
        self._of, self._splits = data.name_of, splits

    def __call__(self, split: str, place: int) -> str:
        origin = self._splits[split].origin
        if self._of is None or origin is None:
            return f"example {place:,} of {split}"
        return self._of(int(origin[place]))

    def pairs(self, split: str, found: np.ndarray) -> str:
        """Some examples of a split, each with the one of train that it is like; `found` is (n, 2)."""
        said = [
            f"{self(split, int(own))} and {self('train', int(other))}" for own, other in found[:_MOST_NAMED]
        ]
        return first_few(said, _MOST_NAMED, total=len(found))


def digests_of(split: Split, *, with_targets: bool = False) -> np.ndarray:
    """A 64-bit number for each example (n,), the same for equal inputs, on request with equal targets."""
    found = np.empty(len(split), np.int64)
    for some in in_pieces(split):
        parts = [*leaves(split.raw_tree(some))]
        parts += [*leaves(split.targets_at(some.to(split.device)))] if with_targets else []
        each = [part.cpu().flatten(1).contiguous().numpy() for part in parts]
        for place, rows in zip(some.tolist(), zip(*each, strict=True), strict=True):
            found[place] = hash(b"".join(row.tobytes() for row in rows))
    return found


def duplicates(digests: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The examples of each other split whose input is also in train, and the place there: (n, 2)."""
    known, first = np.unique(digests["train"], return_index=True)
    found = {}
    for name, own in digests.items():
        if name != "train":
            places = np.searchsorted(known, own).clip(max=len(known) - 1)
            same = np.flatnonzero(known[places] == own)
            found[name] = np.stack([same, first[places[same]]], 1)
    return found


def _repetitions(training: Split, digests: np.ndarray, names: Names) -> Iterator[str]:
    """Yield a warning of examples of train that stand there several times with the same target.

    Where most inputs have an equal, as in a table of a few categories, that says nothing.
    """
    pairs = _equal_in(digests)
    copies = pairs[_is_alike(training, pairs)]
    if len(copies) > _FEW * len(training):
        yield (
            f"{_said(len(copies), len(training), 'train')} a copy of another one there: "
            f"{names.pairs('train', copies)}; a copy counts as one more example: remove it unless it is one"
        )


def _contradictions(data: Data, training: Split, digests: np.ndarray, names: Names) -> Iterator[str]:
    """Yield a warning of equal inputs of different classes.

    Where most inputs have an equal, as in a table of a few categories, their classes may well differ.
    """
    pairs = _equal_in(digests)
    found = pairs[~_is_alike(training, pairs)]
    if len(found):
        labels = training.targets.cpu().numpy()
        said = [
            f"{names('train', int(a))} ({data.classes[labels[a]]}) and "
            f"{names('train', int(b))} ({data.classes[labels[b]]})"
            for a, b in found[:_MOST_NAMED]
        ]
        shown = first_few(said, _MOST_NAMED, total=len(found))
        yield f"equal inputs of different classes in train: {shown}; correct the classes"


def _equal_in(digests: np.ndarray) -> np.ndarray:
    """The examples with an equal one earlier in the split, each with the first of these: (n, 2)."""
    _, first, places = np.unique(digests, return_index=True, return_inverse=True)
    own = np.arange(len(digests))
    other = first[places]
    pairs: np.ndarray = np.stack([own, other], 1)[own != other]
    return pairs


def _is_alike(training: Split, pairs: np.ndarray) -> np.ndarray:
    """True for each pair (n, 2) of examples of equal targets: (n,)."""
    own, other = torch.from_numpy(pairs).unbind(1)
    sides = zip(
        *(leaves(training.targets_at(some.to(training.device))) for some in (own, other)), strict=True
    )
    alike = [(a == b).flatten(1).all(1) if a.ndim > 1 else a == b for a, b in sides]
    found: np.ndarray = torch.stack(alike).all(0).cpu().numpy()
    return found


def _near_copies(
    splits: Mapping[str, Split], digests: Mapping[str, np.ndarray], name: str, names: Names
) -> Iterator[str]:
    """Yield a warning of pictures of a split that are nearly equal to one of train, but not quite."""
    new = np.flatnonzero(~np.isin(digests[name], digests["train"]))[:_MOST_TESTED]
    found = near_copies(splits["train"], splits[name], torch.from_numpy(new))
    if len(found):
        of = len(splits[name]) if len(splits[name]) <= _MOST_TESTED else len(new)
        yield (
            f"{_said(len(found), of, name)} nearly in train too: {names.pairs(name, found)}; "
            "keep pictures of one scene or person in one split"
        )


def near_copies(training: Split, split: Split, places: Tensor) -> np.ndarray:
    """The pictures at some places of a split that are nearly equal to one in train: (n, 2), with its place.

    Small grey pictures find the nearest one, and the correlation of all pixels decides.
    """
    kept = torch.arange(len(training))[:_MOST_TRAINED]
    small, found = _small(training, kept), []
    for some in places.split(_AT_ONCE):
        likeness, nearest = (_small(split, some) @ small.T).max(1)
        is_near = likeness >= _ALIKE
        pairs = torch.stack([some[is_near], kept[nearest[is_near]]], 1)
        for piece in pairs.split(_PAIRS_AT_ONCE):
            own, other = piece.unbind(1)
            found.append(piece[(_centred(split.raw(own)) * _centred(training.raw(other))).sum(1) >= _ALIKE])
    return torch.cat(found).numpy() if found else np.empty((0, 2), np.int64)


def _small(split: Split, places: Tensor) -> Tensor:
    """Pictures (n, channels, height, width) as small grey ones, (n, side²), of mean 0 and length 1."""
    return torch.cat(
        [
            _centred(interpolate(_grey(split.raw(some)), (_SIDE, _SIDE), mode="area"))
            for some in in_pieces(split, places)
        ]
        or [torch.empty(0, _SIDE**2)]
    )


def _grey(pictures: Tensor) -> Tensor:
    return pictures.float().mean(1, keepdim=True)


def _centred(pictures: Tensor) -> Tensor:
    """Each picture as a row of mean 0 and length 1; of a single colour, all 0."""
    rows = pictures.float().flatten(1)
    return normalize(rows - rows.mean(1, keepdim=True))


def _are_pictures(data: Data) -> bool:
    shape: Sequence[int] = data.shape
    return (
        len(shape) == 3 and shape[0] in (1, 3, 4) and min(shape[1:]) >= _SIDE and not data.has_whole_numbers()
    )


def _said(count: int, of: int, name: str) -> str:
    return f"{count:,} of the {name} inputs ({100 * count / of:.3g} %) {'is' if count == 1 else 'are'}"
