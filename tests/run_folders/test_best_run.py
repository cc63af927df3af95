"""SWEEP/best is the best run of the setting that is ranked first, and best.yaml is its config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import Values, config_of, filled
from small_runs import timeless
from small_sweeps import CONFIG, only_sweep

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.finding import find_run, find_runs
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import Sweep, created_sweep
from dlrun.sweeps.best_config import keep_best
from dlrun.sweeps.sweep import rank_sweep

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


def sweep_of(parent: Path, column: str, figures: dict[int, list[float]], **said: Any) -> Sweep:
    """A finished sweep over epochs; `figures` maps each number of epochs to the figure of each seed."""
    with created_sweep(parent, "small", jobs=1, device="cpu", metric=column, **said) as sweep:
        for epochs, of_seeds in figures.items():
            for seed, figure in enumerate(of_seeds):
                final: dict[str, Values] = {column: [figure]}
                config = config_of({"epochs": epochs, "seeds": [seed]})
                filled(sweep.add({"epochs": epochs}, config).run, [seed], final=final)
    return sweep


def test_the_best_run_is_of_the_setting_with_the_best_mean(tmp_path: Path) -> None:
    accuracies = {1: [0.99, 0.1], 2: [0.8, 0.9], 3: [0.7, 0.7]}
    sweep_of(tmp_path, "train_accuracy", accuracies)
    assert find_run("small-sweep-001/best", tmp_path).name == "small-004"
    assert find_runs("small-sweep-001/best", tmp_path) == [find_run("last/best", tmp_path)]
    assert find_run(f"{tmp_path}/small-sweep-001/best", tmp_path / "elsewhere").name == "small-004"


def test_a_lower_loss_is_better(tmp_path: Path) -> None:
    sweep_of(tmp_path, "train_loss", {1: [0.5, 0.6], 2: [0.4, 0.3], 3: [0.7, 0.2]})
    assert find_run("small/best", tmp_path).name == "small-004"


def test_a_part_of_ones_own_is_ranked_as_the_sweep_was_begun(tmp_path: Path) -> None:
    figures = {1: [0.5], 2: [0.4]}
    sweep_of(tmp_path / "higher", "train_own", figures, higher_is_better=True)
    sweep_of(tmp_path / "lower", "train_own", figures, higher_is_better=False)
    assert find_run("last/best", tmp_path / "higher").name == "small-001"
    assert find_run("last/best", tmp_path / "lower").name == "small-002"
    sweep_of(tmp_path / "before", "train_own", figures)
    with pytest.raises(UserError, match="it is not recorded if a higher or a lower train_own is better"):
        find_run("last/best", tmp_path / "before")


def test_a_sweep_without_a_finished_run_has_no_best(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "train_accuracy", {1: [0.5]})
    Run(sweep.folder / "small-001").write_json("summary.json", {"status": "running"})
    with pytest.raises(UserError, match="small-sweep-001 has no best run: there is no finished run"):
        find_run("small-sweep-001/best", tmp_path)
    with pytest.raises(UserError, match="there is no sweep nothing"):
        find_run("nothing/best", tmp_path)


def test_of_several_folds_none_is_the_best(dlrun: Dlrun, write: Write, runs_dir: Path) -> None:
    config = write("small.yaml", CONFIG.replace("valid_fraction: 0.2", "folds: 2, fold: 0"))
    assert dlrun("sweep", config, "dataset.fold=0,1", "epochs=1", "--seeds", 1, "--jobs", 1).code == 0
    with pytest.raises(UserError, match="has no best run: the runs of a setting differ by their folds"):
        find_run("last/best", runs_dir)
    assert not (only_sweep(runs_dir).folder / "best.yaml").exists()


def test_the_sweep_says_that_it_has_a_best_run(tmp_path: Path) -> None:
    sweep_of(tmp_path, "train_accuracy", {1: [0.5]})
    with pytest.raises(UserError, match="is a sweep of many runs") as refused:
        find_run("small-sweep-001", tmp_path)
    assert "small-sweep-001/best" in refused.value.fix


def test_the_config_of_the_best_trains_all_seeds_of_its_setting(
    dlrun: Dlrun, write: Write, runs_dir: Path
) -> None:
    config = write("small.yaml", CONFIG)
    assert dlrun("sweep", config, "optimizer.lr=1e-9,0.1", "--jobs", 1).code == 0
    sweep = only_sweep(runs_dir)
    text = (sweep.folder / "best.yaml").read_text()
    named = find_run("last/best", runs_dir)
    assert text.startswith(
        f"# the best setting of small-sweep-001 by best.valid_accuracy; its best run is {named.name}\n"
    )
    for trial in sweep.trials:  # as a sweep shares out the cores
        trial.run.config.write_text(trial.run.config.read_text().replace("threads: auto", "threads: 1"))
    ranked = rank_sweep(sweep, None, Parts(), pytest.fail)
    assert ranked is not None
    keep_best(sweep, ranked)
    assert "threads: auto" in (sweep.folder / "best.yaml").read_text()
    assert dlrun("train", sweep.folder / "best.yaml", "--name", "again").code == 0
    again = timeless(Run(runs_dir / "again-001").rows())
    of_setting = [trial.run for trial in sweep.trials if trial.values == {"optimizer.lr": 0.1}]
    both = [timeless(run.rows()) for run in of_setting]
    for column, values in again.items():
        for place, of_seed in enumerate(both):
            assert values[place::2] == of_seed[column], column


def test_commands_and_configs_take_it_for_a_run(dlrun: Dlrun, write: Write, runs_dir: Path) -> None:
    config = write("small.yaml", CONFIG)
    dlrun("sweep", config, "epochs=1,2", "--seeds", 1, "--jobs", 1)
    named = find_run("small/best", runs_dir)
    assert json.loads(dlrun("eval", "small/best", "--json").out)["run"] == named.name
    assert json.loads(dlrun("compare", "small/best", "--json").out)["settings"][0]["runs"] == [
        str(named.folder)
    ]
    assert dlrun("train", config, "architecture.weights=small/best", "epochs=1", "--name", "on").code == 0
    assert named.name in Run(runs_dir / "on-001").config.read_text()
    assert dlrun("diff", "small/best", "on").code == 0
