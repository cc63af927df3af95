"""How many outputs a loss over classes needs."""

from __future__ import annotations

from dlrun.data import Data
from dlrun.errors import UserError


def one_output_per_class(data: Data) -> int:
    """One output for each class. Raises UserError where there is nothing to tell apart."""
    if len(data.classes) < 2:
        raise UserError(f"it needs two or more classes, but the dataset has {len(data.classes)}")
    return len(data.classes)
