"""A sweep that grows is the one that would have been begun with all its values."""

from __future__ import annotations

import json
import shutil
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
from dlrun.run_folders.sweep_finding import find_sweep
from dlrun.run_folders.sweep_folder import Sweep, read_sweep
from dlrun.sweeps.grid import settings_of_grid
from dlrun.sweeps.growing import grow, settings_to_add
from dlrun.sweeps.planning import plan_sweep

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
        (("epochs",), "'epochs' is no KEY=VALUES, and a sweep that goes on has its config"),
        (("optimizer.lr=log(1e-3,1)",), "optimizer.lr is a range without a count"),
        (("--zip",), "--needed, --zip and --dry-run are for runs that KEY=VALUES or --seeds add"),
        (("epochs=3", "--optuna", 3), "--optuna has a search draw more settings"),
        (("name=foo",), "name is the same for all runs of a sweep"),
        (("optimizer.lr={min: 0, max: 1}",), "is how another tool writes values"),
        (("epochs=3", "--zip"), "--zip pairs the values of keys, and only epochs has several values"),
        (("epochs=3", "--name", "other"), "--resume continues a sweep as it was begun"),
        (("epochs=3", "--shard", "1/2"), "--shard trains runs that are there"),
        (("--optuna", 3), "small-sweep-001 is no search"),
    ]:
        refused = dlrun("sweep", "--resume", "small", *words)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    planned = dlrun("sweep", "--resume", "small", "epochs=3", "--dry-run")
    assert (planned.code, "2 runs, " in planned.out) == (0, True)
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


def test_equal_numbers_of_two_types_are_two_values(begun: Begun) -> None:
    sweep = begun("limit=3,1", "--seeds", "1")
    assert [values for values, _ in added(sweep, "limit=1.0")] == [{"limit": 1.0}]
    assert type(added(sweep, "limit=1.0")[0][0]["limit"]) is float


