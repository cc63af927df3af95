"""A part that would make a run unrepeatable is found before there is a folder, and named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_runs import differences, of_seed, own_parts, planned, trained

from dlrun.config.mistakes import ConfigError
from dlrun.errors import own_place
from dlrun.training.evaluation import evaluate_run
from dlrun.training.layers import LARGE
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_trials import try_on

DATASET = '''
"""Points from a generator."""
import random
import numpy as np
import torch
from dlrun.data.examples import Data, Examples


def drawn(root):
    """Two classes."""
    def read():
        {seeding}
        x = torch.tensor(np.random.rand(20, 2), dtype=torch.float32)
        return {"train": Examples(x, torch.arange(20) % 2), "test": Examples(x, torch.arange(20) % 2)}
    return Data("classification", (2,), read, classes=("a", "b"))
'''
ARCHITECTURE = '''
"""A layer that begins somewhere."""
import numpy as np
import torch
from torch import nn


def begun(shape, outputs):
    """A linear layer with weights from numpy."""
    layer = nn.Linear(shape[0], outputs)
    layer.weight.data = torch.tensor(np.random.rand(outputs, shape[0]), dtype=torch.float32)
    return layer
'''
NOISY = '''
"""A layer with noise from elsewhere."""
import random
from torch import nn


class Noisy(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) + (random.random() if self.training else 0.0)


def noisy(shape, outputs):
    """A linear layer with noise."""
    return Noisy(shape[0], outputs)
'''
LOSS = '''
"""A loss that forgets some examples."""
import random
import torch.nn.functional as F
task = "classification"


def forgetful(outputs, targets):
    """Cross entropy, sometimes."""
    return F.cross_entropy(outputs, targets, reduction="none") * random.random()
'''
METRIC = '''
"""A metric that guesses."""
import numpy as np
import torch
task = "classification"


def guessing(outputs, targets):
    """A coin."""
    return torch.tensor(np.random.rand(len(targets)))
'''
AUGMENTATION = '''
"""Noise from numpy."""
import numpy as np
import torch


def shaken(inputs, generator):
    """Noise."""
    return inputs + torch.tensor(np.random.rand(*inputs.shape), dtype=inputs.dtype)
'''
PARTS = {
    "dataset/drawn.py": DATASET.replace("{seeding}", "pass"),
    "architecture/begun.py": ARCHITECTURE,
    "architecture/noisy.py": NOISY,
    "loss/forgetful.py": LOSS,
    "metrics/guessing.py": METRIC,
    "augmentations/shaken.py": AUGMENTATION,
}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("dataset", "drawn"),
        ("architecture", "begun"),
        ("architecture", "noisy"),
        ("loss", "forgetful"),
        ("metrics", "guessing"),
        ("augmentations", "shaken"),
    ],
)
def test_a_part_that_draws_from_elsewhere_is_named(key: str, name: str, tmp_path: Path) -> None:
    plan = planned(
        own_parts(tmp_path, PARTS), **{key: [name] if key in ("metrics", "augmentations") else name}
    )
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    [mistake] = refused.value.mistakes
    assert (mistake.key, f"{name} is not repeatable" in str(mistake)) == (key, True)


def test_all_of_them_are_named_at_once(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path, PARTS), architecture="begun", loss="forgetful", metrics=["guessing"])
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    assert [mistake.key for mistake in refused.value.mistakes] == ["architecture", "loss", "metrics"]


@pytest.mark.parametrize("points", ["torch.rand(20, 2).numpy()", "np.random.rand(20, 2)"])
def test_a_dataset_that_draws_without_a_seed_is_told_what_to_draw_from(points: str, tmp_path: Path) -> None:
    text = DATASET.replace("{seeding}", "pass").replace("np.random.rand(20, 2)", points)
    plan = planned(own_parts(tmp_path, {"dataset/drawn.py": text}), dataset="drawn")
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    [mistake] = refused.value.mistakes
    assert mistake.what.endswith("read twice, its examples differ; it may draw without a seed")
    assert "torch.Generator().manual_seed(0)" in mistake.fix


def test_numbers_from_a_seeded_generator_are_fine(tmp_path: Path) -> None:
    parts = {"dataset/drawn.py": DATASET.replace("{seeding}", "np.random.seed(3)")}
    plan = planned(own_parts(tmp_path, parts), dataset="drawn")
    try_on(plan, plan.load())


# ------------------------------------------------------------------------ models that read values

DEPTHS = '''
"""A residual network with stochastic depth, as it is usually written."""
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.layer, self.norm, self.drop = nn.Linear(width, width), nn.BatchNorm1d(width), drop

    def forward(self, x):
        if self.training and torch.rand(1).item() < self.drop:
            return x
        return x + self.norm(self.layer(x))


def depths(shape, outputs, *, layers: int = 3, width: int = 8):
    """Blocks that are dropped more often the deeper they are."""
    rates = [rate.item() for rate in torch.linspace(0, 0.5, layers)]
    blocks = [Block(width, rate) for rate in rates]
    return nn.Sequential(nn.Linear(shape[0], width), *blocks, nn.Linear(width, outputs))
'''


@pytest.mark.parametrize("width", [8, 1900], ids=["small", "large"])  # large: more than LARGE parameters
def test_a_model_that_reads_values_while_it_is_made_trains_and_is_evaluated(
    width: int, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, {"architecture/depths.py": DEPTHS})
    sgd = {"name": "sgd", "lr": 0.01}
    plan = planned(parts, architecture={"name": "depths", "width": width}, epochs=1, optimizer=sgd)
    assert (plan.layers.parameters > LARGE) is (width > 8)
    run = trained(plan, tmp_path)
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.best, "test")
    assert report["recorded"]["loss"]["difference"] == 0
    assert sum(layer.parameters for layer in plan.layers.layers) == plan.layers.parameters


def test_a_model_that_reads_values_is_tried_on_a_batch_of_one(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"architecture/depths.py": DEPTHS})
    plan = planned(parts, architecture="depths", batch_size=59)  # of 60
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    assert "batch normalisation has no variance" in str(refused.value.mistakes[0])


LAZY = '''
from torch import nn


def {name}(shape, outputs, *, units: int = 4):
    """A model whose layers find out their inputs, or are told them."""
    return nn.Sequential({first}, {norm}, nn.ReLU(), {last})
'''


def test_lazy_layers_begin_with_the_weights_of_those_that_are_told_their_inputs(tmp_path: Path) -> None:
    lazy = {"first": "nn.LazyLinear(units)", "norm": "nn.LazyBatchNorm1d()", "last": "nn.LazyLinear(outputs)"}
    told = {
        "first": "nn.Linear(shape[0], units)",
        "norm": "nn.BatchNorm1d(units)",
        "last": "nn.Linear(units, outputs)",
    }
    files = {
        f"architecture/{name}.py": LAZY.format(name=name, **layers)
        for name, layers in (("lazy", lazy), ("told", told))
    }
    parts = own_parts(tmp_path, files)
    runs = {name: trained(planned(parts, architecture=name), tmp_path) for name in ("lazy", "told")}
    assert not differences(of_seed(runs["lazy"], 0), of_seed(runs["told"], 0))
    model, saved = open_checkpoint(runs["lazy"].best, runs["lazy"], [], parts, Path("no-data"))
    assert evaluate_run(model, saved, runs["lazy"].best, "test")["recorded"]["loss"]["difference"] == 0


# ------------------------------------------------------------------------ usual slips

MODEL = '''
"""A model with a mistake."""
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, shape, outputs):
        super().__init__()
        {init}

    def forward(self, x):
        {forward}


def slip(shape, outputs):
    """A model."""
    {made}
'''
MODELS = {
    "no gradient": (
        "self.layer = nn.Linear(2, outputs)",
        "return torch.from_numpy(self.layer(x).detach().numpy())",
        "return Model(shape, outputs)",
        "the outputs of slip have no gradient: its forward leaves PyTorch, by numpy or detach",
    ),
    "a dict of layers": (
        "self.known, self.more = nn.Linear(2, outputs), {'a': nn.Linear(2, outputs)}",
        "return self.known(x) + self.more['a'](x)",
        "return Model(shape, outputs)",
        "more of slip is a dict: what it holds is never saved; take nn.ModuleDict",
    ),
    "its inputs": (
        "self.layer = nn.Linear(2, outputs)",
        "return self.layer(x.relu_())",
        "return Model(shape, outputs)",
        "slip changes its inputs in place, which other epochs and seeds see too",
    ),
    "nothing": ("pass", "pass", "return None if shape else 1", "it gives None instead of an nn.Module"),
    "no output": (
        "self.layer = nn.Linear(2, outputs)",
        "self.layer(x)",
        "return Model(shape, outputs)",
        "the model gives a NoneType instead of a tensor",
    ),
    "a tuple": (
        "self.layer = nn.Linear(2, outputs)",
        "return self.layer(x), x",
        "return Model(shape, outputs)",
        "the model gives a tuple instead of a tensor",
    ),
    "a list of layers": (
        "self.layers = [nn.Linear(2, outputs)]",
        "return self.layers[0](x)",
        "return Model(shape, outputs)",
        "layers in a plain list are not found, take nn.ModuleList",
    ),
    "frozen": (
        "self.layer = nn.Linear(2, outputs).requires_grad_(False)",
        "return self.layer(x)",
        "return Model(shape, outputs)",
        "no parameter of the model wants a gradient",
    ),
    "dropout that never ends": (
        "self.layer = nn.Linear(2, outputs)",
        "return nn.functional.dropout(self.layer(x), 0.5)",
        "return Model(shape, outputs)",
        "slip is random in evaluation: run twice, its outputs differ",
    ),
    "a norm over the batch": (
        "self.layer = nn.Linear(2, outputs)",
        "return self.layer((x - x.mean(0)) / (x.std(0) + 1))",
        "return Model(shape, outputs)",
        "slip mixes examples",
    ),
    "sequence first": (
        "self.layer = nn.GRU(2, 4); self.head = nn.Linear(4, outputs)",
        "return self.head(self.layer(x.unsqueeze(1))[0][:, -1])",
        "return Model(shape, outputs)",
        "slip mixes examples",
    ),
    "another shape in training": (
        "self.layer = nn.Linear(2, outputs)",
        "return self.layer(x).view(1, -1) if self.training else self.layer(x)",
        "return Model(shape, outputs)",
        "slip gives 1×180 as outputs in training, but 60×3 in evaluation",
    ),
    "a counter": (
        "self.layer = nn.Linear(2, outputs); self.calls = 0",
        "self.calls += self.training; return self.layer(x) / (1 + self.calls)",
        "return Model(shape, outputs)",
        "slip keeps state outside of its parameters and buffers, such as a counter",
    ),
    "its own seed": (
        "torch.manual_seed(0); self.layer = nn.Linear(2, outputs)",
        "return self.layer(x)",
        "return Model(shape, outputs)",
        "slip sets the random seed itself, so that all seeds begin with the same weights",
    ),
}
FINE = {
    "a counter in a buffer": (
        "self.layer = nn.Linear(2, outputs); self.register_buffer('calls', torch.zeros(()))",
        "self.calls += float(self.training); return self.layer(x) / (1 + self.calls)",
    ),
    "spectral norm": (
        "self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(2, outputs))",
        "return self.layer(x)",
    ),
    "norm and dropout": (
        "self.layers = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))",
        "return self.layers(x)",
    ),
    "zeros": (
        "self.layer = nn.Linear(2, outputs); [nn.init.zeros_(p) for p in self.layer.parameters()]",
        "return self.layer(x)",
    ),
}
JUDGE = '''
"""A loss or a metric with a mistake."""
import numpy as np
import torch
import torch.nn.functional as F
task = "classification"
{more}


def slip(outputs, targets):
    """A figure."""
    {body}
'''
LOSSES = {
    "of probabilities": (
        "",
        "return -outputs.gather(1, targets[:, None]).squeeze(1).log()",
        "slip takes probabilities, and the outputs of a model are taken for logits; leave out the softmax",
    ),
    "of one probability": (
        "def outputs(data):\n    return 1",
        "return F.binary_cross_entropy(outputs.squeeze(1), (targets > 0).float(), reduction='none')",
        "takes 1 outputs for 3 classes",
    ),
    "the negative": (
        "",
        "return F.cross_entropy(-outputs, targets, reduction='none')",
        "slip is not smaller where the output of the true class is the largest; define probabilities",
    ),
    "nothing": ("", "if targets is None: return 1", "slip gives None: does it end without a return?"),
    "a mean": (
        "",
        "return F.cross_entropy(outputs, targets)",
        'take reduction="none"; or set batchwise = True',
    ),
    "numpy": ("", "return np.zeros(len(targets))", "slip gives a ndarray instead of a tensor"),
    "detached": (
        "",
        "return F.cross_entropy(outputs, targets, reduction='none').detach()",
        "slip has no gradient",
    ),
    "mistakes": ("", "return (outputs.argmax(1) != targets).long()", "slip gives int64, not floating-point"),
    "no arguments": (
        "def outputs(): return 3",
        "return outputs[:, 0]",
        "outputs() of slip does not take what dlrun passes, data: too many positional arguments; write def",
    ),
    "a constant": (
        "def constant(shares): return shares[:1]",
        "return F.cross_entropy(outputs, targets, reduction='none')",
        "constant() of slip gives shape (1,), but it needs (3,)",
    ),
    "a constant task": (
        "task = 3",
        "return outputs[:, 0]",
        "slip.py has task = 3, which must be the name of",
    ),
    "outputs": ("outputs = 3", "return outputs[:, 0]", "outputs of slip is 3, not a function"),
    "probabilities": (
        "def probabilities(outputs): return outputs.softmax(-1)[..., 0]",
        "return outputs[:, 0]",
        "probabilities() of slip gives (2,): for outputs of shape (2, 3) it needs (2, 3)",
    ),
    "no probabilities": (
        "def probabilities(outputs): outputs.softmax(-1)",
        "return outputs[:, 0]",
        "probabilities() of slip gives NoneType",
    ),
}
METRICS = {
    "nothing": ("", "if targets is None: return 1", "slip gives None: does it end without a return?"),
    "a mean": ("", "return (outputs.argmax(1) == targets).float().mean()", "or set whole = True"),
    "numpy": ("", "return np.zeros(len(targets))", "slip gives a ndarray instead of a tensor"),
    "complex": ("", "return outputs[:, 0] * 1j", "slip gives complex64, not floating-point numbers"),
    "no finish": ("finish = 3", "return outputs[:, 0]", "finish of slip is 3, not a function"),
    "a key": ("", "return {}['a']", "slip does not fit outputs of 3 and such targets: KeyError: 'a'"),
    "better": (
        'better = "max"',
        "return outputs[:, 0]",
        'better = \'max\', which must be "higher" or "lower"',
    ),
    "finish": (
        "def finish(means): means[0]",
        "return outputs[:, 0]",
        "finish() of slip gives None instead of a number",
    ),
    "several": (
        "whole = True",
        "return outputs[:, 0]",
        "slip has whole = True, so it needs one figure for all",
    ),
}
SCHEDULE = '''
"""A rate with a mistake."""
import random


def slip(progress):
    """A multiplier."""
    {body}
'''
OPTIMIZER = '''
"""An optimizer with a mistake."""
import numpy as np
import torch


class Slip(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {{"lr": lr}})
        self.count, self.kept = 0, {{}}

    @torch.no_grad()
    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            for p in group["params"]:
                {body}


def slip(parameters, *, lr: float):
    """A step."""
    return Slip(parameters, lr)
'''
OPTIMIZERS = {
    "another name": (
        "p = p - group['lr'] * p.grad",
        "a step of slip changes no weight; change each weight in",
    ),
    "a counter": ("p -= group['lr'] / self.count * p.grad", "slip keeps state outside of self.state"),
    "a dict": (
        "self.kept[p] = 0.9 * self.kept.get(p, 0) + p.grad; p -= group['lr'] * self.kept[p]",
        "slip keeps state outside of self.state",
    ),
    "noise": ("p -= group['lr'] * p.grad * np.random.rand()", "slip is not repeatable"),
}


def refusal(tmp_path: Path, kind: str, text: str, **changes: object) -> str:
    """The only mistake, which says where in the file of the part."""
    parts = own_parts(tmp_path, {f"{kind}/slip.py": text})
    with pytest.raises(ConfigError) as refused:
        plan = planned(parts, **changes)
        try_on(plan, plan.load())
    [mistake] = refused.value.mistakes
    place = re.fullmatch(
        rf".* \({re.escape(str(parts.folder))}/{kind}/slip\.py:(\d+)(, in \w+)?\)", str(mistake)
    )
    assert place and 1 <= int(place[1]) <= len(text.strip().splitlines()), mistake
    return str(mistake)


@pytest.mark.parametrize("name", MODELS)
def test_a_slip_in_a_model_is_named(name: str, tmp_path: Path) -> None:
    init, forward, made, said = MODELS[name]
    text = MODEL.format(init=init, forward=forward, made=made)
    assert said in refusal(tmp_path, "architecture", text, architecture="slip")


@pytest.mark.parametrize("name", FINE)
def test_a_model_without_a_slip_is_taken(name: str, tmp_path: Path) -> None:
    init, forward = FINE[name]
    text = MODEL.format(init=init, forward=forward, made="return Model(shape, outputs)")
    plan = planned(own_parts(tmp_path, {"architecture/slip.py": text}), architecture="slip")
    try_on(plan, plan.load())


@pytest.mark.parametrize("name", LOSSES)
def test_a_slip_in_a_loss_is_named(name: str, tmp_path: Path) -> None:
    more, body, said = LOSSES[name]
    assert said in refusal(tmp_path, "loss", JUDGE.format(more=more, body=body), loss="slip", metrics=[])


@pytest.mark.parametrize(
    "body",
    [
        "return F.cross_entropy(outputs, targets, torch.tensor([0.01, 1, 100]), reduction='none')",
        "return F.cross_entropy(outputs, targets, label_smoothing=0.4, reduction='none')",
        "return F.multi_margin_loss(outputs, targets, reduction='none')",
        "return F.mse_loss(outputs, F.one_hot(targets, 3).float(), reduction='none').mean(1)",
    ],
)
def test_a_loss_that_ranks_classes_by_their_outputs_is_taken(body: str, tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path, {"loss/slip.py": JUDGE.format(more="", body=body)}), loss="slip")
    try_on(plan, plan.load())


@pytest.mark.parametrize("names", ["inputs", "inputs, targets"])
def test_an_augmentation_that_changes_its_inputs_is_named(names: str, tmp_path: Path) -> None:
    text = f'''
"""Noise."""
import torch


def slip({names}, generator):
    """Add some."""
    inputs += 0.1 * torch.randn(inputs.shape, generator=generator)
    return {names}
'''
    said = refusal(tmp_path, "augmentations", text, augmentations=["slip"])
    assert "slip changes the examples that it is given, which other epochs and seeds see too" in said
    assert "inputs + noise, not inputs += noise" in said


@pytest.mark.parametrize("name", METRICS)
def test_a_slip_in_a_metric_is_named(name: str, tmp_path: Path) -> None:
    more, body, said = METRICS[name]
    assert said in refusal(tmp_path, "metrics", JUDGE.format(more=more, body=body), metrics=["slip"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_that_would_not_resume_is_named(name: str, tmp_path: Path) -> None:
    body, said = OPTIMIZERS[name]
    assert said in refusal(
        tmp_path, "optimizer", OPTIMIZER.format(body=body), optimizer={"name": "slip", "lr": 0.1}
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("if progress > 1: return 1.0", "slip gives None at progress 0.0, not a finite number"),
        ("return 0.5 - progress", "slip gives -0.01 at progress 0.51: with a negative rate"),
        ("import numpy; return numpy.float64(1)", "slip gives a numpy.float64 at progress 0.0, not a number"),
        ("return random.random()", "slip is not repeatable: called twice, it gives other rates"),
    ],
)
def test_a_slip_in_a_schedule_is_named(body: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, "schedule", SCHEDULE.format(body=body), schedule="slip")


TASK = '''
"""Classes, with a mistake."""
from dlrun.task.classification import Classification
parts_of = "classification"


class Own(Classification):
    def {method}


def slip(data, loss):
    """Classes."""
    return Own(data, loss)
'''


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("report(self, copies): pass", "report() of slip gives a NoneType instead of a Report"),
        ("row(self, outputs): return 3", "row() of slip gives an int instead of a dict"),
        ("__init__(self, data, loss): pass", "Own has no outputs: its __init__ does not call that of Task"),
    ],
)
def test_a_slip_in_a_task_is_named(method: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, "task", TASK.format(method=method), task="slip")
    no_task = 'parts_of = "classification"\n\n\ndef slip(data, loss):\n    """It."""\n    return 3\n'
    folder = tmp_path / "another"
    assert "slip gives 3 instead of a Task" in refusal(folder, "task", no_task, task="slip")


def test_a_task_that_fails_at_a_row_fails_before_training(tmp_path: Path) -> None:
    text = TASK.format(method="row(self, outputs): return 1 / 0")
    plan = planned(own_parts(tmp_path, {"task/slip.py": text}), task="slip")
    with pytest.raises(ZeroDivisionError) as raised:
        try_on(plan, plan.load())
    assert own_place(raised.value).endswith("slip.py:7, in row")
