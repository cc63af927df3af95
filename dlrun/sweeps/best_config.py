"""best.yaml in a sweep's folder: the config of its best setting, to train it again or for longer."""

from __future__ import annotations

from dlrun.config.dumping import dump
from dlrun.config.strict_yaml import read_file
from dlrun.errors import UserError, one_line
from dlrun.run_folders.best_run import best_of, best_run
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.sweep_folder import BASE, BEST_CONFIG, Sweep
from dlrun.sweeps.values import distinct, identity_of
from dlrun.system.files import is_file, write_atomically


def keep_best(sweep: Sweep, ranked: Comparison) -> None:
    """Write the config of the best run, with all seeds of its setting, to the sweep's folder.

    It is the run that SWEEP/best names, by the sweep's own metric, even if `ranked` is by another one. Where
    there is none, as among folds, nothing is written.
    """
    try:
        run = best_of(ranked) if ranked.metric == sweep.metric else best_run(sweep)
    except UserError:
        return
    plain = read_file(run.config).plain()
    own = next((identity_of(trial.values) for trial in sweep.trials if trial.run == run), "")
    seeds = [seed for trial in sweep.trials if identity_of(trial.values) == own for seed in trial.seeds]
    base = read_file(sweep.folder / BASE).plain() if is_file(sweep.folder / BASE) else plain
    # The sweep may have given each run a share of the cores.
    changes = {"seeds": distinct(seeds or plain["seeds"]), "threads": base.get("threads") or "auto"}
    said = f"the best setting of {sweep.name} by {sweep.metric}; its best run is {run.name}"
    text = f"# {one_line(said)}\n{dump(plain | changes)}"
    write_atomically(sweep.folder / BEST_CONFIG, lambda file: file.write(text.encode()))
