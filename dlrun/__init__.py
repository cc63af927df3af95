"""dlrun: one YAML file in, one reproducible run folder out.

`dlrun.load(run)` gives the trained model of a run to your own code.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlrun.results.trained_model import TrainedModel, load

__version__ = "0.1.0"
__all__ = ["TrainedModel", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import a name at its first use: `import dlrun` itself imports neither PyTorch nor anything else."""
    if name not in ("TrainedModel", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dlrun.results import trained_model

    return getattr(trained_model, name)
