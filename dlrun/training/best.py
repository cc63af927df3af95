"""The best epoch of each seed, and the figures of copies as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dlrun.training.figures import column_name

if TYPE_CHECKING:
    from dlrun.training.recipe import Row  # which imports PyTorch


class Advance(NamedTuple):
    """The last epoch in which the monitored figure was better by `min_delta`, and the figure."""

    epoch: int
    value: float


@dataclass(frozen=True)
class Best:
    """The best epoch of a seed so far, the value of the monitored column in it, and all its figures."""

    epoch: int
    value: float
    figures: dict[str, float]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def bests_of(saved: dict[str, Any], copies: int) -> list[Best | None]:
    """The best epoch of each copy in a saved state. An earlier dlrun had one for all of them."""
    best = saved["best"]
    if isinstance(best, list):
        return [Best(**own) if own else None for own in best]
    if best is None:
        return [None] * copies
    return [
        Best(best["epoch"], best["value"], {column: values[i] for column, values in best["figures"].items()})
        for i in range(copies)
    ]


def advances_of(saved: dict[str, Any], best: Sequence[Best | None]) -> list[Advance | None]:
    """The advance of each copy in a saved state. To an earlier dlrun every better epoch was one."""
    if isinstance(stored := saved.get("advance"), list):
        return [Advance(*own) if own else None for own in stored]
    return [Advance(own.epoch, own.value) if own else None for own in best]


def of_copy(row: Row, place: int) -> dict[str, float]:
    """The figures of one copy in a row."""
    return {column: values[place] for column, values in row.items()}


def row_of(figures: Sequence[dict[str, float]]) -> Row:
    """The row of some copies' figures: the columns that all of them have."""
    if not figures:
        return {}
    return {
        column: [own[column] for own in figures]
        for column in figures[0]
        if all(column in own for own in figures)
    }


def said_best(monitor: str, *, with_column: bool = False) -> str:
    """The word for an epoch whose monitored figure is best: `best`, or `best valid_loss` with the column.

    It is `best by training loss` in either case: a figure of training examples says nothing of others.
    """
    if monitor.startswith(("train_", "trainset_")):
        return f"best by {column_name(monitor)}"
    return f"best {monitor}" if with_column else "best"
