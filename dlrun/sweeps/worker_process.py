"""Inside of a process that trains: one run after another, until nobody is there any more."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import Unforeseen, UserError
from dlrun.run_folders.run import Run
from dlrun.sweeps.messages import STOP, Message
from dlrun.system.children import leave_terminal
from dlrun.system.files import open_to_append
from dlrun.system.shortages import shortage

if TYPE_CHECKING:
    from dlrun.data.examples import Data
    from dlrun.data.loaded import Loaded
    from dlrun.training.plan import Plan
    from dlrun.training.recipe import Row
    from dlrun.training.state import State
    from dlrun.training.views import TrainingView

RUNGS = 10  # of a run's epochs: at the end of each tenth all runs can be compared
SAY_EVERY = 0.2  # seconds between what a run says of its progress


def serve_runs(connection: Connection, log: Path, metric: str, parts: Path | None, data_dir: Path) -> None:
    """Train the runs whose folders arrive, one after another, until nobody is there any more."""
    _say_into(log)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())  # while a run trains it has its own way
    leave_terminal()  # Ctrl-C is for the process that sent us the runs
    folders: SimpleQueue[Path | None] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, folders), daemon=True).start()
    training = RunTrainer(Parts(parts), data_dir)
    while folder := folders.get():
        message = training.of(folder, Reporter(connection, metric, stopped))
        stopped.clear()
        with suppress(OSError):  # nobody is there any more
            connection.send(message)


def _receive(connection: Connection, folders: SimpleQueue[Path | None]) -> None:
    """Pass on the folders that arrive. The run that trains is stopped as a signal stops it, when that is said
    and it is not stopping yet, and at the end, then at once if it is.
    """
    try:
        while True:
            if (said := connection.recv()) != STOP:
                folders.put(said)
            elif signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                signal.raise_signal(signal.SIGTERM)
    except (EOFError, OSError):
        folders.put(None)
        signal.raise_signal(signal.SIGTERM)


def _say_into(log: Path) -> None:
    """Have all that is written to stdout and stderr, by libraries too, go to the end of a file."""
    descriptor = open_to_append(log)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


class RunTrainer:
    """One run after another, with the data of the last one kept for the next where it is the same."""

    def __init__(self, parts: Parts, data_dir: Path) -> None:
        self._parts, self._data_dir = parts, data_dir
        self._kept: tuple[str, Data, Loaded] | None = None

    def of(self, folder: Path, view: TrainingView) -> Message:
        """Train the run in a folder for the epochs that are left; how that ended."""
        from dlrun.training.experiment import train_run
        from dlrun.training.plan import make_plan

        run = Run(folder)
        try:
            plan = make_plan(load_config(run.config, [], self._parts), self._parts, self._data_dir)
            # One that goes on prepares its data as its checkpoint says.
            loaded = None if run.last.exists() else self._loaded(plan)
            outcome = train_run(plan, run, view, loaded=loaded)
            return Message("end", folder, exit_code=outcome.exit_code)
        except UserError as error:
            return Message("end", folder, exit_code=error.exit_code, lines=error.lines())
        except Exception as error:
            traceback.print_exc()
            told = shortage(error) or Unforeseen(error, f"dlrun resume {folder}")
            return Message("end", folder, exit_code=told.exit_code, lines=told.lines())

    def _loaded(self, plan: Plan) -> Loaded:
        """The data of a run that begins."""
        wanted = f"{plan.device} {plan.config.dataset}"
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None  # before the next is read, so that two are never there at once
            self._kept = (wanted, plan.data, plan.load())
        _, data, loaded = self._kept
        plan.data.notes[:] = data.notes
        return loaded


class Reporter:
    """A view that tells another process of a run's progress, a few times a second."""

    def __init__(self, connection: Connection, metric: str, stopped: threading.Event) -> None:
        self._connection, self._stopped, self._next = connection, stopped, 0.0
        self._column, self._is_of_best = metric.removeprefix("best."), metric.startswith("best.")
        self._figure: float | None = None

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None:
        self._folder, self._epochs = run.folder, plan.config.epochs
        if self._is_of_best and state.best:
            self._take(state.best["figures"])
        self._say("begin", state.epoch)
        if self._stopped.is_set():
            signal.raise_signal(signal.SIGTERM)  # it came before anybody heeded it

    def tick(self, examples: int) -> None: ...

    def row(self, epoch: int, row: Row, best: bool) -> None:
        if best or not self._is_of_best:
            self._take(row)
        rung = RUNGS * epoch // self._epochs
        if rung > RUNGS * (epoch - 1) // self._epochs:
            self._say("row", epoch, rung)
        elif time.monotonic() >= self._next:
            self._say("row", epoch)

    def warn(self, text: str) -> None: ...  # it is in the run's log

    def end(self) -> None: ...

    def _take(self, row: Row) -> None:
        if self._column != "seconds" and (values := row.get(self._column)):  # of the run, not of an epoch
            self._figure = fmean(values)

    def _say(self, kind: Literal["begin", "row"], epoch: int, rung: int = 0) -> None:
        self._next = time.monotonic() + SAY_EVERY
        message = Message(kind, self._folder, epoch, self._epochs, self._figure, rung)
        with suppress(OSError):  # nobody is there any more: a signal follows
            self._connection.send(message)
