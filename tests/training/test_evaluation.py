"""A trained model, opened again: the same figures, honest ones, and nothing taken on trust."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from small_runs import differences, mostly_slow, own_parts, planned, trained

from dlrun.blocks.class_reports import per_class
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run, keep_report
from dlrun.training.figures import spread
from dlrun.training.opening import open_checkpoint
from dlrun.training.trained import Trained

NOWHERE = Path("no-data")


def opened(
    path: Path, parts: Parts | None = None, *overrides: str, run: Run | None = None
) -> tuple[Trained, Checkpoint]:
    return open_checkpoint(path, run, overrides, parts or Parts(), NOWHERE)


def reported(path: Path, parts: Parts | None = None, split: str = "test", *overrides: str) -> dict[str, Any]:
    model, saved = opened(path, parts, *overrides)
    return evaluate_run(model, saved, path, split)


# ------------------------------------------------------------------------ the same figures

KINDS: dict[str, dict[str, Any]] = {
    "spiral": {"seeds": [3, 0, 8], "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3}},
    "full batch": {"batch_size": "full", "evaluate_every": 10},
    "images": {
        "dataset": "dots",
        "seeds": [0, 1],
        "architecture": {
            "name": "cnn",
            "channels": [3],
            "kernel_size": 3,
            "padding": 1,
            "dropout": 0.2,
            "hidden": [4],
        },
        "augmentations": ["flip"],
    },
    "two classes": {"dataset": {"name": "spiral", "points": 20, "classes": 2}, "loss": "bce"},
    "regression": {"dataset": "line", "loss": "mse", "metrics": ["rmse", "r2", "mae"]},
    "low precision": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("checkpoint", mostly_slow(["best", "last"], "best"))
@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_recomputes_what_training_recorded(tmp_path: Path, kind: str, checkpoint: str) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, **KINDS[kind], evaluate_train_every=1, epochs=4), tmp_path)
    found = reported(getattr(run, checkpoint), parts)
    metrics = KINDS[kind].get("metrics", ["accuracy"])
    assert set(found["recorded"]) == {"loss", *metrics}
    assert found.get("unit") == run.summary()["data"].get("unit") == ("m" if kind == "regression" else None)
    assert [each["difference"] for each in found["recorded"].values()] == [0.0] * (1 + len(metrics))
    rows = run.rows()
    seeds = KINDS[kind].get("seeds", [0])
    for index, seed in enumerate(seeds):
        place = (found["epoch"] - 1) * len(seeds) + index
        for figure in ("loss", *metrics):
            if rows[f"test_{figure}"][place] is not None:
                assert found["per_seed"][str(seed)][figure] == rows[f"test_{figure}"][place]
            train = reported(getattr(run, checkpoint), parts, "train")
            assert train["per_seed"][str(seed)][figure] == rows[f"trainset_{figure}"][place]


def test_the_validation_split_is_the_one_of_training(tmp_path: Path) -> None:
    run = trained(
        planned(dataset={"name": "spiral", "points": 20, "valid_fraction": 0.3}, seeds=[1, 2]), tmp_path
    )
    found = reported(run.best, split="valid")
    assert found["examples"] == 18
    assert found["recorded"]["loss"]["difference"] == 0
    assert found["loss"] == fmean(load_checkpoint(run.best).figures["valid_loss"])


def test_one_epoch_of_real_mnist_is_recomputed_exactly(tmp_path: Path, real_mnist: Path) -> None:
    plan = planned(
        data_dir=real_mnist,
        dataset={"name": "mnist", "normalise": "half"},
        architecture={"name": "mlp", "hidden": [32], "output_activation": "log_softmax", "flatten": True},
        loss="nll",
        optimizer={"name": "sgd", "lr": 0.1},
        batch_size=256,
        epochs=1,
    )
    run = trained(plan, tmp_path)
    model, saved = open_checkpoint(run.best, run, [], Parts(), real_mnist)
    found = evaluate_run(model, saved, run.best, "test")
    assert found["per_seed"]["0"]["loss"] == run.rows()["test_loss"][0]
    assert found["per_seed"]["0"]["accuracy"] == run.rows()["test_accuracy"][0]
    assert found["metrics"]["accuracy"] > 0.8
    assert found["baselines"]["class prior"]["accuracy"] == pytest.approx(0.1135)
    assert found["same_data"]


def test_a_checkpoint_needs_nothing_else(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 1]), tmp_path)
    alone = tmp_path / "alone.pt"
    alone.write_bytes(run.best.read_bytes())
    inside = reported(run.best)
    for path in sorted(run.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    found = reported(alone)
    same = {"checkpoint"}
    assert not differences(
        {k: v for k, v in inside.items() if k not in same}, {k: v for k, v in found.items() if k not in same}
    )


def test_figures_are_means_over_seeds(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 4]), tmp_path)
    found = reported(run.last)
    for figure in ("loss", "accuracy"):
        of_seeds = [found["per_seed"][seed][figure] for seed in ("0", "4")]
        assert (found["loss"] if figure == "loss" else found["metrics"][figure]) == fmean(of_seeds)
        assert of_seeds[0] != of_seeds[1]
    assert found["examples"] == 60
    assert found["epoch"] == 3


def test_the_preprocessing_is_that_of_training_whatever_the_data_are_now(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, **KINDS["images"]), tmp_path)
    saved = load_checkpoint(run.last)
    saved.data["preprocessing"]["offset"] += 100
    save_checkpoint(run.last, saved)
    model, _ = opened(run.last, parts)
    assert torch.equal(model.loaded.preprocessing.each[""].offset, saved.data["preprocessing"]["offset"])
    assert reported(run.last, parts)["recorded"]["loss"]["difference"] > 0


def test_a_figure_that_differs_is_seen(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    saved = load_checkpoint(run.last)
    figures = dict(saved.figures, test_loss=[saved.figures["test_loss"][0] + 0.25])
    save_checkpoint(run.last, replace(saved, figures=figures))
    assert reported(run.last)["recorded"]["loss"]["difference"] == pytest.approx(0.25)


def test_other_data_is_seen(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    assert reported(run.best)["same_data"] is True
    assert reported(run.best, None, "test", "dataset.noise=0.5")["same_data"] is False


# ------------------------------------------------------------------------ classes


def test_precision_recall_and_f1_are_the_textbooks() -> None:
    confusion = torch.tensor([[[5, 2, 0], [1, 7, 0], [3, 1, 0]]])  # rows true, columns predicted
    found = per_class(confusion, ["a", "b", "c"])
    assert found["a"] == {
        "precision": pytest.approx(5 / 9),
        "recall": pytest.approx(5 / 7),
        "f1": pytest.approx(2 * (5 / 9) * (5 / 7) / (5 / 9 + 5 / 7)),
        "examples": 7,
    }
    assert found["b"]["precision"] == pytest.approx(7 / 10)
    assert found["b"]["recall"] == pytest.approx(7 / 8)
    assert found["c"] == {"precision": None, "recall": 0.0, "f1": 0.0, "examples": 4}


def test_per_class_figures_are_those_of_the_predictions(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="uneven", seeds=[0, 1], epochs=15, evaluate_train_every=1), tmp_path)
    model, saved = opened(run.last, parts)
    found = evaluate_run(model, saved, run.last, "test")
    outputs, targets = model.outputs("test")
    for index, name in enumerate(("a", "b", "c", "d")):
        precision, recall = [], []
        for predicted in outputs.argmax(2):
            right = sum(p == t == index for p, t in zip(predicted.tolist(), targets.tolist(), strict=True))
            said = predicted.tolist().count(index)
            precision.append(right / said if said else None)
            recall.append(right / targets.tolist().count(index))
        expected = None if None in precision else pytest.approx(fmean(p for p in precision if p is not None))
        assert found["per_class"][name]["precision"] == expected
        assert found["per_class"][name]["recall"] == pytest.approx(fmean(recall))
    for seed, predicted in zip(("0", "1"), outputs.argmax(2), strict=True):
        counts = torch.tensor(found["confusion"][seed])
        assert counts.sum(1).tolist() == [24, 8, 4, 4]
        assert counts.sum(0).tolist() == torch.bincount(predicted, minlength=4).tolist()
        assert int(counts.trace()) / 40 == found["per_seed"][seed]["accuracy"]


def flat_checkpoint(tmp_path: Path, **changes: Any) -> tuple[Path, Parts]:
    """A linear model whose outputs are 0 whatever it sees."""
    parts = own_parts(tmp_path)
    run = trained(planned(parts, architecture="linear", **changes), tmp_path)
    saved = load_checkpoint(run.last)
    for copy in saved.state["model"]:
        for weights in copy.values():
            weights.zero_()
    save_checkpoint(run.last, saved)
    return run.last, parts


def test_the_entropy_of_four_equal_shares_is_2_bits(tmp_path: Path) -> None:
    path, parts = flat_checkpoint(tmp_path, dataset={"name": "spiral", "points": 20, "classes": 4})
    found = reported(path, parts)
    assert found["metrics"]["entropy_bits"] == pytest.approx(2, abs=1e-6)
    assert found["loss"] == pytest.approx(math.log(4))


def test_the_entropy_of_a_coin_is_1_bit(tmp_path: Path) -> None:
    path, parts = flat_checkpoint(
        tmp_path, dataset={"name": "spiral", "points": 20, "classes": 2}, loss="bce"
    )
    assert reported(path, parts)["metrics"]["entropy_bits"] == pytest.approx(1, abs=1e-6)


def test_entropy_is_the_mean_over_examples(tmp_path: Path) -> None:
    run = trained(planned(epochs=20), tmp_path)
    model, saved = opened(run.last)
    outputs, _ = model.outputs("test")
    shares = outputs[0].double().softmax(1)
    by_hand = -(shares * shares.log2()).sum(1).mean()
    assert evaluate_run(model, saved, run.last, "test")["metrics"]["entropy_bits"] == pytest.approx(
        float(by_hand), rel=1e-5
    )


def test_accuracy_is_measured_for_classes_even_where_the_config_did_not_ask(tmp_path: Path) -> None:
    run = trained(planned(metrics=[]), tmp_path)
    found = reported(run.last)
    outputs, targets = opened(run.last)[0].outputs("test")
    assert found["metrics"]["accuracy"] == float((outputs[0].argmax(1) == targets).sum()) / 60


# ------------------------------------------------------------------------ baselines


def test_the_baseline_for_classes_says_the_most_frequent_one(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="uneven"), tmp_path)
    baseline = reported(run.last, parts)["baselines"]["class prior"]
    assert baseline["accuracy"] == 24 / 40
    shares = [24 / 40, 8 / 40, 4 / 40, 4 / 40]
    assert baseline["loss"] == pytest.approx(-sum(share * math.log(share) for share in shares), rel=1e-6)


def test_the_baseline_for_two_classes_and_one_output_is_the_same(tmp_path: Path) -> None:
    run = trained(planned(dataset={"name": "spiral", "points": 20, "classes": 2}, loss="bce"), tmp_path)
    assert reported(run.last)["baselines"]["class prior"]["loss"] == pytest.approx(math.log(2), rel=1e-6)


def test_the_baseline_for_figures_is_the_mean_of_training(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="line", loss="mse", metrics=["r2", "rmse"]), tmp_path)
    model, saved = opened(run.last, parts)
    baseline = evaluate_run(model, saved, run.last, "test")["baselines"]["mean"]
    train, test = (model.loaded[split].targets.double() for split in ("train", "test"))
    assert baseline["loss"] == pytest.approx(float((test - train.mean(0)).square().mean()), rel=1e-5)
    assert baseline["rmse"] == pytest.approx(math.sqrt(baseline["loss"]), rel=1e-5)


def test_spread_is_the_sample_deviation() -> None:
    assert spread([1.0]) is None
    assert spread([1.0, 3.0]) == pytest.approx(math.sqrt(2))


# ------------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    "override",
    [
        "architecture.hidden=[9]",
        "loss=nll",
        "optimizer.lr=1",
        "seeds=[1]",
        "epochs=9",
        "precision=float16",
        "monitor=x",
    ],
)
def test_what_the_model_is_cannot_be_changed_at_evaluation(tmp_path: Path, override: str) -> None:
    run = trained(planned(), tmp_path)
    with pytest.raises(UserError, match=override.split(".")[0].split("=")[0]) as refused:
        opened(run.best, None, override)
    assert refused.value.exit_code == 2


def test_metrics_and_the_dataset_may_be_others(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    assert set(reported(run.best, None, "test", "metrics=[top5]")["metrics"]) == {
        "top5",
        "accuracy",
        "entropy_bits",
    }
    assert reported(run.best, None, "test", "dataset.points=7")["examples"] == 21


def test_a_dataset_of_another_shape_is_refused(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    with pytest.raises(UserError):
        opened(run.best, None, "dataset.classes=5")


# ------------------------------------------------------------------------ what is kept


def test_a_report_is_kept_in_the_run_folder_with_its_confusion_matrix(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    model, saved = opened(run.best, run=run)
    found = evaluate_run(model, saved, run.best, "test")
    warnings: list[str] = []
    keep_report(model, found, "test", warnings.append)
    assert not warnings
    assert {path.name for path in (run.folder / "eval").iterdir()} == {
        "test.json",
        "test_confusion_matrix.png",
    }
    kept = json.loads((run.folder / "eval" / "test.json").read_text())
    assert kept["loss"] == found["loss"]
    assert kept["per_seed"] == found["per_seed"]
    assert list(kept)[:2] == ["run", "checkpoint"]


def test_a_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    with pytest.raises(UserError, match="no valid split"):
        reported(run.best, split="valid")
