"""Tests of the benchmark of many examples and parameters."""

from __future__ import annotations

import json

import pytest
from small_runs import planned

from benchmarks import scale

MEASURED = json.loads(
    json.dumps(
        {
            "empty": {"0": {"seconds": [0.001] * 3, "peak": [300e6, 301e6, 302e6]}},
            "examples": {
                "1000": {"seconds": [0.004, 0.005, 0.009], "peak": [302e6] * 3},
                "1000000": {"seconds": [2.0, 3.0, 2.0], "peak": [401e6] * 3},
            },
            "parameters": {"10000": {"seconds": [0.12] * 3, "peak": [331e6] * 3}},
        }
    )
)


@pytest.mark.parametrize("number", scale.PARAMETERS)
def test_a_width_gives_about_the_parameters_asked_for(number: int) -> None:
    width = scale.width_for(number)
    architecture = {"name": "mlp", "hidden": [width, width]}
    plan = planned(architecture=architecture, dataset={"name": "spiral", "points": 1, "classes": scale.ARMS})
    assert plan.layers.parameters == scale.parameters(width) == pytest.approx(number, rel=0.05)


def test_memory_counts_over_that_of_an_empty_run() -> None:
    assert scale.points(MEASURED, "examples") == [(1000, 0.005, 1e6), (1_000_000, 2.0, 100e6)]


def test_the_page_gives_what_each_example_and_each_parameter_costs() -> None:
    few, many = scale.rows(MEASURED, "examples", 1, "example")[2:]
    assert few == "| 1,000 | 5.0 ms | 5,000 ns | < 2 MB | – |", "less than two empty runs differ by"
    assert many == "| 1,000,000 | 2 s | 2,000 ns | 100 MB | 100 bytes |"
    (row,) = scale.rows(MEASURED, "parameters", 12, "parameter and step")[2:]
    assert row == "| 10,000 | 0.12 s | 1,000 ns | 30 MB | 3000 bytes |"


def test_each_curve_has_its_line_of_proportionality() -> None:
    time, memory = scale.drawn(MEASURED).axes
    curve, straight = time.lines[:2]
    assert list(curve.get_ydata()) == [0.005, 2.0]
    first, last = straight.get_xydata()
    assert tuple(last) == (1_000_000, 2.0)
    assert first[1] / first[0] == pytest.approx(2e-6)
    assert list(memory.lines[0].get_xdata()) == [1_000_000], "what is lost among empty runs is not drawn"
