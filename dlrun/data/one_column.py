"""The share of a target that a single column tells, judged on rows that it was not fitted to."""

from __future__ import annotations

import numpy as np

_BINS = 16
_FEW = 32  # different values that are each a bin of their own
_PRIOR = 1.0  # row like the average that is added to each bin, so that rare values tell little


def share_told(
    values: np.ndarray, targets: np.ndarray, *, are_classes: bool, are_categories: bool = False
) -> float:
    """The share of the targets that the values (n,) of one column tell, from 0 to 1.

    Of numbers (n, 1) it is R² of the means of bins; of classes (n, classes), 1 in the column of the class,
    the share of their entropy that is known from the bin. Each half of the rows is judged by the other.
    Values are numbers, never nan; those that are categories have no order, and each is a bin of its own.
    """
    error, without = 0.0, 0.0
    is_odd = np.arange(len(values)) % 2 == 1
    for half in (is_odd, ~is_odd):
        bins, own = _bins(values[~half], values[half], are_categories)
        average = targets[~half].mean(0)
        most = int(own.max(initial=0)) + 1
        sums = np.stack([np.bincount(bins, column, most) for column in targets[~half].T], 1)
        sizes = np.bincount(bins, minlength=most)[:, None]
        told = (sums + _PRIOR * average) / (sizes + _PRIOR)
        error += _loss(targets[half], told[own], are_classes)
        without += _loss(targets[half], np.broadcast_to(average, targets[half].shape), are_classes)
    return max(0.0, 1 - error / without) if without else 0.0


def _bins(known: np.ndarray, own: np.ndarray, are_categories: bool) -> tuple[np.ndarray, np.ndarray]:
    """The bins of known values and those of other values; a category that is not known has an empty one."""
    different = np.unique(known)
    if are_categories:
        places = np.searchsorted(different, own).clip(max=len(different) - 1)
        is_known = different[places] == own
        return np.searchsorted(different, known), np.where(is_known, places, len(different))
    if len(different) > _FEW:
        borders = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
        return np.searchsorted(borders, known, "right"), np.searchsorted(borders, own, "right")
    borders = (different[1:] + different[:-1]) / 2
    return np.searchsorted(borders, known), np.searchsorted(borders, own)


def _loss(targets: np.ndarray, told: np.ndarray, are_classes: bool) -> float:
    """The squared error of numbers, or the cross entropy of the shares of classes."""
    if not are_classes:
        return float(np.square(targets - told).sum())
    # a class that the other half of the rows has not is left out: nothing could tell it
    return float(-(targets * np.log(np.where(told > 0, told, 1.0))).sum())
