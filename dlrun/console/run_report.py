"""The report of one run (`dlrun report`): its sections, from the files of its folder alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlrun import __version__
from dlrun.config.keys import AVERAGED, FOLDS
from dlrun.config.registry import Parts
from dlrun.console.numbers import (
    compact,
    number,
    of_seeds,
    said_batches,
    said_trainset,
    seeds_text,
    shape_text,
    value_text,
)
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
from dlrun.console.report_commands import Commands, commands_for
from dlrun.console.report_evaluations import evaluation_blocks
from dlrun.console.training_results import (
    baselines_by_name,
    measured_cells,
    reasons_of_none,
    said_average,
    said_end,
    said_stops,
    verdict_cells,
)
from dlrun.results.report_curves import charts_of_run
from dlrun.results.report_evaluations import Checkpoints, evaluations_of
from dlrun.results.report_pictures import CURVES, pictures_of_run
from dlrun.results.report_units import unit_of, with_unit
from dlrun.run_folders.pictures import Picture
from dlrun.run_folders.records import Record
from dlrun.run_folders.run import ENDED
from dlrun.run_folders.sound_entries import summary_entries
from dlrun.run_folders.surroundings import surroundings_of
from dlrun.system.bounds import CONFIG
from dlrun.system.files import read_bounded
from dlrun.system.processes import quoted

_MOST_SEEDS = 100  # rows of a table
_MOST_LAYERS = 200


def report_of_run(record: Record, parts: Parts, parts_folder: Path | None = None) -> Report:
    """The report of a run; commands in it name the folder of own `parts` as it was named.

    Raises UserError if metrics.csv is damaged.
    """
    summary, refused = summary_entries(record.summary)
    commands = commands_for([record], parts, parts_folder)
    checkpoints = Checkpoints(record.run)
    calibrations = checkpoints.calibrations()
    evaluations = evaluations_of(record.run, summary, checkpoints, calibrations)
    pictures = pictures_of_run(
        record.run, parts, evaluations, calibrations, has_several_seeds=len(record.seeds) > 1
    )
    evaluated = evaluation_blocks(
        record, evaluations, calibrations, commands, parts, _is_trained(record, summary)
    )
    sections = [
        Section("Results", [*_figures(record, summary, refused, parts)]),
        Section("Curves", [*_curves(record, summary, pictures, parts)]),
        Section("Seeds", [*_seeds(summary)]),
        Section("Evaluation", [*evaluated]),
        Section("Pictures", [*_pictures(pictures, of_data=False)]),
        Section("Data", [*data_blocks(record, summary), *_pictures(pictures, of_data=True)]),
        Section("Model", [*model_blocks(record, summary)]),
        Section("Config", [*config_blocks(record)]),
        Section("Repeat it", [*_repetition(record, summary, commands), *environment_blocks(record)]),
    ]
    lead = [said_choice(record), _said_end(record, summary)]
    return Report(record.name, lead, [each for each in sections if each.blocks], __version__)


def said_choice(record: Record) -> str:
    """The model, the data, the loss and the optimizer of a run in a sentence."""
    named = {kind: record.config.get(f"{kind}.name") or record.config.get(kind) for kind in _CHOSEN}
    if not all(isinstance(name, str) for name in named.values()):
        return ""
    architecture, dataset, loss, optimizer = named.values()
    seeds = sorted(record.seeds)
    of_seeds = f"; {len(seeds)} seeds, {seeds_text(seeds)}" if len(seeds) > 1 else ""
    return f"{architecture} trained on {dataset}: loss {loss}, optimizer {optimizer}{of_seeds}."


_PART_OF_ERROR = re.compile(r" {2,}(?=(?:where|fix|resume): )")  # lines of an error, joined in one
_CHOSEN = ("architecture", "dataset", "loss", "optimizer")


def _said_end(record: Record, summary: Mapping[str, Any]) -> str:
    """The status of a run in a sentence, with the error that ended it."""
    status = record.run.status(record.summary)
    planned = summary["planned_epochs"]
    end = said_end({**summary, "status": status}) if summary["status"] else status
    of = f" (of {planned:,} epochs)" if planned and planned != summary["epochs"] else ""
    error = [sentence(part).text for part in _PART_OF_ERROR.split(summary["error"] or "") if part]
    return " ".join([sentence(f"{end}{of}").text, *error])


def _is_trained(record: Record, summary: Mapping[str, Any]) -> bool:
    """True if a run has ended with a model that was trained for an epoch at least."""
    return record.run.status(record.summary) in ENDED and bool(summary["final"])


def _figures(
    record: Record, summary: Mapping[str, Any], refused: Sequence[str], parts: Parts
) -> Iterator[Block]:
    columns = [column for column in summary["final"] if column not in ("lr", "seconds")]
    unit = unit_of(summary)
    if columns and summary["seeds"]:
        measured = measured_cells(summary, columns)
        baselines = {
            name: [number(figures.get(column.removesuffix(AVERAGED))) for column in columns]
            for name, figures in baselines_by_name(summary).items()
        }
        cells = [*measured.values(), *baselines.values()]
        rows = [
            [with_unit(column, unit, parts), *(of[row] for of in cells)] for row, column in enumerate(columns)
        ]
        caption = "Figures of the model and of baselines, which are guesses without a model"
        yield Table(caption if baselines else "Figures", ["figure", *measured, *baselines], rows)
    elif summary["status"]:
        yield Words(f"There are no figures{'' if summary['epochs'] else ': no epoch was completed'}.")
    seeds = len(summary["seeds"])
    notes = [
        said_trainset(columns),
        f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "",
        said_average(summary["average"], seeds) if summary["average"] else "",
        said_batches(summary["loss_of_batches"]) if summary["loss_of_batches"] else "",
        said_stops(summary),
    ]
    yield from (sentence(note) for note in notes if note)
    if claims := summary["expect"]:
        rows = [list(verdict_cells(claim)) for claim in claims]
        yield Table("Claims of the config", ["expected", "measured", "met"], rows)
        yield from (sentence(reason) for reason in reasons_of_none(claims))
    warnings = list(summary["warnings"])
    if not record.summary:
        warnings.append("there is no summary.json that can be read: figures are missing")
    elif refused:
        said = ", ".join(refused)
        warnings.append(f"left out, as summary.json has them in a form that dlrun does not write: {said}")
    if record.run.status(record.summary) not in ENDED:
        warnings.append("the run is not complete: figures are those so far")
    if warnings:
        yield Warnings(warnings)


def _curves(
    record: Record, summary: Mapping[str, Any], pictures: Sequence[Picture], parts: Parts
) -> Iterator[Block]:
    if charts := charts_of_run(record.run.rows(), summary, parts):
        yield Charts(charts, next((each for each in pictures if each.path.stem == CURVES), None))


def _pictures(pictures: Sequence[Picture], *, of_data: bool) -> Iterator[Block]:
    if shown := [each for each in pictures if each.path.stem != CURVES and each.of_data is of_data]:
        yield Pictures(shown)


def _seeds(summary: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the figures of each seed, and their spread; nothing of a single seed."""
    seeds, best = summary["seeds"], summary["best"]
    columns = {
        name: own["values"]
        for name, own in summary["final"].items()
        if name not in ("lr", "seconds") and len(own["values"]) == len(seeds)
    }
    if len(seeds) < 2 or not columns:
        return
    epochs = best["epochs"] if best else {}
    rows = [
        [str(seed), str(epochs.get(str(seed), "")), *(number(values[row]) for values in columns.values())]
        for row, seed in enumerate(seeds[:_MOST_SEEDS])
    ]
    known = [[each for each in values if each is not None] for values in columns.values()]
    rows.append(["mean ± sd", "", *(of_seeds(values) for values in known)])
    yield Table("Figures of each seed after its last epoch", ["seed", "best epoch", *columns], rows)
    if len(seeds) > _MOST_SEEDS:
        yield Words(f"The first {_MOST_SEEDS} of {len(seeds):,} seeds; mean and spread are of all.")


