"""The quick step: runs are bit for bit what the loop's own step makes of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, outcome, parts_in, planned, timeless, trained
from torch import nn

from dlrun.config.registry import Parts
from dlrun.errors import Diverged
from dlrun.training import fast_paths, loop
from dlrun.training.copies import Apart, Stacked
from dlrun.training.hardware import Hardware
from dlrun.training.quick_step import QuickStep, StackedQuickStep, _quick_step

CHANGES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.1}},
    "momentum": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}},
    "adam": {"optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.1}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01}},
    "rmsprop": {"optimizer": {"name": "rmsprop", "lr": 0.01}},
    "full batches": {"batch_size": "full"},
    "several seeds": {"seeds": [0, 3, 5]},
    "a seed that stops": {"seeds": [0, 3, 5], "patience": 1, "epochs": 8, "monitor": "train_loss"},
    "float64": {"precision": "float64"},
    "clipping": {"gradient_clip": 0.1, "seeds": [0, 3]},
    "a schedule": {"schedule": {"name": "cosine"}},
    "averaged weights": {"average": {"name": "ema", "decay": 0.9}},
    "frozen at first": {"freeze": ["0.*"], "freeze_epochs": 2, "epochs": 4},
    "balanced batches": {"sampling": "balanced"},
    "a share of the examples": {"epoch_examples": 20},
    "label smoothing": {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}},
    "class weights": {"loss": {"name": "cross_entropy", "class_weight": "balanced"}},
    "mse": {"loss": "mse"},
    "bce": {"loss": "bce"},
    "focal": {"loss": "focal"},
    "log_softmax and nll": {
        "loss": "nll",
        "architecture": {"name": "mlp", "hidden": [6, 4], "output_activation": "log_softmax"},
    },
    "dropout": {"architecture": {"name": "mlp", "hidden": [6, 4], "dropout": 0.3}, "seeds": [0, 3]},
    "further metrics": {"metrics": ["accuracy", "log_loss", "brier"]},
}
STACKED = {
    changes: CHANGES[changes] | {"stacked": True, "seeds": [0, 3, 5]}
    for changes in (
        "momentum",
        "adam",
        "full batches",
        "a seed that stops",
        "float64",
        "clipping",
        "a schedule",
        "averaged weights",
        "frozen at first",
        "balanced batches",
        "a share of the examples",
        "log_softmax and nll",
        "dropout",
        "further metrics",
    )
}
MORE: dict[str, dict[str, Any]] = {  # in closed form, in the loop's own step
    "mixup": {"augmentations": ["mixup"]},
    "micro-batches": {"micro_batch": 5, "architecture": {"name": "mlp", "hidden": [6], "dropout": 0.3}},
    "stacked seeds with class weights": {
        "stacked": True,
        "seeds": [0, 1],
        "loss": {"name": "cross_entropy", "class_weight": "balanced"},
    },
    "stacked dropout with another loss": {
        "stacked": True,
        "seeds": [0, 1],
        "loss": "mse",
        "architecture": {"name": "mlp", "hidden": [6], "dropout": 0.3},
    },
}
KEEPING = """
import torch

elementwise = True


