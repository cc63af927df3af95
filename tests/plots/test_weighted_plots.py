"""In a picture an example of weight 2 counts as two, and the title says that there are weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import planned, trained

from dlrun.config.registry import Parts
from dlrun.drawing.style import Predicted
from dlrun.plots.calibration import binned
from dlrun.plots.confusion_matrix import row_percentages
from dlrun.plots.forecasts import over_examples
from dlrun.plots.residuals import mean_and_sd, residuals
from dlrun.training.opening import open_checkpoint

N = 40
STREAM = torch.Generator().manual_seed(4)
COUNTS = torch.randint(0, 4, (N,), generator=STREAM)
CLASSES, TARGETS = torch.randint(0, 3, (2, N), generator=STREAM), torch.randint(0, 3, (N,), generator=STREAM)
SURENESS = torch.rand(2, N, generator=STREAM)


def repeated(values: torch.Tensor) -> torch.Tensor:
    return values.repeat_interleave(COUNTS, -1)


def test_figures_in_pictures_are_those_of_repeated_examples() -> None:
    weighted = Predicted(CLASSES, SURENESS, TARGETS, COUNTS.float())
    several = Predicted(repeated(CLASSES), repeated(SURENESS), repeated(TARGETS))
    assert weighted.accuracy() == pytest.approx(several.accuracy())
    assert weighted.said_count == "n = 40, weighted" and several.said_count == f"n = {COUNTS.sum()}"
    for ours, theirs in zip(binned(weighted, 5), binned(several, 5), strict=True):
        assert torch.allclose(ours, theirs)
    ours, theirs = (row_percentages(one.classes, one.targets, 3, one.weights) for one in (weighted, several))
    assert torch.allclose(ours, theirs)
    outputs, truth = SURENESS.unsqueeze(2).double(), TARGETS.unsqueeze(1).double()
    ahead = over_examples(outputs, truth, COUNTS.float())
    theirs_ahead = over_examples(outputs.repeat_interleave(COUNTS, 1), truth.repeat_interleave(COUNTS, 0))
    assert ahead.tolist() == [pytest.approx(own) for own in theirs_ahead.tolist()]
    found = mean_and_sd(SURENESS[0].double(), COUNTS.float())
    several_of = repeated(SURENESS[0]).double()
    assert found == pytest.approx((float(several_of.mean()), float(several_of.std(correction=0))))


def test_a_title_says_that_examples_have_weights(tmp_path: Path) -> None:
    lines = [f"{number % 7},{number % 7 + number % 3},{1 + number % 2}" for number in range(60)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["x,y,w", *lines]) + "\n")
    said = []
    for weights in ("w", None):
        dataset = {
            "name": "csv",
            "path": str(path),
            "target": "y",
            "weights": weights,
            "ignore": ["w"][bool(weights) :],
        }
        run = trained(
            planned(dataset=dataset, loss="mse", metrics=["mae"], epochs=1), tmp_path / f"runs-{weights}"
        )
        drawn = residuals(open_checkpoint(run.last, run, [], Parts(), tmp_path)[0])
        title = drawn.get_suptitle()
        said.append("weighted" in title)
    assert said == [True, False]
