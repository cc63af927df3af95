"""`dlrun export`: a file gives the outputs of dlrun from raw inputs, without dlrun, or it is not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from places import PROJECT
from small_runs import ENERGY, SMALL_CNN, own_parts, planned, trained
from torch import Tensor

import dlrun
from dlrun.config.registry import Parts
from dlrun.errors import RunFailed, UserError
from dlrun.results import export as export_module
from dlrun.results import export_check, export_onnx, export_torch
from dlrun.results.calibration import calibrate
from dlrun.results.export import SUFFIXES, Exported, export_run
from dlrun.results.thresholds import choose_thresholds
from dlrun.run_folders.run import Run
from dlrun.training.calibration import take_calibration
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.checkpoint_entries import INPUT_TYPES
from dlrun.training.named_parts import builder
from dlrun.training.opening import open_checkpoint, open_plan
from dlrun.training.plan import Plan

Dlrun = Callable[..., Any]

IMAGES = {"name": "symbols", "images": 4, "test_images": 10, "size": 16}
PIXELS = {"name": "shapes", "images": 12, "test_images": 64, "size": 8}
REVIEWS = {"name": "reviews", "count": 80, "length": 12}
SENTENCES = {"name": "sentences", "count": 60, "window": 8}
SERIES = {"name": "hourly_demand", "days": 20, "window": 12, "horizon": 3, "season": None}
NUMBERS = {"dataset": {"name": "line", "points": 64}, "loss": "mse", "metrics": []}
VIT: dict[str, Any] = {"name": "vit", "layers": 1, "width": 8, "heads": 2}
TOKENS: dict[str, Any] = {"name": "transformer", "layers": 1, "width": 8, "heads": 2}

# Every architecture and every task, and what a config may change of either.
CASES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "mlp, float64": {"precision": "float64"},
    "mlp, regression": NUMBERS,
    "mlp, quantile": NUMBERS | {"loss": {"name": "quantile", "levels": [0.1, 0.5, 0.9]}},
    "mlp, gaussian_nll": NUMBERS | {"loss": "gaussian_nll"},
    "mlp, poisson": {"dataset": {"name": "counts"}, "loss": "poisson", "metrics": []},
    "mlp, multilabel": {"dataset": {"name": "labels"}, "loss": "bce", "metrics": []},
    "mlp, one logit": {"dataset": {"name": "spiral", "points": 20, "classes": 2}, "loss": "bce"},
    "mlp, other": {"dataset": {"name": "counts"}, "task": "other", "loss": "mse", "metrics": []},
    "mlp, energy": {"loss": "energy"},
    "mlp, weights of a loss": {"loss": "sharpened"},
    "mlp, embedding": {"task": "embedding", "loss": {"name": "supervised_contrastive"}, "metrics": []},
    "mlp, two inputs": {"dataset": "pairs", "architecture": "both", "loss": "cross_entropy"},
    "mlp, series": {
        "dataset": SERIES,
        "architecture": {"name": "mlp", "hidden": [4], "flatten": True},
        "loss": "mse",
        "metrics": [],
    },
    "mlp_scratch": {"architecture": {"name": "mlp_scratch", "hidden": [4]}},
    "softmax_scratch": {"architecture": "softmax_scratch"},
    "linear": {"dataset": "dots", "architecture": {"name": "linear", "flatten": True}},
    "cnn": {"dataset": "dots", "architecture": SMALL_CNN},
    "cnn, float64": {"dataset": "dots", "architecture": SMALL_CNN, "precision": "float64"},
    "cnn, channels last": {"dataset": "dots", "architecture": SMALL_CNN, "channels_last": True},
    "lenet": {"dataset": IMAGES, "architecture": "lenet"},
    "unet": {"dataset": PIXELS, "architecture": {"name": "unet", "channels": 2, "depth": 2}},
    "vit": {"dataset": IMAGES, "architecture": VIT},
    "vit, mean": {
        "dataset": IMAGES,
        "architecture": {
            "name": "vit",
            "layers": 1,
            "width": 8,
            "heads": 2,
            "pooling": "mean",
            "drop_path": 0.1,
        },
    },
    "torchvision": {
        "dataset": IMAGES,
        "architecture": {"name": "torchvision", "model": "resnet18", "small_images": True},
    },
    "timm": {"dataset": IMAGES, "architecture": {"name": "timm", "model": "resnet18"}},
    "autoencoder": {
        "dataset": "dots",
        "task": "reconstruction",
        "architecture": {"name": "autoencoder", "hidden": [8], "code": 2},
        "loss": "mse",
        "metrics": [],
    },
    "embedding_bag": {"dataset": REVIEWS, "architecture": {"name": "embedding_bag", "embedding": 4}},
    "embedding_bag, max": {
        "dataset": REVIEWS,
        "architecture": {"name": "embedding_bag", "embedding": 4, "pooling": "max"},
    },
    "transformer": {"dataset": REVIEWS, "architecture": TOKENS},
    "transformer, next token": {
        "dataset": SENTENCES,
        "architecture": TOKENS | {"causal": True, "tied": True, "positions": "sinusoidal"},
    },
    "transformer, series": {"dataset": SERIES, "architecture": TOKENS, "loss": "mse", "metrics": []},
}
for _kind in ("rnn", "lstm", "gru"):
    for _name, _dataset in (("", REVIEWS), (", next token", SENTENCES)):
        CASES[f"rnn, {_kind}{_name}"] = {
            "dataset": _dataset,
            "architecture": {
                "name": "rnn",
                "kind": _kind,
                "hidden": 5,
                "embedding": 4,
                "layers": 2,
                "bidirectional": not _name,
            },
        }
OWN = {
    "loss/sharpened.py": '''
"""Cross entropy, with a penalty that is learnt."""
import torch
import torch.nn.functional as F
from torch import nn
task = "classification"


def sharpened() -> nn.Module:
    """Cross entropy plus the square of a weight of its own."""
    return Sharpened()


def probabilities(outputs):
    return outputs.softmax(-1)


class Sharpened(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none") + self.own.square()
''',
    "loss/energy.py": ENERGY,
    "dataset/counts.py": '''
"""Counts that grow with a number."""
import torch
from dlrun.data import Data, Examples


def counts(root):
    """A count for a number."""
    def read():
        x = torch.linspace(-1, 1, 80).unsqueeze(1)
        return {"train": Examples(x, (3 * x).exp().round()), "test": Examples(x, (3 * x).exp().round())}
    return Data("regression", (1,), read)
''',
    "dataset/labels.py": '''
"""Points with two labels: right, and up."""
import torch
from dlrun.data import Data, Examples


def labels(root):
    """Each label applies to half of the points."""
    def read():
        x = torch.randn(160, 2, generator=torch.Generator().manual_seed(0))
        y = (x + 0.5 * x.flip(1) > 0).float()
        parts = {"train": slice(0, 60), "valid": slice(60, 100), "test": slice(100, 160)}
        return {name: Examples(x[rows], y[rows]) for name, rows in parts.items()}
    return Data("multilabel", (2,), read, classes=("right", "up"), splits=("train", "valid", "test"))
''',
    "dataset/pairs.py": '''
"""A number and a word."""
import torch
from dlrun.data import Data, Examples, Preprocessing


def pairs(root):
    """Two inputs by name."""
    def read():
        stream = torch.Generator().manual_seed(0)
        size, word = torch.randn(80, 1, generator=stream), torch.randint(3, (80, 4), generator=stream)
        targets = (size[:, 0] + word[:, 0] > 1).long()
        return {split: Examples({"size": size, "word": word}, targets) for split in ("train", "test")}

    def fit(training):
        return {"size": Preprocessing(offset=torch.tensor([0.5]), scale=torch.tensor([2.0]))}

    return Data("classification", {"size": (1,), "word": (4,)}, read, classes=("small", "large"), fit=fit,
                input_dtype={"size": torch.float32, "word": torch.int64})
''',
    "architecture/both.py": '''
"""A linear layer of both inputs."""
import torch
from torch import nn


def both(shape, outputs):
    """A linear layer of a number and the ids of a word."""
    return Both(outputs)


class Both(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.embedding, self.head = nn.Embedding(3, 2), nn.Linear(9, outputs)

    def forward(self, inputs):
        return self.head(torch.cat([inputs["size"], self.embedding(inputs["word"]).flatten(1)], 1))
''',
    "architecture/counting.py": '''
"""A linear layer that looks at the number of examples."""
import torch
from torch import nn


def counting(shape, outputs):
    """A linear layer, and zeros."""
    return Counting(shape[0], outputs)


class Counting(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.zeros(len(x), 1)
''',
    "architecture/branching.py": '''
"""A linear layer that looks at the numbers of its inputs."""
from torch import nn


def branching(shape, outputs):
    """A linear layer, but for inputs that are all large."""
    return Branching(shape[0], outputs)


class Branching(nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.abs().min() < 1e6 else super().forward(0 * x)
''',
}
USUAL = ("mlp", "safetensors"), ("cnn", "onnx")
REFUSED = {
    ("cnn, float64", "onnx"): "onnxruntime cannot run the file"
}  # what is refused, and a word of the reason


EVERY = [
    pytest.param(*each, marks=[] if each in USUAL else pytest.mark.slow, id=", ".join(each))
    for each in product(CASES, SUFFIXES)
]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return own_parts(tmp_path, OWN)


def exported(run: Run, parts: Parts, format: str = "torch", **options: Any) -> Exported:
    """The file of a run beside its folder."""
    if format == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    out = options.pop("out", run.folder.parent / f"{run.name}{SUFFIXES[format]}")  # type: ignore[index]
    return export_run(run.best, run.name, run.name, parts, Path("no-data"), format, out, **options)  # type: ignore[arg-type]


def read(found: Exported, inputs: Any) -> dict[str, Tensor]:
    """The answers of a graph for raw inputs, without dlrun."""
    module = export_onnx if found.format == "onnx" else export_torch
    [answers] = module.answers_of(found.path, [inputs])
    return answers


@pytest.mark.parametrize(("name", "format"), EVERY)
def test_each_architecture_gives_in_each_format_what_dlrun_does(
    name: str, format: str, parts: Parts, tmp_path: Path
) -> None:
    if CASES[name].get("architecture", {}) == {"name": "timm", "model": "resnet18"}:
        pytest.importorskip("timm")
    plan = planned(parts, **{"epochs": 1} | CASES[name])
    run = trained(plan, tmp_path)
    if reason := REFUSED.get((name, format)):
        with pytest.raises(UserError, match=reason):
            exported(run, parts, format)
        return
    found = exported(run, parts, format)
    assert found.difference <= 1e-4 and found.examples >= 10
    assert not list(tmp_path.glob("*.draft"))
    if format == "safetensors":
        return
    loaded = plan.load()
    inputs = loaded[plan.data.evaluation_split or "train"].raw_tree(torch.arange(7))
    outputs = dlrun.load(run.folder, parts=parts.folder).model(inputs)
    answers, main = read(found, inputs), outputs["outputs"] if isinstance(outputs, dict) else outputs
    assert {own["name"] for own in found.description["outputs"]} == {*answers}
    if plan.task.decision and main.shape[1] == 1:
        torch.testing.assert_close(answers["probabilities"][:, 1:], main.sigmoid(), rtol=0, atol=1e-4)
    elif plan.task.decision:
        scores = -main if name == "mlp, energy" else main
        torch.testing.assert_close(answers["probabilities"], scores.softmax(1), rtol=0, atol=1e-4)
        assert torch.equal(answers["class"], scores.argmax(1))
    elif plan.data.task == "multilabel":
        torch.testing.assert_close(answers["probabilities"], main.sigmoid(), rtol=0, atol=1e-4)
        assert torch.equal(answers["labels"], main > 0)
    else:
        [first, *further] = answers
        torch.testing.assert_close(answers[first], main.view_as(answers[first]), rtol=1e-4, atol=1e-4)
        for other in further:
            torch.testing.assert_close(answers[other], outputs[other], rtol=1e-4, atol=1e-4)


def test_every_architecture_is_tried() -> None:
    chosen = [case["architecture"] for case in CASES.values() if "architecture" in case]
    named = {choice if isinstance(choice, str) else choice["name"] for choice in chosen}
    assert {*Parts().names("architecture")} <= named


@pytest.mark.slow
def test_every_task_is_tried(parts: Parts) -> None:
    tasks = {planned(parts, **changes).data.task for changes in CASES.values()}
    assert tasks == {*Parts().names("task")}


def test_a_file_that_gives_anything_else_is_not_kept(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(planned(parts, epochs=1), tmp_path)
    usual = export_module.own_answers

    def other(*given: Any) -> dict[str, Tensor]:
        return {n: own + 2e-4 * own.is_floating_point() for n, own in usual(*given).items()}

    monkeypatch.setattr(export_module, "own_answers", other)
    before = {*tmp_path.iterdir()}
    with pytest.raises(RunFailed, match=r"the largest difference of probabilities is 0.0002, where 0.0001"):
        exported(run, parts, "safetensors")
    assert {*tmp_path.iterdir()} == before


def test_decisions_that_differ_are_refused() -> None:
    tried = export_check.Tried(torch.zeros(64, 1), "test")
    own = {"class": torch.zeros(64, dtype=torch.int64)}

    def run(pieces: Any) -> list[dict[str, Tensor]]:
        return [{"class": (torch.arange(len(piece)) == 3).long()} for piece in pieces]

    with pytest.raises(RunFailed, match=r"class differs for 1\.6 % of the decisions"):
        export_check.compared(own, run, tried)


def test_numbers_are_compared_in_units_of_the_largest() -> None:
    tried, own = export_check.Tried(torch.zeros(20, 1), "test"), {"prediction": torch.full((20, 1), 3e5)}

    def giving(number: float) -> Callable[[Any], list[dict[str, Tensor]]]:
        return lambda pieces: [{"prediction": torch.full((len(piece), 1), number)} for piece in pieces]

    assert export_check.compared(own, giving(3e5 + 3), tried) == pytest.approx(1e-5)
    for wrong in (3e5 + 40, float("nan"), float("inf")):
        with pytest.raises(RunFailed, match="the largest difference of prediction"):
            export_check.compared(own, giving(wrong), tried)


def test_several_seeds_are_chosen_or_averaged_and_never_guessed(parts: Parts, tmp_path: Path) -> None:
    run = trained(planned(parts, seeds=[0, 3], epochs=2), tmp_path)
    with pytest.raises(UserError) as refused:
        exported(run, parts, "safetensors")
    assert (
        "0, 3" in refused.value.what and "--seed N" in refused.value.fix and "--ensemble" in refused.value.fix
    )
    with pytest.raises(UserError, match="the run has no seed 7"):
        exported(run, parts, "safetensors", seed=7)
    with pytest.raises(UserError, match="holds those of one seed"):
        exported(run, parts, "safetensors", is_ensemble=True)
    found = exported(run, parts, "safetensors", seed=3)
    assert found.description["seeds"] == [3]


@pytest.mark.parametrize("name", ["mlp, quantile", "mlp, two inputs", "mlp, weights of a loss"])
def test_weights_have_the_names_of_the_architecture(name: str, parts: Parts, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    plan = planned(parts, **{"epochs": 1} | CASES[name])
    found = exported(trained(plan, tmp_path), parts, "safetensors")
    tensors = safetensors.load_file(found.path)
    outputs = 6 if name == "mlp, quantile" else plan.task.outputs
    alone = {*builder(parts, plan.config.architecture, plan.data, outputs)().state_dict()}
    steps = {"mlp, quantile": {"offset", "scale"}, "mlp, two inputs": {"size.offset", "size.scale"}}
    assert {*tensors} == alone | {f"preprocessing.{step}" for step in steps.get(name, ())}


@pytest.mark.parametrize("stacked", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_an_ensemble_gives_the_mean_of_probabilities(stacked: bool, parts: Parts, tmp_path: Path) -> None:
    run = trained(planned(parts, seeds=[0, 3], epochs=2, stacked=stacked), tmp_path)
    inputs = torch.randn(9, 2)
    shares = torch.stack(
        [dlrun.load(run.folder, seed=seed).model(inputs).softmax(1) for seed in (0, 3)]
    ).mean(0)
    answers = read(exported(run, parts, is_ensemble=True), inputs)
    torch.testing.assert_close(answers["probabilities"], shares, rtol=0, atol=1e-5)
    assert torch.equal(answers["class"], shares.argmax(1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [0]}, "the run has one seed, 0"),
        ({"task": "embedding", "loss": "supervised_contrastive", "metrics": []}, "a space of its own"),
    ],
)
def test_what_has_no_mean_is_no_ensemble(
    changes: dict[str, Any], said: str, parts: Parts, tmp_path: Path
) -> None:
    run = trained(planned(parts, **{"seeds": [0, 3], "epochs": 1} | changes), tmp_path)
    with pytest.raises(UserError, match=said):
        exported(run, parts, is_ensemble=True)


def test_without_the_data_random_inputs_of_their_type_take_their_place(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(planned(parts, **CASES["cnn"], epochs=1), tmp_path)

    def gone(*given: Any) -> None:
        raise UserError("there is no file images.bin")

    monkeypatch.setattr(Plan, "load", gone)
    found = exported(run, parts, "safetensors")
    assert found.description["inputs"] == [{"name": "inputs", "shape": ["batch", 1, 8, 8], "dtype": "uint8"}]
    assert (found.split, found.examples) == ("", 64)
    assert load_checkpoint(run.best).data[INPUT_TYPES] == {"": "torch.uint8"}
    assert found.notes[-1] == "the data cannot be read: there is no file images.bin"
    plan, preprocessing, saved = open_plan(run.best, [], parts, tmp_path)
    for types, dtype in (({"": "torch.float32"}, torch.float32), ({"": "torch.nonsense"}, torch.uint8)):
        stated = replace(saved, data=saved.data | {INPUT_TYPES: types})
        tried = export_check.inputs_to_try(plan, preprocessing, stated).inputs
        assert isinstance(tried, Tensor) and tried.dtype == dtype and tried.float().std() > 1


@pytest.mark.slow
def test_a_model_that_cannot_be_traced_is_refused_with_the_remedy(parts: Parts, tmp_path: Path) -> None:
    for name, fix in (("counting", "write x.shape[0] instead of len(x)"), ("branching", "dlrun.load(RUN)")):
        run = trained(planned(parts, architecture=name, epochs=1), tmp_path)
        with pytest.raises(UserError) as refused:
            exported(run, parts)
        assert fix in refused.value.fix
        assert exported(run, parts, "safetensors").examples == 60


@pytest.mark.slow
def test_no_path_of_this_machine_and_no_example_is_in_a_graph(parts: Parts, tmp_path: Path) -> None:
    run = trained(planned(parts, epochs=1), tmp_path)
    for format in ("onnx", "torch"):
        file = exported(run, parts, format).path
        content = file.read_bytes()
        assert str(PROJECT).encode() not in content and str(tmp_path).encode() not in content
    (kept,), _ = torch.export.load(file).example_inputs
    assert not kept.any()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_temperatures_and_thresholds_are_in_the_graph(format: str, parts: Parts, tmp_path: Path) -> None:
    dataset = {"name": "spiral", "points": 60, "classes": 2, "noise": 0.6, "valid_fraction": 0.4}
    run = trained(planned(parts, dataset=dataset, epochs=5), tmp_path)
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    [temperature] = calibrate(model, saved, run.best)["temperatures"]
    model = take_calibration(*open_checkpoint(run.best, run, [], parts, Path("no-data")), run.best)
    chosen = choose_thresholds(model, saved, run.best, "balanced_accuracy")["threshold"]
    [threshold] = chosen["above"].values()
    inputs = torch.randn(64, 2)
    shares = (dlrun.load(run.folder).model(inputs) / temperature).softmax(1)
    found = exported(run, parts, format)
    answers = read(found, inputs)
    torch.testing.assert_close(answers["probabilities"], shares, rtol=0, atol=1e-5)
    assert torch.equal(answers["class"], (shares[:, 1] > threshold).long())
    assert found.description["temperatures"] == [temperature]
    assert found.notes == []


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_an_input_that_is_no_number_has_no_class(format: str, parts: Parts, tmp_path: Path) -> None:
    found = exported(trained(planned(parts, epochs=1), tmp_path), parts, format)
    inputs = torch.zeros(4, 2)
    inputs[1, 0], inputs[2, 1] = torch.nan, torch.inf
    answers = read(found, inputs)
    assert (answers["class"] < 0).tolist() == [False, True, True, False]
    assert answers["probabilities"].isfinite().all(1).tolist() == [True, False, False, True]
