"""Each seed has its own best epoch and its own patience, as if it were alone, and every end says why."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    Listening,
    differences,
    go_on,
    mostly_slow,
    of_seed,
    outcome,
    own_parts,
    planned,
    trained,
)

from dlrun.config.mistakes import ConfigError
from dlrun.console.evaluation import print_evaluation
from dlrun.data.batches import Batches
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.training import state as states
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint

SEEDS = [0, 1, 2, 3]
STOPPING: dict[str, Any] = {
    "dataset": {"name": "spiral", "points": 20, "valid_fraction": 0.3},
    "seeds": SEEDS,
    "patience": 2,
    "epochs": 30,
    "optimizer": {"name": "adam", "lr": 0.3},
}
WAYS: dict[str, dict[str, Any]] = {
    "adam": {},
    "now and then": {"evaluate_every": 3, "patience": 3},
    "one optimizer each": {"optimizer": {"name": "signs_of", "lr": 0.05}},
    "dropout": {"architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3}},
    "float16": {"precision": "float16", "optimizer": {"name": "sgd", "lr": 0.5}},
    "full batch": {"batch_size": "full", "patience": 4},
    "momentum": {"optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.9}},
    "a least gain": {"min_delta": 0.05},
    "a warm-up": {"patience_warmup": 4, "min_delta": 0.02},
}
SIGNS_OF = '''
"""Sign descent with a memory, for the gradients that are there."""
import torch


class SignsOf(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                kept = self.state[p].setdefault("mean", torch.zeros_like(p))
                kept.lerp_(p.grad, 0.5)
                p -= group["lr"] * kept.sign()


def signs_of(parameters, *, lr: float):
    """A step of the same size along every axis."""
    return SignsOf(parameters, lr)
'''


def planned_in(tmp_path: Path, **changes: Any) -> Any:
    return planned(own_parts(tmp_path, {"optimizer/signs_of.py": SIGNS_OF}), **STOPPING | changes)


def summary_of(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.folder / "summary.json").read_text())
    return content


def rows_of(run: Run, seed: int) -> list[int]:
    """The epochs that a seed trained."""
    rows = run.rows()
    return [epoch for epoch, each in zip(rows["epoch"], rows["seed"], strict=True) if each == seed]


def best_weights(run: Run, seed: int) -> tuple[int, Any]:
    saved = load_checkpoint(run.best)
    index = saved.config["seeds"].index(seed)
    return saved.state["epochs"][index], saved.state["model"][index]


USUAL = ("adam", "one optimizer each", "a warm-up")


@pytest.mark.parametrize("name", mostly_slow(WAYS, *USUAL))
def test_each_seed_stops_and_is_best_as_it_would_alone(name: str, tmp_path: Path) -> None:
    together = trained(planned_in(tmp_path, **WAYS[name]), tmp_path)
    ends = []
    for seed in SEEDS:
        alone = trained(planned_in(tmp_path, **WAYS[name] | {"seeds": [seed]}), tmp_path)
        assert not differences(of_seed(alone, seed), of_seed(together, seed))
        assert not differences(best_weights(alone, seed), best_weights(together, seed))
        of_one, of_all = summary_of(alone), summary_of(together)
        for figure, own in of_one["best"]["figures"].items():
            if figure != "seconds":
                assert of_all["best"]["figures"][figure]["values"][SEEDS.index(seed)] == own["values"][0]
        ends.append(of_one["epochs"])
        assert of_all["best"]["epochs"][str(seed)] == of_one["best"]["epoch"]
    assert len(set(ends)) > 1, "seeds that stop at different epochs show more"
    assert summary_of(together)["epochs"] == max(ends)


@pytest.mark.parametrize("name", mostly_slow(WAYS, *USUAL))
def test_a_run_is_resumed_bit_for_bit_before_and_after_a_seed_has_stopped(name: str, tmp_path: Path) -> None:
    changes = STOPPING | WAYS[name]
    unbroken = trained(planned_in(tmp_path, **WAYS[name]), tmp_path)
    parts = own_parts(tmp_path, {"optimizer/signs_of.py": SIGNS_OF})
    ends = sorted({*summary_of(unbroken)["stopped"].values()})
    assert len(ends) > 1
    around = {ends[0] - 1, ends[0] + 1} if name == next(iter(WAYS)) else set[int]()
    for pause in {ends[0], ends[-1] - 1} | around:
        run = trained(planned_in(tmp_path, **WAYS[name]), tmp_path, stop_after=pause)
        go_on(run, changes, parts)
        assert not differences(outcome(unbroken), outcome(run)), pause


def stop_of(losses: list[float], patience: int, min_delta: float, warmup: int) -> int | None:
    """The epoch after which a run with these losses stops; None if it does not."""
    reached, best = 0, None
    for epoch, loss in enumerate(losses, 1):
        if best is None or loss < best - min_delta:
            reached, best = epoch, loss
        if epoch - max(reached, warmup) >= patience:
            return epoch
    return None


@pytest.mark.parametrize(("min_delta", "warmup"), [(0.0, 0), (0.05, 0), (0.0, 12), (0.2, 6)])
def test_patience_counts_from_the_last_gain_that_is_large_enough_and_after_its_warmup(
    min_delta: float, warmup: int, tmp_path: Path
) -> None:
    whole = trained(planned(**STOPPING | {"patience": None}), tmp_path)
    more = {"min_delta": min_delta, "patience_warmup": warmup}
    found = summary_of(trained(planned(**STOPPING | more), tmp_path))["stopped"]
    rows = whole.rows()
    losses = {
        seed: [loss for each, loss in zip(rows["seed"], rows["valid_loss"], strict=True) if each == seed]
        for seed in SEEDS
    }
    expected = {str(seed): stop_of(own, 2, min_delta, warmup) for seed, own in losses.items()}
    assert found == {seed: epoch for seed, epoch in expected.items() if epoch}


@pytest.mark.parametrize("key", ["min_delta", "patience_warmup"])
def test_what_is_of_patience_is_refused_without_one(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(**STOPPING | {"patience": None, key: 1})
    [mistake] = map(str, refused.value.mistakes)
    assert f"{key}: it is of patience, which is not set" in mistake


def test_a_seed_that_has_stopped_has_no_further_rows_and_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_at_once: list[int] = []
    order = Batches.order

    def counting(batches: Batches, epoch: int) -> Any:
        trained_at_once.append(len(order(batches, epoch)))
        return order(batches, epoch)

    monkeypatch.setattr(Batches, "order", counting)
    run = trained(planned_in(tmp_path), tmp_path)
    rows, stopped = run.rows(), summary_of(run)["stopped"]
    assert stopped.keys() == {str(seed) for seed in SEEDS}
    for seed in SEEDS:
        assert rows_of(run, seed) == list(range(1, stopped[str(seed)] + 1))
    assert sum(trained_at_once) == len(rows["epoch"])


def test_stacked_seeds_stop_by_themselves_too(tmp_path: Path) -> None:
    changes = {"batch_size": 14, "patience": 3}
    apart = trained(planned_in(tmp_path, **changes), tmp_path)
    stacked = trained(planned_in(tmp_path, **changes, stacked=True), tmp_path)
    assert summary_of(stacked)["stopped"] == summary_of(apart)["stopped"]
    assert len({*summary_of(apart)["stopped"].values()}) > 1
    for a, b in zip(
        load_checkpoint(apart.last).state["model"], load_checkpoint(stacked.last).state["model"], strict=True
    ):
        for name, value in a.items():
            torch.testing.assert_close(value, b[name], rtol=1e-3, atol=1e-4)
    pause = min(summary_of(stacked)["stopped"].values()) + 1
    run = trained(planned_in(tmp_path, **changes, stacked=True), tmp_path, stop_after=pause)
    go_on(run, STOPPING | changes | {"stacked": True})
    assert not differences(outcome(stacked)["rows"], outcome(run)["rows"])
    assert not differences(outcome(stacked)["model"], outcome(run)["model"])
    model, saved = open_checkpoint(run.best, run, [], planned_in(tmp_path).parts, Path("no-data"))
    report = evaluate_run(model, saved, run.best, "valid")
    best = summary_of(run)["best"]["figures"]["valid_loss"]["values"]
    for seed, value in zip(SEEDS, best, strict=True):
        assert report["per_seed"][str(seed)]["loss"] == pytest.approx(value, rel=1e-5)


def test_evaluating_best_pt_gives_the_figures_of_each_seeds_own_epoch(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path), tmp_path)
    model, saved = open_checkpoint(run.best, run, [], planned_in(tmp_path).parts, Path("no-data"))
    report = evaluate_run(model, saved, run.best, "valid")
    assert report["epochs"] == saved.state["epochs"]
    assert report["foreign"] == ""
    assert {figure: item["difference"] for figure, item in report["recorded"].items()} == {
        "loss": 0.0,
        "accuracy": 0.0,
    }
    assert model.at_epoch().endswith(" (best)")
    assert model.at_epoch(0) == f"epoch {saved.state['epochs'][0]}"


@pytest.mark.parametrize("name", ["best.pt", "last.pt", "epoch_0008.pt"])
def test_only_the_epochs_of_best_pt_are_called_best(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned_in(tmp_path, keep_every=8)
    run = trained(plan, tmp_path)
    path = run.last.parent / name
    model, saved = open_checkpoint(path, run, [], plan.parts, Path("no-data"))
    report = evaluate_run(model, saved, path, "valid")
    assert len(set(report["epochs"])) > 1, "the seeds are at epochs of their own"
    print_evaluation(report)
    is_best = name == "best.pt"
    assert model.at_epoch().endswith(" (best)") is is_best
    assert ("chosen" in report) is is_best
    assert ("(best)" in capsys.readouterr().out) is is_best


# ------------------------------------------------------------------------ an end says why


def test_an_early_stop_says_why(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path, seeds=[0]), tmp_path)
    found = summary_of(run)
    assert (found["status"], found["reason"]) == ("stopped early", "valid_loss has not improved for 2 epochs")
    one = summary_of(trained(planned_in(tmp_path, seeds=[0], patience=1), tmp_path))
    assert one["reason"] == "valid_loss has not improved for 1 epoch"


NEVER = '''
"""A metric that is never a number."""
task = "classification"


def never(outputs, targets):
    """0 / 0."""
    return outputs[:, 0] * float("nan")
'''


@pytest.mark.parametrize("patience", [None, 3])
def test_a_monitored_figure_that_is_never_a_number_is_said(patience: int | None, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"metrics/never.py": NEVER})
    view = Listening()
    changes = {"metrics": ["never"], "monitor": "train_never", "patience": patience, "epochs": 6}
    run = trained(planned(parts, **changes), tmp_path, view=view)
    assert "best.pt is the last epoch: train_never was not a number in any epoch" in view.warnings
    found = summary_of(run)
    assert found["best"] is None
    assert (found["status"], found["epochs"]) == (("stopped early", 3) if patience else ("finished", 6))
    assert found["reason"] == ("train_never was not a number in 3 epochs" if patience else None)
    assert not differences(load_checkpoint(run.best).state["model"], load_checkpoint(run.last).state["model"])


def test_patience_beyond_the_epochs_is_said_and_not_refused(tmp_path: Path) -> None:
    view = Listening()
    trained(planned(patience=50), tmp_path, view=view)
    assert "patience: 50 never runs out: epochs is 3" in view.warnings


# ------------------------------------------------------------------------ resuming


def test_more_epochs_alone_do_not_pass_for_training_after_an_early_stop(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path, seeds=[0]), tmp_path)
    with pytest.raises(UserError) as refused:
        go_on(run, STOPPING | {"seeds": [0], "epochs": 500})
    assert "nothing is left to train: the run stopped early after epoch" in refused.value.what
    assert "raise the patience too, such as patience=4" in refused.value.fix
    again = go_on(run, STOPPING | {"seeds": [0]})
    assert again.summary["already_complete"], "a resume of the same run is none the worse"


@pytest.mark.parametrize("patience", [6, None])
def test_more_patience_goes_on_as_if_it_had_been_there_from_the_start(
    patience: int | None, tmp_path: Path
) -> None:
    wanted = STOPPING | {"seeds": [0], "patience": patience, "epochs": 20}
    unbroken = trained(planned(**wanted), tmp_path)
    run = trained(planned(**STOPPING | {"seeds": [0], "epochs": 20}), tmp_path)
    assert summary_of(run)["epochs"] < summary_of(unbroken)["epochs"]
    go_on(run, wanted)
    assert not differences(outcome(unbroken), outcome(run))


def test_seeds_that_stopped_at_different_epochs_cannot_go_on_together(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path), tmp_path)
    with pytest.raises(UserError) as refused:
        go_on(run, STOPPING | {"patience": 20})
    assert "they cannot go on together" in refused.value.what


def earlier(state: Any) -> dict[str, Any]:
    """A state as dlrun saved it when all seeds of a run were judged together."""
    found: dict[str, Any] = _STATE_DICT(state)
    best = [own for own in found.pop("best") if own]
    for key in ("stopped", "is_judged_together"):
        del found[key]
    figures = (
        {column: [own["figures"][column] for own in best] for column in best[0]["figures"]} if best else {}
    )
    return found | {"best": {**best[0], "figures": figures} if best else None}


_STATE_DICT = states.State.state_dict


@pytest.mark.parametrize("pause", [2, 30])
def test_a_run_that_an_earlier_dlrun_judged_by_the_mean_goes_on_so(
    pause: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states.State, "__post_init__", _judging_together(states.State.__post_init__))
    unbroken = trained(planned_in(tmp_path), tmp_path)
    with monkeypatch.context() as before:
        before.setattr(states.State, "state_dict", earlier)
        run = trained(planned_in(tmp_path), tmp_path, stop_after=pause)
    monkeypatch.undo()
    go_on(run, STOPPING)
    assert not differences(unbroken.rows() | {"seconds": []}, run.rows() | {"seconds": []})
    assert summary_of(run)["best"]["epochs"] == summary_of(unbroken)["best"]["epochs"]
    assert len({*summary_of(run)["best"]["epochs"].values()}) == 1


def _judging_together(begin: Any) -> Any:
    def together(self: Any) -> None:
        begin(self)
        self.is_judged_together = True

    return together


# ------------------------------------------------------------------------ what best.pt holds


def test_a_best_pt_that_is_newer_than_last_pt_is_never_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the two saves leaves such a best.pt; its weights keep their own epoch."""
    unbroken = trained(planned_in(tmp_path), tmp_path)
    ends = summary_of(unbroken)["best"]["epochs"]
    first = min(ends.values())
    run = trained(planned_in(tmp_path), tmp_path, stop_after=max(1, first - 1))
    run.best.write_bytes(unbroken.best.read_bytes())
    ways = dict[int, Any]()  # epoch -> the weights of all seeds then
    for pause in range(first, max(ends.values()) + 1):
        go_on(run, STOPPING, stop_after=pause)
        saved = load_checkpoint(run.best)
        for index, epoch in enumerate(saved.state["epochs"]):
            if epoch not in ways:
                at = trained(planned_in(tmp_path), tmp_path, stop_after=epoch)
                ways[epoch] = load_checkpoint(at.last).state["model"]
            assert not differences(ways[epoch][index], saved.state["model"][index])
    go_on(run, STOPPING)
    assert not differences(outcome(unbroken), outcome(run))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state["model"].pop(), "it has the weights of 3 seeds, not of 4"),
        (lambda state: state["model"][1].update({"0.bias": torch.tensor(7.0)}), "its 0.bias does not fit"),
        (lambda state: state["model"][1].update({"0.bias": torch.full((8,), float("nan"))}), "not finite"),
        (lambda state: state.update(epochs="x"), "epochs"),
        (lambda state: state.update(epochs=[1, 2]), "it has the weights of"),
        (lambda state: state.pop("model"), "it lacks an entry"),
    ],
)
def test_a_best_pt_that_does_not_fit_is_skipped_and_patience_counts_on(
    change: Any, said: str, tmp_path: Path
) -> None:
    unbroken = trained(planned_in(tmp_path), tmp_path)
    stops = summary_of(unbroken)["stopped"]
    run = trained(planned_in(tmp_path), tmp_path, stop_after=min(stops.values()) - 1)
    saved = load_checkpoint(run.best)
    change(saved.state)
    save_checkpoint(run.best, saved)
    view = Listening()
    go_on(run, STOPPING, view=view)
    assert any("best.pt is skipped" in text and said in text for text in view.warnings), view.warnings
    assert summary_of(run)["stopped"] == stops, "the best epochs so far are known all the same"
    held = load_checkpoint(run.best).state["epochs"]
    best = [summary_of(run)["best"]["epochs"][str(seed)] for seed in SEEDS]
    for seed, epoch, wanted in zip(SEEDS, held, best, strict=True):
        lost = f"best.pt has epoch {epoch} of seed {seed}: the weights of its best epoch, {wanted}, were lost"
        assert (lost in view.warnings) == (epoch != wanted)
    assert held != best


