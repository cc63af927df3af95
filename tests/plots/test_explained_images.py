"""Saliency, Grad-CAM and occlusion have the values of their formulas, beside the images of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts
from test_plots import CNN, drawn, pictures_in, untrained, words
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dlrun.drawing.explained_images import explained_images, outputs_for_class, overlaid
from dlrun.drawing.style import BLUE, RED
from dlrun.errors import UserError
from dlrun.plots.grad_cam import class_activation
from dlrun.plots.occlusion import falls, square_and_step
from dlrun.plots.saliency import sensitivity
from dlrun.training.thresholds import decided_by
from dlrun.training.trained import Trained

PLOTS = ["saliency", "grad_cam", "occlusion"]


def of_images(folder: Path, **changes: Any) -> Trained:
    """A model with the weights it starts from, on images."""
    return untrained(own_parts(folder), **{"dataset": "dots", "architecture": CNN} | changes)


def some(model: Trained, n: int = 3) -> Tensor:
    """The prepared inputs of the first test images."""
    inputs = model.loaded["test"].batch(torch.arange(n))[0]
    assert isinstance(inputs, Tensor)
    return inputs


def chain(model: Trained) -> nn.Sequential:
    copy = model.model.eval().copies[0]
    assert isinstance(copy, nn.Sequential)
    return copy


def test_saliency_of_a_linear_model_is_the_size_of_its_weights(tmp_path: Path) -> None:
    model = of_images(tmp_path, architecture={"name": "linear", "flatten": True})
    [weights] = [weight for weight in model.model.copies[0].parameters() if weight.dim() == 2]
    for said in range(3):
        found = sensitivity(model, some(model, 2), said)
        assert torch.allclose(found, weights[said].abs().view(1, *model.data.shape[1:]).expand(2, -1, -1))


def test_saliency_is_the_slope_of_the_output(tmp_path: Path) -> None:
    model = of_images(tmp_path, precision="float64")
    image = some(model, 1)
    found, step = sensitivity(model, image, 1)[0], 1e-6
    for row, column in ((2, 3), (5, 5)):
        moved = image.clone()
        moved[..., row, column] += step
        rise = (chain(model)(moved) - chain(model)(image))[0, 1] / step
        assert float(found[row, column]) == pytest.approx(abs(rise.item()), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("place", ["0", "3"])
@pytest.mark.parametrize("in_place", [False, True], ids=["", "activations in place"])
def test_grad_cam_weighs_maps_by_their_mean_gradients(place: str, in_place: bool, tmp_path: Path) -> None:
    model = of_images(tmp_path)
    layers, image = chain(model), some(model, 2)
    for module in layers:
        if isinstance(module, nn.ReLU):
            module.inplace = in_place
    found = class_activation(model, place, layers[int(place)], image, 2)
    for module in layers:
        if isinstance(module, nn.ReLU):
            module.inplace = False
    for own, shown in zip(image.split(1), found, strict=True):
        maps = layers[: int(place) + 1](own).detach()
        [gradient] = torch.autograd.functional.jacobian(
            lambda maps: layers[int(place) + 1 :](maps)[0, 2], (maps,)
        )
        sums = sum(gradient[0, k].mean() * maps[0, k] for k in range(maps.shape[1])).clamp_min(0)
        expected = interpolate(sums[None, None], own.shape[2:], mode="bilinear", align_corners=False)
        assert torch.allclose(shown, expected[0, 0], atol=1e-6)
    assert float(found.max()) > 0


@pytest.mark.parametrize(("side", "step"), [(3, 2), (4, 4), (1, 1)])
def test_occlusion_is_what_the_probability_falls_by_under_each_square(
    side: int, step: int, tmp_path: Path
) -> None:
    model = of_images(tmp_path, evaluation_batch_size=7)
    image = some(model, 1)
    height, width = image.shape[2:]
    whole = chain(model)(image).softmax(1)[0, 1].detach()
    tops, lefts = ({*range(0, length - side, step), length - side} for length in (height, width))
    sums, counts = torch.zeros(2, height, width)
    for top in tops:
        for left in lefts:
            covered = image.clone()
            for channel in range(image.shape[1]):
                covered[0, channel, top : top + side, left : left + side] = image[0, channel].mean()
            fall = whole - chain(model)(covered).softmax(1)[0, 1].detach()
            sums[top : top + side, left : left + side] += fall
            counts[top : top + side, left : left + side] += 1
    assert float(counts.min()) > 0
    assert torch.allclose(falls(model, side, step, image, 1)[0].float(), sums / counts, atol=1e-6)


def test_squares_are_a_quarter_of_an_image_and_leave_no_pixel_uncovered() -> None:
    assert square_and_step((28, 32), None, None) == (7, 3)
    assert square_and_step((2, 2), None, None) == (1, 1)
    with pytest.raises(UserError, match="a square of 9 pixels does not fit into images of 8×12"):
        square_and_step((8, 12), 9, None)
    with pytest.raises(UserError, match="squares of 2 pixels, 3 apart, leave pixels uncovered"):
        square_and_step((8, 12), 2, 3)


def test_the_output_for_the_first_of_two_classes_is_the_negated_logit() -> None:
    model = untrained(loss="bce", dataset={"name": "spiral", "points": 20, "classes": 2})
    assert model.decision.outputs == 1
    inputs = model.loaded["train"].batch(torch.arange(4))[0]
    assert isinstance(inputs, Tensor)
    assert torch.equal(outputs_for_class(model, inputs, 0), -outputs_for_class(model, inputs, 1))
    logits = model.outputs("train")[0][0, :4, 0]
    assert torch.allclose(outputs_for_class(model, inputs, 1), logits)


def test_a_threshold_changes_no_output_for_a_class() -> None:
    model = untrained(loss="cross_entropy", dataset={"name": "spiral", "points": 20, "classes": 2})
    inputs = model.loaded["train"].batch(torch.arange(4))[0]
    assert isinstance(inputs, Tensor)
    [second] = model.plan.task.positives
    by_threshold = replace(model, plan=decided_by(model.plan, {second: 0.2}))
    for said in range(2):
        logits = model.outputs("train")[0][0, :4, said]
        assert torch.allclose(outputs_for_class(by_threshold, inputs, said), logits)


def test_errors_are_the_most_confident_ones_and_correct_images_stand_after_them(tmp_path: Path) -> None:
    model = of_images(tmp_path)
    found = explained_images(model, "saliency", "test", 2, None)
    outputs, targets = model.outputs("test")
    shares, said = outputs[0].softmax(1).max(1)
    wrong = (said != targets).nonzero().squeeze(1)
    assert found.errors == len(wrong) > 2 and found.examples == len(targets)
    surest = sorted(wrong.tolist(), key=lambda index: -float(shares[index]))[:2]
    assert found.indices[:2].tolist() == surest
    assert torch.equal(found.classes, said[found.indices]) and torch.equal(
        found.targets, targets[found.indices]
    )
    assert len(found.indices) == 4 and not set(found.indices[2:].tolist()) & set(wrong.tolist())
    assert torch.allclose(found.inputs, model.loaded["test"].batch(found.indices)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PLOTS)
def test_an_image_stands_beside_its_overlay_with_class_and_probability(name: str, tmp_path: Path) -> None:
    model = of_images(tmp_path)
    figure = drawn(model, name, split="test", images=2)
    found = explained_images(model, name, "test", 2, None)
    said, names = words(figure), model.data.classes
    assert f"The 2 most confident of {found.errors} errors" in said and "Correct ones" in said
    *pairs, _ = pictures_in(figure)  # the last one is the key
    assert len(pairs) == 4
    height, width = model.data.shape[1:]
    for pair, index in zip(pairs, found.indices, strict=True):
        raw = model.loaded["test"].raw(index.view(1))[0]
        assert torch.allclose(torch.as_tensor(pair)[:, :width], raw.movedim(0, -1).expand(-1, -1, 3) / 255)
        assert pair.shape[0] == height and pair.shape[1] > 2 * width
    first = f"{names[found.targets[0]]} / {names[found.classes[0]]}\n{float(found.sureness[0]):.3f}"
    assert first in said or first.replace(" / ", "\n") in said
    alone = drawn(model, name, split="test", image=5)
    assert "Image 5" in words(alone) and len(pictures_in(alone)) == 2


def test_an_overlay_is_red_where_values_are_positive_and_blue_where_they_are_negative() -> None:
    values = torch.tensor([[[1.0, -1.0, 0.0]]])
    red, blue, white = overlaid(torch.ones(1, 1, 3, 3), values)[0, 0]
    assert [f"#{''.join(f'{round(255 * float(c)):02X}' for c in colour)}" for colour in (red, blue)] == [
        RED,
        BLUE,
    ]
    assert white.tolist() == [1.0, 1.0, 1.0]


def test_what_cannot_be_shown_is_refused_with_the_remedy(tmp_path: Path) -> None:
    model = of_images(tmp_path)
    for name in PLOTS:
        with pytest.raises(UserError, match=f"{name}: there is no image 20 among the 20 of test"):
            drawn(model, name, split="test", image=20)
    with pytest.raises(UserError, match=r"the model has no layer 30; did you mean '3'"):
        drawn(model, "grad_cam", layer="30")
    with pytest.raises(UserError, match="gives 3, not maps") as refused:
        drawn(model, "grad_cam", layer=str(len(chain(model)) - 1))
    assert "name a convolution" in refused.value.fix
    linear = of_images(tmp_path, architecture={"name": "linear", "flatten": True})
    with pytest.raises(UserError, match="grad_cam: the model has no convolution") as refused:
        drawn(linear, "grad_cam")
    assert "saliency or occlusion" in refused.value.fix
