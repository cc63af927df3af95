"""dlrun: one YAML file in, one reproducible deep-learning run folder out.

The command line is `dlrun`. From Python, `dlrun.train` trains a config, `dlrun.sweep` many, `dlrun.runs` and
`dlrun.compare` look at what was trained, `dlrun.load` gives the trained model, and `dlrun.part` makes a
function a part that configs name.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in typing, whose import would take longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from dlrun.api.comparing import Comparison, compare
    from dlrun.api.own_parts import part
    from dlrun.api.runs import Run, Runs, runs
    from dlrun.api.sweeps import Sweep, sweep
    from dlrun.api.training import train
    from dlrun.config.mistakes import ConfigError
    from dlrun.errors import CheckpointRefused, Diverged, RunFailed, UserError
    from dlrun.results.trained_model import TrainedModel, load

__version__ = "0.1.0"
_HOMES = {
    "train": "api.training",
    "sweep": "api.sweeps",
    "Sweep": "api.sweeps",
    "runs": "api.runs",
    "Run": "api.runs",
    "Runs": "api.runs",
    "compare": "api.comparing",
    "Comparison": "api.comparing",
    "part": "api.own_parts",
    "load": "results.trained_model",
    "TrainedModel": "results.trained_model",
    "ConfigError": "config.mistakes",
    "UserError": "errors",
    "RunFailed": "errors",
    "Diverged": "errors",
    "CheckpointRefused": "errors",
}
__all__ = [
    "CheckpointRefused",
    "Comparison",
    "ConfigError",
    "Diverged",
    "Run",
    "RunFailed",
    "Runs",
    "Sweep",
    "TrainedModel",
    "UserError",
    "__version__",
    "compare",
    "load",
    "part",
    "runs",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a name at its first use: `import dlrun` itself imports neither PyTorch nor anything else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
