"""Claims are judged as long as nothing is changed that they depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
        (["seeds=[7]"], "seeds was changed"),
        (["epochs=9", "optimizer.lr=0.5"], "optimizer.lr and epochs were changed"),
        (["precision=float64", "name=other"], "precision was changed"),
    ],
)
def test_what_changes_figures_leaves_none_to_be_judged_unless_that_is_asked_for(
    words: list[str], why: str, judged: Callable[..., Config]
) -> None:
    assert judged(*words).not_judged == {"train_loss": why, "train_accuracy": why}
    assert judged(*words, "expect.train_loss='< 1'").not_judged == {"train_accuracy": why}
    assert judged(*words, check=True).not_judged == {}
