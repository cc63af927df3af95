"""A run as a whole: stopped and resumed in every way, its seeds alone and together, judged, kept."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    COSINE,
    FILES_OF_A_RUN,
    FULL,
    NOW_AND_THEN,
    OPTIMIZER_OPTIONS,
    SMALL,
    SMALL_CNN,
    WITH_CLOSURES,
    Listening,
    differences,
    files_of,
    go_on,
    interrupting,
    mostly_slow,
    of_seed,
    outcome,
    own_parts,
    planned,
    save_at_every_epoch,
    started,
    trained,
)

from dlrun.config.claims import meets, missed_by
from dlrun.config.dumping import dump_config
from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused, Diverged
from dlrun.run_folders.run import Run
from dlrun.system.git import git_commit
from dlrun.training import run_writer
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.not_finite import weight_not_finite
from dlrun.training.opening import open_checkpoint
from dlrun.training.views import HiddenTraining

NOISE = FULL["augmentations"]
EVERYTHING = FULL | NOW_AND_THEN | {"epochs": 6}


# ------------------------------------------------------------------------ as if it never stopped


def paused(run: Run, changes: dict[str, Any]) -> None:
    assert go_on(run, changes, stop_after=2).summary["status"] == "paused"


def paused_twice(run: Run, changes: dict[str, Any]) -> None:
    paused(run, changes)
    assert go_on(run, changes, stop_after=5).summary["epochs"] == 5


def shorter_at_first(run: Run, changes: dict[str, Any]) -> None:
    assert go_on(run, changes | {"epochs": 3}).summary["status"] == "finished"


def interrupted_where_nothing_is_saved(run: Run, changes: dict[str, Any]) -> None:
    """The signal comes in the third epoch: it is finished, and then saved."""
    stopped = go_on(run, changes, view=interrupting(2 * 3 + 2))
    assert (stopped.summary["status"], stopped.summary["epochs"], stopped.exit_code) == (
        "interrupted",
        3,
        130,
    )


def interrupted_where_all_is_saved(run: Run, changes: dict[str, Any]) -> None:
    """The signal comes in the third epoch, two are saved: the third is left in its middle."""
    save_at_every_epoch()
    view = interrupting(2 * 3 + 2)
    stopped = go_on(run, changes, view=view)
    assert (stopped.summary["status"], stopped.summary["epochs"], stopped.exit_code) == (
        "interrupted",
        2,
        130,
    )
    assert view.steps == 2 * 3 + 2


WAYS: list[Callable[[Run, dict[str, Any]], None]] = [
    paused,
    paused_twice,
    shorter_at_first,
    interrupted_where_nothing_is_saved,
    interrupted_where_all_is_saved,
]


ALL_WAYS = ("adam",)  # of being stopped, with this optimizer; with each of the others one
PRECISIONS = [
    *((name, "float32", "one way") for name in Parts().names("optimizer") if name not in ALL_WAYS),
    *(
        pytest.param(name, "float32", "all ways", marks=[] if name in ALL_WAYS else pytest.mark.slow)
        for name in Parts().names("optimizer")
    ),
    *(
        pytest.param(name, "float16", "one way", marks=[] if name in ALL_WAYS else pytest.mark.slow)
        for name in Parts().names("optimizer")
        if name not in WITH_CLOSURES
    ),
]


@pytest.mark.parametrize(("name", "precision", "how_often"), PRECISIONS)
def test_resuming_is_as_if_it_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, precision: str, how_often: str
) -> None:
    """Stopped in one way, another for each optimizer, or in all ways; in float16 with the scale of losses."""
    turn = Parts().names("optimizer").index(name) % len(WAYS)
    changes = EVERYTHING | {
        "optimizer": {"name": name, "lr": 0.02} | OPTIMIZER_OPTIONS.get(name, {}),
        "precision": precision,
    }
    unbroken: dict[str, Run] = {}
    for way in WAYS if how_often == "all ways" else [WAYS[turn]]:
        monkeypatch.setattr(run_writer, "SAVE_EVERY", 3.0)
        monkeypatch.setattr(run_writer, "SAVE_SHARE", 40)
        schedule = "constant" if way is shorter_at_first else "cosine"
        changes["schedule"] = COSINE if schedule == "cosine" else schedule
        if schedule not in unbroken:
            unbroken[schedule] = trained(planned(**changes), tmp_path)
        run = started(planned(**changes), tmp_path)
        way(run, changes)
        wanted = outcome(unbroken[schedule])
        assert differences(wanted, outcome(run)), f"{way.__name__}: it was not stopped"
        assert go_on(run, changes).exit_code == 0
        assert not differences(wanted, outcome(run)), way.__name__
        summary = run.summary()
        assert (summary["status"], summary["epochs"]) == ("finished", 6)
        for column in ("final", "best"):
            whole = unbroken[schedule].summary()[column]
            assert not differences(without_clock(whole), without_clock(summary[column])), way.__name__


def without_clock(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: without_clock(item) for key, item in content.items() if key != "seconds"}
    return content


def test_a_run_that_is_paused_at_every_epoch_is_the_same(tmp_path: Path) -> None:
    unbroken = trained(planned(**EVERYTHING, schedule=COSINE), tmp_path)
    run = started(planned(**EVERYTHING, schedule=COSINE), tmp_path)
    for epoch in range(1, 7):
        go_on(run, EVERYTHING | {"schedule": COSINE}, stop_after=epoch)
    assert not differences(outcome(unbroken), outcome(run))


def test_a_convolutional_network_goes_on_where_it_was(tmp_path: Path) -> None:
    changes = EVERYTHING | IMAGES
    parts = own_parts(tmp_path)
    unbroken = trained(planned(parts, **changes), tmp_path)
    run = trained(planned(parts, **changes), tmp_path, stop_after=3)
    go_on(run, changes, parts)
    assert not differences(outcome(unbroken), outcome(run))


def test_a_signal_in_the_first_epoch_after_a_resume_stops_at_this_step(tmp_path: Path) -> None:
    unbroken = trained(planned(**EVERYTHING), tmp_path)
    run = trained(planned(**EVERYTHING), tmp_path, stop_after=2)
    stopped = go_on(run, EVERYTHING, view=interrupting(1))
    assert (stopped.exit_code, stopped.summary["epochs"]) == (130, 2)
    go_on(run, EVERYTHING)
    assert not differences(outcome(unbroken), outcome(run))


def test_sigterm_stops_with_143_and_gives_the_handlers_back(tmp_path: Path) -> None:
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in handled]
    view = Listening(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    run = started(planned(), tmp_path)
    assert go_on(run, {}, view=view).exit_code == 143
    assert [signal.getsignal(number) for number in handled] == before


def test_a_signal_in_the_last_epoch_is_too_late(tmp_path: Path) -> None:
    run = started(planned(epochs=1), tmp_path)
    stopped = go_on(run, {"epochs": 1}, view=interrupting(4))
    assert stopped.summary["status"] in ("finished", "interrupted")
    go_on(run, {"epochs": 1})
    assert not differences(outcome(trained(planned(epochs=1), tmp_path)), outcome(run))


def test_a_longer_run_under_a_schedule_of_progress_says_that_it_is_another_run(tmp_path: Path) -> None:
    for schedule, said in ((COSINE, 1), ("constant", 0)):
        run = trained(planned(schedule=schedule), tmp_path)
        view = Listening()
        go_on(run, {"schedule": schedule, "epochs": 5}, view=view)
        assert sum("depends on the length of the run" in text for text in view.warnings) == said


# ------------------------------------------------------------------------ each copy as alone

IMAGES: dict[str, Any] = {
    "dataset": "dots",
    "architecture": SMALL_CNN,
    "augmentations": [
        {"name": "crop", "padding": 1},
        "flip",
        "affine",
        "rand_augment",
        "colour_jitter",
        "erasing",
    ],
}
DROPOUT = {"name": "mlp", "hidden": [8], "dropout": 0.3}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "full batch": {"batch_size": "full"},
    "dropout and noise": {"architecture": DROPOUT, "augmentations": NOISE},
    "convolutions": IMAGES,
    "batch normalisation": {"architecture": {"name": "mlp", "hidden": [8], "batch_norm": True}},
    "squared error over classes": {"loss": "mse"},
    "two classes": {
        "dataset": {"name": "spiral", "points": 20, "classes": 2},
        "loss": "bce",
        "architecture": DROPOUT,
        "augmentations": NOISE,
    },
    "regression": {
        "dataset": {"name": "line", "valid_fraction": 0.2},
        "loss": "mse",
        "metrics": ["rmse", "r2"],
        "architecture": DROPOUT,
    },
    "from scratch": {
        "architecture": {"name": "mlp_scratch", "hidden": [6]},
        "loss": "cross_entropy_scratch",
        "optimizer": {"name": "sgd_scratch", "lr": 0.1},
    },
    "clipped": {"gradient_clip": 0.1, "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.9}},
    "float16": {"precision": "float16", "gradient_clip": 0.1},
    "float16, overflowing": {  # gradients of 65,536 times the loss are not finite, for some seeds longer
        "dataset": {"name": "line", "scale": 3.0},
        "loss": "mse",
        "metrics": ["rmse"],
        "precision": "float16",
    },
    "bfloat16": {"precision": "bfloat16"},
}


USUAL = ("dropout and noise", "batch normalisation", "regression", "float16")


@pytest.mark.parametrize("kind", mostly_slow(KINDS, *USUAL))
def test_each_copy_trains_as_it_would_alone(tmp_path: Path, kind: str) -> None:
    changes = KINDS[kind] | {"evaluate_every": 2, "epochs": 4}
    parts = own_parts(tmp_path)
    together = trained(planned(parts, **changes, seeds=[7, 0, 2]), tmp_path)
    for seed in (7, 0, 2):
        alone = trained(planned(parts, **changes, seeds=[seed]), tmp_path)
        assert not differences(of_seed(alone, seed), of_seed(together, seed))
    assert differences(of_seed(together, 7)["model"], of_seed(together, 0)["model"])


def test_the_same_config_gives_the_same_bits_twice(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = trained(planned(**EVERYTHING), tmp_path)
    torch.manual_seed(2)
    torch.rand(100)
    assert not differences(outcome(first), outcome(trained(planned(**EVERYTHING), tmp_path)))


# ------------------------------------------------------------------------ the best

SCRIPTED = '''
"""A figure that is told beforehand."""
better = "higher"
TOLD = []


def scripted(outputs, targets):
    """Whatever TOLD says next."""
    return targets.float() * 0


def finish(means):
    return TOLD.pop(0)
'''


def run_told(tmp_path: Path, figures: list[float], split: str = "train", **changes: Any) -> Run:
    """A run whose monitored figure is, epoch by epoch, one of `figures`."""
    text = SCRIPTED.replace("TOLD.pop(0)", "TOLD.pop(0) if len(TOLD) else 0.0")
    parts = own_parts(tmp_path, {"metrics/scripted.py": text})
    plan = planned(
        parts,
        metrics=["scripted"],
        monitor=f"{split}_scripted",
        epochs=len(figures),
        evaluate_every=1 if split != "train" else 1000,
        **changes,
    )
    other = [-1.0] if split != "train" else []  # the figure of train, which is finished first
    told = parts.module("metrics", "scripted").TOLD
    baselines = [0.0, 0.0]  # of train and test, measured before the first epoch
    told[:] = [*baselines, *(value for figure in figures for value in (*other, figure))]
    return trained(plan, tmp_path)


nan = float("nan")


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([0.1, 0.5, 0.5, 0.5], 2),
        ([0.5, 0.5, 0.5], 1),
        ([0.1, 0.3, 0.2], 2),
        ([nan, 0.2, nan, 0.1], 2),
        ([0.2, nan, nan, 0.3], 4),
        ([0.3, nan, nan], 1),
    ],
)
def test_the_first_of_equals_is_best_and_nan_never(tmp_path: Path, figures: list[float], best: int) -> None:
    run = run_told(tmp_path, figures)
    assert run.summary()["best"]["epoch"] == best
    kept = load_checkpoint(run.best)
    assert kept.state["epoch"] == best
    at_best = trained(
        planned(epochs=len(figures), evaluate_every=1000, metrics=[]), tmp_path, stop_after=best
    )
    assert not differences(load_checkpoint(at_best.last).state["model"], kept.state["model"])


def test_without_any_best_epoch_the_last_one_is_kept(tmp_path: Path) -> None:
    run = run_told(tmp_path, [nan, nan])
    assert run.summary()["best"] is None
    assert load_checkpoint(run.best).state["epoch"] == 2


def test_of_any_sequence_the_first_best_wins(tmp_path: Path) -> None:
    chance = random.Random(39)
    plan = planned()
    for column, choose in (("train_loss", min), ("train_accuracy", max)):
        for _ in range(500):
            figures = [
                chance.choice([nan, 0.0, 1.0, 2.0, chance.random()]) for _ in range(chance.randint(1, 9))
            ]
            best: tuple[int, float] | None = None
            for epoch, figure in enumerate(figures):
                if plan.improves(column, figure, best[1] if best else None):
                    best = epoch, figure
            numbers = [figure for figure in figures if figure == figure]
            expected = (figures.index(choose(numbers)), choose(numbers)) if numbers else None
            assert best == expected


def test_best_is_chosen_on_valid_where_there_is_one_and_else_on_train() -> None:
    assert planned().monitor == "train_loss"
    assert planned(dataset={"name": "spiral", "points": 20, "valid_fraction": 0.2}).monitor == "valid_loss"


def test_best_pt_holds_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    worse_later = {"optimizer": {"name": "sgd", "lr": 20.0}, "gradient_clip": None}
    changes = EVERYTHING | worse_later | {"architecture": DROPOUT, "evaluate_every": 1, "epochs": 8}
    run = trained(planned(**changes), tmp_path)
    rows = run.rows()
    seeds: list[int] = EVERYTHING["seeds"]  # type: ignore[assignment]
    saved = load_checkpoint(run.best)
    epochs = []
    for index in range(len(seeds)):
        losses = rows["valid_loss"][index :: len(seeds)]
        best = 1 + losses.index(min(losses))
        epochs.append(best)
        at_best = trained(planned(**changes), tmp_path, stop_after=best)
        of_seed_then = load_checkpoint(at_best.last).state["model"][index]
        assert not differences(of_seed_then, saved.state["model"][index])
        assert saved.figures["valid_loss"][index] == losses[best - 1]
    assert len(set(epochs)) > 1, "a run whose seeds are best at different epochs shows more"
    assert saved.state["epochs"] == epochs
    best_of_run = run.summary()["best"]
    assert best_of_run["epochs"] == {str(seed): epoch for seed, epoch in zip(seeds, epochs, strict=True)}
    assert saved.state["epoch"] == best_of_run["epoch"] == max(epochs)


def test_choosing_on_the_test_set_is_never_silent(tmp_path: Path) -> None:
    view = Listening()
    trained(planned(monitor="test_loss"), tmp_path, view=view)
    assert any("chosen on the test set" in text for text in view.warnings)
    view = Listening()
    trained(planned(), tmp_path, view=view)
    assert not view.warnings


def test_the_best_epoch_is_measured_on_the_evaluation_split_too(tmp_path: Path) -> None:
    run = trained(planned(evaluate_every=100, epochs=5), tmp_path)
    assert "test_loss" in load_checkpoint(run.best).figures
    assert "test_loss" in run.summary()["final"]
    assert run.rows()["test_loss"][:-1] == [None] * 4, "cells that were not measured are empty"


def test_patience_stops_when_nothing_got_better_for_so_long(tmp_path: Path) -> None:
    run = run_told(tmp_path, [0.1, 0.5, 0.4, 0.5, 0.3, 0.2, 0.9], patience=3)
    assert (run.summary()["status"], run.summary()["epochs"]) == ("stopped early", 5)
    run = run_told(tmp_path, [0.1, 0.2, 0.1, 0.3, 0.2, 0.4], patience=3)
    assert (run.summary()["status"], run.summary()["epochs"]) == ("finished", 6)


def test_patience_counts_on_through_a_resume(tmp_path: Path) -> None:
    worse = {
        "optimizer": {"name": "sgd", "lr": 8.0},
        "epochs": 30,
        "patience": 3,
        "dataset": EVERYTHING["dataset"],
    }
    unbroken = trained(planned(**worse), tmp_path)
    assert unbroken.summary()["status"] == "stopped early"
    epochs = unbroken.summary()["epochs"]
    run = trained(planned(**worse), tmp_path, stop_after=epochs - 1)
    assert go_on(run, worse).summary["status"] == "stopped early"
    assert not differences(outcome(unbroken), outcome(run))
    assert go_on(run, worse).summary["already_complete"]


# ------------------------------------------------------------------------ expectations


def test_claims_are_judged_on_the_last_row_and_on_the_best(tmp_path: Path) -> None:
    claims = {"train_accuracy": ">= 0.0, <= 1", "best.train_loss": "< 100", "seconds": "< 600"}
    run = started(planned(expect=claims), tmp_path)
    done = go_on(run, {"expect": claims})
    assert done.exit_code == 0
    assert [verdict["met"] for verdict in done.summary["expect"]] == [True, True, True]
    last = run.rows()["train_accuracy"][-1]
    assert done.summary["expect"][0]["measured"] == last


def test_a_claim_that_is_not_met_is_exit_code_5(tmp_path: Path) -> None:
    claims = {"train_accuracy": "> 1.5", "train_loss": "< 100"}
    run = started(planned(expect=claims), tmp_path)
    done = go_on(run, {"expect": claims})
    assert done.exit_code == 5
    assert [verdict["met"] for verdict in done.summary["expect"]] == [False, True]
    assert done.summary["status"] == "finished"


def test_best_and_last_are_told_apart(tmp_path: Path) -> None:
    claims = {"train_scripted": "== 0.25", "best.train_scripted": "== 0.75"}
    run = run_told(tmp_path, [0.5, 0.75, 0.25], expect=claims)
    assert [verdict["met"] for verdict in run.summary()["expect"]] == [True, True]


def test_claims_are_means_over_seeds(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 1], expect={"train_loss": "> 0"}), tmp_path)
    losses = run.rows()["train_loss"][-2:]
    assert run.summary()["expect"][0]["measured"] == pytest.approx(sum(losses) / 2, rel=1e-12)


def test_a_run_that_is_not_complete_or_was_made_shorter_is_not_judged(tmp_path: Path) -> None:
    impossible = {"train_accuracy": "> 1.5"}
    run = started(planned(expect=impossible), tmp_path)
    done = go_on(run, {"expect": impossible}, stop_after=1)
    assert (done.exit_code, done.summary["expect"][0]["met"]) == (0, None)
    shorter = trained(planned(expect=impossible, expect_epochs=4), tmp_path)
    assert shorter.summary()["expect"][0]["met"] is None
    assert (
        trained(planned(expect=impossible, expect_epochs=3), tmp_path).summary()["expect"][0]["met"] is False
    )


def test_lowering_the_epochs_of_a_file_takes_its_claims_with_it(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(dump_config(planned(expect={"train_accuracy": "> 1.5"}).config))
    assert load_config(path, ["epochs=2"]).expect_epochs == 3
    assert load_config(path, ["epochs=4"]).expect_epochs is None


# ------------------------------------------------------------------------ what goes wrong


POISONOUS_LOSS = '''
"""A loss that is finite and has a gradient that is not."""

task = "classification"


def poisonous(outputs, targets):
    """One."""
    return (outputs * 0).abs().sum(1).sqrt() + 1
'''


def test_weights_that_are_lost_are_never_saved(tmp_path: Path, save_always: None) -> None:
    parts = own_parts(tmp_path, {"loss/poisonous.py": POISONOUS_LOSS})
    changes = {"loss": "poisonous", "batch_size": "full", "epochs": 2, "evaluate_every": 9, "metrics": []}
    run = started(planned(parts, **changes), tmp_path)
    with pytest.raises(Diverged, match="weight of seed 0 is no longer finite after epoch 1"):
        go_on(run, changes, parts)
    kept = load_checkpoint(run.last)
    assert kept.state["epoch"] == 0
    assert all(torch.isfinite(value).all() for value in kept.state["model"][0].values())
    assert run.summary()["status"] == "diverged"


def test_weights_whose_sum_is_too_large_are_not_lost() -> None:
    model = planned().state(planned().hardware()).model
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(3e38)
    weights = [copy.state_dict() for copy in model.copies]
    assert not weight.sum().isfinite()
    assert weight_not_finite(model, weights) is None
    weight.data[0] = torch.inf
    name = list(weights[0])[-1]
    assert weight_not_finite(model, weights) == (model.seeds[0], name)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_asking_git_for_the_commit_runs_no_monitor_and_no_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hook = tmp_path / "hooks" / "post-index-change"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\ntouch was_run\n")
    hook.chmod(0o755)
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    for words in (
        ("init", "-q"),
        ("add", "hooks"),
        (*who, "commit", "-q", "-m", "a hook"),
        ("config", "core.fsmonitor", "touch was_run; false"),
        ("config", "core.hooksPath", "hooks"),
    ):
        subprocess.run(["git", *words], check=True)
    os.utime(hook)  # what git knows of it has to be made new
    found = git_commit()
    assert found is not None and found["dirty"] is False
    assert not (tmp_path / "was_run").exists()


# ------------------------------------------------------------------------ the folder


def test_a_finished_run_leaves_what_its_docstring_says(tmp_path: Path) -> None:
    run = trained(planned(plots=["curves"], seeds=[4, 2]), tmp_path)
    assert files_of(run) == FILES_OF_A_RUN | {"plots/curves.png"}
    columns = ["epoch", "seed", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "seconds"]
    rows = run.rows()
    assert list(rows) == columns
    assert (rows["epoch"], rows["seed"]) == ([1, 1, 2, 2, 3, 3], [4, 2] * 3)
    assert load_config(run.config) == planned(plots=["curves"], seeds=[4, 2]).config
    summary = run.summary()
    assert summary["parameters"] == 2 * 8 + 8 + 8 * 3 + 3
    assert summary["data"]["examples"] == {"train": 60, "test": 60}
    assert summary["final"]["train_loss"]["mean"] == pytest.approx(sum(rows["train_loss"][-2:]) / 2)
    assert summary["final"]["train_loss"]["sd"] > 0
    for key in ("device", "threads", "versions", "git", "command", "seconds", "machine"):
        assert key in summary
    assert SMALL["threads"] == summary["threads"]


def test_resuming_cuts_off_rows_that_the_checkpoint_does_not_know(tmp_path: Path) -> None:
    unbroken = trained(planned(), tmp_path)
    run = trained(planned(), tmp_path, stop_after=2)
    with run.metrics.open("a") as file:
        file.write("3,0,9.9,0.1,9.9,0.1,0.01,0.1\n4,0,9.")
    go_on(run, {})
    assert not differences(outcome(unbroken), outcome(run))


def test_rows_that_are_missing_are_refused(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path, stop_after=2)
    run.metrics.write_text("epoch,seed\n")
    with pytest.raises(CheckpointRefused, match=r"metrics\.csv has other columns, or none"):
        go_on(run, {})


# ------------------------------------------------------------------------ what is best, and what is shown


def test_patience_looks_only_where_the_monitored_column_is_measured(tmp_path: Path) -> None:
    worse = {
        "optimizer": {"name": "sgd", "lr": 8.0},
        "epochs": 40,
        "patience": 3,
        "evaluate_every": 5,
        "monitor": "test_loss",
    }
    run = trained(planned(**worse), tmp_path)
    summary = run.summary()
    assert summary["status"] == "stopped early"
    assert summary["epochs"] % 5 == 0
    assert summary["epochs"] >= summary["best"]["epoch"] + 5


def test_a_run_that_never_measured_what_it_monitors_says_that_best_is_the_last(tmp_path: Path) -> None:
    view = Listening()
    run = trained(planned(monitor="test_loss", evaluate_every=10), tmp_path, view=view)
    assert view.warnings[-1] == "best.pt is the last epoch: test_loss is first measured after epoch 10"
    assert load_checkpoint(run.best).state["epoch"] == 3


def test_the_last_row_of_a_run_has_every_figure_of_its_summary(tmp_path: Path) -> None:
    changes = {"evaluate_every": 2, "evaluate_train_every": 2, "expect": {"trainset_loss": "< 100"}}
    run = trained(planned(**changes), tmp_path)
    rows, summary = run.rows(), run.summary()
    for column in ("test_loss", "test_accuracy", "trainset_loss", "trainset_accuracy"):
        assert [value is None for value in rows[column]] == [True, False, False]
        assert rows[column][-1] == summary["final"][column]["mean"]
    assert summary["expect"][0]["met"] is True


def test_figures_of_a_last_row_are_gone_once_it_is_not_the_last_one(tmp_path: Path) -> None:
    changes = {"evaluate_every": 2, "evaluate_train_every": 4}
    unbroken = trained(planned(**changes, epochs=5), tmp_path)
    run = trained(planned(**changes, epochs=3), tmp_path)
    assert run.rows()["trainset_loss"][-1] is not None
    again = go_on(run, changes | {"epochs": 3, "expect": {"train_loss": "> 0"}})  # nothing is trained
    assert again.summary["expect"][0]["met"] and run.rows()["trainset_loss"][-1] is not None
    go_on(run, changes | {"epochs": 5})
    assert not differences(outcome(unbroken), outcome(run))


def test_the_last_row_of_a_seed_that_stopped_early_has_every_figure_of_the_summary(tmp_path: Path) -> None:
    worse = {"optimizer": {"name": "sgd", "lr": 8.0}, "epochs": 40, "patience": 2, "seeds": [0, 1, 2]}
    for stacked in (False, True):
        run = trained(planned(**worse, evaluate_train_every=9, stacked=stacked), tmp_path)
        rows, summary = run.rows(), run.summary()
        stops = [summary["stopped"].get(str(seed), summary["epochs"]) for seed in (0, 1, 2)]
        assert len({*stops}) > 1  # or this shows nothing
        last = {seed: place for place, seed in enumerate(rows["seed"])}
        found = [rows["trainset_loss"][last[seed]] for seed in (0, 1, 2)]
        assert found == summary["final"]["trainset_loss"]["values"]


EPOCH_SHOWN = '''
"""Which epoch is drawn."""
from matplotlib.figure import Figure


def epoch_shown(trained):
    """It writes the epoch down instead."""
    (trained.run.folder / "epoch_shown.txt").write_text(str(trained.epoch))
    return Figure()
'''


def test_pictures_of_a_run_without_its_best_checkpoint_say_which_epoch_they_show(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"plots/epoch_shown.py": EPOCH_SHOWN})
    rising = {"optimizer": {"name": "sgd", "lr": 8.0}, "dataset": EVERYTHING["dataset"], "epochs": 4}
    run = trained(planned(parts, **rising, plots=["epoch_shown"]), tmp_path)
    best = run.summary()["best"]["epoch"]
    assert (run.folder / "epoch_shown.txt").read_text() == str(best)
    assert best < 4
    run.best.unlink()
    view = Listening()
    go_on(run, {**rising, "plots": ["epoch_shown", "curves"]}, parts, view=view)
    assert (run.folder / "epoch_shown.txt").read_text() == "4"
    assert any("best.pt is skipped" in warning for warning in view.warnings)
    lost = f"best.pt has epoch 4 of seed 0: the weights of its best epoch, {best}, were lost"
    assert lost in view.warnings
    assert load_checkpoint(run.best).state["epochs"] == [4]


def test_the_command_that_began_a_run_is_kept_and_those_that_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["dlrun", "train", "small"])
    run = trained(planned(), tmp_path, stop_after=1)
    monkeypatch.setattr("sys.argv", ["dlrun", "resume", "last"])
    go_on(run, {})
    assert run.summary()["command"] == ["dlrun", "train", "small"]
    assert run.summary()["resumed"] == [["dlrun", "resume", "last"]]


# ------------------------------------------------- what is kept for those who look at it later

MOVING = '''
"""Draws nothing but wants to know how the model changed."""
from matplotlib.figure import Figure

keeps_weights = 3


def moving(trained):
    """A title."""
    figure = Figure()
    figure.suptitle(" ".join(str(moment.epoch) for moment in trained.moments()))
    return figure
'''


def test_what_is_reached_without_a_model_stands_in_the_summary(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path), dataset="uneven")
    found = trained(plan, tmp_path).summary()["baselines"]
    assert found.keys() == {"train", "test"}
    assert found["train"]["class prior"]["accuracy"] == 24 / 40
    shares = [24 / 40, 8 / 40, 4 / 40, 4 / 40]
    entropy = -sum(share * math.log(share) for share in shares)
    assert found["train"]["class prior"]["loss"] == pytest.approx(entropy, rel=1e-6)


def test_weights_are_kept_at_some_epochs_where_a_plot_wants_them(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"plots/moving.py": MOVING})
    changes: dict[str, Any] = {"epochs": 8, "plots": ["moving"]}
    run = started(planned(parts, **changes), tmp_path)
    train_run(planned(parts, **changes), run, HiddenTraining(), stop_after=4)
    train_run(planned(parts, **changes), run, HiddenTraining())
    kept = sorted(run.weights.iterdir())
    assert [path.name for path in kept] == ["00000000.pt", "00000003.pt", "00000006.pt", "00000008.pt"]
    alone = trained(planned(epochs=8), tmp_path / "alone")
    assert not alone.weights.exists(), "nobody asked for them"
    third = trained(planned(parts, epochs=3), tmp_path / "third")
    of_third = load_checkpoint(third.last).state["model"]
    assert not differences(load_checkpoint(kept[1]).state["model"], of_third)
    assert not differences(
        load_checkpoint(run.last).state["model"], load_checkpoint(alone.last).state["model"]
    )


def test_the_moments_of_a_model_are_opened_in_order(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"plots/moving.py": MOVING})
    run = trained(planned(parts, epochs=8, plots=["moving"]), tmp_path)
    opened, _ = open_checkpoint(run.best, run, [], parts, tmp_path)
    moments = list(opened.moments())
    assert [moment.epoch for moment in moments] == [0, 3, 6, 8], "the last epoch among them"
    outputs = [moment.outputs("test")[0] for moment in moments]
    assert not torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[1], outputs[2])
    assert (run.plots / "moving.png").exists()


@pytest.mark.parametrize(
    ("claim", "by"), [(">= 0.5", 0.2), ("> 0.2, <= 0.9", None), ("<= 0.1, >= 0.25", 0.2), ("> 0.3", 0.0)]
)
def test_how_far_a_claim_was_missed(claim: str, by: float | None) -> None:
    missed = missed_by(0.3, claim)
    assert missed == pytest.approx(by or 0.0) and meets(0.3, claim) == (by is None)
