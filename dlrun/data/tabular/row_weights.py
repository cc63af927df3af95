"""The weights of the rows of a table: a row of weight 2 counts as two."""

from __future__ import annotations

import numpy as np

from dlrun.data.example_weights import RULE, first_refused, said_range
from dlrun.data.tabular.cells import Cells
from dlrun.data.tabular.encoding import TableOptions
from dlrun.errors import UserError


def note_weights(cells: Cells, options: TableOptions, findings: list[str]) -> None:
    """Say in a finding what the column of weights holds. Raises UserError for one that is none."""
    if options.weights is None:
        return
    weights = cells.numbers.get(options.weights)
    if weights is None:  # a file to be evaluated, which need not have them
        return
    if (row := first_refused(weights)) is not None:
        more = int((weights < 0).sum()) - 1
        also = f" (and so on in {more:,} more row{'s' * (more > 1)})" if more > 0 else ""
        what = f"{options.weights} holds {float(weights[row]):.6g} in row {int(cells.lines[row])}{also}"
        fix = "correct the cells, or leave them empty"
        raise UserError(f"{what}, but {RULE}", where=cells.source, fix=fix)
    if not bool((weights > 0).any()):
        what = f"every cell of {options.weights} is 0, so that no row counts"
        raise UserError(what, where=cells.source, fix="name another column of weights, or none")
    findings.append(f"weights: column {options.weights} ({said_range(weights)})")


def that_count(cells: Cells, options: TableOptions) -> Cells:
    """The rows whose weight is not 0; all if none counts, which is refused later."""
    if options.weights is None:
        return cells
    counting = np.flatnonzero(cells.numbers[options.weights].numpy() > 0)
    return cells.take(counting) if 0 < len(counting) < len(cells) else cells
