"""Data: examples read from tables, images and archives, held on the device, and loaded in batches.

A dataset of your own imports what it needs from here: `from dlrun.data import Data, Examples`.
"""

from typing import Any

__all__ = ["Data", "Examples", "Preprocessing", "Progress", "Split", "Task", "carve", "no_progress"]
_EARLIER = {
    "Watching": "Progress",
    "unwatched": "no_progress",
    "Loaded": "Loaded",
}  # that parts may still import


def __getattr__(name: str) -> Any:
    """Import a name at its first use, so that commands without examples start without PyTorch."""
    if name not in (*__all__, *_EARLIER):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dlrun.data import examples, hold_out, loaded, preprocessing
    from dlrun.system import progress

    name = _EARLIER.get(name, name)
    homes = (examples, preprocessing, hold_out, progress, loaded)
    return next(getattr(home, name) for home in homes if hasattr(home, name))
