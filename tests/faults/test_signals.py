"""Rows T11 to T14: Ctrl-C, SIGTERM, again, inside a save, and a terminal that goes away."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from processes import PATIENCE, Started, has_processes, until
from small_runs import (
    COSINE,
    FULL,
    differences,
    go_on,
    interrupting,
    outcome,
    planned,
    saved_epoch,
    started,
    trained,
)

from dlrun.run_folders.run import Run
from dlrun.system.signals import StopSignals

HERE = Path(__file__).parent
LEARNING = FULL | {"evaluate_every": 2, "schedule": COSINE}
SHORT = LEARNING | {"epochs": 6}
MIDDLING = LEARNING | {"epochs": 30}
LONG = LEARNING | {"epochs": 150}
STOPPING = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(scope="module")
def middling(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing stopped."""
    return trained(planned(**MIDDLING), tmp_path_factory.mktemp("middling"))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A longer one."""
    return trained(planned(**LONG), tmp_path_factory.mktemp("long"))


@pytest.fixture
def real_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """real_process(code, words…) is Python in a session of its own that can import what tests can."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: str, **options: Any) -> subprocess.Popen[str]:
        paths = os.pathsep.join(map(str, (HERE.parent.parent, HERE.parent, HERE)))
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True} | options
        environment = os.environ | {"PYTHONPATH": paths}
        begun.append(subprocess.Popen([sys.executable, *words], env=environment, text=True, **options))
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def stopped(fault: Any, out: str, err: str, run: Run) -> None:
    """Look at what a run that a signal stopped said and saved."""
    assert f"resume: dlrun resume {run.folder}\n" in out
    assert "stopped by a signal after epoch" in out
    assert len(err.splitlines()) <= 3
    fault.never(lost=run.last_row()[0] - saved_epoch(run))


def resumed(fault: Any, run: Run, changes: dict[str, Any], unbroken: Run) -> None:
    """Go on to the end, which is that of the unbroken run."""
    assert go_on(run, changes).exit_code == 0
    assert not list(run.folder.rglob("*.tmp"))
    fault.never(different=differences(outcome(unbroken), outcome(run)))


# ------------------------------------------------------------------------ T11: a signal


@pytest.mark.row("T11")
def test_a_signal_at_any_moment_stops_cleanly(fault: Any, tmp_path: Path, middling: Run) -> None:
    """From its first moment to its last: before it trains and after it there is nothing to save."""
    unbroken = started(planned(**MIDDLING), tmp_path)
    one = Started(["resume", str(unbroken.folder)], tmp_path / "unbroken")
    began = time.monotonic()
    assert one.ended()[0] == 0
    whole = time.monotonic() - began
    signals = saved = 0
    for number in STOPPING * fault.times(1, 100):
        run = started(planned(**MIDDLING), tmp_path)
        one = Started(
            ["resume", str(run.folder)],
            tmp_path / f"said-{run.name}",
            often=fault.random.random() < 0.5,
        )
        time.sleep(fault.random.uniform(0, whole))
        with suppress(ProcessLookupError):
            os.kill(one.pid, number)
        code, out, err = one.ended()
        status = run.summary().get("status")
        signals += 1
        fault.said(out + err)
        if code == 128 + number:
            assert (status, run.summary()["signal"]) == ("interrupted", number)
            saved += 1
            stopped(fault, out, err, run)
        elif code == 0:
            assert (status, err) == ("finished", "")
        else:  # before there was anything to save, or after all was
            assert (code, err) == (-number, "")
            assert status == "finished" or not run.has_rows()
        resumed(fault, run, MIDDLING, middling)
    fault.count(signals=signals, saved=saved)
    assert saved >= signals / 4 or not fault.thorough, "hardly any signal came while it trained"


