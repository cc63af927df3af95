"""The answers of an exported model are the rows of `dlrun predict`, for one seed and for several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned
from torch import Tensor

from dlrun.training.thresholds import decided_by

LINE: dict[str, Any] = {"dataset": "line", "metrics": []}
TWO = {"name": "spiral", "points": 20, "classes": 2}
WAYS: dict[str, dict[str, Any]] = {
    "classes": {},
    "one logit": {"dataset": TWO, "loss": "bce"},
    "numbers": LINE | {"loss": "mse"},
    "deviations": LINE | {"loss": "gaussian_nll"},
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_they_are_those_of_the_rows(way: str, copies: int, tmp_path: Path) -> None:
    task = planned(own_parts(tmp_path), **WAYS[way]).task
    outputs = 3 * drawn(copies, 40, task.outputs)
    if way == "deviations":
        spread = drawn(copies, 40, 2).abs()
        answers = task.answers({"outputs": outputs, "deviation": spread})
        assert list(answers) == ["prediction", "deviation"]
        torch.testing.assert_close(answers["deviation"], spread.square().mean(0).sqrt())
        for index in range(40):
            row = task.row(outputs[:, index]) | task.further({"deviation": spread[:, index]})
            found = [*answers["prediction"][index].tolist(), *answers["deviation"][index].tolist()]
            assert found == pytest.approx([*row.values()], rel=1e-5)
        return
    answers = task.answers(outputs)
    for index in range(40):
        row = task.row(outputs[:, index])
        if task.decision:
            assert answers["probabilities"][index].tolist() == pytest.approx([*row["probabilities"].values()])
            assert task.data.classes[int(answers["class"][index])] == row["class"]
        else:
            assert answers["prediction"][index].tolist() == pytest.approx([*row.values()])


@pytest.mark.parametrize("copies", [1, 3])
def test_a_threshold_decides_by_the_mean_probability(copies: int) -> None:
    plan = decided_by(planned(dataset=TWO), {"arm 2": 0.3})
    answers = plan.task.answers(drawn(copies, 40, 2))
    assert torch.equal(answers["class"] == 1, answers["probabilities"][:, 1] > 0.3)


def test_places_stand_behind_the_classes() -> None:
    dataset = {"name": "shapes", "images": 4, "test_images": 2, "size": 8}
    plan = planned(dataset=dataset, architecture={"name": "unet", "channels": 2, "depth": 1})
    answers = plan.task.answers(drawn(2, 5, 4, 8, 8))
    assert answers["probabilities"].shape == (5, 4, 8, 8) and answers["class"].shape == (5, 8, 8)
    torch.testing.assert_close(answers["probabilities"], drawn(2, 5, 4, 8, 8).softmax(2).mean(0))
    assert torch.equal(answers["class"], answers["probabilities"].argmax(1))
