"""The image models of timm, untrained or with its published weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dlrun.blocks.published_weights import PublishedWeights
from dlrun.config.options import Fraction
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError, nearest

_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.")  # of the SHA-256, in the names of some files


def timm(
    shape: tuple[int, ...],
    outputs: int,
    *,
    model: str,
    drop_rate: Fraction = 0.0,
    drop_path_rate: Fraction = 0.0,
) -> nn.Module:
    """An image model of timm by its name: (batch, *shape) -> (batch, outputs).

    It needs the package timm: pip install 'dlrun[timm]'. Weights start as timm draws them, or as `weights`
    says: pretrained, or the tag of other published weights of the model, such as a2_in1k. They are downloaded
    into DATA/weights/; for most files nobody publishes a digest, and a run's summary.json has the one that it
    began with. The dataset then has the `size` and the `normalise` of these weights unless the config states
    its own.

    The first convolution takes as many channels as the images have; for one channel published kernels are
    summed over the colours. Raises UserError for an unknown name, an option that the model does not have, and
    images of a size that it does not take.

    Source: Wightman 2019, github.com/huggingface/pytorch-image-models.

    Args:
        model: Its name in timm, such as resnet18 or vit_tiny_patch16_224; a tag behind a dot, as in
            resnet18.a1_in1k, chooses what pretrained means.
        drop_rate: Share of the features before the last layer that is dropped in training.
        drop_path_rate: Share of examples for which the last residual block is skipped in training; earlier
            blocks are skipped less often (Huang et al. 2016, arXiv 1603.09382).

    Example:
        architecture: {name: timm, model: resnet18.a1_in1k, weights: pretrained}
    """
    if len(shape) != 3:
        raise UserError(f"it takes images, but the inputs are {'×'.join(map(str, shape))}")
    models = _models()
    _refuse_unknown(models, model)
    given = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    about = models.get_pretrained_cfg(model, allow_unregistered=True)
    if about and about.fixed_input_size and about.input_size[1:] != shape[1:]:
        options["img_size"] = shape[1:]
    try:
        network: nn.Module = models.create_model(model, num_classes=outputs, in_chans=shape[0], **options)
    except TypeError as error:
        if unknown := next((name for name in given if name in str(error)), ""):
            raise UserError(f"{model} has no option {unknown}", fix="leave it out") from None
        raise
    except AssertionError as error:
        pixels = f"{shape[1]}×{shape[2]}"
        raise UserError(f"{model} does not take images of {pixels} pixels: {error}") from error
    return network


def published(*, model: str) -> Mapping[str, PublishedWeights]:
    """The weights that timm publishes of a model by their tags; pretrained is the one in the model's name."""
    models = _models()
    _refuse_unknown(models, model)
    name, _, tag = model.partition(".")
    found = dict[str, PublishedWeights]()
    for full in models.list_models(f"{name}.*", pretrained=True):
        found[full.partition(".")[2]] = _published(full, models.get_pretrained_cfg(full))
    usual = tag or models.get_pretrained_cfg(model).tag
    return found | ({"pretrained": found[usual]} if usual in found else {})


def _published(full: str, about: Any) -> PublishedWeights:
    file = about.hf_hub_filename or "model.safetensors"
    url = f"https://huggingface.co/{about.hf_hub_id}/resolve/main/{file}" if about.hf_hub_id else about.url
    digits = "" if about.hf_hub_id else next(iter(_DIGITS.findall(url)), "")
    suffix = "safetensors" if url.endswith(".safetensors") else "pth"
    size = tuple(about.input_size[1:])
    return PublishedWeights(url, f"{full}.{suffix}", digits, tuple(about.mean), tuple(about.std), size)


def _models() -> Any:
    """The package timm. Raises UserError if it is not installed."""
    import_torchvision()  # which timm imports
    try:
        with torch.device("cpu"):  # imported on "meta", its tensors would be lost
            import timm
    except ImportError as error:
        raise UserError(
            f"the package timm cannot be imported: {error}", fix="pip install 'dlrun[timm]'"
        ) from None
    return timm


def _refuse_unknown(models: Any, model: str) -> None:
    """Raise UserError if timm has no model of that name, or no weights of that tag."""
    name, dot, tag = model.partition(".")
    names = models.list_models()
    if name not in names:
        alike = [each for each in names if each[:4] == name[:4]]
        fix = "" if alike else "timm.list_models() gives the names"
        raise UserError(f"timm has no model {name[:80]!r}{nearest(name, alike) if alike else ''}", fix=fix)
    tags = [full.partition(".")[2] for full in models.list_models(f"{name}.*", pretrained=True)]
    if dot and tag not in tags:
        raise UserError(f"timm has no weights {tag[:80]!r} of {name}{nearest(tag, tags)}")
