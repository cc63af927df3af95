"""Any batch and any output: parts as a user would write them, trained, measured and resumed bit for bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, mostly_slow, outcome, own_parts, planned, trained
from typer.testing import CliRunner

from dlrun.blocks.tasks import Metric
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.console.commands.app import app
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan import Plan
from dlrun.training.plan_trials import try_on

IDS = '''
"""Sequences of ids whose class is that of their most frequent id, or the next id at each position."""
import torch
from dlrun.data import Data, Examples


def ids(root, *, each: bool = False, holes: bool = False):
    """60 sequences of 7 ids from 0 to 4."""

    def read():
        stream = torch.Generator().manual_seed(1)
        inputs = torch.randint(5, (90, 8), generator=stream)
        if not each:
            targets = torch.nn.functional.one_hot(inputs[:, :-1], 5).sum(1).argmax(1)
        else:
            inputs = (inputs[:, :1] + torch.arange(8)) % 5
            targets = inputs[:, 1:].clone()
            if holes:
                targets[torch.rand(targets.shape, generator=stream) < 0.3] = -100
        whole = Examples(inputs[:, :-1], targets)
        return {"train": whole.take(torch.arange(60)), "test": whole.take(torch.arange(60, 90))}

    names = tuple("abcde")
    return Data("sequence" if each else "classification", (7,), read, classes=names, vocabulary=names,
                places=(7,) if each else (), input_dtype=torch.int64, autoregressive=each)
'''
GRU = '''
"""A recurrent model of ids."""
import torch
from torch import nn


class Gru(nn.Module):
    def __init__(self, tokens, outputs, each):
        super().__init__()
        self.each, self.embedding = each, nn.Embedding(tokens, 6)
        self.layer, self.head = nn.GRU(6, 8, batch_first=True), nn.Linear(8, outputs)

    def forward(self, ids):
        states, _ = self.layer(self.embedding(ids))
        return self.head(states).transpose(1, 2) if self.each else self.head(states[:, -1])


def gru(shape, outputs, data):
    """One layer of 8 units."""
    return Gru(len(data.vocabulary), outputs, bool(data.places))
'''
TWO_INPUTS = '''
"""A picture and two numbers for each example."""
import torch
from dlrun.data import Data, Examples, Preprocessing


def pairs(root):
    """The class depends on both."""

    def read():
        stream = torch.Generator().manual_seed(2)
        picture = torch.randint(256, (80, 1, 4, 4), generator=stream, dtype=torch.uint8)
        numbers = 50 + 10 * torch.randn(80, 2, generator=stream)
        targets = ((picture.float().mean((1, 2, 3)) / 128 + numbers[:, 0] / 50) > 2).long()
        whole = Examples({"picture": picture, "numbers": numbers}, targets)
        return {"train": whole.take(torch.arange(50)), "test": whole.take(torch.arange(50, 80))}

    def fit(training):
        numbers = training.inputs["numbers"]
        return {"picture": Preprocessing(scale=torch.tensor(255.0)),
                "numbers": Preprocessing(numbers.mean(0), numbers.std(0))}

    shapes = {"picture": (1, 4, 4), "numbers": (2,)}
    return Data("classification", shapes, read, classes=("no", "yes"), fit=fit)
'''
BOTH = '''
"""A model of two inputs."""
import torch
from torch import nn


class Both(nn.Module):
    def __init__(self, shape, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16 + shape["numbers"][0], 8), nn.Dropout(0.2), nn.ReLU(),
                                    nn.Linear(8, outputs))

    def forward(self, inputs):
        return self.layers(torch.cat([inputs["picture"].flatten(1), inputs["numbers"]], 1))


def both(shape, outputs):
    """One hidden layer."""
    return Both(shape, outputs)
'''
VAE = '''
"""A variational autoencoder of vectors."""
import torch
from torch import nn


class Vae(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(n, 4), nn.Linear(2, n)

    def forward(self, inputs):
        mean, log_variance = self.encoder(inputs).chunk(2, 1)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        outputs = self.decoder(mean + noise * (log_variance / 2).exp())
        return {"outputs": outputs, "mean": mean, "log_variance": log_variance}


def vae(shape, outputs):
    """A code of two numbers. Source: Kingma and Welling 2013, arXiv 1312.6114."""
    return Vae(shape[0])
'''
ELBO = '''
"""The negative evidence lower bound."""
of_estimates = True


def elbo(outputs, targets):
    """Half the squared error, and the divergence from the standard normal distribution."""
    mean, log_variance = outputs["mean"], outputs["log_variance"]
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
    return (outputs["outputs"] - targets).square().sum(1) / 2 + divergence
'''
LABELS = '''
"""Numbers with several labels each, as from the columns of a table."""
import torch
from dlrun.data import Data, Examples


def labelled(root):
    """Three labels, one of them rare."""

    def read():
        stream = torch.Generator().manual_seed(3)
        inputs = torch.randn(90, 4, generator=stream)
        targets = (inputs[:, :3] > torch.tensor([0.0, -0.5, 1.5])).float()
        whole = Examples(inputs, targets)
        return {"train": whole.take(torch.arange(60)), "test": whole.take(torch.arange(60, 90))}

    return Data("multilabel", (4,), read, classes=("red", "green", "rare"))
'''
SUPCON = '''
"""Supervised contrastive loss."""
import torch

batchwise = True


def outputs(data):
    return 6


def supcon(outputs, targets):
    """Pull examples of one class together. Source: Khosla et al. 2020, arXiv 2004.11362."""
    codes = torch.nn.functional.normalize(outputs, dim=1)
    near = codes @ codes.T / 0.5 - 1e9 * torch.eye(len(codes))
    same = (targets[:, None] == targets) & ~torch.eye(len(codes), dtype=torch.bool)
    return -(near.log_softmax(1) * same).sum() / same.sum().clamp_min(1)
'''
CODES = '''
"""The classes of spiral, for a loss of codes."""
from dataclasses import replace
from dlrun.dataset.spiral import spiral


def codes(root):
    """The task is left open: no class is predicted."""
    return replace(spiral(root, points=20), task="other")
'''
SAM = '''
"""Sharpness-aware minimisation."""
import torch
from dlrun.config.options import Positive

closure = True


class Sam(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure):
        loss = closure()
        every = [p for group in self.param_groups for p in group["params"]]
        length = torch.stack([p.grad.norm() for p in every]).norm()
        away = [0.05 * p.grad / (length + 1e-12) for p in every]
        torch._foreach_add_(every, away)
        closure()
        torch._foreach_sub_(every, away)
        super().step()
        return loss


def sam(parameters, *, lr: Positive):
    """SGD along the gradient at a worse place nearby. Source: Foret et al. 2020, arXiv 2010.01412."""
    return Sam(parameters, lr=lr, momentum=0.9)
'''
GLOBAL_NORM = '''
"""Steps of the same length."""
import torch
from dlrun.config.options import Positive


class GlobalNorm(torch.optim.SGD):
    @torch.no_grad()
    def step(self):
        every = [p for group in self.param_groups for p in group["params"]]
        length = torch.stack([p.grad.norm() for p in every]).norm()
        for p in every:
            p.grad.div_(length)
        super().step()


def global_norm(parameters, *, lr: Positive):
    """The gradient divided by its norm over all weights."""
    return GlobalNorm(parameters, lr=lr, momentum=0.5)
'''
AUROC = '''
"""The area under the ROC curve of two classes."""
task = "classification"
whole = True


def auroc(probabilities, targets):
    """The share of pairs of both classes that are in order."""
    of_one = probabilities[:, 1]
    pairs = of_one[targets == 1][:, None] - of_one[targets == 0]
    return ((pairs > 0).double() + 0.5 * (pairs == 0)).mean()
'''
MACRO_F1 = '''
"""The mean F1 over the classes."""
task = "classification"


def macro_f1(outputs, targets):
    """For each class the hits, and half of the predicted and true ones, (n, 2 · classes)."""
    import torch
    both = outputs.argmax(1), targets
    said, true = (torch.nn.functional.one_hot(own, outputs.shape[1]).float() for own in both)
    return torch.cat([said * true, (said + true) / 2], 1)


def finish(means):
    """F1 of each class from their means, averaged."""
    k = len(means) // 2
    return sum(hits / (half or 1) for hits, half in zip(means[:k], means[k:])) / k
'''
PARTS = {
    "dataset/ids.py": IDS,
    "architecture/gru.py": GRU,
    "dataset/pairs.py": TWO_INPUTS,
    "architecture/both.py": BOTH,
    "architecture/vae.py": VAE,
    "loss/elbo.py": ELBO,
    "dataset/labelled.py": LABELS,
    "loss/supcon.py": SUPCON,
    "dataset/codes.py": CODES,
    "optimizer/sam.py": SAM,
    "optimizer/global_norm.py": GLOBAL_NORM,
    "metrics/auroc.py": AUROC,
    "metrics/macro_f1.py": MACRO_F1,
}
TWO_CLASSES = {"name": "spiral", "points": 20, "classes": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "a GRU of ids": {"dataset": "ids", "architecture": "gru"},
    "the next id": {"dataset": {"name": "ids", "each": True}, "architecture": "gru"},
    "targets with holes": {"dataset": {"name": "ids", "each": True, "holes": True}, "architecture": "gru"},
    "two inputs": {"dataset": "pairs", "architecture": "both"},
    "a VAE": {
        "task": "reconstruction",
        "dataset": "line",
        "architecture": "vae",
        "loss": "elbo",
        "metrics": ["mae"],
    },
    "labels": {"dataset": "labelled", "loss": "bce", "metrics": ["f1", "exact_match"]},
    "contrastive": {"dataset": "codes", "loss": "supcon", "metrics": []},
    "sharpness": {"optimizer": {"name": "sam", "lr": 0.1}},
    "a global norm": {"optimizer": {"name": "global_norm", "lr": 0.1}},
    "L-BFGS": {"optimizer": {"name": "lbfgs", "iterations": 4}, "batch_size": "full"},
    "mixup": {"augmentations": [{"name": "mixup", "alpha": 0.5}, {"name": "noise", "sd": 0.1}]},
    "mixup of two": {
        "augmentations": ["mixup"],
        "dataset": {"name": "spiral", "points": 20, "classes": 2},
        "loss": "bce",
    },
    "plateau": {  # by which the rates of seeds 0, 3 and 5 drop at different epochs
        "schedule": {"name": "plateau", "patience": 1, "threshold": 0.1},
        "optimizer": {"name": "adam", "lr": 0.1},
        "epochs": 8,
    },
    "metrics": {"dataset": "pairs", "architecture": "both", "metrics": ["auroc", "macro_f1"]},
}
EVERY = pytest.mark.parametrize("setting", SETTINGS)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return own_parts(tmp_path, PARTS)


def plan_of(parts: Parts, setting: str, **more: Any) -> Plan:
    return planned(parts, **SETTINGS[setting] | {"seeds": [0, 3]} | more)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_any_kind_is_written_in_few_lines(name: str) -> None:
    assert len(PARTS[name].strip().splitlines()) <= 30


USUAL = ("a GRU of ids", "two inputs", "contrastive", "mixup")


@pytest.mark.parametrize("setting", mostly_slow(SETTINGS, *USUAL))
def test_a_run_of_any_batch_is_resumed_bit_for_bit_and_each_seed_is_as_alone(
    setting: str, parts: Parts, tmp_path: Path
) -> None:
    plan = plan_of(parts, setting)
    try_on(plan, plan.load())
    whole, halves = trained(plan, tmp_path / "a"), trained(plan, tmp_path / "b", stop_after=1)
    go_on(halves, SETTINGS[setting] | {"seeds": [0, 3]}, parts)
    assert not differences(outcome(whole), outcome(halves))
    alone = trained(plan_of(parts, setting, seeds=[3]), tmp_path / "c")
    of_three = [row for row in zip(*whole.rows().values(), strict=True) if row[1] == 3]
    columns = [name for name in whole.rows() if name != "seconds"]
    assert len(of_three) == plan.config.epochs
    for name in columns:
        place = list(whole.rows()).index(name)
        assert [row[place] for row in of_three] == alone.rows()[name], name


def test_the_rate_of_each_seed_follows_its_own_figures(parts: Parts, tmp_path: Path) -> None:
    rows = trained(plan_of(parts, "plateau", seeds=[0, 3, 5]), tmp_path).rows()
    rates = {}
    for seed in (0, 3, 5):
        own = [place for place, other in enumerate(rows["seed"]) if other == seed]
        rates[seed] = [rows["lr"][place] for place in own]
        sgd = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=1, threshold=0.1)
        for place, rate in zip(own, rates[seed], strict=True):
            assert rate == pytest.approx(torchs.get_last_lr()[0]), (seed, place)
            torchs.step(rows["train_loss"][place])
    assert len({tuple(own) for own in rates.values()}) == 3, "each seed has rates of its own"


# ------------------------------------------------------------------------ figures, worked out by hand


@EVERY
def test_making_a_plan_draws_no_random_number(setting: str, parts: Parts) -> None:
    before = torch.get_rng_state()
    plan_of(parts, setting)
    assert torch.equal(before, torch.get_rng_state())


def by_hand(plan: Plan, run_folder: Path, split: str = "test") -> tuple[Any, Any, dict[str, Any]]:
    """The outputs of the first seed and the targets of a split, and what `dlrun eval` reports."""
    [last] = sorted(run_folder.glob("*/checkpoints/last.pt"))
    model, saved = open_checkpoint(last, None, (), plan.parts, Path("no-data"))
    report = evaluate_run(model, saved, last, split)
    return model.outputs(split)[0][0], model.outputs(split)[1], report


def test_each_place_that_counts_counts_the_same(parts: Parts, tmp_path: Path) -> None:
    plan = plan_of(parts, "targets with holes", seeds=[0], metrics=["accuracy", "perplexity", "exact_match"])
    trained(plan, tmp_path / "a")
    outputs, targets, report = by_hand(plan, tmp_path / "a")
    loss = torch.nn.functional.cross_entropy(outputs, targets).item()  # ignores -100
    there = targets != -100
    assert report["loss"] == pytest.approx(loss, rel=1e-6)
    assert report["metrics"]["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    right = outputs.argmax(1) == targets
    assert report["metrics"]["accuracy"] == pytest.approx(right[there].double().mean().item())
    assert report["metrics"]["exact_match"] == pytest.approx((right | ~there).all(1).double().mean().item())
    assert report["counted"] == "positions"
    confusion = torch.tensor(report["confusion"]["0"])
    assert confusion.sum() == there.sum(), "a place without a target is in no confusion"
    assert confusion.trace() / confusion.sum() == pytest.approx(report["metrics"]["accuracy"])
    counted = plan.load()["train"].targets
    shares = torch.bincount(counted[counted != -100])
    wanted = -(shares / shares.sum()).log()[targets[there]].mean().item()
    assert report["baselines"]["class prior"]["loss"] == pytest.approx(wanted, rel=1e-5)


def test_a_loss_of_batches_is_given_whole_sequences_or_refused(tmp_path: Path) -> None:
    text = TOO_MANY.replace("def outputs(data):\n    return 3\n", "batchwise = True\n")
    parts = own_parts(tmp_path, PARTS | {"loss/few.py": text})
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset={"name": "ids", "each": True}, architecture="gru", loss="few")
    assert "few judges a batch as a whole, but is given each place as an example" in str(
        refused.value.mistakes[0]
    )
    assert "set places = True in its file" in str(refused.value.mistakes[0])


@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy_scratch"])
def test_outputs_of_any_size_where_none_counts_change_nothing(parts: Parts, loss: str) -> None:
    task = plan_of(parts, "targets with holes", loss=loss).task
    stream = torch.Generator().manual_seed(1)
    outputs = torch.randn(2, len(task.data.classes), *task.data.places, generator=stream)
    targets = torch.zeros(2, *task.data.places, dtype=torch.long)
    targets[:, 1:] = -100
    wild = outputs.clone()
    wild[:, 0, 1], wild[:, 1, 2] = math.inf, 1e30
    for given in (outputs, wild):
        given.requires_grad_()
    judge = task.judge(task.loss.measure)
    (one, other) = (judge(given, targets)[:, 0] for given in (outputs, wild))
    torch.testing.assert_close(one, other)
    other.sum().backward()
    assert wild.grad is not None and bool(wild.grad.isfinite().all())
    assert not bool(wild.grad[:, :, 1:].any())

    def bits(probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -probabilities.gather(1, targets.unsqueeze(1)).squeeze(1).log2()

    measured = task.metric(Metric(bits, sees="probabilities")).measure(wild.detach(), targets)
    assert bool(measured.isfinite().all())


def test_a_step_over_places_is_that_of_pytorchs_cross_entropy(parts: Parts) -> None:
    plan = plan_of(parts, "targets with holes", seeds=[0])
    inputs, targets = plan.load()["train"].batch(torch.arange(16))
    model = plan.model([0])
    model.begin(1)
    [losses] = model.losses(plan.recipe.loss, model(inputs.unsqueeze(0)), targets.unsqueeze(0))
    assert losses.shape == (16, 2)
    hardware = plan.hardware()
    hardware.step([losses], model, plan.optimizers(model), None)
    stepped = {name: own.grad for name, own in model.named_parameters()}
    fresh = plan.model([0])
    torch.nn.functional.cross_entropy(fresh.copies[0](inputs), targets).backward()
    for name, own in fresh.named_parameters():
        torch.testing.assert_close(stepped[name], own.grad)


def test_labels_have_the_figures_of_labels(parts: Parts, tmp_path: Path) -> None:
    plan = plan_of(parts, "labels", seeds=[0], epochs=30)
    trained(plan, tmp_path / "a")
    outputs, targets, report = by_hand(plan, tmp_path / "a")
    said, true = outputs > 0, targets > 0.5
    assert report["metrics"]["exact_match"] == pytest.approx((said == true).all(1).double().mean().item())
    f1 = 2 * (said & true).sum(0) / (said.sum(0) + true.sum(0))
    assert report["metrics"]["f1"] == pytest.approx(f1[~f1.isnan()].mean().item(), rel=1e-6)
    assert [report["per_class"][name]["f1"] for name in ("red", "green")] == pytest.approx(f1[:2].tolist())
    shares = plan.load()["train"].targets.mean(0)
    constant = -(targets * shares.log() + (1 - targets) * (1 - shares).log()).mean().item()
    assert report["baselines"]["shares of the labels"]["loss"] == pytest.approx(constant, rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "mse_scratch", "bce"])
def test_labels_are_judged_by_a_loss_of_logits_alone(parts: Parts, loss: str) -> None:
    if loss == "bce":
        assert plan_of(parts, "labels", loss=loss).task.outputs == 3
        return
    with pytest.raises(ConfigError) as refused:
        plan_of(parts, "labels", loss=loss)
    assert "the outputs of a task multilabel are logits; take bce" in str(refused.value.mistakes[0])


@pytest.mark.parametrize(
    ("dataset", "body"),
    [
        ("labelled", "F.binary_cross_entropy(outputs, targets, reduction='none').mean(1)"),
        ("two", "F.binary_cross_entropy(outputs.squeeze(1), targets.float(), reduction='none')"),
    ],
)
def test_a_loss_of_probabilities_is_refused_where_outputs_are_logits(
    dataset: str, body: str, tmp_path: Path
) -> None:
    stated = "" if dataset == "labelled" else "def outputs(data):\n    return 1\n"
    text = f'''
"""Binary cross entropy of probabilities."""
import torch.nn.functional as F
{stated}

def of_shares(outputs, targets):
    """The cross entropy."""
    return {body}
'''
    parts = own_parts(tmp_path, PARTS | {"loss/of_shares.py": text})
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset=TWO_CLASSES if dataset == "two" else dataset, loss="of_shares", metrics=[])
    assert "of_shares takes probabilities" in str(refused.value)


def test_a_metric_may_not_take_the_name_of_the_losss_own_figures(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"metrics/loss.py": MACRO_F1.replace("macro_f1", "loss")})
    with pytest.raises(ConfigError, match="loss is the name of the loss's own figures"):
        planned(parts, metrics=["loss"])


def test_a_reconstruction_is_measured_against_its_prepared_inputs(parts: Parts, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "task": "reconstruction",
        "dataset": "dots",
        "metrics": ["rmse"],
        "loss": "mse",
    }
    changes["architecture"] = {"name": "autoencoder", "hidden": [20], "code": 4}
    plan = planned(parts, **changes)
    run = trained(plan, tmp_path / "a")
    outputs, targets, report = by_hand(plan, tmp_path / "a")
    loaded = plan.load()
    inputs, _ = loaded["test"].batch(torch.arange(len(loaded["test"])))
    assert torch.equal(targets, inputs)
    assert report["loss"] == pytest.approx((outputs - inputs).square().mean().item(), rel=1e-5)
    mean, _ = loaded["train"].batch(torch.arange(len(loaded["train"])))
    guess = (inputs - mean.mean(0)).square().mean().item()
    assert report["baselines"]["mean"]["loss"] == pytest.approx(guess, rel=1e-5)
    noisy = planned(parts, **changes, augmentations=[{"name": "noise", "sd": 0.5}])
    assert trained(noisy, tmp_path / "b").rows()["test_loss"] != run.rows()["test_loss"]


def test_what_no_guess_is_known_for_has_none(parts: Parts, tmp_path: Path) -> None:
    for setting, reason in (("a VAE", "several outputs"), ("contrastive", "judges a batch as a whole")):
        plan = plan_of(parts, setting, seeds=[0])
        run = trained(plan, tmp_path / setting)
        assert by_hand(plan, tmp_path / setting)[2]["baselines"] == {}
        assert reason in (run.folder / "log.txt").read_text()


def test_whole_numbers_stay_whole_numbers(parts: Parts) -> None:
    inputs, _ = plan_of(parts, "a GRU of ids").load()["train"].batch(torch.arange(4))
    assert inputs.dtype == torch.int64


def test_each_of_several_inputs_is_prepared_by_itself(parts: Parts) -> None:
    loaded = plan_of(parts, "two inputs").load()
    inputs, _ = loaded["train"].batch(torch.arange(50))
    assert inputs["picture"].dtype == torch.float32
    assert 0 <= inputs["picture"].min() < inputs["picture"].max() <= 1
    torch.testing.assert_close(inputs["numbers"].mean(0), torch.zeros(2), atol=1e-5, rtol=0)


# ------------------------------------------------------------------------ models that see their targets


@pytest.mark.parametrize(
    ("architecture", "fix"),
    [
        ({"name": "transformer", "width": 8, "heads": 2, "layers": 1}, "causal: true"),
        ({"name": "rnn", "hidden": 4, "bidirectional": True}, "bidirectional: false"),
    ],
)
def test_a_model_that_sees_the_tokens_that_it_is_to_predict_is_refused(
    architecture: dict[str, Any], fix: str, parts: Parts
) -> None:
    next_ids = {"name": "ids", "each": True}
    plan = planned(parts, dataset=next_ids, architecture=architecture)
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    [mistake] = map(str, refused.value.mistakes)
    assert "sees the tokens that it is to predict" in mistake
    assert fix in mistake
    honest = architecture | (
        {"causal": True} if architecture["name"] == "transformer" else {"bidirectional": False}
    )
    plan = planned(parts, dataset=next_ids, architecture=honest)
    try_on(plan, plan.load())


# ------------------------------------------------------------------------ what is shown of it


def test_the_labels_of_new_rows_are_named_and_written_into_a_cell(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(plan_of(parts, "labels", epochs=40), tmp_path)
    table = tmp_path / "new.csv"
    table.write_text("x1,x2,x3,x4\n2,2,-2,0\n-2,-2,-2,0\n", encoding="utf-8")
    monkeypatch.setenv("DLRUN_PARTS", str(parts.folder))
    words = ["predict", run.name, str(table), "--csv", "--runs-dir", str(run.folder.parent)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    head, first, second = said.stdout.splitlines()
    assert head == "input,labels,probability of red,probability of green,probability of rare,problem"
    assert first.startswith('row 2,"red, green",')
    assert second.startswith("row 3,,")


def test_what_is_said_of_a_target_is_not_said_of_another_one(parts: Parts) -> None:
    own = planned(parts, dataset="days", loss="mse", metrics=["mae"])
    other = planned(
        parts,
        dataset="days",
        loss="mse",
        metrics=["mae"],
        task="reconstruction",
        architecture={"name": "autoencoder", "hidden": [4], "code": 2},
    )
    assert (own.data.target, own.data.unit, own.data.baselines) == ("warmth", "K", ("day before",))
    assert (other.data.target, other.data.unit, other.data.baselines) == ("", "", ())


# ------------------------------------------------------------------------ types, and what is refused


@pytest.mark.parametrize("setting", ["two inputs", "mixup", "a GRU of ids", "targets with holes"])
def test_whatever_the_batch_it_may_be_of_float64(setting: str, parts: Parts, tmp_path: Path) -> None:
    plan = plan_of(parts, setting, precision="float64", seeds=[0])
    try_on(plan, plan.load())
    run = trained(plan, tmp_path)
    assert run.summary()["status"] == "finished"
    assert plan.model().copies[0].state_dict().popitem()[1].dtype == torch.float64


def test_ids_are_not_blended(parts: Parts) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(parts, "a GRU of ids", augmentations=["mixup"])
    [mistake] = map(str, refused.value.mistakes)
    assert "mixup does not take inputs of 7: they are whole numbers, which cannot be blended" in mistake


@pytest.mark.parametrize("augmentation", ["noise", "flip", "mixup", "crop", "cutout"])
def test_an_augmentation_of_one_input_is_refused_for_several(augmentation: str, parts: Parts) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(parts, "two inputs", augmentations=[augmentation])
    [mistake] = map(str, refused.value.mistakes)
    said = "changes a single input, but an example has several: picture 1×4×4, numbers 2"
    assert f"augmentations: {augmentation} {said}" in mistake


TOO_MANY = '''
"""A loss with three outputs for five classes."""
import torch.nn.functional as F

task = "classification"


def outputs(data):
    return 3


def few(outputs, targets):
    """Cross entropy of the first classes."""
    return F.cross_entropy(outputs, targets.clamp_max(2), reduction="none")
'''


@pytest.mark.parametrize("each", [False, True])
def test_outputs_that_are_no_scores_of_the_classes_are_refused_at_places_too(
    each: bool, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, PARTS | {"loss/few.py": TOO_MANY})
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset={"name": "ids", "each": each}, architecture="gru", loss="few")
    assert "loss: few takes 3 outputs for 5 classes" in str(refused.value.mistakes[0])