def test_a_seed_without_a_finite_figure_does_not_end_the_run_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.training import early_stopping

    whole = early_stopping.note_best

    def never_of_seed_2(plan: Any, state: Any, row: Any) -> Any:
        column = list(row[plan.monitor])
        for place, index in enumerate(state.active):
            column[place] = float("nan") if SEEDS[index] == 2 else column[place]
        return whole(plan, state, row | {plan.monitor: column})

    monkeypatch.setattr("dlrun.training.run_writer.note_best", never_of_seed_2)
    view = Listening()
    run = trained(planned_in(tmp_path), tmp_path, view=view)
    found = summary_of(run)
    assert "2" not in found["best"]["epochs"]
    assert found["stopped"]["2"] == 2
    assert "best.pt is the last epoch of seed 2: valid_loss was not a number in any epoch" in view.warnings
    assert found["reason"] == "valid_loss of seed 2 was not a number in 2 epochs"
    held = load_checkpoint(run.best).state["epochs"]
    assert held[SEEDS.index(2)] == 2, "its last epoch"
    model, saved = open_checkpoint(run.best, run, [], planned_in(tmp_path).parts, Path("no-data"))
    assert evaluate_run(model, saved, run.best, "valid")["foreign"] == ""


def test_the_spread_of_figures_that_are_no_numbers_is_none() -> None:
    from dlrun.console.numbers import of_seeds
    from dlrun.training.figures import spread

    assert math.isnan(spread([math.nan, 1.0]) or 0.0)
    assert of_seeds([math.nan, 1.0]) == "nan ± nan"


