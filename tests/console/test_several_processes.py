"""`--processes`: the command starts several processes, of which one speaks."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import only_run, timeless

from dlrun.run_folders.run import Run
from dlrun.system.processes import is_alive

Dlrun = Callable[..., Any]


def test_two_processes_train_one_run_and_it_goes_on_with_one(
    dlrun: Dlrun, dlrun_process: Callable[..., Any], tiny: Path, runs_dir: Path
) -> None:
    assert dlrun("train", tiny, "--name", "alone").code == 0
    process = dlrun_process("train", tiny, "--name", "two", "--processes", "2", "--stop-after", "1")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), err
    assert out.count("epoch 1/") == 1, "one of them speaks"
    assert " = 2 × " in out
    run = Run(runs_dir / "two-001")
    assert run.summary()["processes"] == 2
    assert run.summary()["planned_epochs"] > run.summary()["epochs"] == 1
    resumed = dlrun("resume", "two-001", "processes=1")
    assert resumed.code == 0
    assert "processes was 2, now 1: the bits may differ" in resumed.out + resumed.err
    rows, others = timeless(run.rows()), timeless(Run(runs_dir / "alone-001").rows())
    assert rows["train_loss"] == pytest.approx(others["train_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("optimiser.lr=1",), "optimiser: there is no such key"),
        (("--quick",), "--quick tries a run in one process, and 2 were started (WORLD_SIZE)"),
    ],
)
def test_an_error_that_each_process_finds_is_said_once_on_each_machine(
    words: tuple[str, ...], said: str, dlrun: Dlrun, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for rank, is_heard in (("0", True), ("1", False)):  # the second process is the first of another machine
        monkeypatch.setenv("LOCAL_RANK", rank)
        done = dlrun("train", tiny, *words)
        assert done.code == 2
        assert (said in done.err) == is_heard, done.err
        assert bool(done.err) == is_heard


@pytest.mark.slow
def test_torchrun_decides_how_many_there_are(tiny: Path, runs_dir: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "dlrun"]
    words = ["train", str(tiny), "--runs-dir", str(runs_dir), "processes=3", "batch_size=full"]
    done = subprocess.run([*torchrun, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert " = 2 × " in done.stdout
    assert "2 processes were started together, and train it, not the 3 of the config" in done.stderr


@pytest.mark.slow
def test_a_run_that_is_complete_has_nothing_to_train_for_any_of_them(
    dlrun: Dlrun, dlrun_process: Callable[..., Any], tiny: Path, runs_dir: Path
) -> None:
    assert dlrun("train", tiny, "--name", "x").code == 0
    for said in ("finished after epoch", "already complete after epoch", "finished after epoch"):
        process = dlrun_process("resume", runs_dir / "x-001", "--processes", "2")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert said in out
        summary = runs_dir / "x-001" / "summary.json"  # as of one that was killed before it was concluded
        if said.startswith("already"):
            summary.write_text(summary.read_text().replace('"status": "finished"', '"status": "running"'))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_launcher_saves_and_stops_all_of_them(
    dlrun: Dlrun, dlrun_process: Callable[..., Any], tiny: Path, runs_dir: Path, number: int
) -> None:
    process = dlrun_process("train", tiny, "--processes", "2", "epochs=100000", "--name", "x")
    deadline = time.monotonic() + 60
    while not (runs_dir / "x-001" / "checkpoints" / "last.pt").exists() or not only_run(runs_dir).has_rows():
        assert time.monotonic() < deadline, process.communicate(timeout=10)
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    assert "stopped by a signal after epoch" in out
    assert not is_alive(only_run(runs_dir).summary()["pid"])
    trained = only_run(runs_dir).rows()["epoch"][-1]
    assert dlrun("resume", "x", "processes=1", f"epochs={100000}", "--max-time", "1s").code == 0
    assert only_run(runs_dir).rows()["epoch"][-1] >= trained


@pytest.mark.parametrize("words", [("sweep", "optimizer.lr=0.1,0.2"), ("train", "--folds", "3")])
def test_the_runs_of_a_sweep_are_not_for_several(
    words: tuple[str, ...], dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    done = dlrun(words[0], tiny, *words[1:], "processes=2")
    assert done.code == 2
    assert "processes: each run of a sweep trains in one process" in done.err
    assert not runs_dir.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("optimizer={name: lbfgs, lr: 0.1}",), "lbfgs computes the loss of a batch several times in a step"),
        (
            ("architecture.dropout=0.2", "compile=true"),
            "the model draws random numbers",
        ),
        (("task=embedding", "loss=triplet", "metrics=[]"), "triplet judges a batch as a whole"),
    ],
)
def test_what_one_process_alone_can_do_is_refused_before_there_are_several(
    words: tuple[str, ...], said: str, dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    done = dlrun("train", tiny, "--processes", "2", *words)
    assert done.code == 2
    assert said in done.err
    assert "set processes: 1" in done.err or "set compile: false" in done.err
    assert not runs_dir.exists()
