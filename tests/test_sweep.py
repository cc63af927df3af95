"""A sweep is a folder of ordinary runs, whatever happens to the processes that train them."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from io import StringIO
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from small_runs import child, only_run, timeless
from small_sweeps import CONFIG, listed, only_sweep

from dlrun import runs, sweep_folder
from dlrun.runs import Run
from dlrun.sweep_folder import Sweep, Trial

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """The one that all processes of these tests are forked from."""
    child(print).join()


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep as `begun` begins it, that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "small.yaml"
    config.write_text(CONFIG)
    sweep, process = begun(config, folder, epochs=2000)
    process.join(60)
    assert process.exitcode == 0
    return sweep


def metrics(sweep: Sweep) -> dict[str, Any]:
    """What each run measured, `seconds` aside."""
    return {trial.run.name: timeless(trial.run.rows()) for trial in sweep.trials}


def until(true: Callable[[], object]) -> None:
    """Wait until something is true that a process does."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "this does not happen"
        time.sleep(0.002)


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
        alone = Run(runs_dir / "alone" / trial.run.name.replace("small", "small"))
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
    assert "1/2 runs are done, 1 failed" in done.out
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


def test_a_run_whose_process_is_killed_fails_and_can_be_resumed(config: Path, runs_dir: Path) -> None:
    sweep, process = begun(config, runs_dir, epochs=2000)
    os.kill(sweep.trials[0].run.summary()["pid"], signal.SIGKILL)
    process.join(60)
    assert process.exitcode == 1
    assert [trial.run.status(trial.run.summary()) for trial in sweep.trials] == ["interrupted", "finished"]
    assert "failed: small-001" in (runs_dir / "said").read_text()
    assert "its process was killed" in (runs_dir / "said").read_text()
    resumed = child(dlrun_in_child, ["sweep", "--resume", "last"], runs_dir)
    resumed.join(60)
    assert resumed.exitcode == 0
    assert not sweep.unfinished()


def test_a_signal_has_what_trains_saved_and_the_sweep_goes_on_as_if_there_had_been_none(
    config: Path, runs_dir: Path, whole: Sweep
) -> None:
    sweep, process = begun(config, runs_dir, epochs=2000)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    said = (runs_dir / "said").read_text()
    assert process.exitcode == 130
    assert "stopped by a signal: 0/2 runs are done" in said
    assert f"resume: dlrun sweep --resume {sweep.folder}" in said
    statuses = [trial.run.summary().get("status") for trial in sweep.trials]
    assert statuses == ["interrupted", "interrupted"]
    resumed = child(dlrun_in_child, ["sweep", "--resume", "last"], runs_dir)
    resumed.join(60)
    assert resumed.exitcode == 0
    assert metrics(sweep) == metrics(whole)
    assert all(len(trial.run.summary()["resumed"]) == 1 for trial in sweep.trials)


def test_when_the_sweep_is_killed_its_workers_save_and_end_by_themselves(
    config: Path, runs_dir: Path
) -> None:
    sweep, process = begun(config, runs_dir, epochs=100_000)
    os.kill(process.pid or 0, signal.SIGKILL)
    until(lambda: not any(runs.is_in_use(trial.run.folder) for trial in sweep.trials))
    for trial in sweep.trials:
        assert trial.run.summary()["status"] == "interrupted"
        assert trial.run.rows()["epoch"][-1] == trial.run.summary()["epochs"] > 0


def test_a_run_that_another_process_trains_is_waited_for(config: Path, runs_dir: Path) -> None:
    sweep, process = begun(config, runs_dir, epochs=2000)
    first = sweep.trials[0].run
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    (runs_dir / "said").unlink()
    with first.lock():
        resumed = child(dlrun_in_child, ["sweep", "--resume", "last"], runs_dir)
        until(lambda: "waiting for small-001" in said_in(runs_dir))
        until(lambda: sweep.trials[1].run.summary()["status"] == "finished")
        assert first.summary()["status"] == "interrupted"
    resumed.join(60)
    assert resumed.exitcode == 0
    assert first.summary()["status"] == "finished"


