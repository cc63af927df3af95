"""Figures: their names in words, probabilities, and means and standard deviations over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from statistics import fmean, stdev
from typing import Any

from dlrun.config.keys import AVERAGED

_SPLITS = {"train": "training", "trainset": "training", "valid": "validation", "test": "test"}
_NAMES = {
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "iou": "IoU",
    "f1": "F1",
    "top5": "top-5 accuracy",
    "top_k": "top-k accuracy",
    "bits_per_character": "bits per character",
    "exact_match": "exact match",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "matthews": "Matthews correlation",
    "kappa": "Cohen's kappa",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "ECE",
    "mape": "MAPE",
    "smape": "sMAPE",
    "medae": "MedAE",
    "msle": "MSLE",
    "explained_variance": "explained variance",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "pinball": "pinball loss",
    "recall_at_k": "recall@k",
}


def figure_name(figure: str) -> str:
    """The loss or a metric as texts call it: `R²` of r2."""
    return _NAMES.get(figure, figure)


def column_name(column: str) -> str:
    """A column of metrics.csv as texts call it: `validation MAE` of valid_mae; others stay as they are."""
    split, _, figure = column.partition("_")
    if not figure or split not in _SPLITS:
        return column
    of_average = ", averaged weights" if figure.endswith(AVERAGED) else ""
    return f"{_SPLITS[split]} {figure_name(figure.removesuffix(AVERAGED))}{of_average}"


def share(probability: float) -> str:
    """A probability between 0 and 1 with three digits, or so many that it is not rounded to 1."""
    return next(text for n in (3, 6, 17) if float(text := f"{probability:.{n}g}") < 1)


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds, nan if a value is not finite; None for a single seed."""
    if len(values) < 2:
        return None
    return stdev(values) if all(map(isfinite, values)) else nan


def summarised(figures: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """For each column its mean, standard deviation and values over seeds."""
    return {
        column: {"mean": fmean(values), "sd": spread(values), "values": list(values)}
        for column, values in figures.items()
    }
