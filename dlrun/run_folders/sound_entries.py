"""Entries of summary.json and eval/*.json in the form that dlrun writes: the files are untrusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dlrun.system.bounds import SUMMARY
from dlrun.system.files import read_bounded

Count = Annotated[int, Field(ge=0, lt=2**63)]
Figure = float | None  # None: it was not finite, or not measured
Measured = Annotated[float | None, AfterValidator(lambda value: nan if value is None else value)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class _Entries(BaseModel):
    # strict JSON has no NaN; a text is never taken for a number
    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)


class OverSeeds(_Entries):
    mean: Figure = None
    sd: Figure = None
    values: list[Figure]


class BestEntry(_Entries):
    epoch: Count
    epochs: dict[str, Count] = {}
    monitor: str
    figures: dict[str, OverSeeds]


class ClaimEntry(_Entries):
    column: str
    claim: str
    measured: Figure
    met: bool | None
    missed_by: Figure = None
    why: str | None = None
    check_judges: bool = True


class AverageEntry(_Entries):
    taken: str
    column: str
    averaged: float
    trained: float
    is_better: bool
    are_same: bool
    better_seeds: Count


class DataEntry(_Entries):
    fingerprint: str
    examples: dict[str, Count] = {}
    unit: str = ""  # of the targets


class GitEntry(_Entries):
    commit: str
    dirty: bool


class WithinEntry(_Entries):
    epoch: Count
    steps: Count
    saved: Count


class LayerEntry(_Entries):
    name: str
    kind: str
    output_shape: list[Count]
    parameters: Count
    multiply_adds: Count


class SummaryEntries(_Entries):
    """The entries of summary.json that a report shows; all of them may be missing."""

    status: str = ""
    started: str = ""
    updated: str = ""
    command: list[str] = []
    resumed: list[list[str]] = []
    epochs: Count = 0
    planned_epochs: Count | None = None
    seeds: list[int] = []
    seconds: Annotated[float, Field(ge=0, lt=1e12)] = 0.0
    stopped: dict[str, Count] = {}
    reason: str | None = None
    error: str | None = None
    final: dict[str, OverSeeds] = {}
    best: BestEntry | None = None
    baselines: dict[str, dict[str, dict[str, Figure]]] = {}
    average: AverageEntry | None = None
    loss_of_batches: Count | str | None = None
    parameters: Count | None = None
    frozen_parameters: Count = 0
    multiply_adds: Count | None = None
    layers: list[LayerEntry] = []
    device: str = ""
    threads: Count | None = None
    processes: Count | None = None
    precision: str = ""
    machine: dict[str, str] = {}
    versions: dict[str, str] = {}
    code: str | None = None
    git: GitEntry | None = None
    data: DataEntry | None = None
    warnings: list[str] = []
    expect: list[ClaimEntry] = []
    within: WithinEntry | None = None


class Rates(_Entries):
    precision: Figure
    recall: Figure
    f1: Figure
    examples: Count
    weight: Figure = None


class Confusion(_Entries):
    true: str
    predicted: str
    count: float


class Interval(_Entries):
    levels: list[float]
    promised: float
    covered: float
    mean_width: Figure


class Quantile(_Entries):
    level: float
    share: float


class Intervals(_Entries):
    """The coverage of a target's predicted intervals, and of single quantiles."""

    between: list[Interval]
    below: list[Quantile]


class SomeExamples(_Entries):
    """The figures on some of the examples, of each seed."""

    examples: Count = 0
    per_seed: dict[str, dict[str, Measured]]


class EvaluationEntries(_Entries):
    """The entries of a report of `dlrun eval`."""

    run: str | None
    checkpoint: str
    sha256: str
    epoch: Count
    epochs: list[Count] = []
    chosen: str = ""
    weights: str = ""
    temperatures: list[float] = []
    tta: str = ""
    thresholds: dict[str, Probability] = {}
    split: str | None
    on: str = ""
    examples: Count
    weight: float = 0.0
    seen: Count | None = None
    left_out: Count = 0
    unseen: SomeExamples | None = None
    without_tta: SomeExamples | None = None
    metrics: dict[str, Figure]
    per_seed: dict[str, dict[str, Measured]] = Field(min_length=1)
    baselines: dict[str, dict[str, Figure]] = {}
    no_baselines: str = ""
    loss_of_batches: Count | str | None = None
    warnings: list[str] = []
    per_class: dict[str, Rates] = {}
    unit: str = ""  # of the targets
    counted: str = ""  # of each class, such as pixels
    most_confused: list[Confusion] = []
    per_target: dict[str, dict[str, Figure]] = {}
    intervals: dict[str, Intervals] = {}
    foreign: str = ""
    same_data: bool = True

    @model_validator(mode="after")
    def _has_all_figures(self) -> Self:
        """Raises ValueError if a seed lacks a figure that the report names."""
        some = [each.per_seed for each in (self.unseen, self.without_tta) if each]
        figures = {"loss", *self.metrics}
        if any(figures - of_seed.keys() for seeds in (self.per_seed, *some) for of_seed in seeds.values()):
            raise ValueError("a seed lacks a figure")
        return self


class Calibrated(_Entries):
    """Figures of each seed as trained, and calibrated."""

    before: dict[str, list[Measured]]
    after: dict[str, list[Measured]]


class Threshold(_Entries):
    metric: str | dict[str, Any]
    above: dict[str, Probability] = Field(min_length=1)
    examples: dict[str, Count]
    figures: dict[str, Calibrated]
    warnings: list[str] = []


class CalibrationEntries(_Entries):
    """The entries of what `dlrun calibrate` keeps beside a checkpoint."""

    sha256: str
    weights: str | None = None
    temperatures: list[Annotated[float, Field(gt=0)]]
    examples: dict[str, Count] = {}
    figures: dict[str, Calibrated] = {}
    warnings: list[str] = []
    threshold: Threshold | None = None


def summary_entries(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The entries of a summary with defaults for those that are missing, and the names of those left out.

    An entry that has another form than dlrun writes is left out.
    """
    refused = list[str]()
    try:
        entries = SummaryEntries.model_validate(content)
    except ValidationError as error:
        refused = list(dict.fromkeys(str(each["loc"][0]) for each in error.errors()))
        entries = SummaryEntries.model_validate({k: v for k, v in content.items() if k not in refused})
    return entries.model_dump(), refused


def calibration_entries(path: Path) -> dict[str, Any] | None:
    """What is kept beside a checkpoint; None if it has another form than `dlrun calibrate` writes."""
    try:
        return CalibrationEntries.model_validate_json(read_bounded(path, SUMMARY)).model_dump()
    except (OSError, ValueError, RecursionError):
        return None


class OutOfFoldEntries(_Entries):
    """The entries of a sweep's out_of_fold.json."""

    examples: Count
    figures: dict[str, Figure]
    epoch_chosen_by: str | None = None


def out_of_fold_entries(path: Path) -> dict[str, Any] | None:
    """The figures of out-of-fold predictions; None if there is no such file that dlrun wrote."""
    try:
        return OutOfFoldEntries.model_validate_json(read_bounded(path, SUMMARY)).model_dump()
    except (OSError, ValueError, RecursionError):
        return None


def evaluation_entries(path: Path) -> dict[str, Any] | None:
    """The report of an evaluation, with the entries that it has; None if it is not one of `dlrun eval`."""
    try:
        content = json.loads(read_bounded(path, SUMMARY))
        return EvaluationEntries.model_validate(content).model_dump(exclude_unset=True)
    except (OSError, ValueError, RecursionError):  # a ValidationError is a ValueError
        return None
