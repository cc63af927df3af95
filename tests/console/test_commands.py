"""The commands: what they print, leave behind, refuse, and the code they exit with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from small_runs import FILES_OF_A_RUN, SIGNS, files_of, only_run, timeless, tree

from dlrun import __version__
from dlrun.console.commands import app
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.run import Run

Write = Callable[[str, str], Path]
Dlrun = Callable[..., Any]
PROJECT = Path(__file__).parents[2]


# --------------------------------------------------------------------------- train


def test_training_leaves_everything_in_one_folder(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    done = dlrun("train", tiny, "plots=[curves]")
    run = only_run(runs_dir)
    assert done.code == 0
    assert run.name == "tiny-001"
    assert files_of(run) == FILES_OF_A_RUN | {"plots/curves.png"}
    assert run.summary()["status"] == "finished"
    assert run.rows()["epoch"] == [1, 2, 3]
    assert str(run.folder) in done.out
    assert done.err == ""


@pytest.mark.parametrize(("rank", "lines"), [("0", 3), ("1", 0)])
def test_what_is_done_by_one_process_is_refused_in_several(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch, rank: str, lines: int
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    done = dlrun("data", tiny)
    assert (done.code, len(done.err.splitlines()), runs_dir.exists()) == (2, lines, False)
    said = "2 processes were started (WORLD_SIZE), but only train and resume are for several"
    assert not lines or said in done.err


def test_a_single_process_of_torchrun_trains(
    dlrun: Dlrun, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WORLD_SIZE", "1"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    assert dlrun("train", tiny).code == 0


def test_the_config_of_a_run_runs_again_as_it_stands(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "optimizer.lr=0.5")
    first = only_run(runs_dir)
    assert dlrun("train", first.config, "--name", "again").code == 0
    assert dlrun("train", first.folder, "--name", "again").code == 0
    for name in ("again-001", "again-002"):
        assert timeless(Run(runs_dir / name).rows()) == timeless(first.rows())


def test_quiet_prints_the_folder_and_nothing_else(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    done = dlrun("train", tiny, "--quiet")
    assert (done.code, done.out, done.err) == (0, f"{runs_dir / 'tiny-001'}\n", "")
    assert dlrun("resume", "last", "--quiet", "epochs=4").out == done.out


def test_a_shipped_config_is_trained_by_its_name(dlrun: Dlrun, runs_dir: Path) -> None:
    assert dlrun("train", "spiral_relu", "epochs=1", "dataset.points=20", "plots=[]").code == 0
    assert only_run(runs_dir).name == "spiral_relu-001"


def test_seed_and_seeds_choose_the_copies(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "--seed", 7, "--name", "one")
    dlrun("train", tiny, "--seeds", 3, "--name", "three")
    assert set(Run(runs_dir / "one-001").rows()["seed"]) == {7}
    three = Run(runs_dir / "three-001")
    assert three.rows()["seed"] == [0, 1, 2] * 3
    assert three.summary()["final"]["train_loss"]["sd"] > 0
    both = dlrun("train", tiny, "--seed", 1, "--seeds", 2)
    assert (both.code, len(runs_in(runs_dir))) == (2, 2)


def test_a_run_ends_with_its_pictures_and_the_command_that_evaluates_it(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    done = dlrun("train", tiny, "plots=[curves, decision_regions]")
    folder = only_run(runs_dir).folder
    drawn = sorted(path.name for path in (folder / "plots").iterdir())
    assert done.out.splitlines()[-2:] == [
        f"pictures: {', '.join(drawn)} in {folder}/plots",
        f"evaluate: dlrun eval {folder}",
    ]
    assert only_run(runs_dir).summary()["pictures"] == [f"plots/{name}" for name in drawn]
    paused = dlrun("train", tiny, "plots=[]", "--stop-after", 1)
    assert "pictures:" not in paused.out and "evaluate:" not in paused.out


def test_the_newest_of_the_usual_folder_is_named_last_in_the_next_command(
    dlrun: Dlrun, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for said in ("tiny-001", "tiny-002"):
        done = dlrun("train", tiny, "plots=[]", "--runs-dir", "runs")
        assert done.out.splitlines()[-2:] == [
            done.out.splitlines()[-2].partition(":")[0] + f": runs/{said}",
            "evaluate: dlrun eval last",
        ]
    again = dlrun("resume", "tiny-001", "epochs=4", "--runs-dir", "runs")
    assert again.out.splitlines()[-1] == "evaluate: dlrun eval runs/tiny-001"


def test_a_pause_and_a_resume_are_as_no_pause(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "--name", "whole", "epochs=5", "schedule=cosine")
    paused = dlrun("train", tiny, "--name", "paused", "epochs=5", "schedule=cosine", "--stop-after", 2)
    run = Run(runs_dir / "paused-001")
    assert (paused.code, run.summary()["status"], run.rows()["epoch"]) == (0, "paused", [1, 2])
    assert f"resume: dlrun resume {run.folder}" in paused.out
    assert dlrun("resume", "paused").code == 0
    assert run.summary()["status"] == "finished"
    assert timeless(run.rows()) == timeless(Run(runs_dir / "whole-001").rows())


# --------------------------------------------------------------------------- refusals


def test_a_bad_config_ends_with_all_its_mistakes_and_no_folder(
    dlrun: Dlrun, write: Write, runs_dir: Path
) -> None:
    path = write(
        "bad.yaml",
        "seed: [0]\ndataset: spiral\narchitecture: {name: mlp, hidden: wide}\nloss: cross_entropi\n"
        "optimizer: adam\nepochs: 3\nbatch_size: full\n",
    )
    for command in ("train", "show"):
        done = dlrun(command, path)
        assert (done.code, done.out) == (2, "")
        first, *mistakes = done.err.splitlines()
        assert first == f"error: {path}: 4 mistakes"
        assert [mistake.split()[0] for mistake in mistakes] == [
            f"{path}:{place}" for place in ("1:1", "3:35", "4:7", "5:1")
        ]
        for neighbour in (
            "dlrun's word is seeds: write seeds: [0]",
            "did you mean 'cross_entropy'?",
            "the option lr is missing",
        ):
            assert neighbour in done.err
    assert not runs_dir.exists()


REGRESSION = """\
import torch
from dlrun.data.examples import Data, Examples


