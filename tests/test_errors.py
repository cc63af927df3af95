"""The pieces of messages."""

from __future__ import annotations

import pytest

from dlrun.errors import in_words


@pytest.mark.parametrize(
    ("names", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_joined_as_a_sentence_has_them(names: list[str], said: str) -> None:
    assert in_words(iter(names)) == said
