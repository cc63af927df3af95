"""Types for the options in the signatures of parts, beyond int, float, bool and str."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, Predicate

from dlrun.config.durations import is_duration

__all__ = [
    "Activation",
    "Average",
    "Claim",
    "Count",
    "Duration",
    "Few",
    "Folds",
    "Fraction",
    "Many",
    "NonNegative",
    "NonNegativeInt",
    "Normalise",
    "Positive",
    "Resize",
    "Seed",
    "Threads",
]

MOST_FOLDS = 1000  # of a cross-validation
Count = Annotated[int, Ge(1)]
Few = Annotated[int, Ge(1), Le(100)]  # rows, columns, panels
Many = Annotated[int, Ge(1), Le(1000)]  # bars, small pictures
Folds = Annotated[int, Ge(2), Le(MOST_FOLDS)]
NonNegativeInt = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]
Threads = Annotated[int, Ge(1), Le(1024)]  # bounded, for PyTorch starts any number
Duration = Annotated[str, "a duration such as 45s, 1h30m or 3:50:00", Predicate(is_duration)]
Claim = Annotated[str, "a claim such as '>= 0.94'"]  # the string describes the type in messages
Average = Literal["macro", "micro", "weighted", "binary"]
Normalise = Literal["unit", "half", "train"]
Resize = Literal["crop", "pad", "stretch"]
Activation = Literal["identity", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "softplus", "gelu", "silu"]
