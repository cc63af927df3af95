"""Durations: from the longest unit to the shortest, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_runs import SMALL

from dlrun.config.dumping import dump_config
from dlrun.config.durations import is_duration, seconds_of
from dlrun.config.loading import config_from_plain, load_config
from dlrun.config.mistakes import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("90m", 5400),
        ("1h30m", 5400),
        ("2d", 172800),
        ("0.5h", 1800),
        ("3:50:00", 13800),
        ("120:00:01", 432001),
        ("1-12:00:00", 129600),
        ("0-00:00:45", 45),
    ],
)
def test_a_duration_is_so_many_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert config_from_plain(SMALL | {"max_time": text}, "small.yaml").max_time == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "30m1h",
        "1h 30m",
        "-1h",
        "1h1h",
        "0s",
        "1w",
        "½h",
        "٣s",
        "3:50",
        "1-12",
        "1:60:00",
        "1-120:00:00",
        "0:00:00",
        "1h:30:00",
    ],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    assert not is_duration(text)
    with pytest.raises(ConfigError, match=r"max_time: .* is not a duration such as 45s, 1h30m or 3:50:00"):
        config_from_plain(SMALL | {"max_time": text}, "small.yaml")


def test_a_clock_in_a_file_is_no_number_and_stays_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(f"{yaml.safe_dump({**SMALL})}max_time: 3:50:00\n")  # 13800 by YAML 1.1
    config = load_config(path)
    assert config.max_time == "3:50:00"
    path.write_text(dump_config(config))
    assert yaml.safe_load(path.read_text())["max_time"] == "3:50:00", "for readers of YAML 1.1 too"
    assert load_config(path) == config
