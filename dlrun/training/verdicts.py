"""Verdicts: the claims of `expect` beside what a run has measured, and figures too good to be true."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from dlrun.config.claims import meets, missed_by
from dlrun.config.judging import shorter
from dlrun.config.keys import Config
from dlrun.training.recipe import Row

_FEWEST = 100  # examples; of fewer a model may well get all right
_PERFECT = {"accuracy": 1.0, "r2": 0.99999}  # figures from which nothing is wrong


def verdicts(
    config: Config, last: Row, best: Row, seconds: float, unjudged: str = ""
) -> list[dict[str, Any]]:
    """Each claim with the measured figure, and whether it is met.

    `last` and `best` are the figures of the last and the best epochs, `unjudged` the reason to judge no claim
    of the run. `met` is None for a claim that is not judged, and `why` is then the reason.
    """
    found = []
    for column, claim in config.expect.items():
        if column == "seconds":
            measured = seconds
        else:
            figures = best if column.startswith("best.") else last
            values = figures.get(column.removeprefix("best."), [])
            measured = fmean(values) if values else math.nan
        why = unjudged or config.not_judged.get(column) or shorter(config)
        met = None if why else meets(measured, claim)
        missed = missed_by(measured, claim) if met is False else None
        found.append(
            {
                "column": column,
                "claim": claim,
                "measured": measured,
                "met": met,
                "missed_by": missed,
                "why": why or None,
                "check_judges": bool(why) and why != unjudged,
            }
        )
    return found


def too_good(config: Config, figures: Row, examples: Mapping[str, int]) -> Iterator[str]:
    """Yield a warning for each split held out on which every seed has a perfect figure that no claim expects.

    `figures` has those of each seed by column, `examples` the number of examples of each split.
    """
    for split in ("valid", "test"):
        for metric, bound in _PERFECT.items():
            column = f"{split}_{metric}"
            claimed = {column, f"best.{column}"} & config.expect.keys()
            values = figures.get(column, [])
            if not claimed and values and min(values) >= bound and examples.get(split, 0) >= _FEWEST:
                right = "every example is right" if metric == "accuracy" else "the prediction is exact"
                yield (
                    f"{column} is {min(values):.4f}, {right} ({examples[split]:,}): look for a leak with "
                    f"dlrun data, such as an input that is known only after the target"
                )
                break
