"""A sweep is a folder of ordinary runs, whatever happens to the processes that train them."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_runs import config_of, filled
from small_runs import only_run, timeless
from small_sweeps import CONFIG, listed, only_sweep, ranking_of

from dlrun.config.mistakes import ConfigError, Mistake
from dlrun.config.strict_yaml import Place
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_finding import find_sweep
from dlrun.run_folders.sweep_folder import Sweep, Trial, created_sweep
from dlrun.sweeps.messages import Message

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


# --------------------------------------------------------------------------- what is trained


def test_each_run_has_bit_for_bit_what_training_it_alone_gives(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 3, "--jobs", 2)
    sweep = only_sweep(runs_dir)
    assert (done.code, done.err) == (0, "")
    assert "6/6 runs are done" in done.out
    assert [(trial.values, trial.seeds) for trial in sweep.trials] == [
        ({"optimizer.lr": rate}, [seed]) for rate in (1e-3, 1e-2) for seed in range(3)
    ]
    for trial in sweep.trials:
        rate, [seed] = trial.values["optimizer.lr"], trial.seeds
        dlrun("train", config, f"optimizer.lr={rate}", "--seed", seed, "--runs-dir", runs_dir / "alone")
        alone = Run(runs_dir / "alone" / trial.run.name)
        assert timeless(trial.run.rows()) == timeless(alone.rows())
        assert trial.run.summary()["threads"] == alone.summary()["threads"]


def test_seeds_are_trained_together_where_the_config_stacks_them(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["architecture.dropout=0", "stacked=true"]
    dlrun("sweep", config, *words, "optimizer.lr=1e-3,1e-2", "--seeds", 3, "--jobs", 1)
    dlrun("train", config, *words, "optimizer.lr=1e-2", "--seeds", 3, "--runs-dir", runs_dir / "alone")
    sweep = only_sweep(runs_dir)
    assert [trial.seeds for trial in sweep.trials] == [[0, 1, 2]] * 2
    assert timeless(sweep.trials[1].run.rows()) == timeless(only_run(runs_dir / "alone").rows())


def test_what_stands_under_sweep_is_gone_through_without_further_words(
    dlrun: Dlrun, config: Path, write: Write, runs_dir: Path
) -> None:
    write("base.yaml", CONFIG + "sweep:\n  optimizer.lr: log(1e-3,1e-2,2)\n  epochs: [1, 2]\n")
    above = write("above.yaml", "base: base.yaml\nsweep: {epochs: [2, 3], architecture.hidden: '[4],[5]'}\n")
    assert dlrun("sweep", above, "architecture.hidden=[6]").code == 0
    values = [trial.values for trial in only_sweep(runs_dir).trials]
    expected = [{"optimizer.lr": rate, "epochs": epochs} for rate in (0.001, 0.01) for epochs in (2, 3)]
    assert values == [each for each in expected for _ in range(2)]  # seeds


def test_a_config_with_a_sweep_trains_as_it_stands(dlrun: Dlrun, write: Write, runs_dir: Path) -> None:
    assert dlrun("train", write("a.yaml", CONFIG + "sweep: {epochs: [1, 2]}\n")).code == 0
    assert only_run(runs_dir).rows()["epoch"][-1] == 4


def test_options_are_those_of_the_part_that_a_setting_names(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["optimizer.lr=0.5", "optimizer.name=sgd,adam", "epochs=1", "--seeds", "1", "--jobs", "1"]
    assert dlrun("sweep", config, *words).code == 0
    configs = [trial.run.config.read_text() for trial in only_sweep(runs_dir).trials]
    assert all("lr: 0.5" in text for text in configs)
    assert ["name: sgd" in text for text in configs] == [True, False]


def test_several_seeds_are_enough_to_go_through(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    assert "0 … 4" in dlrun("sweep", config, "seeds=0,1,2,3,4", "--dry-run").out
    assert dlrun("sweep", config, "epochs=1", "--jobs", 1).code == 0
    assert [trial.seeds for trial in only_sweep(runs_dir).trials] == [[0], [1]]


def test_settings_drawn_at_random_are_written_before_anything_starts(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["optimizer.lr=log(1e-4,1e-1)", "architecture.hidden=[4],[8]"]
    assert dlrun("sweep", config, *words, "epochs=1", "--random", 3, "--seeds", 1, "--jobs", 1).code == 0
    values = [trial.values for trial in only_sweep(runs_dir).trials]
    assert len({repr(each) for each in values}) == 3
    assert all(1e-4 <= each["optimizer.lr"] <= 1e-1 for each in values)
    assert all(each["architecture.hidden"] in ([4], [8]) for each in values)


# --------------------------------------------------------------------------- what fails


def test_a_run_that_fails_stops_no_other_and_is_not_done_twice_for_nothing(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", config, "optimizer.lr=1e30,1e-2", "--seeds", 1, "--jobs", 1)
    sweep = only_sweep(runs_dir)
    assert done.code == 1
    assert "diverged: small-001" in done.err
    assert "1/2 runs are done, 1 diverged" in done.out
    assert "resume:" not in done.out  # it would only diverge again
    again = dlrun("sweep", "--resume", "last")
    assert again.code == 1
    assert "diverged: small-001" in again.err
    assert "0 to train" in again.out
    assert sweep.trials[0].run.summary()["resumed"] == []
    said = json.loads(dlrun("sweep", "--resume", "last", "--json").out)
    assert said["status"] == {"diverged": 1, "finished": 1}
    assert [each["run"] for each in said["failed"]] == ["small-001"]
    quiet = dlrun("sweep", "--resume", "last", "--quiet")
    assert (quiet.code, quiet.out) == (1, f"{sweep.folder}\n")
    assert "diverged: small-001" in quiet.err


# --------------------------------------------------------------------------- what is shown


class Terminal(StringIO):
    """Remembers what a terminal would be sent."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 10)])
