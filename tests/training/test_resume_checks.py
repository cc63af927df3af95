"""The checks before a resume leave no files behind, and a run keeps its number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import Listening, go_on, planned, trained

from dlrun.config.registry import Parts
from dlrun.system import machine
from dlrun.training import hardware
from dlrun.training.opening import open_checkpoint

RESUMED = """
import sys
from dlrun.config.registry import Parts
from dlrun.console.commands.app import main
from dlrun.training import experiment

def called(*words):
    sys.argv = ["dlrun", words[0], "--runs-dir", runs_dir, "-q", *words[1:]]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words

config, runs_dir = sys.argv[1:]
fit = experiment.fit
for name in Parts().names("optimizer"):
    for train in (fit, lambda *_: iter(())):  # one epoch, or none
        experiment.fit = train
        called("train", config, f"optimizer={{name: {name}, lr: 1e-3}}", "--stop-after", "1")
        experiment.fit = fit
        called("resume", "last")
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_a_resume_imports_no_compiler_and_leaves_nothing_among_the_temporary_files(
    tmp_path: Path, tiny: Path, runs_dir: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = [sys.executable, "-c", RESUMED, str(tiny), str(runs_dir)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "False"
    assert list(temporary.iterdir()) == []


def test_a_run_goes_on_with_the_threads_that_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(hardware, "WORK_PER_THREAD", 1000)
    run = trained(planned(threads="auto"), tmp_path)
    assert run.summary()["threads"] == 4
    monkeypatch.undo()
    monkeypatch.setattr(machine, "cores", lambda: 8)
    assert planned(threads="auto").hardware().threads == 1, "by the rule"
    view = Listening()
    assert go_on(run, {"threads": "auto", "epochs": 4}, view=view).exit_code == 0
    assert (run.summary()["threads"], view.warnings) == (4, [])
    found, _ = open_checkpoint(run.best, run, [], Parts(), Path("no-data"))
    assert found.hardware.threads == 4
    assert go_on(run, {"threads": 2, "epochs": 5}, view=view).exit_code == 0
    assert run.summary()["threads"] == 2, "which the config asks for"


@pytest.mark.parametrize("stated", ["4", "0", "-1", "x", "9" * 5000, "²", None])
def test_threads_that_this_machine_has_not_are_not_taken(stated: str | None, tmp_path: Path) -> None:
    plan = planned(threads="auto")
    environment = {} if stated is None else {"threads": stated}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "cores", lambda: 3)
        assert plan.hardware(before=environment).threads == plan.hardware().threads == 1
