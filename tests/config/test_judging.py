"""Claims are judged as long as nothing is changed that they depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from places import PROJECT

from dlrun.config.judging import with_judged_claims
from dlrun.config.keys import Config
from dlrun.config.loading import load_config

Write = Callable[[str, str], Path]


@pytest.fixture
def judged(tiny: Path, write: Write) -> Callable[..., Config]:
    """A function that loads a config with two claims, with overrides of the command line."""
    claims = "expect: {train_loss: '< 1', train_accuracy: '> 0.5'}\n"
    path = write("claims.yaml", f"base: tiny.yaml\n{claims}")

    def load(*words: str, check: bool = False) -> Config:
        return with_judged_claims(load_config(path, words), words, lambda: load_config(path), check=check)

    assert tiny.exists()
    return load


@pytest.mark.parametrize(
    "word", ["name=other", "plots=[curves]", "threads=1", "device=cpu", "graph=false", "compile=true"]
)
def test_what_changes_no_figure_leaves_every_claim_to_be_judged(
    word: str, judged: Callable[..., Config]
) -> None:
    assert judged(word).not_judged == {}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["seeds=[7]"], "seeds changed"),
        (["epochs=9", "optimizer.lr=0.5"], "optimizer.lr and epochs changed"),
        (["precision=float64", "name=other"], "precision changed"),
    ],
)
def test_what_changes_figures_leaves_none_to_be_judged_unless_that_is_asked_for(
    words: list[str], why: str, judged: Callable[..., Config]
) -> None:
    assert judged(*words).not_judged == {"train_loss": why, "train_accuracy": why}
    assert judged(*words, "expect.train_loss='< 1'").not_judged == {"train_accuracy": why}
    assert judged(*words, check=True).not_judged == {}


def test_a_file_that_states_fewer_epochs_than_its_claims_are_of_stays_unjudged(
    tiny: Path, write: Write
) -> None:
    path = write("short.yaml", f"{tiny.read_text()}expect_epochs: 10\nexpect: {{train_loss: '< 1'}}\n")
    words = ("threads=1",)
    found = with_judged_claims(load_config(path, words), words, lambda: load_config(path), check=False)
    assert found.not_judged == {"train_loss": "it has 3 epochs, and its claims are of 10"}


def test_a_file_that_says_why_claims_are_not_judged_keeps_its_reason(tiny: Path, write: Write) -> None:
    claims = "expect_epochs: 10\nexpect: {train_loss: '< 1'}\nnot_judged: {train_loss: epochs changed}\n"
    path = write("shown.yaml", f"{tiny.read_text()}{claims}")
    for word, why in (("threads=1", "epochs changed"), ("seeds=[7]", "epochs changed; then seeds changed")):
        found = with_judged_claims(load_config(path, [word]), [word], lambda: load_config(path), check=False)
        assert found.not_judged == {"train_loss": why}


BASES = {
    "base: tiny.yaml\nepochs: 3\nname: other\nplots: []\n": {},
    "base: tiny.yaml\nepochs: 2\noptimizer: {lr: 0.5}\n": {
        "train_loss": "optimizer.lr and epochs of its base claims.yaml changed"
    },
    "base: tiny.yaml\nepochs: 2\nexpect: {train_loss: '< 2'}\n": {},
    "base: tiny.yaml\nepochs: 2\nexpect: {train_accuracy: '> 0.5'}\n": {
        "train_loss": "epochs of its base claims.yaml changed"
    },
    "base: middle.yaml\n": {"train_loss": "seeds of its base claims.yaml changed"},
}


@pytest.mark.parametrize("text", BASES)
def test_a_claim_of_a_base_is_judged_if_nothing_is_changed_that_it_depends_on(
    text: str, tiny: Path, write: Write
) -> None:
    write("claims.yaml", f"{tiny.read_text()}expect: {{train_loss: '< 1'}}\n")
    write("middle.yaml", "base: claims.yaml\nseeds: [5]\nexpect: {train_accuracy: '> 0.5'}\n")
    path = write("child.yaml", text.replace("tiny", "claims"))
    config = load_config(path)
    assert config.not_judged == BASES[text]
    assert with_judged_claims(config, (), lambda: load_config(path), check=True).not_judged == {}


def test_a_claim_of_a_base_that_is_not_complete_is_of_no_config_that_completes_it(write: Write) -> None:
    write("part.yaml", "dataset: spiral\nexpect: {train_loss: '< 1'}\n")
    path = write(
        "whole.yaml",
        "base: part.yaml\narchitecture: linear\nloss: cross_entropy\noptimizer: {name: sgd, lr: 1e-2}\n"
        "epochs: 1\nbatch_size: full\n",
    )
    why = "architecture, loss, optimizer and 2 more of its base part.yaml changed"
    assert load_config(path).not_judged == {"train_loss": why}


def test_what_the_command_line_changes_is_no_change_of_a_base(tiny: Path, write: Write) -> None:
    write("claims.yaml", f"{tiny.read_text()}expect: {{train_loss: '< 1'}}\n")
    path = write("child.yaml", "base: claims.yaml\n")
    assert load_config(path, ["optimizer.lr=0.5", "dataset.points=30"]).not_judged == {}


def test_the_shipped_configs_state_every_claim_themselves() -> None:
    found = {path.name: load_config(path) for path in sorted((PROJECT / "configs").rglob("*.yaml"))}
    assert not {name: config.not_judged for name, config in found.items() if config.not_judged}
    assert sum(bool(config.expect) for config in found.values()) > 20
