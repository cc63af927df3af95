"""`dlrun.load` gives the model of a run to other code: the same outputs, from raw inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned, trained

import dlrun
from dlrun.config.mistakes import ConfigError
from dlrun.errors import UserError
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint

WAYS: dict[str, dict[str, Any]] = {
    "points": {},
    "standardised numbers": {"dataset": "line", "loss": "mse", "metrics": []},
    "images": {"dataset": "dots", "architecture": {"name": "linear", "flatten": True}},
    "float64": {"precision": "float64"},
    "stacked seeds": {"seeds": [0, 3], "stacked": True},
    "seeds": {"seeds": [0, 3], "patience": 1, "epochs": 8, "optimizer": {"name": "adam", "lr": 0.3}},
}


@pytest.mark.parametrize("name", WAYS)
def test_the_module_gives_the_outputs_of_the_run_for_raw_inputs(name: str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, **WAYS[name]), tmp_path)
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    outputs, _ = model.outputs("test")
    for index, seed in enumerate(model.seeds):
        loaded = dlrun.load(run.folder, seed=seed, parts=parts.folder)
        torch.testing.assert_close(
            loaded.model(model.loaded["test"].raw()), outputs[index], rtol=1e-5, atol=1e-6
        )
        assert loaded.classes == model.data.classes
        assert loaded.epoch == (saved.state["epochs"][index])
        assert not loaded.model.training
        assert not any(weight.requires_grad for weight in loaded.model.parameters())


def test_it_takes_a_name_a_folder_or_a_file(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    points = torch.randn(5, 2)
    wanted = dlrun.load(run.folder).model(points)
    for given in (run.name, run.best, str(run.best)):
        assert torch.equal(dlrun.load(given, runs_dir=tmp_path).model(points), wanted)
    assert dlrun.load("last", runs_dir=tmp_path, checkpoint="last").epoch == 3


def test_which_seed_is_never_guessed(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 3], epochs=1), tmp_path)
    for ask in (lambda model: model.model, lambda model: model.seed, lambda model: model.epoch):
        with pytest.raises(UserError, match="the run has the seeds 0, 3"):
            ask(dlrun.load(run.folder))
    with pytest.raises(UserError, match="the run has no seed 7, but 0, 3"):
        dlrun.load(run.folder, seed=7)


def test_inputs_that_preprocessing_would_stretch_are_refused(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, **WAYS["standardised numbers"], epochs=1), tmp_path)
    model = dlrun.load(run.folder, parts=parts.folder).model
    assert model(torch.zeros(5, 3)).shape == (5, 2)
    for shape in ((5, 1), (3,), (5, 2)):
        with pytest.raises(ValueError, match=r"but the model was trained on \(n, …\) of \(3\)"):
            model(torch.zeros(shape))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_is_loaded_where_no_gradient_is_wanted(mode: Any, tmp_path: Path) -> None:
    run = trained(planned(epochs=1), tmp_path)
    wanted = dlrun.load(run.folder).model(torch.ones(3, 2))
    with mode():
        assert torch.equal(dlrun.load(run.folder).model(torch.ones(3, 2)), wanted)


def test_every_mistake_stands_in_the_text_of_the_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"small.yaml: 2 mistakes\n.*optimizer.lr.*\n.*epochs"):
        planned(optimizer={"name": "sgd", "lr": -1}, epochs=0)


def test_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    run = trained(planned(epochs=1), tmp_path)
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    dlrun.load(run.folder)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_importing_dlrun_imports_nothing_else() -> None:
    wanted = "sorted(m for m in sys.modules if 'dlrun' in m or m == 'torch')"
    code = f"import dlrun, sys, json; print(json.dumps({wanted}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["dlrun"]


DISTILLED = '''
"""Points, and as targets what another run's model says of them."""
import dlrun
import torch
from dlrun.data import Data, Examples


def distilled(root, *, teacher: str):
    """The outputs of a teacher for the points of a square."""
    def read():
        x = torch.rand(60, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
        y = dlrun.load(teacher).model(x)
        return {"train": Examples(x[:40], y[:40]), "test": Examples(x[40:], y[40:])}
    return Data("regression", (2,), read, targets=3)
'''


def test_a_model_is_distilled_from_another_run(tmp_path: Path) -> None:
    teacher = trained(planned(epochs=30, optimizer={"name": "adam", "lr": 0.05}), tmp_path)
    parts = own_parts(tmp_path, {"dataset/distilled.py": DISTILLED})
    plan = planned(
        parts,
        dataset={"name": "distilled", "teacher": str(teacher.folder)},
        loss="mse",
        metrics=["r2"],
        epochs=300,
        optimizer={"name": "adam", "lr": 0.02},
    )
    run = trained(plan, tmp_path)
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.best, "test")
    assert report["metrics"]["r2"] > 0.9
    assert report["loss"] < 0.1 * report["baselines"]["mean"]["loss"]
