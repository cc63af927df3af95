"""A temperature makes probabilities honest and changes no predicted class."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.optimize import minimize_scalar
from small_runs import go_on, planned, trained

from dlrun.blocks.decisions import Decision, softmax, two_sigmoids
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused, UserError
from dlrun.results.calibration import calibrate
from dlrun.run_folders.run import Run
from dlrun.training.calibration import (
    calibration_file,
    fitted_temperatures,
    identity_of,
    take_calibration,
)
from dlrun.training.opening import open_checkpoint
from dlrun.training.trained import Trained

STREAM = torch.Generator().manual_seed(5)
VALID: dict[str, Any] = {
    "dataset": {"name": "spiral", "points": 40, "valid_fraction": 0.3},
    "optimizer": {"name": "adam", "lr": 0.1},
    "epochs": 8,
    "seeds": [0, 1],
}


def opened(run: Run) -> tuple[Trained, Any]:
    return open_checkpoint(run.best, run, [], Parts(), Path("no-data"))


def made_up(classes: int, outputs: int, n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (2, n, outputs) that are too sure of their classes, and classes (n,) that they partly tell."""
    targets = torch.randint(classes, (n,), generator=STREAM)
    noise = 2 * torch.randn(2, n, outputs, generator=STREAM)
    if outputs == 1:
        return 2 * (noise + (3.0 * targets - 1.5).unsqueeze(1)), targets
    return noise + 2 * torch.nn.functional.one_hot(targets, classes), targets


@pytest.mark.parametrize(("classes", "outputs"), [(3, 3), (2, 2), (2, 1)])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_the_temperature_has_the_smallest_log_loss(classes: int, outputs: int, weighted: bool) -> None:
    made, targets = made_up(classes, outputs)
    decision = Decision(classes, outputs, two_sigmoids if outputs == 1 else softmax)
    weights = torch.randint(0, 4, (len(targets),), generator=STREAM).float() if weighted else None
    counts = None if weights is None else weights.numpy()

    for own, found in zip(made, fitted_temperatures(made, targets, decision, weights), strict=True):
        logits = torch.cat([torch.zeros_like(own), own], 1) if outputs == 1 else own

        def loss(temperature: float, logits: torch.Tensor = logits) -> float:
            shares = (logits.double() / temperature).log_softmax(1)
            each = -shares[torch.arange(len(targets)), targets].numpy()
            return float(each.mean() if counts is None else (counts * each).sum() / counts.sum())

        theirs = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10})
        assert found == pytest.approx(theirs.x, rel=1e-5)
        assert abs(found - 1) > 0.1
    again = fitted_temperatures(made[1:], targets, decision, weights)
    assert again == fitted_temperatures(made, targets, decision, weights)[1:]


def test_outputs_without_a_best_temperature_are_refused() -> None:
    made, targets = made_up(3, 3)
    decision = Decision(3, 3, softmax)
    with pytest.raises(UserError, match="all 200 validation examples are classified correctly") as refused:
        fitted_temperatures(torch.nn.functional.one_hot(targets, 3).unsqueeze(0) + 0.5, targets, decision)
    assert "valid_fraction" in refused.value.fix
    with pytest.raises(UserError, match="tell nothing of the classes"):
        fitted_temperatures(-made, targets, decision)
    with pytest.raises(UserError, match="probabilities of its own"):
        fitted_temperatures(made, targets, Decision(3, 3, lambda outputs: (2 * outputs).softmax(-1)))


