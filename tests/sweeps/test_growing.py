"""A sweep that grows is the one that would have been begun with all its values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from made_runs import made_sweep
from small_runs import timeless
from small_sweeps import CONFIG, only_sweep

from dlrun.config.dumping import dump_config
from dlrun.config.registry import Parts
from dlrun.errors import RunFailed, UserError
from dlrun.run_folders.sweep_folder import Sweep, find_sweep, read_sweep
from dlrun.sweeps.grid import settings_of_grid
from dlrun.sweeps.growing import settings_to_add

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
Begun = Callable[..., Sweep]


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


@pytest.fixture
def begun(dlrun: Dlrun, config: Path, runs_dir: Path) -> Begun:
    """begun("epochs=1,2") creates the folder of a sweep, of which nothing is trained."""

    def create(*words: str, path: Path = config) -> Sweep:
        assert dlrun("sweep", path, *words, "--create").code == 0
        return only_sweep(runs_dir)

    return create


def added(sweep: Sweep, *given: str, seeds: Sequence[int] | None = None, **how: bool) -> list[Any]:
    """The values and the seeds of each setting that a sweep lacks."""
    found = settings_to_add(sweep, given, seeds, Parts(), **how)
    return [(each.values, [seed for one in each.configs for seed in one.seeds]) for each in found]


def test_a_grown_sweep_is_the_one_begun_with_all_values(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    plain, one = ("architecture.dropout=0.1", "--jobs", 1), ("--jobs", 1)
    dlrun("sweep", config, "epochs=1,2", *plain, "--seeds", 1, "--name", "grown")
    done = dlrun("sweep", "--resume", "grown", "batch_size=9", "--seeds", 2, *one)
    assert (done.code, "8/8 runs are done" in done.out) == (0, True), done.err
    dlrun("sweep", config, "batch_size=full,9", "epochs=1,2", *plain, "--seeds", 2, "--name", "whole")
    grown, whole = (
        {
            (json.dumps(trial.values, sort_keys=True), *trial.seeds): timeless(trial.run.rows())
            for trial in find_sweep(name, runs_dir).trials
        }
        for name in ("grown", "whole")
    )
    assert grown == whole and len(grown) == 8
    sweep = find_sweep("grown", runs_dir)
    assert ["--resume" in words for words in sweep.commands] == [False, True]


@pytest.mark.parametrize("key", ["optimizer", "optimizer.name"])
def test_the_configs_are_those_of_the_whole_sweep(key: str, begun: Begun, config: Path) -> None:
    """Arguments for all runs are set again for another part, which has other options."""
    plain = ("optimizer.momentum=0.5", "optimizer.lr=0.25")
    sweep = begun(f"{key}=sgd", "epochs=1,2", *plain)
    every = settings_of_grid(config, [f"{key}=sgd,rmsprop", "epochs=1", *plain], None, None, Parts())
    [whole] = [each for each in every if each.values[key] == "rmsprop"]
    found = settings_to_add(sweep, [f"{key}=rmsprop"], None, Parts())
    assert [each.values for each in found] == [{"epochs": n, key: "rmsprop"} for n in (1, 2)]
    ours, theirs = (dump_config(each.configs[0]) for each in (found[0], whole))
    assert ours == theirs and "momentum: 0.5" in ours


def test_a_setting_that_is_there_gets_the_seeds_that_it_lacks(begun: Begun) -> None:
    sweep = begun("epochs=1,2")  # with the seeds 0 and 1 of the config
    assert added(sweep, seeds=range(4)) == [({"epochs": 1}, [2, 3]), ({"epochs": 2}, [2, 3])]
    assert added(sweep, "seeds=1,7") == [({"epochs": 1}, [7]), ({"epochs": 2}, [7])]
    assert added(sweep, "epochs=3", "seeds=7") == [
        ({"epochs": 1}, [7]),
        ({"epochs": 2}, [7]),
        ({"epochs": 3}, [0, 1, 7]),
    ]


def test_a_key_that_was_not_swept_has_had_the_value_of_the_runs(
    dlrun: Dlrun, begun: Begun, runs_dir: Path
) -> None:
    sweep = begun("epochs=1,2", "--seeds", "1")
    assert added(sweep, "batch_size=full,7") == [
        ({"epochs": epochs, "batch_size": 7}, [0]) for epochs in (1, 2)
    ]
    assert dlrun("sweep", "--resume", "small", "batch_size=7", "--jobs", 1).code == 0
    assert [trial.values for trial in read_sweep(sweep.folder).trials] == [
        {"epochs": epochs, "batch_size": size} for size in ("full", 7) for epochs in (1, 2)
    ]


def test_what_is_no_grid_gets_only_the_new_values(begun: Begun) -> None:
    sweep = begun("epochs=1,2,3", "batch_size=4,5,6", "--zip", "--seeds", "1")
    assert [trial.values for trial in sweep.trials] == [
        {"epochs": epochs, "batch_size": size} for epochs, size in ((1, 4), (2, 5), (3, 6))
    ]
    assert added(sweep, "epochs=7") == [({"epochs": 7, "batch_size": size}, [0]) for size in (4, 5, 6)]
    pairs = [({"epochs": epochs, "batch_size": size}, [0]) for epochs, size in ((7, 8), (8, 9))]
    assert added(sweep, "epochs=7,8", "batch_size=8,9", is_zipped=True) == pairs


def test_nothing_to_add_and_wrong_values_are_refused_before_anything_changes(
    dlrun: Dlrun, begun: Begun
) -> None:
    sweep = begun("epochs=1,2")
    before = sorted(sweep.folder.rglob("*"))
    for words, said in [
        (("epochs=2",), "small-sweep-001 has all of these settings and seeds"),
        (("--seeds", 2), "small-sweep-001 has all of these settings and seeds"),
        (("epochs=0",), "epochs: 0 is not a whole number >= 1"),
        (("epochs",), "'epochs' is not of the form KEY=VALUES"),
        (("optimizer.lr=log(1e-3,1)",), "optimizer.lr is a range without a count"),
        (("--zip",), "--needed, --zip and --dry-run are for new runs"),
        (("epochs=3", "--zip"), "--zip pairs the values of keys, and only epochs has several values"),
        (("epochs=3", "--name", "other"), "--resume continues a sweep as it was begun"),
        (("epochs=3", "--shard", "1/2"), "--shard trains runs that are there"),
        (("--optuna", 3), "small-sweep-001 is no search"),
    ]:
        refused = dlrun("sweep", "--resume", "small", *words)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert "would" not in dlrun("sweep", "--resume", "small", "epochs=3", "--dry-run").err
    assert sorted(sweep.folder.rglob("*")) == before


def test_a_sweep_of_an_earlier_dlrun_names_the_way_to_grow(begun: Begun, runs_dir: Path) -> None:
    sweep = begun("epochs=1,2")
    (sweep.folder / "base.yaml").unlink()
    with pytest.raises(UserError, match="is of an earlier dlrun") as refused:
        settings_to_add(sweep, ["epochs=3"], None, Parts())
    assert "--needed" in refused.value.fix


def test_a_cross_validation_does_not_grow(runs_dir: Path) -> None:
    folds = {"dataset": {"name": "spiral", "points": 20, "folds": 2}}
    sweep = made_sweep(runs_dir, [folds | {"seeds": [0]}], [[0.5]])
    for entry, fold in zip(sweep.content["runs"], (0,), strict=True):
        entry["values"] = {"dataset.fold": fold}
    with pytest.raises(UserError, match="is a cross-validation"):
        settings_to_add(sweep, ["epochs=3"], None, Parts())


def test_data_are_found_from_another_folder(
    dlrun: Dlrun, write: Write, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("numbers.csv", "a,b\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    text = CONFIG.replace(
        "{name: spiral, points: 40, valid_fraction: 0.2}", "{name: csv, path: numbers.csv, target: b}"
    )
    path = write("table.yaml", text.replace("accuracy", "r2").replace("cross_entropy", "mse"))
    assert dlrun("sweep", path, "epochs=1,2", "--create").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = dlrun("sweep", "--resume", "table", "epochs=3", "--dry-run", "--runs-dir", runs_dir)
    assert (done.code, done.err) == (0, "")


def test_runs_that_a_killed_growth_has_left_are_removed(
    dlrun: Dlrun, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = begun("epochs=1,2", "--seeds", "1")
    with monkeypatch.context() as patched:
        patched.setattr(Sweep, "borrow", lambda *_: None)
        patched.setattr("dlrun.sweeps.growing.command_line", lambda: 1 / 0)
        assert dlrun("sweep", "--resume", "small", "epochs=3").code == 1
    assert len(read_sweep(sweep.folder).trials) == 2 and (sweep.folder / "small-003").exists()
    assert dlrun("sweep", "--resume", "small", "epochs=4", "--jobs", 1).code == 0
    assert [trial.values["epochs"] for trial in read_sweep(sweep.folder).trials] == [1, 2, 4]
    assert sorted(each.name for each in sweep.folder.glob("small-*")) == [
        "small-001",
        "small-002",
        "small-003",
    ]


def test_a_sweep_that_trains_does_not_grow(
    begun: Begun, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.system.locks.PATIENCE", 0.1)
    sweep = begun("epochs=1,2")
    with sweep.lock():
        refused = dlrun("sweep", "--resume", "small", "epochs=3")
    assert refused.code == RunFailed.exit_code and "in use" in refused.err
    assert len(read_sweep(sweep.folder).trials) == 4
