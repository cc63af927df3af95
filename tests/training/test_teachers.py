"""Distillation: a loss is given what another run's model says of the same inputs, and inputs if it asks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    FULL,
    STEPS,
    Listening,
    differences,
    files_of,
    go_on,
    interrupting,
    of_seed,
    outcome,
    own_parts,
    planned,
    trained,
)
from torch.nn import functional as F

import dlrun
from dlrun.config.keys import flat_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused
from dlrun.run_folders.records import read_record
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan import Plan
from dlrun.training.plan_trials import try_on

NOWHERE = Path("no-data")
WITH_INPUTS = '''
from torch.nn import functional as F

task = "classification"


def near(outputs, targets, inputs):
    """Cross entropy, more of it for examples far from the origin."""
    return F.cross_entropy(outputs, targets, reduction="none") * inputs.square().sum(1)
'''
WITH_WEIGHTS = '''
import torch
from torch import nn

task = "classification"


class Warm(nn.Module):
    def __init__(self):
        super().__init__()
        self.heat = nn.Parameter(torch.tensor(1.0))

    def forward(self, outputs, targets, inputs):
        heat = self.heat * inputs.square().sum(1, keepdim=True)
        return nn.functional.cross_entropy(outputs * heat, targets, reduction="none")


def warm():
    """Cross entropy at a temperature that is learnt, and depends on the inputs."""
    return Warm()


def probabilities(outputs):
    return outputs.softmax(-1)
'''
OWN_TEACHING = '''
task = "classification"


def alike(outputs, targets, teacher, *, power: float = 2.0):
    """The distance of probabilities to those of a teacher."""
    return (outputs.softmax(1) - teacher.exp().mean(0)).abs().pow(power).sum(1)
'''
TOGETHER = OWN_TEACHING.replace("def alike", "def mixed").replace(".sum(1)\n", ".sum(1).mean()\n")
MORE = {
    "loss/near.py": WITH_INPUTS,
    "loss/warm.py": WITH_WEIGHTS,
    "loss/alike.py": OWN_TEACHING,
    "loss/mixed.py": TOGETHER,
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two seeds on the small spiral."""
    plan = planned(seeds=[0, 5], dataset=FULL["dataset"], architecture=FULL["architecture"], epochs=4)
    return trained(plan, tmp_path_factory.mktemp("teacher"))


def taught(teacher: Run, **changes: Any) -> dict[str, Any]:
    """The changes of the small config that distil a run."""
    loss = {"name": "kl", "teacher": str(teacher.folder), "temperature": 2.0, "weight": 0.3}
    return {"loss": loss, "dataset": FULL["dataset"], **changes}


def refused(plan: Plan) -> str:
    """The mistake of a plan that cannot be trained, in a line."""
    with pytest.raises(ConfigError) as error:
        try_on(plan, plan.load())
    [mistake] = error.value.mistakes
    return str(mistake)


# ------------------------------------------------------------------------------- what is learnt


def test_a_step_is_that_of_a_plain_loop_with_the_mean_probabilities_of_all_seeds(
    teacher: Run, tmp_path: Path
) -> None:
    plan = planned(
        **taught(teacher, batch_size="full", epochs=1, optimizer={"name": "sgd", "lr": 0.1}, metrics=[])
    )
    [model], loaded = plan.model().copies, plan.load()
    inputs, targets = loaded["train"].batch(torch.arange(len(loaded["train"])))
    of_each = []
    for seed in (0, 5):
        with torch.no_grad():
            of_each.append((dlrun.load(teacher.folder, seed=seed).model(inputs) / 2).softmax(1))
    outputs = model(inputs)
    apart = F.kl_div((outputs / 2).log_softmax(1), torch.stack(of_each).mean(0), reduction="batchmean")
    loss = 0.3 * F.cross_entropy(outputs, targets) + 0.7 * 2**2 * apart
    loss.backward()
    wanted = {name: own.detach() - 0.1 * own.grad for name, own in model.named_parameters()}  # type: ignore[operator]
    run = trained(plan, tmp_path)
    learnt = load_checkpoint(run.last).state["model"][0]
    assert learnt.keys() == wanted.keys()  # nothing of the teacher is in the checkpoint
    for name, own in wanted.items():
        torch.testing.assert_close(learnt[name], own, rtol=1e-5, atol=1e-6)
    assert run.rows()["train_loss"][0] == pytest.approx(float(loss.detach()), rel=1e-5)


