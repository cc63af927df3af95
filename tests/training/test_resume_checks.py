"""The checks before a resume leave no files behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
