"""No optimizer couples the seeds of a run, whatever figure it computes over its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SIGNS, differences, go_on, mostly_slow, of_seed, outcome, own_parts, planned, trained

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused
from dlrun.training.copies import Apart
from dlrun.training.loop import fit
from dlrun.training.optimizers import OptimizerPart, Optimizers
from dlrun.training.plan import Plan
from dlrun.training.plan_trials import try_on
from dlrun.training.weight_groups import block_of

NORMED = '''
"""Gradient descent along the direction of the whole gradient."""
import torch


class Normed(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        every = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        length = torch.stack([p.grad.square().sum() for p in every]).sum().sqrt()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["lengths"] = self.state[p].get("lengths", 0.0) + float(length)
                p -= group["lr"] * p.grad / length


def normed(parameters, *, lr: float):
    """A step of a fixed length."""
    return Normed(parameters, lr)
'''
PARTS = {
    "optimizer/normed.py": NORMED,
    "optimizer/boasting.py": NORMED.replace("def normed(", "elementwise = True\n\n\ndef boasting("),
    "optimizer/signs.py": SIGNS,
    "optimizer/ripening.py": '''
"""Adam that keeps more of each weight from its fifth step on."""
import torch


class Ripening(torch.optim.Adam):
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if self.state[p]["step"] == 5:
                    self.state[p]["anchor"] = p.detach().clone()
                if "anchor" in self.state[p]:
                    p.data.lerp_(self.state[p]["anchor"], 0.1)


def ripening(parameters, *, lr: float):
    """Adam with an anchor."""
    return Ripening(parameters, lr=lr)
''',
    "optimizer/thorough.py": '''
"""Gradient descent with weight decay of weights alone, chosen by their names."""
import torch
from dlrun.config.options import NonNegative


def thorough(named_parameters, *, lr: float, weight_decay: NonNegative = 0.1):
    """SGD in two groups."""
    named = list(named_parameters)
    weights = [p for name, p in named if name.endswith("weight")]
    others = [p for name, p in named if not name.endswith("weight")]
    return torch.optim.SGD([{"params": weights, "weight_decay": weight_decay}, {"params": others}], lr=lr)
''',
    "optimizer/decaying.py": '''
"""AdamW with weight decay of matrices alone."""
import torch

elementwise = True


def decaying(named_parameters, *, lr: float):
    """Two groups, by the number of axes."""
    matrices = [(name, p) for name, p in named_parameters if p.dim() > 1]
    others = [(name, p) for name, p in named_parameters if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr)
''',
    "optimizer/picky.py": '''
"""Gradient descent of matrices."""
import torch

elementwise = True


class Picky(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                torch.linalg.matrix_norm(p.detach())
        super().step(closure)


def picky(parameters, *, lr: float):
    """It looks at the norm of each."""
    return Picky(parameters, lr=lr)
''',
    "optimizer/asking.py": '''
"""Gradient descent that asks for its loss three times, and notes each loss and the length of its gradient."""
import torch

closure = True


class Asking(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure):
        every = [p for group in self.param_groups for p in group["params"]]
        self.noted = getattr(self, "noted", [])
        for _ in range(3):
            loss = closure()
            length = torch.stack([p.grad.square().sum() for p in every]).sum().sqrt()
            self.noted.append((float(loss), float(length)))
        super().step()
        return loss


def asking(parameters, *, lr: float):
    """SGD."""
    return Asking(parameters, lr=lr)
''',
    "optimizer/wide.py": '''
"""Gradient descent of a model with eight units."""
import torch


class Wide(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                assert 8 in p.shape or 3 in p.shape
        super().step(closure)


def wide(parameters, *, lr: float):
    """It looks at the shape of each."""
    return Wide(parameters, lr=lr)
''',
    "optimizer/by_itself.py": '''
"""Gradient descent at a rate of its own."""
import torch
from dlrun.config.options import Positive


def by_itself(parameters, *, lr: Positive | None = None):
    """A rate of 0.05 if none is given."""
    return torch.optim.SGD(parameters, lr=lr or 0.05)
''',
    "optimizer/rateless.py": '''
"""Gradient descent at one rate."""
import torch


def rateless(parameters):
    """A rate of 0.05."""
    return torch.optim.SGD(parameters, lr=0.05)
''',
}
OWN = ("normed", "signs", "ripening", "thorough", "decaying")
SEEDS = [3, 0, 5]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return own_parts(tmp_path, PARTS)


def changes(optimizer: str, **more: Any) -> dict[str, Any]:
    return {"optimizer": {"name": optimizer, "lr": 0.05}, "epochs": 3, **more}


def in_one(part: OptimizerPart, model: Apart) -> Optimizers:
    """One optimizer for all copies, as dlrun made it of every part."""
    return Optimizers([part.make([pair for copy in model.copies for pair in copy.named_parameters()])])


@pytest.mark.parametrize("optimizer", [*OWN, "adam"])
def test_each_seed_learns_what_it_learns_alone(optimizer: str, parts: Parts, tmp_path: Path) -> None:
    together = trained(planned(parts, **changes(optimizer, seeds=SEEDS)), tmp_path)
    for seed in SEEDS:
        alone = trained(planned(parts, **changes(optimizer, seeds=[seed])), tmp_path)
        assert not differences(of_seed(alone, seed), of_seed(together, seed))


@pytest.mark.parametrize("optimizer", OWN)
@pytest.mark.parametrize("seeds", mostly_slow([[0], SEEDS], SEEDS))
def test_a_run_with_an_optimizer_of_ones_own_is_resumed_bit_for_bit(
    optimizer: str, seeds: list[int], parts: Parts, tmp_path: Path
) -> None:
    wanted = changes(optimizer, seeds=seeds)
    unbroken = trained(planned(parts, **wanted), tmp_path)
    run = trained(planned(parts, **wanted), tmp_path, stop_after=2)
    go_on(run, wanted, parts)
    assert not differences(outcome(unbroken), outcome(run))


def test_a_claim_to_work_element_by_element_is_tried(parts: Parts) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(parts, **changes("boasting"))
    assert "one optimizer for two weights updates them otherwise" in str(refused.value.mistakes[0])


def test_an_optimizer_that_fails_where_its_claim_is_tried_is_refused_with_the_reason(parts: Parts) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(parts, **changes("picky"))
    [mistake] = map(str, refused.value.mistakes)
    assert "optimizer: picky fails on a matrix and a vector, on which it is tried: linalg" in mistake


def test_a_mistake_elsewhere_is_none_of_an_optimizer_of_matrices_and_vectors(parts: Parts) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(parts, **changes("decaying", loss="l1"))
    assert len(refused.value.mistakes) == 1


def test_seeds_that_an_optimizer_would_couple_are_not_stacked(parts: Parts) -> None:
    plan = planned(parts, **changes("normed", seeds=[0, 1], stacked=True))
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    assert "Normed looks at a weight as a whole" in str(refused.value.mistakes[0])


def test_every_optimizer_of_dlrun_keeps_weights_apart_and_says_so() -> None:
    for name in Parts().names("optimizer"):
        plan = planned(optimizer={"name": name, "lr": 0.1})
        looks_at_tensors = name in ("adafactor", "lamb", "muon")
        of_each = plan.optimizers(plan.model()).takes_closure or looks_at_tensors
        assert plan.optimizer.is_elementwise is not of_each, name


@pytest.mark.parametrize("optimizer", ["signs", "ripening"])
def test_an_earlier_run_with_one_optimizer_for_all_seeds_goes_on(
    optimizer: str, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = changes(optimizer, seeds=SEEDS)
    unbroken = trained(planned(parts, **wanted), tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr(OptimizerPart, "of", in_one)
        run = trained(planned(parts, **wanted), tmp_path, stop_after=2)
    go_on(run, wanted, parts)
    assert not differences(outcome(unbroken), outcome(run))


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [("normed", "normed was one optimizer for all seeds"), ("thorough", "cannot be parted")],
)
def test_an_earlier_run_that_cannot_go_on_as_it_was_is_refused_with_the_reason(
    optimizer: str, said: str, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = changes(optimizer, seeds=SEEDS)
    with monkeypatch.context() as earlier:
        earlier.setattr(OptimizerPart, "of", in_one)
        run = trained(planned(parts, **wanted), tmp_path, stop_after=2)
    with pytest.raises(CheckpointRefused) as refused:
        go_on(run, wanted, parts)
    assert said in refused.value.what


# ------------------------------------------------------------------------ closures


def noted(plan: Plan) -> list[list[list[tuple[float, float]]]]:
    """For each seed and each step the loss and the length of the gradient at each call of the closure."""
    hardware, loaded = plan.hardware(), plan.load()
    state = plan.state(hardware)
    for _ in fit(state, loaded, plan.recipe, hardware):
        pass
    each: Any = state.optimizers.each
    return [[one.noted[step : step + 3] for step in range(0, len(one.noted), 3)] for one in each]


def test_a_closure_has_the_same_dropout_at_each_call_of_a_step(parts: Parts) -> None:
    mlp = {"name": "mlp", "hidden": [8], "dropout": 0.5}
    seeds = noted(planned(parts, **changes("asking", architecture=mlp, seeds=[0, 3])))
    assert len(seeds) == 2
    for steps in seeds:
        assert all(len(set(calls)) == 1 for calls in steps)
    still = changes("asking", architecture=mlp, seeds=[0], batch_size="full")
    [steps] = noted(planned(parts, **still | {"optimizer": {"name": "asking", "lr": 0.0}}))
    assert len({calls[0] for calls in steps}) == len(steps) > 1, "the mask of each step is another one"


def test_a_closure_gives_the_gradient_that_is_clipped_at_each_call(parts: Parts) -> None:
    free, clipped = (
        noted(planned(parts, **changes("asking", gradient_clip=clip, seeds=[0, 3]))) for clip in (None, 0.05)
    )
    lengths = [[length for steps in one for calls in steps for _, length in calls] for one in (free, clipped)]
    assert min(lengths[0]) > 0.05
    assert lengths[1] == pytest.approx([0.05] * len(lengths[1]), rel=1e-3)


# ------------------------------------------------------------------------ groups of weights


def test_weights_of_a_group_have_its_options_and_all_others_those_of_the_optimizer() -> None:
    plan = planned(
        optimizer={"name": "adamw", "lr": 0.02, "weight_decay": 0.3},
        groups=[
            {"match": "*.bias", "weight_decay": 0.0},
            {"match": "0.*", "lr": "0.1x"},
            {"match": "*", "beta1": 0.5},
        ],
    )
    model = plan.model([0])
    ours = plan.optimizers(model)
    other = plan.model([0])
    named = dict(other.copies[0].named_parameters())
    common = {"weight_decay": 0.3, "lr": 0.02}
    torchs = torch.optim.AdamW(
        [
            {"params": [named["0.bias"], named["2.bias"]], **common, "weight_decay": 0.0},
            {"params": [named["0.weight"]], **common, "lr": 0.002},
            {"params": [named["2.weight"]], **common, "betas": (0.5, 0.999)},
        ],
        fused=True,
    )
    for _ in range(3):
        for copy in (*model.copies, *other.copies):
            copy.zero_grad()
            copy(torch.ones(4, 2)).square().sum().backward()
        ours.step()
        torchs.step()
    assert not differences(model.copies[0].state_dict(), other.copies[0].state_dict())


@pytest.mark.parametrize("optimizer", ["adamw", "normed", "sgd_scratch"])
def test_a_run_with_groups_is_resumed_bit_for_bit_and_each_seed_is_as_alone(
    optimizer: str, parts: Parts, tmp_path: Path
) -> None:
    wanted: dict[str, Any] = {
        "optimizer": {"name": optimizer, "lr": 0.05},
        "groups": [{"match": "2.*", "lr": "0.1x"}],
        "schedule": "cosine",
        "seeds": [0, 3],
    }
    whole = trained(planned(parts, **wanted), tmp_path / "a")
    halves = trained(planned(parts, **wanted), tmp_path / "b", stop_after=1)
    go_on(halves, wanted, parts)
    assert not differences(outcome(whole), outcome(halves))
    alone = trained(planned(parts, **wanted | {"seeds": [3]}), tmp_path / "c")
    assert not differences(of_seed(whole, 3), of_seed(alone, 3))
    without = trained(planned(parts, **wanted | {"groups": []}), tmp_path / "d")
    assert differences(of_seed(whole, 3), of_seed(without, 3))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("*.bias", "groups: '*.bias' is not a list of groups"),
        ([{"lr": 0.1}], "groups[0]: {'lr': 0.1} needs match"),
        ([{"match": "*.bias", "weigth_decay": 0.0}], "adam has no such option; did you mean 'weight_decay'?"),
        ([{"match": "*.bias", "lr": "a tenth"}], "groups[0].lr: 'a tenth' is not a number >= 0"),
        ([{"match": "head.*", "lr": 0.1}], "groups: 'head.*' matches no weight (there are: 0.weight, 0.bias"),
        (
            [{"match": "*"}, {"match": "*.bias"}],
            "groups: '*.bias' matches no weight that no earlier group has",
        ),
    ],
)
def test_a_group_that_is_none_is_refused(groups: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(groups=groups)
    [mistake] = map(str, refused.value.mistakes)
    assert said in mistake


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("by_itself", "0.5x is a factor of the lr of by_itself, whose lr is not a number; set optimizer.lr"),
        ("rateless", "0.5x is a factor of the lr of rateless, which has no option lr"),
    ],
)
def test_a_factor_of_a_rate_that_is_no_number_is_refused(optimizer: str, said: str, parts: Parts) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(parts, optimizer=optimizer, groups=[{"match": "*.bias", "lr": "0.5x"}])
    [mistake] = map(str, refused.value.mistakes)
    assert f"groups[0].lr: {said}" in mistake


def test_an_optimizer_with_a_rate_of_its_own_has_groups_with_theirs(parts: Parts) -> None:
    plan = planned(parts, optimizer="by_itself", groups=[{"match": "*.bias", "lr": 0.02}])
    assert [group["lr"] for group in plan.optimizers(plan.model()).param_groups] == [0.05, 0.02]
    plan = planned(
        parts, optimizer={"name": "by_itself", "lr": 0.1}, groups=[{"match": "*.bias", "lr": "0.5x"}]
    )
    assert [group["lr"] for group in plan.optimizers(plan.model()).param_groups] == [0.1, 0.05]


@pytest.mark.parametrize("options", [{"lr": "0.5x"}, {"history": 3}])
def test_groups_are_refused_for_an_optimizer_whose_step_takes_none(options: dict[str, Any]) -> None:
    lbfgs = {"optimizer": {"name": "lbfgs"}, "batch_size": "full"}
    with pytest.raises(ConfigError) as refused:
        planned(**lbfgs, groups=[{"match": "*.bias", **options}])
    [mistake] = map(str, refused.value.mistakes)
    assert "lbfgs makes no step of weights in groups: Expected exactly one param_group, but got 2" in mistake
    assert planned(**lbfgs, groups=[{"match": "*", **options}])


def test_the_remedy_for_an_optimizer_without_groups_names_the_keys_that_made_them() -> None:
    with pytest.raises(ConfigError) as refused:
        planned(optimizer={"name": "lbfgs"}, batch_size="full", layer_decay=0.5)
    [mistake] = map(str, refused.value.mistakes)
    assert mistake.endswith("but got 2; leave layer_decay out, or take another optimizer")


def test_an_optimizer_that_cannot_be_tried_on_small_weights_has_groups(parts: Parts) -> None:
    assert planned(parts, **changes("wide", groups=[{"match": "*.bias", "lr": "0.5x"}]))


# ------------------------------------------------------------------------ rates by depth, and decay

DECAYING = {"name": "adamw", "lr": 0.01, "weight_decay": 0.1}
DECAYLESS = {"name": "sgd_scratch", "lr": 0.1}
NORMED = {"name": "mlp", "hidden": [8, 6], "batch_norm": True}


def test_blocks_learn_more_slowly_the_earlier_they_are_and_some_weights_do_not_decay() -> None:
    plan = planned(
        architecture=NORMED,
        optimizer={"name": "adamw", "lr": 0.02, "weight_decay": 0.3},
        layer_decay=0.5,
        no_decay=["bias", "norm"],
        groups=[{"match": "0.weight", "weight_decay": 0.1}],
    )
    model, other = plan.model([0]), plan.model([0])
    ours = plan.optimizers(model)
    blocks = ["6", "4", "3", "1", "0"]  # linear and normalisation layers, the last one first
    torchs = torch.optim.AdamW(
        [
            {
                "params": [weight],
                "lr": 0.02 * 0.5 ** blocks.index(name.partition(".")[0]),
                "weight_decay": 0.1 if name == "0.weight" else 0.3 if name in ("3.weight", "6.weight") else 0,
                "betas": (0.9, 0.999),
            }
            for name, weight in other.copies[0].named_parameters()
        ],
        fused=True,
    )
    for _ in range(3):
        for copy in (*model.copies, *other.copies):
            copy.zero_grad()
            copy(torch.linspace(-1, 1, 10).view(5, 2)).square().sum().backward()
        ours.step()
        torchs.step()
    assert not differences(model.copies[0].state_dict(), other.copies[0].state_dict())


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("layer1.0.conv2.weight", "layer1.0"),
        ("fc.bias", "fc"),
        ("encoder.layers.encoder_layer_3.mlp.0.weight", "encoder.layers.encoder_layer_3"),
        ("features.12.block.1.bias", "features.12"),
        ("class_token", "class_token"),
        ("0.weight", "0"),
    ],
)
def test_the_block_of_a_weight_is_the_layer_of_a_list_or_the_first_name(name: str, block: str) -> None:
    assert block_of(name) == block


def test_a_run_with_rates_by_depth_is_resumed_bit_for_bit_and_shows_the_highest_rate(tmp_path: Path) -> None:
    wanted: dict[str, Any] = {
        "optimizer": {"name": "sgd", "lr": 0.05, "weight_decay": 0.1, "momentum": 0.9},
        "layer_decay": 0.7,
        "no_decay": ["bias"],
        "freeze": ["0.*"],
        "freeze_epochs": 1,
        "seeds": [0, 3],
    }
    whole = trained(planned(**wanted), tmp_path / "a")
    halves = trained(planned(**wanted), tmp_path / "b", stop_after=1)
    go_on(halves, wanted)
    assert not differences(outcome(whole), outcome(halves))
    assert {*whole.rows()["lr"]} == {0.05}
    without = trained(planned(**wanted | {"layer_decay": 1.0}), tmp_path / "c")
    assert differences(of_seed(whole, 3), of_seed(without, 3))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"no_decay": ["bias"]}, "no_decay: it changes nothing: weight_decay is 0"),
        (
            {"no_decay": ["norm"], "optimizer": DECAYING},
            "no_decay: 'norm' matches no weight (there are: 0.weight",
        ),
        ({"no_decay": ["fc.*"], "optimizer": DECAYING}, "no_decay: 'fc.*' matches no weight"),
        (
            {"no_decay": ["bias"], "optimizer": {"name": "sgd_scratch", "lr": 0.1}},
            "sgd_scratch has no weight_decay",
        ),
        ({"layer_decay": 1.5}, "layer_decay: 1.5 is not"),
        ({"layer_decay": 0.5, "optimizer": "by_itself"}, "by_itself has no rate that it could lower"),
    ],
)
def test_rates_by_depth_and_weights_without_decay_that_do_nothing_are_refused(
    changes: dict[str, Any], said: str, parts: Parts
) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(parts, **changes)
    [mistake] = map(str, refused.value.mistakes)
    assert said in mistake
