"""Durations: from the longest unit to the shortest, in seconds."""

from __future__ import annotations

import pytest
from small_runs import SMALL

from dlrun.config.durations import is_duration, seconds_of
from dlrun.config.loading import config_from_plain
from dlrun.config.mistakes import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("90m", 5400), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800)]
)
def test_a_duration_is_so_many_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert config_from_plain(SMALL | {"max_time": text}, "small.yaml").max_time == text


@pytest.mark.parametrize("text", ["", "5", "m", "30m1h", "1h 30m", "-1h", "1h1h", "0s", "1w", "½h", "٣s"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    assert not is_duration(text)
    with pytest.raises(ConfigError, match=r"max_time: .* is not a duration such as 45s, 90m or 1h30m"):
        config_from_plain(SMALL | {"max_time": text}, "small.yaml")
