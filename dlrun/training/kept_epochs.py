"""Checkpoints of single epochs: those of the best few (`keep`) and of every so many (`keep_every`) stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "epoch_"  # of their files
Ranked = list[tuple[int, float]]  # epochs with their figures, the best first


@dataclass(frozen=True)
class Keeping:
    """The rule by which checkpoints of single epochs are kept."""

    best: int = 0  # so many of the best epochs
    every: int = 0  # and the epochs that are multiples of this; 0: none

    def ranked(
        self, before: Ranked, epoch: int, value: float | None, improves: Callable[[float, float], bool]
    ) -> Ranked:
        """The best epochs after one with a figure, or with none. Of equal ones the earlier is the better."""
        if value is None or value != value:
            return before
        place = next((n for n, (_, other) in enumerate(before) if improves(value, other)), len(before))
        return [*before[:place], (epoch, value), *before[place:]][: self.best]

    def keeps(self, best: Ranked, epoch: int) -> bool:
        """True if the checkpoint of an epoch stays beside those of the best ones."""
        return epoch in dict(best) or (self.every > 0 and epoch % self.every == 0)

    def delete(self, folder: Path, epochs: Iterable[int], best: Ranked) -> None:
        """Delete the checkpoints of epochs that do not stay beside those of the best ones."""
        for epoch in epochs:
            if not self.keeps(best, epoch):
                with suppress(OSError):  # then a file too many stays
                    path_of(folder, epoch).unlink(missing_ok=True)

    def found(self, folder: Path) -> set[int]:
        """The epochs whose checkpoints are in a folder; none if none are kept."""
        numbers = [path.stem.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*.pt")]
        return {int(n) for n in numbers if n.isdecimal()} if self.best or self.every else set()


def path_of(folder: Path, epoch: int) -> Path:
    """The file of an epoch's checkpoint."""
    return folder / f"{_PREFIX}{epoch:04d}.pt"


def mean_of_measured(figures: Sequence[float | None]) -> float | None:
    """The mean of a figure over seeds, None if one has none."""
    measured = [figure for figure in figures if figure is not None]
    return sum(measured) / len(measured) if len(measured) == len(figures) else None
