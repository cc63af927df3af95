"""Conditions on runs."""

from __future__ import annotations

from typing import Any

import pytest

from dlrun.errors import UserError
from dlrun.run_folders.conditions import parse_condition

RUN: dict[str, Any] = {
    "optimizer.name": "adam",
    "optimizer.lr": 1e-3,
    "architecture.hidden": [100],
    "stacked": False,
    "monitor": None,
    "train_accuracy": 0.95,
    "epochs": 10,
    "name": "a b",
    "batch_size": "full",
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("optimizer.name == adam", True),
        ("optimizer.name != adam", False),
        ("optimizer.name == adam and train_accuracy > 0.9", True),
        ("optimizer.name == sgd and train_accuracy > 0.9 or epochs == 10", True),
        ("optimizer.name == sgd and (train_accuracy > 0.9 or epochs == 10)", False),
        ("not optimizer.name == sgd", True),
        ("not (epochs >= 10) or epochs<10", False),
        ("optimizer.lr <= 1e-3", True),
        ("optimizer.lr==0.001", True),
        ("architecture.hidden == [100]", True),
        ("stacked == false", True),
        ("stacked == 0", False),
        ("monitor == null", True),
        ("name == 'a b'", True),
        ('name == "a b"', True),
        ("batch_size > 3", False),
        ("batch_size == full", True),
        ("nothing == 3", False),
        ("nothing != 3", True),
        ("nothing > 3", False),
        ("not nothing > 3", True),
    ],
)
def test_a_condition_holds_or_not(text: str, holds: bool) -> None:
    assert parse_condition(text)(RUN.__getitem__) is holds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a key"),
        ("epochs", "expected one of =="),
        ("epochs ==", "expected a value"),
        ("epochs = 3", "cannot be read at '= 3'"),
        ("epochs == 3 epochs == 4", "expected and, or, or the end at 'epochs == 4'"),
        ("(epochs == 3", "expected )"),
        ("epochs > adam", "> needs a number"),
        ("epochs > [1]", "> needs a number"),
        ("__import__('os').system('true') == 0", "expected one of =="),
        ("epochs == {a: 1}", "this is not YAML"),
        ("(" * 1000 + "epochs == 1", "nested too deeply"),
        ("not " * 1000 + "epochs == 1", "nested too deeply"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_condition(text)
    assert says in refused.value.what
    assert "character" in refused.value.where
    assert len(refused.value.lines()) <= 5


def test_it_is_known_which_keys_are_asked_for() -> None:
    asked = parse_condition("not (optimizer.lr > 1 or status == failed) and optimizer.lr < 2")
    assert asked.keys == ["optimizer.lr", "status"]


def test_nothing_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    for name in ("eval", "exec", "compile", "__import__"):
        monkeypatch.setattr(f"builtins.{name}", lambda *arguments: ran.append(arguments))
    assert parse_condition("epochs == '__import__(\"os\").getpid()'")(RUN.__getitem__) is False
    monkeypatch.undo()
    assert ran == []
