"""Steps that are recorded once and repeated: the same bits, or one line that says why not.

Where there is no GPU, recording is stood in for by remembering the call: what is repeated is then the step
itself, on the tensors that the recording was made with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, outcome, own_parts, planned, started, trained
from torch import Tensor, nn

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import RunFailed
from dlrun.training import graphs, meters
from dlrun.training.experiment import train_run
from dlrun.training.graphs import Replayed
from dlrun.training.hardware import Hardware
from dlrun.training.loop import fit
from dlrun.training.plan import Plan
from dlrun.training.views import HiddenTraining

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
NOISE = [{"name": "noise", "sd": 0.3}]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "full batch": {"batch_size": "full"},
    "dropout and noise": {
        "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3},
        "augmentations": NOISE,
    },
    "a schedule and weight decay": {
        "schedule": "cosine",
        "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1},
    },
    "momentum, clipped": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "gradient_clip": 0.1},
    "several seeds": {"seeds": [3, 1]},
    "stacked": {"seeds": [3, 1], "stacked": True},
}


class Recorder:
    """Stands in for a GPU: steps are remembered, and repeated on the tensors they were recorded with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recorded, self.aside, self.repeated = 0, 0, 0
        self.warnings: list[str] = []
        monkeypatch.setattr(meters, "is_asynchronous", lambda device: True)
        monkeypatch.setattr(graphs, "record", self.record)
        monkeypatch.setattr(graphs, "on_own_stream", self.run_aside)
        monkeypatch.setattr(Hardware, "has_graphs", True)

    def record(self, update: Any, inputs: Any, generators: Any) -> Callable[[], None]:
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            update(*inputs)

        return repeat

    def run_aside(self, update: Any, *batch: Tensor) -> None:
        self.aside += 1
        update(*batch)

    def learn(self, plan: Plan) -> tuple[Any, list[Any]]:
        """The weights of every seed and the rows after a plan's epochs."""
        loaded = plan.load()
        hardware = plan.hardware(loaded)
        hardware = Hardware(**(vars(hardware) | {"warn": self.warnings.append}))
        state = plan.state(hardware)
        rows = list(fit(state, loaded, plan.recipe, hardware))
        for row in rows:
            row.pop("seconds")
        return [copy.state_dict() for copy in state.model.copies], rows


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_steps_learn_the_same_bits(recorder: Recorder, kind: str) -> None:
    changes = KINDS[kind] | {"epochs": 6, "evaluate_every": 2}
    plain = recorder.learn(planned(**changes, graph=False))
    assert not recorder.repeated
    assert not differences(plain, recorder.learn(planned(**changes)))
    steps = 6 if kind == "full batch" else 6 * 4
    assert recorder.repeated == steps - 3 * recorder.recorded, "all but the first three of each size"
    assert recorder.recorded == (1 if kind == "full batch" else 2), "one for each size of batch"
    assert not recorder.warnings


def test_what_is_repeated_sees_each_batch() -> None:
    seen: list[list[float]] = []
    whole = torch.tensor([5.0, 6.0])
    replayed = Replayed(lambda batch: seen.append(batch.tolist()), lambda: None, [], print)
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch)
        for value in range(6):
            replayed(torch.tensor([float(value)]))
        assert seen == [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
        assert (recorder.aside, recorder.repeated) == (3, 3)
        for _ in range(5):
            replayed(whole)
        whole += 1  # the same tensor is read where it is
        replayed(whole)
    assert seen[-1] == [6.0, 7.0]
    assert recorder.recorded == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"seeds": [0, 1], "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3}},
            "each seed draws its dropout from a stream of its own",
        ),
        ({"optimizer": {"name": "sgd_scratch", "lr": 0.1}}, "SgdScratch takes its learning rate as a number"),
        ({"precision": "float16"}, "float16 loss scaling reads each gradient"),
    ],
)
def test_what_cannot_be_recorded_runs_as_it_is_and_says_why_once(
    recorder: Recorder, changes: dict[str, Any], reason: str
) -> None:
    plain = recorder.learn(planned(**changes, epochs=4, graph=False))
    assert not recorder.warnings
    assert not differences(plain, recorder.learn(planned(**changes, epochs=4)))
    assert recorder.warnings == [f"steps run one kernel at a time, not as one graph: {reason}"]
    assert not recorder.repeated


