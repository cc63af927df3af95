"""Presence: the processes that train a run together tell each other what they are at, and why one ended."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from torch.distributed.distributed_c10d import Store

from dlrun.config.durations import seconds_of
from dlrun.errors import RunFailed
from dlrun.system.processes import host

LAUNCHER = "DLRUN_LAUNCHER"  # the folder in which the first process leaves notes for its launcher
SAID = "said"  # the note that it has said why the run ends
HANGS = 70  # the exit code of a process that hung, while the others ended
_BEAT = 1.0  # seconds between two signs of life, while the others wait
_MOMENT = 3.0  # seconds in which those that are left say that they are


@dataclass
class Presence:
    """The notes of this process and of the others in the store that PyTorch's processes share.

    `phase` is what this one does, in words that follow "in", such as "epoch 3". One that does not answer the
    others for the `timeout`, such as 10m, is lost.
    """

    store: Store
    rank: int
    size: int
    timeout: str
    phase: str = field(default="the preparation", init=False)
    is_heard: bool = field(default=False, init=False)  # it says on its terminal why the run ends
    _rests: bool = field(default=False, init=False)
    _ends: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        self.store.set(f"host/{self.rank}", host())
        is_first = os.environ.get("LOCAL_RANK", str(self.rank)) == "0"
        self.is_heard = is_first or LAUNCHER in os.environ

    @property
    def others(self) -> list[int]:
        """The ranks of the other processes."""
        return [rank for rank in range(self.size) if rank != self.rank]

    def enter(self, phase: str) -> None:
        """Note what this process does from here on."""
        self.phase = phase
        self._note("phase", phase)

    def leave_word(self, error: str) -> None:
        """Note why this process ends."""
        self._note("error", error)

    def meet(self, place: str) -> None:
        """Wait until all processes have come here, each for as long as it is alive.

        Raises RunFailed if one of them has ended, or gives no sign of life for the timeout.
        """
        self._note(place, "")
        seen: dict[int, tuple[str, float]] = {}
        while missing := [rank for rank in self.others if not self._is_there(f"{place}/{rank}")]:
            for rank in missing:
                pulse, now = self._read("pulse", rank), time.monotonic()
                if rank not in seen or seen[rank][0] != pulse:
                    seen[rank] = pulse, now
                if self._is_there(f"error/{rank}"):
                    raise self._lost([rank], "has ended")
                if now - seen[rank][1] > seconds_of(self.timeout):
                    raise self._lost([rank], f"did not answer for {self.timeout}")
            time.sleep(0.02)

    def show_life(self) -> None:
        """Give signs of life, for those that wait for this process, until `rest`.

        If the others have ended, because it hangs, it is ended too.
        """

        def beat() -> None:
            count = 0
            while not self._ends.wait(_BEAT):
                if not self._rests:
                    self._note("pulse", str(count := count + 1))
                with suppress(RuntimeError):
                    is_left = any(self._is_there(f"left/{rank}") for rank in self.others)
                    if is_left and not self._ends.wait(2 * _MOMENT):
                        os._exit(HANGS)

        threading.Thread(target=beat, daemon=True).start()

    def rest(self) -> None:
        """Give no more signs of life: from here on the processes hear each other at every step."""
        self._rests = True

    def end(self) -> None:
        """Watch the others no longer, for this process ends."""
        self._ends.set()

    def lost(self, error: RuntimeError) -> RunFailed:
        """The error that names the process without which an exchange failed, as far as it can be told."""
        self.end()
        if not self.rank:
            note_for_launcher(SAID)
        late = "imed out" in str(error)
        self.store.set_timeout(timedelta(seconds=_MOMENT))
        with suppress(RuntimeError):
            self._note("left", "")
            until = time.monotonic() + _MOMENT
            while missing := [rank for rank in self.others if not self._is_there(f"left/{rank}")]:
                if time.monotonic() > until or any(self._is_there(f"error/{rank}") for rank in missing):
                    break
                time.sleep(0.02)
            self.is_heard |= {*range(self.rank)} <= {*missing}
            return self._lost(missing, f"did not answer for {self.timeout}" if late else "has ended")
        return self._failed("the machine of the first process does not answer", self.phase)

    def _lost(self, ranks: list[int], what: str) -> RunFailed:
        if not ranks:  # all are there, and yet they did not hear each other
            return self._failed("the processes of the run lost each other", self.phase)
        rank = ranks[0]
        where = f" on {own}" if (own := self._read("host", rank)) != host() else ""
        phase = self._read("phase", rank) or self.phase
        if error := self._read("error", rank):
            return RunFailed(f"process {rank} of {self.size}{where}: {error}")
        return self._failed(f"process {rank} of {self.size}{where} {what}", phase)

    def _failed(self, what: str, phase: str) -> RunFailed:
        fix = "look at that process, such as for a want of memory; all that was saved stays"
        return RunFailed(f"{what}, in {phase}", fix=fix)

    def _note(self, what: str, text: str) -> None:
        with suppress(RuntimeError):  # the store went with the first machine
            self.store.set(f"{what}/{self.rank}", text)

    def _is_there(self, key: str) -> bool:
        return bool(self.store.check([key]))

    def _read(self, what: str, rank: int) -> str:
        key = f"{what}/{rank}"
        return self.store.get(key).decode() if self._is_there(key) else ""


def note_for_launcher(name: str, text: str = "") -> None:
    """Leave a note for the launcher of this process, if it was started by dlrun."""
    if folder := os.environ.get(LAUNCHER):
        Path(folder, name).write_text(text, encoding="utf-8")
