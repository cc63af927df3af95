"""The `normalise` options of image datasets: functions that fit the preprocessing of uint8 pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.data.examples import Examples, Preprocessing
from dlrun.data.trees import Tree, single


def unit(training: Examples) -> Preprocessing:
    """Scale pixels from 0 … 255 to 0 … 1."""
    return Preprocessing(scale=torch.tensor(255.0))


def half(training: Examples) -> Preprocessing:
    """Scale pixels from 0 … 255 to -1 … 1: (x - 0.5) / 0.5 after scaling to 0 … 1."""
    return Preprocessing(torch.tensor(127.5), torch.tensor(127.5))


def train(training: Examples) -> Preprocessing:
    """Standardise each channel to mean 0 and standard deviation 1 over the training images (n, c, h, w)."""
    values = torch.arange(256, dtype=torch.float64)
    channels = single(training.inputs).shape[1]
    counts = sum(map(_counts, training.pieces()), torch.zeros(channels, 256, dtype=torch.long))
    shares = counts.double() / counts.sum(1, keepdim=True)
    means = shares @ values
    deviations = (shares * (values - means.unsqueeze(1)).square()).sum(1).sqrt().clamp_min(1e-6)
    return Preprocessing(means.float().view(-1, 1, 1), deviations.float().view(-1, 1, 1))


def _counts(images: Tree) -> Tensor:
    """Count the values 0 to 255 in each channel of some images, (c, 256)."""
    channels = single(images).transpose(0, 1)
    return torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in channels])


FITS = {"unit": unit, "half": half, "train": train}
