"""Saliency: the pixels to which the output for the predicted class is most sensitive."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.config.options import Few, NonNegativeInt
from dlrun.drawing.explained_images import explained_images, outputs_for_class, overlays
from dlrun.training.trained import Trained

task = "classification"
inputs = "images"


def saliency(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    images: Few = 3,
    image: NonNegativeInt | None = None,
) -> Figure:
    """Saliency: how strongly each pixel changes the output for the predicted class, over some images.

    It is the absolute gradient of that output, before softmax, with respect to the prepared image, the
    largest of its channels. The model is the first copy. Simonyan et al., 2013, arXiv 1312.6034.

    Args:
        split: Split to take images from; auto: valid, or without it test, or train.
        images: Errors to show, the most confident ones, and as many correct images, drawn at random.
        image: Number of the only image to show, from 0; null: errors and correct ones.
    """
    found = explained_images(trained, "saliency", trained.chosen(split), images, image)
    maps = found.of_each(partial(sensitivity, trained))
    return overlays(trained, found, maps, "Saliency", "|gradient| of the predicted class, per image:")


def sensitivity(trained: Trained, inputs: Tensor, said: int) -> Tensor:
    """The largest absolute gradient over channels (n, height, width) of the output for a class."""
    with torch.enable_grad():
        inputs = inputs.detach().clone().requires_grad_()
        [gradient] = torch.autograd.grad(outputs_for_class(trained, inputs, said).sum(), inputs)
    return gradient.abs().amax(1)
