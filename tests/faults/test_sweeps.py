"""A sweep, whatever happens to the processes that train it, and whoever wrote its folder."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from small_runs import child, contents, timeless
from small_sweeps import CONFIG, listed, only_sweep

from dlrun.run_folders.sweep_finding import sweeps_in
from dlrun.run_folders.sweep_folder import Sweep
from dlrun.system.locks import is_in_use

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
LONG = 500  # epochs, so that both runs still train when it is seen that they do


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
    sweep, process = begun(config, folder, epochs=LONG)
    process.join(60)
    assert process.exitcode == 0
    return sweep


def metrics(sweep: Sweep) -> dict[str, Any]:
    """The figures of each run, without `seconds`."""
    return {trial.run.name: timeless(trial.run.rows()) for trial in sweep.trials}


def until(true: Callable[[], object]) -> None:
    """Wait until something is true that a process does."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "this does not happen"
        time.sleep(0.002)


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
        for sweep in sweeps_in(runs_dir):
            return all(trial.run.summary().get("status") == "running" for trial in sweep.trials)
        return False

    until(both_train)
    return only_sweep(runs_dir), process


def said_in(runs_dir: Path) -> str:
    """The output of a process so far."""
    path = runs_dir / "said"
    return path.read_text() if path.exists() else ""


