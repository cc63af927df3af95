"""Processes that train one run after another, with PyTorch imported once for all of them.

They are forked from a server that has imported and not computed anything: a process that has computed with
several threads cannot be forked. Each ends by itself, its run saved, when the process that began it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import Unforeseen, UserError
from dlrun.run_folders.run import Run

if TYPE_CHECKING:
    from dlrun.data.examples import Data
    from dlrun.data.loaded import Loaded
    from dlrun.training.plan import Plan
    from dlrun.training.recipe import Row
    from dlrun.training.state import State
    from dlrun.training.views import TrainingView

RUNGS = 10  # of a run's epochs: at the end of each tenth all runs can be compared
SAY_EVERY = 0.2  # seconds between what a run says of its progress
_PRELOADED = ["dlrun.training.experiment", "dlrun.training.plan", "dlrun.plots.curves"]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Message:
    """What a worker says: a run goes on, or has ended with an exit code and maybe the lines of an error."""

    kind: Literal["begin", "row", "end", "lost"]
    folder: Path
    epoch: int = 0
    epochs: int = 0
    figure: float | None = None  # what the sweep is ranked by, so far: mean over the run's seeds
    rung: int = 0  # how many tenths of its epochs are done, where one has just ended
    exit_code: int = 0
    lines: list[str] = field(default_factory=list)


class Workers:
    """Up to `count` processes. `train` gives a run to one that waits; `messages` are what they say.

    `metric` is the figure whose progress they report: a column, or best.COLUMN.
    """

    def __init__(self, count: int, log: Path, metric: str, parts: Path | None, data_dir: Path) -> None:
        start_server()
        self._context = get_context("forkserver")
        self._count, self._arguments = count, (log, metric, parts, data_dir)
        self._all: dict[Connection, ForkServerProcess] = {}
        self._busy: dict[Connection, Path] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()  # it takes this for the end
        for process in self._all.values():
            process.join()

    @property
    def is_free(self) -> bool:
        """Whether a run can be given to one of them now."""
        return len(self._busy) < self._count

    @property
    def training(self) -> list[Path]:
        """The runs that are being trained."""
        return list(self._busy.values())

    def train(self, folder: Path) -> None:
        """Have the run in a folder trained for the epochs that are left."""
        for waiting in [each for each in self._all if each not in self._busy]:
            try:
                waiting.send(folder)
            except OSError:  # killed while it had nothing to do
                self._all.pop(waiting).join()
            else:
                self._busy[waiting] = folder
                return
        waiting = self._begin()
        waiting.send(folder)
        self._busy[waiting] = folder

    def stop(self, folder: Path) -> None:
        """Have a run saved and left where it is."""
        for connection, trained in self._busy.items():
            if trained == folder and (pid := self._all[connection].pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    def messages(self, seconds: float) -> Iterator[Message]:
        """What they say within so many seconds."""
        if not self._busy:
            time.sleep(seconds)
        for connection in wait(list(self._busy), seconds):
            assert isinstance(connection, Connection)
            try:
                message: Message = connection.recv()
            except (EOFError, OSError):  # killed
                folder, process = self._busy.pop(connection), self._all.pop(connection)
                process.join()
                yield Message("lost", folder, exit_code=process.exitcode or 1)
                continue
            if message.kind == "end":
                del self._busy[connection]
            yield message

    def _begin(self) -> Connection:
        here, there = self._context.Pipe()
        process = self._context.Process(target=work, args=(there, *self._arguments), daemon=False)
        with _without_program():
            process.start()
        there.close()
        self._all[here] = process
        return here


@contextmanager
def _without_program() -> Iterator[None]:
    """In here a process that begins does not run the file again that this program was started from."""
    main = vars(sys.modules["__main__"])
    program = main.pop("__file__", None)
    try:
        yield
    finally:
        if program is not None:
            main["__file__"] = program


def start_server() -> None:
    """Have the server begin to import, unless it has begun; meanwhile something else may be done.

    A signal for the whole group of processes, as a terminal and a batch system send it, is none for it.
    """
    get_context("forkserver").set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # else the server's start begins it, which lets signals in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(connection: Connection, log: Path, metric: str, parts: Path | None, data_dir: Path) -> None:
    """Train the runs whose folders arrive, one after another, until nobody is there any more."""
    os.setsid()  # Ctrl-C is for the process that sent us the runs
    _say_into(log)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())  # while a run trains it has its own way
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    folders: SimpleQueue[Path | None] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, folders), daemon=True).start()
    training = Training(Parts(parts), data_dir)
    while folder := folders.get():
        message = training.of(folder, Reporter(connection, metric, stopped))
        stopped.clear()
        with suppress(OSError):  # nobody is there any more
            connection.send(message)


def _receive(connection: Connection, folders: SimpleQueue[Path | None]) -> None:
    """Pass on what arrives. At the end the run that trains is stopped, as a signal stops it."""
    try:
        while True:
            folders.put(connection.recv())
    except (EOFError, OSError):
        folders.put(None)
        os.kill(os.getpid(), signal.SIGTERM)


def _say_into(log: Path) -> None:
    """Have all that is written to stdout and stderr, by libraries too, go to the end of a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


class Training:
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
            told = Unforeseen(error, f"dlrun resume {folder}")
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
