"""Verdicts: the claims of a config's `expect`, beside what a run has measured."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

from dlrun.config.claims import meets, missed_by
from dlrun.config.keys import Config
from dlrun.training.recipe import Row


def verdicts(
    config: Config, last: Row, best: Row, seconds: float, *, is_complete: bool
) -> list[dict[str, Any]]:
    """Each claim with the measured figure, and whether it is met.

    `last` and `best` are the figures of the last and the best epochs. `met` is None for a run that is not
    complete, or with fewer epochs than its file says.
    """
    judged = is_complete and config.epochs >= (config.expect_epochs or 0)
    found = []
    for column, claim in config.expect.items():
        if column == "seconds":
            measured = seconds
        else:
            figures = best if column.startswith("best.") else last
            values = figures.get(column.removeprefix("best."), [])
            measured = fmean(values) if values else math.nan
        met = meets(measured, claim) if judged else None
        missed = missed_by(measured, claim) if met is False else None
        found.append(
            {"column": column, "claim": claim, "measured": measured, "met": met, "missed_by": missed}
        )
    return found
