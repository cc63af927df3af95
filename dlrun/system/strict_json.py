"""Strict JSON, which has no NaN and no infinity."""

from __future__ import annotations

import math
from typing import Any


def finite(content: Any) -> Any:
    """The content with every number that is not finite replaced by None."""
    if isinstance(content, dict):
        return {key: finite(item) for key, item in content.items()}
    if isinstance(content, list | tuple):
        return [finite(item) for item in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
