"""The report of several runs or of a sweep (`dlrun report`): their settings compared, and what is alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dlrun import __version__
from dlrun.console.comparison import comparison_cells, names_of_runs, runs_of_setting
from dlrun.console.numbers import number, value_text
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
from dlrun.results.report_curves import charts_of_settings, drawn_settings
from dlrun.results.report_pictures import CURVES, pictures_of_sweep
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.comparison_notes import said_other_losses
from dlrun.run_folders.listing import names_apart, overview
from dlrun.run_folders.pictures import Picture
from dlrun.run_folders.records import Record, at
from dlrun.run_folders.run import Run
from dlrun.run_folders.setting_results import SettingResult
from dlrun.run_folders.sound_entries import out_of_fold_entries, summary_entries
from dlrun.run_folders.sweep_folder import OUT_OF_FOLD, OUT_OF_FOLD_FIGURES, Sweep
from dlrun.system.files import is_file
from dlrun.system.processes import quoted

_MOST_RUNS = 200  # rows of a table
_MOST_SETTINGS = 200
_MOST_CHARTS = 8
_MOST_NAMED = 4  # runs and sweeps in a title
_LONGEST_LABEL = 60  # characters in a legend


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
    of_reference = _said_reference(found, records)
    told = f"{of_reference}, {_said_setting(found.groups[0])}"
    baselines = summary["baselines"] if _have_same_data(records) else {}
    pictures = [picture for sweep in sweeps for picture in pictures_of_sweep(sweep.plots)]
    curves = [each for each in pictures if each.path.stem == CURVES]
    others = [each for each in pictures if each not in curves]
    sections = [
        Section("Settings", [*_settings(found, of_reference, baselines), *_out_of_fold(sweeps)]),
        Section("Curves", [*_curves(found, reference, baselines, curves[0] if len(curves) == 1 else None)]),
        Section("Pictures", [Pictures(others)] if others else []),
        Section("Runs", [*_runs(records, found.metric)]),
        Section("Data", [*data_blocks(reference, summary)]),
        Section("Model", [*model_blocks(reference, summary)]),
        Section("Config", [Words(f"Of {reference.name}, of the {of_reference}:"), *config_blocks(reference)]),
        Section("Repeat it", [*_repetition(sweeps, asked, commands), *environment_blocks(reference)]),
    ]
    settings, runs = len(found.groups), len(records)
    count = f"{settings} setting{'s' * (settings != 1)}, {runs} run{'s' * (runs != 1)}"
    lead = [f"{count}, compared by {found.metric}.", f"The {told}: {said_choice(reference)}"]
    title = first_few([each.name for each in folders], _MOST_NAMED)
    return Report(title, lead, [each for each in sections if each.blocks], __version__)


def _out_of_fold(sweeps: Iterable[Sweep]) -> Iterator[Block]:
    """Yield the figures of the predictions by models that were not trained on the example, of each sweep."""
    for sweep in sweeps:
        if not is_file(sweep.folder / OUT_OF_FOLD):
            continue
        told = f"{OUT_OF_FOLD} in the folder of {sweep.name} has each example as the models predict it"
        yield Words(f"{told} that were not trained on it.")
        if found := out_of_fold_entries(sweep.folder / OUT_OF_FOLD_FIGURES):
            caption = f"Figures out of fold, on all {found['examples']:,} examples together"
            rows = [[name, number(own)] for name, own in found["figures"].items()]
            yield Table(caption, ["figure", "mean"], rows)
            if chosen := found["epoch_chosen_by"]:
                flatters = "chose the epochs, which flatters the figures a little"
                yield Words(f"{chosen} of the same examples {flatters}.")


def _said_reference(found: Comparison, records: Sequence[Record]) -> str:
    """The setting that others are compared with, in words: the best one, or the first that has a figure."""
    if found.is_ranked:
        return "best setting"
    is_first = records[0].run.folder in {run.folder for run in found.groups[0].runs}
    return "first setting" if is_first else f"first setting that has {found.metric}"


def _said_setting(group: SettingResult) -> str:
    """A setting in words: the values that tell it, if they are not too long, and its runs."""
    values, runs = _label(group, list(group.shown)), runs_of_setting(group)
    return f"{values} ({runs})" if 0 < len(values) <= _LONGEST_LABEL else runs


def _have_same_data(records: Iterable[Record]) -> bool:
    """True if the baselines of one run are those of all."""
    return len({str(at(each.summary, "data", "fingerprint")) for each in records}) == 1


def _settings(found: Comparison, of_reference: str, baselines: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the settings with their figures and verdicts, and the figures of baselines."""
    keys = list(dict.fromkeys(key for group in found.groups for key in group.shown))
    heads, rows = comparison_cells(found, keys, names_of_runs(found.groups))
    several = f"The keys that differ, {found.metric}, and the difference from the {of_reference}"
    caption = several if len(rows) > 1 else f"{found.metric} of one setting"
    yield Table(caption, [head or "remark" for head in heads], rows[:_MOST_SETTINGS])
    if len(rows) > _MOST_SETTINGS:
        yield Words(f"The first {_MOST_SETTINGS} of {len(rows):,} settings.")
    if found.meaning:
        yield sentence(found.meaning)
    split, _, figure = found.column.partition("_")
    is_alike = not said_other_losses(found.groups, found.column)
    guesses = {name: own.get(figure) for name, own in baselines.get(split, {}).items() if is_alike}
    if known := [f"{name} {number(value)}" for name, value in guesses.items() if value is not None]:
        yield Words(f"{found.column} of baselines, which are guesses without a model: {', '.join(known)}.")
    if found.notes:
        yield Warnings(found.notes)


