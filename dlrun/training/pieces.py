"""Pieces: the examples that a model without gradients computes at once, fewer after memory ran out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dlrun.errors import is_out_of_memory

Found = TypeVar("Found")


@dataclass
class Pieces:
    """The largest piece that fits into memory, as far as it is known: a piece that does not fit is halved.

    With `are_fixed` they are as large as they are asked for, because a loss judges each as a whole.
    """

    are_fixed: bool = False
    most: int | None = None  # None: memory has sufficed for every piece

    def each(
        self, examples: range, size: int, compute: Callable[[slice], Found], warn: Callable[[str], None]
    ) -> Iterator[Found]:
        """Yield `compute` of each piece of some examples, in their order, of `size` examples at most.

        It is called again, with half of the examples, for a piece for which memory ran out, so it must not
        count any of them before it has what it needs. One line says the size that fits, which stays.
        """
        start = examples.start
        while start < examples.stop:
            wanted = min(size, self.most or size, examples.stop - start)
            end, found = self._fitting(start, wanted, compute)
            if end - start < wanted:
                said = f"memory does not suffice for {wanted:,} examples at once"
                warn(f"{said}: from here on evaluation_batch_size is {end - start}")
            yield found
            start = end

    def take(self, found: Sequence[int | None], warn: Callable[[str], None]) -> None:
        """Take the smallest of the pieces that several processes came down to; a line says if it is news."""
        least = min((most for most in found if most is not None), default=None)
        if least != self.most:
            warn(f"memory of another process does not suffice: from here on evaluation_batch_size is {least}")
        self.most = least

    def _fitting(self, start: int, wanted: int, compute: Callable[[slice], Found]) -> tuple[int, Found]:
        """The end of the largest piece that fits, of the `wanted` examples or halves of them; its result."""
        while True:
            try:
                return start + wanted, compute(slice(start, start + wanted))
            except Exception as error:  # it holds the memory of the piece until it is left
                if self.are_fixed or wanted == 1 or not is_out_of_memory(error):
                    raise
            wanted = self.most = -(-wanted // 2)
