"""The report of several runs or of a sweep (`dlrun report`): their settings compared, and what is alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dlrun import __version__
from dlrun.console.comparison import comparison_cells, names_of_runs, runs_of_setting
from dlrun.console.numbers import value_text
from dlrun.console.report_blocks import (
    Block,
    Charts,
    Code,
    Pictures,
    Report,
    Section,
    Table,
    Warnings,
    Words,
    sentence,
)
from dlrun.console.report_commands import Commands
from dlrun.console.run_list import lines_of_runs
from dlrun.console.run_report import (
    config_blocks,
    data_blocks,
    environment_blocks,
    model_blocks,
    said_choice,
)
from dlrun.errors import first_few
from dlrun.results.report_curves import MOST_LINES, charts_of_settings
from dlrun.results.report_pictures import CURVES, Picture, pictures_of_sweep
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.listing import names_apart, overview
from dlrun.run_folders.records import Record
from dlrun.run_folders.run import Run
from dlrun.run_folders.setting_results import SettingResult
from dlrun.run_folders.sound_entries import summary_entries
from dlrun.run_folders.sweep_folder import Sweep
from dlrun.system.processes import quoted

_MOST_RUNS = 200  # rows of a table
_MOST_SETTINGS = 200
_MOST_CHARTS = 8
_MOST_NAMED = 4  # runs and sweeps in a title


def report_of_several(
    records: Sequence[Record],
    found: Comparison,
    folders: Sequence[Run | Sweep],
    asked: Sequence[str],
    commands: Commands,
) -> Report:
    """The report of several runs, compared; `asked` are the words that named their folders."""
    sweeps = [each for each in folders if isinstance(each, Sweep)]
    first = next(run for group in found.groups for run in group.runs)
    reference = next(each for each in records if each.run.folder == first.folder)
    summary, _ = summary_entries(reference.summary)
    of_reference = f"{'best' if found.is_ranked else 'first'} setting"
    pictures = [picture for sweep in sweeps for picture in pictures_of_sweep(sweep.plots)]
    curves = [each for each in pictures if each.path.stem == CURVES]
    others = [each for each in pictures if each not in curves]
    sections = [
        Section("Settings", [*_settings(found)]),
        Section("Curves", [*_curves(found, reference, curves[0] if len(curves) == 1 else None)]),
        Section("Pictures", [Pictures(others)] if others else []),
        Section("Runs", [*_runs(records)]),
        Section("Data", [*data_blocks(reference, summary)]),
        Section("Model", [*model_blocks(reference, summary)]),
        Section("Config", [Words(f"Of the {of_reference}, {reference.name}:"), *config_blocks(reference)]),
        Section("Repeat it", [*_repetition(sweeps, asked, commands), *environment_blocks(reference)]),
    ]
    settings, runs = len(found.groups), len(records)
    count = f"{settings} setting{'s' * (settings != 1)}, {runs} run{'s' * (runs != 1)}"
    lead = [f"{count}, compared by {found.metric}.", f"The {of_reference}: {said_choice(reference)}"]
    title = first_few([each.name for each in folders], _MOST_NAMED)
    return Report(title, lead, [each for each in sections if each.blocks], f"dlrun {__version__}")


def _settings(found: Comparison) -> Iterator[Block]:
    """Yield the settings with their figures and verdicts."""
    keys = list(dict.fromkeys(key for group in found.groups for key in group.shown))
    heads, rows = comparison_cells(found, keys, names_of_runs(found.groups))
    beside = "best" if found.is_ranked else "first"
    several = f"The keys that differ, {found.metric}, and the difference from the {beside} setting"
    caption = several if len(rows) > 1 else f"{found.metric} of one setting"
    yield Table(caption, [head or "remark" for head in heads], rows[:_MOST_SETTINGS])
    if len(rows) > _MOST_SETTINGS:
        yield Words(f"The first {_MOST_SETTINGS} of {len(rows):,} settings.")
    if found.meaning:
        yield sentence(found.meaning)
    if found.notes:
        yield Warnings(found.notes)


def _curves(found: Comparison, reference: Record, picture: Picture | None) -> Iterator[Block]:
    """Yield a chart for each column: first the compared one, then others of the reference setting."""
    others = [column for column in reference.columns() if "." not in column and column != "seconds"]
    compared = [] if found.column == "seconds" else [found.column]
    columns = list(dict.fromkeys([*compared, *others]))
    shown = columns[:_MOST_CHARTS]
    labels = [_label(group, found.groups) for group in found.groups]
    if charts := charts_of_settings(found, labels, shown):
        yield Charts(charts, picture)
        measured = sum(bool(group.values) for group in found.groups)
        if measured > MOST_LINES:
            yield Words(f"The best {MOST_LINES} of {measured} settings.")
        if len(shown) < len(columns):
            yield Words(f"The first {len(shown)} of {len(columns)} columns.")


def _label(group: SettingResult, groups: Iterable[SettingResult]) -> str:
    """The values of a setting in a line, or its runs if others have the same ones."""
    said = ", ".join(f"{key.rpartition('.')[2]} {value_text(value)}" for key, value in group.shown.items())
    is_alone = said and sum(other.shown == group.shown for other in groups) == 1
    return said if is_alone else runs_of_setting(group)


def _runs(records: Sequence[Record]) -> Iterator[Block]:
    names = names_apart((each.name, each.run.folder) for each in records)
    rows = [
        overview(each.run, each.summary) | {"run": name}
        for each, name in zip(records[:_MOST_RUNS], names, strict=False)
    ]
    heads, *lines = lines_of_runs(rows)
    yield Table("The runs, with their best and last figures", heads, lines)
    if len(records) > _MOST_RUNS:
        yield Words(f"The first {_MOST_RUNS} of {len(records):,} runs.")


def _repetition(sweeps: Sequence[Sweep], asked: Sequence[str], commands: Commands) -> Iterator[Block]:
    """Yield the commands that trained the sweeps, and the one that compares the runs again."""
    given = [quoted(words) for sweep in sweeps for words in sweep.commands]
    if given:
        yield Words(f"{'They were' if len(sweeps) > 1 else 'It was'} trained by:")
        yield Code("\n".join(given), "sh")
    yield Words("The runs are compared again by:")
    yield Code(commands.text("dlrun", "compare", *asked), "sh")
    yield Words("Each run is trained again from its folder by dlrun reproduce.")
    if commands.remark:
        yield Words(commands.remark)
