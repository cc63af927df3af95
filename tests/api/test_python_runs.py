"""Runs, sweeps and comparisons from Python: what they hold, and how a notebook shows them."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

import dlrun
from dlrun.results.rows import Rows


def trained(tiny: Path, runs_dir: Path, *words: str, **more: Any) -> dlrun.Run:
    return dlrun.train(tiny, *words, runs_dir=runs_dir, quiet=True, **more)


def test_a_run_holds_what_its_folder_holds(tiny: Path, runs_dir: Path) -> None:
    run = trained(tiny, runs_dir, "plots=[curves]", seeds=2)
    rows = run.metrics
    assert [(row["epoch"], row["seed"]) for row in rows[-2:]] == [
        (rows[-1]["epoch"], 0),
        (rows[-1]["epoch"], 1),
    ]
    last = [row["train_loss"] for row in rows[-2:]]
    assert run.final["train_loss"] == pytest.approx(sum(last) / 2)
    assert run.best.keys() == run.final.keys()
    assert run.config["optimizer.lr"] == run.config["optimizer"]["lr"] == run.summary["final"]["lr"]["mean"]
    with pytest.raises(dlrun.UserError, match=r"the config has no key optimizer\.rate"):
        run.config["optimizer.rate"]
    again = dlrun.train(run.config, runs_dir=runs_dir, quiet=True)
    assert again.final["train_loss"] == run.final["train_loss"]
    frame = rows.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["train_loss"].tolist() == [row["train_loss"] for row in rows]
    assert [*run.plots] == ["curves"]
    content = b64encode((run.folder / "plots" / "curves.png").read_bytes()).decode()
    assert f'alt="curves" src="data:image/png;base64,{content}"' in run.plots._repr_html_()
    (run.folder / "plots" / "x.png").symlink_to("/etc/hostname")
    with pytest.raises(dlrun.UserError, match=r"x\.png is no picture any more"):
        run.plots["x"]._repr_html_()
    report = run.evaluate("train")
    assert report["split"] == "train"
    assert run.load(seed=1).seed == 1


def test_a_run_and_its_rows_are_tables_in_a_notebook(tiny: Path, runs_dir: Path) -> None:
    run = trained(tiny, runs_dir)
    assert repr(run).startswith(f"<Run {run.name}: finished, train_loss ")
    html = run._repr_html_()
    assert f"<b>{run.name}</b>: finished" in html
    assert '<th scope="col">train_loss</th>' in html
    hostile = Rows([{"<b>": "<script>", "n": number, "x": 0.123456} for number in range(100)])._repr_html_()
    assert "<script>" not in hostile
    assert "<td>&lt;script&gt;</td><td>0</td><td>0.1235</td>" in hostile
    assert "… 80 more …" in hostile
    assert hostile.count("<tr>") == 22


def test_runs_are_found_by_a_condition(tiny: Path, runs_dir: Path) -> None:
    for rate in ("0.1", "0.01", "0.001"):
        trained(tiny, runs_dir, f"optimizer.lr={rate}")
    assert [run.name for run in dlrun.runs(runs_dir=runs_dir)] == ["tiny-003", "tiny-002", "tiny-001"]
    found = dlrun.runs("optimizer.lr < 0.05 and status == finished", runs_dir=runs_dir)
    assert [run.config["optimizer.lr"] for run in found] == [0.001, 0.01]
    assert [row["run"] for row in found.table] == ["tiny-003", "tiny-002"]
    assert dlrun.runs(runs_dir=runs_dir / "nowhere") == []
    with pytest.raises(
        dlrun.UserError, match=r"no run has the key 'optimizer.rl'; did you mean 'optimizer.lr'"
    ):
        dlrun.runs("optimizer.rl < 1", runs_dir=runs_dir)


def test_a_sweep_is_that_of_the_command_line(
    dlrun_command: Callable[..., Any], tiny: Path, runs_dir: Path
) -> None:
    words = ("optimizer.lr=0.1,0.01", "epochs=2")
    assert dlrun_command("sweep", tiny, *words, "--seeds", 2, "--jobs", 1, "--name", "other").code == 0
    found = dlrun.sweep(tiny, *words, seeds=2, jobs=1, runs_dir=runs_dir, quiet=True)
    assert found.name == "tiny-sweep-001"
    theirs = dlrun.compare("other-sweep-001", runs_dir=runs_dir)
    assert found.results.rows == theirs.rows
    assert [row["n"] for row in found.results.rows] == [2, 2]
    assert found.best.config["optimizer.lr"] == found.results.rows[0]["optimizer.lr"]
    assert len(found.runs) == 4
    assert (found.folder / "results.csv").exists()
    assert repr(found) == "<Sweep tiny-sweep-001 of 4 runs>"
    assert "<th" in found._repr_html_()
    beside = dlrun.compare(found.runs[0], found.runs[2], runs_dir=runs_dir)
    assert len(beside.rows) == 2
    assert found.resume(quiet=True) is found


def test_a_sweep_of_which_runs_fail_says_so(tiny: Path, runs_dir: Path) -> None:
    words = ("optimizer={name: sgd, lr: 0.1}", "optimizer.lr=1e30,0.01", "epochs=3")
    with pytest.warns(UserWarning, match="tiny-001 failed: the loss of seed 0 is"):
        found = dlrun.sweep(tiny, *words, jobs=1, runs_dir=runs_dir, quiet=True)
    assert [run.status for run in found.runs] == ["diverged", "finished"]
    with pytest.raises(
        dlrun.RunFailed, match="each of its runs failed, the first because the loss of seed 0 is"
    ):
        dlrun.sweep(
            tiny, words[0], "optimizer.lr=1e30,1e31", "epochs=3", jobs=1, runs_dir=runs_dir, quiet=True
        )


@pytest.mark.slow
def test_a_program_without_a_guard_of_its_main_module_sweeps_once(tiny: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import dlrun\nprint('once')\n"
        f"print(dlrun.sweep({str(tiny)!r}, 'optimizer.lr=0.1,0.01', jobs=2, quiet=True))\n"
    )
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "once\n<Sweep tiny-sweep-001 of 2 runs>\n"), done.stderr


def test_a_comparison_of_nothing_is_refused(runs_dir: Path) -> None:
    with pytest.raises(dlrun.UserError, match="there is nothing to compare"):
        dlrun.compare(runs_dir=runs_dir)
    with pytest.raises(dlrun.UserError, match="there is no run nothing"):
        dlrun.compare("nothing", runs_dir=runs_dir)
