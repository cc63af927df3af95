"""Classes that count more or less in the loss, and targets that are spread: as in PyTorch, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    STEPS,
    differences,
    go_on,
    interrupting,
    lines_of_points,
    mostly_slow,
    of_seed,
    outcome,
    own_parts,
    planned,
    started,
    trained,
)
from torch import Tensor
from torch.nn import functional as F

from dlrun.blocks.teachers import Taught
from dlrun.config.keys import flat_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.meters import meter_for
from dlrun.training.opening import open_checkpoint, open_given
from dlrun.training.plan import Plan

MADE_UP = '''
"""Examples with a class each, at each place or with labels, most of them of the first."""
import torch
from dlrun.data import Data, Examples


def made_up(root, *, task: str = "classification", weighted: bool = False, without: int = -1):
    """60 training examples with targets of a task; none is of the class `without`."""

    def read():
        stream = torch.Generator().manual_seed(4)
        splits = {}
        for name, n in (("train", 60), ("test", 40)):
            x = torch.randn(n, 4, generator=stream)
            scores = x[:, :2] + torch.randn(n, 2, generator=stream)
            classes = (scores > 0.8).long() + (scores > 1.6).long()
            classes[classes == without] = 0
            if task == "classification":
                targets = classes[:, 0]
            elif task == "multilabel":
                targets = (x[:, :3] > 0.5).float()
            else:
                targets = classes
                targets[::5, 1] = -100
            weights = torch.randint(0, 4, (n,), generator=stream) if weighted else None
            splits[name] = Examples(x, targets, weights=weights)
        return splits

    places = (2,) if task in ("sequence", "pixels") else ()
    return Data(task, (4,), read, classes=("a", "b", "c"), places=places, weighted=weighted)
'''
PLACES = '''
from torch import nn


def each_place(shape, outputs):
    """Outputs (n, classes, 2)."""
    return nn.Sequential(nn.Linear(4, 2 * outputs), nn.Unflatten(1, (outputs, 2)))
'''
WARM = '''
import torch
from torch import nn

task = "classification"


class Warm(nn.Module):
    def __init__(self):
        super().__init__()
        self.heat = nn.Parameter(torch.tensor(1.0))

    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs * self.heat, targets, reduction="none")


def warm():
    """A loss with a weight of its own."""
    return Warm()


def probabilities(outputs):
    return outputs.softmax(-1)
'''
WHOLE = '''
task = "classification"
places = True


def at_once(outputs, targets):
    """The square of the outputs of a whole sequence."""
    return outputs.square().mean((1, 2))
'''
BATCHWISE = '''
task = "classification"
batchwise = True


def together(outputs, targets):
    """One figure for a batch."""
    return outputs.square().mean()
'''
MORE = {
    "dataset/made_up.py": MADE_UP,
    "architecture/each_place.py": PLACES,
    "loss/warm.py": WARM,
    "loss/at_once.py": WHOLE,
    "loss/together.py": BATCHWISE,
}
SGD = {"name": "sgd", "lr": 0.1}
W = [0.5, 3.0, 0.0]


def parts(folder: Path) -> Parts:
    return own_parts(folder, MORE)


def changes(task: str = "classification", loss: str = "cross_entropy", **options: Any) -> dict[str, Any]:
    more = {"architecture": "each_place"} if task in ("sequence", "pixels") else {}
    return {"dataset": {"name": "made_up", "task": task}, "loss": {"name": loss, **options}, **more}


def mean_loss(plan: Plan, outputs: Tensor, targets: Tensor) -> float:
    """The mean loss of examples in two batches, as a row has it."""
    meter = meter_for(torch.device("cpu"), plan.recipe, plan.model(), len(targets))
    for some in (slice(1), slice(1, None)):
        meter.measure(outputs[None, some], targets[None, some], targets[None, some])
    return meter.means()["loss"][0]


# (task, targets): random ones, one class alone, one example, one of weight 0 beside another
CLASSES = [torch.randint(3, (9,), generator=torch.Generator().manual_seed(1)), torch.ones(4).long()]
CLASSES += [torch.tensor([0]), torch.tensor([2, 1])]
AT_PLACES = [torch.stack([own, own.flip(0)], 1) for own in CLASSES]
AT_PLACES[0][::2, 0] = -100


@pytest.mark.parametrize("number", range(len(CLASSES)))
@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy_scratch", "nll"])
@pytest.mark.parametrize("task", ["classification", "sequence", "pixels"])
def test_the_mean_over_weighted_classes_is_that_of_pytorch(
    task: str, loss: str, number: int, tmp_path: Path
) -> None:
    targets = (CLASSES if task == "classification" else AT_PLACES)[number]
    plan = planned(parts(tmp_path), metrics=[], **changes(task, loss, class_weight=W))
    shape = (len(targets), 3, *targets.shape[1:])
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(2)).log_softmax(1)
    wanted = F.cross_entropy(outputs, targets, weight=torch.tensor(W))
    assert mean_loss(plan, outputs, targets) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("task", ["classification", "sequence"])
def test_a_step_is_that_of_pytorchs_weighted_mean_with_balanced_weights(task: str, tmp_path: Path) -> None:
    """The weights are those of scikit-learn: n / (k · n_c)."""
    one_step = {"batch_size": "full", "epochs": 1, "optimizer": SGD}
    plan = planned(parts(tmp_path), **changes(task, class_weight="balanced"), **one_step)
    model, loaded = plan.model().copies[0], plan.load()
    inputs, targets = loaded["train"].batch(torch.arange(60))
    counts = torch.stack([(targets == number).sum() for number in range(3)]).double()
    weights = (counts.sum() / (3 * counts)).float()
    loss = F.cross_entropy(model(inputs), targets, weight=weights)
    loss.backward()
    wanted = {name: own.detach() - 0.1 * own.grad for name, own in model.named_parameters()}  # type: ignore[operator]
    run = trained(plan, tmp_path)
    learnt = load_checkpoint(run.last).state["model"][0]
    for name, own in wanted.items():
        torch.testing.assert_close(learnt[name], own, rtol=1e-5, atol=1e-6)
    assert run.rows()["train_loss"][0] == pytest.approx(float(loss.detach()), rel=1e-5)
    found = run.summary()["class_weights"]
    assert found == pytest.approx(dict(zip("abc", weights.tolist(), strict=True)))
    assert "weights of the classes in the loss, balanced: " in (run.folder / "log.txt").read_text()


def test_metrics_and_the_losses_of_single_examples_have_no_weights_of_classes(tmp_path: Path) -> None:
    still = {"optimizer": {"name": "sgd", "lr": 0.0}, "epochs": 1}
    runs = []
    for options in ({}, {"class_weight": "balanced"}):
        runs.append(trained(planned(parts(tmp_path), **changes(**options), **still), tmp_path))
    plain, weighted = ([run.rows()[f"test_{name}"] for name in ("accuracy", "loss")] for run in runs)
    assert plain[0] == weighted[0] and plain[1] != weighted[1]
    losses = []
    for run in runs:
        model, saved = open_checkpoint(run.last, run, [], parts(tmp_path), Path("no-data"))
        losses.append(model.judged("test", torch.arange(40))[1])
        report = evaluate_run(model, saved, run.last, "test")
        [confusion] = report["confusion"].values()
        assert report["metrics"]["accuracy"] == sum(confusion[i][i] for i in range(3)) / 40
        assert report["recorded"]["loss"]["difference"] == 0
    torch.testing.assert_close(*losses)


def test_other_data_are_judged_by_the_weights_of_the_training_split(tmp_path: Path) -> None:
    """Also where the training data are no longer there."""
    path, other = tmp_path / "points.txt", tmp_path / "other.txt"
    path.write_text("\n".join(lines_of_points(40)))
    other.write_text("\n".join(lines_of_points(30, seed=1)))
    own = parts(tmp_path)
    plan = planned(
        own,
        dataset={"name": "points", "path": str(path)},
        loss={"name": "cross_entropy", "class_weight": "balanced"},
    )
    run = trained(plan, tmp_path)
    counts = torch.bincount(plan.load()["train"].targets).float()
    path.unlink()
    model, saved = open_given(run.last, run, [], own, Path("no-data"), other)
    given = model.loaded[model.given]
    inputs, targets = given.batch(torch.arange(30))
    with torch.no_grad():
        outputs = model.model.copies[0](inputs)
    wanted = F.cross_entropy(outputs, targets, weight=30 / (2 * counts))
    assert evaluate_run(model, saved, run.last, model.given)["loss"] == pytest.approx(float(wanted), rel=1e-5)


def test_an_example_has_its_own_weight_and_that_of_its_class(tmp_path: Path) -> None:
    given = changes(class_weight="balanced")
    given["dataset"]["weighted"] = True
    plan = planned(parts(tmp_path), **given)
    train = plan.load()["train"]
    assert train.weights is not None and plan.loss.class_weights is not None
    counts = torch.stack([train.weights[train.targets == number].sum() for number in range(3)])
    weights = counts.sum() / (3 * counts)
    assert plan.loss.class_weights.values == pytest.approx(weights.tolist())
    targets, outputs = train.batch(torch.arange(60))[1], torch.randn(60, 3)
    figures = plan.recipe.loss(outputs, targets)
    each = train.weights * weights[train.targets]
    losses = F.cross_entropy(outputs, train.targets, reduction="none")
    torch.testing.assert_close(figures, torch.stack([each * losses, each], 1))


def test_a_blend_of_two_examples_has_the_weights_of_both_classes(tmp_path: Path) -> None:
    plan = planned(parts(tmp_path), **changes(class_weight=W))
    shares, outputs = torch.tensor([[0.25, 0.75, 0.0]]), torch.randn(1, 3)
    loss = F.cross_entropy(outputs, shares, reduction="none")
    [figures] = plan.recipe.loss(outputs, shares)
    assert figures[1] == 0.25 * 0.5 + 0.75 * 3.0
    torch.testing.assert_close(figures[0] / figures[1], loss[0])


BALANCED = {"class_weight": "balanced", "label_smoothing": 0.1}
KINDS: dict[str, dict[str, Any]] = {
    "apart": changes(**BALANCED),
    "stacked": changes(**BALANCED) | {"stacked": True},
    "weights of its own": changes(loss="warm", **BALANCED),
    "sequence": changes("sequence", **BALANCED),
    "lbfgs": changes(**BALANCED) | {"optimizer": {"name": "lbfgs", "lr": 0.1, "iterations": 3}},
}


@pytest.mark.parametrize("kind", mostly_slow(KINDS, "apart", "weights of its own"))
def test_a_weighted_run_resumes_bit_for_bit_and_each_seed_is_as_alone(
    kind: str, tmp_path: Path, save_always: None
) -> None:
    wanted = {"seeds": [3, 1], "epochs": 3, "batch_size": 20, **KINDS[kind]}
    own = parts(tmp_path)
    unbroken = trained(planned(own, **wanted), tmp_path)
    run = started(planned(own, **wanted), tmp_path)
    go_on(run, wanted, own, view=interrupting(STEPS + 1))
    go_on(run, wanted, own)
    assert not differences(outcome(unbroken), outcome(run))
    if kind != "stacked":
        alone = trained(planned(own, **wanted | {"seeds": [1]}), tmp_path)
        assert not differences(of_seed(unbroken, 1), of_seed(alone, 1))


def test_a_guess_by_the_shares_in_the_loss_stands_beside_the_class_prior(tmp_path: Path) -> None:
    """With balanced weights it is the uniform one, whose loss is the logarithm of the number of classes."""
    run = trained(planned(parts(tmp_path), epochs=1, **changes(class_weight="balanced")), tmp_path)
    baselines = run.summary()["baselines"]["test"]
    uniform = float(torch.tensor(3.0).log())
    assert baselines["weighted class prior"]["loss"] == pytest.approx(uniform, rel=1e-5)
    assert baselines["class prior"]["loss"] > uniform
    run = trained(planned(parts(tmp_path), epochs=1, **changes(class_weight=W)), tmp_path)
    baselines = run.summary()["baselines"]["test"]
    assert baselines["weighted class prior"]["loss"] < baselines["class prior"]["loss"], "with a weight of 0"


@pytest.mark.parametrize(
    ("given", "key", "what"),
    [
        (changes(class_weight={"bb": 2.0}), "class_weight", "there is no class bb; did you mean 'b'?"),
        (changes(class_weight=[1.0, 2.0]), "class_weight", "it has 2 weights for 3 classes"),
        (changes(class_weight={"a": 0.0, "b": 0.0, "c": 0.0}), "class_weight", "no class has a weight above"),
        (changes("multilabel", "bce", class_weight=W), "class_weight", "bce has pos_weight for labels"),
        (changes(loss="together", class_weight=W), "class_weight", "judges a batch as a whole"),
        (changes("sequence", "at_once", class_weight=W), "class_weight", "judges sequences or masks as a"),
        (changes(loss="together", label_smoothing=0.1), "label_smoothing", "judges a batch as a whole"),
        (
            {"dataset": "line", "loss": {"name": "mse", "class_weight": [1.0]}, "metrics": []},
            "class_weight",
            "the dataset has no classes",
        ),
        (
            {"dataset": "line", "loss": {"name": "mse", "label_smoothing": 0.1}, "metrics": []},
            "label_smoothing",
            "a task regression has no classes",
        ),
    ],
)
def test_what_has_no_class_to_weight_or_to_spread_is_refused(
    given: dict[str, Any], key: str, what: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(parts(tmp_path), **{"metrics": [], **given})
    [mistake] = refused.value.mistakes
    assert what in mistake.what and mistake.key == f"loss.{key}"


def test_a_class_without_training_examples_has_no_balanced_weight(tmp_path: Path) -> None:
    given = changes(class_weight="balanced")
    given["dataset"]["without"] = 1
    with pytest.raises(ConfigError, match="no training example is of class b"):
        planned(parts(tmp_path), **given).load()
    given["loss"]["class_weight"] = {"c": 2.0}
    plan = planned(parts(tmp_path), **given)
    plan.load()
    assert plan.loss.class_weights is not None and plan.loss.class_weights.values == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("damage", [None, [1.0], [1.0, -1.0, 1.0], [1.0, float("nan"), 1.0], "abc"])
def test_a_checkpoint_with_other_weights_of_classes_is_refused(damage: Any, tmp_path: Path) -> None:
    own, wanted = parts(tmp_path), changes(class_weight="balanced")
    run = trained(planned(own, **wanted), tmp_path, stop_after=1)
    saved = load_checkpoint(run.last)
    saved.data["class_weights"] = damage
    save_checkpoint(run.last, saved)
    with pytest.raises(CheckpointRefused, match="weights of the classes"):
        open_checkpoint(run.last, run, [], own, Path("no-data"))
    with pytest.raises(CheckpointRefused, match="weights of the classes"):
        go_on(run, wanted, own)


# ------------------------------------------------------------------------ label_smoothing


@pytest.mark.parametrize("number", range(len(CLASSES)))
@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy_scratch", "nll"])
@pytest.mark.parametrize("task", ["classification", "sequence"])
def test_smoothed_targets_are_those_of_pytorch(task: str, loss: str, number: int, tmp_path: Path) -> None:
    targets = (CLASSES if task == "classification" else AT_PLACES)[number]
    plan = planned(parts(tmp_path), metrics=[], **changes(task, loss, label_smoothing=0.3))
    shape = (len(targets), 3, *targets.shape[1:])
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(2)).log_softmax(1)
    wanted = F.cross_entropy(outputs, targets, label_smoothing=0.3)
    assert mean_loss(plan, outputs, targets) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("pos_weight", [None, 2.5, [0.5, 2.0, 4.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_labels_are_weighted_as_by_pytorch_and_smoothed_as_by_keras(
    pos_weight: Any, smoothing: float, tmp_path: Path
) -> None:
    """That is y (1 - s) + s / 2."""
    given = changes("multilabel", "bce", pos_weight=pos_weight, label_smoothing=smoothing)
    plan = planned(parts(tmp_path), **given | {"metrics": []})
    stream = torch.Generator().manual_seed(5)
    outputs, labels = torch.randn(8, 3, generator=stream), torch.randint(2, (8, 3), generator=stream).float()
    true = labels * (1 - smoothing) + smoothing / 2
    weight = None if pos_weight is None else torch.tensor(pos_weight)
    wanted = F.binary_cross_entropy_with_logits(outputs, true, pos_weight=weight)
    assert mean_loss(plan, outputs, labels) == pytest.approx(float(wanted), rel=1e-6)


def test_a_list_of_pos_weight_has_an_entry_for_each_label(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pos_weight has 2 entries for 3 logits"):
        planned(parts(tmp_path), **changes("multilabel", "bce", pos_weight=[1.0, 2.0]) | {"metrics": []})


OVER_CLASSES = [
    name
    for name in Parts().names("loss")
    if "classification" in Parts().part("loss", name).constants.get("task", "classification")
]


@pytest.mark.parametrize("name", OVER_CLASSES)
def test_every_loss_over_classes_takes_smoothed_targets_and_weights(name: str, tmp_path: Path) -> None:
    """At s = 1/2 it lies nearer to the target that is spread evenly."""
    about = Parts().part("loss", name)
    required = [option for option in about.options if about.options[option].is_required]
    options = {option: "large" if option == "teacher" else 0.05 for option in required}
    plain, smooth = (
        planned(parts(tmp_path), **changes(loss=name, **options, **more))
        for more in ({}, {"label_smoothing": 0.5, "class_weight": [2.0, 1.0, 1.0]})
    )
    outputs = torch.randn(6, plain.task.outputs, generator=torch.Generator().manual_seed(6))
    shares = torch.full((6, 3), 1 / 6)
    shares[:, 0] += 0.5
    for plan in (plain, smooth):
        if plan.loss.teacher:
            plan.loss.teacher.opens_by(
                lambda: Taught(lambda inputs: inputs[None].log_softmax(-1), "", "", None)
            )
    figures = smooth.recipe.loss(outputs, *smooth.recipe.judged(torch.zeros(6).long(), outputs))
    torch.testing.assert_close(
        figures[:, 0], 2 * plain.recipe.loss(outputs, *plain.recipe.judged(shares, outputs))
    )
    assert torch.equal(figures[:, 1], torch.full((6,), 2.0))


def test_runs_of_before_have_the_settings_of_today() -> None:
    """They have the option written with its default."""
    before = {"loss": {"name": "cross_entropy", "label_smoothing": 0.0}}
    assert flat_config(before) == flat_config({"loss": "cross_entropy"})
    assert flat_config({"loss": {"name": "bce", "pos_weight": None}}) == flat_config({"loss": "bce"})
    spread = {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}}
    assert flat_config(spread)["loss.label_smoothing"] == 0.1


def as_before(run: Run) -> None:
    """Write the config of a run as an earlier dlrun did."""
    text = run.config.read_text()
    run.config.write_text(
        text.replace("loss: cross_entropy", "loss: {name: cross_entropy, label_smoothing: 0.0}")
    )
    assert "label_smoothing" in run.config.read_text()


def test_a_run_of_before_is_complete_and_goes_on_as_it_is(tmp_path: Path) -> None:
    whole = trained(planned(), tmp_path)
    half = trained(planned(), tmp_path, stop_after=2)
    for run in (whole, half):
        as_before(run)
    assert go_on(whole, {}).summary["already_complete"]
    go_on(half, {})
    assert not differences(outcome(whole), outcome(half))
