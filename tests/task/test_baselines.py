"""A baseline is a guess that the loss and the metrics can judge, or there is none, with the reason."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned, trained

from dlrun.config.mistakes import ConfigError

LOGITS = '''
"""Binary cross entropy of a logit and a target of 0 or 1."""
import torch.nn.functional as F


def logits(outputs, targets):
    """The cross entropy, in nats."""
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)
'''
COIN = '''
"""Points and a target that is 0 or 1."""
import torch
from dlrun.data import Data, Examples


def coin(root, *, alike: bool = False):
    """A regression that means a probability."""
    def read():
        x = torch.linspace(-1, 1, 40).view(20, 2)
        y = torch.zeros(20, 1) if alike else (x.sum(1, keepdim=True) > 0.6).float()
        return {"train": Examples(x, y), "test": Examples(x.clone(), y.clone())}
    return Data("regression", (2,), read)
'''
HUBER = LOGITS.replace("logits", "huber").replace("binary_cross_entropy_with_huber", "huber_loss")
COSINE = '''
"""One minus the cosine of outputs and targets."""
import torch.nn.functional as F


def cosine(outputs, targets):
    """0 if both have one direction, 2 if they have opposite ones."""
    return 1 - F.cosine_similarity(outputs, targets)
'''
UNSURE = '''
"""A loss that states probabilities, but not which outputs have given ones."""
import torch.nn.functional as F
task = "classification"


def unsure(outputs, targets):
    """Cross entropy of squares."""
    return -probabilities(outputs).gather(1, targets.unsqueeze(1)).squeeze(1).clamp_min(1e-9).log()


def probabilities(outputs):
    return outputs.square() / outputs.square().sum(-1, keepdim=True).clamp_min(1e-9)
'''
RARE = '''
"""Points, a fifth of which are of the second class."""
import torch
from dlrun.data import Data, Examples


def rare(root, *, absent: bool = False):
    """Two classes."""
    def read():
        x = torch.linspace(-1, 1, 40).view(20, 2)
        y = (torch.arange(20) >= 16).long()
        return {"train": Examples(x, 0 * y if absent else y), "test": Examples(x.clone(), y.clone())}
    return Data("classification", (2,), read, classes=("a", "b"))
'''
FRAIL = '''
"""A loss that takes no constant outputs."""
import torch.nn.functional as F
task = "classification"


def frail(outputs, targets):
    """Cross entropy, of outputs that differ."""
    if len(outputs) > 2 and not outputs.requires_grad and bool((outputs == outputs[:1]).all()):
        raise RuntimeError("these outputs were not made by a model")
    return F.cross_entropy(outputs, targets, reduction="none")
'''
PARTS = {
    "loss/logits.py": LOGITS,
    "loss/huber.py": HUBER,
    "loss/cosine.py": COSINE,
    "loss/unsure.py": UNSURE,
    "loss/frail.py": FRAIL,
    "dataset/coin.py": COIN,
    "dataset/rare.py": RARE,
}


def summary_and_log(tmp_path: Path, changes: dict[str, Any]) -> tuple[dict[str, Any], str]:
    run = trained(planned(own_parts(tmp_path, PARTS), **changes), tmp_path)
    summary = json.loads((run.folder / "summary.json").read_text())
    return summary, (run.folder / "log.txt").read_text()


def test_the_mean_is_no_guess_of_a_logit(tmp_path: Path) -> None:
    changes = {"dataset": "coin", "loss": "logits", "metrics": []}
    summary, said = summary_and_log(tmp_path, changes)
    assert summary["baselines"] == {"train": {}, "test": {}}, "0.5 and more, worse than ln 2, when it was one"
    assert "there is no baseline beside the figures: logits is not smallest where" in said
    assert summary["final"]["train_loss"]["mean"] < 2 * log(2)


def test_the_mean_is_a_guess_for_a_loss_of_ones_own_that_is_smallest_at_the_target(tmp_path: Path) -> None:
    summary, said = summary_and_log(tmp_path, {"dataset": "line", "loss": "huber", "metrics": ["mae"]})
    assert set(summary["baselines"]["test"]["mean"]) == {"loss", "mae"}
    assert "no baseline" not in said


def test_the_mean_is_no_guess_for_a_loss_that_does_not_see_the_scale(tmp_path: Path) -> None:
    changes = {"dataset": "line", "loss": "cosine", "metrics": []}
    summary, said = summary_and_log(tmp_path, changes)
    assert summary["baselines"] == {"train": {}, "test": {}}
    assert "cosine is not smallest where outputs are equal to the targets, or not only there" in said


def test_targets_that_are_all_the_same_are_no_baseline_of_nought(tmp_path: Path) -> None:
    changes = {"dataset": {"name": "coin", "alike": True}, "loss": "huber", "metrics": []}
    summary, said = summary_and_log(tmp_path, changes)
    assert summary["baselines"]["train"] == {}
    assert "all training targets are the same" in said


def test_a_loss_without_outputs_for_given_shares_has_no_majority_class(tmp_path: Path) -> None:
    summary, said = summary_and_log(tmp_path, {"dataset": "rare", "loss": "unsure", "metrics": ["accuracy"]})
    assert summary["baselines"]["train"] == {}
    assert "define constant(shares)" in said


def test_a_class_that_training_lacks_has_no_invented_loss(tmp_path: Path) -> None:
    """The cross entropy of its share, 0, is infinite."""
    summary, _ = summary_and_log(
        tmp_path, {"dataset": {"name": "rare", "absent": True}, "metrics": ["accuracy"]}
    )
    assert summary["baselines"]["train"]["class prior"]["loss"] == pytest.approx(0.0, abs=1e-9)
    assert summary["baselines"]["test"] == {}


def test_a_loss_that_fails_on_a_guess_trains_without_a_baseline(tmp_path: Path) -> None:
    summary, _ = summary_and_log(tmp_path, {"loss": "frail", "metrics": ["accuracy"]})
    assert summary["status"] == "finished"
    assert summary["baselines"]["train"] == {}


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_a_metric_of_estimates_is_refused_where_outputs_are_logits(metric: str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, PARTS)
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset="coin", loss="logits", metrics=[metric])
    assert "compares outputs with targets" in str(refused.value.mistakes[0])
    assert str(refused.value.mistakes[0]).endswith("leave it out")  # no other metric suits either


def test_a_metric_that_is_refused_is_not_missed_as_a_column_too(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, PARTS)
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset="coin", loss="logits", metrics=["mae"], monitor="train_mae")
    [mistake] = map(str, refused.value.mistakes)
    assert "metrics: mae compares outputs with targets" in mistake


def test_a_scaled_target_is_refused_where_outputs_are_no_estimates_of_it(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "".join(f"{n},{100 + n % 7}\n" for n in range(40)))
    dataset = {"name": "csv", "path": str(table), "target": "y", "scale_target": True, "split": "random"}
    parts = own_parts(tmp_path, PARTS)
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset=dataset, loss="logits", metrics=[])
    assert "logits does not take estimates of the target, which cannot be scaled for it" in str(
        refused.value.mistakes[0]
    )
    assert planned(parts, dataset=dataset, loss="huber", metrics=[]).data.scaling


def test_predictions_that_are_no_estimates_are_not_called_by_the_target(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path, PARTS), dataset="coin", loss="logits", metrics=[])
    assert plan.task.row(torch.zeros(1, 1)) == {"output": 0.0}


def test_pictures_of_estimates_are_not_drawn_of_logits(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, PARTS)
    plots = {
        loss: {
            choice.name
            for choice in planned(parts, dataset="coin", loss=loss, metrics=[], plots=["auto"]).plots
        }
        for loss in ("huber", "logits")
    }
    assert "residuals" in plots["huber"]
    assert "residuals" not in plots["logits"]