@pytest.mark.slow
@pytest.mark.row("T11")
def test_a_real_process_stops_cleanly_alone_and_with_its_group(
    fault: Any, tmp_path: Path, long: Run, real_process: Callable[..., subprocess.Popen[str]]
) -> None:
    ways = [(number, group) for number in STOPPING for group in (False, True)]
    rounds = [ways[3]] if not fault.thorough else ways * 5
    for number, group in rounds:
        run = started(planned(**LONG), tmp_path)
        process = real_process("-m", "dlrun", "resume", str(run.folder))
        until(lambda run=run: run.summary().get("status") == "running")
        time.sleep(fault.random.uniform(0, 0.2))
        (os.killpg if group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + number
        fault.count(signals=1)
        fault.never(orphans=has_processes(process.pid))
        fault.said(out + err)
        stopped(fault, out, err, run)
        resumed(fault, run, LONG, long)


@pytest.mark.row("T11")
def test_a_signal_where_nothing_is_saved_finishes_its_epoch_first(fault: Any, tmp_path: Path) -> None:
    unbroken, run = trained(planned(**SHORT), tmp_path), started(planned(**SHORT), tmp_path)
    done = go_on(run, SHORT, view=interrupting(2 * 3 + 2))  # in the third epoch of three steps each
    assert (done.exit_code, done.summary["epochs"]) == (130, 3)
    fault.count(signals=1)
    resumed(fault, run, SHORT, unbroken)


@pytest.mark.row("T11")
def test_a_signal_where_all_is_saved_stops_at_this_step(
    fault: Any, tmp_path: Path, save_always: None
) -> None:
    unbroken = trained(planned(**SHORT), tmp_path)
    for step, epochs in ((2, 0), (2 * 3 + 2, 2)):
        run, view = started(planned(**SHORT), tmp_path), interrupting(step)
        done = go_on(run, SHORT, view=view)
        assert (done.exit_code, done.summary["epochs"], view.steps) == (130, epochs, step)
        fault.count(signals=1)
        resumed(fault, run, SHORT, unbroken)


# ------------------------------------------------------------------------ T12: and another one


SAVING_SLOWLY = """
import sys
from processes import command_line
command_line(sys.argv[2:], sys.argv[1], {"often": True, "slowly": 0.1})
"""


@pytest.mark.row("T12")
def test_a_second_signal_stops_at_once_and_the_last_whole_save_stays(
    fault: Any, tmp_path: Path, middling: Run, real_process: Callable[..., subprocess.Popen[str]]
) -> None:
    """The first one comes anywhere, the second in the save that the first one asks for."""
    pairs = inside = 0
    for real in [False] * fault.times(2, 50) + [True] * fault.times(0, 10):
        run = started(planned(**MIDDLING), tmp_path)
        words, at = ["resume", str(run.folder)], tmp_path / f"said-{run.name}"
        if real:
            at.mkdir()
            process = real_process("-c", SAVING_SLOWLY, str(at), *words)
            before = twice(run, process.pid, fault.random)
            process.communicate(timeout=PATIENCE)
            code, out, err = process.returncode, (at / "out").read_text(), (at / "err").read_text()
        else:
            one = Started(words, at, often=fault.random.random() < 0.5, slowly=0.1)
            before = twice(run, one.pid, fault.random)
            code, out, err = one.ended()
        fault.said(out + err)
        pairs += 1
        inside += after_two(fault, run, code, before)
        resumed(fault, run, MIDDLING, middling)
    fault.count(pairs=pairs, inside_a_save=inside)
    assert inside >= pairs / 2 or not fault.thorough, "hardly any second signal came inside a save"


AT_ONCE = """
import os, signal, sys
from dlrun.system.signals import StopSignals
both = [signal.SIGINT, signal.SIGTERM]
with StopSignals() as signals:
    signal.pthread_sigmask(signal.SIG_BLOCK, both)
    for number in both:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, both)  # now both are there before Python heeds either
    print("it goes on")
"""


@pytest.mark.row("T12")
def test_two_signals_at_once_stop_at_once_without_a_traceback(fault: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    fault.count(pairs=1)
    fault.said(done.stderr)
    assert done.stderr == ""


@pytest.mark.row("T12")
def test_what_else_cannot_be_raised_is_said_as_ever(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: said.append(unraisable.exc_value))
    before = sys.unraisablehook
    with StopSignals():
        sys.unraisablehook(SimpleNamespace(exc_value=ValueError("x")))  # type: ignore[arg-type]
    assert [str(each) for each in said] == ["x"]
    assert sys.unraisablehook is before
    fault.count(pairs=0)


def twice(run: Run, pid: int, chance: random.Random) -> int:
    """Two signals 50 ms apart, from a random moment on: the epoch that was saved before the first."""
    until(lambda: run.summary().get("status") == "running")
    time.sleep(chance.uniform(0, 0.4))
    before = saved_epoch(run)
    for wait in (0.05, 0):
        with suppress(ProcessLookupError):
            os.kill(pid, chance.choice(STOPPING))
        time.sleep(wait)
    return before


def after_two(fault: Any, run: Run, code: int, before: int) -> bool:
    """Look at the checkpoint that two signals left; whether one of them came inside a save."""
    assert -code in STOPPING or code - 128 in STOPPING or code == 0
    half_written = list(run.folder.rglob("*.tmp"))
    assert code < 0 or not half_written
    fault.never(lost=max(0, before - saved_epoch(run)))  # which raises where it is not whole
    return bool(half_written)


# ------------------------------------------------------------------------ T13: inside a save


class Interrupting:
    """A file at one of whose writes a signal arrives."""

    def __init__(self, file: Any, write: int, number: int) -> None:
        self.file, self.left, self.number = file, write, number

    def write(self, raw: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.file.write(raw)

    def flush(self) -> None:
        self.file.flush()


@pytest.mark.row("T13")
def test_a_signal_inside_a_save_lets_it_finish(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_always: None
) -> None:
    """At any write of any save, where an exception of a handler would come out as a RuntimeError."""
    unbroken, real = trained(planned(**SHORT), tmp_path), torch.save
    for _ in range(fault.times(8, 200)):
        run, saves = started(planned(**SHORT), tmp_path), 0
        at, write = fault.random.randint(1, 6), fault.random.randint(1, 30)
        number = fault.random.choice(STOPPING)

        def interrupted(
            content: Any, file: Any, at: int = at, write: int = write, number: int = number
        ) -> None:
            nonlocal saves
            saves += 1
            real(content, Interrupting(file, write, number) if saves == at else file)

        with monkeypatch.context() as patched:
            patched.setattr(torch, "save", interrupted)
            done = go_on(run, SHORT)
        assert saves >= at
        assert (done.exit_code, done.summary["status"]) == (128 + number, "interrupted")
        fault.count(signals=1)
        fault.never(lost=run.last_row()[0] - saved_epoch(run))
        resumed(fault, run, SHORT, unbroken)


# ------------------------------------------------------------------------ T14: no terminal any more


@pytest.mark.slow
@pytest.mark.row("T14")
def test_a_run_whose_terminal_goes_away_trains_on(
    fault: Any, tmp_path: Path, long: Run, real_process: Callable[..., subprocess.Popen[str]]
) -> None:
    for _ in range(fault.times(1, 10)):
        run = started(planned(**LONG), tmp_path)
        master, slave = pty.openpty()
        code = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR))\n"
        code += "from dlrun.console.commands.app import main; main()"
        process = real_process("-c", code, "resume", str(run.folder), stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        until(lambda run=run: run.summary().get("status") == "running")
        shown = os.read(master, 10_000)
        assert b"spiral" in shown, "it did not write to its terminal"
        os.close(master)
        assert run.summary()["status"] == "running"
        assert process.wait(PATIENCE) == 0
        assert run.summary()["status"] == "finished"
        log = (run.folder / "log.txt").read_text()
        assert log.splitlines()[-1].endswith("finished after epoch 150, exit code 0")
        fault.count(terminals=1)
        fault.said(log)
        fault.never(different=differences(outcome(long), outcome(run)))
