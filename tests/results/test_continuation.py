"""Texts that a model continues: drawn from its probabilities, and the same for the same seed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import planned, trained

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.continuation import Continuations, Sampling, continued
from dlrun.results.prediction import predict_files
from dlrun.run_folders.run import Run
from dlrun.training.opening import open_checkpoint

ABC = "abcdefgh" * 60
WINDOW = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two seeds that have begun to learn the order of letters, from a file that is gone."""
    folder = tmp_path_factory.mktemp("letters")
    path = folder / "letters.txt"
    path.write_text(ABC)
    plan = planned(
        dataset={"name": "text_file", "path": str(path), "window": WINDOW},
        architecture={"name": "transformer", "layers": 1, "width": 16, "heads": 2, "causal": True},
        seeds=[0, 1],
        epochs=2,
    )
    made = trained(plan, folder)
    path.unlink()
    return made


def told(run: Run, *given: str | Path, **sampling: Any) -> list[dict[str, Any]]:
    found = predict_files(run.best, given, Parts(), run.folder, sampling=Sampling(**sampling))
    assert isinstance(found, Continuations)
    return found.rows()


def test_a_continuation_follows_the_most_probable_tokens_at_temperature_0(run: Run, tmp_path: Path) -> None:
    [row] = told(run, "ab", length=12, temperature=0)
    assert (row["input"], row["prompt"]) == ("ab", "ab")
    data = tmp_path / "letters.txt"
    data.write_text(ABC)
    model, _ = open_checkpoint(run.best, run, [f"dataset.path={data}"], Parts(), tmp_path)
    encode, text = model.plan.data.encode, "ab"
    assert encode
    for _ in range(12):
        recent = encode(text[-WINDOW:]).unsqueeze(0)
        with torch.no_grad():
            outputs = torch.stack([copy(recent)[0, :, -1] for copy in model.model.copies])
        text += model.plan.data.vocabulary[int(outputs.softmax(-1).mean(0).argmax())]
    assert row["continuation"] == text[2:]
    assert told(run, "ab", length=12, temperature=0, seed=9)[0] == row


def test_tokens_are_drawn_as_often_as_they_are_probable(run: Run) -> None:
    plan, hardware, preprocessing, model = opened(run)
    encode = plan.data.encode
    prompt = encode("ab")
    with torch.no_grad():
        model.copies[1].head.bias[4] += 4.0  # the second copy is sure of another letter
        outputs = torch.stack([copy(prompt.unsqueeze(0))[0, :, -1] for copy in model.copies])
    shares = outputs.softmax(-1).mean(0)
    for temperature, wanted in ((1.0, shares), (0.5, shares**2 / (shares**2).sum())):
        drawn = [
            continued(plan, model, preprocessing, hardware, [prompt], Sampling(1, temperature, seed))[0]
            for seed in range(400)
        ]
        found = torch.bincount(torch.cat(drawn), minlength=8) / 400
        assert (found - wanted).abs().max() < 0.09  # 3.6 standard deviations of a share of one half


def opened(run: Run) -> Any:
    from dlrun.training.opening import open_model, open_plan

    plan, preprocessing, saved = open_plan(run.best, [], Parts(), run.folder)
    hardware = plan.hardware()
    return plan, hardware, preprocessing, open_model(plan, hardware, saved, run.best)


def test_a_seed_has_one_continuation_and_another_seed_another(run: Run) -> None:
    one = told(run, "abc", length=40, seed=3)
    assert one == told(run, "abc", length=40, seed=3)
    assert one != told(run, "abc", length=40, seed=4)
    assert told(run, "fgh", "abc", length=40, seed=3)[1] == one[0], "whatever else is continued"
    assert told(run, "abc", length=15, seed=3)[0]["continuation"] == one[0]["continuation"][:15]


def test_a_model_sees_as_much_of_a_text_as_a_window_of_training_has(run: Run) -> None:
    long = ABC[: 5 * WINDOW]
    [row] = told(run, long, length=30, seed=1)
    [recent] = told(run, long[-WINDOW:], length=30, seed=1)
    assert row["continuation"] == recent["continuation"]


def test_a_file_is_a_beginning_too_and_what_only_looks_like_one_is_missed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "start.txt").write_text("abc")
    [row, of_text] = told(run, tmp_path / "start.txt", "abc", length=9)
    assert (row["input"], row["prompt"]) == ("start.txt", "abc")
    assert row["continuation"] == of_text["continuation"]
    with pytest.raises(UserError, match=r"there is no file .*abc\.txt"):
        told(run, "abc.txt")
    with pytest.raises(UserError, match="the text is empty"):
        told(run, "")
    with pytest.raises(UserError, match="line 1, character 3 is 'é'"):
        told(run, "abé")
    assert told(run, "abcdefgh" * 100, length=1), "longer than any file name"


def test_what_is_printed_is_the_text_csv_or_json(dlrun: Callable[..., Any], run: Run, tmp_path: Path) -> None:
    words = ("predict", run.folder, "abc", "gh", "--length", 5, "--seed", 2, "--temperature", 0.7)
    rows = told(run, "abc", "gh", length=5, seed=2, temperature=0.7)
    assert json.loads(dlrun(*words, "--json").out)["predictions"] == rows
    assert list(csv.DictReader(StringIO(dlrun(*words, "--csv").out))) == rows
    both = [f"--- {row['input']}\n{row['prompt']}{row['continuation']}\n" for row in rows]
    assert dlrun(*words).out == "".join(both)
    [long] = told(run, ABC * 3, length=3)
    assert (
        dlrun("predict", run.folder, ABC * 3, "--length", 3).out
        == f"…{ABC[-40:] * 25}{long['continuation']}\n"
    )


def test_a_model_of_no_texts_has_no_sampling(tmp_path: Path, write: Callable[[str, str], Path]) -> None:
    other = trained(planned(), tmp_path)
    with pytest.raises(UserError, match="--temperature and --seed are for a model that continues texts"):
        predict_files(other.best, [write("a.csv", "a,b\n1,2\n")], Parts(), tmp_path, sampling=Sampling())
    with pytest.raises(UserError, match=r"there is no file .*abc"):
        predict_files(other.best, ["abc"], Parts(), tmp_path)
