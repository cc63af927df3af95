"""The reference of a config: its examples can be used as they stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.keys import KEYS, Choice, Config
from dlrun.config.loading import load_config
from dlrun.config.option_types import describe
from dlrun.config.reference import example_of, parts_with, reference_of
from dlrun.config.registry import FOLDERS, Parts

Write = Callable[[str, str], Path]
PARTS = Parts()
EVERY = [(kind, name) for kind in FOLDERS for name in PARTS.names(kind)]
SMALL = """
dataset: spiral
architecture: mlp
loss: cross_entropy
optimizer: {name: adam, lr: 0.1}
epochs: 10
batch_size: 50
"""


def chosen(config: Config, kind: str) -> Choice:
    """The only part of a kind that a config names."""
    found = getattr(config, kind)
    return found[0] if isinstance(found, list) else Choice(found) if isinstance(found, str) else found


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_the_example_of_a_part_can_be_put_into_a_config(
    kind: str, name: str, write: Callable[[str, str], Path]
) -> None:
    example = example_of(PARTS.part(kind, name))
    base = write("small.yaml", SMALL)
    config = load_config(write("example.yaml", f"base: {base}\n{example}\n"))
    assert chosen(config, kind).name == name


def test_a_required_option_without_an_example_leaves_none(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    write("mine/loss/own.py", "def own(outputs, targets, *, weight: float):\n    return outputs\n")
    assert example_of(Parts(tmp_path / "mine").part("loss", "own")) == ""


def test_every_key_and_every_option_has_a_type_in_words_and_a_meaning() -> None:
    reference = reference_of(PARTS)
    for key in reference.keys:
        assert key.type_text, key.option.name
        assert key.option.help, key.option.name
    assert [kind.name for kind in reference.kinds] == list(FOLDERS)
    for kind in reference.kinds:
        assert ([part.name for part in kind.parts], kind.unreadable) == (PARTS.names(kind.name), {})
        of_parts = [(part.name, option) for part in kind.parts for option in part.options.values()]
        for name, option in [*of_parts, *((f"each {kind.name}", option) for option in kind.common)]:
            assert describe(option.type), (name, option.name)
            assert option.help, (name, option.name)
    assert {
        kind.name: [option.name for option in kind.common] for kind in reference.kinds if kind.common
    } == {
        "dataset": ["folds", "fold"],
        "architecture": ["weights"],
        "augmentations": ["off_epochs"],
        "schedule": ["warmup_epochs"],
        "loss": ["class_weight", "label_smoothing"],
    }


def test_an_option_that_every_part_of_a_kind_has_is_found_once() -> None:
    assert [of for of, _ in parts_with(PARTS, "label_smoothing")] == ["each loss"]
    assert [of for of, _ in parts_with(PARTS, "loss.class_weight")] == ["each loss"]
    assert [of for of, _ in parts_with(PARTS, "gamma")] == ["loss.focal", "loss.sigmoid_focal"]


def test_json_has_every_key_and_part_with_what_a_form_would_need(dlrun: Callable[..., Any]) -> None:
    found = json.loads(dlrun("parts", "--json").out)
    assert [key["name"] for key in found["keys"]] == list(KEYS)
    assert [(part["kind"], part["name"]) for part in found["parts"]] == EVERY
    assert (found["options"], found["unreadable"]) == ([], [])
    [precision] = [key for key in found["keys"] if key["name"] == "precision"]
    assert precision["choices"] == ["float32", "bfloat16", "float16", "float64"]
    [adam] = json.loads(dlrun("parts", "optimizer.adam", "--json").out)["parts"]
    rate, beta1, *_ = adam["options"]
    assert (rate["required"], rate["default"], rate["type"]) == (True, None, "a number >= 0")
    assert (beta1["required"], beta1["default"]) == (False, 0.9)
    assert {"of": "optimizer.sgd", "name": "momentum"}.items() <= next(
        each
        for each in json.loads(dlrun("parts", "momentum", "--json").out)["options"]
        if each["of"] == "optimizer.sgd"
    ).items()
    assert {each["kind"] for each in json.loads(dlrun("parts", "losses", "--json").out)["parts"]} == {"loss"}
    assert json.loads(dlrun("parts", "epochs", "--json").out)["keys"][0]["at_resume"] is True


def test_json_says_which_parts_cannot_be_read(
    dlrun: Callable[..., Any], write: Write, tmp_path: Path
) -> None:
    write("mine/loss/own.py", "def own(outputs, targets, *, weight):\n    return outputs\n")
    found = json.loads(dlrun("parts", "--json", "--parts", tmp_path / "mine").out)
    [unreadable] = found["unreadable"]
    assert (unreadable["kind"], unreadable["name"]) == ("loss", "own") and "weight" in unreadable["error"]


def test_show_has_the_config_and_the_model_as_json(dlrun: Callable[..., Any], write: Write) -> None:
    config = write("small.yaml", f"{SMALL}freeze: ['0.*']\ngroups: [{{match: '*.bias', lr: 0.01}}]\n")
    done = dlrun("show", config, "epochs=3", "--json")
    found = json.loads(done.out)
    assert (done.err, found["config"]["epochs"], found["weights"]) == ("", 3, None)
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"]) == 603
    assert found["frozen_parameters"] == 300
    assert found["groups"][1] == {"options": {"lr": 0.01}, "weights": ["0.bias", "2.bias"]}
    assert dlrun("show", config, "--yaml", "--json").code == 2
