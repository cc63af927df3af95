"""Losses with weights of their own, losses of whole batches, and metrics of whole splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, of_seed, outcome, own_parts, planned, trained

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_trials import try_on

CENTRES = '''
"""Distances to a centre for each class, which are learnt."""
import torch
from torch import nn
from dlrun.config.options import Positive
from dlrun.data.examples import Data

task = "classification"


class Centres(nn.Module):
    def __init__(self, classes, outputs, scale):
        super().__init__()
        self.centres = nn.Parameter(scale * torch.randn(classes, outputs))

    def forward(self, outputs, targets):
        entropy = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return entropy + (outputs - self.centres[targets]).square().mean(1)


def centres(data: Data, *, scale: Positive = 1.0):
    """Cross entropy, and the distances to the centres."""
    return Centres(len(data.classes), len(data.classes), scale)


def probabilities(outputs):
    """The softmax."""
    return outputs.softmax(-1)
'''
HIDDEN = '''
"""A loss whose weight nobody trains."""
import torch
from torch import nn

task = "classification"
temperature = nn.Parameter(torch.ones(()))


def hidden(outputs, targets):
    """Cross entropy at a temperature."""
    return nn.functional.cross_entropy(outputs / temperature, targets, reduction="none")
'''
NO_MODULE = '''
"""A loss that makes no module."""
task = "classification"


def no_module():
    """Nothing."""
    return lambda outputs, targets: outputs
'''
CONTRAST = '''
"""Supervised contrastive loss. Source: Khosla et al. 2020, arXiv 2004.11362."""
import torch
from torch.nn.functional import normalize

task = "classification"
batchwise = True


def contrast(outputs, targets):
    """The mean over pairs of one class of minus the log share of their similarity."""
    z = normalize(outputs, dim=1)
    alike = (z @ z.T / 0.5).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
    same = (targets.unsqueeze(0) == targets.unsqueeze(1)).float().fill_diagonal_(0)
    return -(alike.log_softmax(1) * same).sum() / same.sum().clamp_min(1)
'''
SILENT = (
    CONTRAST.replace("batchwise = True\n", "")
    .replace("contrast", "silent")
    .replace("same.sum().clamp_min(1)", "same.sum().clamp_min(1) * torch.ones(len(z))")
)
BOASTING = CONTRAST.replace("def contrast", "def boasting").replace(
    "    return -", "    return torch.ones(len(z), 2) * -"
)
RANK = '''
"""The area under the ROC curve of class 0 against the others: the share of pairs in the right order."""
task = "classification"
whole = True


def rank(outputs, targets):
    """The share of pairs of an example of class 0 and another whose first outputs stand in that order."""
    first, other = outputs[targets == 0, 0], outputs[targets != 0, 0]
    return (first.unsqueeze(1) > other.unsqueeze(0)).double().mean()
'''
F1 = '''
"""F1 of a batch, written into every row."""
task = "classification"


def catch(outputs, targets):
    """F1 of class 1."""
    hat = outputs.argmax(1)
    hit = 2 * ((hat == 1) & (targets == 1)).sum() / ((hat == 1).sum() + (targets == 1).sum()).clamp(min=1)
    return hit.expand(len(targets))
'''
WHOLE_F1 = (
    F1.replace('task = "classification"\n', 'task = "classification"\nwhole = True\n')
    .replace("def catch", "def whole_f1")
    .replace("hit.expand(len(targets))", "hit")
)
PARTS = {
    "loss/centres.py": CENTRES,
    "loss/hidden.py": HIDDEN,
    "loss/no_module.py": NO_MODULE,
    "loss/contrast.py": CONTRAST,
    "loss/silent.py": SILENT,
    "loss/boasting.py": BOASTING,
    "metrics/rank.py": RANK,
    "metrics/catch.py": F1,
    "metrics/whole_f1.py": WHOLE_F1,
}


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return own_parts(tmp_path, PARTS)


def refusal(parts: Parts, **changes: Any) -> str:
    """The mistake for which a config is refused before there is a folder."""
    with pytest.raises(ConfigError) as refused:
        plan = planned(parts, **changes)
        try_on(plan, plan.load())
    [mistake] = refused.value.mistakes
    return str(mistake)


# ------------------------------------------------------------------------ weights of a loss


def test_the_weights_of_a_loss_are_trained_and_saved_for_each_seed(parts: Parts, tmp_path: Path) -> None:
    run = trained(planned(parts, loss="centres", seeds=[0, 4], metrics=["accuracy"]), tmp_path)
    started = planned(parts, loss="centres", seeds=[0, 4]).model().copies
    for before, saved in zip(started, load_checkpoint(run.last).state["model"], strict=True):
        centres = before.state_dict()["loss.centres"]
        assert not torch.equal(centres, saved["loss.centres"])
    one, other = (each.state_dict()["loss.centres"] for each in started)
    assert not torch.equal(one, other), "each seed begins with its own"


def test_a_run_with_a_loss_of_weights_is_resumed_bit_for_bit_and_each_seed_is_as_alone(
    parts: Parts, tmp_path: Path
) -> None:
    changes = {"loss": "centres", "seeds": [0, 4], "metrics": []}
    unbroken = trained(planned(parts, **changes), tmp_path)
    run = trained(planned(parts, **changes), tmp_path, stop_after=2)
    go_on(run, changes, parts)
    assert not differences(outcome(unbroken), outcome(run))
    alone = trained(planned(parts, **changes | {"seeds": [4]}), tmp_path)
    assert not differences(of_seed(alone, 4), of_seed(unbroken, 4))


def test_a_loss_of_weights_is_evaluated_with_those_of_the_checkpoint(parts: Parts, tmp_path: Path) -> None:
    run = trained(planned(parts, loss="centres", evaluate_every=1), tmp_path)
    model, saved = open_checkpoint(run.last, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.last, "test")
    assert report["loss"] == pytest.approx(run.rows()["test_loss"][-1], rel=1e-6)
    assert report["baselines"] == {}
    assert "no baseline beside the figures: centres has weights" in (run.folder / "log.txt").read_text()


def test_the_layers_are_those_of_the_model_without_the_weights_of_a_loss(parts: Parts) -> None:
    assert planned(parts, loss="centres").layers == planned(parts).layers


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "hidden"}, "hidden.py holds weights in temperature, which would never be trained or saved"),
        ({"loss": "no_module"}, "without outputs and targets it has to make an nn.Module"),
        (
            {"loss": "centres", "seeds": [0, 1], "stacked": True},
            "a loss with weights of its own cannot be stacked",
        ),
    ],
)
def test_weights_that_would_not_be_trained_are_refused(
    changes: dict[str, Any], said: str, parts: Parts
) -> None:
    assert said in refusal(parts, **changes)


# ------------------------------------------------------------------------ batches as a whole


def test_a_loss_of_a_batch_learns_by_the_gradient_of_its_figure(parts: Parts) -> None:
    plan = planned(parts, loss="contrast", batch_size=20)
    loaded = plan.load()
    model = plan.model()
    inputs, targets = loaded["train"].batch(torch.arange(20).unsqueeze(0))
    model.begin(1)
    [outputs] = model(inputs)
    [losses] = model.losses(plan.recipe.loss, [outputs], targets)
    assert losses.shape == (20,)
    expected = torch.autograd.grad(losses[0], list(model.parameters()), retain_graph=True)
    found = torch.autograd.grad(losses.mean(), list(model.parameters()))
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b)


def test_a_loss_of_a_batch_is_evaluated_at_the_batch_size_of_training(parts: Parts, tmp_path: Path) -> None:
    changes = {"loss": "contrast", "batch_size": 20, "evaluate_every": 1, "metrics": []}
    plan = planned(parts, **changes)
    assert plan.recipe.evaluation_batch == 20
    run = trained(plan, tmp_path)
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["loss_of_batches"] == 20
    model, saved = open_checkpoint(run.last, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.last, "test")
    assert report["loss_of_batches"] == 20
    outputs, targets = model.outputs("test")
    pieces = [
        float(plan.recipe.loss(o, t)[0]) * len(t)
        for o, t in zip(outputs[0].split(20), targets.split(20), strict=True)
    ]
    assert report["loss"] == pytest.approx(sum(pieces) / len(targets), rel=1e-5)
    assert (
        "no baseline beside the figures: contrast judges a batch as a whole"
        in (run.folder / "log.txt").read_text()
    )


def test_a_loss_of_a_full_batch_is_evaluated_as_a_whole(parts: Parts, tmp_path: Path) -> None:
    run = trained(planned(parts, loss="contrast", batch_size="full", metrics=[]), tmp_path)
    assert json.loads((run.folder / "summary.json").read_text())["loss_of_batches"] == "full"


def test_a_loss_with_weights_says_which_probabilities_it_means(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"loss/centres.py": CENTRES.replace("def probabilities", "def others")})
    assert "centres has weights of its own, on which the probabilities of the classes may depend" in refusal(
        parts, loss="centres"
    )


def test_a_loss_that_says_nothing_of_its_batches_is_refused(parts: Parts) -> None:
    said = refusal(parts, loss="silent", metrics=[])
    assert "silent judges a batch as a whole: its figures depend on the batch size" in said
    assert "batchwise = True" in said


def test_a_loss_of_batches_gives_one_figure(parts: Parts) -> None:
    assert "batchwise = True, but gave (2, 2) instead of one figure" in refusal(
        parts, loss="boasting", metrics=[]
    )


# ------------------------------------------------------------------------ whole splits


def test_a_metric_of_a_batch_in_every_row_is_refused_with_the_remedy(parts: Parts) -> None:
    said = refusal(parts, metrics=["catch"])
    assert "catch is no mean over examples: its figure depends on the batch size" in said
    assert "whole = True" in said


@pytest.mark.parametrize("seeds", [[0], [0, 3]])
def test_a_metric_of_a_whole_split_is_of_all_its_examples(
    seeds: list[int], parts: Parts, tmp_path: Path
) -> None:
    changes = {"metrics": ["accuracy", "rank", "whole_f1"], "seeds": seeds, "evaluate_train_every": 1}
    plan = planned(parts, **changes)
    run = trained(replace_batch(plan, 7), tmp_path)
    rows = run.rows()
    assert "train_rank" not in rows, "the weights of an epoch are not those of one model"
    model, saved = open_checkpoint(run.last, run, [], parts, Path("no-data"))
    for split, column in (("test", "test"), ("train", "trainset")):
        report = evaluate_run(model, saved, run.last, split)
        outputs, targets = model.outputs(split)
        for index, seed in enumerate(seeds):
            last = {name: values[len(values) - len(seeds) + index] for name, values in rows.items()}
            for name, metric in plan.recipe.whole.items():
                by_hand = float(metric.measure(outputs[index], targets))
                assert report["per_seed"][str(seed)][name] == pytest.approx(by_hand)
                assert last[f"{column}_{name}"] == pytest.approx(by_hand)
    assert set(report["baselines"]["class prior"]) == {"loss", "accuracy", "rank", "whole_f1"}


def replace_batch(plan: Any, size: int) -> Any:
    from dataclasses import replace

    return replace(plan, recipe=replace(plan.recipe, evaluation_batch=size))


def test_a_metric_of_a_whole_split_may_choose_the_best_epoch(parts: Parts, tmp_path: Path) -> None:
    run = trained(planned(parts, metrics=["rank"], monitor="test_rank"), tmp_path)
    best = json.loads((run.folder / "summary.json").read_text())["best"]
    assert best["figures"]["test_rank"]["mean"] == max(run.rows()["test_rank"])
    assert "train_rank is never measured" in refusal(parts, metrics=["rank"], monitor="train_rank")
