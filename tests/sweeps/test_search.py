"""A search draws what was good near by, gives up what is hopeless, and goes on where it stopped."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import only_sweep

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.sweep_folder import created_sweep
from dlrun.sweeps.planning import plan_sweep
from dlrun.sweeps.search import Search, search_space
from dlrun.sweeps.study import Study
from dlrun.sweeps.values import SweptKey, swept_key
from dlrun.system import machine

Dlrun = Callable[..., Any]
needs_optuna = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('optuna')")
WORDS = ("optimizer.lr=log(1e-4,1e-1)", "architecture.activation=relu,tanh", "--jobs", "1")


def study(folder: Path, *axes: SweptKey, higher: bool = False) -> Study:
    return Study(folder, axes or [swept_key("x", "log(1e-4,1)", "here")], higher, seed=0)


def test_without_optuna_it_is_said_how_to_install_it(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = dlrun("sweep", tiny, *WORDS, "--optuna", 3)
    assert done.code == 2
    assert "pip install 'dlrun[optuna]'" in done.err
    assert not runs_dir.exists()


@needs_optuna
def test_a_fold_is_not_searched_for(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"a search would prefer the fold that is easiest") as refused:
        search_space(tiny, ["dataset.folds=3", "dataset.fold=0..2"], None, Parts())
    assert "set one, such as dataset.fold=0" in refused.value.fix


@needs_optuna
def test_a_search_is_a_folder_of_ordinary_runs(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    done = dlrun("sweep", tiny, *WORDS, "--optuna", 4, "--seeds", 2)
    sweep = only_sweep(runs_dir)
    assert done.code == 0
    assert {trial.number for trial in sweep.trials} == {0, 1, 2, 3}
    assert len(sweep.trials) == 8
    for trial in sweep.trials:
        assert 1e-4 <= trial.values["optimizer.lr"] <= 1e-1
        assert f"lr: {trial.values['optimizer.lr']}" in trial.run.config.read_text()
        assert trial.run.summary()["status"] == "finished"
    losses = [trial.run.summary()["best"]["figures"]["train_loss"]["mean"] for trial in sweep.trials]
    best = min(sum(losses[i : i + 2]) / 2 for i in range(0, 8, 2))
    first = (sweep.folder / "results.csv").read_text().splitlines()[1].split(",")
    assert math.isclose(float(first[2]), best)


@needs_optuna
@pytest.mark.parametrize(
    ("monitor", "direction"), [("train_loss", "MINIMIZE"), ("train_accuracy", "MAXIMIZE")]
)
def test_a_search_goes_where_the_monitored_figure_is_better(
    monitor: str, direction: str, dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    dlrun("sweep", tiny, *WORDS, f"monitor={monitor}", "--optuna", 1, "--seeds", 2)
    sweep = only_sweep(runs_dir)
    found = Search(sweep, Parts(), Path()).study._study
    assert found.direction.name == direction
    figures = [trial.run.summary()["best"]["figures"][monitor]["mean"] for trial in sweep.trials]
    assert found.trials[0].value == sum(figures) / 2


@needs_optuna
def test_each_setting_takes_no_more_threads_than_its_share(
    tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    words = ["architecture.hidden=[8],[3000,3000]", "batch_size=full", "dataset.points=2000"]
    space = search_space(tiny, words, None, Parts())
    prepared = plan_sweep([space.setting], 4, None, Parts(), Path(), space=space, times=6)
    searched = Search(prepared.make(runs_dir), Parts(), Path())
    threads = {
        str(trial.values["architecture.hidden"]): "threads: 2" in trial.run.config.read_text()
        for _ in range(6)
        for trial in searched.more()
    }
    assert threads == {"[8]": False, "[3000, 3000]": True}


@needs_optuna
def test_what_a_killed_process_left_of_the_study_is_mended(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 2, "epochs=1")
    sweep = only_sweep(runs_dir)
    journal = sweep.folder / "study.log"
    journal.write_bytes(journal.read_bytes()[:-30])  # which was the end of the second setting
    (sweep.folder / "study.log.lock").symlink_to(journal)
    sweep.content["search"]["count"] = 3
    sweep.write()
    done = dlrun("sweep", "--resume", "last")
    said = [line for line in done.err.splitlines() if "is worse than the baseline" not in line]
    assert (done.code, len(said)) == (0, 1), done.err
    assert "ranks by the training examples" in said[0]
    ends = [trial.state.name for trial in study(sweep.folder)._study.trials]
    assert ends == ["COMPLETE"] * 3


@needs_optuna
def test_a_run_that_was_made_and_never_noted_is_taken_away(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 2, "epochs=1")
    sweep = only_sweep(runs_dir)
    noted = sweep.content["runs"].pop()
    sweep.write()
    (sweep.folder / "notes").mkdir()
    kept = sweep.folder / "kept-001"
    shutil.copytree(sweep.folder / noted["run"], kept)
    (sweep.folder / noted["run"] / "summary.json").unlink()  # it was killed before the first word
    assert dlrun("sweep", "--resume", "last").code == 0
    names = [trial.run.name for trial in only_sweep(runs_dir).trials]
    assert sorted(path.parent.name for path in sweep.folder.glob("*/config.yaml")) == sorted(
        [*names, "kept-001"]
    )
    assert (sweep.folder / "notes").exists()


@needs_optuna
def test_options_are_those_of_the_part_that_a_setting_names(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    words = ["optimizer.name=sgd,adam", "optimizer.lr=0.5", "epochs=1", "--jobs", "1", "--optuna", "3"]
    assert dlrun("sweep", tiny, *words).code == 0
    assert all("lr: 0.5" in trial.run.config.read_text() for trial in only_sweep(runs_dir).trials)


@needs_optuna
def test_a_search_goes_on_where_it_stopped(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 2)
    sweep = only_sweep(runs_dir)
    before = [trial.values for trial in sweep.trials]
    sweep.content["search"]["count"] = 4
    sweep.write()
    assert dlrun("sweep", "--resume", "last").code == 0
    after = [trial.values for trial in only_sweep(runs_dir).trials]
    assert after[:2] == before
    assert len({repr(values) for values in after}) == 4
    assert len(study(sweep.folder)._study.trials) == 4
    assert "0 to train" not in dlrun("sweep", "--resume", "last").err
    assert len(only_sweep(runs_dir).trials) == 4


@needs_optuna
def test_what_ended_when_nobody_was_there_is_told_when_it_goes_on(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 1)
    sweep = only_sweep(runs_dir)
    sweep.content["search"]["count"] = 2
    sweep.write()
    journal = sweep.folder / "study.log"
    lines = journal.read_text().splitlines(keepends=True)
    ends = [line for line in lines if '"values"' in line]
    assert len(ends) == 1
    journal.write_text("".join(line for line in lines if line not in ends))
    assert study(sweep.folder).running() == [0]
    assert dlrun("sweep", "--resume", "last").code == 0
    assert study(sweep.folder).running() == []
    assert study(sweep.folder)._study.trials[0].value == json.loads(ends[0])["values"][0]


@needs_optuna
@pytest.mark.parametrize("line", ["garbage\n", '{"op_code": 99}\n', '{"op_code": 4}\n', "[]\n"])
def test_a_study_that_is_damaged_is_said_in_five_lines(
    line: str, dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 1, "epochs=1")
    with (only_sweep(runs_dir).folder / "study.log").open("a") as file:
        file.write(line)
    done = dlrun("sweep", "--resume", "last")
    assert done.code == 2
    assert "the study cannot be read" in done.err
    assert len(done.err.splitlines()) <= 5


@needs_optuna
def test_a_search_whose_study_is_gone_begins_a_new_one_and_keeps_its_runs(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 2, "epochs=1")
    sweep = only_sweep(runs_dir)
    (sweep.folder / "study.log").unlink()
    sweep.content["search"]["count"] = 3
    sweep.write()
    assert dlrun("sweep", "--resume", "last").code == 0
    assert [trial.number for trial in only_sweep(runs_dir).trials] == [0, 1, 2]


@needs_optuna
def test_a_setting_that_has_no_runs_yet_is_drawn_anew(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 1)
    sweep = only_sweep(runs_dir)
    Search(sweep, Parts(), Path()).study.draw()  # and then it is killed
    sweep.content["search"]["count"] = 2
    sweep.write()
    assert dlrun("sweep", "--resume", "last").code == 0
    assert [trial.number for trial in only_sweep(runs_dir).trials] == [0, 2]
    assert study(sweep.folder).running() == []


@needs_optuna
def test_what_is_worse_than_most_others_were_is_given_up(tmp_path: Path) -> None:
    searched = study(tmp_path)
    for good in range(5):
        number, _ = searched.draw()
        for epoch in (1, 2, 3):
            assert not searched.is_hopeless(number, epoch, 1.0 / epoch + good / 100)
        searched.tell(number, [0.3])
    number, _ = searched.draw()
    assert not searched.is_hopeless(number, 1, 0.9)
    assert searched.is_hopeless(number, 2, 5.0)
    assert not searched.is_hopeless(number, 3, math.nan)  # which says nothing
    searched.tell(number, [], is_hopeless=True)
    number, _ = searched.draw()
    assert not searched.is_hopeless(number, 2, 0.4)


@needs_optuna
def test_a_setting_that_was_given_up_is_not_gone_on_with(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 2)
    sweep = only_sweep(runs_dir)
    trial = sweep.trials[0]
    trial.run.write_json("summary.json", trial.run.summary() | {"status": "interrupted"})
    assert sweep.unfinished() == [trial]
    sweep.content["given_up"] = [0]
    sweep.write()
    assert only_sweep(runs_dir).unfinished() == []
    done = dlrun("sweep", "--resume", "last")
    assert (done.code, done.err) == (0, "")
    assert "1 given up" in done.out
    assert "resume:" not in done.out


@needs_optuna
def test_draws_come_near_what_was_good(tmp_path: Path) -> None:
    searched = study(tmp_path)
    values = []
    for _ in range(30):
        number, drawn = searched.draw()
        values.append(math.log10(drawn["x"]))
        searched.tell(number, [(values[-1] + 2) ** 2])
    assert sum(abs(value + 2) for value in values[-10:]) / 10 < 0.5  # at random it is 1


@needs_optuna
def test_choices_of_any_kind_come_back_as_they_were_written(tmp_path: Path) -> None:
    searched = study(tmp_path, swept_key("a", "[8],[16, 8]", "here"), swept_key("b", "null,true,x", "here"))
    for _ in range(8):
        number, drawn = searched.draw()
        assert drawn["a"] in ([8], [16, 8])
        assert drawn["b"] in (None, True, "x")
        searched.tell(number, [1.0])


@needs_optuna
@pytest.mark.parametrize(
    "change",
    [
        {"axes": {"x": {"low": 0.1}}},
        {"axes": [1]},
        {"axes": {"x": 7}},
        {"axes": {"x": []}},
        {"axes": {"x": {"low": "a", "high": 1, "is_log": True}}},
        {"axes": {"x": {"low": -1, "high": 1, "is_log": True}}},
        {"count": "many"},
        {"count": 10**9},
    ],
)
def test_a_search_that_is_not_as_dlrun_writes_it_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    said = {
        "count": 3,
        "examples": 40,
        "words": [],
        "axes": {"x": [1, 2]},
        "higher_is_better": False,
    } | change
    with created_sweep(tmp_path, "x", jobs=1, device="cpu", metric="best.train_loss", search=said) as sweep:
        pass
    with pytest.raises(UserError, match="not a valid search"):
        Search(sweep, Parts(), Path())


@needs_optuna
def test_whole_numbers_are_drawn_as_such(tmp_path: Path) -> None:
    from optuna.distributions import IntDistribution

    of_range = swept_key("a", "log(16,256)", "here", is_whole=True)
    searched = study(tmp_path, of_range, swept_key("b", "1..300", "here"))
    for _ in range(5):
        number, drawn = searched.draw()
        assert type(drawn["a"]) is type(drawn["b"]) is int
        assert 16 <= drawn["a"] <= 256
        assert 1 <= drawn["b"] <= 300
        searched.tell(number, [1.0])
    [*_, last] = searched._study.trials
    assert last.distributions == {"a": IntDistribution(16, 256, log=True), "b": IntDistribution(1, 300)}


@needs_optuna
def test_a_dry_run_says_what_would_be_drawn_from_and_makes_nothing(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.sweeps.timing.seconds_of_epoch", lambda *_: 1 / 3)
    done = dlrun("sweep", tiny, *WORDS, "epochs=3", "--optuna", 7, "--seeds", 2, "--dry-run")
    assert (done.code, done.err) == (0, "")
    said = " ".join(done.out.split())
    assert "optimizer.lr log(0.0001,0.1) architecture.activation" in said
    assert "7 settings of 2 runs, 1 at a time: at most about 14 s of training" in said
    assert "ranked by best.train_loss" in said
    assert not runs_dir.exists()


@needs_optuna
def test_what_was_given_up_is_noted_once(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("sweep", tiny, *WORDS, "--optuna", 1)
    sweep = only_sweep(runs_dir)
    found = Search(sweep, Parts(), Path())
    number, _ = found.study.draw()
    sweep.content["given_up"] = [number]  # and killed before the study was told
    found.ended(number, [], is_given_up=True)
    assert sweep.given_up == [number]
    assert found.study.running() == []


@needs_optuna
def test_values_that_do_not_go_together_are_drawn_anew(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    words = ["metrics=[accuracy],[rmse]", "optimizer.lr=log(1e-3,1e-1)", "--jobs", "1", "epochs=1"]
    assert dlrun("sweep", tiny, *words, "--optuna", 4).code == 0
    sweep = only_sweep(runs_dir)
    assert [trial.values["metrics"] for trial in sweep.trials] == [["accuracy"]] * 4
    states = [trial.state.name for trial in study(sweep.folder)._study.trials]
    assert "FAIL" in states  # rmse is for regression
    assert states.count("COMPLETE") == 4
