"""The curves of a report: each figure over the epochs, as means and standard deviations over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from dlrun.config.registry import Parts
from dlrun.results.report_units import unit_of, with_unit
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.comparison_notes import figure_of, said_other_losses
from dlrun.run_folders.records import LARGEST
from dlrun.run_folders.setting_curves import over_epochs, rows_of
from dlrun.run_folders.setting_results import SettingResult
from dlrun.training.figures import figure_name

MOST_POINTS = 400  # of a line: more could not be told apart
MOST_LINES = 10  # settings, as many as there are colours
_DECADES = 30  # ratio of largest to smallest figure from which an axis is logarithmic


@dataclass(frozen=True)
class Line:
    """A column over epochs (n,): means and, of several seeds, standard deviations (n,), None for one seed."""

    name: str
    epochs: list[int]
    means: list[float]
    sds: list[float | None] | None
    measured: int  # the number of epochs, of which a long line has some


@dataclass(frozen=True)
class Chart:
    """Lines of one figure; `levels` are baselines, and `marks` are epochs with a name."""

    title: str
    lines: list[Line]
    levels: list[tuple[str, float]] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    is_log: bool = False  # to begin with
    note: str = ""  # on what the lines are

    def plain(self) -> dict[str, Any]:
        """The chart as values that JSON can hold."""
        return asdict(self)


def charts_of_run(rows: Mapping[str, Sequence[Any]], summary: Mapping[str, Any], parts: Parts) -> list[Chart]:
    """The charts of a run's loss, metrics and learning rate, by its metrics.csv and summary."""
    columns = [name for name in rows if name not in ("epoch", "seed", "seconds")]
    best = summary["best"]
    marks = [(f"best {best['monitor']}", best["epoch"])] if _is_of_one_epoch(best) else []
    charts = []
    for figure in dict.fromkeys(map(_figure, columns)):
        lines = [_line(name, rows) for name in columns if _figure(name) == figure]
        lines = [line for line in lines if line.epochs and not _is_constant_rate(line)]
        if lines:
            levels = list(_levels(figure, [line.name for line in lines], summary["baselines"]))
            title = "learning rate" if figure == "lr" else figure_name(figure)
            title = with_unit(title, unit_of(summary), parts, figure)
            charts.append(Chart(title, lines, levels, marks, _is_log(figure, lines)))
    return charts


def drawn_settings(found: Comparison) -> list[SettingResult]:
    """The settings that have a line in a chart: of many the best, in the order of the comparison."""
    groups = [group for group in found.groups if group.values]
    best = sorted(groups, key=lambda g: g.mean, reverse=found.higher_is_better)[:MOST_LINES]
    return [group for group in groups if any(group is each for each in best)]


def charts_of_settings(
    found: Comparison,
    labels: Sequence[tuple[SettingResult, str]],
    columns: Iterable[str],
    baselines: Mapping[str, Any],
) -> list[Chart]:
    """A chart for each column, with a line for each setting and its label, and the baselines of all."""
    rows = [(group, label, rows_of(group)) for group, label in labels]
    charts = []
    for column in columns:
        lines = []
        for group, label, runs in rows:
            is_last = column == found.column and not found.is_of_best_epoch
            epochs, values = over_epochs(group, runs, column, is_last=is_last)
            lines.append(_thinned(label, dict(zip(epochs, values, strict=True))))
        if lines := [line for line in lines if line.epochs]:
            note = said_other_losses([group for group, _ in labels], column)
            levels = [] if note else list(_levels(_figure(column), [column], baselines))
            charts.append(Chart(column, lines, levels, is_log=_is_log(_figure(column), lines), note=note))
    return charts


def _figure(column: str) -> str:
    """The figure of a column of metrics.csv, without split; `lr` stays as it is."""
    return figure_of(column) or column


def _line(column: str, rows: Mapping[str, Sequence[Any]]) -> Line:
    """The line of a column: at each epoch the seeds that have a finite figure count."""
    values: dict[int, list[float]] = {}
    for epoch, value in zip(rows.get("epoch", ()), rows[column], strict=False):
        if value is not None and abs(value) < LARGEST:  # so neither nan nor inf
            values.setdefault(epoch, []).append(value)
    return _thinned(column, values)


def _thinned(name: str, values: Mapping[int, Sequence[float]]) -> Line:
    """The line of the figures of each epoch; of many epochs some, with the first and the last."""
    epochs = sorted(values)
    if len(epochs) > MOST_POINTS:
        last = len(epochs) - 1
        epochs = [epochs[round(point * last / (MOST_POINTS - 1))] for point in range(MOST_POINTS)]
    has_several = any(len(of_epoch) > 1 for of_epoch in values.values())
    sds = [_rounded(stdev(v)) if len(v := values[epoch]) > 1 else None for epoch in epochs]
    means = [_rounded(fmean(values[epoch])) for epoch in epochs]
    return Line(name, epochs, means, sds if has_several else None, len(values))


def _rounded(figure: float) -> float:
    """A figure with six digits, which are more than a chart shows."""
    return float(f"{figure:.6g}")


def _levels(figure: str, names: Sequence[str], baselines: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    """Yield the baselines of the last split that the lines are of, and that has some."""
    for split in ("test", "valid", "train"):
        of_split = baselines.get(split, {})
        if f"{split}_{figure}" in names and of_split:
            for name, figures in of_split.items():
                if (value := figures.get(figure)) is not None:
                    yield f"{name}, {split}", _rounded(value)
            return


def _is_of_one_epoch(best: Mapping[str, Any] | None) -> bool:
    return best is not None and len({best["epoch"], *best["epochs"].values()}) == 1


def _is_constant_rate(line: Line) -> bool:
    """Return whether a line is that of a learning rate that never changes, which the config says."""
    return line.name == "lr" and len({*line.means}) == 1


def _is_log(figure: str, lines: Iterable[Line]) -> bool:
    """Return whether an axis begins as a logarithmic one: that of a loss or a rate over some decades."""
    means = [mean for line in lines for mean in line.means]
    return figure in ("loss", "lr") and min(means) > 0 and max(means) / min(means) >= _DECADES