def dlrun_in_child(words: list[str], runs_dir: Path) -> None:
    """The command line in a forked process; what it says stands in a file of the runs folder.

    Its workers are forked from the server that it comes from itself: a new one takes seconds to begin.
    """
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]
    forkserver.ensure_running = lambda: None
    runs_dir.mkdir(parents=True, exist_ok=True)
    said = os.open(runs_dir / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.argv = ["dlrun", *words, "--runs-dir", str(runs_dir)]
    from dlrun.console.commands.app import main

    main()


# --------------------------------------------------------------------------- T50: kills


@pytest.mark.slow
@pytest.mark.row("T50")
def test_a_sweep_that_is_killed_and_resumed_ends_with_the_table_of_the_unbroken_one(
    tmp_path: Path, fault: Any
) -> None:
    killed_and_resumed(tmp_path, fault, fault.times(1, 10))


def killed_and_resumed(folder: Path, fault: Any, times: int) -> None:
    """Kill a sweep at so many random moments, now and then its workers too, and resume it each time.

    Then compare it with an unbroken one: the table, what each run measured, and how often each was finished.
    """
    config = folder / "small.yaml"
    config.write_text(CONFIG)
    epochs = 150 * times  # so that there is something left to be killed
    words = ["sweep", str(config), "optimizer.lr=1e-3,1e-2,1e-1", f"epochs={epochs}"]
    words += ["--seeds", "2", "--jobs", "2"]
    unbroken = child(dlrun_in_child, words, folder / "whole")
    unbroken.join(120)
    broken, resume = folder / "broken", ["sweep", "--resume", "last"]
    for kill in range(times):
        process = child(dlrun_in_child, resume if sweeps_in(broken) else words, broken)
        process.join(fault.random.uniform(0.1, 1.2))
        if process.exitcode is not None:  # it was done before
            assert process.exitcode == 0
            break
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(60)
        fault.count(kills=1)
        trials = [trial for sweep in sweeps_in(broken) for trial in sweep.trials]
        running = [s for s in (trial.run.summary() for trial in trials) if s.get("status") == "running"]
        fault.count(runs_hit=len(running))
        for each in running if kill % 2 else ():
            with suppress(ProcessLookupError):
                os.kill(each["pid"], signal.SIGKILL)
    last = child(dlrun_in_child, resume if sweeps_in(broken) else words, broken)
    last.join(120)
    fault.said(said_in(broken))
    ours, theirs = only_sweep(broken), only_sweep(folder / "whole")
    tables = [(sweep.folder / "results.csv").read_bytes() for sweep in (ours, theirs)]
    measured = metrics(ours), metrics(theirs)
    # The line of a run that is killed right after its summary is written may be missing.
    logs = [(trial.run.folder / "log.txt").read_text() for trial in ours.trials]
    fault.never(
        refused=last.exitcode or 0,
        different=int(tables[0] != tables[1])
        + sum(measured[0].get(name) != rows for name, rows in measured[1].items()),
        runs_trained_twice=sum(log.count(f"finished after epoch {epochs}") > 1 for log in logs),
        runs_lost=abs(len(list(ours.folder.glob("*/config.yaml"))) - len(theirs.trials)),
    )


@pytest.mark.row("T50")
def test_when_the_sweep_is_killed_its_workers_save_and_end_by_themselves(
    config: Path, runs_dir: Path, fault: Any
) -> None:
    sweep, process = begun(config, runs_dir, epochs=100_000)
    os.kill(process.pid or 0, signal.SIGKILL)
    until(lambda: not any(is_in_use(trial.run.folder) for trial in sweep.trials))
    for trial in sweep.trials:
        assert trial.run.summary()["status"] == "interrupted"
        assert [0, *trial.run.rows()["epoch"]][-1] == trial.run.summary()["epochs"]
    fault.count(kills=1)


# --------------------------------------------------------------------------- T51: signals, and runs that fail


@pytest.mark.slow
@pytest.mark.row("T51")
def test_a_signal_has_what_trains_saved_and_the_sweep_goes_on_as_if_there_had_been_none(
    config: Path, runs_dir: Path, whole: Sweep, fault: Any
) -> None:
    sweep, process = begun(config, runs_dir, epochs=LONG)
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
    fault.said(said_in(runs_dir))
    fault.count(signals=1)
    fault.never(different=int(metrics(sweep) != metrics(whole)))
    assert all(len(trial.run.summary()["resumed"]) == 1 for trial in sweep.trials)


@pytest.mark.row("T51")
@pytest.mark.slow
def test_ctrl_c_in_a_terminal_reaches_the_whole_group_and_saves_all_that_trains(
    config: Path, runs_dir: Path, dlrun_process: Callable[..., Any], fault: Any
) -> None:
    words = ["optimizer.lr=1e-3,1e-2", "epochs=100000", "--seeds", "1", "--jobs", "2"]
    process = dlrun_process("sweep", config, *words, start_new_session=True)
    until(lambda: sweeps_in(runs_dir))
    trials = only_sweep(runs_dir).trials
    until(lambda: all(trial.run.summary().get("status") == "running" for trial in trials))
    os.killpg(process.pid, signal.SIGINT)
    said = "".join(process.communicate(timeout=60))
    assert process.returncode == 130
    assert "resume: dlrun sweep --resume" in said
    for trial in trials:
        assert trial.run.summary()["status"] == "interrupted"
        assert [0, *trial.run.rows()["epoch"]][-1] == trial.run.summary()["epochs"]
    fault.said(said)
    fault.count(signals=1)


@pytest.mark.slow
@pytest.mark.row("T51")
def test_a_run_whose_process_is_killed_fails_and_can_be_resumed(
    config: Path, runs_dir: Path, fault: Any
) -> None:
    sweep, process = begun(config, runs_dir, epochs=LONG)
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
    fault.said(said_in(runs_dir))
    fault.count(kills=1)


# --------------------------------------------------------------------------- T52: two processes


@pytest.mark.row("T52")
@pytest.mark.slow
def test_a_run_that_another_process_trains_is_waited_for(config: Path, runs_dir: Path, fault: Any) -> None:
    sweep, process = begun(config, runs_dir, epochs=LONG)
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
    fault.said(said_in(runs_dir))


@pytest.mark.row("T52")
def test_two_processes_never_train_one_sweep(
    config: Path, runs_dir: Path, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, process = begun(config, runs_dir, epochs=100_000)
    monkeypatch.setattr("dlrun.system.locks.PATIENCE", 0.1)
    done = dlrun("sweep", "--resume", "last")
    assert done.code == 1
    assert f"{sweep.name} is in use by process {process.pid}" in done.err
    assert f"resume: dlrun sweep --resume {sweep.folder}" in done.err
    assert len(done.err.splitlines()) <= 5
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143


# --------------------------------------------------------------------------- T53: a folder from a stranger


@pytest.mark.row("T53")
def test_a_run_outside_of_the_sweep_is_never_trained(
    dlrun: Dlrun, config: Path, runs_dir: Path, fault: Any
) -> None:
    dlrun("train", config, "--stop-after", 1)
    dlrun("sweep", config, "epochs=1,2", "--seeds", 1, "--jobs", 1, "--name", "x")
    sweep = only_sweep(runs_dir)
    text = (runs_dir / "small-001" / "config.yaml").read_text()
    sweep.content["runs"][0] |= {"run": "small-001", "borrowed": "", "name": "small", "config": text}
    sweep.write()
    before = contents(runs_dir / "small-001")
    assert "0 to train" in dlrun("sweep", "--resume", "last").out
    fault.count(folders=1)
    fault.never(outside=int(contents(runs_dir / "small-001") != before))


@pytest.mark.row("T53")
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["runs"][0].update(run="../x-001"),
        lambda content: content["runs"][0].update(run="/tmp/x-001"),
        lambda content: content["runs"][0].update(borrowed="../x-001"),
        lambda content: content["runs"][0].update(borrowed=7),
        lambda content: content["runs"][0].update(borrowed="", name="../x", config="a: 1"),
        lambda content: content["runs"][0].update(borrowed="", name="x", config="\ud800"),
        lambda content: content["runs"][0].update(borrowed="", name="x", config=7),
        lambda content: content["runs"][0].update(values=[]),
        lambda content: content["runs"][0].update(seeds=["a"]),
        lambda content: content["runs"][0].update(number={}),
        lambda content: content["runs"].append(content["runs"][0]),
        lambda content: content.update(runs={"a": 1}),
        lambda content: content.update(runs=7),
        lambda content: content.update(jobs=10**9),
        lambda content: content.update(jobs=True),
        lambda content: content.update(given_up=[[]]),
        lambda content: content.update(metric=7),
        lambda content: content.clear(),
    ],
)
def test_a_sweep_that_is_not_as_dlrun_writes_it_is_refused(
    change: Callable[[dict[str, Any]], object], tmp_path: Path, dlrun: Dlrun, runs_dir: Path, fault: Any
) -> None:
    sweep = listed(runs_dir, tmp_path)
    change(sweep.content)
    sweep.write()
    assert "this is not a valid sweep.json" in refused(sweep, tmp_path, dlrun, fault)


