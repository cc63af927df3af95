"""Subwords: learnt from the part that trains, the same for every text, and kept whole in a checkpoint."""

from __future__ import annotations

import builtins
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import planned, trained

from dlrun.config.registry import Parts
from dlrun.data.text import subwords
from dlrun.data.text.subwords import Subwords
from dlrun.data.text.texts import Text, letters_of
from dlrun.data.trees import single
from dlrun.dataset.text_file import text_file
from dlrun.errors import CheckpointRefused, UserError
from dlrun.metrics.bits_per_character import bits_per_character, finish
from dlrun.results.continuation import Sampling
from dlrun.results.prediction import predict_files
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.opening import open_plan

RHYME = "Humpty Dumpty sat on a wall, Humpty Dumpty had a great fall.\nÄ€ and 😀!\n" * 8


def text(of: str) -> Text:
    return letters_of(of, "characters")


@pytest.fixture(scope="module")
def learnt() -> Subwords:
    return Subwords.learnt(text(RHYME), 300)


def test_neighbours_are_joined_in_the_order_of_their_frequency() -> None:
    """The example of Sennrich et al., figure 1, without its mark for the end of a word."""
    words = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3
    found = Subwords.learnt(text(words.replace(" ", "\n")), 260)
    assert found.merges == ("e s", "es t", "l o", "lo w")
    assert found.vocabulary[-4:] == ("es", "est", "lo", "low")
    assert len(found.vocabulary) == len(found.characters) == 260


def test_any_text_has_tokens_that_give_it_back(learnt: Subwords) -> None:
    @settings(max_examples=200, deadline=None)
    @given(st.text())
    def same(of: str) -> None:
        assert learnt.text(learnt.ids(text(of))) == of

    same()
    assert (
        len(learnt.ids(text("Humpty Dumpty sat")))
        == 3
        == len({*learnt.ids(text("Humpty Dumpty sat")).tolist()})
    )
    assert learnt.text(learnt.ids(text("Ä"))[:0]) == ""


def test_the_characters_of_tokens_add_up_to_those_of_the_text(learnt: Subwords) -> None:
    for of in (RHYME, "日本語 😀😀 naïve", "\x00\x7f"):
        assert sum(learnt.characters[place] for place in learnt.ids(text(of)).tolist()) == len(of)


def test_a_text_that_is_cut_into_pieces_has_the_tokens_of_the_whole(
    learnt: Subwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = RHYME + "  two  spaces \n\n\nafter  . a\tb 12 34\n" * 3
    whole, pieces = learnt.ids(text(of)), list(subwords._pieces(text(of)))
    monkeypatch.setattr(subwords, "_AT_ONCE", 3)
    cut = list(subwords._pieces(text(of)))
    assert len(pieces) == 1 and len(cut) > 50 and "".join(cut) == of
    assert torch.equal(learnt.ids(text(of)), whole)


def data_of(folder: Path, **options: Any) -> Any:
    path = folder / "rhyme.txt"
    path.write_text(RHYME)
    usual = {"path": str(path), "tokens": "subwords", "vocabulary": 280, "window": 8}
    return text_file(folder, **usual | options)


def test_only_the_part_that_trains_is_learnt_from(tmp_path: Path) -> None:
    path = tmp_path / "two.txt"
    path.write_text("abab " * 200 + "xyxy " * 100)
    data = data_of(tmp_path, path=str(path), test_fraction=1 / 3)
    assert any("ab" in token for token in data.vocabulary)
    assert not any("xy" in token for token in data.vocabulary)
    test = data.read()["test"]
    assert data.decode(single(test.inputs)[0]) == "xyxy xyx"


def test_bits_are_counted_for_each_character_whatever_the_tokens(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    targets = single(data.read()["test"].targets)[0]
    guess = torch.full((len(targets), len(data.vocabulary)), -math.log(len(data.vocabulary)))
    means = bits_per_character(guess, targets, data).double().mean(0).tolist()
    characters = len(data.decode(targets))
    assert characters > len(targets)
    wanted = len(targets) * math.log2(len(data.vocabulary)) / characters
    assert finish(means) == pytest.approx(wanted, rel=1e-6)


def test_a_model_of_subwords_is_kept_whole_and_continues_texts(tmp_path: Path) -> None:
    data_of(tmp_path)
    dataset = {"name": "text_file", "path": str(tmp_path / "rhyme.txt"), "tokens": "subwords"}
    small = {
        "dataset": dataset | {"vocabulary": 280, "window": 8},
        "architecture": {"name": "rnn", "hidden": 8, "embedding": 4},
        "metrics": ["bits_per_character"],
    }
    run = trained(planned(**small), tmp_path)
    (tmp_path / "rhyme.txt").unlink()  # all that is needed is in the checkpoint
    first, again = (
        predict_files(run.best, ["Humpty 😀"], Parts(), tmp_path, sampling=Sampling(length=20))
        for _ in range(2)
    )
    assert first.rows() == again.rows()
    assert first.rows()[0]["prompt"] == "Humpty 😀" and len(first.rows()[0]["continuation"]) > 10
    saved = load_checkpoint(run.best)
    saved.data["known"]["merges"] = ["ab c"]
    save_checkpoint(tmp_path / "bad.pt", saved)
    with pytest.raises(CheckpointRefused):
        open_plan(tmp_path / "bad.pt", [], Parts(), tmp_path)


@pytest.mark.parametrize(
    "merges",
    [
        ["a b c"],
        ["ab c"],  # ab is no token yet
        ["a b", "a b"],
        [f"{'a' * 2**k} {'a' * 2**k}" for k in range(9)],
        [7],
        "a b",
    ],
)
def test_merges_of_strangers_are_small_and_made_of_earlier_tokens(merges: object) -> None:
    with pytest.raises(ValueError):
        Subwords.remembered({"merges": merges})


def test_what_makes_no_vocabulary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="vocabulary is 255, but subwords are the 256 bytes"):
        data_of(tmp_path, vocabulary=255)
    with pytest.raises(UserError, match="the vocabulary of characters is not chosen"):
        data_of(tmp_path, tokens="characters")
    with pytest.raises(UserError, match=r"of 568 characters the test split gets \d+ subwords"):
        data_of(tmp_path, window=80)
    usual = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match="which is not installed") as refused:
        data_of(tmp_path)
    assert refused.value.fix == "pip install 'dlrun[tokenizers]'"
