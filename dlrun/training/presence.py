"""Presence: the processes that train a run together tell each other what they are at, and why one ended."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torch.distributed.distributed_c10d import Store

from dlrun.config.durations import seconds_of
from dlrun.errors import RunFailed, UserError
from dlrun.system.processes import LAUNCHER, host, speaks_here

SAID = "said"  # the note that it has said why the run ends
HANGS = 70  # the exit code of a process that hung, while the others ended
_LATE = "late"  # the note of one that has waited for another in vain
_BEAT = 1.0  # seconds between two looks at the others
_MOMENT = 3.0  # seconds in which those that are left say that they are


@dataclass
class Presence:
    """The notes of this process and of the others in the store that PyTorch's processes share.

    `phase` is what all do, in words that follow "in", such as "epoch 3". One that does not answer the
    others for the `timeout`, such as 10m, is lost. The store stands on the first machine. If that is out of
    reach, a call of it never returns, so it is called in threads of its own.
    """

    store: Store
    rank: int
    size: int
    timeout: str
    config: str = ""  # a digest of it
    phase: str = field(default="the preparation", init=False)
    is_heard: bool = field(default=False, init=False)  # it says on its terminal why the run ends
    _heard: float = field(default_factory=time.monotonic, init=False, repr=False)  # from the store, last
    _ends: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        self.is_heard = speaks_here({"RANK": str(self.rank), **os.environ})

    @property
    def others(self) -> list[int]:
        """The ranks of the other processes."""
        return [rank for rank in range(self.size) if rank != self.rank]

    def show(self) -> None:
        """Give signs of life until `end`.

        If the others ended because this process did not answer them in time, it hangs, and is ended too.
        """

        def beat() -> None:
            self._note("host", host())
            self._note("config", self.config)
            count = 0
            while not self._ends.wait(_BEAT):
                self._note("pulse", str(count := count + 1))
                has_waited = any(self._read("left", rank) == _LATE for rank in self.others)
                if has_waited and not self._ends.wait(2 * _MOMENT):
                    os._exit(HANGS)

        self._begin(beat)

    def end(self) -> None:
        """Watch the others no longer, for this process ends."""
        self._ends.set()

    def leave_word(self, error: str) -> None:
        """Note why this process ends."""
        self._begin(lambda: self._note("error", error)).join(_MOMENT)

    def leave(self) -> None:
        """Note that this process is done."""
        self._begin(lambda: self._note("done", "")).join(_MOMENT)

    def meet(self, place: str) -> bool:
        """Wait until all processes have come here, each for as long as it is alive.

        False if one of them is done before, because nothing is left to train. Raises RunFailed if one has
        failed, or gives no sign of life for the timeout.
        """
        found, done, met = list[UserError](), list[int](), list[bool]()

        def wait() -> None:
            self._note(place, "")
            seen: dict[int, tuple[str, float]] = {}
            while missing := [rank for rank in self.others if not self._is_there(place, rank)]:
                self._heard = now = time.monotonic()
                for rank in missing:
                    pulse = self._read("pulse", rank)
                    if rank not in seen or seen[rank][0] != pulse:
                        seen[rank] = pulse, now
                    is_silent = now - seen[rank][1] > seconds_of(self.timeout)
                    if is_silent or self._is_there("error", rank):
                        found.append(self._lost([rank], f"did not answer for {self.timeout}"))
                        return
                    if self._is_there("done", rank):
                        done.append(rank)
                        return
                time.sleep(0.02)
            if self.rank and self._read("config", 0) != self.config:
                fix = "start all of them with the same words"
                found.append(UserError("its config is another than that of the first process", fix=fix))
            met.append(True)

        self._heard = time.monotonic()
        waiting = self._begin(wait)
        while waiting.is_alive():
            waiting.join(_BEAT)
            if time.monotonic() - self._heard > seconds_of(self.timeout):
                what = f"the machine of the first process did not answer for {self.timeout}"
                raise self._failed(what)
        for error in found:
            raise error
        if not met and not done:
            raise self._without_store()
        return not done

    def lost(self, error: RuntimeError) -> RunFailed:
        """The error that names the process without which an exchange failed, as far as it can be told."""
        self.end()
        if not self.rank:
            note_for_launcher(SAID)
        is_late = any(words in str(error).lower() for words in ("timed out", "timeout"))
        what = f"did not answer for {self.timeout}" if is_late else "has ended"
        found = list[RunFailed]()
        asking = self._begin(lambda: found.append(self._lost(self._missing(is_late), what)))
        asking.join(2 * _MOMENT)
        if not found and asking.is_alive():
            how = what if is_late else "does not answer"
            return self._failed(f"the machine of the first process {how}")
        return found[0] if found else self._without_store()

    def _missing(self, is_late: bool) -> list[int]:
        """The ranks that are lost: they have not said within a moment that they are left.

        Unless they were waited for in vain, those that are alive are busy, and will find the others gone.
        """
        self._note("left", _LATE if is_late else "")
        pulses = {rank: self._read("pulse", rank) for rank in self.others}
        until = time.monotonic() + _MOMENT
        while missing := [rank for rank in self.others if not self._is_there("left", rank)]:
            if time.monotonic() > until or any(self._is_there("error", rank) for rank in missing):
                break
            time.sleep(0.02)
        said_so = [rank for rank in missing if self._is_there("error", rank)]
        still = [rank for rank in missing if is_late or self._read("pulse", rank) == pulses[rank]]
        self.is_heard |= not said_so and {*range(self.rank)} <= {*still}
        return said_so or still or missing

    def _lost(self, ranks: list[int], what: str) -> RunFailed:
        if not ranks:  # all are there, and yet they did not hear each other
            return self._failed("the processes of the run lost each other")
        rank = ranks[0]
        where = f" on {own}" if (own := self._read("host", rank)) not in ("", host()) else ""
        if error := self._read("error", rank):
            return RunFailed(f"process {rank} of {self.size}{where}: {error}")
        return self._failed(f"process {rank} of {self.size}{where} {what}")

    def _without_store(self) -> RunFailed:
        """The error if the store is gone: the launcher had it, on the machine of the first process."""
        return self._failed("the machine of the first process is out of reach, or the launcher has ended")

    def _failed(self, what: str) -> RunFailed:
        fix = "look at that process, such as for a want of memory; all that was saved stays"
        return RunFailed(f"{what}, in {self.phase}", fix=fix)

    def _begin(self, work: Callable[[], object]) -> threading.Thread:
        """A thread that calls the store; without it the work ends."""

        def quietly() -> None:
            with suppress(RuntimeError):  # the store went with the first machine
                work()

        thread = threading.Thread(target=quietly, daemon=True)
        thread.start()
        return thread

    def _note(self, what: str, text: str) -> None:
        self.store.set(f"{what}/{self.rank}", text)

    def _is_there(self, what: str, rank: int) -> bool:
        return bool(self.store.check([f"{what}/{rank}"]))

    def _read(self, what: str, rank: int) -> str:
        return self.store.get(f"{what}/{rank}").decode() if self._is_there(what, rank) else ""


def note_for_launcher(name: str, text: str = "") -> None:
    """Leave a note for the launcher of this process, if it was started by dlrun."""
    if folder := os.environ.get(LAUNCHER):
        Path(folder, name).write_text(text, encoding="utf-8")
