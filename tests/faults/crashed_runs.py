"""What processes do that are killed, crash, or lose their power. They import it, so it imports little."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from small_runs import own_parts, planned, save_at_every_epoch, train_in_child

from dlrun import checkpoint as checkpoints
from dlrun import experiment
from dlrun.checkpoint import Checkpoint
from dlrun.runs import Run

KEEPS_WEIGHTS = '''
"""A plot that wants to know how the model changed, and draws nothing."""
keeps_weights = 3


def moving(trained):
    """It is never there."""
    raise RuntimeError("nothing is drawn")
'''
# Everything that could be forgotten between two halves of a run, at once.
CHANGES: dict[str, Any] = {
    "seeds": [3, 1],
    "architecture": {"name": "mlp", "hidden": [8], "batch_norm": True, "dropout": 0.3},
    "augmentations": [{"name": "noise", "sd": 0.2}],
    "dataset": {"name": "spiral", "points": 20, "valid_fraction": 0.2},
    "schedule": {"name": "cosine", "warmup": 0.3},
    "evaluate_every": 2,
    "evaluate_train_every": 3,
    "gradient_clip": 0.5,
}


def train_and_tell(folder: str, changes: dict[str, Any], told: str, temporary: str | None = None) -> None:
    """Go on with the run in `folder`, saving at every epoch; `told` gets a line for each save that returned.

    `temporary` is the folder for temporary files.
    """
    if temporary:
        os.environ["TMPDIR"] = tempfile.tempdir = temporary
    save = checkpoints.save

    def telling(path: Path, checkpoint: Checkpoint) -> None:
        save(path, checkpoint)
        if path.name == "last.pt":
            os.write(file, f"{checkpoint.state['epoch']}\n".encode())

    file = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    checkpoints.save = telling
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
    experiment.resume(planned(with_moving(Path(parts)), **changes), Run(Path(folder)), experiment.Silent())


def with_moving(folder: Path) -> Any:
    """Parts with a plot that keeps weights."""
    return own_parts(folder, {"plots/moving.py": KEEPS_WEIGHTS})
