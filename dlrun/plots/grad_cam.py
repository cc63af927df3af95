"""Grad-CAM: the places of an image where a layer finds what speaks for the predicted class."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dlrun.config.options import Few, NonNegativeInt
from dlrun.drawing.explained_images import explained_images, outputs_for_class, overlays
from dlrun.drawing.layers import layer_called, layers_of_kind
from dlrun.drawing.style import shown
from dlrun.errors import UserError
from dlrun.training.trained import Trained

task = "classification"
inputs = "images"


def grad_cam(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    images: Few = 3,
    image: NonNegativeInt | None = None,
    layer: str | None = None,
) -> Figure:
    """Grad-CAM: where the maps of a layer speak for the predicted class, over some images.

    Each map counts by the mean gradient of the output for that class, before softmax; of their sum what is
    above 0 is enlarged to the image. "Nothing found" says that it is nowhere above 0. The model is the first
    copy. Selvaraju et al., 2016, arXiv 1610.02391.

    Args:
        split: Split to take images from; auto: valid, or without it test, or train.
        images: Errors to show, the most confident ones, and as many correct images, drawn at random.
        image: Number of the only image to show, from 0; null: errors and correct ones.
        layer: Layer whose maps are taken, as `dlrun show` names it, or a block such as layer4; null: the last
            convolution.
    """
    found = explained_images(trained, "grad_cam", trained.chosen(split), images, image)
    name = last_convolution(trained) if layer is None else layer
    module = layer_called(trained, "grad_cam", name)
    maps = found.of_each(partial(class_activation, trained, name, module))
    what = f"Grad-CAM of the layer {shown(name, 30)}"
    return overlays(trained, found, maps, what, "speaks for the predicted class, per image:")


def last_convolution(trained: Trained) -> str:
    """The name of the last convolution. Raises UserError if there is none."""
    if found := layers_of_kind(trained, nn.Conv2d):
        return list(found)[-1]
    what = "grad_cam: the model has no convolution, so that there is no layer to take by itself"
    raise UserError(what, fix="name one that gives maps as grad_cam.layer, or draw saliency or occlusion")


def class_activation(trained: Trained, name: str, layer: nn.Module, inputs: Tensor, said: int) -> Tensor:
    """The part above 0 of Σ_k α_k A_k, as large as the inputs (n, channels, height, width).

    A_k are the maps of the layer (n, maps, …), α_k the mean over their places of the gradient of the output
    for a class. Raises UserError if the layer gives no maps, or the output does not depend on them.
    """
    kept: list[Any] = []

    def keep(layer: nn.Module, given: Any, maps: Any) -> Any:
        kept.append(maps)
        # A later layer may work in place, which would put other numbers into what is kept.
        return maps.clone() if isinstance(maps, Tensor) else maps

    hook = layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            output = outputs_for_class(trained, inputs.detach().clone().requires_grad_(), said).sum()
            maps = kept[-1] if kept else None
            if not isinstance(maps, Tensor) or maps.dim() != 4:
                size = "×".join(map(str, maps.shape[1:])) if isinstance(maps, Tensor) else "something else"
                what = f"grad_cam: {name} gives {size or 'one number'}, not maps (channels, height, width)"
                raise UserError(what, fix="name a convolution as grad_cam.layer, or leave it out")
            [gradient] = torch.autograd.grad(output, maps, allow_unused=True)
    finally:
        hook.remove()
    if gradient is None:
        raise UserError(f"grad_cam: the output does not depend on {name}", fix="name another layer")
    sums = (gradient.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True).clamp_min(0)
    return interpolate(sums, inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]
