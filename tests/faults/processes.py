"""dlrun in processes that something happens to: forked, so that they begin at once, or real ones.

They import this file, so it imports little.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import torch
from small_runs import (
    COSINE,
    FULL,
    NOW_AND_THEN,
    Listening,
    child,
    own_parts,
    planned,
    save_at_every_epoch,
    train_in_child,
)

from dlrun.run_folders import locating
from dlrun.run_folders.run import Run
from dlrun.system import locks
from dlrun.training import experiment, run_writer
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.views import HiddenTraining

PATIENCE = 120.0  # seconds after which a test gives up
CHANGES: dict[str, Any] = FULL | NOW_AND_THEN | {"schedule": COSINE}
ENDLESS = {"epochs": 10**6, "dataset": {"name": "spiral", "points": 4}}
KEEPS_WEIGHTS = '''
"""A plot that wants to know how the model changed, and draws nothing."""
keeps_weights = 3


def moving(trained):
    """It is never there."""
    raise RuntimeError("nothing is drawn")
'''


def until(true: Callable[[], object], alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until something is true that a process does, as long as it lives."""
    deadline = time.monotonic() + PATIENCE
    while not true() and alive():
        assert time.monotonic() < deadline, "this does not happen"
        time.sleep(0.002)


def has_processes(session: int) -> bool:
    """True if a process of that session is alive."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


# ------------------------------------------------------------------------ the command line


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
    locks.PATIENCE = hooks.get("patience", locks.PATIENCE)
    sys.argv = ["dlrun", *words]
    (folder / "begun").touch()
    from dlrun.console.commands.app import main

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
    train_run(planned(**changes), Run(Path(folder)), view)


# ------------------------------------------------------------------------ a run


def train_and_tell(folder: str, changes: dict[str, Any], told: str, temporary: str | None = None) -> None:
    """Go on with the run in `folder`, saving at every epoch; `told` gets a line for each save that returned.

    `temporary` is the folder for temporary files.
    """
    if temporary:
        os.environ["TMPDIR"] = tempfile.tempdir = temporary
    save = run_writer.save_checkpoint

    def telling(path: Path, checkpoint: Checkpoint) -> None:
        save(path, checkpoint)
        if path.name == "last.pt":
            os.write(file, f"{checkpoint.state['epoch']}\n".encode())

    file = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    run_writer.save_checkpoint = telling
    train_in_child(folder, changes)


def train_and_crash(folder: str, parts: str, changes: dict[str, Any], replacement: int) -> None:
    """Go on with the run in `folder`, saving at every epoch; gone right after the Nth os.replace."""
    replace, done = os.replace, 0

    def counted(*arguments: Any, **options: Any) -> None:
        nonlocal done
        replace(*arguments, **options)
        done += 1
        if done == replacement:
            os._exit(77)

    os.replace = counted  # type: ignore[assignment]
    save_at_every_epoch()
    train_run(planned(with_moving(Path(parts)), **changes), Run(Path(folder)), HiddenTraining())


def with_moving(folder: Path) -> Any:
    """Parts with a plot that keeps weights."""
    return own_parts(folder, {"plots/moving.py": KEEPS_WEIGHTS})


def begin_together(together: Any, words: list[str], said: str) -> None:
    """`dlrun`, which makes its run folder at the same moment as all others."""
    from dlrun.console.commands.app import main

    create = locating.create_run

    def created(*arguments: Any) -> Run:
        together.wait(120)
        return create(*arguments)

    locating.create_run = created
    sys.argv = ["dlrun", *words]
    sys.stdout = sys.stderr = open(said, "w")
    main()


def write_on_and_on(folder: str) -> None:
    """Train the run in a folder, saving at every epoch, a few of them a second."""

    class Slow(HiddenTraining):
        def row(self, epoch: int, row: Any, best: bool) -> None:
            time.sleep(0.2)

    save_at_every_epoch()
    train_run(planned(**ENDLESS), Run(Path(folder)), Slow())
