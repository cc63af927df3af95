"""Every figure, prediction and picture of a run judges the same predicted classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import ENERGY, own_parts, planned, trained
from torch import Tensor

from dlrun.blocks.decisions import Decision, softmax, two_sigmoids
from dlrun.blocks.tasks import LossPart
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.drawing.style import predicted
from dlrun.results.prediction import Predictions
from dlrun.task.sequence import sequence
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.trained import Trained

# Losses whose largest output is not, or not always, at the class with the largest probability.
OWN = {
    "loss/energy.py": ENERGY,
    "metrics/own_accuracy.py": '''
"""Accuracy as a user writes it."""
task = "classification"


def own_accuracy(outputs, targets):
    """True if the largest output is that of the class."""
    return outputs.argmax(1) == targets
''',
    "loss/embedded.py": '''
"""Cross entropy of the first three outputs, beside which an embedding stands."""
import torch.nn.functional as F
task = "classification"


def embedded(outputs, targets):
    """Cross entropy, and the size of the embedding."""
    size = outputs[:, 3:].square().mean(1)
    return F.cross_entropy(outputs[:, :3], targets, reduction="none") + 0.01 * size


def outputs(data):
    return len(data.classes) + 4


def probabilities(outputs):
    return outputs[..., :3].softmax(-1)


def constant(shares):
    import torch
    return torch.cat([shares.log(), torch.zeros(4)])
''',
    "metrics/surest.py": '''
"""The mean probability of the predicted class."""
task = "classification"


def surest(probabilities, targets):
    """The largest probability."""
    return probabilities.amax(1)
''',
    "loss/sharp.py": '''
"""Cross entropy of sharpened outputs."""
import torch.nn.functional as F
task = "classification"


def sharp(outputs, targets):
    """Cross entropy of eight times the outputs."""
    return F.cross_entropy(8 * outputs, targets, reduction="none")


def probabilities(outputs):
    return (8 * outputs).softmax(-1)


def constant(shares):
    return shares.log() / 8
''',
    "loss/one_logit.py": '''
"""A single logit for two classes, without a word about probabilities."""
import torch.nn.functional as F
task = "classification"


def one_logit(outputs, targets):
    """Binary cross entropy."""
    return F.binary_cross_entropy_with_logits(outputs.squeeze(1), targets.float(), reduction="none")


def outputs(data):
    return 1
''',
}
# Outputs so large that their sigmoids and softmaxes are equal in float32.
SATURATED = {
    "optimizer": {"name": "adam", "lr": 30.0},
    "epochs": 3,
    "batch_size": "full",
    "dataset": {"name": "spiral", "classes": 6},
}
TWO = {"name": "spiral", "points": 30, "classes": 2}
RUNS: dict[str, dict[str, Any]] = {
    "cross entropy": {"metrics": ["accuracy"]},
    "energies": {"loss": "energy", "metrics": ["accuracy", "own_accuracy", "top5"], "seeds": [0, 1]},
    "saturated sigmoids": {**SATURATED, "loss": "bce", "metrics": ["accuracy", "own_accuracy"]},
    "saturated softmax": {**SATURATED, "metrics": ["accuracy"]},
    "one logit": {"loss": "bce", "dataset": TWO, "metrics": ["accuracy", "own_accuracy", "top5"]},
    "logits and an embedding": {"loss": "embedded", "metrics": ["accuracy", "own_accuracy"]},
    "an own logit": {"loss": "one_logit", "dataset": TWO, "metrics": ["accuracy"]},
    "shares": {"loss": "mse", "metrics": ["accuracy"]},
}


def opened(tmp_path: Path, changes: dict[str, Any]) -> tuple[Trained, dict[str, Any], Parts]:
    parts = own_parts(tmp_path, OWN)
    run = trained(planned(parts, **changes), tmp_path)
    model, saved = open_checkpoint(run.last, run, [], parts, Path("no-data"))
    return model, evaluate_run(model, saved, run.last, "test"), parts


@pytest.mark.parametrize("name", RUNS)
def test_accuracy_is_the_trace_of_the_confusion_matrix_everywhere(name: str, tmp_path: Path) -> None:
    model, report, _ = opened(tmp_path, RUNS[name])
    found = predicted(model, "test")
    for index, seed in enumerate(model.seeds):
        counts = torch.tensor(report["confusion"][str(seed)])
        share = float(counts.diagonal().sum() / counts.sum())
        figures = report["per_seed"][str(seed)]
        assert figures["accuracy"] == pytest.approx(share)
        assert figures.get("own_accuracy", share) == pytest.approx(share)
        assert found.accuracy()[index] == pytest.approx(share), "pictures"


@pytest.mark.parametrize("name", RUNS)
def test_predict_says_the_classes_that_are_counted(name: str, tmp_path: Path) -> None:
    changes = RUNS[name] | {"seeds": [0]}
    model, report, _ = opened(tmp_path, changes)
    outputs, targets = model.outputs("test")
    rows = Predictions(model.plan, 1, "", [str(number) for number in range(len(targets))], outputs).rows()
    said = [model.data.classes.index(row["class"]) for row in rows]
    right = sum(guess == target for guess, target in zip(said, targets.tolist(), strict=True))
    assert report["metrics"]["accuracy"] == pytest.approx(right / len(said))


def test_a_loss_of_energies_learns_and_is_judged_by_its_probabilities(tmp_path: Path) -> None:
    changes = {
        "loss": "energy",
        "metrics": ["accuracy"],
        "epochs": 60,
        "optimizer": {"name": "adam", "lr": 0.1},
    }
    _, report, _ = opened(tmp_path, changes)
    assert report["metrics"]["accuracy"] > report["baselines"]["class prior"]["accuracy"] + 0.1


def test_a_metric_of_probabilities_gets_those_of_the_loss(tmp_path: Path) -> None:
    changes = {"loss": "sharp", "metrics": ["accuracy", "surest"], "seeds": [0, 1]}
    model, report, _ = opened(tmp_path, changes)
    outputs, _ = model.outputs("test")
    for index, seed in enumerate(model.seeds):
        wanted = float((8 * outputs[index]).softmax(-1).amax(-1).mean())
        assert report["per_seed"][str(seed)]["surest"] == pytest.approx(wanted, rel=1e-5)


def test_equal_probabilities_do_not_go_to_the_first_class() -> None:
    outputs = torch.tensor([[200.0, 300.0, 100.0]])
    decision = Decision(3, 3, lambda outputs: outputs.sigmoid() / outputs.sigmoid().sum(-1, keepdim=True))
    assert decision.probabilities(outputs).unique().numel() == 1
    assert decision.decide(outputs).tolist() == [1]
    assert decision.decide_together(outputs.unsqueeze(0)).tolist() == [1]


def test_copies_predict_together_by_their_mean_probability_and_then_by_votes() -> None:
    decision = Decision(2, 2, softmax)
    unsure, sure = torch.tensor([[0.1, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert decision.decide_together(torch.stack([unsure, unsure, sure])).tolist() == [1]
    tied = torch.tensor([[[500.0, 0.0]], [[0.0, 500.0]], [[0.0, 500.0]]])
    halves = Decision(2, 2, lambda outputs: torch.full_like(outputs, 0.5))
    assert halves.decide_together(tied).tolist() == [1]


@pytest.mark.parametrize(
    ("outputs", "probabilities", "by_probability"),
    [
        (4, softmax, False),
        (1, two_sigmoids, False),
        (4, lambda outputs: (-outputs).softmax(-1), True),
        (1, lambda outputs: two_sigmoids(-outputs), True),
        (4, lambda outputs: outputs.square() / outputs.square().sum(-1, keepdim=True), True),
    ],
)
def test_it_is_found_out_if_probabilities_rank_classes_otherwise(
    outputs: int, probabilities: Any, by_probability: bool
) -> None:
    classes = 2 if outputs == 1 else outputs
    decision = Decision(classes, outputs, probabilities)
    assert decision.is_by_probability is by_probability
    some: Tensor = torch.randn(50, outputs)
    assert decision.decide(some).equal(probabilities(some).argmax(-1))


def test_the_row_of_a_sequence_has_the_class_at_each_position() -> None:
    data = Data("sequence", (3,), dict, classes=("a", "b"), places=(3,))
    task = sequence(data, LossPart("cross_entropy", lambda outputs, targets: outputs))
    first = torch.tensor([[0.5, 0.0, 3.0], [0.0, 1.0, 0.0]])
    second = torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.5, 0.0]])  # surer of the first position
    assert task.row(torch.stack([first, second])) == {"classes": ["b", "b", "a"]}
