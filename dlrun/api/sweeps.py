"""Sweeps from Python: `dlrun.sweep` trains many runs in one folder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dlrun.api.comparing import Comparison
from dlrun.api.pictures import Pictures, pictures_in
from dlrun.api.python_values import NAME, plain_config, refuse_no_count, seeds_of, words_of
from dlrun.api.runs import Run, Runs
from dlrun.config.lookup import find_config
from dlrun.errors import RunFailed, UserError
from dlrun.results.places import PathLike, Places, expanded
from dlrun.run_folders.best_run import best_run
from dlrun.run_folders.sweep_folder import Sweep as SweepFolder
from dlrun.run_folders.sweep_folder import read_sweep
from dlrun.sweeps.base import base_of_grid
from dlrun.sweeps.grid import settings_of_grid
from dlrun.sweeps.growing import grow, grow_search, settings_to_add
from dlrun.sweeps.planning import plan_sweep
from dlrun.sweeps.search import search_space
from dlrun.sweeps.sweep import keep_ranking, rank_sweep, train_sweep
from dlrun.sweeps.views import HiddenSweep
from dlrun.sweeps.workers import start_server
from dlrun.system.process_state import undisturbed

if TYPE_CHECKING:
    from dlrun.sweeps.views import SweepView


class Sweep:
    """A sweep: a folder of runs that differ by the values of some keys, and by their seeds."""

    def __init__(self, folder: Path, places: Places | None = None) -> None:
        self.folder, self._places = folder.absolute(), places or Places()

    @property
    def name(self) -> str:
        """The name of the folder, such as `spiral_relu-sweep-001`."""
        return self.folder.name

    @property
    def _sweep(self) -> SweepFolder:
        return read_sweep(self.folder)

    @property
    def runs(self) -> Runs:
        """Its runs, in the order in which they are trained."""
        return Runs(Run(trial.run.folder, self._places) for trial in self._sweep.trials)

    @property
    def results(self) -> Comparison:
        """Its settings, the best first. Raises RunFailed if no run has finished yet."""
        sweep = self._sweep
        ranked = rank_sweep(sweep, None, self._places.own_parts(), warnings.warn)
        if ranked is None:
            raise RunFailed(f"no run of {self.name} has a figure {sweep.metric} yet")
        return Comparison(ranked)

    @property
    def best(self) -> Run:
        """The best run of the best setting, as SWEEP/best names it. Raises UserError if none is finished."""
        return Run(best_run(self._sweep).folder, self._places)

    @property
    def plots(self) -> Pictures:
        """The pictures over all settings."""
        return pictures_in(self._sweep.plots)

    def resume(
        self,
        *values: str,
        seeds: int | Sequence[int] | None = None,
        zipped: bool = False,
        optuna: int | None = None,
        jobs: int | None = None,
        quiet: bool = False,
    ) -> Sweep:
        """Train the runs that are left, and those of further `values` and `seeds`, as `dlrun.sweep` has them.

        Of a search `optuna` is the number of settings in all. Raises as `dlrun.sweep` does, and UserError if
        there is nothing to add.
        """
        refuse_no_count(jobs=jobs, optuna=optuna)
        found, parts = self._sweep, self._places.own_parts()
        if optuna:
            if values or seeds is not None:
                raise UserError("a search draws its values and has its seeds", fix="give optuna= alone")
            grow_search(found, optuna)
        if values or seeds is not None:
            start_server()
            with undisturbed():
                settings = settings_to_add(found, values, seeds_of(seeds), parts, is_zipped=zipped)
                data_dir, runs_dir = self._places.data_folder(), found.folder.parent
                planned = partial(plan_sweep, runs_dir=runs_dir, beside=len(found.trials))
                at_once = jobs or (found.jobs if found.has_chosen_jobs else None)
                grow(found, planned(settings, at_once, found.metric, parts, data_dir))
        elif zipped:
            raise UserError("zipped= pairs values, and none are given", fix="give values, or leave it out")
        _trained(found, jobs, self._places, quiet=quiet)
        return self

    def __repr__(self) -> str:
        return f"<Sweep {self.name} of {len(self._sweep.trials)} runs>"

    def _repr_html_(self) -> str:
        try:
            return self.results._repr_html_()
        except RunFailed:
            return self.runs._repr_html_()


def sweep(
    config: PathLike | Mapping[str, Any],
    *values: str,
    seeds: int | Sequence[int] | None = None,
    name: str | None = None,
    device: str | None = None,
    jobs: int | None = None,
    random: int | None = None,
    zipped: bool = False,
    optuna: int | None = None,
    metric: str | None = None,
    runs_dir: PathLike = "runs",
    data_dir: PathLike | None = None,
    parts: PathLike | None = None,
    quiet: bool = False,
) -> Sweep:
    """Train a config with many values of some keys, as `dlrun sweep` does, and return the sweep.

    `values` are texts such as "optimizer.lr=0.1,0.01"; every combination is trained, or `random` of them,
    or as many as Optuna draws, or, if `zipped`, the first values of all keys, the second ones, and so on.
    `jobs` runs train at once, by default one for each core or each GPU, in processes of their own. The
    other arguments are those of `dlrun.train`. A run that fails does not end the others. Raises
    ConfigError with the mistakes of all combinations, UserError for data that do not fit, RunFailed where
    every run has failed.
    """
    places, runs_folder = Places(parts, data_dir), expanded(runs_dir)
    own_parts, chosen = places.own_parts(), seeds_of(seeds)
    refuse_no_count(jobs=jobs, random=random, optuna=optuna)
    if optuna and (random or metric or zipped):
        fix = "leave out random=, zipped= and metric=; set monitor=COLUMN to choose the figure"
        raise UserError("optuna= draws the settings itself, by the monitored figure", fix=fix)
    if random and zipped:
        raise UserError("zipped= takes all pairs of values, and random= draws some", fix="leave out one")
    words = words_of(values, name=name, device=device)
    start_server()
    with undisturbed(), _file_of(config) as path:
        space = search_space(path, words, chosen, own_parts, runs_folder) if optuna else None
        if space:
            settings, base = [space.setting], None
        else:
            settings = settings_of_grid(path, words, chosen, random, own_parts, is_zipped=zipped)
            base = base_of_grid(path, words, own_parts, is_zipped=zipped)
        planned = plan_sweep(
            settings,
            jobs,
            metric,
            own_parts,
            places.data_folder(),
            space=space,
            times=optuna or 1,
            runs_dir=runs_folder,
        )
        made = planned.make(runs_folder, base=base)
    del planned  # frees its data: each worker reads its own
    _trained(made, jobs, places, quiet=quiet)
    return Sweep(made.folder, places)


def _trained(sweep: SweepFolder, jobs: int | None, places: Places, *, quiet: bool) -> None:
    """Train what is left of a sweep, and keep its ranking."""
    start_server()
    parts = places.own_parts()
    with undisturbed():
        ended = train_sweep(sweep, jobs or sweep.jobs, _shown(quiet), parts, places.data_folder())
        if ended.signal:
            warnings.warn(f"{sweep.name} was stopped: resume() of it trains the rest", stacklevel=3)
        for each in ended.failed:
            said = each.lines[0].removeprefix("error: ") if each.lines else each.status
            if len(ended.failed) == len(ended.progress):
                raise RunFailed(f"each of its runs failed, the first because {said}", where=str(sweep.folder))
            warnings.warn(f"{each.trial.run.name} failed: {said}", stacklevel=3)
        ranked = rank_sweep(sweep, None, parts, warnings.warn)
        if ranked:
            keep_ranking(sweep, ranked, warnings.warn)


def _shown(quiet: bool) -> SweepView:
    """The view of a sweep: none, a table of a notebook, or that of the command line."""
    if quiet:
        return HiddenSweep()
    from dlrun.api.notebook import NotebookSweep, in_notebook

    if in_notebook():
        return NotebookSweep()
    from dlrun.console.sweep_view import SweepDisplay

    return SweepDisplay()


@contextmanager
def _file_of(config: PathLike | Mapping[str, Any]) -> Iterator[Path]:
    """The file of a config, which a dict has for the time of this context."""
    if not isinstance(config, Mapping):
        yield find_config(str(expanded(config)))
        return
    with TemporaryDirectory(prefix="dlrun-config-") as folder:
        path = Path(folder, "config.yaml")
        try:
            path.write_text(
                json.dumps({"name": NAME, **plain_config(config)}, indent=1), encoding="utf-8"
            )  # which is YAML
        except (TypeError, ValueError) as error:
            raise UserError(f"the config holds what no file could: {error}") from None
        yield path
