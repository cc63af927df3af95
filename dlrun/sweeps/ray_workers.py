"""The workers of a sweep on a Ray cluster, each an actor on a node that Ray chooses.

They take runs and report as the worker processes of workers.py do.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dlrun.errors import RunFailed
from dlrun.sweeps.messages import Message
from dlrun.sweeps.ray_address import reach
from dlrun.sweeps.ray_cluster import Demand, load_ray, said
from dlrun.sweeps.ray_node import SAME_EVERYWHERE, NodeWorker
from dlrun.sweeps.worker_process import serve_actor
from dlrun.sweeps.workers import start_server
from dlrun.system import children

_LOOK = 5.0  # seconds between two looks whether the cluster is there
_GONE = 20.0  # seconds after which one that does not answer has ended: after 60 Ray ends this process
_STOPPED = 128 + signal.SIGTERM  # the exit code of a run that was told to stop
MOST_LOSSES = 3  # of a run that completes no epoch between them


@dataclass(eq=False)
class _Worker:
    """An actor, its run, the reference to the messages that are waited for, and the process given to it."""

    actor: Any
    ready: Any  # the reference to an answer that comes when the actor has begun
    has_begun: bool = False
    folder: Path | None = None
    messages: Any = None
    process: BaseProcess | None = None
    pipe: Connection | None = None  # the process ends if it is closed before an actor has connected


class RayWorkers:
    """Up to `count` actors: `train` gives a run to an idle one, `messages` yields their reports.

    In a cluster of its own the command begins the processes for them, which share one import of PyTorch, made
    beside the planning. A run whose process or node is lost ends like one that was told to stop, so that the
    sweep has it go on elsewhere; after MOST_LOSSES without a completed epoch between them it has failed.
    """

    def __init__(
        self, count: int, log: Path, metric: str, parts: Path | None, data_dir: Path, demand: Demand
    ) -> None:
        self._ray, self._count = load_ray(), count
        self._is_here = demand.is_here
        if self._is_here:
            start_server()
        environment = {name: os.environ[name] for name in SAME_EVERYWHERE if name in os.environ}
        self._arguments = (environment, demand.gpus > 0, log.absolute(), metric, parts, data_dir.absolute())
        # Two calls at once: one waits for messages while the other one stops the run.
        self._actor = self._ray.remote(
            num_cpus=demand.cpus, num_gpus=demand.gpus, max_concurrency=2, max_restarts=0
        )(NodeWorker)
        self._all: list[_Worker] = []
        self._stopped = set[Path]()
        self._address: str = self._ray.get_runtime_context().gcs_address
        self._looked, self._has_ended = time.monotonic(), False
        self._begun = dict[Path, int]()  # the epoch from which a run went on
        self._lost = dict[Path, tuple[int, int]]()  # the epoch from which it did, and how often it was lost

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_ended:  # no call of Ray would return
            self._leave()
            return
        closed = []
        for worker in self._all:
            if self._has_begun(worker):
                closed.append(worker.actor.close.remote())
            else:
                self._ray.kill(worker.actor)
        while closed and self._ray.wait(closed, num_returns=len(closed), timeout=_LOOK)[1]:
            try:
                self._look()
            except RunFailed:
                self._leave()
                raise
        for worker in list(self._all):
            self._end(worker)
            if worker.process:
                worker.process.join()

    @property
    def is_free(self) -> bool:
        """True if a worker can take a run now."""
        return len(self.training) < self._count

    @property
    def training(self) -> list[Path]:
        """The runs that are being trained, or wait for Ray to find a place for them."""
        return [worker.folder for worker in self._all if worker.folder is not None]

    def train(self, folder: Path) -> None:
        """Have a worker train the remaining epochs of the run in a folder; start one if none is idle."""
        worker = next((each for each in self._all if each.folder is None), None) or self._begin()
        worker.folder, worker.messages = folder, worker.actor.train.remote(folder.absolute())
        self._stopped.discard(folder)

    def stop(self, folder: Path) -> None:
        """Tell the worker of a run to save a checkpoint and stop."""
        self._stopped.add(folder)
        for worker in self._all:
            if worker.folder == folder:
                if self._has_begun(worker):
                    worker.actor.stop.remote()
                else:  # it may never begin
                    self._ray.kill(worker.actor)

    def messages(self, seconds: float) -> Iterator[Message]:
        """Yield the messages that arrive within so many seconds."""
        if time.monotonic() > self._looked + _LOOK:
            self._look()
        self._make_room()
        waiting = {worker.messages: worker for worker in self._all if worker.folder is not None}
        if not waiting:
            time.sleep(seconds)
            return
        self._ray.wait(list(waiting), timeout=seconds)
        for answer in self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)[0]:
            worker = waiting[answer]
            folder = worker.folder
            assert folder is not None
            try:
                arrived: list[Message] = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                self._look()
                is_away = isinstance(error, self._ray.exceptions.ActorUnavailableError)
                yield self._loss(worker, folder, "its node does not answer" if is_away else said(error))
                continue
            last = arrived[-1].kind if arrived else None
            if last == "end":
                worker.folder = None
            elif last != "killed":
                worker.messages = worker.actor.messages.remote()
            for message in arrived:
                if message.kind == "killed":
                    if worker.process:
                        worker.process.join()
                    code = worker.process.exitcode if worker.process else message.exit_code
                    yield self._loss(worker, folder, f"it was killed (exit code {code})")
                else:
                    if message.kind == "begin":
                        self._begun[folder] = message.epoch
                    lines = [line.replace(str(folder.absolute()), str(folder)) for line in message.lines]
                    yield replace(message, folder=folder, lines=lines)

    def _begin(self) -> _Worker:
        process = pipe = address = None
        if self._is_here:
            process, pipe, address = children.begin_for_another(serve_actor, *self._arguments[2:])
        actor = self._actor.remote(address, *self._arguments)
        self._all.append(_Worker(actor, actor.ready.remote(), process=process, pipe=pipe))
        return self._all[-1]

    def _has_begun(self, worker: _Worker) -> bool:
        worker.has_begun = worker.has_begun or bool(self._ray.wait([worker.ready], timeout=0)[0])
        return worker.has_begun

    def _make_room(self) -> None:
        """End the idle workers if another one waits for a place."""
        if any(not self._has_begun(worker) for worker in self._all):
            for worker in [each for each in self._all if each.folder is None]:
                self._end(worker)

    def _look(self) -> None:
        """Raise RunFailed if the cluster has ended: it has not answered for _GONE seconds."""
        until = time.monotonic() + _GONE
        while True:
            try:
                reach(self._address)
            except OSError as error:
                if time.monotonic() > until:
                    self._has_ended = True
                    what = f"the Ray cluster has ended: {said(error)}"
                    fix = "start it again, or train on this machine with --ray local"
                    raise RunFailed(what, where=self._address, fix=fix) from error
                time.sleep(1)
            else:
                self._looked = time.monotonic()
                return

    def _leave(self) -> None:
        """Leave a cluster that has ended: the processes that this one began save their runs and exit.

        Ray's own end would wait for the cluster, and break down.
        """
        atexit.register(_exit_at_once)  # the last to be registered is the first to be called
        for worker in self._all:
            if worker.pipe:
                worker.pipe.close()
            if worker.process:
                worker.process.terminate()  # its actor may outlive the cluster
                worker.process.join(_GONE)

    def _loss(self, worker: _Worker, folder: Path, reason: str) -> Message:
        """The end of a run whose worker is lost: of one to go on with, or of one that was lost too often."""
        self._end(worker)
        if folder in self._stopped:
            return Message("end", folder, exit_code=_STOPPED)
        epoch = self._begun.get(folder, 0)
        before, losses = self._lost.get(folder, (epoch, 0))
        losses = losses + 1 if epoch == before else 1
        self._lost[folder] = epoch, losses
        if losses < MOST_LOSSES:
            line = f"{folder.name} lost its process and goes on from its last checkpoint: {reason}"
            return Message("end", folder, exit_code=_STOPPED, lines=[line])
        what = f"error: it lost its process {losses} times without completing an epoch: {reason}"
        fix = "  fix: if it was for want of memory, take fewer --jobs or a smaller model"
        return Message("end", folder, exit_code=1, lines=[what, fix])

    def _end(self, worker: _Worker) -> None:
        """End an actor; its process saves a run that it trains, and exits."""
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(worker.actor)
        if worker.pipe:
            worker.pipe.close()
        self._all.remove(worker)


def _exit_at_once() -> None:
    """End this process as a failed one, with nothing else that is registered for its end."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(RunFailed.exit_code)
