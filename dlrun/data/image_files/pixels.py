"""The `normalise` options of image datasets: functions that fit the preprocessing of uint8 pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dlrun.data.examples import Examples
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree, single
from dlrun.errors import UserError


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


def imagenet(training: Examples) -> Preprocessing:
    """Standardise colours by the means and deviations of ImageNet, as models trained on it expect."""
    return _by(*NAMED["imagenet"])


def _by(mean: Sequence[float], deviation: Sequence[float]) -> Preprocessing:
    """Standardise pixels by the mean and the deviation of each channel, of pixels from 0 to 1."""
    offset, scale = (255 * torch.tensor(each).view(-1, 1, 1) for each in (mean, deviation))
    return Preprocessing(offset, scale)


# The mean and the deviation of each colour, of pixels from 0 to 1.
NAMED = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}
FITS = {"unit": unit, "half": half, "train": train, "imagenet": imagenet}


def pixel_fit(
    normalise: str | Sequence[float | Sequence[float]], channels: int
) -> Callable[[Examples], Preprocessing]:
    """The function that an option `normalise` names, or that of its mean and deviation.

    Raises UserError if they are not two numbers, or lists of one for each channel.
    """
    if isinstance(normalise, str):
        if normalise == "imagenet" and channels != 3:
            raise UserError("normalise: imagenet is for colours", fix="set dataset.colour=true")
        return FITS[normalise]
    each = [list(one) if isinstance(one, Sequence) else [one] * channels for one in normalise]
    if len(each) != 2 or any(len(one) != channels for one in each) or not min(each[-1], default=0) > 0:
        what = f"normalise is {list(normalise)}, but must be [mean, deviation] of pixels from 0 to 1"
        raise UserError(what, fix=f"write two numbers, or two lists of {channels}; deviations are above 0")

    def fit(training: Examples) -> Preprocessing:
        return _by(each[0], each[1])

    return fit