@pytest.mark.parametrize("stacked", [False, True], ids=["apart", "stacked"])
def test_a_calibrated_run_has_other_probabilities_and_the_same_classes(stacked: bool, tmp_path: Path) -> None:
    run = trained(planned(**VALID, stacked=stacked), tmp_path)
    raw, saved = opened(run)
    before, _ = raw.outputs("test")
    report = calibrate(opened(run)[0], saved, run.best)
    given, saved = opened(run)
    model = take_calibration(given, saved, run.best)
    assert model.temperatures == report["temperatures"] and len(model.temperatures) == 2
    after, _ = model.outputs("test")
    for copy, temperature in enumerate(model.temperatures):
        assert torch.allclose(after[copy], before[copy] / temperature, rtol=1e-5)
    inputs = model.loaded["test"].raw()
    assert torch.allclose(model.probabilities(inputs), after.softmax(-1), atol=1e-6)
    for split in ("valid", "test"):
        figures = report["figures"][split]
        assert figures["before"]["accuracy"] == figures["after"]["accuracy"]
    valid = report["figures"]["valid"]
    assert all(b > a for a, b in zip(valid["after"]["log_loss"], valid["before"]["log_loss"], strict=True))
    targets = model.loaded["valid"].targets
    assert valid["after"]["log_loss"] == pytest.approx(
        [float(torch.nn.functional.cross_entropy(own, targets)) for own in model.outputs("valid")[0]],
        rel=1e-5,
    )
    with torch.no_grad():
        [alone] = model.model.copies[:1]
        prepared, _ = model.loaded["test"].batch(torch.arange(4))
        assert torch.allclose(alone(prepared), after[0, :4], atol=1e-6)


def test_temperatures_of_another_state_are_not_taken_and_said(tmp_path: Path) -> None:
    run = trained(planned(**VALID), tmp_path)
    calibrate(*opened(run), run.best)
    go_on(run, VALID | {"epochs": 10})
    given, saved = opened(run)
    model = take_calibration(given, saved, run.best)
    assert model.temperatures == []
    said = "probabilities are as trained: the temperatures in best.calibration.json are of another checkpoint"
    assert model.data.notes[-1] == f"{said}; run dlrun calibrate RUN again"


def test_a_damaged_file_of_temperatures_is_refused_and_not_written_over(tmp_path: Path) -> None:
    run = trained(planned(**VALID | {"epochs": 1}), tmp_path)
    given, saved = opened(run)
    whose = json.dumps(identity_of(saved)).strip("{}")
    for content in (
        *("", "[]", f"{{{whose}}}"),
        *(
            f"{{{entry}, {whose}}}"
            for entry in (
                *('"temperatures": [0.0, 1.0]', '"temperatures": [NaN, 1.0]', '"temperatures": 3'),
                *('"temperatures": ""', '"temperatures": {}'),
                '"temperatures": [], "threshold": {"above": {}}',
            )
        ),
    ):
        calibration_file(run.best).write_text(content)
        for use in (take_calibration, calibrate):
            with pytest.raises(CheckpointRefused, match="the calibration beside the checkpoint") as refused:
                use(given, saved, run.best)
            assert "--remove" in refused.value.fix
        assert calibration_file(run.best).read_text() == content


def test_a_run_without_a_validation_split_or_a_class_is_refused(tmp_path: Path) -> None:
    run = trained(planned(epochs=1), tmp_path)
    with pytest.raises(UserError, match="there is no validation split") as refused:
        calibrate(*opened(run), run.best)
    assert "valid_fraction" in refused.value.fix
    assert not calibration_file(run.best).exists()
    masks = {"dataset": {"name": "shapes", "images": 6, "test_images": 4, "size": 16}, "epochs": 1}
    run = trained(planned(**masks, architecture={"name": "unet", "channels": 2, "depth": 1}), tmp_path)
    with pytest.raises(UserError, match="calibrate is for a model that predicts one class, not for pixels"):
        calibrate(*opened(run), run.best)


def test_averaged_weights_have_temperatures_of_their_own(tmp_path: Path) -> None:
    run = trained(planned(**VALID, average={"name": "ema", "decay": 0.5}), tmp_path)
    averaged = open_checkpoint(run.best, run, [], Parts(), Path("no-data"), weights="averaged")
    calibrate(*averaged, run.best)
    for weights, count in (("averaged", 2), ("trained", 0)):
        given, saved = open_checkpoint(run.best, run, [], Parts(), Path("no-data"), weights=weights)  # type: ignore[arg-type]
        model = take_calibration(given, saved, run.best)
        assert len(model.temperatures) == count
    assert "are of its averaged weights" in model.data.notes[-1]


def test_the_file_is_strict_json_with_the_figures(tmp_path: Path) -> None:
    run = trained(planned(**VALID), tmp_path)
    report = calibrate(*opened(run), run.best)
    kept = json.loads(calibration_file(run.best).read_text(), parse_constant=pytest.fail)
    assert kept == report and all(math.isfinite(each) for each in kept["temperatures"])
