"""The config and the commands of docs/practice.md do what the page says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, page
from places import PROJECT

from dlrun.config.keys import KEYS
from dlrun.config.loading import load_config
from dlrun.config.registry import COMMON, KINDS, Parts
from dlrun.run_folders.listing import runs_in
from dlrun.training.plan_making import make_plan
from dlrun.training.test_time_augmentation import VIEWS
from dlrun.training.weights_file import with_weights_found

PAGE = page("docs/practice.md")
FILES = ("best.pt", "out_of_fold.csv")


def under(title: str, kind: str = "") -> list[str]:
    """The blocks of one kind, by default of commands, under a heading of the page."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [content for own, _, content in blocks(section) if own == kind]


def test_its_pieces_are_one_config_in_which_the_last_layer_learns_alone_at_first(tmp_path: Path) -> None:
    for kind in ("cats", "dogs"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        (tmp_path / "photos" / kind / "1.png").write_bytes(b"")  # whose name alone is read
    [groups] = re.findall(r"`(groups: .*)`", PAGE)
    titles = ("Begin with pretrained weights", "Freeze what is known already")
    pieces = [content for title in titles for content in under(title, "yaml")]
    (tmp_path / "fine.yaml").write_text("".join([*pieces, groups, "\n"]))
    parts = Parts()
    config = with_weights_found(load_config(tmp_path / "fine.yaml", (), parts), parts, tmp_path)
    plan = make_plan(config, parts, tmp_path)
    assert plan.config.dataset.options["size"] == 224
    frozen = plan.recipe.freezing
    assert {name for name, _ in plan.build().named_parameters()} - frozen.weights == {"fc.weight", "fc.bias"}
    assert (frozen.count, frozen.epochs) == (11_176_512, 3)  # resnet18 without its layer for 1000 classes


def test_a_run_goes_on_from_another_as_on_the_page(dlrun: Callable[..., Any], runs_dir: Path) -> None:
    commands = under("Go on from a run")[0].splitlines()
    for command in commands:
        words = shlex.split(re.sub(r"epochs=\d+", "epochs=1", command))[1:]
        assert dlrun(*words, "plots=[]").code == 0
    after, first = runs_in(runs_dir)
    assert after.summary()["weights"]["source"] == str(first.folder)


@pytest.mark.slow
def test_fine_tuning_brings_in_5_epochs_what_20_from_nothing_do_not(
    dlrun: Callable[..., Any], runs_dir: Path
) -> None:
    *trainings, compare = under("Go on from a run")[1].splitlines()
    for command in trainings:
        assert dlrun(*shlex.split(command)[1:], "plots=[]", "threads=1").code == 0
    assert "better by" in dlrun(*shlex.split(compare)[1:]).out
    tuned, nothing, _ = runs_in(runs_dir)
    assert min(tuned.rows()["test_accuracy"][-5:]) > max(nothing.rows()["test_accuracy"]), "of any seed"


def test_the_keys_of_pieces_are_those_of_a_config(tmp_path: Path) -> None:
    base = PROJECT / "configs" / "mnist_mlp.yaml"
    for title in ("Average the weights", "Batches that do not fit into memory"):
        [piece] = under(title, "yaml")
        (tmp_path / "piece.yaml").write_text(f"base: {base}\n{piece}")
        assert make_plan(load_config(tmp_path / "piece.yaml"), Parts(), tmp_path).recipe.columns()


def test_the_rate_of_the_page_is_suggested(dlrun: Callable[..., Any], runs_dir: Path) -> None:
    [sweep] = re.findall(r"`dlrun sweep spiral_relu optimizer.lr=(\S+) ", PAGE)
    done = dlrun(*shlex.split(under("Find a learning rate")[0])[1:], "threads=1")
    assert done.code == 0
    assert f"suggestion: optimizer.lr={sweep.split(',')[1]}, of 3 seeds" in done.out


def test_the_commands_on_rare_classes_train(dlrun: Callable[..., Any]) -> None:
    for command in under("Rare classes")[0].splitlines():
        assert dlrun(*shlex.split(command)[1:], "epochs=1", "seeds=[0]", "plots=[]").code == 0


def test_a_student_is_trained_and_judged_as_on_the_page(dlrun: Callable[..., Any], runs_dir: Path) -> None:
    for command in under("Learn from a larger model")[0].splitlines():
        assert dlrun(*shlex.split(command)[1:], "epochs=1", "plots=[]", "dataset.points=50").code == 0
    small, large = runs_in(runs_dir)
    assert small.summary()["teacher"]["source"] == str(large.folder)
    assert dlrun("eval", "small").code == 0


def test_points_are_learnt_by_the_command_of_the_page(dlrun: Callable[..., Any], runs_dir: Path) -> None:
    [command] = under("Embeddings")[0].splitlines()
    assert dlrun(*shlex.split(command)[1:], "epochs=1", "evaluate_every=1").code == 0
    [run] = runs_in(runs_dir)
    assert 0.9 < run.rows()["test_recall_at_k"][0] <= 1


@pytest.mark.slow
def test_the_commands_on_cross_validation_train_and_compare(dlrun: Callable[..., Any]) -> None:
    *trainings, compare = under("Cross-validation")[0].splitlines()
    for command in trainings:
        done = dlrun(*shlex.split(command)[1:], "epochs=1", "evaluate_every=1")
        assert done.code == 0, done.err
    assert re.search(
        r"architecture.hidden\s+best.valid_accuracy\s+folds", dlrun(*shlex.split(compare)[1:]).out
    )


def test_the_views_of_the_page_are_those_that_there_are() -> None:
    section = PAGE.partition("## Average over views of an image\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*VIEWS]


@pytest.mark.slow
def test_mirror_images_help_where_turned_ones_do_harm(dlrun: Callable[..., Any]) -> None:
    training, *evaluations = under("Average over views of an image")[0].splitlines()
    assert dlrun(*shlex.split(training)[1:], "plots=[]", "threads=1", "seeds=[0]").code == 0
    mirrored, turned = (json.loads(dlrun(*shlex.split(each)[1:], "--json").out) for each in evaluations)
    usual = mirrored["without_tta"]["per_seed"]
    assert all(own["accuracy"] > usual[seed]["accuracy"] for seed, own in mirrored["per_seed"].items())
    assert all(own["accuracy"] < usual[seed]["accuracy"] for seed, own in turned["per_seed"].items())
    assert "makes the loss worse" in turned["warnings"][-1] and mirrored["warnings"] == []


def test_the_plots_of_its_commands_have_the_options_that_they_name() -> None:
    parts = Parts()
    commands = [
        line
        for block in under("Look into a model")
        for line in block.splitlines()
        if line.startswith("dlrun plot last ")
    ]
    assert len(commands) > 2
    for command in commands:
        for word in shlex.split(command)[3:]:
            name, _, option = word.partition("=")[0].partition(".")
            assert not option or option in parts.part("plots", name).options, command
            parts.part("plots", name)


def test_what_it_calls_dlruns_word_is_a_key_an_option_or_a_part() -> None:
    parts = Parts()
    names = {name for kind in KINDS for name in parts.names(kind)} | {"norm", "value", "agc", "pretrained"}
    options = {
        option for kind in KINDS for name in parts.names(kind) for option in parts.part(kind, name).options
    }
    options |= {option for common in COMMON.values() for option in common}
    rows = PAGE[PAGE.index("## What other tools call it") :].splitlines()[4:]
    tokens = [token for row in rows for token in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])]
    assert len(tokens) > 20
    for token in tokens:
        *kinds, name = token.partition(":")[0].split(".")
        value = token.partition(": ")[2]
        known = name in KEYS or name in names or name in options or token in (*FILES, "FILE")
        names_of_commands = (
            "train",
            "data",
            "lr",
            "plot",
            "eval",
            "predict",
            "calibrate",
            "export",
            "log",
            "sweep",
            "slurm",
            "report",
            "schema",
        )
        commands = [f"dlrun {command}" for command in names_of_commands]
        assert known or token.startswith((*commands, "--max-time ")), token
        assert all(kind in KEYS for kind in kinds) or token in FILES, token
        assert name not in KINDS or not value.isidentifier() or value in parts.names(name), token
