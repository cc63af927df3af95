"""docs/tour.md can be followed to the letter: its files run, and its figures are those printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from following import follow_page
from pages import page


@pytest.mark.slow
def test_the_tour_goes_as_it_says(
    dlrun: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow_page(page("docs/tour.md"), dlrun, tmp_path, monkeypatch)