def test_two_processes_never_train_one_sweep(
    config: Path, runs_dir: Path, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, process = begun(config, runs_dir, epochs=100_000)
    monkeypatch.setattr("dlrun.runs._LOCK_PATIENCE", 0.1)
    done = dlrun("sweep", "--resume", "last")
    assert done.code == 1
    assert f"{sweep.name} is in use by process {process.pid}" in done.err
    assert f"resume: dlrun sweep --resume {sweep.folder}" in done.err
    assert len(done.err.splitlines()) <= 5
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143


def test_a_sweep_that_is_killed_and_resumed_ends_with_the_table_of_the_unbroken_one(tmp_path: Path) -> None:
    found = killed_and_resumed(tmp_path, times=2)
    assert found["different"] == 0
    assert found["kills"] == 2


def killed_and_resumed(folder: Path, times: int, seed: int = 0) -> dict[str, int]:
    """Kill a sweep at so many random moments, now and then its workers too, and resume it each time.

    Counts the kills, how many runs were going on at one, and what is not as in an unbroken sweep: the table,
    what a run measured, a run that is missing, or was finished twice.
    """
    config = folder / "small.yaml"
    config.write_text(CONFIG)
    epochs = 150 * times  # so that there is something left to be killed
    words = ["sweep", str(config), "optimizer.lr=1e-3,1e-2,1e-1", f"epochs={epochs}"]
    words += ["--seeds", "2", "--jobs", "2"]
    whole = child(dlrun_in_child, words, folder / "whole")
    whole.join(120)
    moments = random.Random(seed)
    broken, kills, hit = folder / "broken", 0, 0
    while kills < times:
        resume = ["sweep", "--resume", "last"]
        process = child(dlrun_in_child, resume if sweep_folder.every(broken) else words, broken)
        process.join(moments.uniform(0.1, 1.2))
        if process.exitcode is not None:  # it was done before
            assert process.exitcode == 0
            break
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(60)
        kills += 1
        for sweep in sweep_folder.every(broken):
            running = [
                s for s in (trial.run.summary() for trial in sweep.trials) if s.get("status") == "running"
            ]
            hit += len(running)
            for each in running if kills % 2 else ():
                with suppress(ProcessLookupError):
                    os.kill(each["pid"], signal.SIGKILL)
    last = child(
        dlrun_in_child, ["sweep", "--resume", "last"] if sweep_folder.every(broken) else words, broken
    )
    last.join(120)
    ours, theirs = only_sweep(broken), only_sweep(folder / "whole")
    table = [(sweep.folder / "results.csv").read_bytes() for sweep in (ours, theirs)]
    measured = metrics(ours), metrics(theirs)
    logs = [(trial.run.folder / "log.txt").read_text() for trial in ours.trials]
    return {
        "kills": kills,
        "hit": hit,
        "different": (last.exitcode != 0)
        + (table[0] != table[1])
        + sum(measured[0].get(name) != rows for name, rows in measured[1].items())
        + sum(log.count(f"finished after epoch {epochs}") != 1 for log in logs)
        + abs(len(list(ours.folder.glob("*/config.yaml"))) - len(theirs.trials)),
    }


def begun(config: Path, runs_dir: Path, *, epochs: int) -> tuple[Sweep, Any]:
    """A sweep of two runs in a process of its own, both of which train."""
    words = [
        "sweep",
        str(config),
        f"epochs={epochs}",
        "optimizer.lr=1e-3,1e-2",
        "--seeds",
        "1",
        "--jobs",
        "2",
    ]
    process = child(dlrun_in_child, words, runs_dir)

    def both_train() -> bool:
        for sweep in sweep_folder.every(runs_dir):
            return all(trial.run.summary().get("status") == "running" for trial in sweep.trials)
        return False

    until(both_train)
    return only_sweep(runs_dir), process


def said_in(runs_dir: Path) -> str:
    """What a process said so far."""
    path = runs_dir / "said"
    return path.read_text() if path.exists() else ""


def dlrun_in_child(words: list[str], runs_dir: Path) -> None:
    """The command line in a forked process; what it says stands in a file of the runs folder.

    Its workers are forked from the server that it comes from itself: a new one takes seconds to begin.
    """
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]
    runs_dir.mkdir(parents=True, exist_ok=True)
    said = os.open(runs_dir / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.argv = ["dlrun", *words, "--runs-dir", str(runs_dir)]
    from dlrun import cli, workers

    workers.ensure_running = lambda: None
    cli.main()


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
    from dlrun.display import Sweeping
    from dlrun.sweep import Progress

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    every = [
        Progress(
            Trial(Run(tmp_path), {"optimizer.lr": number / 7, "architecture.hidden": [100] * 9}, [seed]),
            "finished" if number < 60 else "training" if number == 60 else "waiting",
            epochs=300,
            epoch=number,
            figure=0.5,
        )
        for number in range(100)
        for seed in range(3)
    ]
    view = Sweeping()
    view.begin(Sweep(tmp_path, {"metric": "best.train_loss"}), every, 3)
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
    from dlrun import display
    from dlrun.sweep import Ended, Progress

    sweep = listed(runs_dir, tmp_path)
    every, why = [], ("[/red]\x1b[31m", "No space")
    for number in range(30):
        run = Run(sweep.folder / f"small-{number:03d}")
        what = f"error: cannot write {run.folder}/metrics.csv: {why[bool(number)]}"
        lines = [what, f"  fix: free some space for seed {number}", f"  resume: dlrun resume {run.folder}"]
        every.append(Progress(Trial(run, {}, [0]), "failed", lines=lines))
    with redirect_stderr(StringIO()) as said:
        display.what_failed(Ended(sweep, every, None), "dlrun sweep --resume x")
    assert said.getvalue().splitlines() == [
        "failed: small-000",
        "  cannot write metrics.csv: [/red]�[31m",
        "  fix: free some space for seed 0",
        "failed: small-001, small-002, small-003 and 26 more",
        "  cannot write metrics.csv: No space",
        "  fix: free some space for seed 1",
        "resume: dlrun sweep --resume x",
    ]


def test_how_many_runs_met_what_the_config_expects_is_said(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    claim = "expect={train_loss: '< 1e9'}"
    words = ["sweep", config, "optimizer.lr=1e-3,1e-2", claim, "--seeds", 1, "--jobs", 1]
    done = dlrun(*words, "--json")
    assert (done.code, json.loads(done.out)["expect"]) == (0, {"met": 2, "of": 2})
    words[3] = "expect={train_loss: '< 0'}"
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


def test_a_run_that_stood_for_one_and_is_gone_is_said_before_and_after(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 1, "--jobs", 1]
    dlrun(*words, "--name", "before")
    dlrun(*words, "--needed", "--name", "after")
    dlrun("train", config, "--seed", 1, "--name", "before")  # of the same name as a run that is needed
    assert "needs" not in dlrun("rm", "before-001").out
    deleted = dlrun("rm", "before-sweep-001", "--yes")
    assert "which the sweep after-sweep-001 needs" in deleted.out
    done = dlrun("sweep", "--resume", "last")
    assert done.code == 1
    assert "which stood for it, is gone" in done.err
    assert "resume:" not in done.out + done.err


def test_runs_of_sweeps_are_listed_by_what_holds_of_them(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 1, "--jobs", 1)
    listed = dlrun("runs", "--where", "optimizer.lr == 0.01", "--columns", "optimizer.lr")
    assert [line.split() for line in listed.out.splitlines()[1:]] == [["small-002", "0.01"]]
    compared = dlrun("compare", "--where", "optimizer.lr > 0", "--json")
    assert len(json.loads(compared.out)["settings"]) == 2


if __name__ == "__main__":  # PYTHONPATH=. python tests/test_sweep.py 10
    with tempfile.TemporaryDirectory() as folder:
        print(killed_and_resumed(Path(folder), int(sys.argv[1])))