def test_a_recording_that_fails_changes_nothing(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = recorder.learn(planned(graph=False))

    def fail(update: Any, inputs: Any, generators: Any) -> Any:
        try:  # as torch.cuda.graph does it
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(graphs, "record", fail)
    assert not differences(plain, recorder.learn(planned()))
    [warning] = recorder.warnings
    assert warning.endswith("graph: operation not permitted when stream is capturing")
    with pytest.raises(RunFailed, match="cannot be one graph: operation not permitted"):
        recorder.learn(insisting(planned()))


def insisting(plan: Plan) -> Plan:
    """The plan with graph: true, which only a CUDA device is asked for."""
    object.__setattr__(plan.config, "graph", True)
    return plan


def test_only_a_gpu_is_asked_for_graphs() -> None:
    with pytest.raises(ConfigError) as refused:
        planned(graph=True)
    assert "graph: only a CUDA device repeats graphs, not cpu; set graph: auto" in str(
        refused.value.mistakes[0]
    )


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_on_a_gpu_what_an_optimizer_counts_is_there_too(name: str) -> None:
    class OnGpu(nn.Parameter):
        is_cuda = True

    [group] = Parts().find("optimizer", name)([OnGpu(torch.zeros(1))], lr=0.1).param_groups
    assert group["capturable"], "PyTorch refuses to record it without"


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_what_a_gpu_learnt_goes_on_without_one(name: str) -> None:
    plan = planned(optimizer={"name": name, "lr": 0.01}, epochs=2)
    loaded, hardware = plan.load(), plan.hardware()
    whole, state = plan.state(hardware), plan.state(hardware)
    list(fit(whole, loaded, plan.recipe, hardware))
    next(fit(state, loaded, plan.recipe, hardware))
    saved = state.state_dict()
    for group in saved["optimizer"]["param_groups"]:
        group.update({key: True for key in ("capturable", "fused") if key in group})
    again = plan.state(hardware)
    again.load_state_dict(saved)
    list(fit(again, loaded, plan.recipe, hardware))
    assert not differences(whole.state_dict()["model"], again.state_dict()["model"])


def test_where_a_look_would_wait_the_rows_are_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changes = {
        "dataset": {"name": "line", "valid_fraction": 0.2},
        "loss": "mse",
        "metrics": ["rmse", "r2", "mae"],
        "evaluate_train_every": 2,
        "seeds": [0, 4],
    }
    parts = own_parts(tmp_path)
    looked = trained(planned(parts, **changes), tmp_path)
    monkeypatch.setattr(meters, "is_asynchronous", lambda device: True)
    assert not differences(outcome(looked), outcome(trained(planned(parts, **changes), tmp_path)))


def test_a_checkpoint_holds_rates_as_numbers(recorder: Recorder) -> None:
    plan = planned(schedule="cosine")
    loaded, hardware = plan.load(), plan.hardware()
    state = plan.state(hardware)
    list(fit(state, loaded, plan.recipe, hardware))
    [group] = state.optimizers.param_groups
    assert isinstance(group["lr"], Tensor)
    [saved] = state.state_dict()["optimizer"]["param_groups"]
    assert type(saved["lr"]) is float
    assert saved["lr"] == pytest.approx(float(group["lr"]))
    again = plan.state(hardware)
    again.load_state_dict(state.state_dict())
    assert again.optimizers.param_groups[0]["initial_lr"] == 0.01


@needs_gpu
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_learns_the_bits_of_its_steps(tmp_path: Path, kind: str) -> None:
    changes = KINDS[kind] | {"epochs": 6, "device": "cuda"}
    plain = trained(planned(**changes, graph=False), tmp_path)
    graphed = trained(planned(**changes, graph=True), tmp_path)
    assert not differences(outcome(plain), outcome(graphed))


@needs_gpu
def test_a_graph_resumes_as_if_it_never_stopped(tmp_path: Path) -> None:
    changes = KINDS["dropout and noise"] | {"epochs": 6, "device": "cuda", "graph": True}
    unbroken, run = trained(planned(**changes), tmp_path), started(planned(**changes), tmp_path)
    for stop in (1, 4):
        train_run(planned(**changes), run, HiddenTraining(), stop_after=stop)
    train_run(planned(**changes), run, HiddenTraining())
    assert not differences(outcome(unbroken), outcome(run))
