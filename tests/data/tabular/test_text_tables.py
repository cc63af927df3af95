"""Texts of a table as ids: the vocabulary of training, cut and filled up, and the same for new texts."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, outcome, planned, trained

from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.dataset.text_table import text_table
from dlrun.errors import CheckpointRefused, UserError
from dlrun.results.prediction import predict_files
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.opening import open_checkpoint, open_plan

GOOD, BAD = ("fine", "lovely", "great"), ("awful", "dull", "poor")
DRAWN: dict[str, Any] = {"split_rule": "drawn", "valid_fraction": 0.0}
OWN = [f"only{row}" for row in range(40)]


def written(folder: Path, rows: list[list[str]] | None = None, header: str = "review,stars,label") -> Path:
    """Forty reviews, each with a word of its own, unless other rows are given."""
    if rows is None:
        rows = []
        for row in range(40):
            words = (GOOD, BAD)[row % 2]
            text = f"The film, which is {words[row % 3]}; {OWN[row]}!"
            rows.append([text, str(1 + row % 5), ("good", "bad")[row % 2]])
    lines = StringIO()
    csv.writer(lines).writerows([header.split(","), *rows])
    path = folder / "reviews.csv"
    path.write_text(lines.getvalue(), encoding="utf-8")
    return path


def reviews(path: Path, known: Any = None, **options: Any) -> Data:
    usual: dict[str, Any] = DRAWN | {"text": "review", "target": "label", "length": 12}
    return text_table(path.parent, known, path=str(path), **usual | options)


def texts_of(data: Data, split: str) -> list[list[str]]:
    """The tokens of each text of a split, without padding."""
    inputs = data.read()[split].inputs
    assert isinstance(inputs, torch.Tensor)
    return [[data.vocabulary[index] for index in row if index] for row in inputs.tolist()]


def refusal(path: Path, known: Any = None, **options: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        reviews(path, known, **options).read()
    assert max(map(len, refused.value.lines())) < 250
    return refused.value


def test_the_vocabulary_is_that_of_training_and_what_else_is_unknown(tmp_path: Path) -> None:
    data = reviews(written(tmp_path))
    assert data.vocabulary[:2] == ("", "<unknown>") and data.classes == ("bad", "good")
    seen = Counter(token for text in texts_of(data, "train") for token in text)
    assert seen["<unknown>"] == 0 and set(seen) == set(data.vocabulary[2:])
    counts = [seen[token] for token in data.vocabulary[2:]]
    assert counts == sorted(counts, reverse=True)
    new = [token for text in texts_of(data, "test") for token in text]
    assert new.count("<unknown>") == len(texts_of(data, "test")) == 8, "each has a word of its own"
    assert texts_of(data, "test")[0][:7] == ["the", "film", ",", "which", "is", new[5], ";"]


def test_a_small_vocabulary_has_the_most_frequent_tokens(tmp_path: Path) -> None:
    data = reviews(written(tmp_path), vocabulary=3)
    assert data.vocabulary == ("", "<unknown>", "!", ",", ";")
    assert reviews(written(tmp_path), vocabulary=9, lowercase=False).vocabulary[5] == "The"


def test_a_short_text_is_filled_up_and_a_long_one_is_cut_and_counted(tmp_path: Path) -> None:
    rows = [["one two three four", "1", "a"], ["one", "1", "b"]] * 10
    data = reviews(written(tmp_path, rows), length=3, test_fraction=0.2)
    inputs = data.read()["train"].inputs
    assert isinstance(inputs, torch.Tensor) and inputs.shape == (16, 3)
    found = [[data.vocabulary[index] for index in row] for row in inputs.tolist()]
    assert sorted(found) == [["one", "", ""]] * 8 + [["one", "two", "three"]] * 8
    assert data.notes == ["10 of 20 texts have more than 3 tokens, of which the first are taken"]
    assert not reviews(written(tmp_path, rows), length=4).notes


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_characters_and_bytes_are_tokens_too(tmp_path: Path, tokens: str) -> None:
    data = reviews(written(tmp_path, [["Né", "1", "a"], ["no", "1", "b"]] * 5), tokens=tokens)
    wanted = {"characters": ["n", "é"], "bytes": ["n", "\\xc3", "\\xa9"]}[tokens]
    assert texts_of(data, "train")[0] == wanted


def test_a_number_may_be_predicted_in_its_own_unit(tmp_path: Path) -> None:
    data = reviews(written(tmp_path), target="stars", task="regression", unit="stars", scale_target=True)
    targets = data.read()["train"].targets
    assert isinstance(targets, torch.Tensor)
    assert (data.classes, data.unit, targets.shape) == ((), "stars", (32, 1))
    assert data.scaling == pytest.approx((float(targets.mean()), float(targets.std(correction=0))))
    plan = planned(
        dataset={
            "name": "text_table",
            "path": str(written(tmp_path)),
            "text": "review",
            "target": "stars",
            "task": "regression",
            "scale_target": True,
        },
        architecture="embedding_bag",
        loss="mse",
        metrics=["mae"],
    )
    [row] = predict_files(trained(plan, tmp_path).best, ["A great film"], Parts(), tmp_path).rows()
    assert row.keys() == {"input", "stars"} and 0 < row["stars"] < 6


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (None, {"text": "revue"}, "there is no column 'revue'; did you mean 'review'?"),
        (None, {"text": "label"}, "label is the target, and cannot be the text too"),
        (None, {"task": "regression"}, "label holds text such as 'good'"),
        ([["a", "1", "x"], ["", "1", "y"]] * 5, {}, "5 cells are missing: review in row 3"),
        ([["a", "1", "x"]] * 9, {}, "label has a single value, but classes are 2 to 1,000"),
        ([["a", "1", "x"], ["b", "1", "y"]], {}, "but needs 2"),
        (None, {"length": 10**8}, "take more than 2 GiB"),
        (
            [["a", "1", "x"]] * 9,
            {"target": "stars", "task": "regression", "scale_target": True},
            "cannot be scaled",
        ),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    tmp_path: Path, rows: Any, options: dict[str, Any], message: str
) -> None:
    error = refusal(written(tmp_path, rows), **options)
    assert message in error.what
    assert "fill" not in error.fix, "a text has no mean"


def test_rows_without_a_text_may_be_left_out(tmp_path: Path) -> None:
    rows = [["a b", "1", "x"], ["", "1", "y"], ["c", "1", "y"], ["d", "1", ""]] * 5
    data = reviews(written(tmp_path, rows), missing="drop")
    assert sum(map(len, data.read().values())) == 10
    assert "10 of 20 rows are left out" in data.notes[0]


# ------------------------------------------------------------------------ trained models

CHANGES: dict[str, Any] = {
    "architecture": {"name": "embedding_bag", "embedding": 8},
    "seeds": [0, 3],
    "epochs": 8,
    "optimizer": {"name": "adam", "lr": 0.05},
}


def dataset_of(path: Path, **options: Any) -> dict[str, Any]:
    return {
        "name": "text_table",
        "path": str(path),
        "text": "review",
        "target": "label",
        "length": 12,
        **options,
    }


def test_new_texts_come_from_a_column_from_lines_or_are_given(
    tmp_path: Path, dlrun: Callable[..., Any]
) -> None:
    path = written(tmp_path)
    run = trained(planned(dataset=dataset_of(path), **CHANGES), tmp_path)
    model, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    first = next(csv.DictReader(path.open()))["review"]
    encode = model.plan.data.encode
    assert encode
    shares = model.probabilities(encode(first).unsqueeze(0)).mean(0)
    path.unlink()
    again = tmp_path / "again.csv"
    again.write_text(f'more,review\n1,"{first}"\n2,"Dull?"\n')
    lines = tmp_path / "again.txt"
    lines.write_text(f"\n{first}\n  \n Dull? \n")
    rows = [predict_files(run.best, each, Parts(), tmp_path).rows() for each in ([again], [lines], [first])]
    assert [[row["input"] for row in each] for each in rows] == [
        ["row 2", "row 3"],
        ["line 2", "line 4"],
        [first],
    ]
    for each in rows:
        assert each[0]["class"] == "good"
        assert list(each[0]["probabilities"].values()) == pytest.approx(shares[0].tolist(), abs=1e-6)
    assert [row["class"] for row in rows[0]] == [row["class"] for row in rows[1]] == ["good", "bad"]
    both = predict_files(run.best, [again, lines, "dull"], Parts(), tmp_path).rows()
    assert [row["input"] for row in both] == [
        *("again.csv: row 2", "again.csv: row 3", "again.txt: line 2", "again.txt: line 4"),
        "dull",
    ]
    shown = dlrun("predict", run.folder, "A dull film", "--json")
    assert json.loads(shown.out)["predictions"][0]["class"] == "bad"
    with pytest.raises(UserError, match="the text is empty"):
        predict_files(run.best, [" "], Parts(), tmp_path)
    with pytest.raises(UserError, match=r"there is no file .*review.txt"):
        predict_files(run.best, ["review.txt"], Parts(), tmp_path)
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(UserError, match="the file has no line of text"):
        predict_files(run.best, [tmp_path / "blank.txt"], Parts(), tmp_path)


def test_a_long_new_text_is_reported(tmp_path: Path, dlrun: Callable[..., Any]) -> None:
    run = trained(planned(dataset=dataset_of(written(tmp_path)), **CHANGES), tmp_path)
    assert "1 of 1 text has more than 12 tokens" in dlrun("predict", run.folder, "so " * 13).err


def test_a_run_of_texts_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    changes = CHANGES | {"dataset": dataset_of(written(tmp_path), valid_fraction=0.25)}
    unbroken = trained(planned(**changes), tmp_path)
    run = trained(planned(**changes), tmp_path, stop_after=3)
    go_on(run, changes)
    assert not differences(outcome(unbroken), outcome(run))


def test_a_model_keeps_its_vocabulary_and_refuses_another_way_to_cut(tmp_path: Path) -> None:
    path = written(tmp_path)
    known = dict(reviews(path).known)
    other = written(tmp_path, [["quite new words", "1", "bad"], ["great", "1", "good"]] * 10)
    data = reviews(other, known)
    assert data.vocabulary == tuple(known["vocabulary"])
    assert texts_of(data, "train")[0] == ["<unknown>"] * 3
    assert "not trained with tokens: bytes" in refusal(other, known, tokens="bytes").what
    assert "not trained with lowercase: false" in refusal(other, known, lowercase=False).what
    assert "not trained for regression" in refusal(other, known, target="stars", task="regression").what
    strange = written(tmp_path, [["great", "1", "odd"], ["great", "1", "good"]] * 10)
    assert "no class of the model" in refusal(strange, known).what


def test_no_text_changes_its_split_when_the_table_grows(tmp_path: Path) -> None:
    def places(data: Data) -> dict[int, str]:
        return {int(key): name for name, some in data.read().items() for key in some.keys}

    labels = ("good", "bad")
    rows = [[f"{(GOOD, BAD)[n % 2][n % 3]} {OWN[n]}", "1", labels[n % 2]] for n in range(40)]
    hashed: dict[str, Any] = {"split_rule": "hash", "valid_fraction": 0.1}
    first = reviews(written(tmp_path, rows), **hashed)
    before = places(first)
    assert sorted(before.values()).count("test") == 8
    more = [[f"new {n}", "1", labels[n % 2]] for n in range(9)]
    after = places(reviews(written(tmp_path, [*more, *rows]), dict(first.known), **hashed))
    assert {key: after[key] for key in before} == before and len(after) == 49


def test_a_forged_vocabulary_is_refused(tmp_path: Path) -> None:
    run = trained(planned(dataset=dataset_of(written(tmp_path)), **CHANGES), tmp_path)
    saved = load_checkpoint(run.best)
    known = saved.data["known"]
    first, *others = known["vocabulary"]
    for wrong in (
        {"vocabulary": [*others, first]},
        {"vocabulary": [first, others[0], *others[:-1]]},
        {"vocabulary": None},
        {"classes": ["good", "good"]},
        {"scaling": [0.0, 0.0]},
    ):
        forged = replace(saved, data=saved.data | {"known": known | wrong})
        save_checkpoint(tmp_path / "forged.pt", forged)
        with pytest.raises(CheckpointRefused):
            open_plan(tmp_path / "forged.pt", [], Parts(), tmp_path)


def test_another_table_is_read_whole_with_the_words_and_classes_of_training(tmp_path: Path) -> None:
    data = reviews(written(tmp_path))
    assert data.read_labelled and data.name_of
    old = ["The film, which is fine; only0!", "4", "good"]
    more = written(tmp_path, [["a fine film", "1", "bad"], old, ["never heard", "2", "good"]])
    found = data.read_labelled(more)
    train = data.read()["train"]
    assert isinstance(found.inputs, torch.Tensor) and isinstance(found.targets, torch.Tensor)
    words = [[data.vocabulary[index] for index in row if index] for row in found.inputs.tolist()]
    assert words[0] == ["<unknown>", "fine", "film"]
    assert [data.classes[index] for index in found.targets.tolist()] == ["bad", "good", "good"]
    assert found.origin is not None and [data.name_of(int(n)) for n in found.origin] == [
        "row 2",
        "row 3",
        "row 4",
    ]
    every = torch.cat([own.keys for own in data.read().values() if own.keys is not None])
    assert found.keys is not None and torch.isin(found.keys, every).tolist() == [False, True, False]
    assert train.keys is not None and len(train.keys.unique()) == len(train) == 32
    with pytest.raises(UserError, match="'odd'"):
        data.read_labelled(written(tmp_path, [["a film", "1", "odd"]]))


def test_a_run_of_a_file_that_is_read_as_it_seems_to_be_meant_is_opened_again(tmp_path: Path) -> None:
    path = written(tmp_path)
    rows = list(csv.reader(path.open()))
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    run = trained(planned(dataset=dataset_of(path), **CHANGES), tmp_path)
    model, _ = open_checkpoint(run.best, run, [], Parts(), tmp_path)
    assert model.loaded["train"].raw().shape[1] == model.data.shape[0]
    assert predict_files(run.best, ["A dull film"], Parts(), tmp_path).rows()[0]["class"] == "bad"
