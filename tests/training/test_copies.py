"""Several seeds as one model, each of them as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SMALL_CNN, differences, outcome, own_parts, planned, started, trained
from torch import Tensor, nn

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.training.copies import Apart, Stacked, as_tensor
from dlrun.training.evaluation import evaluate_run
from dlrun.training.experiment import train_run
from dlrun.training.loop import fit
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan import Plan
from dlrun.training.plan_trials import try_on
from dlrun.training.recipe import Row
from dlrun.training.state import State
from dlrun.training.views import HiddenTraining


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach() for p in module.parameters()]


def test_a_copy_starts_from_its_seed_as_plain_pytorch_would() -> None:
    model = Apart(build, [4, 0])
    for copy, seed in zip(model.copies, [4, 0], strict=True):
        torch.manual_seed(seed)
        assert all(torch.equal(*pair) for pair in zip(weights(copy), weights(build()), strict=True))
    assert not torch.equal(weights(model.copies[0])[0], weights(model.copies[1])[0])


def test_building_the_copies_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    Apart(build, [0, 1])
    assert torch.equal(before, torch.get_rng_state())


def test_axis_0_is_the_seed() -> None:
    model = Apart(build, [4, 0]).eval()
    inputs = torch.randn(2, 7, 3)
    outputs = as_tensor(model(inputs))
    assert outputs.shape == (2, 7, 2)
    for index, copy in enumerate(model.copies):
        assert torch.equal(outputs[index], copy(inputs[index]))


def test_one_seed_is_no_special_case() -> None:
    alone, among = Apart(build, [3]), Apart(build, [1, 3])
    inputs = torch.randn(1, 7, 3)
    alone.begin(1)
    among.begin(1)
    for _ in range(3):
        outputs = alone(inputs)
        assert as_tensor(outputs).shape == (1, 7, 2)
        assert torch.equal(outputs[0], among(inputs.expand(2, 7, 3))[1])


def test_dropout_is_a_function_of_seed_and_epoch() -> None:
    inputs = torch.randn(1, 50, 3).expand(2, 50, 3)

    def drawn(seeds: list[int], epoch: int, noise: int) -> list[Tensor]:
        model = Apart(build, seeds)
        torch.manual_seed(noise)
        model.begin(epoch)
        first = as_tensor(model(inputs[: len(seeds)]))
        torch.manual_seed(noise + 1)  # what others draw in between changes nothing
        return [first, as_tensor(model(inputs[: len(seeds)]))]

    one, two = drawn([3, 8], 2, noise=0)
    again = drawn([3, 8], 2, noise=5)
    assert torch.equal(one, again[0])
    assert torch.equal(two, again[1])
    assert not torch.equal(one, two), "each step is drawn anew"
    assert not torch.equal(one, drawn([3, 8], 3, noise=0)[0]), "each epoch too"
    alone = drawn([8], 2, noise=7)
    assert torch.equal(alone[0][0], one[1])
    assert torch.equal(alone[1][0], two[1])


def test_copies_do_not_share_their_dropout() -> None:
    model = Apart(lambda: nn.Dropout(0.5), [0, 1])
    model.begin(1)
    zero, one = model(torch.ones(2, 100))
    assert not torch.equal(zero, one)


def test_evaluating_draws_nothing() -> None:
    model = Apart(build, [0, 1])
    model.begin(1)
    model.eval()
    before = torch.get_rng_state()
    once, again = (as_tensor(model(torch.ones(2, 4, 3))) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(before, torch.get_rng_state())


def test_each_takes_one_copy_at_a_time() -> None:
    a, b = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    seen = []

    def distance(x: Tensor, y: Tensor) -> Tensor:
        seen.append(x.shape)
        return (x - y).norm(dim=1)

    model = Apart(build, [0, 1, 2])
    assert torch.equal(as_tensor(model.each(distance, a, b)), (a - b).norm(dim=2))
    assert seen == [(5, 2)] * 3
    with pytest.raises(ValueError, match="zip"):
        model.each(distance, a, b[:2])


def test_sums_are_taken_with_all_digits() -> None:
    figures = torch.tensor([[1e8, 1.0, 1.0], [2.0, 3.0, 4.0]])
    assert as_tensor(Apart(build, [0, 1]).sums(figures)).tolist() == [1e8 + 2, 9.0]


def test_a_single_copy_is_not_copied() -> None:
    tensor = torch.randn(4)
    assert as_tensor([tensor]).data_ptr() == tensor.data_ptr()
    assert as_tensor([tensor]).shape == (1, 4)


# ------------------------------------------------------------------------------------ stacked


class ToDouble(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.double()


class Double(nn.Module):
    """A model in float64, which leaves only mistakes to differ by, not the order of sums."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.double()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.module(inputs.double())
        return outputs


