"""The summary at the end of a sweep, and the plan that `sweep --dry-run` prints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from dlrun.errors import one_line

if TYPE_CHECKING:
    from dlrun.results.out_of_fold import OutOfFold
    from dlrun.run_folders.comparison import Comparison
    from dlrun.run_folders.sweep_folder import Sweep
    from dlrun.sweeps.estimate import Estimate
    from dlrun.sweeps.planning import SweepPlan
    from dlrun.sweeps.sweep import SweepOutcome
    from dlrun.sweeps.views import RunProgress
from dlrun.console.comparison import print_comparison
from dlrun.console.layout import headings, plain_table
from dlrun.console.numbers import duration, of_seeds, seeds_text, short_text, yaml_text
from dlrun.console.streams import clean, err, out, print_line, print_unbroken, print_warning, say_sentence
from dlrun.console.sweep_view import counted
from dlrun.run_folders.sweep_folder import OUT_OF_FOLD

_MISTAKES = re.compile(r": \d+ mistakes?$")
MOST_FAILURES = 3  # different errors of a sweep that are printed
MOST_WARNINGS = 5


def print_dry_run(prepared: SweepPlan, found: Estimate) -> None:
    """Print the runs that a sweep would train, or its search space, and the estimated time."""
    runs, space = prepared.runs, prepared.space
    table = plain_table()
    if space:
        for head in ("key", "drawn from"):
            table.add_column(head, overflow="fold")
        for axis in space.axes:
            table.add_row(Text(clean(axis.key)), Text(clean(str(axis))))
    else:
        *heads, last = headings([*runs[0][0], "seeds"])
        for head in heads:
            table.add_column(Text(head), overflow="fold")
        table.add_column(last, justify="right")
        for setting in prepared.settings:
            seeds = [seed for config in setting.configs for seed in config.seeds]
            is_stacked = any(config.is_stacked for config in setting.configs)
            words = f"{seeds_text(seeds)}{' as one model' if is_stacked else ''}"
            table.add_row(*(Text(clean(yaml_text(value))) for value in setting.values.values()), words)
    out().print(table)
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    if space:
        count = f"{prepared.times} settings of {count}"
    if found.answered:
        count += f", {found.answered} of them replaced by finished runs"
    about = f"{'at most ' if space else ''}about {duration(found.seconds)} of training"
    of = f"{found.tried} settings" if found.tried > 1 else "the first"
    said = f"{about} beside start-up and pictures, by the first steps of {of}"
    say_sentence(f"{count}, {found.jobs} at a time: {said}")
    say_sentence(f"ranked by {found.metric}")


def print_sweep_results(ended: SweepOutcome, ranked: Comparison | None, command: str) -> None:
    """Print the end of a sweep: ranked settings, failures, and the next commands."""
    console = out()
    if ranked:
        print_comparison(ranked)
    print_warnings(ended)
    print_failures(ended, "")
    stopped = "stopped by a signal: " if ended.signal else ""
    print_unbroken(f"{stopped}{counted(ended.progress)}: {ended.sweep.folder}", console)
    for words in _given_up(ended):
        print_line(one_line(words), console)
    if ended.undrawn > 0:
        print_line(f"{ended.undrawn} of {ended.sweep.wanted} settings are still to be drawn", console)
    if met := ended.expectations:
        print_line(f"expectations of the config met by {sum(met)} of {len(met)} runs", console)
    if ended.is_open:
        print_unbroken(f"resume: {command}", console)


def print_left_to_others(runs: int) -> None:
    """Print the number of runs that other shards have still to train before there are results."""
    said = f"{runs} run{'s' * (runs != 1)} of other shards {'are' if runs != 1 else 'is'} not done"
    say_sentence(f"{said}: the shard that ends last ranks all")


def print_out_of_fold(found: OutOfFold, sweep: Sweep) -> None:
    """Print the figures of all out-of-fold predictions together, and the file that has them."""
    figures = ", ".join(f"{name} {of_seeds(values)}" for name, values in found.figures.items())
    chosen = f"; {found.chose} of the same examples chose the epochs, which flatters them a little"
    over = ", mean ± sd over seeds" * any(len(values) > 1 for values in found.figures.values())
    said = f"out of fold, all {len(found.rows):,} examples{over}: {figures}{chosen * bool(found.chose)}"
    say_sentence(one_line(said))
    print_unbroken(f"out-of-fold predictions: {sweep.folder / OUT_OF_FOLD}", out())


def _given_up(ended: SweepOutcome) -> Iterator[str]:
    """Yield a line for each setting that a search pruned."""
    settings: dict[int | None, list[RunProgress]] = {}
    for each in ended.progress:
        if each.trial.number in ended.sweep.given_up:
            settings.setdefault(each.trial.number, []).append(each)
    for first, *_ in settings.values():
        values = ", ".join(f"{key} {short_text(value)}" for key, value in first.trial.values.items())
        yield f"given up after epoch {first.epoch}/{first.epochs}: {values}"


def print_warnings(ended: SweepOutcome) -> None:
    """Print on stderr the warnings of a cross-validation, each once with the number of runs.

    Of another sweep only those of all its runs: it tries settings of which some do badly.
    """
    is_of_one = ended.sweep.is_cross_validation
    found = [own for own in ended.warnings.items() if is_of_one or len(own[1]) == len(ended.progress)]
    for text, (first, *others) in found[:MOST_WARNINGS]:
        more = f" and {len(others)} more run{'s' * (len(others) != 1)}" if others else ""
        print_warning(f"{first}{more}: {text}", err())
    if (left := len(found) - MOST_WARNINGS) > 0:
        print_line(f"and {left} other warning{'s' * (left != 1)}, each in the log.txt of its run", err())


def print_failures(ended: SweepOutcome, command: str) -> None:
    """Print on stderr the failed runs of a sweep, grouped by error, and the command that resumes it."""
    console = err()
    together: dict[tuple[str, ...], list[tuple[RunProgress, list[str]]]] = {}
    for each in ended.failed:
        own = str(each.trial.run.folder)  # removed, so that equal errors compare equal
        heading, *others = each.lines or [""]
        if others and _MISTAKES.search(heading):  # of a config: each mistake has its own place
            heading, *others = others
        what = heading.strip().removeprefix("error: ").replace(f"{own}{os.sep}", "")
        lines = [what, *(line for line in others if own not in line)]
        alike = (  # the error without seed and epoch
            each.status,
            *(re.sub(r"\d+", "0", line) for line in lines[:3]),
        )
        together.setdefault(alike, []).append((each, lines[:3]))
    shown = list(together.values())[:MOST_FAILURES]
    for found in shown:
        failed, lines = [each for each, _ in found], found[0][1]
        status = failed[0].status
        names = ", ".join(each.trial.run.name for each in failed[:3])
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        print_line(one_line(f"{status}: {names}{more}"), console, "bold red")
        for line in filter(None, lines):
            print_line(f"  {one_line(line.strip())}", console)
    if len(together) > len(shown):
        left = len(together) - len(shown)
        print_line(f"and {left} other error{'s' * (left != 1)}, each in the log.txt of its run", console)
    if command and ended.is_open:
        print_unbroken(one_line(f"resume: {command}"), console)