def _curves(
    found: Comparison, reference: Record, baselines: Mapping[str, Any], picture: Picture | None
) -> Iterator[Block]:
    """Yield a chart for each column: first the compared one, then others of the reference setting."""
    others = [column for column in reference.columns() if "." not in column and column != "seconds"]
    compared = [] if found.column == "seconds" else [found.column]
    columns = list(dict.fromkeys([*compared, *others]))
    shown, drawn = columns[:_MOST_CHARTS], drawn_settings(found)
    labels = list(zip(drawn, labels_of(drawn), strict=True))
    if charts := charts_of_settings(found, labels, shown, baselines):
        yield Charts(charts, picture)
        measured = sum(bool(group.values) for group in found.groups)
        if measured > len(drawn):
            yield Words(f"The best {len(drawn)} of {measured} settings.")
        if len(shown) < len(columns):
            yield Words(f"The first {len(shown)} of {len(columns)} columns.")


def labels_of(groups: Sequence[SettingResult]) -> list[str]:
    """The label of each setting in a legend: the values that tell it from the others.

    If these are long, those of fewer keys that are enough, and if that is still long, the names of its runs.
    """
    keys = dict.fromkeys(key for group in groups for key in group.shown)
    telling = [key for key in keys if len({repr(group.shown.get(key, ...)) for group in groups}) > 1]
    for chosen in (telling, _fewest(telling, groups)):
        labels = [_label(group, chosen) for group in groups]
        if all(labels) and len({*labels}) == len(labels) and max(map(len, labels)) <= _LONGEST_LABEL:
            return labels
    return names_of_runs(groups)


def _fewest(keys: Sequence[str], groups: Sequence[SettingResult]) -> list[str]:
    """The first of some keys that are enough to tell settings apart."""
    kept = list(keys)
    for key in reversed(keys):
        others = [each for each in kept if each != key]
        if len({_label(group, others) for group in groups}) == len(groups):
            kept = others
    return kept


def _label(group: SettingResult, keys: Sequence[str]) -> str:
    """The values of some keys of a setting in a line, with the last names of the keys if these differ."""
    names = {key: key.rpartition(".")[2] for key in keys}
    names = names if len({*names.values()}) == len(names) else {key: key for key in keys}
    return ", ".join(f"{names[key]} {value_text(group.shown[key])}" for key in keys if key in group.shown)


def _runs(records: Sequence[Record], metric: str) -> Iterator[Block]:
    names = names_apart((each.name, each.run.folder) for each in records)
    rows = [
        overview(each.run, each.summary, metric) | {"run": name}
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
