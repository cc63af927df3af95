"""Examples: read from tables, images and archives, held on the device, given a batch at a time.

What a dataset of one's own needs is imported from here: `from dlrun.data import Data, Examples`.
"""

from typing import Any

__all__ = ["Data", "Examples", "Preprocessing", "Progress", "Split", "Task", "carve", "no_progress"]
_EARLIER = {"Watching": "Progress", "unwatched": "no_progress"}  # names that parts may still import


def __getattr__(name: str) -> Any:
    """One of these names, and PyTorch with it only now: what needs no examples starts without."""
    name = _EARLIER.get(name, name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dlrun.data import examples

    return getattr(examples, name)
