"""The Vision Transformer: patches, the token, and the outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from made_data import drawn, dropouts_run, loss_after, numbers, size
from torch import nn

from dlrun.architecture.vit import VisionTransformer, patches_of, vit
from dlrun.errors import UserError

SMALL: dict[str, Any] = {"layers": 2, "width": 12, "heads": 3}


@pytest.mark.parametrize(("height", "width", "patch"), [(8, 8, 4), (6, 9, 3), (5, 4, 1)])
def test_there_is_a_position_for_each_patch_and_one_for_the_token(
    height: int, width: int, patch: int
) -> None:
    patches = height * width // patch**2
    for pooling, tokens in (("token", patches + 1), ("mean", patches)):
        model = vit((3, height, width), 4, numbers(), patch_size=patch, pooling=pooling, **SMALL)
        lengths = []
        model.blocks[0].register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))  # noqa: B023
        model(drawn(2, 3, height, width))
        assert lengths == [tokens]
        assert model.positions.vectors.shape == (tokens, 12)


def test_the_first_layer_of_patches_is_a_convolution_without_overlap() -> None:
    images, layer = drawn(2, 3, 8, 12).double(), nn.Linear(3 * 4 * 4, 5).double()
    by_convolution = F.conv2d(images, layer.weight.view(5, 3, 4, 4), layer.bias, stride=4)
    torch.testing.assert_close(layer(patches_of(images, 4)), by_convolution.flatten(2).transpose(1, 2))


def test_the_weights_are_as_many_as_the_formula_says() -> None:
    width, units, classes = 12, 20, 4
    block = 2 * 2 * width + (width + 1) * 3 * width + (width + 1) * width
    block += (width + 1) * units + (units + 1) * width
    rest = (3 * 16 + 1) * width + 2 * block + 2 * width + (width + 1) * classes
    model = vit((3, 8, 12), classes, numbers(), feedforward=units, **SMALL)
    assert size(model) == rest + width + 7 * width
    model = vit((3, 8, 12), classes, numbers(), feedforward=units, pooling="mean", **SMALL)
    assert size(model) == rest + 6 * width


def test_the_papers_base_model_has_86_million_weights() -> None:
    with torch.device("meta"):
        model = vit((3, 224, 224), 1000, numbers(), patch_size=16, layers=12, width=768, heads=12)
    assert round(size(model) / 1e6, 2) == 86.57  # that of torchvision has 86,567,656


def test_the_outputs_are_those_of_the_token_or_of_the_mean() -> None:
    images = drawn(2, 3, 8, 8)
    for pooling in ("token", "mean"):
        model = vit((3, 8, 8), 4, numbers(), pooling=pooling, **SMALL)
        assert isinstance(model, VisionTransformer)
        last: list[torch.Tensor] = []
        model.blocks[-1].register_forward_hook(lambda *given: last.append(given[-1]))  # noqa: B023
        outputs = model(images)
        x = model.norm(last[0])
        torch.testing.assert_close(outputs, model.head(x[:, 0] if pooling == "token" else x.mean(1)))


def test_dropout_acts_in_training_alone() -> None:
    model, images = vit((3, 8, 8), 4, numbers(), dropout=0.5, **SMALL), drawn(2, 3, 8, 8)
    assert not torch.equal(model(images), model(images))
    assert torch.equal(model.eval()(images), model(images))
    assert dropouts_run(model, images) == 1 + 2 * SMALL["layers"]


def test_first_weights_are_those_of_gpt2() -> None:
    torch.manual_seed(0)
    model = vit((3, 16, 16), 50, numbers(), layers=2, width=64, heads=2)
    for name, sd in (("first", 0.02), ("blocks.0.widen", 0.02), ("blocks.1.narrow", 0.01), ("head", 0.02)):
        assert model.get_submodule(name).weight.std().item() == pytest.approx(sd, rel=0.1), name
        assert not model.get_submodule(name).bias.any()


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_it_learns_eight_images_by_heart(pooling: Any) -> None:
    torch.manual_seed(0)
    model = vit((1, 8, 8), 4, numbers(), pooling=pooling, layers=2, width=32, heads=2)
    assert loss_after(60, model, drawn(8, 1, 8, 8), torch.arange(8) % 4) < 0.1


@pytest.mark.parametrize(
    ("build", "what", "fix"),
    [
        (lambda: vit((8,), 4, numbers()), "the inputs are 8", ""),
        (lambda: vit((3, 8, 8), 4, numbers(8, 8)), "a class for each pixel", "unet"),
        (lambda: vit((3, 6, 9), 4, numbers()), "4×4 pixels do not fill images of 6×9", "1 or 3"),
        (lambda: vit((3, 8, 8), 4, numbers(), width=10, heads=4), "4 heads", "width: 8"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(build: Any, what: str, fix: str) -> None:
    with pytest.raises(UserError) as refused:
        build()
    assert what in refused.value.what
    assert fix in refused.value.fix
