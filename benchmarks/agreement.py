"""Contestants that do the same learn the same: checked before their times are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TOLERANCES = {"losses": 0.02, "test_accuracies": 0.02}  # of dlrun's; orders of their own move them by less


def agree(found: Mapping[str, dict[str, Any]], columns: Sequence[str] = tuple(TOLERANCES)) -> None:
    """Raise RuntimeError where a contestant has learnt something else than dlrun.

    All begin with the same weights. Each column is compared at the last epoch that all of them reached.
    """
    for column in columns:
        tolerance = TOLERANCES[column]
        epoch = min(len(figures[column]) for figures in found.values()) - 1
        ours = found["dlrun"][column][epoch]
        for name, figures in found.items():
            if not abs(figures[column][epoch] - ours) <= tolerance * ours:  # nan is no agreement either
                raise RuntimeError(
                    f"after epoch {epoch + 1} {name} has {column} {figures[column][epoch]:.4f}, dlrun "
                    f"{ours:.4f}: they do not train alike, so their times cannot be compared"
                )


def said() -> str:
    """The sentence that a section says of it."""
    loss, accuracy = TOLERANCES.values()
    return (
        f"All begin with the same weights. Checked in each round: training losses are within {loss:.0%} "
        f"of dlrun's, test accuracies within {accuracy:.0%}."
    )
