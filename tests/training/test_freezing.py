"""Frozen weights keep every bit, and the others learn as if those were constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    FULL,
    OPTIMIZER_OPTIONS,
    SIGNS,
    SMALL_CNN,
    STEPS,
    differences,
    go_on,
    interrupting,
    mostly_slow,
    of_seed,
    outcome,
    own_parts,
    planned,
    started,
    trained,
)
from torch import Tensor, nn
from torch.nn import functional as F

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint

MLP = {"architecture": {"name": "mlp", "hidden": [8, 6]}, "epochs": 2}
NORMED = {"architecture": {"name": "mlp", "hidden": [8, 6], "batch_norm": True}, "epochs": 2}
OPTIMIZERS = sorted(Parts().names("optimizer"))


def weights(run: Run) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_checkpoint(run.last).state["model"][0]
    return found


def kept(folder: Path, freeze: list[str], **changes: Any) -> tuple[set[str], set[str]]:
    """The names of all weights and statistics, and of those that training left as they were."""
    plan = planned(freeze=freeze, **changes)
    begun = {name: value.clone() for name, value in plan.model().copies[0].state_dict().items()}
    learnt = weights(trained(plan, folder))
    return {*begun}, {name for name, value in begun.items() if torch.equal(value, learnt[name])}


def test_of_several_patterns_the_last_that_matches_counts(tmp_path: Path) -> None:
    every, same = kept(tmp_path, ["*", "!4.*", "*.bias"], **MLP)
    assert same == every - {"4.weight"}


def test_a_normalisation_that_is_frozen_keeps_its_statistics(tmp_path: Path) -> None:
    every, same = kept(tmp_path, ["0.*", "1.*", "4.bias"], **NORMED)
    assert same == {name for name in every if name[0] in "01"} | {"4.bias"}
    assert "1.running_mean" in same and "4.running_mean" not in same


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_leaves_frozen_weights_alone(name: str, tmp_path: Path) -> None:
    optimizer = {"name": name, "lr": 0.05} | OPTIMIZER_OPTIONS.get(name, {})
    _, same = kept(tmp_path, ["0.*"], **MLP, optimizer=optimizer)
    assert same == {"0.weight", "0.bias"}


def test_an_optimizer_that_asks_for_every_gradient_is_given_those_that_there_are(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"optimizer/signs.py": SIGNS})
    plan = planned(parts, freeze=["0.*"], **MLP, optimizer={"name": "signs", "lr": 0.05})
    begun = {name: value.clone() for name, value in plan.model().copies[0].state_dict().items()}
    learnt = weights(trained(plan, tmp_path))
    assert {name for name in begun if torch.equal(begun[name], learnt[name])} == {"0.weight", "0.bias"}


def test_what_learns_learns_as_on_constant_features(tmp_path: Path) -> None:
    """The same steps by hand: a linear layer on the outputs of the frozen ones."""
    changes = MLP | {"batch_size": "full", "epochs": 5, "optimizer": {"name": "sgd", "lr": 0.5}}
    plan = planned(freeze=["*", "!4.*"], **changes)
    model = plan.model().copies[0]
    inputs, targets = plan.load()["train"].batch(torch.arange(len(plan.load()["train"])))
    with torch.no_grad():
        features = model[:4](inputs)
    last = nn.Linear(6, 3)
    last.load_state_dict(model[4].state_dict())
    for _ in range(5):
        grads = torch.autograd.grad(F.cross_entropy(last(features), targets), [*last.parameters()])
        with torch.no_grad():
            for weight, gradient in zip(last.parameters(), grads, strict=True):
                weight -= 0.5 * gradient
    learnt = weights(trained(plan, tmp_path))
    assert torch.allclose(learnt["4.weight"], last.weight, atol=1e-6)
    assert torch.allclose(learnt["4.bias"], last.bias, atol=1e-6)


def test_after_the_frozen_epochs_every_weight_learns(tmp_path: Path) -> None:
    for epochs, changes in ((2, set()), (3, {"0.weight", "1.weight", "1.running_mean"})):
        plan = planned(freeze=["0.*", "1.*"], freeze_epochs=2, **NORMED | {"epochs": epochs})
        begun = {name: value.clone() for name, value in plan.model().copies[0].state_dict().items()}
        learnt = weights(trained(plan, tmp_path))
        assert changes <= {name for name in begun if not torch.equal(begun[name], learnt[name])}
        assert epochs == 3 or all(torch.equal(begun[n], learnt[n]) for n in begun if n[0] in "01")


KINDS: dict[str, dict[str, Any]] = {
    "apart": {},
    "elementwise": {"optimizer": {"name": "sgd", "lr": 0.1} | OPTIMIZER_OPTIONS["sgd"]},
    "stacked": {"stacked": True, "patience": 1},
    "lbfgs": {"optimizer": {"name": "lbfgs", "lr": 0.1} | OPTIMIZER_OPTIONS["lbfgs"]},
    "float16": {"precision": "float16"},
}


@pytest.mark.parametrize("kind", mostly_slow(KINDS, "apart", "stacked"))
def test_a_run_that_is_stopped_while_weights_are_frozen_or_later_is_the_unbroken_one(
    kind: str, tmp_path: Path, save_always: None
) -> None:
    changes = FULL | NORMED | {"epochs": 4, "freeze": ["0.*", "1.*"], "freeze_epochs": 2} | KINDS[kind]
    unbroken = trained(planned(**changes), tmp_path)

    for step in (STEPS + 1, 2 * STEPS, 2 * STEPS + 1):
        run = started(planned(**changes), tmp_path)
        go_on(run, changes, view=interrupting(step))
        go_on(run, changes)
        assert not differences(outcome(unbroken), outcome(run)), step


def test_a_seed_among_several_learns_as_it_would_alone(tmp_path: Path) -> None:
    changes = NORMED | {"freeze": ["0.*", "1.*"], "freeze_epochs": 1, "epochs": 3}
    several = trained(planned(seeds=[3, 5], **changes), tmp_path)
    alone = trained(planned(seeds=[5], **changes), tmp_path)
    assert not differences(of_seed(several, 5), of_seed(alone, 5))


def test_a_frozen_convolution_takes_no_gradient(tmp_path: Path) -> None:
    changes = {"dataset": "dots", "architecture": SMALL_CNN, "epochs": 1, "metrics": []}
    names = [name for name, _ in planned(own_parts(tmp_path), **changes).model().copies[0].named_parameters()]
    plan = planned(own_parts(tmp_path), **changes, freeze=["*", f"!{names[-1].rpartition('.')[0]}.*"])
    run = trained(plan, tmp_path)
    frozen = sum(weights(run)[name].numel() for name in names[:-2])
    assert run.summary()["frozen_parameters"] == plan.recipe.freezing.count == frozen


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"freeze": ["fc.*"]}, "'fc.*' matches no weight (there are: 0.weight, 0.bias, 2.weight"),
        ({"freeze": ["*"]}, "every weight is frozen, so that nothing would be learnt"),
        ({"freeze": ["*", "!4.*", "4.*"]}, "every weight is frozen"),
        ({"freeze_epochs": 3}, "'!fc.*'], or set freeze_epochs: null"),
    ],
)
def test_what_freezes_nothing_or_all_is_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(**MLP | changes)
    [mistake] = refused.value.mistakes
    assert what in str(mistake) and mistake.key == next(iter(changes))
