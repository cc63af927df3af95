"""The best run of a sweep, which SWEEP/best names."""

from __future__ import annotations

from statistics import fmean

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.comparison import Comparison, compare_runs, is_higher_better
from dlrun.run_folders.records import read_record, values_of
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import Sweep


def best_run(sweep: Sweep) -> Run:
    """The best run of a sweep so far, by the metric that it ranks its settings by.

    Raises UserError if no run is finished, or if it is unknown if a higher figure is better.
    """
    higher = sweep.higher_is_better
    if higher is None and (higher := is_higher_better(sweep.metric, Parts())) is None:
        what = f"it is not recorded if a higher or a lower {sweep.metric} is better"
        fix = f"name a run of it; dlrun compare {sweep.name} --parts DIR ranks them"
        raise UserError(what, where=str(sweep.folder), fix=fix)
    try:
        return best_of(ranked_settings(sweep, sweep.metric, higher=higher))
    except UserError as error:
        raise UserError(f"{sweep.name} has no best run: {error.what}", where=str(sweep.folder)) from None


def ranked_settings(
    sweep: Sweep, metric: str, *, parts: Parts | None = None, higher: bool | None = None
) -> Comparison:
    """The settings of a sweep, the best first. Raises UserError if no finished run has the metric."""
    given_up = sweep.given_up
    records = [read_record(trial.run) for trial in sweep.trials if trial.number not in given_up]
    return compare_runs(records, metric, ranked=True, parts=parts, values=values_of([sweep]), higher=higher)


def best_of(ranked: Comparison) -> Run:
    """The run of the setting that is ranked first that has the best figure; of equal ones the first.

    Settings are ranked by their means over seeds, so a run that was lucky does not decide. Raises UserError
    for runs of several folds, of which the best one had the easiest.
    """
    if ranked.groups[0].over[0] > 1:
        raise UserError("the runs of a setting differ by their folds, and the best had the easiest one")
    means = [
        (fmean(figures.values()), run)
        for run in ranked.groups[0].runs
        if (figures := read_record(run).of_taken_weights(ranked.metric))
    ]
    sign = 1 if ranked.higher_is_better else -1
    return max(means, key=lambda each: sign * each[0])[1]