def data_blocks(record: Record, summary: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the dataset of a run, its options and the number of examples in each split."""
    if record.fold is not None:
        fold = f"fold {record.fold}, one of {record.config.get(FOLDS)}"
        yield Words(f"The numbers of examples are those of {fold}, which is the validation split here.")
    rows = options_of(record, "dataset")
    if data := summary["data"]:
        rows += [[f"{name} examples", f"{count:,}"] for name, count in data["examples"].items()]
        rows.append(["fingerprint", data["fingerprint"]])
    if rows:
        yield Table("Dataset", ["data", "value"], rows)


def model_blocks(record: Record, summary: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the architecture of a run, its options, size and layers."""
    rows = options_of(record, "architecture")
    if (count := summary["parameters"]) is not None:
        frozen = summary["frozen_parameters"]
        rows.append(["parameters", f"{count:,}{f', {frozen:,} of them frozen' if frozen else ''}"])
    if (sums := summary["multiply_adds"]) is not None:
        rows.append(["multiply-adds for one example", f"{sums:,} ({compact(sums)})"])
    if rows:
        yield Table("Architecture", ["model", "value"], rows)
    if layers := summary["layers"]:
        heads = ["layer", "kind", "output", "parameters", "multiply-adds"]
        cells = [
            [
                each["name"],
                each["kind"],
                shape_text(each["output_shape"]),
                f"{each['parameters']:,}",
                f"{each['multiply_adds']:,}",
            ]
            for each in layers[:_MOST_LAYERS]
        ]
        yield Table("Layers, for one example", heads, cells)
        if len(layers) > _MOST_LAYERS:
            yield Words(f"The first {_MOST_LAYERS} of {len(layers):,} layers.")


def options_of(record: Record, kind: str) -> list[list[str]]:
    """The name and the options of a part in a run's config, each with its value."""
    name = record.config.get(f"{kind}.name")
    options = {key: value for key, value in record.config.items() if key.startswith(f"{kind}.")}
    rows = [[key.partition(".")[2], value_text(value)] for key, value in options.items()]
    return [[kind, value_text(name)], *(row for row in rows if row[0] != "name")] if name else rows


def config_blocks(record: Record) -> Iterator[Block]:
    """Yield the config of a run as it stands in its folder."""
    if record.unread:
        yield Warnings([f"config.yaml cannot be read: {record.unread}"])
    try:
        text = read_bounded(record.run.config, CONFIG).decode(errors="replace")
    except OSError:
        return
    yield Code(text, "yaml")


def _repetition(record: Record, summary: Mapping[str, Any], commands: Commands) -> Iterator[Block]:
    """Yield the commands that train the run again."""
    if given := [command for command in (summary["command"], *summary["resumed"]) if command]:
        yield Words("It was trained by:")
        yield Code("\n".join(map(quoted, given)), "sh")
    yield Words("With its folder, or with the config above as config.yaml, it is trained again by:")
    again = (commands.text("dlrun", "reproduce", record.name), commands.text("dlrun", "train", "config.yaml"))
    yield Code("\n".join(again), "sh")
    if commands.remark:
        yield Words(commands.remark)


def environment_blocks(record: Record) -> Iterator[Block]:
    """Yield all that a repetition has to be alike in: versions, machine, code, data."""
    found = {name: value for name, value in surroundings_of(record).items() if name not in ("status",)}
    rows = [[name, value_text(value)] for name, value in found.items() if value is not None]
    if rows:
        yield Table("Versions, machine and data", ["entry", "value"], rows)
