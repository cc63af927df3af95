"""Test-time augmentation averages a model's outputs over exact views, and tells what it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from small_runs import own_parts, planned, trained
from torch import Tensor
from torch.nn import functional as F

import dlrun
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.training.calibration import divide
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.evaluation import _harm_of_views, evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.test_time_augmentation import VIEWS, Views, take_views, views_of
from dlrun.training.trained import Trained

NAMES = get_args(Views)
Change = Callable[[Tensor], Tensor]

# Each view as functions there and back, written without those of the module.
BY_HAND: dict[str, list[tuple[Change, Change]]] = {
    "flip": [(lambda x: x, lambda y: y), (lambda x: x.flip(-1), lambda y: y.flip(-1))],
    "flips": [
        (lambda x, axes=axes: x.flip(axes), lambda y, axes=axes: y.flip(axes))  # type: ignore[misc]
        for axes in ([], [-1], [-2], [-2, -1])
    ],
    "d4": [
        (
            lambda x, k=k, axes=axes: torch.rot90(x.flip(axes), k, (-2, -1)),  # type: ignore[misc]
            lambda y, k=k, axes=axes: torch.rot90(y, 4 - k, (-2, -1)).flip(axes),  # type: ignore[misc]
        )
        for axes in ([], [-1])
        for k in range(4)
    ],
}
CNN = {"name": "cnn", "channels": [3], "kernel_size": 3, "padding": 1, "hidden": [6], "activation": "tanh"}
DOTS: dict[str, Any] = {"dataset": "dots", "architecture": CNN}
SHAPES: dict[str, Any] = {
    "dataset": {"name": "shapes", "images": 8, "test_images": 4, "size": 16},
    "architecture": {"name": "unet", "channels": 2, "depth": 1},
}
WIDE: dict[str, Any] = {"dataset": "wide", "loss": "mse", "metrics": [], "architecture": CNN}
PARTS = {
    "architecture/pointwise.py": '''
"""Each pixel by itself."""
from torch import nn
from dlrun.config.options import Count


def pointwise(shape, outputs, *, channels: Count = 4, flat: bool = False):
    """A convolution that sees one pixel."""
    layers = [nn.Conv2d(shape[0], channels, 1), nn.Tanh()]
    return nn.Sequential(*layers, nn.Conv2d(channels, channels, 1), *[nn.Flatten()] * flat)
''',
    "architecture/mapped.py": '''
"""Classes, and a map of half the size."""
from torch import nn


def mapped(shape, outputs):
    """Two outputs by name."""
    return Mapped(outputs)


class Mapped(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.coarse, self.last = nn.Conv2d(1, 1, 2, stride=2), nn.Linear(16, outputs)

    def forward(self, inputs):
        coarse = self.coarse(inputs)
        return {"outputs": self.last(coarse.flatten(1)), "coarse": coarse}
''',
    "loss/of_main.py": '''
"""Cross entropy of the outputs that predict."""
from torch.nn import functional as F

task = "classification"


def of_main(outputs, targets):
    """Of one output among others."""
    main = outputs["outputs"] if isinstance(outputs, dict) else outputs
    return F.cross_entropy(main, targets, reduction="none")
''',
    "dataset/wide.py": '''
"""Images of 4×6 pixels with the brightness of their left half."""
import torch
from dlrun.data.examples import Data, Examples


def wide(root, *, task: str = "regression"):
    """A number for each image."""

    def read():
        images = torch.randn(30, 1, 4, 6, generator=torch.Generator().manual_seed(1))
        some = {"train": images[:20], "test": images[20:]}
        return {name: Examples(own, own[..., :3].mean((1, 2, 3)).unsqueeze(1)) for name, own in some.items()}

    return Data(task, (1, 4, 6), read)
''',
}


Made = Callable[..., Run]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return own_parts(tmp_path_factory.mktemp("own"), PARTS)


@pytest.fixture(scope="module")
def made(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """made(**changes) gives a trained run, the same one whenever the changes are the same."""
    runs: dict[str, Run] = {}

    def make(**changes: Any) -> Run:
        key = json.dumps(changes, sort_keys=True)
        if key not in runs:
            plan = planned(parts, **{"epochs": 2, "seeds": [0, 1], **changes})
            runs[key] = trained(plan, tmp_path_factory.mktemp("runs"))
        return runs[key]

    return make


def opened(run: Run, parts: Parts) -> tuple[Trained, Checkpoint]:
    return open_checkpoint(run.best, run, [], parts, run.folder)


@torch.no_grad()
def by_hand(views: str, run: Run, parts: Parts, images: Tensor, seed: int = 0) -> list[Any]:
    """The outputs of one seed for each view of raw images, as they stand in the view."""
    model = dlrun.load(run.folder, seed=seed, parts=parts.folder).model
    return [model(there(images)) for there, _ in BY_HAND[views]]


def mean_of(each: list[Tensor]) -> Tensor:
    return torch.stack(each).double().mean(0).float()


# ------------------------------------------------------------------------ the mean over views


@pytest.mark.parametrize("stacked", [False, True], ids=["apart", "stacked"])
def test_outputs_are_the_means_of_a_loop_by_hand(stacked: bool, parts: Parts, made: Made) -> None:
    run = made(**DOTS, stacked=stacked)
    plain, _ = opened(run, parts)
    images, before = plain.loaded["test"].raw(), plain.outputs("test")[0]
    for views in NAMES:
        outputs, _ = take_views(plain, views).outputs("test")
        for seed in (0, 1):
            each = by_hand(views, run, parts, images, seed)
            mean = mean_of(each)
            assert torch.equal(outputs[seed], mean) if not stacked else torch.allclose(outputs[seed], mean)
            assert not torch.allclose(mean, each[0])
    plain = replace(plain, _outputs={})
    assert torch.equal(plain.outputs("test")[0], before), "the model itself has none"


def test_a_seed_is_averaged_as_it_would_be_alone(parts: Parts, made: Made) -> None:
    [both, alone] = [made(**DOTS, seeds=seeds) for seeds in ([0, 1], [1])]
    together, one = (take_views(opened(run, parts)[0], "d4").outputs("test")[0] for run in (both, alone))
    assert torch.equal(together[1], one[0])


def test_each_view_is_computed_in_the_precision_of_the_model(parts: Parts, made: Made) -> None:
    run = made(**DOTS, precision="bfloat16")
    plain, _ = opened(run, parts)
    images = plain.loaded["test"].raw()
    each = [plain.outputs_at(some) for some in (images, images.flip(-1))]
    found = take_views(plain, "flip").outputs_at(images)
    assert torch.equal(found, mean_of(each))
    assert found.dtype == torch.float32 and not torch.equal(found, found.bfloat16().float())


def test_log_probabilities_are_normalised_as_softmax_does_with_logits(parts: Parts, made: Made) -> None:
    mlp = {"name": "mlp", "hidden": [6], "flatten": True}
    logits, logarithms = (
        opened(made(dataset="dots", architecture=mlp | {"output_activation": last}, loss=loss), parts)
        for last, loss in (("identity", "cross_entropy"), ("log_softmax", "nll"))
    )
    shares = []
    for plain, saved in (logits, logarithms):
        viewed = take_views(plain, "flips")
        shares.append(viewed.decision.probabilities(viewed.outputs("test")[0]))
        report = evaluate_run(viewed, saved, Path("best.pt"), "test")
        losses = [float(F.nll_loss(own.log(), viewed.loaded["test"].targets)) for own in shares[-1]]
        assert [report["per_seed"][seed]["loss"] for seed in "01"] == pytest.approx(losses, rel=1e-5)
    assert torch.allclose(*shares, atol=1e-5) and torch.allclose(shares[1].sum(-1), torch.ones(2, 20))


@pytest.mark.parametrize("views", NAMES)
def test_views_are_symmetries_that_are_undone_exactly(views: Views) -> None:
    images = torch.arange(24.0).view(2, 3, 2, 2) if views == "d4" else torch.arange(36.0).view(2, 3, 2, 3)
    found = [view.of(images) for view in VIEWS[views]]
    assert torch.equal(found[0], images)
    assert {str(own.tolist()) for own in found} == {
        str(there(images).tolist()) for there, _ in BY_HAND[views]
    }
    assert len({str(own.tolist()) for own in found}) == {"flip": 2, "flips": 4, "d4": 8}[views]
    for view, own in zip(VIEWS[views], found, strict=True):
        assert torch.equal(view.undone(own), images)


# ------------------------------------------------------------------------ outputs with pixels


@pytest.mark.parametrize(
    "changes",
    [
        SHAPES | {"architecture": "pointwise"},
        {"dataset": "dots", "task": "reconstruction", "loss": "mse", "metrics": []}
        | {"architecture": {"name": "pointwise", "channels": 1}},
        {"dataset": "dots", "task": "reconstruction", "loss": "mse", "metrics": []}
        | {"architecture": {"name": "pointwise", "channels": 1, "flat": True}},
    ],
    ids=["pixels", "reconstruction", "reconstruction in a row"],
)
def test_a_model_that_sees_single_pixels_gives_the_same_bits(
    changes: dict[str, Any], parts: Parts, made: Made
) -> None:
    plain, _ = opened(made(**changes), parts)
    for views in NAMES:
        assert torch.equal(take_views(plain, views).outputs("test")[0], plain.outputs("test")[0])


def test_pixels_are_turned_back_before_the_mean(parts: Parts, made: Made) -> None:
    run = made(**SHAPES, seeds=[0])
    plain, _ = opened(run, parts)
    for views in NAMES:
        outputs = by_hand(views, run, parts, plain.loaded["test"].raw())
        each = [back(own) for own, (_, back) in zip(outputs, BY_HAND[views], strict=True)]
        found, _ = take_views(plain, views).outputs("test")
        assert torch.equal(found[0], mean_of(each))
        assert not torch.allclose(found[0], each[0])


def test_further_outputs_are_means_too_and_images_need_not_be_square(parts: Parts, made: Made) -> None:
    run = made(**WIDE | {"loss": "gaussian_nll", "seeds": [0]})
    plain, _ = opened(run, parts)
    viewed = take_views(plain, "flips")
    images, inputs = plain.loaded["test"].raw(), plain.loaded["test"].batch(torch.arange(10))[0]
    each = by_hand("flips", run, parts, images)
    with torch.no_grad():
        found = viewed.model.eval()(inputs.unsqueeze(0))
    assert set(found) == {"outputs", "deviation"}
    for name, own in found.items():
        assert torch.equal(own[0], mean_of([outputs[name] for outputs in each]))


# ------------------------------------------------------------ models and images that they do not suit


def refused(views: Views, parts: Parts, **changes: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        views_of(views, planned(parts, **changes))
    assert caught.value.where == "command line"
    return caught.value


def test_what_is_no_image_or_not_square_is_refused_with_the_remedy(parts: Parts) -> None:
    error = refused("flip", parts)
    assert error.what.endswith("an image as their input, but the inputs of spiral have the shape 2")
    assert error.fix == "leave out --tta"
    assert len(views_of("flips", planned(parts, **WIDE))) == 4
    error = refused("d4", parts, **WIDE)
    assert "takes square ones, but these are 1×4×6" in error.what and error.fix == "write --tta flips"


def test_outputs_of_unknown_meaning_are_refused(parts: Parts) -> None:
    assert (
        "the task other leaves open what they mean"
        in refused("flip", parts, **WIDE | {"dataset": {"name": "wide", "task": "other"}}).what
    )
    changes = DOTS | {"architecture": "mapped", "loss": "of_main"}
    assert "pixel of 1×8×8, but coarse are 1×4×4" in refused("flip", parts, **changes).what


# ------------------------------------------------------------------------ reports


def test_a_report_has_the_figures_with_views_and_without(parts: Parts, made: Made) -> None:
    run = made(**DOTS)
    plain, saved = opened(run, parts)
    before = evaluate_run(plain, saved, run.best, "test")
    viewed = take_views(plain, "flip")
    found = evaluate_run(viewed, saved, run.best, "test")
    assert found["tta"] == "flip" and "tta" not in before and "without_tta" not in before
    assert found["without_tta"] == {key: before[key] for key in ("loss", "metrics", "per_seed")}
    assert found["recorded"] == before["recorded"] and before["recorded"]["loss"]["difference"] == 0
    outputs, targets = viewed.outputs("test")
    for seed, own in zip("01", outputs, strict=True):
        assert found["per_seed"][seed]["loss"] == pytest.approx(float(F.cross_entropy(own, targets)))
        right = (own.argmax(1) == targets).double().mean()
        assert found["per_seed"][seed]["accuracy"] == pytest.approx(float(right))
    assert found["loss"] != before["loss"]
    losses = viewed.judged("test", torch.arange(20))[1]
    assert torch.allclose(losses[1], F.cross_entropy(outputs[1], targets, reduction="none"))


def test_views_that_do_harm_are_said_and_no_fault_of_the_model(parts: Parts, made: Made) -> None:
    run = made(**DOTS, epochs=30, optimizer={"name": "adam", "lr": 0.05})  # the place of a row is its class
    plain, saved = opened(run, parts)
    divide(plain.model, [0.1, 0.1])  # surer, of what the views show elsewhere
    usual = evaluate_run(plain, saved, run.best, "test")
    found = evaluate_run(take_views(plain, "d4"), saved, run.best, "test")
    assert found["loss"] > found["baselines"]["class prior"]["loss"] > usual["loss"]
    assert usual["warnings"] == []
    [warning] = found["warnings"]
    assert warning.startswith(
        f"--tta d4 makes the loss worse, {found['loss']:.4g} instead of {usual['loss']:.4g}"
    )


@pytest.mark.parametrize(
    ("with_views", "is_said"), [(1.0, False), (1.00001, False), (1.01, True), (0.9, False)]
)
def test_harm_is_said_if_it_can_be_seen(with_views: float, is_said: bool, parts: Parts, made: Made) -> None:
    viewed = take_views(opened(made(**DOTS, epochs=1), parts)[0], "flip")
    said = list(_harm_of_views(viewed, {"loss": [with_views, with_views]}, {"loss": [1.0, 1.0]}))
    assert len(said) == is_said
    assert not is_said or said[0].startswith("--tta flip makes the loss worse, 1.01 instead of 1: ")


def test_the_figures_of_examples_not_trained_on_are_of_the_views_too(parts: Parts, made: Made) -> None:
    run = made(**DOTS)
    plain, saved = opened(run, parts)
    plain.loaded["test"].keys = torch.arange(20)
    viewed = take_views(replace(plain, trained_on=torch.arange(5)), "flip")
    found = evaluate_run(viewed, saved, run.best, "test")
    outputs, targets = viewed.outputs("test")
    losses = [float(F.cross_entropy(own[5:], targets[5:])) for own in outputs]
    assert (found["seen"], found["unseen"]["examples"]) == (5, 15)
    assert found["unseen"]["loss"] == pytest.approx(sum(losses) / len(losses))
    assert found["unseen"]["loss"] != pytest.approx(found["loss"])


@pytest.mark.parametrize("stacked", [False, True], ids=["apart", "stacked"])
@pytest.mark.parametrize("calibrated_first", [False, True], ids=["views first", "temperatures first"])
def test_temperatures_divide_the_outputs_of_every_view(
    stacked: bool, calibrated_first: bool, parts: Parts, made: Made
) -> None:
    plain, _ = opened(made(**DOTS, stacked=stacked), parts)
    averaged = take_views(plain, "d4").outputs("test")[0]
    if calibrated_first:
        divide(plain.model, [2.0, 0.5])
        viewed = take_views(plain, "d4")
    else:
        viewed = take_views(plain, "d4")
        divide(viewed.model, [2.0, 0.5])
    assert torch.equal(viewed.outputs("test")[0], averaged / torch.tensor([2.0, 0.5]).view(2, 1, 1))


def test_a_model_of_another_moment_has_no_views(parts: Parts, made: Made) -> None:
    run = made(**DOTS, seeds=[0])
    (run.weights / "0001.pt").parent.mkdir(exist_ok=True)
    (run.weights / "0001.pt").write_bytes(run.last.read_bytes())
    viewed = take_views(opened(run, parts)[0], "flip")
    [moment] = viewed.moments()
    assert (moment.tta, moment.without_tta) == ("", None)
    assert torch.equal(moment.outputs("test")[0], replace(viewed.without_tta, _outputs={}).outputs("test")[0])
