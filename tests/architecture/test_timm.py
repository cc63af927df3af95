"""The models of timm are timm's own, with the weights and the preprocessing that it publishes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dlrun.architecture import timm as part
from dlrun.architecture.timm import timm
from dlrun.config.loading import config_from_plain
from dlrun.config.registry import Parts
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError
from dlrun.training.initial_weights import initial_weights
from dlrun.training.layers import layers_of
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan
from dlrun.training.weights_file import with_weights_found

pytestmark = pytest.mark.slow  # timm is imported, which takes as long as many small runs


@pytest.fixture
def models() -> Any:
    import_torchvision()
    return pytest.importorskip("timm", reason="needs the package timm")


def planned(folder: Path, **options: Any) -> Plan:
    """The plan of a model for grey or coloured images in two classes."""
    for kind in ("a", "b"):
        (folder / "photos" / kind).mkdir(parents=True, exist_ok=True)
        (folder / "photos" / kind / "x.png").write_bytes(b"")  # nothing is decoded here
    plain = {
        "name": "fine",
        "dataset": {"name": "image_folder", "path": str(folder / "photos")} | options,
        "architecture": {"name": "timm", "model": "test_resnet", "weights": "pretrained"},
        "loss": "cross_entropy",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "epochs": 1,
        "batch_size": 4,
    }
    parts = Parts()
    config = with_weights_found(config_from_plain(plain, "fine.yaml", parts=parts), parts, Path("runs"))
    return make_plan(config, parts, folder)


def first_of(model: nn.Module) -> nn.Conv2d:
    return next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("colour", [True, False])
def test_published_weights_are_taken_as_timm_takes_them(models: Any, colour: bool, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(7)
    theirs = models.create_model("test_resnet")
    (tmp_path / "weights").mkdir()
    safetensors.save_file(theirs.state_dict(), tmp_path / "weights" / "test_resnet.r160_in1k.safetensors")
    plan = planned(tmp_path, colour=colour)
    config = plan.config
    assert config.architecture.options["weights"] == "r160_in1k"
    assert config.dataset.options["size"] == 160
    assert config.dataset.options["normalise"] == ("half" if colour else [0.5, 0.5])
    begun = initial_weights(plan)
    assert begun is not None and set(begun.match.new) == {"fc.weight", "fc.bias"}
    model = plan.model()
    begun.put_into(model)
    channels = 3 if colour else 1
    kernels = models.models._manipulate.adapt_input_conv(channels, first_of(theirs).weight)
    assert torch.allclose(first_of(model.copies[0]).weight, kernels, atol=1e-6)
    assert torch.equal(model.copies[0].state_dict()["layer4.0.conv1.weight"], theirs.layer4[0].conv1.weight)


def test_a_model_is_the_one_that_timm_makes(models: Any) -> None:
    torch.manual_seed(3)
    ours = timm((3, 64, 64), 5, model="test_resnet.r160_in1k", drop_rate=0.2).eval()
    torch.manual_seed(3)
    theirs = models.create_model("test_resnet.r160_in1k", num_classes=5, drop_rate=0.2).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images)) and ours.drop_rate == 0.2
    for shape in ((1, 96, 96), (3, 160, 160)):  # a transformer of fixed size is made for that of the images
        build = lambda shape=shape: timm(shape, 5, model="test_vit")  # noqa: E731
        assert layers_of(build, shape).output_shape == (5,)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((3, 64, 64), {"model": "resnet181"}, "timm has no model 'resnet181'; did you mean 'resnet18'?"),
        ((3, 64, 64), {"model": "xyz"}, "timm has no model 'xyz'"),
        ((3, 64, 64), {"model": "resnet18.a1_in2k"}, "did you mean 'a1_in1k'? (there are: a1_in1k, a2_in1k"),
        ((3, 64, 64), {"model": "vgg11", "drop_path_rate": 0.1}, "vgg11 has no option drop_path_rate"),
        ((3, 90, 91), {"model": "nest_tiny"}, "does not take images of 90×91 pixels"),
        ((7,), {"model": "resnet18"}, "it takes images, but the inputs are 7"),
    ],
)
def test_what_timm_has_not_or_does_not_take_is_refused(
    models: Any, shape: tuple[int, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as refused:
        layers_of(lambda: timm(shape, 10, **options), shape)
    assert said in refused.value.what


def test_each_of_its_published_weights_has_an_address(models: Any) -> None:
    for name in models.list_models(pretrained=True)[::40]:
        found = part.published(model=name)
        about = models.get_pretrained_cfg(name)
        usual = found["pretrained"]
        assert usual == found[about.tag] and usual.size == about.input_size[1:]
        assert (usual.mean, usual.deviation) == (about.mean, about.std)
        assert all(each.url.startswith("https://") and each.file for each in found.values())


def test_without_the_package_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError) as refused:
        timm((3, 64, 64), 5, model="resnet18")
    assert refused.value.what.startswith("the package timm cannot be imported")
    assert refused.value.fix == "pip install 'dlrun[timm]'"
