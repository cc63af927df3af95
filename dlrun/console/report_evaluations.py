"""The evaluations of a run in its report (`dlrun report`), and its calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from dlrun.config.registry import Parts
from dlrun.console.calibration import figure_rows, said_metric
from dlrun.console.evaluation import (
    about_evaluation,
    about_seen,
    class_cells,
    evaluation_cells,
    interval_cells,
    quantile_cells,
    said_confusions,
)
from dlrun.console.layout import class_name
from dlrun.console.numbers import number, said_temperatures, said_thresholds
from dlrun.console.report_blocks import Block, Table, Warnings, Words, sentence
from dlrun.console.report_commands import Commands
from dlrun.results.report_evaluations import Calibration, Evaluation
from dlrun.results.report_units import with_unit
from dlrun.run_folders.records import Record
from dlrun.training.figures import share

_MOST_CLASSES = 100  # rows of a table
_MOST_TARGETS = 100


def evaluation_blocks(
    record: Record,
    evaluations: Sequence[Evaluation],
    calibrations: Sequence[Calibration],
    commands: Commands,
    parts: Parts,
    is_trained: bool,
) -> Iterator[Block]:
    """Yield what `dlrun calibrate` changed, and what each evaluation by `dlrun eval` found."""
    for calibration in calibrations:
        yield from _calibration(calibration, record, commands)
    for each in evaluations:
        found = each.found
        if not found:
            yield Warnings([f"eval/{each.path.name} is left out: it is no report that dlrun eval writes"])
            continue
        if each.outdated:
            again = commands.text("dlrun", "eval", record.name, *each.words)
            yield Warnings([f"the evaluation below is {each.outdated}: {again} evaluates it again"])
        figures, measured, baselines = evaluation_cells(found)
        cells = [*measured.values(), *baselines.values()]
        unit = found.get("unit", "")
        named = [with_unit(figure, unit, parts, figure) for figure in figures]
        rows = [[name, *(of[row] for of in cells)] for row, name in enumerate(named)]
        yield Table(about_evaluation(found), ["figure", *measured, *baselines], rows)
        yield from _of_examples(found, parts)
        warnings = [*found.get("warnings", ()), about_seen(found), found.get("foreign", "")]
        if not found.get("same_data", True) and "on" not in found:
            warnings.append("the data is not what the model was trained on")
        if said := [line for line in warnings if line]:
            yield Warnings(said)
    if not evaluations and is_trained:
        command = commands.text("dlrun", "eval", record.name)
        yield Words(f"There is none yet: {command} writes one, which the next report has.")
    has_commands = is_trained if not evaluations else any(each.outdated for each in evaluations)
    if commands.remark and (has_commands or not all(each.is_current for each in calibrations)):
        yield Words(commands.remark)


def _calibration(calibration: Calibration, record: Record, commands: Commands) -> Iterator[Block]:
    """Yield the temperatures and thresholds of a checkpoint, and the figures before and after."""
    found, name = calibration.found, calibration.path.name
    if not found:
        yield Warnings([f"{name} is left out: it is no file that dlrun calibrate writes"])
        return
    if not calibration.is_current:
        again = commands.text("dlrun", "calibrate", record.name)
        checkpoint = calibration.checkpoint.name
        yield Warnings([f"{name} is of an earlier {checkpoint}, and is not used: {again} calibrates again"])
        return
    threshold = found["threshold"]
    if temperatures := found["temperatures"]:
        fitted = _on_validation("fitted", found["examples"])
        yield Words(f"Calibrated by dlrun calibrate: {said_temperatures(temperatures)}{fitted}.")
        heads = ["figure", "as trained", "calibrated"]
        yield Table("Figures as trained and calibrated", heads, figure_rows(found["figures"]))
    if threshold:
        above = threshold["above"]
        chosen = _on_validation(f"chosen by {said_metric(threshold['metric'])}", threshold["examples"])
        by = f"Threshold{'s' * (len(above) > 1)} by dlrun calibrate"
        yield Words(f"{by}: {said_thresholds(above)}{chosen}.")
        if len(above) > 1:
            shown = islice(above.items(), _MOST_CLASSES)
            rows = [[class_name(label), share(least)] for label, least in shown]
            yield Table("The probability above which each label is predicted", ["label", "above"], rows)
            if len(rows) < len(above):
                yield Words(f"The first {len(rows)} of {len(above):,} labels.")
        heads = ["figure", "above 0.5", "by threshold"]
        yield Table("Figures without and with thresholds", heads, figure_rows(threshold["figures"]))
    if warnings := [*found["warnings"], *(threshold["warnings"] if threshold else ())]:
        yield Warnings(warnings)


def _on_validation(made: str, examples: Mapping[str, int]) -> str:
    """The end of a sentence on a calibration: how it was made, and on how many examples if that is known."""
    return f", {made}" + (f" on {examples['valid']:,} validation examples" if "valid" in examples else "")


def _of_examples(found: Mapping[str, Any], parts: Parts) -> Iterator[Block]:
    """Yield the figures of each class or each target of an evaluation."""
    if found.get("per_class"):
        heads, rows, rest = class_cells(found, _MOST_CLASSES)
        yield Table(f"Each class of {_named(found)}", heads, rows)
        if rest:
            yield Words(f"These are {rest}.")
    if said := said_confusions(found):
        yield sentence(said)
    if targets := found.get("per_target"):
        names = list(targets)[:_MOST_TARGETS]
        heads = list(dict.fromkeys(figure for name in names for figure in targets[name]))
        rows = [[name, *(number(targets[name].get(head)) or "–" for head in heads)] for name in names]
        named = [with_unit(head, found.get("unit", ""), parts, head) for head in heads]
        yield Table(f"Each target of {_named(found)}", ["target", *named], rows)
        if len(names) < len(targets):
            yield Words(f"The first {len(names)} of {len(targets):,} targets.")
    intervals = dict(islice(found.get("intervals", {}).items(), _MOST_TARGETS))
    for heads, rows in (interval_cells(intervals), quantile_cells(intervals)):
        if rows:
            unit = f", {found['unit']}" if found.get("unit") else ""
            named = [f"{head}{unit * (head == 'mean width')}" for head in heads]
            yield Table(f"Predicted {heads[1]}s of {_named(found)}", named, rows)


def _named(found: Mapping[str, Any]) -> str:
    """The examples of an evaluation in words."""
    views = f", tta {found['tta']}" if "tta" in found else ""
    return f"{Path(found['on']).name if 'on' in found else found['split']}{views}"
