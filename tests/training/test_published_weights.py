"""Published weights are downloaded once, are what was published, and see images as in their training."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import differences, only_run, own_parts, parts_in, planned, trained
from torch import Tensor, nn
from torch.hub import HASH_REGEX

from dlrun.architecture.torchvision import former_names, models, published, torchvision
from dlrun.config.keys import Config
from dlrun.config.loading import config_from_plain
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Examples
from dlrun.data.image_files.pixels import pixel_fit
from dlrun.run_folders.listing import runs_in
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.initial_weights import initial_weights
from dlrun.training.weights_file import with_weights_found

Dlrun = Callable[..., Any]
EYES = '''
"""A network for small images, with weights that somebody publishes."""
from torch import nn
from dlrun.blocks.published_weights import PublishedWeights
from dlrun.config.options import Count

former_names = {r"^stem\\.": "0."}


def published(*, side: Count = 12):
    """One file, for images of 12×12 pixels or more."""
    half = (0.5, 0.5, 0.5)
    one = PublishedWeights("URL/eyes.pth", "eyes-v1.pth", "DIGITS", half, half, (side, side))
    return {"V1": one, "DEFAULT": one}


def eyes(shape, outputs, *, side: Count = 12):
    """A convolution and a linear layer."""
    layers = nn.Conv2d(shape[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, outputs))
'''
CONFIG = """\
dataset: {name: image_folder, path: photos, test_fraction: 0.25}
architecture: {name: eyes, weights: DEFAULT}
loss: cross_entropy
optimizer: {name: sgd, lr: 0.1}
epochs: 2
batch_size: 4
plots: []
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]