def test_last_pt_knows_the_last_epoch_of_each_seed(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path), tmp_path)
    model, _ = open_checkpoint(run.last, run, [], planned_in(tmp_path).parts, Path("no-data"))
    assert model.epochs == [summary_of(run)["stopped"][str(seed)] for seed in SEEDS]


def test_patience_may_only_be_raised(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path, seeds=[0], patience=6), tmp_path, stop_after=2)
    with pytest.raises(UserError, match="patience=3 is less than the 6 of this run: it may only be raised"):
        go_on(run, STOPPING | {"seeds": [0], "patience": 3})
    other = trained(planned_in(tmp_path, seeds=[0], patience=None), tmp_path, stop_after=2)
    with pytest.raises(UserError, match="less than the unlimited one of this run"):
        go_on(other, STOPPING | {"seeds": [0], "patience": 3})


def test_the_remedy_for_seeds_that_stopped_at_different_epochs_is_one_that_works(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path), tmp_path)
    with pytest.raises(UserError) as refused:
        go_on(run, STOPPING | {"epochs": 500})
    assert "start a new run with more patience" in refused.value.fix


# ------------------------------------------------------------------------ pictures


def test_the_title_of_the_curves_is_of_all_seeds(tmp_path: Path) -> None:
    from dlrun.drawing.lines import by_epoch
    from dlrun.plots.curves import best_epochs, title

    changes = {"monitor": "train_loss", "evaluate_every": 4, "patience": 3}
    run = trained(planned_in(tmp_path, **changes), tmp_path)
    model, _ = open_checkpoint(run.best, run, [], planned_in(tmp_path).parts, Path("no-data"))
    columns = by_epoch(run.rows(), len(SEEDS), model.plan.recipe.columns())
    best = best_epochs(model, columns)
    assert best == [summary_of(run)["best"]["epochs"][str(seed)] for seed in SEEDS]
    text = title(model, columns, best)
    ends = [rows_of(run, seed)[-1] for seed in SEEDS]
    assert f"seeds end after {min(ends)} to {max(ends)}" in text
    rows = run.rows()
    of_all = {epoch for epoch in rows["epoch"] if epoch % 4 == 0 or epoch == max(ends)}  # measured of all
    last = {
        seed: value
        for seed, epoch, value in zip(rows["seed"], rows["epoch"], rows["valid_accuracy"], strict=True)
        if epoch in of_all
    }
    assert f"{sum(last.values()) / 4:.2f}"[:4] in text


def test_plots_over_several_runs_take_the_last_figure_of_each_seed(tmp_path: Path) -> None:
    run = trained(planned_in(tmp_path), tmp_path)
    model, _ = open_checkpoint(run.best, run, [], planned_in(tmp_path).parts, Path("no-data"))
    from dlrun.plots.several_runs import several_runs

    figure = several_runs(model, runs=[], column="valid_loss")
    final = summary_of(run)["final"]["valid_loss"]["mean"]
    [label] = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert f"{final:.2f}" in label
