"""A worker process of a sweep: it trains one run after another, until the sweep's process has ended."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from dlrun.config.loading import load_run_config
from dlrun.config.registry import Parts
from dlrun.errors import Unforeseen, UserError
from dlrun.run_folders.run import Run
from dlrun.sweeps.messages import STOP, Message
from dlrun.system.children import leave_terminal
from dlrun.system.files import open_to_append
from dlrun.system.machine import CARDS
from dlrun.system.shortages import shortage
from dlrun.system.signals import at_stop_request, is_stop_requested, request_stop

if TYPE_CHECKING:
    from dlrun.data.examples import Data
    from dlrun.data.loaded import Loaded
    from dlrun.training.plan import Plan
    from dlrun.training.recipe import Row
    from dlrun.training.state import State
    from dlrun.training.views import TrainingView

RUNGS = 10  # after each tenth of its epochs a run is compared with others, for pruning
SAY_EVERY = 0.2  # seconds between reports of a run's progress


def serve_runs(
    connection: Connection, log: Path, metric: str, parts: Path | None, data_dir: Path, card: str | None
) -> None:
    """The main function of a worker: train the runs whose folders arrive, until the connection is closed.

    Of several GPUs it sees its `card` alone.
    """
    _say_into(log)
    if card is not None:
        os.environ[CARDS] = card  # before CUDA is asked for its devices
    stopped = threading.Event()
    at_stop_request(stopped.set)
    leave_terminal()  # Ctrl-C is handled by the sweep's process
    folders: SimpleQueue[Path | None] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, folders), daemon=True).start()
    training = RunTrainer(Parts(parts), data_dir)
    while folder := folders.get():
        message = training.of(folder, Reporter(connection, metric, stopped))
        stopped.clear()
        with suppress(OSError):  # the sweep's process has ended
            connection.send(message)


def serve_actor(
    pipe: Connection, listening: socket.socket, log: Path, metric: str, parts: Path | None, data_dir: Path
) -> None:
    """The main function of a worker to which an actor of Ray connects; without one it ends with the pipe.

    The actor first says which GPU Ray has chosen.
    """
    _say_into(log)
    if listening not in wait([pipe, listening]):
        return
    connection = Connection(listening.accept()[0].detach())
    try:
        card = connection.recv()
    except (EOFError, OSError):  # the actor has ended
        return
    serve_runs(connection, log, metric, parts, data_dir, card)


def _receive(connection: Connection, folders: SimpleQueue[Path | None]) -> None:
    """The thread that reads the connection: it queues folders and requests the stop of the run.

    On STOP it does so only if the run is not stopping yet, so that the run is saved. If the connection is
    closed it always does: a run that is already stopping ends at once.
    """
    try:
        while True:
            if (said := connection.recv()) != STOP:
                folders.put(said)
            elif not is_stop_requested():
                request_stop()
    except (EOFError, OSError):
        folders.put(None)
        request_stop()


def _say_into(log: Path) -> None:
    """Redirect stdout and stderr, also those of libraries, to the end of a file."""
    descriptor = open_to_append(log)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


class RunTrainer:
    """A trainer of one run after another, which keeps the data if the next run uses the same."""

    def __init__(self, parts: Parts, data_dir: Path) -> None:
        self._parts, self._data_dir = parts, data_dir
        self._kept: tuple[str, Data, Loaded] | None = None

    def of(self, folder: Path, view: TrainingView) -> Message:
        """Train the remaining epochs of the run in a folder; return the message of its end."""
        from dlrun.training.experiment import train_run
        from dlrun.training.plan_making import make_plan

        run = Run(folder)
        try:
            plan = make_plan(load_run_config(run.config, [], self._parts), self._parts, self._data_dir)
            # A resumed run takes the preprocessing from its checkpoint.
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
        """The data for a new run: that of the previous run if dataset and device are the same."""
        wanted = f"{plan.device} {plan.config.dataset}"
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None  # freed before the next is read, so that memory never holds two
            self._kept = (wanted, plan.data, plan.load())
        _, data, loaded = self._kept
        plan.data.notes[:] = data.notes
        if isinstance(plan.data.known, dict):  # what it learnt from the examples
            plan.data.known.update(data.known)
        return loaded


class Reporter:
    """A view that sends a run's progress to the sweep's process, a few times a second."""

    def __init__(self, connection: Connection, metric: str, stopped: threading.Event) -> None:
        self._connection, self._stopped, self._next = connection, stopped, 0.0
        self._column, self._is_of_best = metric.removeprefix("best."), metric.startswith("best.")
        self._figure: float | None = None

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None:
        self._folder, self._epochs = run.folder, plan.config.epochs
        self._state = state
        if self._is_of_best:
            self._take_best()
        self._say("begin", state.epoch)
        if self._stopped.is_set():
            request_stop()  # the request arrived before the run's handler was installed

    def tick(self, examples: int) -> None: ...

    def row(self, epoch: int, row: Row, best: bool) -> None:
        if not self._is_of_best:
            self._take(row)
        elif best:
            self._take_best()
        rung = RUNGS * epoch // self._epochs
        if rung > RUNGS * (epoch - 1) // self._epochs:
            self._say("row", epoch, rung)
        elif time.monotonic() >= self._next:
            self._say("row", epoch)

    def warn(self, text: str) -> None: ...  # it is in the run's log

    def end(self) -> None: ...

    def _take_best(self) -> None:
        """Take the figures of each seed at its best epoch."""
        from dlrun.training.best import row_of

        self._take(row_of([best.figures for best in self._state.best if best]))

    def _take(self, row: Row) -> None:
        if self._column != "seconds" and (values := row.get(self._column)):  # seconds: the whole run's
            self._figure = fmean(values)

    def _say(self, kind: Literal["begin", "row"], epoch: int, rung: int = 0) -> None:
        self._next = time.monotonic() + SAY_EVERY
        message = Message(kind, self._folder, epoch, self._epochs, self._figure, rung)
        with suppress(OSError):  # the sweep's process has ended: `_receive` stops the run
            self._connection.send(message)