def test_many_settings_fit_on_the_screen_with_those_that_train_among_them(
    width: int, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.console.sweep_view import SweepDisplay
    from dlrun.sweeps.views import RunProgress

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    every = [
        RunProgress(
            Trial(Run(tmp_path), {"optimizer.lr": number / 7, "architecture.hidden": [100] * 9}, [seed]),
            "finished" if number < 60 else "training" if number == 60 else "waiting",
            epochs=300,
            epoch=number,
            figure=0.5,
        )
        for number in range(100)
        for seed in range(3)
    ]
    view = SweepDisplay()
    view.begin(Sweep(tmp_path, {"metric": "best.train_loss"}), every, 3, 0)
    before = len(terminal.getvalue())
    view.refresh()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()[before:]).splitlines()
    view.end()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    shown = " ".join(lines)
    assert "of 100" in shown
    assert "180/300 runs" in shown
    if width > 40:
        assert "8.571" in shown  # 60 / 7, which trains
        assert "60/300" in shown
        assert "0.5000 ± 0.0000" in shown


def test_runs_that_failed_alike_are_said_together(
    dlrun: Dlrun, config: Path, runs_dir: Path, tmp_path: Path
) -> None:
    from dlrun.console.sweep_results import print_failures
    from dlrun.sweeps.sweep import SweepOutcome
    from dlrun.sweeps.views import RunProgress

    sweep = listed(runs_dir, tmp_path)
    every, why = [], ("[/red]\x1b[31m", "No space")
    for number in range(30):
        run = Run(sweep.folder / f"small-{number:03d}")
        what = f"error: cannot write {run.folder}/metrics.csv: {why[bool(number)]}"
        lines = [what, f"  fix: free some space for seed {number}", f"  resume: dlrun resume {run.folder}"]
        every.append(RunProgress(Trial(run, {}, [0]), "failed", lines=lines))
    with redirect_stderr(StringIO()) as said:
        print_failures(SweepOutcome(sweep, every, None), "dlrun sweep --resume x")
    assert said.getvalue().splitlines() == [
        "failed: small-000",
        "  cannot write metrics.csv: [/red]�[31m",
        "  fix: free some space for seed 0",
        "failed: small-001, small-002, small-003 and 26 more",
        "  cannot write metrics.csv: No space",
        "  fix: free some space for seed 1",
        "resume: dlrun sweep --resume x",
    ]


