"""The pieces of messages."""

from __future__ import annotations

import pytest

from dlrun.config.mistakes import ConfigError, Mistake
from dlrun.config.strict_yaml import Place
from dlrun.errors import in_words, meant


@pytest.mark.parametrize(
    ("names", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_joined_as_a_sentence_has_them(names: list[str], said: str) -> None:
    assert in_words(iter(names)) == said


@pytest.mark.parametrize(
    ("name", "names", "other"),
    [
        ("acc", ["accuracy", "f1"], "accuracy"),
        ("acc", ["accuracy", "accelerated"], ""),  # which of the two cannot be known
        ("ac", ["accuracy", "f1"], ""),
        ("sdg", ["sgd", "adam"], "sgd"),
        ("moons", ["mnist"], "mnist"),
        ("xyzzy", ["mnist"], ""),
    ],
)
def test_a_name_is_meant_by_one_that_is_close_or_by_its_beginning(
    name: str, names: list[str], other: str
) -> None:
    assert meant(name, names) == (f"; did you mean {other!r}?" if other else "")


def test_a_refused_config_is_said_in_a_line_by_its_first_mistake() -> None:
    mistakes = [
        Mistake(Place("a.yaml", line, 1), key, "is odd") for line, key in ((3, "epochs"), (4, "name"))
    ]
    assert ConfigError("a.yaml", mistakes[:1]).inline == "a.yaml:3:1 epochs: is odd"
    assert ConfigError("a.yaml", mistakes).inline == "a.yaml:3:1 epochs: is odd and 1 more"
