"""A text as examples: what its tokens are, which windows it is cut into, what no model can learn from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, outcome, planned, trained

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.devices import memory_of, on_device, overlaps
from dlrun.data.examples import Data
from dlrun.data.hold_out import consecutive
from dlrun.data.loaded import Loaded
from dlrun.data.text.texts import tokens_of
from dlrun.dataset.text_file import text_file
from dlrun.errors import CheckpointRefused, UserError
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.opening import open_checkpoint, open_plan
from dlrun.training.plan_trials import try_on

CPU = torch.device("cpu")
RHYME = "Humpty Dumpty sat on a wall,\nHumpty Dumpty had a great fall.\n" * 8
SMALL_LM: dict[str, Any] = {
    "architecture": {"name": "rnn", "hidden": 12, "embedding": 6},
    "metrics": ["accuracy", "bits_per_character"],
    "seeds": [0, 3],
}


def written(folder: Path, text: str | bytes = RHYME) -> Path:
    path = folder / "rhyme.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def of_text(path: Path, known: Any = None, **options: Any) -> Data:
    return text_file(path.parent, known, path=str(path), **{"window": 10} | options)


def decoded(data: Data, ids: torch.Tensor) -> str:
    assert data.decode
    return data.decode(ids)


def refusal(path: Path, known: Any = None, **options: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        of_text(path, known, **options).read()
    assert max(map(len, refused.value.lines())) < 250
    return refused.value


# ------------------------------------------------------------------------ tokens


def test_each_target_is_the_character_behind_its_input_and_each_is_predicted_once(tmp_path: Path) -> None:
    data = of_text(written(tmp_path), test_fraction=0.25, valid_fraction=0.5)
    assert data.vocabulary == data.classes == tuple(sorted(set(RHYME)))
    end = 0
    for name, share in (("train", 0.375), ("valid", 0.375), ("test", 0.25)):
        part = RHYME[end : end + round(share * len(RHYME))]
        examples = data.read()[name]
        assert isinstance(examples.inputs, torch.Tensor) and isinstance(examples.targets, torch.Tensor)
        windows = len(examples)
        assert windows == (len(part) - 1) // 10
        assert decoded(data, examples.inputs.flatten()) == part[: 10 * windows]
        assert decoded(data, examples.targets.flatten()) == part[1 : 10 * windows + 1]
        end += len(part)
    assert end == len(RHYME)


def test_bytes_are_the_tokens_of_any_file(tmp_path: Path) -> None:
    raw = bytes(range(256)) * 3
    data = of_text(written(tmp_path, raw), tokens="bytes")
    inputs = data.read()["train"].inputs
    assert isinstance(inputs, torch.Tensor)
    assert len(data.vocabulary) == 256
    assert bytes(inputs.flatten().tolist()) == raw[: inputs.numel()]
    assert data.encode and data.encode("é").tolist() == [0xC3, 0xA9]
    assert decoded(data, torch.tensor([0x61, 0xC3, 0xA9, 0xC3])) == "aé\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_characters_beyond_ascii_are_one_token_each(tmp_path: Path, mark: bytes) -> None:
    text = "Ä€😀\r\n" * 40
    data = of_text(written(tmp_path, mark + text.encode()))
    assert data.vocabulary == ("\n", "\r", "Ä", "€", "😀")
    inputs = data.read()["train"].inputs
    assert isinstance(inputs, torch.Tensor)
    assert decoded(data, inputs[0]) == text[:10]
    assert data.encode and decoded(data, data.encode("😀Ä")) == "😀Ä"


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        ("words", ["don't", "say", ":", "é2", "!", "!"]),
        ("characters", list("don't say: é2!!")),
        ("bytes", [*"don't say: ", "\\xc3", "\\xa9", "2", "!", "!"]),
    ],
)
def test_a_text_is_cut_into_tokens_none_of_which_is_lost(tokens: Any, wanted: list[str]) -> None:
    assert tokens_of("Don't say: É2!!", tokens, lowercase=True) == wanted


# ------------------------------------------------------------------------ windows


def test_windows_to_train_on_begin_every_stride_tokens_and_others_never_overlap(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = of_text(path, stride=3, valid_fraction=0.2)
    splits = data.read()
    train, valid = splits["train"].inputs, splits["valid"].inputs
    assert isinstance(train, torch.Tensor) and isinstance(valid, torch.Tensor)
    assert [decoded(data, window) for window in train[:2]] == [RHYME[:10], RHYME[3:13]]
    usual = of_text(path, valid_fraction=0.2).read()["valid"].inputs
    assert isinstance(usual, torch.Tensor) and torch.equal(valid, usual)


def test_overlapping_windows_take_no_memory_and_keep_none_on_another_device(tmp_path: Path) -> None:
    data = of_text(written(tmp_path), stride=1)
    inputs = data.read()["train"].inputs
    assert isinstance(inputs, torch.Tensor) and overlaps(inputs)
    assert memory_of(inputs).numel() == len(inputs) + 9
    there = on_device(inputs, torch.device("meta"))
    assert (there.shape, there.stride()) == (inputs.shape, inputs.stride())
    assert there.untyped_storage().nbytes() == 8 * (len(inputs) + 9)
    batch, _ = Loaded(data, CPU)["train"].batch(torch.tensor([[0], [1]]))
    assert isinstance(batch, torch.Tensor)
    assert [decoded(data, window) for window in batch[:, 0]] == [RHYME[:10], RHYME[1:11]]


def test_the_fingerprint_is_that_of_the_text_and_its_windows(tmp_path: Path) -> None:
    def fingerprint(text: str = RHYME, **options: Any) -> str:
        return Loaded(of_text(written(tmp_path, text), **options), CPU).fingerprint

    other = RHYME.replace("wall", "well", 1)
    found = [fingerprint(stride=1), fingerprint(), fingerprint(other, stride=1), fingerprint(stride=2)]
    assert len(set(found)) == 4
    assert fingerprint(stride=1) == found[0]


def test_no_window_lies_across_a_border(tmp_path: Path) -> None:
    text = "a" * 100 + "b" * 20 + "c" * 40
    data = of_text(written(tmp_path, text), test_fraction=0.25, valid_fraction=1 / 6, stride=1)
    for name, letter in (("train", "a"), ("valid", "b"), ("test", "c")):
        examples = data.read()[name]
        assert isinstance(examples.inputs, torch.Tensor) and isinstance(examples.targets, torch.Tensor)
        assert set(decoded(data, examples.inputs.flatten())) == {letter}
        assert set(decoded(data, examples.targets.flatten())) == {letter}


@pytest.mark.parametrize("n", [1, 7, 100])
@pytest.mark.parametrize(("valid", "test"), [(0.0, 0.2), (0.3, 0.0), (0.25, 0.5), (0.0, 0.0)])
def test_consecutive_parts_are_all_of_it_in_order(n: int, valid: float, test: float) -> None:
    parts = consecutive(n, valid, test)
    assert [index for part in parts.values() for index in range(n)[part]] == [*range(n)]
    assert ("valid" in parts, "test" in parts) == (valid > 0, test > 0)


# ------------------------------------------------------------------------ what is refused or reported


def test_what_only_later_parts_hold_is_reported(tmp_path: Path) -> None:
    [note] = of_text(written(tmp_path, "ab" * 90 + "abzy" * 5)).notes
    assert "the training split holds no 'y', 'z'" in note
    assert not of_text(written(tmp_path)).notes


def test_a_text_that_is_no_utf8_is_refused_with_the_byte(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, "fine\nfür".encode("latin-1") + b"\n" * 300))
    assert error.what == "line 2 is not UTF-8: byte 2 is 0xfc"
    assert error.where.endswith("rhyme.txt:2") and "UTF-8" in error.fix
    marked = refusal(written(tmp_path, b"\xef\xbb\xbfab\xff"))
    assert marked.what == "line 1 is not UTF-8: byte 3 is 0xff"


def test_a_character_that_is_new_to_the_model_is_refused_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path)
    known = dict(of_text(path).known)
    error = refusal(written(tmp_path, RHYME + "Humpty\nDümpty"), known)
    assert error.what.startswith("line 18, character 2 is 'ü' (U+00FC), which is not among the")
    assert error.where.endswith("rhyme.txt:18:2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"window": 600},
            "train split gets 439, but a window of 600 and the next one are 601",
        ),
        ({"window": 60}, "the test split gets 49"),
        ({"valid_fraction": 0.01}, "the valid split gets 4"),
    ],
)
def test_a_part_without_a_window_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    error = refusal(written(tmp_path), **options)
    assert message in error.what and "smaller window" in error.fix


def test_a_folder_nothing_and_no_file_are_refused(tmp_path: Path) -> None:
    assert "join its files" in refusal(tmp_path).fix
    assert "the file is empty" in refusal(written(tmp_path, "")).what
    assert "there is no file" in refusal(tmp_path / "none.txt").what


def test_a_checkpoint_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    plan = planned(dataset={"name": "text_file", "path": str(written(tmp_path)), "window": 10}, **SMALL_LM)
    saved = load_checkpoint(trained(plan, tmp_path).best)
    with pytest.raises(ValueError, match="not the bytes"):
        of_text(tmp_path / "none", {"vocabulary": ["a", "b"]}, tokens="bytes")
    letters = list(plan.data.vocabulary)
    for vocabulary in (["ab", *letters[1:]], [*letters[:-1], letters[0]], "abc", [1, 2], None):
        data = saved.data | {"known": {"vocabulary": vocabulary}, "classes": vocabulary}
        forged = replace(saved, data=data)
        save_checkpoint(tmp_path / "forged.pt", forged)
        with pytest.raises(CheckpointRefused):
            open_plan(tmp_path / "forged.pt", [], Parts(), tmp_path)


# ------------------------------------------------------------------------ training


def test_a_model_that_sees_what_it_is_to_predict_is_refused(tmp_path: Path) -> None:
    dataset = {"name": "text_file", "path": str(written(tmp_path)), "window": 10}
    cheats: list[dict[str, Any]] = [
        {"name": "transformer", "layers": 1, "width": 8, "heads": 2},
        {"name": "rnn", "hidden": 4, "bidirectional": True},
    ]
    honest: list[dict[str, Any]] = [cheats[0] | {"causal": True}, {"name": "rnn", "hidden": 4}]
    for architecture in cheats:
        plan = planned(dataset=dataset, architecture=architecture)
        with pytest.raises(ConfigError) as refused:
            try_on(plan, plan.load())
        [mistake] = refused.value.mistakes
        assert "sees the tokens that it is to predict" in str(mistake)
    for architecture in honest:
        plan = planned(dataset=dataset, architecture=architecture)
        try_on(plan, plan.load())


@pytest.mark.parametrize("stride", [None, 1])
def test_a_run_of_a_text_is_resumed_bit_for_bit_and_needs_no_file_to_be_opened(
    tmp_path: Path, stride: int | None
) -> None:
    path = written(tmp_path)
    changes = SMALL_LM | {
        "dataset": {"name": "text_file", "path": str(path), "window": 10, "stride": stride},
        "epoch_examples": 50,
    }
    unbroken = trained(planned(**changes), tmp_path)
    run = trained(planned(**changes), tmp_path, stop_after=1)
    go_on(run, changes)
    assert not differences(outcome(unbroken), outcome(run))
    model, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    assert len(model.loaded["test"]) == 4
    path.unlink()
    plan, _, _ = open_plan(run.best, [], Parts(), tmp_path)
    assert plan.data.vocabulary == tuple(sorted(set(RHYME)))


def test_another_text_is_read_whole_and_each_token_is_predicted_once(tmp_path: Path) -> None:
    data = of_text(written(tmp_path), window=10, stride=1)
    assert data.read_labelled
    other = tmp_path / "other.txt"
    other.write_text(RHYME[:35])
    found = data.read_labelled(other)
    assert isinstance(found.targets, torch.Tensor)
    assert "".join(data.vocabulary[index] for index in found.targets.flatten().tolist()) == RHYME[1:31]
    other.write_text(RHYME[:10])
    with pytest.raises(UserError, match="the text has 10 characters, but a window of 10"):
        data.read_labelled(other)
