"""The config of a run as Python sees it: nested as its file is, and asked by dotted keys too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlrun.errors import UserError, nearest


class ConfigOfRun(dict[str, Any]):
    """A config as nested dicts, which can be trained again; dotted keys such as `optimizer.lr` work too."""

    def __missing__(self, key: str) -> Any:
        """The value of a dotted key. Raises UserError, with a key that is close, if there is none."""
        found: Any = dict(self)
        for step in key.split("."):
            if not isinstance(found, Mapping) or step not in found:
                known = found if isinstance(found, Mapping) else ()
                raise UserError(f"the config has no key {key}{nearest(step, list(known))}")
            found = found[step]
        return found
