"""Tests of devices, threads, precision and compilation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, of_seed, outcome, planned, trained
from torch import nn

from dlrun.config.loading import load_config
from dlrun.config.lookup import find_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.system import machine
from dlrun.training.copies import Apart
from dlrun.training.devices import choose_device, describe_machine, versions
from dlrun.training.experiment import train_run
from dlrun.training.hardware import WORK_PER_NUMBER, WORK_PER_THREAD, Hardware, choose_threads
from dlrun.training.loss_scales import LossScales
from dlrun.training.optimizers import Optimizers
from dlrun.training.plan_making import make_plan
from dlrun.training.views import HiddenTraining

CPU = torch.device("cpu")


def test_threads_go_by_the_work_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    assert choose_threads("auto", 1, 1, 1) == 1
    assert choose_threads("auto", WORK_PER_THREAD, 0, 1) == 3, (
        "forward and backward are three times the forward pass"
    )
    assert choose_threads("auto", 0, 2 * WORK_PER_THREAD // WORK_PER_NUMBER, 1) == 2, "not sums alone"
    assert choose_threads("auto", WORK_PER_THREAD // 3 + 1, 0, 2) == 2
    assert choose_threads("auto", 10**9, 0, 10**6) == 8, "never more than there are cores"
    assert choose_threads(5, 1, 1, 1) == 5


def test_the_number_of_threads_is_no_measurement() -> None:
    chosen = {choose_threads("auto", work, 100, 64) for _ in range(20) for work in (10**5,)}
    assert chosen == {choose_threads("auto", 10**5, 100, 64)}
    assert 1 <= choose_threads("auto", 10**12, 100, 1) <= machine.cores()


@pytest.mark.parametrize(
    ("config", "threads"),
    [
        *(("spiral_logistic", 1), ("temps", 1), ("mnist_softmax", 1), ("spiral_relu", 1)),
        *(("spiral_relu_wide", 2), ("mnist_threenet", 3), ("mnist_cnn", 8)),
    ],
)
def test_shipped_configs_get_the_threads_that_suit_them(
    config: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    plan = make_plan(load_config(find_config(config), parts=Parts()), Parts(), Path("no-data"))
    loaded = plan.load() if config.startswith("spiral") else None
    assert plan.hardware(loaded).threads == threads


def test_the_whole_of_a_full_batch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 64)
    wide = {"threads": "auto", "architecture": {"name": "mlp", "hidden": [700, 700]}, "batch_size": "full"}
    few, many = (planned(**wide, dataset={"name": "spiral", "points": points}) for points in (20, 60))
    assert few.hardware(few.load()).threads == 2
    assert many.hardware(many.load()).threads == 6


def test_seeds_that_train_as_one_model_share_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.system.machine.cores", lambda: 64)
    wide: dict[str, Any] = {"threads": "auto", "architecture": {"name": "mlp", "hidden": [500, 500]}}
    alone = planned(**wide, seeds=[0]).hardware().threads
    assert alone > 0
    assert planned(**wide, seeds=list(range(16))).hardware().threads == alone
    assert planned(**wide, seeds=list(range(16)), stacked=True).hardware().threads >= 4 * alone


def test_threads_are_set_for_the_process() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            Hardware(CPU, threads).use()
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def only(monkeypatch: pytest.MonkeyPatch, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_takes_an_accelerator_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    assert choose_device("auto") == CPU
    only(monkeypatch, mps=True)
    assert choose_device("auto") == torch.device("mps")
    only(monkeypatch, cuda=2, mps=True)
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cpu") == CPU


def test_a_device_that_is_not_there_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UserError, match=f"no {name.partition(':')[0]} device here") as refused:
            choose_device(name)
        assert "device=cpu" in refused.value.fix
    only(monkeypatch, cuda=2)
    with pytest.raises(UserError, match=r"no cuda:7 here \(there are: 2"):
        choose_device("cuda:7")
    only(monkeypatch)
    with pytest.raises(ConfigError) as mistaken:
        planned(device="cuda:3")
    assert "device" in str(mistaken.value.mistakes[0])


def test_low_precision_is_for_the_forward_pass_alone() -> None:
    weight, x = torch.randn(4, 4), torch.randn(2, 4)
    for precision, dtype in (
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ):
        hardware = Hardware(CPU, 1, precision)
        with hardware.autocast():
            assert (x @ weight).dtype == dtype
        assert (x @ weight).dtype == torch.float32


def test_the_loss_of_a_single_copy_is_scaled_as_pytorch_scales_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LossScales, "STEADY", 3)
    found: list[Any] = [[], []]
    sizes = [1e34, 1e34, 1.0, 1.0, 1.0, 1e34, *[1.0] * 7]  # those that are large overflow
    inputs = torch.randn(5, 3)
    for by_pytorch, seen in zip((True, False), found, strict=True):
        model = Apart(lambda: nn.Linear(3, 2), [0])
        model.begin(1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        grad_scaler = torch.amp.GradScaler("cpu", growth_interval=3)
        hardware, scales = Hardware(CPU, 1, "float16", gradient_clip=0.5), LossScales(1)
        for size in sizes:
            losses = [of_copy.square().mean(1) * size for of_copy in model(inputs.unsqueeze(0))]
            if by_pytorch:
                optimizer.zero_grad()
                grad_scaler.scale(losses[0].mean()).backward()
                grad_scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                grad_scaler.step(optimizer)
                grad_scaler.update()
            else:
                hardware.step(losses, model, Optimizers([optimizer]), scales)
            factor = grad_scaler.get_scale() if by_pytorch else scales.factors[0]
            seen.append((factor, [p.detach().clone() for p in model.parameters()]))
    assert not differences(*found)
    assert len({factor for factor, _ in found[0]}) > 2


def test_a_copy_that_overflows_holds_back_no_other() -> None:
    model = Apart(lambda: nn.Linear(3, 2), [0, 1])
    model.begin(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    before = [[p.detach().clone() for p in copy.parameters()] for copy in model.copies]
    scales = LossScales(2)
    outputs = model(torch.randn(2, 5, 3))
    losses = [of_copy.square().mean(1) * size for of_copy, size in zip(outputs, (1e36, 1.0), strict=True)]
    Hardware(CPU, 1, "float16").step(losses, model, Optimizers([optimizer]), scales)
    after = [[p.detach() for p in copy.parameters()] for copy in model.copies]
    assert not differences(before[0], after[0])
    assert all((a != b).all() for a, b in zip(before[1], after[1], strict=True))
    assert scales.factors == [32768.0, 65536.0]
    again = LossScales(2)
    again.load_state_dict(scales.state_dict())
    assert again.state_dict() == scales.state_dict()


def test_compiling_keeps_the_weights_and_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    model = planned(seeds=[0, 1]).model()
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    Hardware(CPU, 1).prepare(model)
    assert not compiled
    Hardware(CPU, 1, compile=True).prepare(model)
    assert compiled == list(model.copies)
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == before


@pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler"
)
def test_a_compiled_model_resumes_and_trains_alone_as_others_do(tmp_path: Path) -> None:
    changes = {"compile": True, "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.3}}
    unbroken = trained(planned(**changes, seeds=[0, 1]), tmp_path)
    run = trained(planned(**changes, seeds=[0, 1]), tmp_path, stop_after=1)
    train_run(planned(**changes, seeds=[0, 1]), run, HiddenTraining())
    assert not differences(outcome(unbroken), outcome(run))
    alone = trained(planned(**changes, seeds=[1]), tmp_path)
    assert not differences(of_seed(unbroken, 1), of_seed(alone, 1))
    assert run.rows()["train_loss"][-1] < run.rows()["train_loss"][1]


def test_the_machine_is_described_in_plain_words() -> None:
    words: dict[str, Any] = describe_machine(CPU) | versions()
    assert set(words) == {"system", "processor", "instructions", "python", "torch"}
    assert all(type(value) is str and value for value in words.values()), "a checkpoint must hold them"
