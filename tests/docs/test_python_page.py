"""docs/python.md runs from its first block to the last, and says what is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, page

import dlrun
from dlrun.results import places

PAGE = page("docs/python.md")


@pytest.fixture
def said(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[dict[str, Any], str]]:
    """The names that the blocks of the page have made, and all that they printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        code = "\n".join(content for kind, _, content in blocks(PAGE) if kind == "python")
        path = Path("page_of_python.py")
        path.write_text(code)
        patch.syspath_prepend(str(Path.cwd()))
        yield vars(__import__("page_of_python")), capsys.readouterr().out
        places._made.clear()


def test_its_blocks_run_one_after_the_other(said: tuple[dict[str, Any], str]) -> None:
    names, out = said
    run, model = names["run"], names["model"]
    assert (run.name, run.status, run.config["optimizer.lr"]) == ("spiral_relu-001", "finished", 0.02)
    assert model.probabilities(names["points"]).shape == (2, 3)
    assert names["module"](names["points"]).shape == (2, 3)
    assert names["report"]["split"] == "test"
    assert [row["n"] for row in names["sweep"].results.rows] == [2, 2]
    assert names["both"].rows[1]["verdict"]
    assert {each.name for each in names["good"]} > {"spiral_relu-001"}
    assert names["own"].config["architecture.name"] == "residual"
    assert "did you mean 'epochs'?" in out
    assert "-1 is not a number >= 0" in out


def test_it_names_all_that_there_is_and_is_linked() -> None:
    named = {*re.findall(r"dlrun\.(\w+)", PAGE)}
    assert {name for name in dlrun.__all__ if name.islower() and not name.startswith("_")} <= named
    assert named <= {*dlrun.__all__}
    for name in ("README.md", "docs/faq.md"):
        assert "python.md)" in page(name), name