def test_the_teacher_sees_the_augmented_inputs_of_the_student(tmp_path: Path) -> None:
    """A student with the teacher's weights, which nothing changes, is at no distance from it."""
    still = {"optimizer": {"name": "sgd", "lr": 0.0}, "epochs": 1, "metrics": []}
    noise = [{"name": "noise", "sd": 1.0}]
    only = trained(planned(seeds=[0], dataset=FULL["dataset"], epochs=4), tmp_path / "only")
    begun = {"name": "mlp", "hidden": [8], "weights": str(only.folder)}
    loss = {"name": "kl", "teacher": str(only.folder), "weight": 0.0}
    plan = planned(
        seeds=[0], architecture=begun, augmentations=noise, **taught(only, **still) | {"loss": loss}
    )
    row = trained(plan, tmp_path / "same").rows()
    assert abs(row["train_loss"][0]) < 1e-6 and abs(row["valid_loss"][0]) < 1e-6


def test_each_seed_is_taught_as_it_would_be_alone(teacher: Run, tmp_path: Path) -> None:
    full = FULL | {"augmentations": [{"name": "noise", "sd": 0.2}, {"name": "mixup", "alpha": 0.4}]}
    both = trained(planned(**full | taught(teacher)), tmp_path / "both")
    for seed in FULL["seeds"]:
        alone = trained(planned(**full | taught(teacher, seeds=[seed])), tmp_path / str(seed))
        assert not differences(of_seed(both, seed), of_seed(alone, seed))


def test_seeds_that_train_as_one_model_are_taught_alike(teacher: Run, tmp_path: Path) -> None:
    runs = []
    for stacked in (False, True):
        plan = planned(**taught(teacher, seeds=[0, 1], stacked=stacked))
        try_on(plan, plan.load())
        runs.append(trained(plan, tmp_path / str(stacked)).rows())
    for column in ("train_loss", "valid_loss", "valid_accuracy"):
        assert runs[1][column] == pytest.approx(runs[0][column], rel=1e-4)


@pytest.mark.parametrize("at_step", [STEPS, STEPS + 1])
def test_a_student_that_is_stopped_goes_on_as_if_it_had_never_stopped(
    teacher: Run, at_step: int, tmp_path: Path
) -> None:
    changes = FULL | taught(teacher)
    whole = trained(planned(**changes), tmp_path / "whole")
    run = trained(planned(**changes), tmp_path / "cut", view=interrupting(at_step))
    assert run.summary()["status"] == "interrupted"
    go_on(run, changes)
    assert not differences(outcome(run), outcome(whole))


def test_a_teacher_of_one_logit_gives_the_probabilities_of_both_classes(tmp_path: Path) -> None:
    data = {"dataset": {"name": "spiral", "points": 20, "classes": 2}, "metrics": []}
    one = trained(planned(loss="bce", **data), tmp_path / "one")
    student = trained(planned(**taught(one, epochs=1) | data), tmp_path / "student")
    plan = planned(**taught(one) | data)
    loaded = plan.load()
    try_on(plan, loaded)
    inputs = loaded["train"].batch(torch.arange(4))[0]
    assert plan.loss.teacher is not None
    found = plan.loss.teacher(inputs)
    with torch.no_grad():
        logits = dlrun.load(one.folder).model(inputs)
    assert found.shape == (1, 4, 2) and student.rows()["train_loss"]
    torch.testing.assert_close(found[0, :, 1:].exp(), logits.sigmoid())


# ------------------------------------------------------------------------- what needs the teacher


def test_the_recorded_loss_is_found_again_with_that_of_a_guess(teacher: Run, tmp_path: Path) -> None:
    run = trained(planned(**taught(teacher)), tmp_path)
    model, saved = open_checkpoint(run.last, run, [], Parts(), NOWHERE)
    report = evaluate_run(model, saved, run.last, "valid")
    assert report["loss"] == run.rows()["valid_loss"][-1]
    assert report["baselines"]["class prior"]["loss"] > 0
    losses = model.judged("valid", torch.arange(len(model.loaded["valid"])))[1]
    assert float(losses.mean()) == pytest.approx(report["loss"], rel=1e-5)