IN_FLOAT64: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as a whole": Double,
    "layer by layer": lambda model: nn.Sequential(ToDouble(), model.double()),
}


SEEDS = [7, 0, 2]
STACKABLE: dict[str, dict[str, Any]] = {
    "plain": {},
    "full batch": {"batch_size": "full"},
    "dropout and noise": {
        "architecture": {"name": "mlp", "hidden": [8, 8], "dropout": 0.4},
        "augmentations": [{"name": "noise", "sd": 0.3}],
    },
    "batch normalisation": {
        "architecture": {"name": "mlp", "hidden": [8], "batch_norm": True, "dropout": 0.2}
    },
    "convolutions": {
        "dataset": "dots",
        "architecture": SMALL_CNN,
        "augmentations": [{"name": "crop", "padding": 1}, "flip"],
    },
    "lenet": {"dataset": "mnist_sized", "architecture": "lenet"},
    "from scratch": {
        "architecture": {"name": "mlp_scratch", "hidden": [6]},
        "loss": "cross_entropy_scratch",
        "optimizer": {"name": "sgd_scratch", "lr": 0.1},
    },
    "hardly clipped": {"gradient_clip": 100.0, "optimizer": {"name": "sgd", "lr": 0.5}},
    "a frozen weight, an activation that stands twice, a weight of no axis": {
        "architecture": "odd",
        "gradient_clip": 0.05,
    },
    "sequences": {"architecture": "sequences"},
    "clipped": {"gradient_clip": 0.1, "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.9}},
    "regression": {
        "dataset": {"name": "line", "valid_fraction": 0.2},
        "loss": "mse",
        "metrics": ["rmse", "r2"],
        "optimizer": {"name": "rmsprop", "lr": 0.01, "momentum": 0.5},
    },
    "two classes": {"dataset": {"name": "spiral", "points": 20, "classes": 2}, "loss": "bce"},
    "weight decay and a schedule": {
        "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1},
        "schedule": "one_cycle",
    },
}
ODD = '''
"""Layers as one may meet them."""
import torch
from torch import nn


class Warm(nn.Module):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs):
        return inputs * self.temperature


def odd(shape, outputs):
    """A frozen layer, a shared activation and a weight of no axis."""
    relu, first = nn.ReLU(), nn.Linear(*shape, 8)
    first.weight.requires_grad_(False)
    return nn.Sequential(first, relu, nn.Linear(8, 8, bias=False), relu, nn.Linear(8, outputs), Warm())
'''
SEQUENCES = '''
"""Inputs with more axes than one."""
from torch import nn


def sequences(shape, outputs):
    """The same layer for each of two steps."""
    steps = nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Linear(1, 4), nn.Tanh())
    return nn.Sequential(steps, nn.Flatten(), nn.Linear(8, outputs))
'''
MNIST_SIZED = '''
"""A few random images as large as lenet wants them."""
import torch
from dlrun.data.examples import Data, Examples


def mnist_sized(root):
    """uint8 images of 1×28×28 pixels."""

    def read():
        stream = torch.Generator().manual_seed(6)
        return {name: Examples(torch.randint(0, 255, (20, 1, 28, 28), generator=stream, dtype=torch.uint8),
                               torch.arange(20) % 3) for name in ("train", "test")}

    return Data("classification", (1, 28, 28), read, classes=("a", "b", "c"))
'''


def trained_in_float64(plan: Plan, model: Apart | Stacked) -> tuple[State, list[Row]]:
    loaded = plan.load()
    hardware = plan.hardware(loaded)
    state = State(model, plan.optimizers(model))
    return state, list(fit(state, loaded, plan.recipe, hardware))


def stackable(folder: Path, kind: str, **changes: Any) -> Plan:
    own = {"dataset/mnist_sized": MNIST_SIZED, "architecture/odd": ODD, "architecture/sequences": SEQUENCES}
    parts = own_parts(folder, {f"{name}.py": text for name, text in own.items()})
    return planned(parts, **(STACKABLE[kind] | changes))


@pytest.mark.parametrize("how", IN_FLOAT64)
@pytest.mark.parametrize("kind", STACKABLE)
def test_stacked_copies_learn_what_they_learn_apart(tmp_path: Path, kind: str, how: str) -> None:
    plan = stackable(tmp_path, kind, seeds=SEEDS, epochs=4)
    plan = replace(plan, build=lambda build=plan.build: IN_FLOAT64[how](build()))
    apart, rows = trained_in_float64(plan, Apart(plan.build, SEEDS))
    stacked, rows_of_stacked = trained_in_float64(plan, Stacked(Apart(plan.build, SEEDS)))
    for one, other in zip(apart.model.copies, stacked.model.copies, strict=True):
        torch.testing.assert_close(other.state_dict(), one.state_dict(), rtol=1e-8, atol=1e-11)
    for row, other_row in zip(rows, rows_of_stacked, strict=True):
        for column in row.keys() - {"seconds"}:
            assert other_row[column] == pytest.approx(row[column], rel=1e-8, abs=1e-11), column
    started = Apart(plan.build, SEEDS).copies[0].state_dict()
    assert differences(started, stacked.model.copies[0].state_dict()), "nothing was learnt"


@pytest.mark.parametrize("kind", STACKABLE)
def test_what_learns_the_same_is_not_refused(tmp_path: Path, kind: str) -> None:
    plan = stackable(tmp_path, kind, seeds=SEEDS, stacked=True)
    try_on(plan, plan.load())


def test_stacked_sums_are_taken_with_all_digits() -> None:
    figures = torch.tensor([[1e8, 1.0, 1.0], [2.0, 3.0, 4.0]])
    assert as_tensor(Stacked(Apart(build, [0, 1])).sums(figures)).tolist() == [1e8 + 2, 9.0]


@pytest.mark.parametrize("model", [Apart(build, [0, 1]), Stacked(Apart(build, [0, 1]))])
def test_outputs_of_a_forward_pass_in_low_precision_are_float32(model: Apart | Stacked) -> None:
    inputs = torch.randn(2, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = as_tensor(model.eval()(inputs))
    assert outputs.dtype == torch.float32
    assert torch.equal(outputs, outputs.bfloat16().float()), "they came as bfloat16"


def test_compiling_a_stacked_model_compiles_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda run: lambda *given: run(*given) + 1)
    model, inputs = Stacked(Apart(build, [0, 1])).eval(), torch.randn(2, 4, 3)
    before = model(inputs)
    model.compile()
    torch.testing.assert_close(model(inputs), before + 1)


COUNTING = '''
"""A layer that counts its calls."""
import torch
from torch import nn


class Tired(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.Linear(2, outputs)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs):
        self.calls.add_(1)
        return self.layer(inputs) / (1 + 0.01 * self.calls)


def counting(shape, outputs):
    """The more it is called, the less it gives."""
    return Tired(outputs)
'''
FROZEN = '''
"""A layer that its maker put into evaluation."""
from torch import nn


def frozen(shape, outputs):
    """Every epoch trains it, the first one too."""
    model = nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Linear(6, outputs))
    model[1].eval()
    return model
'''


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("architecture", ["counting", "frozen"])
def test_what_a_layer_keeps_resumes_as_if_it_never_stopped(
    tmp_path: Path, architecture: str, stacked: bool
) -> None:
    own = {"architecture/counting.py": COUNTING, "architecture/frozen.py": FROZEN}
    parts = own_parts(tmp_path, own)
    changes = {"architecture": architecture, "stacked": stacked, "seeds": [3, 1], "epochs": 4}
    unbroken = trained(planned(parts, **changes), tmp_path)
    run = started(planned(parts, **changes), tmp_path)
    for stop in (1, 2, None):
        train_run(planned(parts, **changes), run, HiddenTraining(), stop_after=stop)
    assert not differences(outcome(unbroken), outcome(run))


def test_the_copies_of_a_stacked_model_are_its_weights() -> None:
    build_normed = lambda: nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))  # noqa: E731
    model = Stacked(Apart(build_normed, [0, 1]))
    inputs = torch.randn(2, 7, 3)
    model.begin(1)
    model(inputs)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(1.5)
    model.eval()
    for index, copy in enumerate(model.copies):
        torch.testing.assert_close(model(inputs)[index], copy(inputs[index]))
        assert not copy.training
    assert int(model.copies[1][1].num_batches_tracked) == 1  # type: ignore[index,union-attr]
    assert len(list(model.parameters())) == 6
    assert [p.shape[0] for p in model.parameters()] == [2] * 6


