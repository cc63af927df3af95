"""How pixels become numbers, for every dataset of images."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.data import Preprocessing


def unit(inputs: Tensor) -> Preprocessing:
    """From 0 … 255 to 0 … 1."""
    return Preprocessing(scale=torch.tensor(255.0))


def half(inputs: Tensor) -> Preprocessing:
    """From 0 … 255 to -1 … 1: (x - 0.5) / 0.5 of what is 0 … 1."""
    return Preprocessing(torch.tensor(127.5), torch.tensor(127.5))


def train(inputs: Tensor) -> Preprocessing:
    """To mean 0 and standard deviation 1 for each channel of the training images (n, c, h, w), uint8."""
    means, deviations = [], []
    values = torch.arange(256, dtype=torch.float64)
    for channel in inputs.transpose(0, 1):
        shares = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = shares @ values
        means.append(mean)
        deviations.append((shares @ (values - mean).square()).sqrt().clamp_min(1e-6))
    shape = (-1, 1, 1)
    return Preprocessing(torch.stack(means).float().view(shape), torch.stack(deviations).float().view(shape))


FITS = {"unit": unit, "half": half, "train": train}
