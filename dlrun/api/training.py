"""Training from Python: `dlrun.train`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlrun.api.python_values import NAME, plain_config, words_of
from dlrun.api.resuming import refuse_several, view_of_run
from dlrun.api.runs import Run
from dlrun.config.dumping import dump_config
from dlrun.config.judging import with_judged_claims
from dlrun.config.keys import SWEEP_KEY, Config
from dlrun.config.loading import config_from_plain, load_config, read_config
from dlrun.config.lookup import find_config
from dlrun.config.registry import Parts
from dlrun.results.places import PathLike, Places, expanded
from dlrun.run_folders.locating import create_run
from dlrun.system.process_state import undisturbed
from dlrun.tracking.trackers import refuse_missing
from dlrun.training.experiment import train_run
from dlrun.training.plan_making import make_plan
from dlrun.training.plan_trials import try_on
from dlrun.training.teachers import with_runs_found

_SOURCE = "config"  # the name of a config that is no file, in messages


def train(
    config: PathLike | Mapping[str, Any],
    *overrides: str,
    seeds: int | Sequence[int] | None = None,
    name: str | None = None,
    device: str | None = None,
    runs_dir: PathLike = "runs",
    data_dir: PathLike | None = None,
    parts: PathLike | None = None,
    quiet: bool = False,
) -> Run:
    """Train a config into a new run folder, as `dlrun train` does, and return the run.

    `config` is a file, the name of one that dlrun ships, or a dict with the same keys. `overrides` are
    KEY=VALUE texts, such as "optimizer.lr=0.1". `seeds` is a number of them or their list. `data_dir` is by
    default DLRUN_DATA or data/, and `parts` DLRUN_PARTS or the folder of those that `dlrun.part` made. Unless
    `quiet`, the epochs are shown as they are trained. An interrupt of a notebook saves the run and ends it,
    as Ctrl-C does. Threads and random state of the process stay as they are.
    Raises ConfigError with every mistake of the config, UserError for data that do not fit, Diverged for a
    loss that is not finite, RunFailed where the run cannot be written or memory ran out.
    """
    places, runs_folder = Places(parts, data_dir), expanded(runs_dir)
    own_parts, words = places.own_parts(), words_of(overrides, seeds=seeds, name=name, device=device)
    with undisturbed():
        read = reader_of(config, own_parts)
        checked = with_judged_claims(read(words), words, lambda: read(()), check=False)
        refuse_several(checked)
        refuse_missing(checked)
        checked = with_runs_found(checked, own_parts, runs_folder)
        view, progress = view_of_run(quiet)
        plan = make_plan(checked, own_parts, places.data_folder())
        loaded = plan.load(progress=progress)  # let this fail before a run folder exists
        try_on(plan, loaded, progress)
        run = create_run(runs_folder, checked.name, dump_config(plan.config))
        for note in checked.notes:
            view.warn(note)
        train_run(plan, run, view, loaded=loaded, progress=progress, lets_go=True)
    return Run(run.folder, places)


def reader_of(config: PathLike | Mapping[str, Any], parts: Parts) -> Callable[[Sequence[str]], Config]:
    """The function that reads a config with some KEY=VALUE texts."""
    if isinstance(config, Mapping):
        plain = {"name": NAME, **plain_config(config)}
        return lambda words: config_from_plain(plain, _SOURCE, words, parts)
    path = find_config(str(expanded(config)))
    if SWEEP_KEY in read_config(path).value:
        said = f"the values under {SWEEP_KEY}: are only for dlrun.sweep; this trains the config without them"
        warnings.warn(said, stacklevel=3)
    return lambda words: load_config(path, words, parts)
