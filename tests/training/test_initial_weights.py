"""A run that begins with the weights of another takes what fits, says so, and then needs them no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    FULL,
    SMALL,
    SMALL_CNN,
    differences,
    go_on,
    interrupting,
    outcome,
    own_parts,
    planned,
    started,
    trained,
)
from small_sweeps import only_sweep
from torch import Tensor

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.initial_weights import initial_weights
from dlrun.training.plan import Plan
from dlrun.training.plan_trials import try_on

Dlrun = Callable[..., Any]
STILL = {"optimizer": {"name": "sgd", "lr": 0.0}, "epochs": 1, "evaluate_train_every": 1}
MLP = {"name": "mlp", "hidden": [8]}
PARTS = {
    "dataset/far.py": '''
"""Figures far from 0, which a model learns as figures near 0."""
import torch
from dlrun.data import Data, Examples


def far(root, *, scaled: bool = True):
    """300 ± 20."""
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    y = 300 + 20 * x.sum(1, keepdim=True)
    read = lambda: {"train": Examples(x, y), "test": Examples(x[:9], y[:9])}
    return Data("regression", (2,), read, scaling=(300.0, 20.0) if scaled else None)
''',
    "loss/centres.py": '''
"""Distances to a centre for each class, which are learnt."""
import torch
from torch import nn
from dlrun.data import Data

task = "classification"


class Centres(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, classes))

    def forward(self, outputs, targets):
        entropy = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return entropy + (outputs - self.centres[targets]).square().mean(1)


def centres(data: Data):
    """Cross entropy, and the distances to the centres."""
    return Centres(len(data.classes))


def probabilities(outputs):
    """The softmax."""
    return outputs.softmax(-1)
''',
    "loss/weighed.py": '''
"""A squared error with a weight for each output, which is learnt."""
import torch
from torch import nn

task = "regression"


class Weighed(nn.Module):
    def __init__(self):
        super().__init__()
        self.logs = nn.Parameter(torch.randn(1))

    def forward(self, outputs, targets):
        return ((outputs - targets).square() * self.logs.exp() - self.logs).mean(1)


def weighed():
    """Of one target."""
    return Weighed()
''',
    "optimizer/homesick.py": '''
"""Steps back to where the weights began."""
import torch


class Homesick(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["home"] = p.detach().clone()

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p += group["lr"] * (self.state[p]["home"] - p - p.grad)


def homesick(parameters, *, lr: float):
    """At the rate `lr`."""
    return Homesick(parameters, lr)
''',
    "architecture/two.py": '''
"""Two layers."""
from torch import nn
from dlrun.config.options import Count


def two(shape, outputs, *, width: Count = 8):
    """`width` units."""
    return nn.Sequential(nn.Linear(shape[0], width), nn.ReLU(), nn.Linear(width, outputs))
''',
    "architecture/named.py": '''
"""A line that has an option `weights` of its own."""
from torch import nn


def named(shape, outputs, *, weights: str | None = None):
    """Without a bias if `weights` says so."""
    return nn.Linear(shape[0], outputs, bias=weights != "only")
''',
}


def beginning(source: Path | str, parts: Parts | None = None, **changes: Any) -> Plan:
    """The plan of a run that begins with the weights of another run or a file."""
    architecture = changes.pop("architecture", MLP)
    return planned(parts, **changes, architecture=architecture | {"weights": str(source)})


def weights_in(run: Run, which: str = "last") -> list[dict[str, Tensor]]:
    found: list[dict[str, Tensor]] = load_checkpoint(getattr(run, which)).state["model"]
    return found


def state_dict(path: Path, prefix: str = "", **changes: Tensor) -> Path:
    """A file of the weights of MLP on the spiral, 2 → 8 → 3, their names behind a prefix."""
    [weights] = [copy.state_dict() for copy in planned().model([9]).copies]
    torch.save({f"{prefix}{name}": value for name, value in (weights | changes).items()}, path)
    return path


WAYS: dict[str, dict[str, Any]] = {
    "points": {},
    "two seeds": {"seeds": [4, 2]},
    "stacked seeds": {"seeds": [4, 2], "stacked": True},
    "float64": {"precision": "float64"},
    "own architecture": {"architecture": {"name": "two", "width": 5}},
    "standardised targets": {"dataset": "far", "loss": "mse", "metrics": []},
    "loss with weights": {"loss": "centres"},
    "standardised targets and loss with weights": {"dataset": "far", "loss": "weighed", "metrics": []},
}


@pytest.mark.parametrize("name", WAYS)
def test_before_it_learns_a_run_has_the_figures_of_its_source(name: str, tmp_path: Path) -> None:
    parts, way = own_parts(tmp_path, PARTS), WAYS[name]
    source = trained(planned(parts, **way, evaluate_train_every=1), tmp_path)
    plan = beginning(source.folder, parts, **way | STILL)
    run = trained(plan, tmp_path)
    before, now = load_checkpoint(source.best), load_checkpoint(run.last)
    for column in [column for column in before.figures if column.startswith(("trainset_", "test_"))]:
        assert now.figures[column] == pytest.approx(before.figures[column], abs=1e-6)
    trainable = [name for name, _ in plan.model().copies[0].named_parameters()]
    for ours, theirs in zip(now.state["model"], before.state["model"], strict=True):
        assert [weight for weight in trainable if not torch.equal(ours[weight], theirs[weight])] == []
    found = run.summary()["weights"]
    assert (found["new"], found["left"]) == ({}, [])
    assert len(found["taken"]) == len(before.state["model"][0])


WEIGHED = {"loss": "weighed", "metrics": []}
FAR = {"dataset": "far", "loss": "mse", "metrics": []}
NEAR = FAR | {"dataset": {"name": "far", "scaled": False}}
OF_LOSS = ["loss.logs"]


@pytest.mark.parametrize(
    ("source", "run", "new", "left"),
    [
        (FAR, NEAR, [], []),
        (NEAR, FAR, [], []),
        (FAR | WEIGHED, NEAR, [], OF_LOSS),
        (NEAR, FAR | WEIGHED, OF_LOSS, []),
        (NEAR | WEIGHED, FAR | WEIGHED, [], []),
    ],
)
def test_names_are_those_in_the_architecture_whatever_dlrun_wraps_around_it(
    source: dict[str, Any], run: dict[str, Any], new: list[str], left: list[str], tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, PARTS)
    weights = found(beginning(trained(planned(parts, **source), tmp_path).folder, parts, **run)).plain()
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert weights["taken"] == names + ["loss.logs"] * (not new and run["loss"] == "weighed")
    assert (list(weights["new"]), weights["left"]) == (new, left)


def test_an_optimizer_sees_the_weights_with_which_the_run_begins(tmp_path: Path) -> None:
    parts, path = own_parts(tmp_path, PARTS), state_dict(tmp_path / "w.pt")
    plan = beginning(path, parts, optimizer={"name": "homesick", "lr": 0.1})
    state = plan.state(plan.hardware(), found(plan).put_into)
    for weight, own in state.optimizers.each[0].state.items():
        assert torch.equal(own["home"], weight)


def test_running_statistics_are_taken_too(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    way = {"dataset": "dots", "architecture": SMALL_CNN}
    source = trained(planned(parts, **way), tmp_path)
    plan = beginning(source.folder, parts, **way)
    state = plan.state(plan.hardware(), found(plan).put_into)
    assert differences(state.model.copies[0].state_dict(), dict(weights_in(source, "best")[0])) == []


def found(plan: Plan) -> Any:
    weights = initial_weights(plan)
    assert weights
    return weights


def test_another_head_is_new_and_is_as_its_seed_makes_it(tmp_path: Path) -> None:
    source = trained(planned(), tmp_path)
    five = {"name": "spiral", "points": 20, "classes": 5}
    run = trained(beginning(source.folder, dataset=five, **STILL), tmp_path)
    fresh = planned(dataset=five).model().copies[0].state_dict()
    [before], [now] = weights_in(source, "best"), weights_in(run)
    for name in ("0.weight", "0.bias"):
        assert torch.equal(now[name], before[name])
    for name in ("2.weight", "2.bias"):
        assert torch.equal(now[name], fresh[name])
    weights = run.summary()["weights"]
    assert weights["taken"] == ["0.weight", "0.bias"]
    assert weights["new"] == {"2.weight": "another shape: 3×8 → 5×8", "2.bias": "another shape: 3 → 5"}
    assert weights["left"] == []
    log = (run.folder / "log.txt").read_text()
    assert "2 taken: 0.weight, 0.bias; 2 new: 2.weight (another shape: 3×8 → 5×8), 2.bias" in log
    deeper = {"name": "mlp", "hidden": [8, 8]}
    weights = found(beginning(source.folder, architecture=deeper)).plain()
    assert weights["new"]["4.bias"] == "not in the file"


def test_what_is_left_over_is_named(tmp_path: Path) -> None:
    path = state_dict(tmp_path / "w.pt", **{"9.weight": torch.zeros(3), "0.weight": torch.ones(8, 2)})
    assert found(beginning(path)).plain()["left"] == ["9.weight"]


def test_each_seed_takes_the_weights_of_the_same_seed_or_else_of_the_first(tmp_path: Path) -> None:
    source = trained(planned(seeds=[4, 2]), tmp_path)
    [four, two] = weights_in(source, "best")
    run = trained(beginning(source.folder, **STILL, seeds=[2, 7]), tmp_path)
    assert differences(weights_in(run), [two, four]) == []
    assert run.summary()["weights"]["seeds"] == {"2": 2, "7": 4}
    said = "seed 2 takes those of the same seed, seed 7 takes those of seed 4; "
    assert said in (run.folder / "log.txt").read_text()


def test_a_seed_among_several_begins_and_learns_as_it_would_alone(tmp_path: Path) -> None:
    source = trained(planned(seeds=[4, 2]), tmp_path)
    together = trained(beginning(source.folder, seeds=[7, 2]), tmp_path)
    for index, seed in enumerate([7, 2]):
        alone = trained(beginning(source.folder, seeds=[seed]), tmp_path)
        assert differences(weights_in(alone), [weights_in(together)[index]]) == []


def test_once_it_has_begun_a_run_needs_its_source_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = trained(planned(**FULL, epochs=4), tmp_path / "sources")
    changes = FULL | {"epochs": 4, "architecture": FULL["architecture"] | {"weights": str(source.folder)}}
    unbroken = trained(planned(**changes), tmp_path)
    assert differences(outcome(unbroken), outcome(trained(planned(**FULL | {"epochs": 4}), tmp_path)))
    run = started(planned(**changes), tmp_path)
    go_on(run, changes, stop_after=2)
    record = run.summary()["weights"]
    shutil.rmtree(source.folder)
    go_on(run, changes, view=interrupting(5))
    (run.folder / "summary.json").unlink()
    go_on(run, changes)
    assert differences(outcome(run), outcome(unbroken)) == []
    known = {"source": str(source.folder), "sha256": record["sha256"]}
    assert run.summary()["weights"] == known, "what the checkpoint knows of it"
    assert load_checkpoint(run.best).environment["weights"] == known


def test_a_finished_run_is_evaluated_predicts_and_is_drawn_without_its_source(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x,y\n0.1,0.2\n-0.5,0.3\n")
    assert dlrun("train", tiny, "--name", "source").code == 0
    assert dlrun("train", tiny, "architecture.weights=source").code == 0
    commands = [("eval", "tiny-001", "--json"), ("predict", "tiny-001", points)]
    before = [dlrun(*words).out for words in commands]
    shutil.rmtree(runs_dir / "source-001")
    assert [dlrun(*words).out for words in commands] == before
    assert dlrun("plot", "tiny-001", "curves").code == 0
    assert dlrun("resume", "tiny-001", "epochs=4").code == 0
    done = dlrun("reproduce", "tiny-001")
    assert (done.code, len(runs_in(runs_dir))) == (2, 1)
    assert f"architecture.weights: there is no run or file {runs_dir / 'source-001'}; " in done.err
    assert "tiny-001/config.yaml:" in done.err


def test_a_run_that_was_never_saved_begins_with_them_at_resume(tmp_path: Path) -> None:
    source = trained(planned(), tmp_path)
    plan = beginning(source.folder, **STILL)
    run = started(plan, tmp_path)
    path = source.best.rename(tmp_path / "moved.pt")
    with pytest.raises(ConfigError, match="1 mistake") as refused:
        go_on(run, STILL | {"architecture": MLP | {"weights": str(source.folder)}})
    assert "has no best.pt yet" in str(refused.value.mistakes[0])
    path.rename(source.best)
    go_on(run, STILL | {"architecture": MLP | {"weights": str(source.folder)}})
    assert differences(weights_in(run), weights_in(source, "best")) == []


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "net.body."])
def test_a_prefix_that_all_names_share_is_removed_where_that_makes_them_fit(
    prefix: str, tmp_path: Path
) -> None:
    match = found(beginning(state_dict(tmp_path / "w.pt", prefix))).match
    assert match.taken == {name: f"{prefix}{name}" for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
    assert not match.new and not match.left


def test_a_prefix_that_the_model_has_too_stays(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    linear = {"architecture": {"name": "linear", "flatten": True}, "dataset": "dots"}
    source = trained(planned(parts, **linear), tmp_path)
    names = list(weights_in(source, "best")[0])
    assert len({name.partition(".")[0] for name in names}) == 1
    assert found(beginning(source.folder, parts, **linear)).match.taken == {name: name for name in names}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_another_precision_are_converted(dtype: torch.dtype, tmp_path: Path) -> None:
    half = torch.full((8, 2), 0.5, dtype=dtype)
    path = state_dict(tmp_path / "w.pt", **{"0.weight": half})
    [weights] = weights_in(trained(beginning(path, **STILL), tmp_path))
    assert torch.equal(weights["0.weight"], half.float())


def test_what_cannot_be_taken_is_refused_with_what_there_is(tmp_path: Path) -> None:
    def said(path: Path, **changes: Any) -> str:
        plan = beginning(path, **changes)
        with pytest.raises(ConfigError) as refused:
            try_on(plan, plan.load())
        [mistake] = map(str, refused.value.mistakes)
        assert mistake.startswith("small.yaml: architecture.weights: ")
        return mistake

    path = tmp_path / "w.pt"
    torch.save({f"layer{index}.weight": torch.zeros(3, index) for index in range(6)}, path)
    assert (
        "fits the model by name and shape: it holds layer0.weight 3×0, layer1.weight 3×1, layer2.weight 3×2, "
        "layer3.weight 3×3 and 2 more; the model has 0.weight 8×2, 0.bias 8, 2.weight 3×8, 2.bias 3"
    ) in said(path)
    whole = torch.ones(8, 2, dtype=torch.int64)
    torch.save({"0.weight": whole}, path)
    assert "fits the model by name and shape: it holds 0.weight 8×2; " in said(path), "of another type"
    broken = torch.tensor([0.0] * 7 + [float("nan")])
    assert "the weights 0.bias in" in said(state_dict(path, **{"0.bias": broken}))
    counted = {"name": "mlp", "hidden": [5], "batch_norm": True}
    torch.save({"1.num_batches_tracked": torch.tensor(3)}, path)
    assert "nothing in" in said(path, architecture=counted), "a count alone is no weight"


def test_an_architecture_with_an_option_of_that_name_keeps_it(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, PARTS)
    plan = beginning("only", parts, architecture={"name": "named"})
    assert initial_weights(plan) is None
    assert [name for name, _ in plan.build().named_parameters()] == ["weight"]


def test_without_weights_a_config_is_that_of_an_earlier_dlrun() -> None:
    assert "weights" not in planned().config.architecture.options
    none = planned(architecture=SMALL["architecture"] | {"weights": None})  # type: ignore[operator]
    assert none.config.plain() == planned().config.plain()


def test_other_weights_are_another_setting_and_a_changed_file_is_told(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.pt"

    def save(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save({"0.weight": torch.randn(4, 2)}, path)

    save(1)
    for seed in (0, 1):
        assert dlrun("train", tiny, f"seeds=[{seed}]", f"architecture.weights={path}").code == 0
    save(2)
    assert dlrun("train", tiny, f"architecture.weights={path}").code == 0
    table = json.loads(dlrun("compare", "tiny-*", "--json").out)["settings"]
    assert [setting["n"] for setting in table] == [2, 1]
    names = [setting["settings"]["architecture.weights"] for setting in table]
    assert names[0] != names[1] and all(name.startswith("w.pt (") for name in names)
    found = json.loads(dlrun("diff", "tiny-001", "tiny-003", "--json").out)
    assert (found["settings"], list(found["surroundings"])) == ({}, ["weights"])
    again = json.loads(dlrun("reproduce", "tiny-003", "--json").out)
    assert again["verdict"] == "bit-identical"
    again = json.loads(dlrun("reproduce", "tiny-001", "--json").out)
    assert (again["verdict"], again["why"].endswith("changed: weights")) == ("drifted", True)


def test_a_run_from_another_is_one_with_its_weights(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny).code == 0
    assert dlrun("train", tiny, "--from", "last", "optimizer.lr=1e-4").code == 0
    assert dlrun("train", tiny, "architecture.weights=tiny-001", "optimizer.lr=1e-4").code == 0
    first, second, third = reversed(runs_in(runs_dir))
    assert differences(outcome(second), outcome(third)) == []
    assert second.summary()["weights"]["source"] == str(first.folder)
    both = dlrun("train", tiny, "--from", "last", "architecture.weights=last")
    assert "--from and architecture.weights=… cannot both be given" in both.err


def test_an_architecture_with_weights_of_its_own_begins_from_no_run(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, PARTS)
    done = dlrun("train", tiny, "architecture=named", "--from", "last", "--parts", parts.folder)
    assert (done.code, runs_dir.exists()) == (2, False)
    assert "--from is not for named, which has an option weights of its own" in done.err


def test_weights_are_swept_like_any_option(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny, "--name", "a", "seeds=[0, 1]").code == 0
    source = runs_in(runs_dir)[0]
    words = ("architecture.weights=null,last", "--seeds", 2, "--jobs", 1)
    assert dlrun("sweep", tiny, *words).code == 0
    sweep = only_sweep(runs_dir)
    of_each = [(trial.values["architecture.weights"], trial.run) for trial in sweep.trials]
    assert [value for value, _ in of_each] == [None, None, "last", "last"]
    for seed, (_, run) in enumerate(of_each[2:]):
        found = run.summary()["weights"]
        assert (found["source"], found["seeds"]) == (str(source.folder), {str(seed): seed})
    assert "weights" not in of_each[0][1].summary()
    # A finished run answers only for the same content.
    words = (tiny, "architecture.weights=a-001", "--seeds", 2, "--jobs", 1, "--needed", "--dry-run", "--json")
    assert dlrun("train", tiny, "architecture.weights=a-001", "--name", "tiny").code == 0
    assert json.loads(dlrun("sweep", *words).out)["answered"] == 2, "by those of the sweep"
    shutil.copy(source.last, source.best)
    assert json.loads(dlrun("sweep", *words).out)["answered"] == 0


def test_a_search_draws_from_the_runs_that_were_there_at_its_start(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    pytest.importorskip("optuna")
    assert dlrun("train", tiny, "--name", "a").code == 0
    words = ("architecture.weights=null,last", "optimizer.lr=log(1e-3,1e-1)", "--jobs", 1, "--optuna", 3)
    assert dlrun("sweep", tiny, *words).code == 0
    axes = only_sweep(runs_dir).content["search"]["axes"]
    assert str(runs_dir / "a-001") in json.dumps(axes["architecture.weights"])
    assert "last" not in json.dumps(axes)


def test_a_table_says_what_was_taken(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny).code == 0
    words = (tiny, "architecture.weights=last", "dataset.classes=5")
    shown = dlrun("show", *words, "--runs-dir", runs_dir).out
    trained = dlrun("train", *words).out
    for text in (shown, trained):
        lines = [line.removeprefix("#").split() for line in text.splitlines()]
        assert f"weights of {runs_dir / 'tiny-001'}, seed 0 takes those of the same seed" in text
        assert ["taken", "2", "0.weight,", "0.bias"] in lines
        assert "2.weight (another shape: 3×4 → 5×4)" in text
    assert "weights of" not in dlrun("resume", "last", "epochs=4").out
    assert "weights: a run, a file or a name of weights, or null" in dlrun("parts", "architecture").out
