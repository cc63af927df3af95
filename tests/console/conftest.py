"""Fixtures of the tests of console/: a report as it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reading_pages import ReadPage


@pytest.fixture
def report(dlrun: Callable[..., Any], tmp_path: Path) -> Callable[..., ReadPage]:
    """report(run, …) writes a report, and reads it."""

    def written(*words: object, warns: str = "") -> ReadPage:
        path = tmp_path / "r.html"
        done = dlrun("report", *words, "-o", path)
        assert (done.code, done.out) == (0, f"{path}\n"), done.err
        assert warns in done.err if warns else done.err == ""
        return ReadPage(path)

    return written
