"""The evaluations in a report: of which model they are, by which decisions, and the unit of their counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import EVALUATED, made
from reading_pages import ReadPage

from dlrun.console.evaluation import print_evaluation
from dlrun.console.layout import short_names

Report = Callable[..., ReadPage]
LONG = "all that was sold in the shops of the old town"
RATES = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "examples": 4}


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["cat", " "], ["cat", "' '"]),
        (["abcdefghijklm"], ["abcdefghi…"]),
        (["abcdefghijklm", "abcdefghijkno"], ["abcde…jklm", "abcde…jkno"]),
        (["abcdefghijklm", "abcdefghi…"], ["abcde…jklm", "abcdefghi…"]),
        (["abcdefghi-x-jklm", "abcdefghi-y-jklm"], ["abcdefghi-x-jklm", "abcdefghi-y-jklm"]),
        (["abcdefghijklm", "abcdefghijklm"], ["abcdefghi…", "abcdefghi…"]),
    ],
)
def test_a_long_name_is_cut_visibly_and_two_stay_apart(names: list[str], short: list[str]) -> None:
    assert short_names(names, 10) == short


def test_class_names_are_whole_in_a_report_and_apart_on_a_terminal(
    report: Report, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{LONG}, {place}" for place in ("north", "south")]
    found = EVALUATED | {
        "per_class": dict.fromkeys(names, RATES),
        "most_confused": [{"true": names[0], "predicted": names[1], "count": 3.0}],
    }
    run = made(runs_dir)
    run.write_json("eval/test.json", found)
    page = report(run.folder)
    assert [row[0] for row in page.tables()["Each class of test"][1:]] == names
    assert f"Most often confused: {names[0]} as {names[1]} 3." in page.texts("p")
    print_evaluation(found | {"recorded": {}, "same_data": True})
    rows = [line for line in capsys.readouterr().out.splitlines() if "…" in line and "0.5000" in line]
    assert len({*rows}) == 2


@pytest.mark.parametrize(
    ("entries", "head"),
    [({}, "examples"), ({"counted": "pixels"}, "pixels"), ({"examples": 3}, "pixels or positions")],
)
def test_counts_of_classes_are_headed_by_what_is_counted(
    report: Report, runs_dir: Path, entries: dict[str, Any], head: str
) -> None:
    """Evaluations of an earlier dlrun do not name it."""
    run = made(runs_dir)
    own = RATES | {"examples": 163937 if head != "examples" else 4}
    run.write_json("eval/test.json", EVALUATED | {"per_class": {"disc": own}} | entries)
    heads, row = report(run.folder).tables()["Each class of test"]
    assert heads[-1] == head
    assert row[-1] == ("4" if head == "examples" else "163,937")