def test_runs_and_files_that_values_name_are_those_of_the_first_runs(
    dlrun: Dlrun, config: Path, runs_dir: Path, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dlrun("train", config, "epochs=1", "--name", "early").code == 0
    words = ("architecture.weights=last,null", "epochs=1", "--seeds", 1)
    assert dlrun("sweep", config, *words, "--create").code == 0
    assert dlrun("train", config, "epochs=2", "--name", "late").code == 0  # the last one now
    sweep = only_sweep(runs_dir)
    found = settings_to_add(sweep, ["batch_size=9"], None, Parts())
    assert "early-001" in str(found[0].configs[0].architecture.options["weights"])
    assert [each.values["architecture.weights"] for each in found] == ["last", None]

    write("here/a.csv", "x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    write("here/b.csv", "x,y\n" + "".join(f"{n},{n % 3}\n" for n in range(40)))
    text = CONFIG.replace("{name: spiral, points: 40, valid_fraction: 0.2}", "{name: csv, target: y}")
    path = write("here/table.yaml", text.replace("accuracy", "r2").replace("cross_entropy", "mse"))
    monkeypatch.chdir(tmp_path / "here")
    words = ("dataset.path=a.csv,b.csv", "epochs=1", "--runs-dir", runs_dir, "--create")
    assert dlrun("sweep", path, *words, "--seeds", 1).code == 0
    monkeypatch.chdir(tmp_path)
    found = settings_to_add(find_sweep("table", runs_dir), [], range(2), Parts())
    assert [each.values["dataset.path"] for each in found] == ["a.csv", "b.csv"]
    paths = [each.configs[0].dataset.options["path"] for each in found]
    assert [Path(each).name for each in paths] == ["a.csv", "b.csv"] and all(
        Path(e).is_absolute() for e in paths
    )


def test_a_part_is_one_key_with_and_without_its_name(begun: Begun) -> None:
    sweep = begun("optimizer=sgd,adam", "epochs=1", "--seeds", "1")
    assert added(sweep, "optimizer.name=rmsprop") == [({"optimizer": "rmsprop"}, [0])]


def test_runs_that_another_command_has_added_meanwhile_are_there_once(begun: Begun, runs_dir: Path) -> None:
    sweep = begun("epochs=1,2", "--seeds", "1")
    settings = settings_to_add(sweep, ["epochs=3"], None, Parts())
    plans = [plan_sweep(settings, 1, sweep.metric, Parts(), Path(), beside=2) for _ in range(2)]
    for each in plans:
        grow(read_sweep(sweep.folder), each)
    assert [trial.values["epochs"] for trial in read_sweep(sweep.folder).trials] == [1, 2, 3]


def test_each_setting_gets_the_seeds_that_it_lacks_itself(begun: Begun) -> None:
    sweep = begun("epochs=1,2", "--seeds", "2")
    sweep.content["runs"] = sweep.content["runs"][:-1]  # the second seed of the second setting
    assert added(sweep, seeds=range(3)) == [({"epochs": 1}, [2]), ({"epochs": 2}, [1, 2])]


def test_finished_runs_beside_the_sweep_take_the_place_of_new_ones(
    dlrun: Dlrun, config: Path, runs_dir: Path, tmp_path: Path
) -> None:
    words = ("epochs=1,2", "--seeds", 1, "--jobs", 1, "--runs-dir", tmp_path / "other")
    assert dlrun("sweep", config, *words).code == 0
    assert dlrun("train", config, "epochs=3", "--seed", 0, "--name", "small").code == 0  # elsewhere
    sweep = only_sweep(tmp_path / "other")
    grown = dlrun("sweep", "--resume", sweep.folder, "epochs=3", "--needed", "--jobs", 1)
    assert (grown.code, len(read_sweep(sweep.folder).trials)) == (0, 3), grown.err
    assert not any(trial.is_borrowed for trial in read_sweep(sweep.folder).trials)


def test_a_sweep_grows_though_a_run_that_stood_for_one_is_gone(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    assert dlrun("train", config, "epochs=1", "--seed", 0, "--name", "small").code == 0
    words = ("epochs=1,2", "--seeds", 1, "--needed", "--create")
    assert dlrun("sweep", config, *words).code == 0
    sweep = only_sweep(runs_dir)
    assert sweep.trials[0].is_borrowed
    shutil.rmtree(sweep.trials[0].run.folder)
    assert [values for values, _ in added(read_sweep(sweep.folder), "batch_size=9")] == [
        {"epochs": epochs, "batch_size": 9} for epochs in (1, 2)
    ]


def test_a_sweep_of_few_runs_that_grows_takes_all_cores(
    dlrun: Dlrun, config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.system.machine.cores", lambda: 8)
    for name, jobs, at_once in (("many", (), 5), ("one", ("--jobs", 1), 1)):
        words = ("epochs=1,2", "--seeds", 1, "--create", "--name", name, *jobs)
        assert dlrun("sweep", config, *words).code == 0
        planned = dlrun("sweep", "--resume", name, "epochs=3..5", "--dry-run")
        assert f"3 runs, {at_once} at a time" in planned.out


@pytest.mark.parametrize(
    ("entry", "value"), [("grown_by", "x"), ("search", 3), ("words", [1]), ("runs", [])], ids=str
)
def test_a_sweep_of_a_stranger_is_refused_or_read(entry: str, value: Any, dlrun: Dlrun, begun: Begun) -> None:
    sweep = begun("epochs=1,2", "--seeds", "1")
    content = json.loads((sweep.folder / "sweep.json").read_text())
    (sweep.folder / "sweep.json").write_text(json.dumps(content | {entry: value}))
    done = dlrun("sweep", "--resume", "small", "epochs=3", "--jobs", 1)
    assert (done.code, "report" in done.err) == (0 if entry == "grown_by" else 2, False), done.err
