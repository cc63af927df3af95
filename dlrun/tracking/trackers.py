"""The trackers by name: what each is given, the package that it needs, a run logged after the fact."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Protocol

from dlrun.config.keys import Config, TrackerName
from dlrun.errors import RunFailed, UserError
from dlrun.run_folders.run import Run
from dlrun.system.locks import is_in_use
from dlrun.tracking.run_content import RunContent, content_of

TITLES: dict[TrackerName, str] = {
    "tensorboard": "TensorBoard",
    "mlflow": "MLflow",
    "wandb": "Weights & Biases",
}
_LONGEST = 200  # characters of an exception's message


class Tracker(Protocol):
    """One run in a tracker, where it is found by its id, or made."""

    place: str  # a folder or an address, for a person
    notes: list[str]  # what the tracker shows otherwise than the run has it

    def update(self, content: RunContent) -> None:
        """Log all that is not there yet; raises whatever the tracker raises."""
        ...

    def close(self) -> None:
        """Write what is buffered. Raises whatever the tracker raises."""
        ...


def open_tracker(name: TrackerName, content: RunContent) -> Tracker:
    """Open a run in a tracker. Raises whatever the tracker raises."""
    match name:
        case "tensorboard":
            from dlrun.tracking.tensorboard import TensorBoard

            return TensorBoard(content)
        case "mlflow":
            from dlrun.tracking.mlflow import MLflow

            return MLflow(content)
        case "wandb":
            from dlrun.tracking.wandb import Wandb

            return Wandb(content)


def is_installed(name: TrackerName) -> bool:
    """True if the package of a tracker can be imported; a folder of that name, such as wandb/, is none."""
    if name in sys.modules:
        return sys.modules[name] is not None
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def refuse_missing(config: Config) -> None:
    """Raise ConfigError if the package of a tracker in `track` is not installed."""
    mistakes = [
        config.mistake("track", f"{said_missing(name)}; {remedy(name)}, or leave it out")
        for name in config.track
        if not is_installed(name)
    ]
    if mistakes:
        raise config.refuse(mistakes)


def said_missing(name: TrackerName) -> str:
    return f"{TITLES[name]} needs the package {name}, which is not installed"


def remedy(name: TrackerName) -> str:
    return f"pip install 'dlrun[{name}]'"


def log_run(run: Run, name: TrackerName) -> tuple[Tracker, RunContent]:
    """Bring a run in a tracker up to date, after the fact, and return both.

    Raises UserError if nothing can be logged, RunFailed if the tracker fails.
    """
    content = content_of(run)
    if not content.epochs:
        raise UserError(f"{content.name} has no epoch yet: there is nothing to log", where=str(run.folder))
    tracked = content.config.get("track")
    if isinstance(tracked, list) and name in tracked and is_in_use(run.folder):
        what = f"{content.name} is training, and its config has it logged by track: [{name}]"
        raise UserError(what, where=str(run.folder), fix="wait until it is done")
    try:
        tracker = open_tracker(name, content)
        tracker.update(content)
        tracker.close()
    except UserError:
        raise
    except Exception as error:
        raise RunFailed(f"{TITLES[name]} has not taken {content.name}: {said(error)}") from error
    return tracker, content


def said(error: Exception) -> str:
    """The first line of an exception, or its kind if it has no message."""
    lines, kind = str(error).strip().splitlines(), type(error).__name__
    if not lines:
        return kind
    text = lines[0] if len(lines[0]) <= _LONGEST else f"{lines[0][:_LONGEST]}…"
    return text if isinstance(error, OSError | UserError) else f"{text} ({kind})"
