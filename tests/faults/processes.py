"""What processes of their own do in the tests of shared folders. They import this alone, as it is quick."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from small_runs import planned, save_at_every_epoch

from dlrun import experiment, runs
from dlrun.cli import main
from dlrun.runs import Run

ENDLESS = {"epochs": 10**6, "dataset": {"name": "spiral", "points": 4}}


def begin_together(together: Any, words: list[str], said: str) -> None:
    """`dlrun`, which makes its run folder at the same moment as all others."""
    create = runs.create

    def created(*arguments: Any) -> Run:
        together.wait(120)
        return create(*arguments)

    runs.create = created
    sys.argv = ["dlrun", *words]
    sys.stdout = sys.stderr = open(said, "w")
    main()


def write_on_and_on(folder: str) -> None:
    """Train the run in a folder, saving at every epoch, a few of them a second."""

    class Slow(experiment.Silent):
        def row(self, epoch: int, row: Any, best: bool) -> None:
            time.sleep(0.2)

    save_at_every_epoch()
    experiment.resume(planned(**ENDLESS), Run(Path(folder)), Slow())