def test_without_its_teacher_a_student_predicts_but_is_neither_judged_nor_trained_on(
    teacher: Run, tmp_path: Path
) -> None:
    theirs = Run(shutil.copytree(teacher.folder, tmp_path / "large-001"))
    run = trained(planned(**taught(theirs)), tmp_path)
    elsewhere = theirs.folder.rename(tmp_path / "elsewhere")
    assert dlrun.load(run.folder).model(torch.zeros(1, 2)).shape == (1, 3)
    model, saved = open_checkpoint(run.last, run, [], Parts(), NOWHERE)
    assert model.outputs("test")[0].shape == (1, 60, 3)
    with pytest.raises(ConfigError) as error:
        evaluate_run(model, saved, run.last, "test")
    assert "loss.teacher: the teacher cannot be opened: there is no run or file" in str(error.value)
    with run.metrics.open("a") as file:
        file.write("4,0,")  # of an epoch that was not saved, which a resume cuts off
    before = {name: (run.folder / name).read_bytes() for name in files_of(run)}
    with pytest.raises(ConfigError, match=r"there is no run or file .*; bring it back, or name another"):
        go_on(run, taught(theirs, epochs=4))
    assert {name: (run.folder / name).read_bytes() for name in files_of(run)} == before
    moved = f"loss.teacher={elsewhere}"
    again, saved = open_checkpoint(run.last, run, [moved], Parts(), NOWHERE)
    assert evaluate_run(again, saved, run.last, "test")["loss"] > 0
    go_on(run, taught(Run(elsewhere), epochs=4))
    assert run.rows()["epoch"][-1] == 4


def test_another_teacher_than_that_of_the_run_is_refused(teacher: Run, tmp_path: Path) -> None:
    run = trained(planned(**taught(teacher)), tmp_path)
    digest = load_checkpoint(teacher.best).digest
    assert run.summary()["teacher"] == {"source": str(teacher.folder), "sha256": digest}
    other = f"loss.teacher={teacher.last}"
    model, saved = open_checkpoint(run.last, run, [other], Parts(), NOWHERE)
    with pytest.raises(ConfigError, match=r"is not the teacher that this run had: its SHA-256 is"):
        evaluate_run(model, saved, run.last, "test")
    changes = taught(teacher, epochs=4)
    changes["loss"] |= {"teacher": str(teacher.last)}
    with pytest.raises(ConfigError, match=r"and name its place by loss\.teacher=PATH"):
        go_on(run, changes)
    del saved.data["teacher"]
    save_checkpoint(run.last, saved)
    with pytest.raises(CheckpointRefused, match="does not tell which teacher its loss had"):
        open_checkpoint(run.last, run, [], Parts(), NOWHERE)


def test_two_students_are_of_one_setting_if_they_have_one_teacher_wherever_it_lies(
    teacher: Run, tmp_path: Path
) -> None:
    copied = Run(shutil.copytree(teacher.folder, tmp_path / "copies" / teacher.name))
    runs = [trained(planned(**taught(each)), tmp_path) for each in (teacher, copied)]
    one, other = (read_record(run).setting("test_loss") for run in runs)
    assert one == other and one["loss.teacher"].startswith("small-001 (")


# ------------------------------------------------------------------------------ what is refused


def test_a_teacher_of_other_classes_or_inputs_is_refused_before_there_is_a_run(
    teacher: Run, tmp_path: Path
) -> None:
    data = FULL["dataset"]
    said = refused(planned(**taught(teacher, dataset=data | {"classes": 2})))
    assert "tells the classes arm 1, arm 2, arm 3 apart, and this run arm 1, arm 2" in said
    images = trained(
        planned(own_parts(tmp_path), dataset="dots", architecture={"name": "mlp", "flatten": True}), tmp_path
    )
    assert "tells the classes" in refused(planned(own_parts(tmp_path), **taught(images)))
    line = trained(planned(own_parts(tmp_path), dataset="line", loss="mse", metrics=[]), tmp_path / "line")
    said = refused(planned(own_parts(tmp_path), **taught(line)))
    assert "is of a task regression, which gives no probabilities of an example's classes" in said
    for parts, changes in (
        (own_parts(tmp_path), {"dataset": "line", "metrics": []}),
        (None, {"dataset": {"name": "spiral", "points": 20}, "task": "reconstruction", "metrics": []}),
    ):
        with pytest.raises(ConfigError, match="kl is for classification, but"):
            planned(parts, **taught(teacher) | changes)


def test_a_teacher_whose_inputs_were_prepared_otherwise_is_refused(tmp_path: Path) -> None:
    table = "x,y,kind\n" + "\n".join(f"{n % 7},{n % 5 + n % 3},{'ab'[n % 2]}" for n in range(60))
    (tmp_path / "one.csv").write_text(table)
    (tmp_path / "two.csv").write_text(table.replace("x,y,", "y,x,"))
    (tmp_path / "far.csv").write_text(table + "\n900,900,a")

    def on(file: str, **changes: Any) -> dict[str, Any]:
        data = {"name": "csv", "path": str(tmp_path / file), "target": "kind", "task": "classification"}
        return {"dataset": data, "metrics": [], "epochs": 1, **changes}

    first = trained(planned(**on("one.csv")), tmp_path / "first")
    assert "was trained on the features x, y, and this run has y, x" in refused(
        planned(**taught(first) | on("two.csv"))
    )
    said = refused(planned(**taught(first) | on("far.csv")))
    assert "inputs that were prepared otherwise: with another" in said
    assert "train both with the same options of the dataset" in said
    plan = planned(**taught(first) | on("one.csv"))
    try_on(plan, plan.load())


