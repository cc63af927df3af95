"""The table of compared settings (`dlrun compare`, end of a sweep)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from dlrun.errors import one_line, shortened

if TYPE_CHECKING:
    from dlrun.run_folders.comparison import Comparison
    from dlrun.run_folders.setting_results import SettingResult
from dlrun.console.layout import plain_table
from dlrun.console.numbers import of_setting, value_text
from dlrun.console.streams import clean, out, print_line, warn
from dlrun.run_folders.records import some

_NUMBERED = re.compile(r"(.*?)([0-9]{3,})")  # the name of a run, or its number alone


def print_comparison(found: Comparison) -> None:
    """Print the settings side by side, each compared with a reference setting.

    If their values do not fit into the table, settings are numbered and listed below it, with their runs.
    """
    console = out()
    wide = console.options.update(max_width=1000)
    keys = list(dict.fromkeys(key for group in found.groups for key in group.shown))
    short = [key.rpartition(".")[2] for key in keys]
    headed = [(keys, found.metric, False), (short, found.metric, False)]
    headed.append((short, found.metric.replace("best.", "best.\n", 1), True))
    if len({*short, found.metric}) <= len(keys):  # two keys end in the same name
        del headed[1:]
    of_runs = [said for said in (names_of_runs(found.groups), numbers_of_runs(found.groups)) if said]
    tables = (_comparison_table(found, keys, *heads, runs) for heads in headed for runs in of_runs)
    fitting = (table for table in tables if console.measure(table, options=wide).maximum <= console.width)
    table = next(fitting, None)
    console.print(table or _comparison_table(found, [], [], found.metric, is_narrow=True))
    if not table:
        told = Table.grid(padding=(0, 2, 0, 0))
        for number, group in enumerate(found.groups, 1):
            settings = [f"{shortened(key)} {value_text(value)}" for key, value in group.shown.items()]
            words = one_line(", ".join([*settings, runs_of_setting(group)]))
            told.add_row(Text(str(number)), Text(words, overflow="fold"))
        console.print(told)
        console.print()
    if found.meaning:
        print_line(found.meaning, console, indent=0)
    for note in found.notes:
        warn(note)


def _comparison_table(
    found: Comparison,
    keys: Sequence[str],
    heads: Sequence[str],
    metric: str,
    is_narrow: bool,
    runs: Sequence[str] = (),
) -> Table:
    """The table of the settings with these headings of keys and metric."""
    table = plain_table()
    own, rows = comparison_cells(found, keys, runs, is_narrow=is_narrow)
    settings = len(keys) or 1
    for head in heads or own[:settings]:
        table.add_column(Text(one_line(shortened(head))), overflow="fold")
    table.add_column(Text("\n".join(map(one_line, shortened(metric).split("\n")))), justify="right")
    table.add_column(own[settings + 1], justify="right")
    for head in own[settings + 2 :]:
        table.add_column(head)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def comparison_cells(
    found: Comparison, keys: Sequence[str], runs: Sequence[str] = (), *, is_narrow: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each setting and its values of `keys`; without keys its number or its runs.

    Behind them stand the figure, the number of seeds, the verdict, if there is one, and the `runs` of the
    settings. A narrow table has the number of compared pairs only if it differs from the number of seeds.
    """
    several, several_seeds = len(found.groups) > 1, any(group.over[1] > 1 for group in found.groups)
    has_folds = any(group.folds for group in found.groups)
    counted = ("folds × seeds" if several_seeds else "folds") if has_folds else "seeds"
    words = [
        ", ".join(filter(None, [found.verdict(g), f"{len(g.diverged)} diverged" if g.diverged else ""]))
        for g in found.groups
    ]
    if is_narrow:
        counts = [f" (n = {len(group.values)})" for group in found.groups]
        words = [text.replace(count, "") for text, count in zip(words, counts, strict=True)]
    heads = [*(keys or (["setting"] if several else ["runs"])), found.metric, counted]
    with_words = several or any(words)
    if with_words:
        heads.append(("beside the best" if found.is_ranked else "beside the first") if several else "")
    if has_runs := bool(runs) and (several or bool(keys)):
        heads.append("run")
    rows = []
    for place, (group, said) in enumerate(zip(found.groups, words, strict=True), 1):
        cells = [value_text(group.shown[key]) if key in group.shown else "" for key in keys]
        cells = cells or [str(place) if several else runs_of_setting(group)]
        figure = of_setting(group.mean, group.sd) if group.values else ""
        of_runs = [runs[place - 1]] if has_runs else []
        rows.append([*cells, figure, _count(group, several_seeds), *[said] * with_words, *of_runs])
    return heads, rows


def _count(group: SettingResult, several_seeds: bool) -> str:
    """The number of figures of a setting: its seeds, or its folds, or both."""
    folds, seeds = group.over
    if not group.folds:
        return str(len(group.values))
    return f"{folds} × {seeds}" if several_seeds else str(folds)


def runs_of_setting(group: SettingResult) -> str:
    """The names of the runs of a setting in one line, the first of many: `net-001–003, net-007`."""
    return one_line(some(_in_rows(group.every_name), most=3))


def names_of_runs(groups: Iterable[SettingResult]) -> list[str]:
    """The names of the runs of each setting."""
    return [runs_of_setting(group) for group in groups]


def numbers_of_runs(groups: Iterable[SettingResult]) -> list[str]:
    """The numbers of the runs of each setting alone, such as `001–003`; [] if their names differ in more."""
    parted = [[_NUMBERED.fullmatch(name) for name in group.every_name] for group in groups]
    stems = {found[1] if found else None for of_one in parted for found in of_one}
    if len(stems) != 1 or None in stems:
        return []
    return [some(_in_rows([found[2] for found in of_one if found]), most=3) for of_one in parted]


def _in_rows(names: Iterable[str]) -> list[str]:
    """Names, with three or more of consecutive numbers joined: `net-001–003`."""
    rows = list[list[str]]()
    for name in names:
        if rows and _follows(rows[-1][-1], name):
            rows[-1].append(name)
        else:
            rows.append([name])
    return [each for row in rows for each in ([f"{row[0]}–{_number(row[-1])}"] if len(row) > 2 else row)]


def _follows(name: str, other: str) -> bool:
    """True if the number at the end of `other` is the next one, behind the same letters."""
    one, two = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(other)
    return bool(one and two and one[1] == two[1] and int(two[2]) == int(one[2]) + 1)


def _number(name: str) -> str:
    """The number at the end of a name."""
    found = _NUMBERED.fullmatch(name)
    return found[2] if found else ""


def print_comparison_csv(found: Comparison) -> None:
    """Print the settings as CSV: differing keys, mean, sd, n, the difference and its margin."""
    out().file.write(clean(found.csv()))