def line(root, *, points: int = 30):
    '''Twice the input.'''
    def read():
        inputs = torch.linspace(-1, 1, points).unsqueeze(1)
        return {split: Examples(inputs, 2 * inputs) for split in ("train", "test")}
    return Data(task="regression", input_shape=(1,), read=read)
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dataset.classes=1",), "two or more classes"),
        (("dataset={name: mnist}",), "flatten: true"),
        (("dataset={name: line}",), "accuracy is for classification"),
        (("loss=l1", "metrics=[]"), "l1 is for regression"),
        (("architecture.batch_norm=true", "batch_size=59"), "batch normalisation has no variance"),
        (("expect={valid_loss: '< 1'}",), "never measured"),
        (("monitor=valid_loss",), "never measured"),
        (("device=cuda:77",), "device"),
    ],
)
def test_a_config_that_cannot_work_is_refused_before_any_folder_is_made(
    words: tuple[str, ...], said: str, dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path, runs_dir: Path
) -> None:
    write("parts/dataset/line.py", REGRESSION)
    done = dlrun("train", tiny, *words, "--parts", tmp_path / "parts", "--data-dir", tmp_path / "no-data")
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not runs_dir.exists()
    assert not (tmp_path / "no-data").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("train",),
        ("train", "nowhere.yaml"),
        ("train", "tiny", "epochs"),
        ("train", "tiny", "--seeds", "0"),
        ("train", "tiny", "--seed", "-1"),
        ("train", "tiny", "--seed", "18446744073709551616"),
        ("train", "tiny", "--stop-after", "0"),
        ("train", "tiny", "--device", "gpu"),
        ("train", "tiny", "--device", ""),
        ("train", "tiny", "--parts", "nowhere"),
        ("train", "tiny", "--nothing"),
        ("resume", "nothing"),
        ("resume", "last"),
        ("eval", "nothing"),
        ("eval", "last", "--split", "all"),
        ("eval", "last", "--checkpoint", "first"),
        ("show", "tiny", "epochs=0"),
        ("parts", "optimiser"),
        ("nothing",),
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2_and_makes_nothing(
    words: tuple[str, ...], dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    done = dlrun(*(tiny if word == "tiny" else word for word in words))
    assert done.code == 2
    assert done.err
    assert "Traceback" not in done.err
    assert not runs_dir.exists()


def test_an_expectation_that_is_not_met_exits_with_5_and_is_named(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    done = dlrun("train", tiny, "expect={train_loss: '< 0', train_accuracy: '>= 0', best.test_loss: '> 0'}")
    summary = only_run(runs_dir).summary()
    assert done.code == 5
    [unmet] = [line for line in done.out.splitlines() if "train_loss < 0" in line]
    final = summary["final"]["train_loss"]["mean"]
    assert unmet.split() == ["train_loss", "<", "0", f"{final:.4f}", *f"no, missed by {final:.4f}".split()]
    assert sum(line.split()[-1:] == ["yes"] for line in done.out.splitlines()) == 2
    assert [verdict["met"] for verdict in summary["expect"]] == [False, True, True]
    assert summary["status"] == "finished"


def test_a_config_is_judged_only_as_it_stands(dlrun: Dlrun, write: Write, tiny: Path, runs_dir: Path) -> None:
    path = write("claim.yaml", "base: tiny.yaml\nexpect: {train_loss: '< 0'}\n")
    assert dlrun("train", path).code == 5
    free = dlrun("train", path, "threads=1", "plots=[]", "--name", "other", "--device", "cpu", "epochs=3")
    assert free.code == 5  # three epochs are those of the file
    assert Run(runs_dir / "other-001").summary()["expect"][0]["why"] is None
    shorter = dlrun("train", path, "epochs=2", "optimizer.lr=0.5", "--name", "shorter")
    [figures] = [line for line in shorter.out.splitlines() if "train_loss < 0" in line]
    assert (shorter.code, figures.split()[-2:]) == (0, ["not", "judged"])
    assert "not judged: optimizer.lr and epochs changed; --check judges it" in shorter.out
    found = Run(runs_dir / "shorter-001")
    [verdict] = found.summary()["expect"]
    assert (verdict["met"], verdict["why"]) == (None, "optimizer.lr and epochs changed")
    assert verdict["measured"] == found.summary()["final"]["train_loss"]["mean"]
    assert dlrun("train", path, "epochs=2", "--check").code == 5
    assert tiny.exists()


def test_a_claim_of_what_a_changed_config_does_not_measure_is_not_judged(
    dlrun: Dlrun, write: Write, tiny: Path, runs_dir: Path
) -> None:
    path = write("claim.yaml", "base: tiny.yaml\nexpect: {test_accuracy: '> 0', best.test_loss: '> 0'}\n")
    for changes in (["dataset.valid_fraction=0.2"], ["metrics=[f1]"], ["metrics=[f1]", "epochs=2"]):
        done = dlrun("train", path, *changes)
        assert (done.code, "not judged: " in done.out) == (0, True)
        [*_, run] = sorted(runs_in(runs_dir), key=lambda run: run.name)
        assert [each["met"] for each in run.summary()["expect"]][:1] == [None]
        assert dlrun("resume", "last", "epochs=4").code == 0 and dlrun("eval", "last").code == 0
        assert "not_judged:\n  test_accuracy: " in dlrun("show", path, *changes).out
        checked = dlrun("train", path, *changes, "--check")
        assert (checked.code, "leave out all claims with expect={}" in checked.err) == (2, True)
        assert dlrun("train", path, *changes, "--check", "expect={}").code == 0
    assert tiny.exists()


def test_a_claim_of_a_base_that_is_changed_is_shown_and_not_judged(
    dlrun: Dlrun, write: Write, tiny: Path
) -> None:
    write("claim.yaml", f"{tiny.read_text()}expect: {{train_loss: '< 0'}}\n")
    done = dlrun("train", write("child.yaml", "base: claim.yaml\nepochs: 1\n"))
    assert (done.code, "not judged: epochs of its base claim.yaml changed" in done.out) == (0, True)
    assert dlrun("resume", "last", "plots=[]").code == 0
    assert dlrun("resume", "last", "--check").code == 5
    assert dlrun("train", write("same.yaml", "base: claim.yaml\nthreads: 1\n")).code == 5


def test_a_claim_on_the_command_line_is_always_judged(dlrun: Dlrun, write: Write, tiny: Path) -> None:
    path = write("claim.yaml", "base: tiny.yaml\nexpect: {train_loss: '< 0'}\n")
    given = dlrun("train", path, "epochs=2", "expect.train_accuracy='> 2'")
    lines = {line.split()[0]: line.split()[-1] for line in given.out.splitlines() if " < 0 " in line}
    assert (given.code, lines) == (5, {"train_loss": "judged"})
    assert "train_accuracy > 2" in given.out and "no, missed by" in given.out
    assert dlrun("train", path, "epochs=2", "expect.train_accuracy='>= 0'").code == 0
    assert dlrun("train", path, "epochs=2", "expect={train_loss: '< 0'}").code == 5
    assert tiny.exists()


def test_a_resumed_run_is_judged_if_its_config_is_the_one_it_began_with(
    dlrun: Dlrun, write: Write, tiny: Path
) -> None:
    path = write("claim.yaml", "base: tiny.yaml\nexpect: {train_loss: '< 0'}\n")
    assert dlrun("train", path, "--stop-after", 1).code == 0
    assert dlrun("resume", "last").code == 5
    longer = dlrun("resume", "last", "epochs=4")
    assert (longer.code, "not judged: epochs changed" in longer.out) == (0, True)
    assert dlrun("resume", "last", "epochs=4", "plots=[]").code == 0  # and stays so
    assert dlrun("resume", "last", "--check").code == 5
    assert dlrun("train", path, "epochs=2", "--stop-after", 1).code == 0
    assert dlrun("resume", "last").code == 0
    assert dlrun("train", path, "optimizer.lr=0.5", "--stop-after", 1).code == 0
    told = [dlrun("resume", "last", word).out for word in ("plots=[]", "epochs=4", "epochs=5")]
    said = [line for out in told for line in out.splitlines() if "not judged: " in line]
    both = "not judged: optimizer.lr changed; then epochs changed; --check judges it"
    assert said == ["not judged: optimizer.lr changed; --check judges it", both, both]
    assert tiny.exists()


# --------------------------------------------------------------------------- resume


@pytest.fixture
def trained(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> Run:
    assert dlrun("train", tiny).code == 0
    return only_run(runs_dir)


def test_a_run_that_grew_and_was_paused_goes_on_to_its_new_length(
    dlrun: Dlrun, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.training import experiment
    from dlrun.training.experiment import is_complete

    complete = is_complete
    with monkeypatch.context() as patched:
        patched.setattr(
            experiment, "is_complete", lambda plan, state: state.epoch >= 5 or complete(plan, state)
        )
        dlrun("resume", "tiny", "epochs=8")
    assert trained.rows()["epoch"][-1] == 5
    assert dlrun("resume", "tiny").code == 0
    assert trained.rows()["epoch"] == list(range(1, 9))
    assert dlrun("train", trained.folder, "--name", "again").code == 0
    assert timeless(Run(trained.folder.parent / "again-001").rows()) == timeless(trained.rows())


def test_a_damaged_checkpoint_exits_with_4(dlrun: Dlrun, trained: Run) -> None:
    raw = trained.last.read_bytes()
    with zipfile.ZipFile(trained.last) as archive:
        weights = archive.read(next(name for name in archive.namelist() if "/data/" in name))
    flipped = raw.replace(weights, bytes([weights[0] ^ 1]) + weights[1:])
    for damaged in (flipped, raw[:-100], b"", b"no checkpoint"):
        trained.last.write_bytes(damaged)
        for words in (("resume", "last", "epochs=4"), ("eval", "last", "--checkpoint", "last")):
            done = dlrun(*words)
            assert done.code == 4
            assert "Traceback" not in done.err
            assert 1 <= len(done.err.splitlines()) <= 5


# --------------------------------------------------------------------------- eval


def test_eval_finds_exactly_what_was_recorded(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "--seeds", 2, "dataset.valid_fraction=0.25")
    for words in (("--split", "valid"), ("--split", "valid", "--checkpoint", "last")):
        done = dlrun("eval", "last", *words)
        assert done.code == 0
        assert "exactly as recorded at training: loss, accuracy" in done.out
    run = only_run(runs_dir)
    assert (run.folder / "eval" / "valid.json").exists()
    assert (run.folder / "eval" / "valid_confusion_matrix.png").stat().st_size > 1000
    kept = json.loads((run.folder / "eval" / "valid.json").read_text())
    assert kept["loss"] == run.summary()["final"]["valid_loss"]["mean"]


def test_eval_says_so_where_it_finds_something_else(dlrun: Dlrun, trained: Run) -> None:
    done = dlrun("eval", "last", "dataset.noise=0.5")
    assert done.code == 0
    assert "exactly" not in done.out
    assert "loss was" in done.out
    assert "the data is not what the model was trained on" in done.out
    assert trained.best.exists()


def test_json_is_one_object_with_the_promised_keys_and_nothing_else(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    dlrun("train", tiny, "seeds=[12345, 6]")
    done = dlrun("eval", "last", "--json")
    report = json.loads(done.out)
    assert done.err == ""
    assert {
        "run", "checkpoint", "epoch", "split", "examples", "loss", "metrics", "baselines", "per_seed",
    } <= report.keys()  # fmt: skip
    assert (report["run"], report["split"], report["examples"]) == ("tiny-001", "test", 60)
    assert report["checkpoint"] == str(only_run(runs_dir).best)
    assert report["per_seed"].keys() == {"12345", "6"}
    for figure, mean in (("loss", report["loss"]), *report["metrics"].items()):
        assert mean == pytest.approx(sum(seed[figure] for seed in report["per_seed"].values()) / 2)
    assert {"accuracy", "entropy_bits"} <= report["metrics"].keys()
    assert report["baselines"]["class prior"]["accuracy"] == pytest.approx(1 / 3)


def test_json_is_strict_where_a_metric_has_no_value(
    dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path
) -> None:
    write("parts/dataset/line.py", REGRESSION.replace("2 * inputs", "torch.ones(points, 1)"))
    mine = ("--parts", tmp_path / "parts")
    dlrun("train", tiny, "dataset=line", "loss=mse", "metrics=[r2]", *mine)
    done = dlrun("eval", "last", "--json", *mine)
    assert done.code == 0
    report = json.loads(done.out, parse_constant=pytest.fail)
    assert report["metrics"] == {"r2": None}
    assert report["loss"] > 0


def test_a_bare_checkpoint_is_evaluated_and_nothing_is_written(
    dlrun: Dlrun, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "elsewhere" / "model.pt"
    bare.parent.mkdir()
    bare.write_bytes(trained.best.read_bytes())
    of_run = json.loads(dlrun("eval", trained.folder, "--json").out)
    before = tree(tmp_path)
    monkeypatch.chdir(bare.parent)
    done = dlrun("eval", "model.pt", "--json")
    report = json.loads(done.out)
    assert tree(tmp_path) == before
    assert report["run"] is None
    assert report["per_seed"] == of_run["per_seed"]
    assert dlrun("eval", trained.last).code == 0
    assert tree(tmp_path) == before


def test_what_the_model_is_cannot_be_changed_at_evaluation(dlrun: Dlrun, trained: Run) -> None:
    done = dlrun("eval", trained.folder, "architecture.hidden=[5]", "loss=nll")
    assert done.code == 2
    assert "architecture, loss cannot be changed" in done.err
    assert dlrun("eval", trained.folder, "--split", "valid").code == 2


# --------------------------------------------------------------------------- show, parts, runs


def test_show_says_how_each_side_of_an_image_comes_about(dlrun: Dlrun) -> None:
    shown = dlrun("show", "mnist_cnn")
    assert shown.code == 0
    for formula in ("⌊(28 + 2·2 - 5)/1⌋ + 1 = 28", "⌊(14 + 2·0 - 2)/2⌋ + 1 = 7"):
        assert formula in shown.out


def test_show_prints_a_config_that_can_be_trained_and_the_layers(
    dlrun: Dlrun, tiny: Path, write: Write, runs_dir: Path
) -> None:
    from dlrun.config.keys import changed_keys
    from dlrun.config.loading import load_config

    done = dlrun("show", tiny, "optimizer.lr=0.25")
    assert done.code == 0
    _, _, layers = done.out.partition("\n# input ")
    shown = load_config(write("shown.yaml", done.out))
    assert changed_keys(load_config(tiny, ["optimizer.lr=0.25", "evaluation_batch_size=1024"]), shown) == []
    assert f"{2 * 4 + 4 + 4 * 3 + 3}" in layers
    assert not runs_dir.exists()


def test_show_yaml_is_a_file_that_trains_the_same(
    dlrun: Dlrun, tiny: Path, write: Write, runs_dir: Path
) -> None:
    shown = dlrun("show", tiny, "epochs=2", "optimizer.lr=0.25", "--yaml")
    assert (shown.code, shown.err) == (0, "")
    again = write("again.yaml", shown.out)
    assert dlrun("show", again, "--yaml").out == shown.out
    assert dlrun("train", tiny, "epochs=2", "optimizer.lr=0.25", "--name", "one").code == 0
    assert dlrun("train", again, "--name", "other").code == 0
    one, other = (Run(runs_dir / f"{name}-001") for name in ("one", "other"))
    assert timeless(one.rows()) == timeless(other.rows())


def test_configs_lists_each_config_and_sweep_with_its_first_comment(
    dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.config.lookup import shipped_names, shipped_sweeps

    monkeypatch.setenv("COLUMNS", "400")  # none is wrapped
    lines = dlrun("configs").out.splitlines()
    names = [line.split()[0] for line in lines[2:] if line.strip(" ─")]
    assert names == [*shipped_names(), *shipped_sweeps()]
    said = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in lines[2:] if line.strip(" ─")}
    assert said["spiral_relu"].startswith("One hidden layer of 100 ReLU units on three spiral arms")
    assert 'order: to it "the soup was not bad' in said["reviews_bag"], "all lines of the comment"
    plain = json.loads(dlrun("configs", "--json").out)
    assert plain["configs"] | plain["sweeps"] == said


def test_parts_lists_every_part_and_every_key(dlrun: Dlrun) -> None:
    from dlrun.config.keys import KEYS
    from dlrun.config.registry import KINDS, Parts

    every = dlrun("parts")
    lines = every.out.splitlines()
    for kind in KINDS:
        assert kind in lines
        for name in Parts().names(kind):
            assert any(line.startswith(f"  {name}  ") for line in lines)
    assert all(any(line.startswith(f"  {key}: ") for line in lines) for key in KEYS)
    one = dlrun("parts", "schedule")
    assert one.out.splitlines()[0] == "schedule"
    assert "optimizer" not in one.out.splitlines()


@pytest.mark.parametrize("words", ["adam", "optimizer.adam", "optimizers.adam"])
def test_parts_shows_one_part_by_its_name(dlrun: Dlrun, words: str) -> None:
    lines = dlrun("parts", words).out.splitlines()
    assert lines[0] == "optimizer.adam"
    assert lines[lines.index("  lr: a number >= 0 (required)") + 1].startswith("      Learning rate")


@pytest.mark.parametrize(
    ("name", "begins", "said"),
    [
        ("epochs", "epochs: a whole number >= 1 (required)", "      passes over the training set"),
        ("epochs", "epochs: a whole number >= 1 (required)", "dlrun resume may change it"),
        ("seeds", "seeds: ", "no other command than dlrun train may change it"),
        ("lr", "optimizer.adadelta", "  lr: a number >= 0 (required)"),
        ("optimizer.momentum", "optimizer.muon", "optimizer.sgd"),
    ],
)
def test_parts_shows_a_key_or_an_option_by_its_name(dlrun: Dlrun, name: str, begins: str, said: str) -> None:
    done = dlrun("parts", name)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(begins) and said in done.out.splitlines(), done.out


def test_parts_shows_the_parts_of_all_kinds_that_have_a_name(
    dlrun: Dlrun, write: Write, tmp_path: Path
) -> None:
    write("mine/metrics/mse.py", 'def mse(outputs, targets):\n    """Mine."""\n    return targets\n')
    lines = dlrun("parts", "mse", "--parts", tmp_path / "mine").out.splitlines()
    assert [line for line in lines if line in ("loss.mse", "metrics.mse")] == ["loss.mse", "metrics.mse"]
    write(
        "mine/metrics/momentum.py", 'def momentum(outputs, targets):\n    """Mine."""\n    return targets\n'
    )
    lines = dlrun("parts", "momentum", "--parts", tmp_path / "mine").out.splitlines()
    assert lines[0] == "metrics.momentum", "a part goes before an option of its name"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("optmizer", "optimizer"),
        ("hiden", "hidden"),
        ("epoch", "epochs"),
        ("adm", "adam"),
        ("optimizer.adm", "adam"),
        ("optmizer.adam", "optimizer"),
    ],
)
def test_a_misspelt_part_or_kind_is_guessed(dlrun: Dlrun, wrong: str, meant: str) -> None:
    done = dlrun("parts", wrong)
    assert (done.code, done.out) == (2, "")
    assert f"did you mean '{meant}'?" in done.err


@pytest.mark.usefixtures("trained")
def test_runs_lists_the_newest_first(dlrun: Dlrun, tiny: Path) -> None:
    dlrun("train", tiny, "--name", "later", "--stop-after", 1)
    lines = dlrun("runs").out.splitlines()
    rows = [line.split() for line in lines if "-001" in line]
    assert [row[:3] for row in rows] == [["later-001", "paused", "1/3"], ["tiny-001", "finished", "3/3"]]
    assert "test_accuracy" in rows[1]


def test_runs_says_where_there_are_none(dlrun: Dlrun, runs_dir: Path) -> None:
    done = dlrun("runs")
    assert (done.code, done.out) == (0, f"there are no runs in {runs_dir}\n")


# --------------------------------------------------------------------------- parts of one's own

OWN = {
    "dataset/_shared.py": "SIDES = ('left', 'right')\n",
    "dataset/corners.py": """\
import torch
from dlrun.data.examples import Data, Examples
from dlrun.config.options import Count, Positive
from ._shared import SIDES


def corners(root, *, count: Count = 40, size: Positive = 1.0):
    '''Points left and right.'''
    def read():
        inputs = torch.linspace(-size, size, count).repeat(2, 1).T.contiguous()
        targets = (inputs[:, 0] > 0).long()
        return {split: Examples(inputs, targets) for split in ("train", "test")}
    return Data(task="classification", input_shape=(2,), classes=SIDES, read=read)
""",
    "architecture/bare.py": """\
from torch import nn


def bare(shape, outputs, *, bias: bool = True):
    '''One matrix.'''
    return nn.Linear(shape[0], outputs, bias=bias)
""",
    "loss/sharp.py": """\
from __future__ import annotations

from torch.nn.functional import cross_entropy


def sharp(outputs, targets, *, sharpness: Positive = 1.0):
    '''Cross entropy of sharpened outputs.'''
    return cross_entropy(outputs * sharpness, targets, reduction="none")
""",
    "optimizer/signs.py": SIGNS,
    "plots/losses.py": """\
from matplotlib.figure import Figure


def losses(run, *, column: str = "train_loss"):
    '''One column over the epochs.'''
    figure = Figure()
    figure.subplots().plot(run.rows["epoch"], run.rows[column])
    return figure
""",
}


def test_a_part_of_each_kind_is_added_by_one_file(
    dlrun: Dlrun, write: Write, tmp_path: Path, runs_dir: Path
) -> None:
    for name, text in OWN.items():
        write(f"mine/{name}", text)
    config = write(
        "own.yaml",
        """\
dataset: {name: corners, size: 2.0}
architecture: {name: bare, bias: true}
loss: {name: sharp, sharpness: 2.0}
optimizer: {name: signs, lr: 0.05}
epochs: 30
batch_size: 10
metrics: [accuracy]
plots: [losses]
expect: {train_accuracy: "> 0.9"}
""",
    )
    mine = ("--parts", tmp_path / "mine")
    done = dlrun("train", config, *mine)
    assert (done.code, done.err) == (0, "")
    run = only_run(runs_dir)
    assert (run.plots / "losses.png").read_bytes().startswith(b"\x89PNG")
    evaluated = dlrun("eval", "last", *mine)
    assert evaluated.code == 0
    assert "exactly as recorded" in evaluated.out
    assert dlrun("resume", "last", "epochs=31", *mine).code == 0
    listed = dlrun("parts", "loss", *mine).out
    assert "sharp  Cross entropy of sharpened outputs." in listed
    assert "sharpness: a number > 0 (default 1.0)" in listed
    alone = dlrun("parts", "sharp", *mine).out.splitlines()
    option = alone.index("  sharpness: a number > 0 (default 1.0)")
    assert alone[option + 1].startswith("  class_weight: "), "its docstring does not say what it means"
    assert "  loss: {name: sharp, sharpness: 1.0}" in alone
    unnamed = dlrun("eval", "last")
    assert unnamed.code == 4
    assert "--parts" in unnamed.err
    assert dlrun("train", config).code == 2


# --------------------------------------------------------------------------- completion


def test_the_shell_asks_for_completions_and_gets_them() -> None:
    asked = {"_DLRUN_COMPLETE": "complete_bash", "COMP_WORDS": "dlrun train spiral_relu_", "COMP_CWORD": "2"}
    code = "import sys; sys.argv = ['dlrun']; from dlrun.console.commands.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=os.environ | asked, capture_output=True, text=True
    )
    assert {"spiral_relu_deep", "spiral_relu_wide"} <= set(done.stdout.split())


# --------------------------------------------------------------------------- what is imported

IMPORTED = """
import sys
from dlrun.console.commands.app import main
for words in {commands!r}:
    sys.argv = ["dlrun", *words]
    try:
        main()
    except SystemExit as ended:
        print("ended:", ended.code, sorted({{"torch", "torchvision", "matplotlib"}} & sys.modules.keys()))
"""


def test_what_needs_no_torch_does_not_wait_for_it(write: Write, trained: Run) -> None:
    """One process for all of them, as none imports it."""
    bad = str(write("bad.yaml", "epochs: no\n"))
    commands = {
        ("--help",): 0,
        ("train", "--help"): 0,
        ("runs",): 0,
        ("runs", "--runs-dir", str(trained.folder.parent)): 0,
        ("parts",): 0,
        ("schema",): 0,
        ("train", bad): 2,
        ("train", bad, "--quiet"): 2,
        ("show", bad): 2,
        ("resume", "nothing"): 2,
    }
    script = IMPORTED.format(commands=list(commands))
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    ended = [line for line in done.stdout.splitlines() if line.startswith("ended: ")]
    assert ended == [f"ended: {code} []" for code in commands.values()]


# --------------------------------------------------------------------------- processes of their own


# ------------------------------------------------------------------------ what a user stumbles on


def test_a_claim_on_the_command_line_is_text_and_no_yaml(dlrun: Dlrun, tiny: Path) -> None:
    done = dlrun("train", tiny, "expect.train_accuracy=>= 0", "expect.best.train_loss=< 1e9")
    assert done.code == 0
    assert done.out.count(" yes ") == 2


def test_every_mistake_in_the_claims_is_said(dlrun: Dlrun, tiny: Path) -> None:
    done = dlrun("show", tiny, "expect={train_accuracy: 0.9, tran_loss: '< 1'}")
    assert done.code == 2
    assert "0.9 is not a claim such as" in done.err
    assert "did you mean 'train_loss'" in done.err


def test_quiet_names_the_folder_of_a_run_that_diverges(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    done = dlrun("train", tiny, "optimizer={name: sgd, lr: 1e30}", "--quiet")
    assert done.code == 3
    assert done.out.split() == [str(runs_dir / "tiny-001")]


def test_metrics_may_be_others_at_evaluation_whatever_was_expected(dlrun: Dlrun, tiny: Path) -> None:
    dlrun("train", tiny, "expect={train_accuracy: '>= 0'}", "monitor=train_accuracy", "patience=2")
    done = dlrun("eval", "last", "metrics=[top5]", "--json")
    assert done.code == 0
    assert json.loads(done.out)["metrics"]["top5"] == 1.0


def test_a_checkpoint_by_any_name_is_evaluated(dlrun: Dlrun, trained: Run, tmp_path: Path) -> None:
    renamed = tmp_path / "model.ckpt"
    renamed.write_bytes(trained.best.read_bytes())
    assert dlrun("eval", renamed).code == 0


def test_a_run_without_a_best_checkpoint_is_evaluated_by_its_last(dlrun: Dlrun, trained: Run) -> None:
    trained.best.unlink()
    done = dlrun("eval", "tiny", "--json")
    assert (done.code, json.loads(done.out)["epoch"]) == (0, 3)
    assert "this is last.pt" in done.err


def test_a_run_that_was_killed_after_a_resume_is_listed_as_far_as_it_came(dlrun: Dlrun, trained: Run) -> None:
    summary = trained.summary() | {"status": "running", "pid": 2**22 + 1, "epochs": 1}
    trained.write_json("summary.json", summary)
    listed = dlrun("runs").out
    assert "interrupted" in listed
    assert "3/3" in listed


# ---------------------------------------------------------------------- plot, data, --watch


def test_any_picture_is_drawn_again_with_other_options(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "plots=[curves]", "monitor=test_accuracy")
    plots = only_run(runs_dir).plots
    first = (plots / "curves.png").read_bytes()
    (plots / "curves.png").unlink()
    done = dlrun("plot", "last")
    assert (done.code, done.out) == (0, f"{plots / 'curves.png'}\n")
    assert (plots / "curves.png").read_bytes() == first
    done = dlrun("plot", "last", "curves", "decision_regions.split=test", "decision_regions.margin=0.5")
    assert done.out.split() == [str(plots / "curves.png"), str(plots / "decision_regions_test.png")]
    regions = (plots / "decision_regions_test.png").read_bytes()
    dlrun("plot", "last", "decision_regions")
    assert (plots / "decision_regions.png").read_bytes() != regions
    assert (plots / "decision_regions_test.png").read_bytes() == regions, "that of another split stays"


def test_a_run_without_plots_leads_to_the_name_of_one(dlrun: Dlrun, tiny: Path) -> None:
    dlrun("train", tiny, "plots=[]")
    done = dlrun("plot", "last")
    assert (done.code, done.out) == (0, "")
    assert "no plots are named" in done.err
    words = done.err.split("as in dlrun ")[1].split()
    assert dlrun(*words).out.strip().endswith("curves.png")


def test_a_checkpoint_by_itself_is_drawn_where_one_says(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    dlrun("train", tiny)
    best = only_run(runs_dir).best
    refused = dlrun("plot", best, "decision_regions")
    assert (refused.code, "--out" in refused.err) == (2, True)
    done = dlrun("plot", best, "decision_regions", "--out", tmp_path / "pictures")
    assert (done.code, [path.name for path in (tmp_path / "pictures").iterdir()]) == (
        0,
        ["decision_regions.png"],
    )


def test_a_picture_that_cannot_be_drawn_is_said_with_the_reason(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    dlrun("train", tiny)
    only_run(runs_dir).metrics.unlink()
    done = dlrun("plot", "last", "curves", "decision_regions")
    assert (done.code, "curves was not drawn: there are no curves" in done.err) == (1, True)
    assert "decision_regions.png" in done.out
    done = dlrun("plot", "last", "curvs", "decision_regions.margn=1")
    assert (done.code, "did you mean 'curves'?" in done.err, "did you mean 'margin'?" in done.err) == (
        2,
        True,
        True,
    )


def test_data_that_moved_are_named_anew(dlrun: Dlrun, runs_dir: Path, tmp_path: Path, write: Write) -> None:
    table = write("table.csv", "a,y\n" + "".join(f"{x},{2 * x}\n" for x in range(20)))
    config = write(
        "own.yaml",
        f"dataset: {{name: csv, path: '{table}', target: y}}\narchitecture: mlp\nloss: mse\n"
        "optimizer: {name: adam, lr: 1e-2}\nepochs: 2\nbatch_size: 8\nplots: [curves]\n",
    )
    assert dlrun("train", config).code == 0
    table.rename(tmp_path / "moved.csv")
    assert dlrun("plot", "last").code == 2
    assert dlrun("plot", "last", "curves", f"dataset.path={tmp_path / 'moved.csv'}").code == 0
    assert dlrun("resume", "last", "epochs=3", f"dataset.path={tmp_path / 'moved.csv'}").code == 0


def test_images_are_shown_as_augmented_before_training(dlrun: Dlrun, tiny: Path, tmp_path: Path) -> None:
    images = ("dataset={name: shapes, images: 6, test_images: 2, size: 16}", "architecture={name: unet}")
    for changes, there in (("[]", False), ("[flip]", True)):
        done = dlrun("data", tiny, *images, f"augmentations={changes}", "--out", tmp_path / changes)
        assert done.code == 0, done.err
        assert (tmp_path / changes / "augmented.png").exists() is there


def test_a_dataset_is_shown_before_anything_is_trained(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    done = dlrun("data", tiny)
    assert done.code == 0
    assert "spiral (synthetic): classification, inputs of 2, 60 train, 60 test" in done.out
    told = json.loads(dlrun("data", tiny, "--json").out)
    assert told["splits"]["train"] == {"examples": 60, "classes": {"arm 1": 20, "arm 2": 20, "arm 3": 20}}
    assert not runs_in(runs_dir), "a preview is no run"


def test_the_data_are_shown_although_the_model_does_not_fit_them(dlrun: Dlrun, write: Write) -> None:
    table = write("series.csv", "y\n" + "".join(f"{x % 7}\n" for x in range(60)))
    config = write(
        "own.yaml",
        f"dataset: {{name: windows, path: '{table}', target: y, window: 4, inputs: [y]}}\n"
        "architecture: mlp\nloss: mse\noptimizer: {name: adam, lr: 1e-2}\nepochs: 2\nbatch_size: 8\n",
    )
    done = dlrun("data", config)
    assert (done.code, "set flatten: true" in done.err) == (2, True), done.err
    assert "windows: regression, inputs of 4×1, 44 train, 12 test" in done.out
    assert "all inputs, as the model gets them" in done.out
    told = dlrun("data", config, "--json")
    assert (told.code, told.out) == (2, "")
    assert dlrun("data", config, "dataset.target=x").out == "", "of data that are wrong nothing is shown"


def test_the_columns_of_a_table_are_shown_with_the_lines_of_its_config_even_if_it_is_refused(
    dlrun: Dlrun, write: Write
) -> None:
    rows = "".join(f"n{x},{x % 7},{'ab'[x % 2]},{x % 5}\n" for x in range(60))
    table = write("table.csv", f"key,x,letter,y\n{rows}")
    config = write(
        "own.yaml",
        f"dataset: {{name: csv, path: '{table}', target: y, seed: 3}}\narchitecture: mlp\nloss: mse\n"
        "optimizer: {name: adam, lr: 1e-2}\nepochs: 2\nbatch_size: 8\nplots: []\n",
    )
    done = dlrun("data", config)
    assert done.code == 0
    assert "warning" not in done.err, "a table without dates is nothing to be warned of"
    assert re.search(r"^ *letter +category +2 +a \(50%\) +0\.\d\d", done.out, re.MULTILINE)
    assert re.search(r"^ *key .* all its texts differ", done.out, re.MULTILINE)
    assert "\n  target: y\n  seed: 3\n  ignore: [key]\n  categorical: [letter]\n" in done.out
    told = json.loads(dlrun("data", config, "--json").out)
    assert [each["name"] for each in told["table"]["columns"]] == ["key", "x", "letter", "y"]
    refused = dlrun("data", config, "dataset.target=z")
    assert refused.code == 2 and "there is no column 'z'" in refused.err
    assert re.search(r"^ *letter +category +2 +a", refused.out, re.MULTILINE)


def test_curves_are_redrawn_while_it_trains(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    dlrun("train", tiny, "plots=[curves, decision_regions]", "--stop-after", 1)
    plots = only_run(runs_dir).plots
    for path in plots.iterdir():
        path.unlink()
    from dlrun.training.experiment import train_run
    from dlrun.training.views import HiddenTraining

    seen = []

    class Looking(HiddenTraining):
        def row(self, epoch: int, row: Any, best: bool) -> None:
            seen.append(sorted(path.name for path in plots.iterdir()))

    plan = _plan_of(only_run(runs_dir))
    train_run(plan, only_run(runs_dir), Looking(), redraw=True)
    assert seen == [[], ["curves.png"]], "after the first of two epochs, and nothing but the curves"
    assert len(list(plots.iterdir())) == 2


def _plan_of(run: Run) -> Any:
    from dlrun.config.loading import load_config
    from dlrun.config.registry import Parts
    from dlrun.training.plan_making import make_plan

    return make_plan(load_config(run.config), Parts(), Path("no-data"))


@pytest.mark.parametrize(("value", "said"), [("1", "on"), ("0", "off (DLRUN_FAST_PATHS=0)")])
def test_version_names_all_that_a_result_depends_on(
    dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("DLRUN_FAST_PATHS", value)
    done = dlrun("--version")
    assert done.code == 0
    python = ".".join(map(str, sys.version_info[:3]))
    assert done.out == f"dlrun {__version__}, torch {version('torch')}, Python {python}, fast paths {said}\n"


def test_of_a_command_that_is_named_no_other_is_built() -> None:
    for words in (["runs"], ["--debug", "runs", "--where", "train"], ["runs", "--help"]):
        assert [*app._command_line(app._named(words)).commands] == ["runs"]  # type: ignore[attr-defined]
    for words in ([], ["--help"], ["run"], ["--version"]):
        assert [*app._command_line(app._named(words)).commands] == [*app.COMMANDS]  # type: ignore[attr-defined]
