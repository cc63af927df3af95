"""The JPEGs of the benchmark are drawn alike each time, and its table is made from the figures alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import jpegs
from benchmarks.sections import section_lines


def test_the_same_jpegs_of_many_sizes_are_drawn_each_time(tmp_path: Path) -> None:
    drawn = [jpegs.drawn(tmp_path / name, 30) for name in ("one", "other")]
    one, other = (sorted(folder.glob("*/*.jpg")) for folder in drawn)
    assert len(one) == 30 and len({file.parent.name for file in one}) == jpegs.CLASSES
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]
    sides = [side for file in one for side in Image.open(file).size]
    assert jpegs.SHORTEST <= min(sides) < max(sides) <= jpegs.LONGEST and len({*sides}) > 10


def test_the_table_has_the_medians_of_each_contestant() -> None:
    rounds = [
        {
            name: {"process_seconds": seconds, "process_processor": 2 * seconds, "epoch": 1.5, "loss": 2.0}
            for name, seconds in zip(jpegs.TITLES, each, strict=True)
        }
        for each in ([6.0, 4.0, 20.0], [5.0, 3.0, 10.0], [7.0, 5.0, 40.0])
    ]
    del rounds[0][jpegs.FIRST]["epoch"], rounds[1][jpegs.FIRST]["epoch"], rounds[2][jpegs.FIRST]["epoch"]
    found = {"bytes": 71e6, "rounds": rounds}
    rows = [line for line in jpegs.table(found) if line.startswith("| `")]
    assert "| 5 s | 6 s | 7 s | 12 s | – | 2.0000 … 2.0000 |" in rows[0]
    assert "| 10 s | 20 s | 40 s | 40 s | 1.5 s |" in rows[2]
    assert [list(goal.figures(found)) for goal in jpegs.GOALS] == [[0.3, 0.5, 0.175], [1.0] * 3]


@pytest.mark.slow
def test_a_round_on_few_jpegs_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegs, "COUNT", 600)
    found = json.loads(json.dumps(jpegs.measure(1), allow_nan=False))
    assert all(goal.measured(found) for goal in jpegs.GOALS)
    lines = "\n".join(section_lines("jpegs", {"jpegs": found}))
    assert "600 colour images" in lines and "Measured on" in lines
