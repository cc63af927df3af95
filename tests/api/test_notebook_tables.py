"""In a notebook, runs and sweeps in training are tables that are updated in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from IPython import display as ipython
from places import PROJECT

import dlrun
from dlrun.api import notebook


class Handle:
    """A stand-in for what Jupyter gives for an output: it keeps all that is shown in it."""

    def __init__(self) -> None:
        self.shown = list[str]()

    def update(self, html: Any) -> None:
        self.shown.append(html.data)


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """The outputs of a notebook, as they are made."""
    made = list[Handle]()

    def display(html: Any, display_id: bool) -> Handle:
        assert display_id
        made.append(Handle())
        made[-1].update(html)
        return made[-1]

    monkeypatch.setattr(ipython, "display", display)
    monkeypatch.setattr(notebook, "in_notebook", lambda: True)
    monkeypatch.setattr(notebook, "_REFRESH", 0.0)
    return made


def test_a_run_is_one_output_with_a_row_for_each_epoch(
    tiny: Path, runs_dir: Path, handles: list[Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    dlrun.train(tiny, "epochs=3", runs_dir=runs_dir)
    [output] = handles
    assert len(output.shown) > 3
    assert "epoch 0 of 3" in output.shown[0]
    last = output.shown[-1]
    assert "tiny-001: spiral (synthetic), mlp, cpu" in last
    assert '<progress max="3" value="3.000"' in last
    assert last.count("<tr>") == 4
    assert "★ 3" in last
    assert capsys.readouterr() == ("", "")


def test_a_warning_stays_below_the_table(tiny: Path, runs_dir: Path, handles: list[Handle]) -> None:
    dlrun.train(tiny, "epochs=2", "patience=9", "evaluate_every=9", runs_dir=runs_dir)
    [output] = handles
    assert "</table><p>warning: " in output.shown[-1]
    view = notebook.NotebookTraining()
    view.warn("<b> is no class")
    assert handles[-1].shown == ["<p>warning: &lt;b&gt; is no class</p>"]


@pytest.mark.slow
def test_a_sweep_is_a_table_of_its_runs(tiny: Path, runs_dir: Path, handles: list[Handle]) -> None:
    dlrun.sweep(tiny, "optimizer.lr=0.1,0.01", "epochs=1", jobs=1, runs_dir=runs_dir)
    [output] = handles
    assert "waiting" in output.shown[0]
    assert output.shown[-1].count("<td>finished</td>") == 2
    assert "waiting" not in output.shown[-1]


def test_a_program_is_no_notebook() -> None:
    assert not notebook.in_notebook()


@pytest.mark.slow
def test_the_tour_runs_in_jupyter_and_shows_tables_and_pictures(tmp_path: Path) -> None:
    tour = nbformat.read(PROJECT / "docs" / "tour.ipynb", as_version=4)
    nbformat.validate(tour)
    assert not any(cell.get("outputs") for cell in tour.cells), "it is kept without outputs"
    client = nbclient.NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [cell.outputs for cell in tour.cells if cell.cell_type == "code"]
    shown = [{kind for each in own for kind in each.get("data", {})} for own in outputs]
    assert sum("text/html" in kinds for kinds in shown) >= 7
    assert 'alt="decision_regions"' in outputs[2][0]["data"]["text/html"]
    [table] = outputs[0]
    assert "epoch 120 of 120" in table["data"]["text/html"], "one output, updated in place"
    assert "did you mean 'epochs'?" in outputs[-1][0]["text"]