@pytest.mark.parametrize("epochs", [[1, 3], [2, 3]])
def test_a_stacked_run_resumes_as_if_it_never_stopped(tmp_path: Path, epochs: list[int]) -> None:
    changes = {
        "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3, "batch_norm": True},
        "stacked": True,
        "seeds": [3, 1],
        "batch_size": 20,
        "epochs": 4,
    }
    unbroken, run = trained(planned(**changes), tmp_path), started(planned(**changes), tmp_path)
    for stop in epochs:
        train_run(planned(**changes), run, HiddenTraining(), stop_after=stop)
    train_run(planned(**changes), run, HiddenTraining())
    assert not differences(outcome(unbroken), outcome(run))


def test_evaluating_a_stacked_run_gives_what_was_recorded(tmp_path: Path) -> None:
    plan = planned(stacked=True, seeds=[0, 1, 2], evaluate_train_every=1)
    run = trained(plan, tmp_path)
    opened, saved = open_checkpoint(run.last, run, [], Parts(), tmp_path)
    assert isinstance(opened.model, Stacked)
    for split in ("train", "test"):
        recorded = evaluate_run(opened, saved, run.last, split)["recorded"]
        assert set(recorded) == {"loss", "accuracy"}
        assert [figure["difference"] for figure in recorded.values()] == [0.0, 0.0]


