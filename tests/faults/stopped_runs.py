"""dlrun in processes that something happens to: forked, so that they begin at once, or real ones."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import torch
from small_runs import Listening, child, planned, save_at_every_epoch

from dlrun import checkpoint as checkpoints
from dlrun import experiment, runs
from dlrun.runs import Run

PATIENCE = 60.0  # seconds after which a test gives up


def go_on(run: Run, changes: dict[str, Any], **options: Any) -> experiment.Outcome:
    """Go on with a run of the small config with some keys changed, in this process."""
    return experiment.resume(planned(**changes), run, options.pop("view", experiment.Silent()), **options)


def saved_epoch(run: Run) -> int:
    """How far the run can be resumed from."""
    return int(checkpoints.load(run.last).state["epoch"]) if run.last.exists() else 0


class Started:
    """The command line in a forked process, as if it had been started; `at` is where its words go."""

    def __init__(self, words: list[str], at: Path, **hooks: Any) -> None:
        self.at = at
        at.mkdir()
        self.process: BaseProcess = child(command_line, words, str(at), hooks)
        until((at / "begun").exists)
        assert self.process.pid is not None
        self.pid = self.process.pid

    def ended(self) -> tuple[int, str, str]:
        """Exit code (negative: the signal that killed it), stdout, stderr, once it is over."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        assert code is not None, "this does not end"
        return code, (self.at / "out").read_text(), (self.at / "err").read_text()


def command_line(words: list[str], at: str, hooks: dict[str, Any]) -> None:
    """`dlrun WORDS` as it stands, but for the hooks: save `often`, save `slowly`, train behind a `gate`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    folder = Path(at)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
    if hooks.get("often"):
        save_at_every_epoch()
    if hooks.get("slowly"):
        _save_slowly(hooks["slowly"])
    if hooks.get("gate"):
        _train_behind(Path(hooks["gate"]))
    runs._LOCK_PATIENCE = hooks.get("patience", runs._LOCK_PATIENCE)
    sys.argv = ["dlrun", *words]
    (folder / "begun").touch()
    from dlrun.cli import main

    main()


def _save_slowly(seconds: float) -> None:
    """Have every save take so long, with half of the file written all the while."""
    save = torch.save

    def slowly(content: Any, file: IO[bytes]) -> None:
        whole = io.BytesIO()
        save(content, whole)
        raw = whole.getvalue()
        file.write(raw[: len(raw) // 2])
        file.flush()
        time.sleep(seconds)
        file.write(raw[len(raw) // 2 :])

    torch.save = slowly


def _train_behind(gate: Path) -> None:
    """Say in the folder `gate` who trains, and finish no epoch until `open` stands in it."""
    fit = experiment.fit

    def behind(*arguments: Any) -> Any:
        (gate / f"trains-{os.getpid()}").touch()
        for row in fit(*arguments):
            until((gate / "open").exists)
            yield row

    experiment.fit = behind


def crash_at_step(folder: str, changes: dict[str, Any], step: int) -> None:
    """Train, saving at every epoch, until the process is gone in the middle of a step."""
    save_at_every_epoch()
    view = Listening(step, lambda: os._exit(77))
    experiment.resume(planned(**changes), Run(Path(folder)), view)


def until(true: Any) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "this does not happen"
        time.sleep(0.002)
