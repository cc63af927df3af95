"""The training of many runs in one folder, by `dlrun sweep` and by `dlrun train --folds`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dlrun.console.commands.arguments import progress_unless, warn_of_notes
from dlrun.errors import UserError, note_resume

if TYPE_CHECKING:
    from dlrun.config.registry import Parts
    from dlrun.run_folders.records import Record
    from dlrun.run_folders.sweep_folder import Sweep
    from dlrun.sweeps.grid import Setting
    from dlrun.sweeps.planning import SweepPlan
    from dlrun.sweeps.ray_cluster import Cluster
    from dlrun.sweeps.search import SearchSpace
    from dlrun.sweeps.shards import Shard


def planned_sweep(
    chosen: list[Setting],
    parts: Parts,
    data_dir: Path,
    runs_dir: Path,
    *,
    jobs: int | None = None,
    metric: str | None = None,
    quiet: bool = False,
    space: SearchSpace | None = None,
    times: int = 1,
    may_stack: bool = False,
    jobs_per_gpu: int | None = None,
    cluster: Cluster | None = None,
    beside: int = 0,
) -> SweepPlan:
    """The checked plan of a sweep before its folder exists, with its notes said unless `quiet`."""
    from dlrun.console.streams import say_sentence
    from dlrun.sweeps.workers import start_server

    if cluster is None or cluster.is_own:
        start_server()
    from dlrun.sweeps.planning import plan_sweep

    prepared = plan_sweep(
        chosen,
        jobs,
        metric,
        parts,
        data_dir,
        progress_unless(quiet),
        space=space,
        times=times,
        may_stack=may_stack,
        runs_dir=runs_dir,
        jobs_per_gpu=jobs_per_gpu,
        cluster=cluster,
        beside=beside,
    )
    warn_of_notes([] if quiet else [config for each in prepared.settings for config in each.configs])
    if (note := prepared.without_validation) and not quiet:
        say_sentence(note)
    return prepared


def train_all(
    sweep: Sweep,
    parts: Parts,
    data_dir: Path,
    command: str,
    *,
    jobs: int | None = None,
    metric: str | None = None,
    quiet: bool = False,
    json: bool = False,
    shard: Shard | None = None,
    jobs_per_gpu: int | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Train what is left of a sweep, print and keep its results; the exit code. `command` resumes it.

    Of a `shard` its own runs; the results are those of the whole sweep, once no other shard has runs left.
    A `cluster` has all its nodes look for what they need, and then takes the runs in place of this machine.
    """
    from dlrun.console.streams import say, say_json, say_sentence, warn
    from dlrun.console.sweep_results import (
        print_failures,
        print_left_to_others,
        print_out_of_fold,
        print_sweep_results,
    )
    from dlrun.console.sweep_view import SweepDisplay
    from dlrun.sweeps.workers import start_server
    from dlrun.system.strict_json import finite

    if cluster is None or cluster.is_own:
        start_server()
    from dlrun.sweeps.cross_validation import keep_out_of_fold
    from dlrun.sweeps.ray_check import look_at_nodes
    from dlrun.sweeps.shards import left_to_others
    from dlrun.sweeps.sweep import keep_ranking, rank_sweep, train_sweep
    from dlrun.sweeps.views import HiddenSweep

    with _resumable(command):
        if quiet:
            say(str(sweep.folder))
        demand, at_once = None, jobs or sweep.jobs
        if cluster:
            cluster = cluster.of(sweep.device)
            for warning in look_at_nodes(cluster, sweep, parts, data_dir):
                warn(warning)
            demand = cluster.demand(sweep, at_once, jobs_per_gpu)
            if not quiet and not json:
                say_sentence(str(cluster))
        view = HiddenSweep() if quiet or json else SweepDisplay()
        ended = train_sweep(sweep, at_once, view, parts, data_dir, shard, demand)
        others = left_to_others(sweep, shard) if shard else 0
        ranked, together = None if others else rank_sweep(sweep, metric, parts, warn), None
        try:
            together = keep_out_of_fold(sweep, parts, data_dir)
        except UserError as error:
            warn(f"no out-of-fold predictions: {error.inline}")
        if json:
            found = ended.plain() | {"results": ranked.plain() if ranked else None}
            found |= {"shard": str(shard), "left_to_other_shards": others} if shard else {}
            say_json(finite(found | ({"out_of_fold": together.plain()} if together else {})))
        elif quiet:
            print_failures(ended, command)
        else:
            print_sweep_results(ended, ranked, command)
            if others:
                print_left_to_others(others)
            if together:
                print_out_of_fold(together, sweep)
        if ranked:
            keep_ranking(sweep, ranked, warn)
    return ended.exit_code


def finished_in(runs_dir: Path) -> Sequence[Record]:
    """The records of the finished runs in a folder: those of sweeps first, then oldest to newest."""
    from dlrun.run_folders.records import read_record
    from dlrun.run_folders.run import DONE
    from dlrun.run_folders.sweep_finding import all_runs_in, can_borrow

    every = [run for run in reversed(all_runs_in(runs_dir)) if can_borrow(run, runs_dir)]
    found = map(read_record, every)
    return [each for each in found if each.run.status(each.summary) in DONE]


@contextmanager
def _resumable(command: str) -> Iterator[None]:
    """Add the command that resumes the sweep to every error raised in the block."""
    try:
        yield
    except UserError as error:
        error.resume = error.resume or command
        raise
    except Exception as error:
        note_resume(error, command)
        raise
