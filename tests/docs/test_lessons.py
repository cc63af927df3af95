"""docs/lessons.md can be taught from: its commands are accepted, and end with the figures that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import page
from small_runs import only_run

PAGE = page("docs/lessons.md")
# A row: the words after `dlrun train`, and a column with its figure, or –.
ROWS = re.findall(r"^\| `dlrun train ([^`]+)` \| (?:(\w+) ([\d.]+)|–) \|", PAGE, re.MULTILINE)


def test_every_lesson_has_commands() -> None:
    assert len(ROWS) == PAGE.count("| `dlrun ")
    assert all("| `dlrun train " in lesson for lesson in PAGE.split("\n## ")[1:])


@pytest.mark.parametrize("command", [row[0] for row in ROWS])
def test_a_command_is_accepted(command: str, dlrun: Callable[..., Any]) -> None:
    done = dlrun("show", *shlex.split(command))
    assert done.code == 0, done.err


@pytest.mark.slow
@pytest.mark.parametrize(("command", "column", "figure"), [row for row in ROWS if row[1]])
def test_a_command_ends_with_the_figure_of_the_page(
    command: str,
    column: str,
    figure: str,
    dlrun: Callable[..., Any],
    runs_dir: Path,
    request: pytest.FixtureRequest,
) -> None:
    if command.startswith("mnist"):
        request.getfixturevalue("real_mnist")
    elif command.startswith("temps"):
        command += " dataset.source=generated"  # whatever lies in the data folder
    assert dlrun("train", *shlex.split(command), "plots=[]", "device=cpu").code == 0
    measured = only_run(runs_dir).summary()["final"][column]["mean"]
    assert measured == pytest.approx(float(figure), abs=0.005, rel=0.005)