class Extragradient(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    state = self.state[weight]
                    before = state.get("before", weight.grad)
                    weight.data = weight.data - group["lr"] * (2 * weight.grad - before)
                    state["before"] = weight.grad


def extragradient(parameters, *, lr: float):
    return Extragradient(parameters, lr)
"""
PICKY = """
import torch
from torch import Tensor

task = "classification"


def picky(outputs: Tensor, targets: Tensor) -> Tensor:
    if not outputs.isfinite().all():
        raise ValueError("outputs are not finite")
    return outputs[:, 0]
"""
USUAL = {"loss": "cross_entropy", "metrics": ["accuracy"], "epochs": 3}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The steps that runs were given."""
    steps = []
    choose = loop.quickest_step

    def noting(*words: Any) -> Any:
        steps.append(choose(*words))
        return steps[-1]

    monkeypatch.setattr(loop, "quickest_step", noting)
    return steps


@pytest.mark.parametrize(
    "changes",
    [*CHANGES.values(), *STACKED.values()],
    ids=[*CHANGES, *(f"{name}, stacked" for name in STACKED)],
)
def test_a_run_is_bit_for_bit_what_it_is_without(
    changes: dict[str, Any], tmp_path: Path, quick: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = USUAL | changes
    with_it = trained(planned(**every), tmp_path / "with")
    # A single seed that is left of stacked ones trains by itself.
    assert isinstance(quick[0], StackedQuickStep if "stacked" in every else QuickStep)
    assert all(isinstance(step, StackedQuickStep | QuickStep) for step in quick)
    monkeypatch.setattr(fast_paths, "are_on", lambda: False)
    without = trained(planned(**every), tmp_path / "without")
    assert not isinstance(quick[-1], StackedQuickStep | QuickStep)
    assert differences(outcome(with_it), outcome(without)) == []


@pytest.mark.parametrize("changes", MORE)
def test_a_step_of_the_loop_in_closed_form_has_the_same_bits(
    changes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = USUAL | MORE[changes]
    with_it = trained(planned(**every), tmp_path / "with")
    monkeypatch.setattr(fast_paths, "are_on", lambda: False)
    without = trained(planned(**every), tmp_path / "without")
    assert differences(outcome(with_it), outcome(without)) == []


def test_stacked_seeds_with_shares_of_classes_are_left_to_autograd() -> None:
    model = Stacked(Apart(lambda: nn.Linear(2, 3), [0, 1]))
    loss = partial(Parts().find("loss", "cross_entropy"))
    meter = SimpleNamespace(model=model, recipe=SimpleNamespace(loss=loss, loss_takes_inputs=True))
    forms: list[Any] = [SimpleNamespace(takes=lambda inputs: True)]
    for targets, is_quick in [(torch.zeros(1, 1, dtype=torch.long), True), (torch.zeros(1, 1, 3), False)]:
        split = SimpleNamespace(batch=lambda _, targets=targets: (torch.zeros(1, 1, 2), targets))
        found: Any = _quick_step(SimpleNamespace(split=split), forms, meter, None, None)  # type: ignore[arg-type]
        assert isinstance(found, StackedQuickStep) is is_quick


def test_an_optimizer_of_ones_own_may_keep_gradients_and_replace_weights(
    tmp_path: Path, quick: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_in(tmp_path, {"optimizer/extragradient.py": KEEPING})
    every = USUAL | {"optimizer": {"name": "extragradient", "lr": 0.1}}
    with_it = trained(planned(parts, **every), tmp_path / "with")
    assert isinstance(quick[-1], QuickStep)
    monkeypatch.setattr(fast_paths, "are_on", lambda: False)
    without = trained(planned(parts, **every), tmp_path / "without")
    assert differences(outcome(with_it), outcome(without)) == []
    losses = with_it.rows()["train_loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("seeds", [{}, {"seeds": [0, 3], "stacked": True}], ids=["one", "stacked"])
def test_a_loss_that_is_not_finite_is_said_before_a_metric_fails_on_it(
    seeds: dict[str, Any], tmp_path: Path, quick: list[Any]
) -> None:
    parts = parts_in(tmp_path, {"metrics/picky.py": PICKY})
    every = USUAL | {"optimizer": {"name": "sgd", "lr": 1e38}, "metrics": ["picky"]} | seeds
    with pytest.raises(Diverged, match="the loss of seed 0 is nan at epoch 1, step 2"):
        trained(planned(parts, **every), tmp_path)
    assert isinstance(quick[-1], StackedQuickStep if seeds else QuickStep)


@pytest.mark.parametrize(
    "how", [{"compile": True}, {"precision": "bfloat16"}, {"device": torch.device("cuda")}]
)
def test_other_hardware_computes_by_autograd(how: dict[str, Any]) -> None:
    plain = Hardware(torch.device("cpu"), 1)
    assert plain.suits_closed_form
    assert not replace(plain, **how).suits_closed_form


@pytest.mark.parametrize("stacked", [{}, {"stacked": True, "seeds": [0, 3]}], ids=["apart", "stacked"])
@pytest.mark.parametrize("changes", ["momentum", "dropout", "log_softmax and nll"])
def test_a_run_goes_on_with_it_or_without(
    changes: str, stacked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = USUAL | CHANGES[changes] | stacked
    whole = trained(planned(**every | {"epochs": 6}), tmp_path / "whole")
    run = trained(planned(**every), tmp_path / "run")
    monkeypatch.setattr(fast_paths, "are_on", lambda: False)
    assert go_on(run, every | {"epochs": 6}).exit_code == 0
    assert differences(outcome(run), outcome(whole)) == []
    assert timeless(run.rows()) == timeless(whole.rows())


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentations": ["mixup"]},
        {"micro_batch": 4},
        {"stacked": True, "seeds": [0, 1], "loss": "mse"},
        {"precision": "bfloat16"},
        {"architecture": {"name": "mlp", "hidden": [6], "batch_norm": True}},
        {"optimizer": {"name": "lbfgs"}},
    ],
    ids=str,
)
def test_runs_that_do_more_in_a_step_take_the_loops_own(
    changes: dict[str, Any], tmp_path: Path, quick: list[Any]
) -> None:
    trained(planned(**USUAL | changes), tmp_path)
    assert quick and not any(isinstance(step, QuickStep | StackedQuickStep) for step in quick)
