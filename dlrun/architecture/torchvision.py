"""The classification models of torchvision, untrained or with its published weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dlrun.blocks.published_weights import PublishedWeights
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError, listed, nearest

# Published files have names that torchvision has changed since: patterns, and what stands there now.
former_names = {
    r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)": r"\1\2",
    r"\.mlp\.linear_1\.": ".mlp.0.",
    r"\.mlp\.linear_2\.": ".mlp.3.",
}
# With weights torchvision changes the scale of ImageNet, which its transforms give, inside of these models.
_OF_ANOTHER_SCALE = ("googlenet", "inception_v3")
models = import_torchvision().models  # at module level: imported on "meta", its tensors would be lost


def torchvision(shape: tuple[int, ...], outputs: int, *, model: str, small_images: bool = False) -> nn.Module:
    """A classification model of torchvision by its name: (batch, *shape) -> (batch, outputs).

    Weights start as torchvision draws them, or as `weights` says, such as DEFAULT, the best that it publishes
    of the model, or IMAGENET1K_V1. They are downloaded into DATA/weights/ and checked by the digest in the
    file's name. The dataset then has the `size` and the `normalise` of these weights unless the config states
    its own.

    The first convolution takes as many channels as the images have; for one channel published kernels are
    summed over the colours.

    Raises UserError for an unknown name, and for images of a size that the model does not take.

    Args:
        model: Its name in torchvision, such as resnet18 or efficientnet_b0.
        small_images: Give a ResNet the first layer that it has for 32×32 pixels, a 3×3 convolution of stride
            1 without pooling, instead of a 7×7 convolution of stride 2 and a pooling for 224×224 (He et al.
            2015, arXiv 1512.03385, section 4.2).

    Example:
        architecture: {name: torchvision, model: resnet18, weights: DEFAULT}
    """
    if len(shape) != 3:
        raise UserError(f"it takes images, but the inputs are {'×'.join(map(str, shape))}")
    refuse_unknown(model)
    if small_images and not is_resnet(model):
        resnets = filter(is_resnet, models.list_models(module=models))
        fix = f"leave small_images out, or take a ResNet {listed(resnets)}"
        raise UserError(
            f"{model} has no first layer for large images that small_images could replace", fix=fix
        )
    network: nn.Module = built(model, outputs, *shape[1:])
    take_channels(network, shape[0])
    if small_images:
        take_small_images(network, shape[0])
    return network


def published(*, model: str, small_images: bool = False) -> Mapping[str, PublishedWeights]:
    """The weights that torchvision publishes of a model by their names; DEFAULT is the best of them."""
    refuse_unknown(model)
    found = dict[str, PublishedWeights]()
    for weights in models.get_model_weights(model):
        file, transforms = weights.url.rsplit("/", 1)[-1], weights.transforms()
        mean, deviation = tuple(transforms.mean), tuple(transforms.std)
        if model in _OF_ANOTHER_SCALE:
            mean, deviation = (0.5,) * 3, (0.5,) * 3
        size = None if small_images else (transforms.crop_size[0],) * 2
        digits = file.removesuffix(".pth").rsplit("-", 1)[-1]
        found[weights.name] = PublishedWeights(weights.url, file, digits, mean, deviation, size)
    return found | {"DEFAULT": found[models.get_model_weights(model).DEFAULT.name]}


def refuse_unknown(model: str) -> None:
    """Raise UserError if torchvision has no classification model of that name."""
    names = models.list_models(module=models)
    if model not in names:
        raise UserError(f"torchvision has no classification model {model[:80]!r}{nearest(model, names)}")


def is_resnet(model: str) -> bool:
    """True if the model is a ResNet, a ResNeXt or a wide ResNet."""
    return bool(models.get_model_builder(model).__module__.endswith(".resnet"))


def built(model: str, outputs: int, height: int, width: int) -> Any:
    """The model for images of that size and three channels. Raises UserError if it does not take them."""
    options: dict[str, Any] = {}
    if model in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}  # one output, in training mode too
    elif model.startswith("vit_"):
        options = {"image_size": height}
    elif model.startswith("maxvit_"):
        options = {"input_size": (height, width)}
    # RegNets compute their widths with tensors, whose values cannot be read on "meta".
    device = torch.get_default_device()
    try:
        if "image_size" in options and height != width:
            raise ValueError("they must be square")
        with torch.device("cpu" if model.startswith("regnet_") else device):
            return models.get_model(model, weights=None, num_classes=outputs, **options).to(device)
    except (ValueError, AssertionError) as error:
        raise UserError(f"{model} does not take images of {height}×{width} pixels: {error}") from error


def take_channels(network: nn.Module, channels: int) -> None:
    """Give the first convolution new weights for `channels` channels, with the same standard deviation."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    if first.in_channels != channels:
        spread = first.weight.detach().std()
        first.weight = nn.Parameter(spread * torch.randn(first.out_channels, channels, *first.kernel_size))
        first.in_channels = channels


def take_small_images(resnet: Any, channels: int) -> None:
    """Replace a ResNet's first layers by those for small images, initialised as torchvision does."""
    first = nn.Conv2d(channels, resnet.conv1.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    resnet.conv1, resnet.maxpool = first, nn.Identity()
