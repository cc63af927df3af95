"""What JSON can hold and what not."""

from __future__ import annotations

import math
from typing import Any


def finite(content: Any) -> Any:
    """The content as strict JSON can hold it: what is not finite becomes None."""
    if isinstance(content, dict):
        return {key: finite(item) for key, item in content.items()}
    if isinstance(content, list | tuple):
        return [finite(item) for item in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
