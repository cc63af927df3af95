"""The tables of `dlrun lr`: losses over rates, and the rate that is suggested."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from dlrun.console.layout import plain_table
from dlrun.console.numbers import number
from dlrun.console.streams import out, print_line, print_warning
from dlrun.training.rate_suggestion import RULE, Suggestion

_ROWS = 20  # of the table of losses
_ENDS = {
    "complete": "largest rate",
    "risen": "loss has risen",
    "not finite": "loss not finite",
}


def print_rates(found: Suggestion, aside: Mapping[str, str]) -> None:
    """Print the smoothed losses at some rates, the rate of each seed, and the one that is suggested.

    `aside` has the keys of the config that the test leaves out, with their values in words.
    """
    console, losses = out(), plain_table()
    headings = ["smoothed loss"] if len(found.each) == 1 else ["smoothed loss", "lowest seed", "highest seed"]
    for heading in ("learning rate", *headings):
        losses.add_column(heading, justify="right")
    every = max(1, round(found.tested.steps / _ROWS))
    longest = max(len(seed.smoothed) for seed in found.each)
    for step in range(0, longest, every):
        at = [seed.smoothed[step] for seed in found.each if step < len(seed.smoothed)]
        figures = [number(at[0])] if len(found.each) == 1 else map(number, (fmean(at), min(at), max(at)))
        losses.add_row(f"{found.tested.at(step):.2g}", *figures)
    console.print(losses)
    seeds = plain_table()
    for heading in ("seed", "steepest at", "lowest at", "loss before", "lowest loss", "ended by", "at"):
        seeds.add_column(heading, justify="left" if heading == "ended by" else "right")
    for seed in found.each:
        curve = seed.curve
        seeds.add_row(
            str(curve.seed),
            f"{seed.rate:.2g}",
            f"{curve.rates[seed.lowest]:.2g}",
            number(curve.begun_at),
            number(seed.smoothed[seed.lowest]),
            _ENDS[curve.end],
            f"{curve.rates[-1]:.2g}",
        )
    console.print(seeds)
    if aside:
        said = ", ".join(f"{key} ({value})" for key, value in aside.items())
        print_line(f"left out of the test: {said}", console)
    several = f", of {len(found.each)} seeds from {min(found.rates):.2g} to {max(found.rates):.2g}"
    over = several if len(found.each) > 1 else ""
    mark = "not to be trusted: " if found.doubts else "suggestion: "
    print_line(f"{mark}optimizer.lr={found.rate:g}{over}", console)
    print_line(f"rule: {RULE}", console)
    for doubt in found.doubts:
        print_warning(doubt, console)