def test_of_a_run_with_a_config_that_is_refused_the_first_mistake_is_said(
    runs_dir: Path, tmp_path: Path
) -> None:
    from dlrun.console.sweep_results import print_failures
    from dlrun.sweeps.sweep import SweepOutcome
    from dlrun.sweeps.views import RunProgress

    sweep = listed(runs_dir, tmp_path)
    run = sweep.trials[0].run
    place = Place(str(run.config), 3, 7)
    lines = ConfigError(str(run.config), [Mistake(place, "loss.teacher", "no run tt", "train it")]).lines()
    with redirect_stderr(StringIO()) as said:
        print_failures(SweepOutcome(sweep, [RunProgress(sweep.trials[0], "failed", lines=lines)], None), "")
    assert said.getvalue().splitlines() == [
        f"failed: {run.name}",
        "  config.yaml:3:7 loss.teacher: no run tt; train it",
    ]


def test_warnings_of_the_runs_are_said_once_beside_the_table(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    """Those of all runs; of a cross-validation those of some as well. Numbers may differ."""
    words = ["optimizer.lr=1e-3,1e-2", "batch_size=1000", "--seeds", 1, "--jobs", 1]
    done = dlrun("sweep", config, *words)
    said = "warning: small-001 and 1 more run: batch_size 1,000 exceeds the"
    assert done.code == 0 and done.err.count(said) == done.err.count("exceeds") == 1
    sweep = only_sweep(runs_dir)
    kept = [trial.run.summary() for trial in sweep.trials]
    for number, (trial, summary) in enumerate(zip(sweep.trials, kept, strict=True), 4):
        own = [f"batch_size 1,000 exceeds the {number}"] + ["only here"] * (number == 5)
        trial.run.write_json("summary.json", summary | {"warnings": own})
    again = dlrun("sweep", "--resume", sweep.folder)
    assert "small-001 and 1 more run: batch_size 1,000 exceeds the 4" in again.err
    assert "only here" not in again.err and "exceeds the 5" not in again.err
    found = json.loads(dlrun("sweep", "--resume", sweep.folder, "--json").out)["warnings"]
    assert {"warning": "only here", "runs": ["small-002"]} in found
    assert "warnings" not in dlrun("sweep", "--resume", sweep.folder, "--quiet").err


def test_how_many_runs_met_what_the_config_expects_is_said(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    claim = "expect={train_loss: '< 1e9'}"
    words = ["sweep", config, "optimizer.lr=1e-3,1e-2", claim, "--seeds", 1, "--jobs", 1]
    done = dlrun(*words, "--json")
    assert (done.code, json.loads(done.out)["expect"]) == (0, {"met": 2, "of": 2})
    words[3] = "expect={train_loss: '< 0', train_accuracy: '>= 0'}"
    done = dlrun(*words)
    assert (done.code, "expectations of the config met by 0 of 2 runs" in done.out) == (0, True)
    assert "expectations" not in dlrun("sweep", config, "epochs=1,2", "--seeds", 1, "--jobs", 1).out


def test_a_table_that_cannot_be_kept_is_shown_all_the_same(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["sweep", config, "optimizer.lr=1e30,1e-2", "--seeds", 1, "--jobs", 1]
    dlrun(*words)
    sweep = only_sweep(runs_dir)
    (sweep.folder / "results.csv").unlink()
    (sweep.folder / "results.csv").mkdir()
    done = dlrun("sweep", "--resume", "last")
    assert done.code == 1
    assert "diverged: small-001" in done.err
    assert "0.01" in done.out
    assert "results.csv" in done.err
    assert "resume: dlrun sweep --resume" in done.err


# --------------------------------------------------------------------------- what is there already


def test_a_run_that_stood_for_one_and_is_gone_is_said_before_and_trained_again(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 1, "--jobs", 1]
    dlrun(*words, "--name", "before")
    dlrun(*words, "--needed", "--name", "after")
    dlrun("train", config, "--seed", 1, "--name", "before")  # of the same name as a run that is needed
    assert "needs" not in dlrun("rm", "before-001").out
    deleted = dlrun("rm", "before-sweep-001", "--yes")
    assert "which the sweep after-sweep-001 needs" in deleted.out
    before = ranking_of(find_sweep("after", runs_dir))
    done = dlrun("sweep", "--resume", "after")
    assert (done.code, "2 to train" in done.out) == (0, True)
    sweep = find_sweep("after", runs_dir)
    assert not any(trial.is_borrowed for trial in sweep.trials)
    assert ranking_of(sweep) == before


def test_runs_of_sweeps_are_listed_by_what_holds_of_them(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 1, "--jobs", 1)
    listed = dlrun("runs", "--where", "optimizer.lr == 0.01", "--columns", "optimizer.lr")
    [name, rate] = listed.out.splitlines()[1].split()
    assert (name, rate) == ("small-sweep-001/small-002", "0.01")
    compared = dlrun("compare", "--where", "optimizer.lr > 0", "--json")
    assert len(json.loads(compared.out)["settings"]) == 2


# --------------------------------------------------------------------------- which run is next


class Scripted:
    """Workers that train nothing: they note what they are given and told."""

    def __init__(self, count: int = 1) -> None:
        self.count, self.training, self.stopped = count, list[Path](), list[Path]()

    @property
    def is_free(self) -> bool:
        return len(self.training) < self.count

    def train(self, folder: Path) -> None:
        self.training.append(folder)

    def stop(self, folder: Path) -> None:
        if folder in self.training:
            self.stopped.append(folder)

    def end(self, training: Any, trial: Trial, status: str, exit_code: int = 0, **summary: Any) -> None:
        """A run ends with such a summary."""
        self.training.remove(trial.run.folder)
        filled(trial.run, trial.seeds, status=status, **summary)
        training._hear(Message("end", trial.run.folder, exit_code=exit_code))


class Noting:
    """A search that finds the same hopeless every time and notes how settings end."""

    def __init__(self, hopeless: float = math.inf) -> None:
        self.hopeless, self.told = hopeless, list[tuple[Any, list[float], bool]]()
        self.study = SimpleNamespace(running=list)

    def more(self) -> list[Trial]:
        return []

    def is_hopeless(self, trial: Trial, rung: int, figure: float | None) -> bool:
        return figure is not None and figure > self.hopeless

    def ended(self, number: int | None, figures: list[float], *, is_given_up: bool) -> None:
        self.told.append((number, figures, is_given_up))


def of_two_settings(runs_dir: Path) -> Sweep:
    """A search that drew two settings of two seeds each."""
    with created_sweep(runs_dir, "small", jobs=1, device="cpu", metric="best.train_loss") as sweep:
        for number in (0, 1):
            for seed in (0, 1):
                sweep.add({"epochs": number}, config_of({"seeds": [seed]}), number)
    return sweep


def scripted(sweep: Sweep, search: Any = None, count: int = 1) -> tuple[Any, Scripted]:
    from dlrun.sweeps.sweep import _Training
    from dlrun.sweeps.views import HiddenSweep
    from dlrun.system.signals import StopSignals

    workers = Scripted(count)
    training = _Training(sweep, sweep.trials, workers, search, StopSignals(), HiddenSweep())  # type: ignore[arg-type]
    training._feed()
    return training, workers


def test_a_setting_that_is_hopeless_is_given_up_with_all_its_seeds(runs_dir: Path) -> None:
    sweep, search = of_two_settings(runs_dir), Noting(hopeless=5.0)
    training, workers = scripted(sweep, search)
    first, second, third, _ = sweep.trials
    training._hear(Message("row", first.run.folder, 1, 10, 4.9, rung=1))
    assert workers.stopped == []
    training._hear(Message("row", first.run.folder, 2, 10, 5.1))  # not the end of a tenth
    assert workers.stopped == []
    for _ in range(2):
        training._hear(Message("row", first.run.folder, 2, 10, 5.1, rung=2))
    assert workers.stopped == [first.run.folder]  # once
    workers.end(training, first, "interrupted", 143)
    assert [training.of_folder[each.run.folder].status for each in (first, second)] == ["given up"] * 2
    assert search.told == [(0, [], True)]
    training._feed()
    assert workers.training == [third.run.folder]


def test_a_search_is_told_the_mean_of_whole_settings_alone(runs_dir: Path) -> None:
    sweep, search = of_two_settings(runs_dir), Noting()
    training, workers = scripted(sweep, search, count=4)
    for trial, loss in zip(sweep.trials, (1.0, 3.0, 5.0, 7.0), strict=True):
        assert len(search.told) == (trial.number or 0)
        is_last = trial is sweep.trials[-1] or loss == 7.0
        best = {"best": {"epoch": 1, "figures": {"train_loss": {"values": [loss]}}}}
        workers.end(training, trial, "diverged" if is_last else "finished", **best)
    assert search.told == [(0, [1.0, 3.0], False), (1, [], False)]


def test_a_run_that_a_late_signal_stopped_is_put_back(runs_dir: Path) -> None:
    sweep = of_two_settings(runs_dir)
    training, workers = scripted(sweep)
    first = sweep.trials[0]
    workers.end(training, first, "interrupted", 143)
    assert training.of_folder[first.run.folder].status == "waiting"
    assert training.waiting[-1] == first.run.folder
    training.signals.received = 2
    training._feed()
    assert workers.training == []  # after a signal nothing is begun


def test_a_run_that_lost_its_process_on_a_node_is_put_back_and_that_is_said(runs_dir: Path) -> None:
    sweep = of_two_settings(runs_dir)
    training, workers = scripted(sweep)
    lost, said = sweep.trials[0].run.folder, list[str]()
    training.view = SimpleNamespace(warn=said.append)
    workers.training.remove(lost)
    training._hear(Message("end", lost, exit_code=143, lines=["it goes on"]))
    assert (training.waiting[-1], said) == (lost, ["it goes on"])
    assert training.of_folder[lost].lines == []  # of no error


def test_a_search_that_is_stopped_between_two_settings_can_go_on(runs_dir: Path) -> None:
    from dlrun.sweeps.sweep import SweepOutcome

    sweep = of_two_settings(runs_dir)
    training, workers = scripted(sweep, Noting(), count=4)
    for trial in sweep.trials:
        workers.end(training, trial, "finished")
    sweep.content["search"] = {"count": 2}
    assert not SweepOutcome(sweep, training.every, 2).is_open
    sweep.content["search"] = {"count": 5}
    ended = SweepOutcome(sweep, training.every, 2)
    assert (ended.is_open, ended.undrawn) == (True, 3)


def test_a_run_that_took_the_number_of_one_that_is_needed_does_not_stand_for_it(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    dlrun("train", config, "--seed", 0, "optimizer.lr=1e-3")
    dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 1, "--jobs", 1, "--needed")
    before = [trial.is_borrowed for trial in only_sweep(runs_dir).trials]
    dlrun("rm", "small-001", "--yes")
    dlrun("train", config, "--seed", 0, "optimizer.lr=0.5")  # small-001 again
    assert before == [True, False]
    found = dlrun("compare", "small-sweep", "--json")
    assert len(json.loads(found.out)["settings"]) == 1  # that of the run it has itself
    done = dlrun("sweep", "--resume", "last")
    assert (done.code, "1 to train" in done.out) == (0, True)
    sweep = only_sweep(runs_dir)
    assert [trial.is_borrowed for trial in sweep.trials] == [False, False]
    assert [trial.values["optimizer.lr"] for trial in sweep.trials] == [1e-3, 1e-2]
    assert "lr: 0.001" in sweep.trials[0].run.config.read_text()


@pytest.mark.usefixtures("pictures_of_sweeps")
def test_values_of_anybody_are_drawn_or_left_out(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "epochs=1", "--seeds", 1, "--jobs", 1)
    sweep = only_sweep(runs_dir)
    for odd in (10**400, "\ud800$", -1e308):
        for index, entry in enumerate(sweep.content["runs"]):
            entry["values"] = {"optimizer.lr": odd, "x": index}
        sweep.write()
        done = dlrun("sweep", "--resume", "last")
        assert done.code == 0
        assert "please report this" not in done.err
        assert (sweep.plots / "settings.png").exists()
