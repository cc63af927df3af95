"""Figures of a report with the unit of the targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.comparison_notes import figure_of


def unit_of(summary: Mapping[str, Any]) -> str:
    """The unit of the targets of a run; "" if there is none, or an earlier dlrun has not recorded it."""
    return str(summary["data"]["unit"]) if summary["data"] else ""


def with_unit(name: str, unit: str, parts: Parts, figure: str = "") -> str:
    """The name of a column, or of a `figure` that is given, and the unit of the targets if it is in that."""
    figure = figure or figure_of(name)
    if not unit or figure not in parts.names("metrics"):
        return name
    try:
        is_in_unit = parts.part("metrics", figure).constants.get("in_target_unit") is True
    except UserError:  # a file of one's own that cannot be read
        return name
    return f"{name}, {unit}" if is_in_unit else name