class Site(ThreadingHTTPServer):
    """A server on this machine that publishes a folder, and remembers what it was asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        self.asked: list[str] = []
        self.folder = folder
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    with Site(tmp_path / "site") as server:
        yield server
        server.shutdown()


@pytest.fixture
def weights(site: Site) -> dict[str, Tensor]:
    """The weights that the site publishes, of a model of three colours and ten classes."""
    torch.manual_seed(5)
    stem, norm, head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)
    norm.running_mean = torch.randn(4)
    named = {"stem": stem, "1": norm, "5": head}
    found = {
        f"{name}.{key}": value for name, each in named.items() for key, value in each.state_dict().items()
    }
    torch.save(found, site.folder / "eyes.pth")
    return found


@pytest.fixture
def parts(tmp_path: Path, site: Site, weights: dict[str, Tensor]) -> Parts:
    digits = hashlib.sha256((site.folder / "eyes.pth").read_bytes()).hexdigest()[:8]
    text = EYES.replace("URL", site.address).replace("DIGITS", digits)
    return parts_in(tmp_path, {"architecture/eyes.py": text})


@pytest.fixture
def train(
    tmp_path: Path, parts: Parts, dlrun: Dlrun, write: Callable[[str, str], Path], runs_dir: Path
) -> Dlrun:
    """train(…) trains on a folder of twelve photos in two classes."""
    stream = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(6):
            pixels = stream.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{number}.png")
    config = write("fine.yaml", CONFIG)
    of_all = ("--parts", parts.folder, "--data-dir", tmp_path / "data")
    return lambda command, *words: dlrun(command, *(words or (config,)), *of_all)


def config_of(**changes: Any) -> Config:
    plain = {
        "name": "fine",
        "dataset": "spiral",
        "architecture": {"name": "torchvision", "model": "resnet18", "weights": "DEFAULT"},
        "loss": "cross_entropy",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "epochs": 1,
        "batch_size": 4,
    }
    parts = Parts()
    config = config_from_plain(plain | changes, "fine.yaml", parts=parts)
    return with_weights_found(config, parts, Path("runs"))


def images(**options: Any) -> dict[str, Any]:
    return {"name": "image_folder", "path": "photos"} | options


def test_a_run_begins_with_what_is_published_and_then_needs_neither_the_file_nor_the_network(
    train: Dlrun, site: Site, weights: dict[str, Tensor], tmp_path: Path, runs_dir: Path
) -> None:
    config = tmp_path / "fine.yaml"
    done = train("train", config, "--stop-after", 1, "optimizer.lr=0.0")
    assert done.code == 0, done.err
    run = only_run(runs_dir)
    [begun] = load_checkpoint(run.last).state["model"]
    assert torch.equal(begun["0.weight"], weights["stem.weight"])
    assert torch.equal(begun["1.weight"], weights["1.weight"])
    table = [line.split() for line in done.out.splitlines()]
    assert "weights of eyes-v1.pth (V1)" in done.out
    assert ["taken", "7"] in [row[:2] for row in table] and ["new", "2"] in [row[:2] for row in table]
    said = "dataset.size is 12 and dataset.normalise is half, as in the training of the weights V1"
    assert said in done.err
    recorded = run.config.read_text()
    assert "weights: V1}" in recorded and "size: 12\n" in recorded and "normalise: half\n" in recorded
    kept = tmp_path / "data" / "weights" / "eyes-v1.pth"
    assert run.summary()["weights"]["sha256"] == hashlib.sha256(kept.read_bytes()).hexdigest()
    assert train("train", config).code == 0
    assert site.asked == ["/eyes.pth"], "downloaded once"
    site.shutdown()
    shutil.rmtree(kept.parent)
    shutil.rmtree(site.folder)
    assert train("resume", run.folder).code == 0
    assert train("eval", run.folder).code == 0
    assert train("predict", run.folder, tmp_path / "photos" / "cats").code == 0


def test_without_network_a_file_in_its_place_is_used_and_a_missing_one_is_named_with_address_and_place(
    train: Dlrun, site: Site, tmp_path: Path, runs_dir: Path
) -> None:
    site.shutdown()
    site.server_close()
    done = train("train")
    assert (done.code, runs_dir.exists()) == (2, False)
    place = tmp_path / "data" / "weights"
    assert f"could not be downloaded: {site.address}/eyes.pth: " in done.err
    assert f"({place}); download it elsewhere and put it there as eyes-v1.pth" in done.err
    assert "fine.yaml:2:" in done.err and list(place.glob("*.pth")) == []
    shutil.copy(site.folder / "eyes.pth", place / "eyes-v1.pth")
    assert train("train").code == 0


def test_another_content_than_the_published_one_is_refused_from_the_network_and_in_place(
    train: Dlrun, site: Site, tmp_path: Path, runs_dir: Path
) -> None:
    path = site.folder / "eyes.pth"
    right, kept = path.read_bytes(), tmp_path / "data" / "weights" / "eyes-v1.pth"
    path.write_bytes(right + b"\0")
    done = train("train")
    assert "their SHA-256 differs" in done.err and not kept.exists()
    kept.write_bytes(right + b"\0")
    done = train("train")
    assert (done.code, runs_dir.exists()) == (2, False)
    assert str(kept) in done.err and "; delete it, and it is downloaded again" in done.err
    kept.unlink()
    torch.save({"stem.weight": torch.zeros(4, 3, 3, 3)}, kept)
    done = train("train")
    assert "this is not what was published as V1: its SHA-256 does not begin with" in done.err


def test_weights_of_colours_are_summed_for_grey_images(
    parts: Parts, site: Site, tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    own_parts(tmp_path)
    architecture = {"name": "eyes", "weights": str(site.folder / "eyes.pth")}
    plan = planned(parts, dataset={"name": "dots"}, architecture=architecture)
    begun = initial_weights(plan)
    assert begun is not None
    model = plan.model()
    begun.put_into(model)
    grey = torch.randn(5, 1, 8, 8)
    [first] = [layer for layer in model.copies[0].modules() if isinstance(layer, nn.Conv2d)]
    wanted = nn.functional.conv2d(grey.expand(5, 3, 8, 8), weights["stem.weight"], weights["stem.bias"])
    assert torch.allclose(first(grey), wanted, atol=1e-5)
    run = trained(plan, tmp_path)
    assert run.summary()["weights"]["reshaped"] == ["0.weight"]
    assert "1 reshaped: 0.weight (sum of the three colours)" in (run.folder / "log.txt").read_text()


def test_a_frozen_backbone_stays_as_it_was_published_while_the_head_learns(
    train: Dlrun, weights: dict[str, Tensor], tmp_path: Path, runs_dir: Path
) -> None:
    freeze = "freeze=['*', '!5.*']"
    assert train("train", tmp_path / "fine.yaml", freeze, "--stop-after", 1).code == 0
    run = only_run(runs_dir)
    [halfway] = load_checkpoint(run.last).state["model"]
    assert train("resume", run.folder).code == 0
    assert train("train", tmp_path / "fine.yaml", freeze).code == 0
    [ended] = load_checkpoint(run.last).state["model"]
    [unbroken] = load_checkpoint(runs_in(runs_dir)[0].last).state["model"]
    assert differences(ended, unbroken) == []
    for name, value in weights.items():
        if not name.startswith("5."):
            assert torch.equal(ended[name.replace("stem", "0")], value), name
    assert not torch.equal(ended["5.weight"], halfway["5.weight"])


@pytest.mark.parametrize(
    ("dataset", "architecture", "options", "said"),
    [
        (images(), {}, {"size": 224, "normalise": "imagenet"}, "is 224 and dataset.normalise is imagenet"),
        (images(size=96), {}, {"size": 96, "normalise": "imagenet"}, "dataset.normalise is imagenet"),
        (images(size=[64, 80], normalise="unit"), {}, {"size": [64, 80], "normalise": "unit"}, ""),
        (images(colour=False), {}, {"normalise": [0.449, 0.226]}, "dataset.normalise is [0.449, 0.226]"),
        (images(), {"small_images": True}, {"size": 64, "normalise": "imagenet"}, "normalise is imagenet"),
        (images(), {"model": "inception_v3"}, {"size": 299, "normalise": "half"}, "normalise is half"),
        (
            images(),
            {"model": "vgg16", "weights": "IMAGENET1K_FEATURES"},
            {"normalise": [[0.48235, 0.45882, 0.40784], [1 / 255] * 3]},
            "dataset.normalise is [[0.48235",
        ),
        ("cifar10", {}, {"normalise": "imagenet"}, "224×224 pixels, but cifar10 has no option that makes"),
        ("mnist", {}, {"normalise": "unit"}, "by mean and deviation [0.485, 0.456, 0.406] and [0.229"),
        ("spiral", {}, {}, "but spiral has no option that makes them so"),
    ],
)
def test_images_are_prepared_as_in_the_training_of_the_weights_unless_the_config_says_otherwise(
    dataset: Any, architecture: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    known = {"name": "torchvision", "model": "resnet18", "weights": "DEFAULT"}
    config = config_of(dataset=dataset, architecture=known | architecture)
    assert {name: config.dataset.options[name] for name in options} == options
    assert said in " ".join(config.notes) and bool(config.notes) == bool(said)
    again = config_from_plain(config.plain(), "config.yaml")
    same = with_weights_found(again, Parts(), Path("runs"))
    assert (same.dataset, same.architecture) == (config.dataset, config.architecture), "as recorded"


def test_a_number_that_is_called_size_in_a_dataset_without_images_stays(tmp_path: Path) -> None:
    text = '''
"""Numbers, as many as are asked for."""
from dlrun.data import Data


def numbers(root, *, size: int = 30):
    """Of no image."""
    return Data("regression", (size,), dict)
'''
    parts = parts_in(tmp_path, {"dataset/numbers.py": text})
    plain = config_of(dataset=images()).plain() | {"dataset": {"name": "numbers"}}
    config = with_weights_found(config_from_plain(plain, "c.yaml", parts=parts), parts, Path("runs"))
    assert config.dataset.options == {"size": 30}
    assert "images of 224×224 pixels and by mean" in config.notes[0]


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"weights": "IMAGENET1K_V2"}, "did you mean 'IMAGENET1K_V1'? (there are: IMAGENET1K_V1, DEFAULT)"),
        ({"weights": "pretrained"}, "no name of published weights (there are: IMAGENET1K_V1, DEFAULT)"),
        ({"weights": "resnet18.pth"}, "there is no file"),
        ({"model": "resnet81"}, "architecture: torchvision has no classification model 'resnet81'; did you"),
    ],
)
def test_a_name_that_is_not_published_is_refused_with_those_that_are(
    architecture: dict[str, Any], said: str
) -> None:
    known = {"name": "torchvision", "model": "resnet18", "weights": "DEFAULT"}
    with pytest.raises(ConfigError, match=re.escape(said)):
        config_of(dataset=images(), architecture=known | architecture)


def test_what_is_no_table_of_published_weights_is_refused_with_its_file(tmp_path: Path) -> None:
    lines = EYES.split("    half =")[0] + "    return {}\n\n\ndef eyes(" + EYES.split("def eyes(")[1]
    for given, said in (("[]", "list instead of PublishedWeights"), ("{'V1': 'x'}", "str as V1")):
        folder = tmp_path / str(len(said))
        parts = parts_in(folder, {"architecture/eyes.py": lines.replace("return {}", f"return {given}")})
        plain = config_of(dataset=images()).plain() | {"architecture": {"name": "eyes", "weights": "V1"}}
        with pytest.raises(ConfigError) as refused:
            with_weights_found(config_from_plain(plain, "c.yaml", parts=parts), parts, Path("runs"))
        assert said in str(refused.value.mistakes[0]) and "eyes.py" in str(refused.value.mistakes[0])


def test_torchvisions_weights_are_checked_by_the_digits_that_it_checks_itself() -> None:
    for model in models.list_models(module=models):
        found = published(model=model)
        every = models.get_model_weights(model)
        assert {*found} == {*every.__members__}, "DEFAULT is among them"
        for weights in every:
            ours = found[weights.name]
            [digits] = HASH_REGEX.findall(ours.file)
            assert (ours.url, ours.sha256) == (weights.url, digits) and len(digits) >= 8
            assert ours.size == (weights.transforms().crop_size[0],) * 2
        assert found["DEFAULT"] == found[every.DEFAULT.name]


@pytest.mark.parametrize("model", ["resnet18", "inception_v3"])
def test_images_have_the_values_that_torchvision_gives_them(model: str) -> None:
    photo = torch.randint(0, 256, (1, 3, 400, 400), dtype=torch.uint8)
    transforms = models.get_model_weights(model).DEFAULT.transforms()
    side, middle = transforms.crop_size[0], (400 - transforms.crop_size[0]) // 2
    transforms.resize_size = [400]  # the same pixels
    wanted = transforms(photo)
    if model == "inception_v3":  # which changes the scale inside of the model
        wanted = models.Inception3._transform_input(SimpleNamespace(transform_input=True), wanted)
    config = config_of(
        dataset=images(), architecture={"name": "torchvision", "model": model, "weights": "DEFAULT"}
    )
    cropped = photo[..., middle : middle + side, middle : middle + side]
    preprocessing = pixel_fit(config.dataset.options["normalise"], 3)(Examples(cropped, torch.zeros(1)))
    assert torch.allclose(preprocessing(cropped), wanted, atol=1e-5)


def test_former_names_in_torchvisions_files_become_those_that_its_models_have() -> None:
    def present(name: str) -> str:
        for pattern, replacement in former_names.items():
            name = re.sub(pattern, replacement, name)
        return name

    with torch.device("meta"):
        dense, vit = (torchvision((3, 224, 224), 9, model=name) for name in ("densenet121", "vit_b_32"))
    for name in dense.state_dict():
        former = re.sub(r"(denselayer\d+\.(?:norm|relu|conv))([12])", r"\1.\2", name)
        assert present(former) == present(name) == name
    mlp = vit.encoder.layers[0].mlp
    old = {f"linear_{n}.{key}": torch.empty(0) for n in (1, 2) for key in ("weight", "bias")}
    mlp._load_from_state_dict(old, "", {}, True, [], [], [])  # which renames the entries in place
    block = "encoder.layers.encoder_layer_0.mlp."
    formers = [f"{block}linear_{n}.{key}" for n in (1, 2) for key in ("weight", "bias")]
    assert sorted(map(present, formers)) == sorted(f"{block}{name}" for name in old)
    assert {*map(present, formers)} < {*vit.state_dict()}


def test_a_grid_prepares_the_images_of_each_of_its_values_and_a_search_wants_them_alike(
    train: Dlrun, tmp_path: Path
) -> None:
    config = tmp_path / "fine.yaml"
    words = (config, "architecture.weights=V1,null", "--jobs", 1)
    done = train("sweep", *words, "--dry-run", "--json")
    assert done.code == 0 and json.loads(done.out)
    done = train("sweep", *words, "--dry-run")
    assert done.err.count("dataset.size is 12 and dataset.normalise is half") == 1
    pytest.importorskip("optuna")
    done = train("sweep", *words, "--optuna", 2, "--dry-run")
    assert done.code == 2 and "have images prepared in different ways" in done.err
    alike = ("dataset.size=8", "dataset.normalise=unit")
    assert train("sweep", *words, *alike, "--optuna", 2, "--dry-run").code == 0
