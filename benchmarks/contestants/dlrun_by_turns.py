"""`dlrun train` in a folder that is gone afterwards, which waits for its turn before each epoch.

Its arguments are those of `dlrun train`. An epoch's turn holds its steps, its evaluation, and all that the
command does with its row.
"""

import csv
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contestants._report import WARM_UP, await_turn
from dlrun.__main__ import main
from dlrun.training import experiment, run_writer

fit = experiment.fit


class Clock:
    """A clock that stands still while others have their turn: saves come as rarely as in a run by itself."""

    def __init__(self) -> None:
        self._waited = 0.0

    def monotonic(self) -> float:
        return time.monotonic() - self._waited

    def wait(self) -> None:
        began = time.monotonic()
        await_turn()
        self._waited += time.monotonic() - began


def by_turns(*words: Any, **options: Any) -> Iterator[Any]:
    rows = fit(*words, **options)
    while True:
        clock.wait()
        try:
            row = next(rows)
        except StopIteration:
            return
        yield row


clock = Clock()
experiment.fit = by_turns  # type: ignore[assignment]
run_writer.time = clock  # type: ignore[assignment]
with TemporaryDirectory() as runs:
    sys.argv = ["dlrun", "train", *sys.argv[1:], "--runs-dir", runs]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    [folder] = Path(runs).iterdir()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
report = {
    "training": median(float(row["seconds"]) for row in rows[WARM_UP:]),
    "losses": [float(row["train_loss"]) for row in rows],
    "test_accuracies": [float(row["test_accuracy"]) for row in rows],
    "threads": summary["threads"],
}
print(json.dumps(report))