def test_a_single_seed_is_not_stacked() -> None:
    assert isinstance(planned(stacked=True, seeds=[4]).model(), Apart)
    assert isinstance(planned(stacked=True, seeds=[4, 5]).model(), Stacked)


UNSTACKABLE = {
    "architecture/recurrent.py": '''
"""A recurrent layer."""
from torch import nn

class Last(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.GRU(1, outputs, batch_first=True)

    def forward(self, x):
        return self.layer(x.unsqueeze(2))[1][0]

def recurrent(shape, outputs):
    """A recurrent layer."""
    return Last(outputs)
''',
    "architecture/tied.py": '''
"""Two layers that share their weights."""
from torch import nn

def tied(shape, outputs):
    """Two layers that share their weights."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, outputs))
    model[1].weight = model[0].weight
    return model
''',
    "architecture/twice.py": '''
"""One dropout in two places."""
from torch import nn

def twice(shape, outputs):
    """One dropout in two places."""
    dropout = nn.Dropout(0.5)
    return nn.Sequential(nn.Linear(2, 4), dropout, nn.Linear(4, 4), dropout, nn.Linear(4, outputs))
''',
    "architecture/functional.py": '''
"""Dropout that is no module."""
from torch import nn
import torch.nn.functional as F

class Dropping(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.Linear(2, outputs)

    def forward(self, x):
        return F.dropout(self.layer(x), 0.5, self.training)

def functional(shape, outputs):
    """Dropout that is no module."""
    return Dropping(outputs)
''',
    "architecture/ema.py": '''
"""A mean that moves, in a new tensor each time."""
import torch
from torch import nn

class Centred(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = nn.Linear(2, outputs)
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x):
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.mean(0).detach()
            return self.layer(x - x.mean(0))
        return self.layer(x - self.mean)

def ema(shape, outputs):
    """A mean that moves."""
    return Centred(outputs)
''',
    "loss/balanced.py": '''
"""Every class weighs the same in a batch."""
import torch
import torch.nn.functional as F

batchwise = True

def balanced(outputs, targets):
    """Cross entropy by the frequency of the class in the batch."""
    count = torch.bincount(targets, minlength=outputs.shape[1]).clamp(min=1)
    return F.cross_entropy(outputs, targets, reduction="none") * len(targets) / count[targets]
''',
    "architecture/hooked.py": '''
"""A gradient that is halved on its way."""
from torch import nn

def hooked(shape, outputs):
    """The first layer learns at half the rate."""
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, outputs))
    model[2].register_full_backward_hook(lambda module, given, of_outputs: (given[0] / 2,))
    return model
''',
    "optimizer/careful.py": '''
"""Steps of no more than a length."""
import torch

class Careful(torch.optim.Optimizer):
    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad * (100 / p.grad.norm()).clamp(max=1))

def careful(parameters, *, lr: float):
    """Steps of no more than a length."""
    return Careful(parameters, {"lr": lr})
''',
    "optimizer/remembering.py": '''
"""Steps that become shorter where the one before was long."""
import torch

class Remembering(torch.optim.Optimizer):
    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    before = self.state[p].get("length", 0.0)
                    self.state[p]["length"] = p.grad.norm()
                    p.sub_(group["lr"] * p.grad / (1 + before))

def remembering(parameters, *, lr: float):
    """Steps that become shorter where the one before was long."""
    return Remembering(parameters, {"lr": lr})
''',
    "optimizer/lars.py": '''
"""Steps as long as the weights."""
import torch

class Lars(torch.optim.Optimizer):
    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad * p.norm() / (p.grad.norm() + 1e-9))

def lars(parameters, *, lr: float):
    """Steps as long as the weights."""
    return Lars(parameters, {"lr": lr})
''',
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "recurrent"}, "a recurrent layer (GRU) cannot be stacked"),
        ({"architecture": "tied"}, "weights that two layers share cannot be stacked"),
        ({"architecture": "twice"}, "a dropout that is used in two places"),
        (
            {"architecture": "functional"},
            "at once: it draws random numbers by a function, the same for all of them; take nn.Dropout",
        ),
        (
            {"optimizer": {"name": "lars", "lr": 0.1}},
            "Lars looks at a weight as a whole, and treats two seeds as one",
        ),
        ({"optimizer": {"name": "careful", "lr": 0.1}}, "Careful looks at a weight as a whole"),
        ({"optimizer": {"name": "remembering", "lr": 0.1}}, "Remembering looks at a weight as a whole"),
        ({"architecture": "hooked"}, "two seeds learn differently than apart"),
        ({"architecture": "ema"}, "the state of a layer has to be a registered buffer, changed in place"),
        ({"loss": "balanced"}, "balanced looks at its batch as a whole"),
        (
            {"precision": "bfloat16", "architecture": {"name": "mlp", "batch_norm": True}},
            "bfloat16 does not reach BatchNorm1d, which is run by vmap; take float32",
        ),
        ({"precision": "float16"}, "float16 scales the loss of each seed apart; take bfloat16"),
    ],
)
def test_what_cannot_be_stacked_is_refused_before_training(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    parts = own_parts(tmp_path, UNSTACKABLE)
    apart = planned(parts, **changes, seeds=[0, 1])
    try_on(apart, apart.load())
    with pytest.raises(ConfigError) as refused:
        plan = planned(parts, **changes, seeds=[0, 1], stacked=True)
        try_on(plan, plan.load())
    [mistake] = map(str, refused.value.mistakes)
    assert "stacked" in mistake
    assert said in mistake


ELEMENTWISE = [
    name
    for name in Parts().names("optimizer")
    if Parts().part("optimizer", name).constants.get("elementwise")
]


def test_what_every_shipped_part_makes_can_be_stacked() -> None:
    for optimizer in ELEMENTWISE:
        plan = planned(optimizer={"name": optimizer, "lr": 0.01}, seeds=[0, 1], stacked=True)
        try_on(plan, plan.load())
