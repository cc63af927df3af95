"""Averaged weights: they are PyTorch's own averages, each seed's is its own, and both models are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    differences,
    go_on,
    outcome,
    own_parts,
    planned,
    trained,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from dlrun.average.ema import ema
from dlrun.average.swa import swa
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.console.training_results import print_results
from dlrun.data.batches import Batches
from dlrun.data.trees import single
from dlrun.errors import CheckpointRefused, UserError
from dlrun.results.trained_model import load
from dlrun.run_folders.comparison import compare_runs
from dlrun.run_folders.records import read_record
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.loop import Batch, fit
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan import Plan
from dlrun.training.state import State

NOWHERE = Path("no-data")
EMA = {"name": "ema", "decay": 0.8, "warmup": False}
SWA = {"name": "swa", "start": 0.5}
NORM = {"architecture": {"name": "mlp", "hidden": [6], "batch_norm": True}}
VALID = {"dataset": {"name": "spiral", "points": 20, "valid_fraction": 0.3}}
FOUR = {"epochs": 4, "optimizer": {"name": "sgd", "lr": 0.3}, "batch_size": 16}


def watched(plan: Plan, watch: Callable[[State], None] = lambda state: None) -> State:
    """The state after a training of which every step was watched."""
    loaded = plan.load()
    hardware = plan.hardware(loaded)
    hardware.use()
    state = plan.state(hardware)

    def each(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            watch(state)

    for _ in fit(state, loaded, plan.recipe, hardware, each):
        pass
    return state


def averaged(state: State, seed: int = 0) -> dict[str, Tensor]:
    assert state.average is not None
    return state.average.model.copies[seed].state_dict()


def test_ema_is_the_average_of_pytorch() -> None:
    plan = planned(**FOUR | NORM, average=EMA)
    theirs = AveragedModel(plan.model().copies[0], multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    theirs.n_averaged += 1  # the initial weights count as the average of the first step

    def follow(state: State) -> None:
        theirs.update_parameters(state.model.copies[0])

    state = watched(plan, follow)
    counts = "1.num_batches_tracked"  # whole numbers, which PyTorch averages too
    own, other = averaged(state), dict(theirs.module.state_dict()) | {counts: torch.tensor(16)}
    torch.testing.assert_close(own, other)
    assert differences(averaged(state), state.model.copies[0].state_dict())


def test_swa_is_the_average_of_pytorch_with_its_update_of_batch_norm() -> None:
    plan = planned(**FOUR | NORM, average=SWA)
    loaded = plan.load()
    batches = Batches(loaded["train"], plan.recipe.sampling, [0])
    kept = list[nn.Module]()

    def keep(state: State) -> None:
        if state.step == len(batches) and state.epoch in (2, 3):  # the third and the fourth epoch end
            kept.append(deepcopy(state.model.copies[0]))

    state = watched(plan, keep)
    assert len(kept) == 2
    theirs = AveragedModel(kept[0])
    for model in kept:
        theirs.update_parameters(model)
    update_bn([single(batches.examples(*batch)[0])[0] for batch in batches.shuffled(4)], theirs)
    own, other = averaged(state), dict(theirs.module.state_dict())
    torch.testing.assert_close(own, {name: other[name] for name in own})
    assert not torch.allclose(own["1.running_mean"], kept[1].state_dict()["1.running_mean"], atol=1e-3)


def test_averages_change_nothing_about_training() -> None:
    changes = FOUR | NORM
    plain = watched(planned(**changes))
    for average in (EMA, SWA):
        beside = watched(planned(**changes, average=average))
        assert not differences(plain.model.state_dict(), beside.model.state_dict())


@pytest.mark.parametrize("average", [EMA, SWA])
@pytest.mark.parametrize("stacked", [False, True])
def test_each_average_is_that_of_the_seed_alone(
    tmp_path: Path, average: dict[str, Any], stacked: bool
) -> None:
    """Also if another seed stops early, whose average stays that of its last epoch."""
    early = {"patience": 2, "monitor": "train_loss", "epochs": 9, "optimizer": {"name": "sgd", "lr": 1.5}}
    changes = FOUR | VALID | early | {"average": average}
    both = trained(planned(seeds=[0, 4], stacked=stacked, **changes), tmp_path)
    ends = both.summary()["stopped"]
    assert len({ends.get("0"), ends.get("4")}) == 2, "they stop at different epochs"
    for index, seed in enumerate([0, 4]):
        alone = trained(planned(seeds=[seed], **changes), tmp_path)
        for file in ("last", "best"):
            one, other = (load_checkpoint(getattr(run, file)).state for run in (both, alone))
            if stacked:
                torch.testing.assert_close(one["average"][index], other["average"][0], atol=1e-5, rtol=1e-4)
            else:
                assert not differences(one["average"][index], other["average"][0])


@pytest.mark.parametrize("average", [EMA, SWA])
def test_a_paused_average_goes_on_as_if_it_never_stopped(tmp_path: Path, average: dict[str, Any]) -> None:
    changes = FOUR | NORM | {"average": average, "epochs": 5}
    unbroken = trained(planned(**changes), tmp_path)
    paused = trained(planned(**changes), tmp_path, stop_after=3)
    assert paused.summary()["status"] == "paused"
    go_on(paused, changes)
    assert not differences(outcome(unbroken), outcome(paused))


def test_frozen_weights_are_not_changed_in_the_average_by_one_bit() -> None:
    for average in (EMA, SWA):
        plan = planned(**FOUR | NORM, average=average, freeze=["0.*", "1.*"])
        state, before = watched(plan), plan.model().copies[0].state_dict()
        for name in ("0.weight", "1.weight", "1.running_mean", "1.running_var"):
            assert torch.equal(averaged(state)[name], before[name])
        assert not torch.equal(averaged(state)["3.weight"], before["3.weight"])


def test_both_models_are_measured_and_the_monitored_ones_are_taken(tmp_path: Path) -> None:
    changes = FOUR | VALID | {"metrics": ["accuracy"], "average": EMA}
    plan = planned(**changes)
    assert plan.recipe.columns()[2:] == [
        *("valid_loss", "valid_accuracy", "valid_loss_average", "valid_accuracy_average"),
    ]
    assert (plan.monitor, plan.takes_averaged) == ("valid_loss_average", True)
    assert not planned(**changes, monitor="valid_accuracy").takes_averaged
    assert planned(**changes, monitor="train_loss").takes_averaged, "which averaged weights do not have"
    run = trained(plan, tmp_path)
    found = {}
    for weights in (None, "averaged", "trained"):
        model, saved = open_checkpoint(run.best, run, [], plan.parts, NOWHERE, weights=weights)
        report = evaluate_run(model, saved, run.best, "valid")
        assert all(entry["difference"] == 0 for entry in report["recorded"].values())
        assert {*report["recorded"]} >= {"loss", "accuracy"}
        assert report["weights"] == (weights or "averaged")
        found[weights] = report["loss"]
    assert found[None] == found["averaged"] != found["trained"]
    beside = run.summary()["average"]
    assert (beside["averaged"], beside["trained"]) == (found["averaged"], found["trained"])
    assert beside["is_better"] is (found["averaged"] < found["trained"])


def test_a_trained_model_and_a_run_that_begins_with_it_have_the_weights_that_are_shown(
    tmp_path: Path,
) -> None:
    for monitor, entry in ((None, "average"), ("valid_loss", "model")):
        run = trained(planned(**FOUR | VALID, average=EMA, monitor=monitor), tmp_path)
        held = load_checkpoint(run.best).state[entry][0]
        weights = load(run.folder).model.state_dict()
        assert not differences(held, {name.removeprefix("model."): value for name, value in weights.items()})
        begins = {"architecture": {"name": "mlp", "hidden": [8], "weights": str(run.folder)}}
        still = {"optimizer": {"name": "sgd", "lr": 0.0}, "epochs": 1}
        after = trained(planned(**FOUR | VALID | begins | still), tmp_path)
        assert not differences(held, load_checkpoint(after.last).state["model"][0])


def test_until_averages_begin_their_figures_are_those_of_the_weights(tmp_path: Path) -> None:
    rows = trained(planned(**FOUR | NORM, average=SWA), tmp_path).rows()
    pairs = list(zip(rows["test_loss"], rows["test_loss_average"], strict=True))
    assert [one == other for one, other in pairs] == [True, True, True, False]


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_the_end_says_if_nothing_was_averaged(
    seeds: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for average, is_same in ((SWA | {"start": 0.75}, True), (EMA, False)):
        run = trained(planned(**FOUR | VALID, seeds=seeds, average=average), tmp_path)
        summary = run.summary()
        assert summary["average"]["are_same"] is is_same
        print_results(summary, "runs/some-001", "dlrun resume runs/some-001")
        said = " ".join(capsys.readouterr().out.split())
        same = "averaged and trained weights are the same in the best epoch"
        assert (same in said) is is_same
        assert ("averaged weights are taken" in said) is not is_same
        assert ("the averaged ones are better in" in said) is (len(seeds) > 1 and not is_same)


def test_rules_have_their_marks_where_they_say() -> None:
    assert [ema(step, decay=0.99) for step in (1, 5, 10**6)] == [2 / 11, 0.4, 0.99]
    assert ema(1, decay=0.99, warmup=False) == 0.99
    assert [swa(epoch, 8) for epoch in (1, 6, 7, 8)] == [0, 0, 0, 0.5]
    assert [swa(epoch, 100, start=0.29) for epoch in (29, 30, 31)] == [0, 0, 0.5]
    assert [swa(epoch, 3, start=0.0) for epoch in (1, 2, 3)] == pytest.approx([0, 1 / 2, 2 / 3])


MINE = '''
"""A rule of one's own."""