@pytest.mark.row("T53")
@pytest.mark.parametrize("name", ["small-001", "plots", "workers.log", "study.log", "small-001/checkpoints"])
def test_a_link_in_the_folder_of_a_sweep_is_refused(
    name: str, tmp_path: Path, dlrun: Dlrun, runs_dir: Path, fault: Any
) -> None:
    sweep = listed(runs_dir, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    path = sweep.folder / name
    if path.exists():
        path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "link" in refused(sweep, tmp_path, dlrun, fault)


def refused(sweep: Sweep, around: Path, dlrun: Dlrun, fault: Any) -> str:
    """The error of a sweep that cannot be resumed; the test fails if any file changes."""
    before = contents(around)
    done = dlrun("sweep", "--resume", sweep.folder)
    assert done.code == 2
    fault.count(folders=1)
    fault.never(outside=int(contents(around) != before))
    return str(done.err)


# --------------------------------------------------------------------------- T43: Ray is not installed


@pytest.mark.row("T43")
@pytest.mark.parametrize("words", [("{config}", "epochs=1,2"), ("--resume", "last")])
def test_without_ray_it_is_said_how_to_install_it_and_nothing_is_changed(
    dlrun: Dlrun,
    config: Path,
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Any,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    if "--resume" in words:
        listed(runs_dir, tmp_path)
    before = contents(runs_dir) if runs_dir.exists() else None
    done = dlrun("sweep", *(word.format(config=config) for word in words), "--ray", "local")
    assert done.code == 2
    assert "--ray needs Ray, which is not installed" in done.err
    assert "fix: pip install 'dlrun[ray]'" in done.err
    assert (contents(runs_dir) if runs_dir.exists() else None) == before
    fault.count(tries=1)
