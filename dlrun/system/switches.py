"""The switch that an environment variable sets, read without PyTorch."""

from __future__ import annotations

import os

from dlrun.errors import UserError

FAST_PATHS = "DLRUN_FAST_PATHS"
_OFF, _ON = ("0", "off", "false", "no"), ("", "1", "on", "true", "yes")


def has_fast_paths() -> bool:
    """Return whether the shortcuts of training/fast_paths.py are taken: always, unless DLRUN_FAST_PATHS=0.

    Raises UserError for a value that is neither on nor off.
    """
    value = os.environ.get(FAST_PATHS, "")
    if value.lower() not in (*_OFF, *_ON):
        what = f"{FAST_PATHS}={value!r} is neither on nor off"
        raise UserError(what, where="environment", fix=f"set {FAST_PATHS}=0 or {FAST_PATHS}=1, or unset it")
    return value.lower() not in _OFF