def mine(step):
    """A share that is RESULT."""
    return RESULT
'''


@pytest.mark.parametrize("result", ["1.5", "-0.1", "'half'", "True", "float('nan')"])
def test_a_rule_that_gives_no_share_is_refused(tmp_path: Path, result: str) -> None:
    parts = own_parts(tmp_path, {"average/mine.py": MINE.replace("RESULT", result)})
    with pytest.raises(ConfigError, match="not the share that is kept, from 0 to 1"):
        planned(parts, average="mine")


def test_a_rule_of_ones_own_averages(tmp_path: Path) -> None:
    """The share 1 keeps the initial weights."""
    parts = own_parts(tmp_path, {"average/mine.py": MINE.replace("RESULT", "1.0")})
    plan = planned(parts, **FOUR, average="mine")
    state = watched(plan)
    assert not differences(averaged(state), plan.model().copies[0].state_dict())


def test_a_rule_is_asked_after_each_step_from_the_first_on(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"average/mine.py": MINE.replace("RESULT", "float(step != 3)")})
    each = list[dict[str, Tensor]]()

    def keep(state: State) -> None:
        each.append(deepcopy(state.model.copies[0].state_dict()))

    state = watched(planned(parts, **FOUR, average="mine"), keep)
    assert not differences(averaged(state), each[2]), "those of the third step are kept"


def test_averages_that_nothing_measures_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    only_train = {"name": "csv", "path": str(table), "target": "y", "test_fraction": 0, "valid_fraction": 0}
    changes: dict[str, Any] = {"dataset": only_train, "metrics": [], "loss": "mse"}
    with pytest.raises(ConfigError, match="averaged weights are never measured"):
        planned(**changes, average="ema")
    assert planned(**changes, average="ema", evaluate_train_every=1).takes_averaged


def test_a_checkpoint_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    run = trained(planned(**FOUR, average=EMA), tmp_path)
    saved = load_checkpoint(run.best)
    for shown in ("optimizer", ["model"], None, torch.zeros(2)):
        saved.state["shown"] = shown
        save_checkpoint(tmp_path / "odd.pt", saved)
        with pytest.raises(CheckpointRefused, match="which of its weights are shown"):
            open_checkpoint(tmp_path / "odd.pt", None, [], Parts(), NOWHERE)


def test_weights_that_were_not_averaged_cannot_be_taken(tmp_path: Path) -> None:
    run = trained(planned(epochs=1), tmp_path)
    with pytest.raises(UserError, match="kept no averaged weights"):
        open_checkpoint(run.best, run, [], Parts(), NOWHERE, weights="averaged")


@pytest.mark.parametrize("wrong", ["missing", "shape", "infinite"])
def test_a_run_does_not_go_on_from_averages_that_do_not_fit(tmp_path: Path, wrong: str) -> None:
    changes = FOUR | {"average": EMA}
    run: Run = trained(planned(**changes), tmp_path, stop_after=2)
    saved = load_checkpoint(run.last)
    if wrong == "missing":
        del saved.state["average"]
    else:
        name = next(iter(saved.state["average"][0]))
        value = saved.state["average"][0][name]
        saved.state["average"][0][name] = value[:1] if wrong == "shape" else value * float("inf")
    save_checkpoint(run.last, saved)
    with pytest.raises(CheckpointRefused, match="it does not fit this run"):
        go_on(run, changes)


# ------------------------------------------------------------------------ beside the rest


def test_a_column_of_averaged_weights_is_monitored_and_claimed(tmp_path: Path) -> None:
    changes = FOUR | VALID | {"average": EMA, "metrics": ["accuracy"]}
    claims = {"valid_loss_average": "< 100", "best.valid_accuracy_average": ">= 0"}
    run = trained(planned(**changes, monitor="valid_accuracy_average", expect=claims), tmp_path)
    assert run.summary()["best"]["monitor"] == "valid_accuracy_average"
    assert [verdict["met"] for verdict in run.summary()["expect"]] == [True, True]
    for column in ("train_loss_average", "valid_loss_averaged"):
        with pytest.raises(ConfigError, match="there is no column"):
            planned(**changes, monitor=column)
    with pytest.raises(ConfigError, match="there is no column"):
        planned(**FOUR | VALID, monitor="valid_loss_average")


def test_settings_are_compared_by_the_weights_that_they_take(tmp_path: Path) -> None:
    runs = [
        trained(planned(**FOUR | VALID, seeds=[0, 1], metrics=["accuracy"], average=average), tmp_path)
        for average in ("none", EMA)
    ]
    records = [read_record(run) for run in runs]
    found = compare_runs(records, metric="valid_accuracy")
    means = [sum(group.values.values()) / 2 for group in found.groups]
    assert means == [sum(run.rows()[column][-2:]) / 2 for run, column in zip(runs, COLUMNS, strict=True)]
    assert "of runs that take averaged weights, valid_accuracy is the figure of those" in found.notes
    assert compare_runs(records[1:], metric="valid_accuracy_average").higher_is_better


COLUMNS = ("valid_accuracy", "valid_accuracy_average")


def test_a_longer_swa_is_that_of_its_length_or_says_that_it_is_not(tmp_path: Path) -> None:
    """After 4 of 8 epochs averaging would not have begun, and after 6 of 7 it would have, later."""
    changes = FOUR | NORM | {"average": SWA}
    for before, after, is_other in ((4, 8, False), (4, 5, False), (6, 8, True)):
        unbroken = trained(planned(**changes | {"epochs": after}), tmp_path)
        run = trained(planned(**changes | {"epochs": before}), tmp_path)
        go_on(run, changes | {"epochs": after})
        said = [text for text in run.summary()["warnings"] if "the average swa goes on" in text]
        assert bool(said) is is_other, (before, after)
        ours, theirs = (load_checkpoint(each.last).state["average"] for each in (run, unbroken))
        assert bool(differences(ours, theirs)) is is_other