def test_it_is_said_that_a_teacher_knows_the_examples_that_judge_the_student(
    teacher: Run, tmp_path: Path
) -> None:
    view = Listening()
    trained(planned(**taught(teacher)), tmp_path, view=view)
    assert not [text for text in view.warnings if "teacher" in text]
    data = FULL["dataset"] | {"valid_fraction": 0.3}
    trained(planned(**taught(teacher, dataset=data)), tmp_path, view=view)
    [said] = [text for text in view.warnings if "teacher" in text]
    assert said.startswith(
        "the teacher had other data, and may have been trained on examples of valid and test"
    )


# --------------------------------------------------------------- losses of one's own, with inputs


@pytest.mark.parametrize("loss", ["near", "warm"])
@pytest.mark.parametrize("optimizer", [{"name": "adam", "lr": 0.01}, {"name": "lbfgs", "iterations": 3}])
def test_a_loss_that_asks_for_inputs_is_given_them(
    loss: str, optimizer: dict[str, Any], tmp_path: Path
) -> None:
    parts, changes = own_parts(tmp_path, MORE), FULL | {"loss": loss, "optimizer": optimizer}
    del changes["gradient_clip"]
    plan = planned(parts, **changes)
    try_on(plan, plan.load())
    both = trained(plan, tmp_path / "both")
    for seed in FULL["seeds"]:
        alone = trained(planned(parts, **changes | {"seeds": [seed]}), tmp_path / str(seed))
        assert not differences(of_seed(both, seed), of_seed(alone, seed))
    model, saved = open_checkpoint(both.last, both, [], parts, NOWHERE)
    report = evaluate_run(model, saved, both.last, "valid")
    assert report["recorded"]["loss"]["difference"] == 0


def test_the_loss_of_an_example_depends_on_its_own_inputs(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE)
    still = {"optimizer": {"name": "sgd", "lr": 0.0}, "epochs": 1, "batch_size": "full"}
    plan = planned(parts, loss="near", **still)
    loaded = plan.load()
    inputs, targets = loaded["train"].batch(torch.arange(len(loaded["train"])))
    with torch.no_grad():
        losses = F.cross_entropy(plan.model().copies[0](inputs), targets, reduction="none")
    wanted = float((losses * inputs.square().sum(1)).mean())
    assert trained(plan, tmp_path).rows()["train_loss"] == [pytest.approx(wanted, rel=1e-5)]


def test_a_loss_of_ones_own_may_have_a_teacher_and_is_tried_with_it(teacher: Run, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE)
    loss = {"name": "alike", "teacher": str(teacher.folder), "power": 1.0}
    plan = planned(parts, **taught(teacher) | {"loss": loss})
    assert flat_config(plan.config.plain())["loss.teacher"] == str(teacher.folder)
    try_on(plan, plan.load())
    assert trained(plan, tmp_path).rows()["train_loss"][-1] < 2
    said = refused(planned(parts, **taught(teacher) | {"loss": loss | {"name": "mixed"}}))
    assert "mixed gives shape () for 2 examples; each needs a figure of its own" in said
    with pytest.raises(ConfigError, match=r"the option teacher is missing"):
        planned(parts, loss="alike")


def test_whole_inputs_do_not_go_with_the_targets_of_single_places(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, MORE | {"dataset/lines.py": LINES})
    with pytest.raises(
        ConfigError, match="near is given whole inputs, but outputs and targets of each place"
    ):
        planned(parts, dataset="lines", loss="near", architecture="transformer")
    with pytest.raises(ConfigError, match="kl is taught the probabilities of an example's classes, which a"):
        planned(parts, dataset="lines", loss={"name": "kl", "teacher": "x"}, architecture="transformer")


LINES = '''
import torch
from dlrun.data import Data, Examples


def lines(root):
    """Tokens, each with a class."""

    def read():
        tokens = torch.arange(40).view(8, 5) % 3
        return {"train": Examples(tokens, tokens), "test": Examples(tokens, tokens)}

    return Data("sequence", (5,), read, classes=("a", "b", "c"), places=(5,), input_dtype=torch.int64,
                vocabulary=("a", "b", "c"))
'''
