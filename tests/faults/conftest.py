"""Each test shows a row of fault_rows.py: a few times by default, as often as promised with -m faults."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sized
from pathlib import Path
from typing import Any

import fault_page as page
import pytest
from fault_rows import ROWS, WAITING

HERE = Path(__file__).parent
TRACEBACK = "Traceback (most recent call last)"
_counted: dict[str, dict[str, float]] = {}  # row -> what was counted
_tests: dict[str, set[str]] = {}  # row -> the tests that show it
_failed: set[str] = set()  # rows of which a test failed or was skipped, with the reason


class Fault:
    """The counts that a test reports for its row of the matrix."""

    def __init__(self, row: str, test: str, thorough: bool) -> None:
        self.row, self.thorough = row, thorough
        self.random = random.Random(f"{row} {test}")  # the same numbers at each run

    def times(self, few: int, all: int) -> int:
        """The number of repetitions: a few by default, the row's own with -m faults."""
        return all if self.thorough else few

    def count(self, **figures: int) -> None:
        """Add to the figures of the row, such as kills=1, different=0."""
        counted = _counted.setdefault(self.row, {})
        for name, number in figures.items():
            counted[name] = counted.get(name, 0) + number

    def never(self, **found: int | Sized) -> None:
        """Count what may never happen, such as different=differences(a, b), and fail where it did."""
        self.count(**{name: what if isinstance(what, int) else len(what) for name, what in found.items()})
        assert not any(found.values()), found

    def said(self, shown: str) -> None:
        """Count the error that a command showed, and fail where it is a traceback or too long."""
        lines = shown.splitlines()
        error = next((place for place, line in enumerate(lines) if line.startswith("error: ")), None)
        message = [] if error is None else lines[error:]
        most = 22 if message and message[0].endswith("mistakes") else 5  # a line for each mistake
        self.count(messages=bool(message))
        self.never(tracebacks=[line for line in lines if TRACEBACK in line], too_long=message[most:])


@pytest.fixture
def dlrun(dlrun: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """dlrun("train", config, …) as in all tests; what it says is looked at and counted for the row."""
    if not request.node.get_closest_marker("row"):
        return dlrun
    fault: Fault = request.getfixturevalue("fault")

    def call(*words: object) -> Any:
        done = dlrun(*words)
        fault.said(done.err)
        fault.said(done.out)
        return done

    return call


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Fault]:
    """The row that the test is marked with: @pytest.mark.row("T1")."""
    row = request.node.get_closest_marker("row").args[0]
    began = time.monotonic()
    yield Fault(row, request.node.name, thorough(request.config))
    counted = _counted.setdefault(row, {})
    counted["seconds"] = counted.get("seconds", 0) + time.monotonic() - began


def thorough(config: pytest.Config) -> bool:
    """True if the full counts were asked for."""
    return str(config.option.markexpr) == "faults"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker(pytest.mark.faults)
        marker = item.get_closest_marker("row")
        if marker:
            assert marker.args[0] in ROWS, f"{item.nodeid}: there is no row {marker.args[0]}"
            _tests.setdefault(marker.args[0], set()).add(item.nodeid.split("[")[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    marker = item.get_closest_marker("row")
    if marker and not report.passed:
        _failed.add(marker.args[0])
    return report


@pytest.fixture(scope="session")
def shown() -> dict[str, set[str]]:
    """Row -> the tests that show it, of those collected."""
    return _tests


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep what was counted, and write the page: only of rows that were shown in full."""
    if not thorough(session.config):
        return
    measured = page.read()
    for row, figures in _counted.items():
        if row not in _failed and row not in WAITING:
            measured[row] = {
                "figures": {name: round(number, 1) for name, number in figures.items()},
                "tests": sorted(_tests[row]),
                "machine": page.counted_on(),
            }
    page.MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    page.PAGE.write_text("\n".join(page.lines(page.read())) + "\n", encoding="utf-8")
