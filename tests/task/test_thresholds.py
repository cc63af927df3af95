"""A threshold is the best one on the validation split, and decides in every figure, row and picture alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics
import torch
from small_runs import ENERGY, go_on, own_parts, planned, trained
from torch import Tensor

from dlrun.blocks.decisions import Decision, softmax, two_sigmoids
from dlrun.config.keys import Choice
from dlrun.config.registry import Parts
from dlrun.drawing.style import headline, mean_and_spread, predicted
from dlrun.errors import CheckpointRefused, UserError
from dlrun.plots.calibration import calibration
from dlrun.results.calibration import calibrate
from dlrun.results.judged_examples import judged_examples
from dlrun.results.prediction import Predictions
from dlrun.results.thresholds import choose_thresholds
from dlrun.run_folders.run import Run
from dlrun.training.calibration import calibration_file, take_calibration
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.thresholds import best_threshold, metric_of_decisions
from dlrun.training.trained import Trained

OWN = {
    "dataset/rare.py": '''
"""Examples of which few are of the second class, or have the labels."""
import torch
from dlrun.data import Data, Examples


def rare(root, *, task: str = "classification", weighted: bool = False, n: int = 150, valid: str = ""):
    """Noisy classes or labels, by the sum of some figures; for `valid` the first label never or always."""

    def read():
        stream = torch.Generator().manual_seed(2)
        splits = {}
        for name in ("train", "valid", "test"):
            x = torch.randn(n, 4, generator=stream)
            noise = torch.randn(n, 2, generator=stream)
            labels = torch.stack([x[:, 0] + x[:, 1], x[:, 2] - x[:, 3]], 1) + noise > torch.tensor([1.5, 2.2])
            if valid and name == "valid":
                labels[:, 0] = valid == "always"
            weights = torch.randint(0, 4, (n,), generator=stream).float() if weighted else None
            targets = labels.float() if task == "multilabel" else labels[:, 0].long()
            splits[name] = Examples(x, targets, weights=weights)
        return splits

    splits = ("train", "valid", "test")
    return Data(task, (4,), read, classes=("ham", "spam"), splits=splits, weighted=weighted)
''',
    "loss/energy.py": ENERGY,
    "metrics/cost.py": '''
"""The cost of wrong decisions."""
task = "classification"
better = "lower"


def cost(outputs, targets):
    """A spam that is missed costs 40, a ham that is taken for one 1."""
    said = outputs.argmax(1)
    return 40.0 * ((said == 0) & (targets == 1)) + 1.0 * ((said == 1) & (targets == 0))
''',
    "metrics/margin.py": '''
"""The margin."""
task = "classification"


def margin(outputs, targets):
    """The output of the true class above that of the other."""
    return (outputs.gather(1, targets[:, None]) - outputs.gather(1, 1 - targets[:, None])).squeeze(1)
''',
    "metrics/surprise.py": '''
"""The loss of the outputs, as a metric of them."""
import torch.nn.functional as F
task = ("classification", "multilabel")
better = "lower"


def surprise(outputs, targets):
    """The cross entropy, of labels the sum of theirs."""
    if targets.dim() == 1:
        return F.cross_entropy(outputs.double(), targets, reduction="none")
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(1)
''',
    "metrics/median.py": '''
"""A figure of the whole split."""
task = "classification"
whole = True


def median(outputs, targets):
    """The median predicted class."""
    return outputs.argmax(1).median().float()
''',
}
RARE: dict[str, Any] = {
    "dataset": "rare",
    "epochs": 4,
    "seeds": [0, 1],
    "optimizer": {"name": "adam", "lr": 0.02},
    "metrics": ["accuracy", "f1", "auroc", "average_precision", "log_loss", "brier", "ece", "surprise"],
}
LABELS = RARE | {
    "dataset": {"name": "rare", "task": "multilabel"},
    "loss": "bce",
    "metrics": ["f1", "exact_match", "auroc", "average_precision", "surprise"],
}
KINDS = {
    "two logits": RARE,
    "one logit": RARE | {"loss": "bce"},
    "probabilities of its own": RARE | {"loss": "energy"},
    "weighted": RARE | {"dataset": {"name": "rare", "weighted": True}, "seeds": [0]},
    "stacked": RARE | {"stacked": True},
}
OF_PROBABILITIES = (
    *("loss", "auroc", "average_precision", "log_loss", "brier", "ece", "entropy_bits"),
    "surprise",  # of one's own, it judges the size of outputs
)


def run_of(tmp_path: Path, changes: dict[str, Any]) -> tuple[Run, Parts]:
    parts = own_parts(tmp_path, OWN)
    return trained(planned(parts, **changes), tmp_path), parts


def opened(run: Run, parts: Parts, *overrides: str) -> tuple[Trained, Any, Path]:
    model, saved = open_checkpoint(run.best, run, overrides, parts, Path("no-data"))
    return take_calibration(model, saved, run.best), saved, run.best


# ------------------------------------------------------------------------ chosen


def of_sklearn(name: str, true: Tensor, said: Tensor, weights: Tensor | None, average: str) -> float:
    score = {
        "accuracy": sklearn.metrics.accuracy_score,
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score,
        "matthews": sklearn.metrics.matthews_corrcoef,
        "kappa": sklearn.metrics.cohen_kappa_score,
        "f1": lambda *given, **named: sklearn.metrics.f1_score(
            *given, **named, average=average, zero_division=0.0
        ),
    }[name]
    return float(score(true, said, sample_weight=weights))


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(
    ("name", "average"),
    [
        ("f1", "macro"),
        ("f1", "binary"),
        *((name, "") for name in ("accuracy", "balanced_accuracy", "matthews", "kappa")),
    ],
)
def test_the_threshold_is_that_of_a_loop_over_all_with_scikit_learn(
    name: str, average: str, weighted: bool
) -> None:
    stream = torch.Generator().manual_seed(3)
    true = torch.rand(30, generator=stream) < 0.3
    odds = (2 * torch.randn(2, 30, generator=stream) + 2.0 * true - 2).round(decimals=1).double()
    weights = torch.randint(0, 3, (30,), generator=stream).double() if weighted else None
    plan = planned(dataset={"name": "spiral", "points": 20, "classes": 2})
    judged_by = metric_of_decisions(plan, Choice(name, {"average": average} if average else {}))
    found = best_threshold(odds, true, judged_by, weights)

    counted = torch.ones_like(true) if weights is None else weights > 0
    shares = odds[:, counted].sigmoid()
    each = sorted({*shares.flatten().tolist()})
    candidates = [0.5, *((low + high) / 2 for low, high in pairwise(each))]
    own_weights = None if weights is None else weights[counted]
    figures = [
        sum(of_sklearn(name, true[counted], own > threshold, own_weights, average) for own in shares) / 2
        for threshold in candidates
    ]
    best = [own for own, figure in zip(candidates, figures, strict=True) if figure > max(figures) - 1e-9]
    assert found == pytest.approx(min(best, key=lambda threshold: abs(threshold - 0.5)))
    assert name == "accuracy" or found != 0.5


def test_a_metric_of_costs_is_smallest_at_its_threshold(tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, RARE)
    model, saved, path = opened(run, parts)
    before = evaluate_run(model, saved, path, "test")
    report = choose_thresholds(model, saved, path, "cost")
    valid = report["threshold"]["figures"]["valid"]
    model, _, _ = opened(run, parts)
    share = float((model.loaded["train"].targets == 1).float().mean())
    assert report["threshold"]["above"]["spam"] < share, "so that the class prior would be taken for spam"
    after = evaluate_run(model, saved, path, "test")
    assert after["baselines"] == before["baselines"]
    assert after["metrics"]["accuracy"] < after["baselines"]["class prior"]["accuracy"]
    assert not any("accuracy" in warning for warning in after["warnings"]), "the best costs have their price"
    outputs, targets = model.outputs("valid")
    shares = outputs.softmax(-1)[..., 1]
    costs = [
        float(40 * (shares <= limit)[:, targets == 1].sum() + (shares > limit)[:, targets == 0].sum())
        for limit in shares.flatten().unique()
    ]
    assert sum(valid["after"]["cost"]) == pytest.approx(min(costs) / len(targets))
    assert sum(valid["after"]["cost"]) < sum(valid["before"]["cost"])


def test_equally_good_thresholds_leave_that_of_one_half(tmp_path: Path) -> None:
    judged_by = metric_of_decisions(
        planned(dataset={"name": "spiral", "points": 20, "classes": 2}), Choice("accuracy")
    )
    odds, true = torch.tensor([[-4.0, -3.0, 3.0, 4.0]]).double(), torch.tensor([False, False, True, True])
    assert best_threshold(odds, true, judged_by) == 0.5
    assert best_threshold(odds.clamp_min(0), true, judged_by) == 0.5, "1/2 is not above 1/2"
    assert best_threshold(odds + 3.5, true, judged_by) == pytest.approx(
        float(torch.tensor([0.5, 6.5]).double().sigmoid().mean())
    )


def test_an_example_of_weight_0_has_no_say_in_a_threshold() -> None:
    judged_by = metric_of_decisions(
        planned(dataset={"name": "spiral", "points": 20, "classes": 2}), Choice("accuracy")
    )
    odds = torch.tensor([[1.0, 1.5, 2.0]]).double()
    true, weights = torch.tensor([False, True, True]), torch.tensor([1.0, 0.0, 2.0])
    found = best_threshold(odds, true, judged_by, weights)
    assert found == pytest.approx(float(odds[0, ::2].sigmoid().mean()))
    assert best_threshold(odds, true, judged_by) == pytest.approx(float(odds[0, :2].sigmoid().mean()))


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        (RARE, "recall", "recall alone is largest where everything is predicted"),
        (RARE, "precision", "precision alone is largest where hardly anything"),
        (RARE, "auroc", "auroc judges probabilities, which no threshold changes"),
        (RARE, "ece", "ece judges probabilities"),
        (RARE, "top5", "top5 is the same at every threshold"),
        (RARE, "margin", "margin judges more than the predicted class"),
        (RARE, "median", "median is one figure of a whole split"),
        (RARE, "mae", "mae is for regression"),
        (LABELS, "exact_match", "exact_match judges all labels of an example at once"),
    ],
)
def test_a_metric_that_chooses_no_threshold_is_refused_with_the_reason(
    changes: dict[str, Any], name: str, said: str, tmp_path: Path
) -> None:
    plan = planned(own_parts(tmp_path, OWN), **changes)
    with pytest.raises(UserError, match=said) as refused:
        metric_of_decisions(plan, Choice(name, plan.parts.part("metrics", name).defaults))
    assert refused.value.fix.startswith("choose f1")


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"name": "spiral", "valid_fraction": 0.3}, "two classes, or for a label: there are 3 classes"),
        ({"name": "spiral", "classes": 2}, "there is no validation split"),
        ({"name": "rare", "valid": "never"}, "no threshold is best: no validation example is of spam"),
        ({"name": "rare", "valid": "always"}, "no threshold is best: every validation example is of spam"),
    ],
)
def test_a_run_without_two_classes_or_a_validation_split_of_both_is_refused(
    dataset: dict[str, Any], said: str, tmp_path: Path
) -> None:
    own = {"points": 20} if dataset["name"] == "spiral" else {}
    run, parts = run_of(tmp_path, {"dataset": dataset | own, "epochs": 1})
    with pytest.raises(UserError, match=said):
        choose_thresholds(*opened(run, parts), "kappa")
    assert not calibration_file(run.best).exists()


@pytest.mark.parametrize(
    ("changes", "said", "fix"),
    [
        (
            {
                "dataset": {"name": "shapes", "images": 6, "test_images": 4, "size": 16},
                "loss": "cross_entropy",
            }
            | {"architecture": {"name": "unet", "channels": 2, "depth": 1}, "metrics": []},
            "a task pixels predicts a class at each place, and always the most probable one",
            "class_weight",
        ),
        (
            {"dataset": "line", "loss": "mse", "metrics": []},
            "for a label: a task regression has neither",
            "",
        ),
    ],
    ids=["pixels", "regression"],
)
def test_a_task_that_no_threshold_decides_is_refused_with_its_own_reason(
    changes: dict[str, Any], said: str, fix: str, tmp_path: Path
) -> None:
    run, parts = run_of(tmp_path, changes | {"epochs": 1})
    with pytest.raises(UserError, match=said) as refused:
        choose_thresholds(*opened(run, parts), "f1")
    assert fix in refused.value.fix and bool(fix) is bool(refused.value.fix)


@pytest.mark.parametrize(("valid", "which"), [("never", "no"), ("always", "every")])
def test_a_label_that_no_or_every_validation_example_has_keeps_one_half(
    valid: str, which: str, tmp_path: Path
) -> None:
    """Else the one at which the metric is defined would be taken for the best, as 0 of a false positive."""
    labels = LABELS | {"dataset": {"name": "rare", "task": "multilabel", "valid": valid}}
    run, parts = run_of(tmp_path, labels)
    chosen = choose_thresholds(*opened(run, parts), "f1")["threshold"]
    assert chosen["above"]["ham"] == 0.5 != chosen["above"]["spam"]
    stays, few = chosen["warnings"]
    assert stays == f"the threshold of ham stays 0.5: {which} validation example has ham"
    assert "spam (" in few and "ham (" not in few
    figures = chosen["figures"]["valid"]
    assert sum(figures["after"]["f1"]) >= sum(figures["before"]["f1"])


def test_a_threshold_that_rests_on_few_examples_is_marked(tmp_path: Path) -> None:
    few = RARE | {"dataset": {"name": "rare", "n": 40}, "epochs": 1}
    run, parts = run_of(tmp_path, few)
    model, saved, path = opened(run, parts)
    count = int(model.loaded["valid"].targets.sum())
    assert 0 < count < 30
    [warning] = choose_thresholds(model, saved, path, "f1")["threshold"]["warnings"]
    assert f"few validation examples decide on the threshold of spam ({count})" in warning
    weighted = few | {"dataset": {"name": "rare", "weighted": True}, "seeds": [0]}
    run, parts = run_of(tmp_path, weighted)
    model, saved, path = opened(run, parts)
    spam, weights = model.loaded["valid"].targets == 1, model.weights("valid")
    assert weights is not None and int((spam & (weights > 0)).sum()) < int(spam.sum())
    [warning] = choose_thresholds(model, saved, path, "f1")["threshold"]["warnings"]
    assert f"spam ({int((spam & (weights > 0)).sum())})" in warning, "those of weight 0 decide nothing"
    run, parts = run_of(tmp_path, RARE | {"dataset": {"name": "rare", "n": 600}, "epochs": 1})
    assert choose_thresholds(*opened(run, parts), "f1")["threshold"]["warnings"] == []


# ------------------------------------------------------------------------ decided


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_row_and_picture_has_the_decisions_of_the_threshold(kind: str, tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, KINDS[kind])
    model, saved, path = opened(run, parts)
    before = evaluate_run(model, saved, path, "test")
    chosen = choose_thresholds(model, saved, path, "f1")["threshold"]
    threshold = chosen["above"]["spam"]
    assert abs(threshold - 0.5) > 0.05
    model, _, _ = opened(run, parts)
    report, found = evaluate_run(model, saved, path, "test"), predicted(model, "test")
    assert report["thresholds"] == {"spam": threshold} and "thresholds" not in before
    recorded = evaluate_run(model, saved, path, "valid")["recorded"]
    assert {*recorded} == {"loss", *RARE["metrics"]} - {"accuracy", "f1"}
    assert not any(own["difference"] for own in recorded.values())
    outputs, targets = model.outputs("test")
    shares = model.decision.probabilities(outputs.double())[..., 1]
    for index, seed in enumerate(model.seeds):
        counts, figures = torch.tensor(report["confusion"][str(seed)]), report["per_seed"][str(seed)]
        assert figures["accuracy"] == pytest.approx(float(counts.diagonal().sum() / counts.sum()))
        after = chosen["figures"]["test"]["after"]
        assert after["precision"][index] == pytest.approx(float(counts[1, 1] / counts[:, 1].sum()))
        assert after["recall"][index] == pytest.approx(float(counts[1, 1] / counts[1].sum())), "those of spam"
        assert figures["accuracy"] == pytest.approx(found.accuracy()[index]), "pictures"
        assert found.classes[index].equal((shares[index] > threshold).long())
        for name in ("accuracy", "f1"):
            assert figures[name] == chosen["figures"]["test"]["after"][name][index]
            assert before["per_seed"][str(seed)][name] == chosen["figures"]["test"]["before"][name][index]
        for name in OF_PROBABILITIES:
            assert figures[name] == before["per_seed"][str(seed)][name], "not changed by one bit"
    assert report["metrics"]["f1"] != before["metrics"]["f1"]
    assert report["baselines"] == before["baselines"]
    together = [int(share > threshold) for share in shares.mean(0)]
    names = [str(number) for number in range(len(targets))]
    rows = Predictions(model.plan, 1, "", names, outputs).rows()
    assert [model.data.classes.index(row["class"]) for row in rows] == together
    assert sum(together) > int((shares.mean(0) > 0.5).sum())
    listed = [row["class"] for row in judged_examples(model, "test")]
    assert listed.count("spam") == sum(together)
    errors = [report["per_seed"][str(seed)]["ece"] for seed in model.seeds]
    title = calibration(model, split="test").get_suptitle()
    assert f"error {mean_and_spread(errors)} (test" in title and "spam above 0." in title


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_each_label_has_the_threshold_that_is_best_for_itself(weighted: bool, tmp_path: Path) -> None:
    run, parts = run_of(
        tmp_path, LABELS | {"dataset": {"name": "rare", "task": "multilabel", "weighted": weighted}}
    )
    model, saved, path = opened(run, parts)
    before = evaluate_run(model, saved, path, "test")
    chosen = choose_thresholds(model, saved, path, "f1")["threshold"]["above"]
    outputs, targets = model.outputs("valid")
    weights = model.weights("valid")
    each = torch.ones(len(targets)) if weights is None else weights
    for place, name in enumerate(chosen):
        shares, true = outputs[..., place].double().sigmoid(), targets[:, place]

        def figures(limits: Tensor, shares: Tensor = shares, true: Tensor = true) -> Tensor:
            said = (shares > limits.view(-1, 1, 1)).double()  # (limits, copies, n)
            return (2 * (said * true * each).sum(-1) / ((said + true) * each).sum(-1)).mean(-1)

        assert float(figures(torch.tensor([chosen[name]]))) == pytest.approx(
            float(figures(shares.flatten()).max())
        )
    model, _, _ = opened(run, parts)
    report = evaluate_run(model, saved, path, "test")
    assert report["per_class"]["spam"]["f1"] != before["per_class"]["spam"]["f1"]
    means = [report["per_class"][name]["f1"] for name in chosen]
    assert report["metrics"]["f1"] == pytest.approx(sum(means) / 2)
    for name in ("loss", "auroc", "average_precision", "surprise"):
        for seed, figures_before in before["per_seed"].items():
            assert report["per_seed"][seed][name] == figures_before[name], "not changed by one bit"


def test_thresholds_of_labels_are_said_as_several_and_their_metric_with_its_options(
    tmp_path: Path, dlrun: Callable[..., Any]
) -> None:
    run, parts = run_of(tmp_path, LABELS)
    own = ("--parts", parts.folder)
    done = dlrun("calibrate", run.folder, "--threshold", "f1", *own)
    assert "chosen by f1 (average macro) on 150 validation examples" in done.out, done.err
    assert "by which the thresholds were chosen, are optimistic" in done.out
    assert "decide by them from now on" in done.out
    found = json.loads(dlrun("eval", run.folder, "--split", "valid", "--json", *own).out)
    assert "the thresholds were chosen on these examples" in " ".join(found["warnings"])


def test_rows_of_labels_are_decided_by_the_mean_probability_and_of_one_seed_as_they_are_counted(
    tmp_path: Path,
) -> None:
    task = planned(own_parts(tmp_path, OWN), **LABELS).task.decided_by({"ham": 0.2, "spam": 0.6})
    outputs = torch.tensor([[-1.0, 1.0], [-3.0, -0.4]])  # (copies, labels)
    assert outputs.sigmoid().mean(0).tolist() == pytest.approx([0.158, 0.566], abs=1e-3)
    assert task.row(outputs)["labels"] == []
    assert task.row(outputs[:1])["labels"] == ["ham", "spam"]
    just = torch.tensor([[0.25, 1.5]]).log()  # the log odds of both thresholds, in float32
    for step, said in ((1e-6, ["ham", "spam"]), (-1e-6, [])):
        report = task.report(1)
        report.add((just + step).unsqueeze(0), torch.ones(1, 1, 2))
        assert task.row(just + step)["labels"] == said
        recall = report.sections([0])["per_class"]["ham"]["recall"]
        assert recall == float("ham" in said)


def test_scores_by_a_threshold_are_the_log_odds_beyond_those_of_the_threshold() -> None:
    outputs = torch.tensor([[0.3, 1.0], [2.0, -1.0]]).double()
    odds = outputs.softmax(-1)[:, 1].logit()
    for decision, given in (
        (Decision(2, 2, softmax, threshold=0.3), outputs),
        (Decision(2, 1, two_sigmoids, threshold=0.3), odds.unsqueeze(1)),
    ):
        shares = decision.scores(given).softmax(-1)
        assert torch.allclose(shares[:, 1], (odds - torch.tensor(0.3).double().logit()).sigmoid())
        as_trained = replace(decision, threshold=0.5).scores(given)
        assert torch.allclose(as_trained.softmax(-1)[:, 1], outputs.softmax(-1)[:, 1])


def test_copies_predict_together_by_their_mean_probability_above_the_threshold() -> None:
    decision = Decision(2, 2, softmax, threshold=0.3)
    outputs = torch.tensor([[[0.0, -3.0]], [[0.0, -3.0]], [[0.0, 3.0]]])
    assert float(outputs.softmax(-1)[..., 1].mean()) > 0.3
    assert decision.decide(outputs).flatten().tolist() == [0, 0, 1]
    assert decision.decide_together(outputs).tolist() == [1]
    assert Decision(2, 2, softmax, threshold=0.4).decide_together(outputs).tolist() == [0]


def test_a_single_copy_predicts_the_class_that_is_counted() -> None:
    """Although its probability, rounded, may lie on the other side of the threshold."""
    logits = torch.linspace(-3, 3, 101).double().view(-1, 1, 1, 1)
    rounded_otherwise = 0
    for outputs in logits:
        share = float(two_sigmoids(outputs)[..., 1])
        decision = Decision(2, 1, two_sigmoids, threshold=share)
        assert decision.decide_together(outputs).equal(decision.decide(outputs)[0])
        rounded_otherwise += int(decision.decide(outputs))  # its probability is not above itself
    assert rounded_otherwise


# ------------------------------------------------------------------------ kept


def test_a_threshold_is_of_the_temperatures_at_which_it_was_chosen(tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, RARE)
    raw = choose_thresholds(*opened(run, parts), "f1")
    assert raw["temperatures"] == []
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    report = calibrate(model, saved, run.best)
    assert report["dropped"] == raw["threshold"] | {"chosen": "at other temperatures"}
    model, saved, path = opened(run, parts)
    assert model.temperatures == report["temperatures"] and model.thresholds == {}
    chosen = choose_thresholds(model, saved, path, "f1")
    assert chosen["temperatures"] == report["temperatures"] and chosen["figures"] == report["figures"]
    assert chosen["threshold"]["above"] != raw["threshold"]["above"]
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    again = calibrate(model, saved, run.best)
    assert again["threshold"] == chosen["threshold"] and "dropped" not in again
    assert opened(run, parts)[0].thresholds == chosen["threshold"]["above"]
    assert json.loads(calibration_file(run.best).read_text(), parse_constant=pytest.fail) == again
    others = again | {"temperatures": [1.01 * own for own in again["temperatures"]]}
    calibration_file(run.best).write_text(json.dumps(others))
    assert "threshold" not in calibrate(model, saved, run.best)


def test_a_threshold_is_not_taken_for_another_state_and_chosen_anew(tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, RARE)
    choose_thresholds(*opened(run, parts), "f1")
    go_on(run, RARE | {"epochs": 12}, parts)
    model, saved, path = opened(run, parts)
    said = "decisions are as trained: the threshold in best.calibration.json is of another checkpoint"
    assert model.thresholds == {} and model.data.notes[-1] == (
        f"{said}; run dlrun calibrate RUN --threshold f1 again"
    )
    chosen = choose_thresholds(model, saved, path, "kappa")["threshold"]
    assert opened(run, parts)[0].thresholds == chosen["above"]
    assert opened(run, parts)[0].plan.task.decision.threshold == chosen["above"]["spam"]  # type: ignore[union-attr]


def test_a_threshold_of_another_state_is_dropped_with_a_word(tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, RARE)
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    calibrate(model, saved, run.best)
    above = choose_thresholds(*opened(run, parts), "f1")["threshold"]["above"]
    go_on(run, RARE | {"epochs": 12}, parts)
    model, saved, path = opened(run, parts)
    [note] = [note for note in model.data.notes if "calibration.json" in note]
    assert note.startswith(
        "probabilities and decisions are as trained: the temperatures and the threshold in "
    )
    assert note.endswith("run dlrun calibrate RUN and then dlrun calibrate RUN --threshold f1 again")
    report = calibrate(model, saved, path)
    assert report["dropped"]["above"] == above and report["dropped"]["chosen"] == "for other weights"
    assert "threshold" not in report and opened(run, parts)[0].thresholds == {}


@pytest.mark.parametrize(
    "entry",
    [3, {"above": [0.5]}, {"above": {"spam": 1.0}}, {"above": {"spam": "0.5"}}, {"above": {"ham": 0.5}}],
)
def test_a_damaged_threshold_is_refused(entry: Any, tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, RARE | {"epochs": 1})
    report = choose_thresholds(*opened(run, parts), "f1")
    calibration_file(run.best).write_text(json.dumps(report | {"threshold": entry}))
    with pytest.raises(CheckpointRefused, match="beside the checkpoint"):
        opened(run, parts)


def test_a_threshold_in_a_title_is_not_rounded_to_1(tmp_path: Path) -> None:
    model = planned(own_parts(tmp_path, OWN), **RARE)
    given = Trained(model, model.load(), model.hardware(), model.model(), 1, thresholds={"spam": 0.9997})
    assert "spam above 0.9997" in headline(given, "Classes")


def test_options_of_the_metric_are_those_of_the_config(tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, RARE)
    macro = choose_thresholds(*opened(run, parts), "f1")["threshold"]
    override = "metrics=[{name: f1, average: binary}]"
    binary = choose_thresholds(*opened(run, parts, override), "f1")["threshold"]
    assert macro["metric"]["average"] == "macro" and binary["metric"]["average"] == "binary"
    assert macro["figures"]["valid"]["after"]["f1"] != binary["figures"]["valid"]["after"]["f1"]


def test_weights_of_an_epoch_that_pictures_show_have_no_threshold(tmp_path: Path) -> None:
    run, parts = run_of(tmp_path, RARE | {"seeds": [0]})
    choose_thresholds(*opened(run, parts), "f1")
    model, _, _ = opened(run, parts)
    run.weights.mkdir()
    (run.weights / "0001.pt").write_bytes(run.best.read_bytes())
    [moment] = model.moments()
    assert model.decision.threshold and moment.decision.threshold is None and moment.thresholds == {}
