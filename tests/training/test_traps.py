"""Settings with which a run trains, but not what they seem to say, are refused or said with the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import Listening, go_on, own_parts, planned, trained
from torch import Tensor

from dlrun.config.mistakes import ConfigError
from dlrun.training.plan_trials import try_on
from dlrun.training.traps import limited_estimates, limited_outputs, trap_warnings

MODEL = '''
"""A model that ends as it likes."""
import torch
from torch import nn
import torch.nn.functional as F


class Ending(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 8), nn.Linear(8, outputs)
        self.weight, self.scale = nn.Parameter(torch.randn(outputs, 8)), nn.Parameter(torch.ones(outputs))

    def forward(self, x):
        x = self.first(x.flatten(1)).relu()
        return {ending}


def ending(shape, outputs, *, dropout: float = 0.0):
    """A hidden layer, and an ending."""
    return Ending(shape[0], outputs)
'''
LESSONS = (Path(__file__).parents[2] / "docs" / "lessons.md").read_text()
LIMITED = {
    "self.last(x).relu()": "as after a ReLU, but cross_entropy takes logits of either sign: one that is",
    "F.softplus(self.last(x))": "are never below 0, as after a ReLU",
    "F.leaky_relu(self.last(x))": "are hardly below 0, as after a ReLU",
    "F.gelu(x @ self.weight.T)": "are hardly below 0, as after a ReLU",
    "self.last(x).softmax(1)": "gives probabilities, which sum to 1, but cross_entropy takes logits",
    "self.last(x).tanh()": "stay within -1 and 1, as of an activation",
    "self.last(x).sigmoid()": "but cross_entropy takes logits: no class can get more than 58%",
    "F.hardtanh(x @ self.weight.T)": "stay within -1 and 1, as of an activation",
}
FREE = [
    "self.last(x)",
    "self.last(x) + 3",
    "x @ self.weight.T",
    "self.last(x).log_softmax(1)",
    "self.scale * self.last(x).tanh()",
    "F.layer_norm(self.last(x), (3,))",
    "F.leaky_relu(self.last(x), 0.3)",
    "0 * self.last(x)",
]


def said(tmp_path: Path, ending: str, **changes: Any) -> str:
    plan = planned(
        own_parts(tmp_path, {"architecture/ending.py": MODEL.format(ending=ending)}),
        **{"architecture": "ending"} | changes,
    )
    return limited_outputs(plan, plan.load())


def remedy(warning: str) -> str:
    """The remedy of a warning whose lesson is one on what it warns of."""
    found = re.search(r"; ([^;]*) \(docs/lessons.md, lesson (\d)\)$", warning)
    assert found, warning
    lesson = LESSONS.partition(f"\n## {found[2]}. ")[2].partition("\n## ")[0]
    assert ("negative for every" if "gradient" in warning else "no class of ten more than") in lesson
    return found[1]


@pytest.mark.parametrize("ending", LIMITED)
def test_an_activation_on_logits_is_seen_by_the_outputs(ending: str, tmp_path: Path) -> None:
    found = said(tmp_path, ending)
    assert LIMITED[ending] in found
    assert remedy(found) == "leave out the activation at the end"


@pytest.mark.parametrize("ending", FREE)
def test_outputs_that_can_be_any_logits_are_fine(ending: str, tmp_path: Path) -> None:
    assert said(tmp_path, ending) == ""


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_no_seed_is_unlucky(classes: int, seed: int) -> None:
    for activation, is_said in (("identity", False), ("relu", True)):
        plan = planned(
            dataset={"name": "spiral", "points": 20, "classes": classes},
            architecture={"name": "mlp", "hidden": [4], "output_activation": activation},
            seeds=[seed],
        )
        assert bool(limited_outputs(plan, plan.load())) == is_said


@pytest.mark.parametrize(
    ("loss", "activation", "is_said"),
    [
        ("cross_entropy", "softmax", True),
        ("cross_entropy_scratch", "relu", True),
        ("bce", "sigmoid", True),
        ("mse", "sigmoid", False),  # of the one-hot targets
        ("mse", "softmax", False),
        ("nll", "log_softmax", False),
    ],
)
def test_only_a_loss_of_logits_is_told(loss: str, activation: str, is_said: bool) -> None:
    model = {"name": "mlp", "hidden": [4], "output_activation": activation}
    plan = planned(loss=loss, architecture=model)
    found = limited_outputs(plan, plan.load())
    assert bool(found) == is_said
    assert not is_said or remedy(found) == "set output_activation: identity"


def test_the_scratch_model_with_a_relu_at_its_end_is_told_too() -> None:
    for ends, is_said in ((True, True), (False, False)):
        model = {"name": "mlp_scratch", "hidden": [5], "relu_output": ends}
        plan = planned(architecture=model)
        found = limited_outputs(plan, plan.load())
        assert bool(found) == is_said
        assert not is_said or remedy(found) == "set relu_output: false"


def test_the_classes_of_places_are_looked_at_as_well() -> None:
    plan = planned(
        dataset={"name": "shapes", "size": 16, "images": 4, "test_images": 4},
        architecture={"name": "unet", "channels": 2},
        metrics=[],
    )
    assert limited_outputs(plan, plan.load()) == ""


BOUNDED = {
    "self.last(x).relu()": "never below 0, as after a ReLU",
    "self.last(x).tanh()": "stay within -1 and 1, as of an activation",
    "self.last(x).sigmoid()": "stay within 0 and 1, as of an activation",
    "self.last(x).softmax(1)": "the same for every input, as of a softmax over a single one",
    "-F.softplus(self.last(x))": "never above 0, as after a log_softmax",
}
UNBOUNDED = [
    "self.last(x)",
    "F.leaky_relu(self.last(x))",
    "self.scale * self.last(x).tanh()",
    "x @ self.weight.T",
]


def warned_of_numbers(tmp_path: Path, ending: str, cells: Tensor, **options: Any) -> str:
    """The warning for a model of a table with these targets."""
    rows = "".join(f"{each},{cell}\n" for each, cell in enumerate(cells.tolist()))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}")
    plan = planned(
        own_parts(tmp_path, {"architecture/ending.py": MODEL.format(ending=ending)}),
        dataset={
            "name": "csv",
            "path": str(tmp_path / "t.csv"),
            "target": "y",
            "test_fraction": 0.1,
            **options,
        },
        architecture="ending",
        loss="mse",
        metrics=[],
    )
    return limited_estimates(plan, plan.load())


@pytest.mark.parametrize("scale_target", [True, False])
@pytest.mark.parametrize("ending", [*BOUNDED, *UNBOUNDED])
def test_outputs_that_never_reach_the_targets_are_seen(
    ending: str, scale_target: bool, tmp_path: Path
) -> None:
    cells = torch.linspace(-3, 3, 40) + (0 if scale_target else 0.01)
    found = warned_of_numbers(tmp_path, ending, cells, scale_target=scale_target)
    if ending in UNBOUNDED:
        assert found == ""
        return
    assert BOUNDED[ending] in found and found.endswith("; leave out the activation at the end")
    assert (", scaled as mse sees them, lie beyond" in found) == (scale_target and "same" not in found)


def test_the_share_of_the_targets_that_are_never_reached_is_that_of_all(tmp_path: Path) -> None:
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    cells = torch.cat([torch.linspace(-2, -1, 10), torch.linspace(0, 1, 30)])[order]
    found = warned_of_numbers(
        tmp_path, "self.last(x).sigmoid()", cells, scale_target=False, valid_fraction=0, test_fraction=0.1
    )
    share = re.search(r"but (\d+)% of the targets lie beyond", found)
    assert share and 6 / 36 <= int(share[1]) / 100 <= 10 / 36 + 0.01  # four rows are set aside


@pytest.mark.parametrize("ending", ["self.last(x).sigmoid()", "self.last(x).relu()"])
def test_bounds_within_which_all_targets_lie_are_fine(ending: str, tmp_path: Path) -> None:
    assert warned_of_numbers(tmp_path, ending, torch.linspace(0, 1, 40), scale_target=False) == ""


def test_a_softmax_over_one_number_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{each},{3 * each}\n" for each in range(40)))
    model = {"name": "mlp", "hidden": [4], "output_activation": "softmax"}
    data = {"name": "csv", "path": str(tmp_path / "t.csv"), "target": "y"}
    plan, view = planned(dataset=data, architecture=model, loss="mse", metrics=[]), Listening()
    trained(plan, tmp_path / "runs", view=view, stop_after=1)
    assert "they cannot follow the targets; set output_activation: identity" in view.warnings[0]


def test_a_new_run_says_its_traps_once(tmp_path: Path) -> None:
    model = {"name": "mlp", "hidden": [4], "output_activation": "relu"}
    plan, view = planned(architecture=model, batch_size=100), Listening()
    run = trained(plan, tmp_path, view=view, stop_after=1)
    size = "batch_size 100 exceeds the 60 training examples: each epoch is one step; set batch_size: full if"
    assert view.warnings[0].startswith(size)
    assert "as after a ReLU" in view.warnings[1]
    assert view.warnings[1] in (run.folder / "log.txt").read_text(encoding="utf-8")
    go_on(run, {"architecture": model, "batch_size": 100}, view=(again := Listening()))
    assert not {*view.warnings[:2]} & {*again.warnings}
    assert list(trap_warnings(planned(batch_size=60), plan.load())) == []
    assert list(trap_warnings(planned(batch_size="full"), plan.load())) == []


IDLE = {
    "mlp": ({"name": "mlp", "hidden": [], "dropout": 0.5}, {}),
    "cnn": (
        {"name": "cnn", "channels": [2], "kernel_size": 3, "padding": 1, "dropout": 0.5},
        {"dataset": "dots"},
    ),
}


@pytest.mark.parametrize("name", IDLE)
def test_a_dropout_that_changes_nothing_is_refused_in_new_runs_alone(name: str, tmp_path: Path) -> None:
    model, changes = IDLE[name]
    plan = planned(own_parts(tmp_path), architecture=model, **changes)
    loaded = plan.load()
    with pytest.raises(ConfigError) as refused:
        try_on(plan, loaded)
    [mistake] = refused.value.mistakes
    assert mistake.key == "architecture.dropout"
    assert mistake.what == f"0.5 changes nothing: {name} drops units of hidden layers, and has none"
    assert mistake.fix == "add one, such as hidden: [100], or set dropout: 0"
    try_on(plan, loaded, is_new=False)
    for fine in ({"hidden": [4]}, {"hidden": [4], "dropout": 1e-9}, {"dropout": 0.0}):
        own = planned(own_parts(tmp_path), architecture=model | fine, **changes)
        try_on(own, own.load())


def test_a_dropout_by_a_function_is_seen_in_the_outputs(tmp_path: Path) -> None:
    for ending, acts in (("self.last(F.dropout(x, 0.5, self.training))", True), ("self.last(x)", False)):
        text = MODEL.format(ending=ending)
        folder = tmp_path / str(acts)
        plan = planned(
            own_parts(folder, {"architecture/ending.py": text}),
            architecture={"name": "ending", "dropout": 0.5},
        )
        if acts:
            try_on(plan, plan.load())
            continue
        with pytest.raises(ConfigError, match="set dropout: 0"):
            try_on(plan, plan.load())


@pytest.mark.parametrize(
    ("loss", "level"),
    [
        ({"name": "quantile", "levels": [0.05, 0.95]}, "0.95"),
        ({"name": "quantile", "levels": [0.9, 0.1]}, "0.9"),
        ({"name": "quantile", "levels": [0.9]}, "0.9"),
        ("quantile", None),
        ({"name": "quantile", "levels": [0.5]}, None),
        ("gaussian_nll", None),
    ],
)
def test_an_estimate_that_is_no_median_is_said(loss: Any, level: str | None, tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path), dataset="line", loss=loss, metrics=["mae"])
    said = [text for text in trap_warnings(plan, plan.load()) if "the estimate is" in text]
    assert len(said) == (level is not None)
    assert level is None or said[0].startswith(f"the estimate is the quantile {level}, not the median")
