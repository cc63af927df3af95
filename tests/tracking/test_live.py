"""Trackers that follow a run: whatever becomes of them, the run is what it is without, and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from places import PROJECT
from small_runs import (
    SMALL,
    Listening,
    differences,
    go_on,
    only_run,
    outcome,
    planned,
    started,
    timeless,
    trained,
)

from dlrun.config.mistakes import ConfigError
from dlrun.run_folders.run import Run
from dlrun.tracking import live
from dlrun.tracking.trackers import is_installed
from dlrun.training.experiment import train_run

# A tracker's package that does as it likes when a run is opened in it.
SETTINGS = "Settings = dict\n"
PACKAGES = {
    "hangs": f"{SETTINGS}import time\ndef init(**_): time.sleep(1e6)\n",
    "is killed": f"{SETTINGS}import os, signal\ndef init(**_): os.kill(os.getpid(), signal.SIGKILL)\n",
    "has no server": f"{SETTINGS}def init(**_): raise ConnectionError('no route to host')\n",
    "is broken": "import this_is_nowhere\n",
    "prints": "import sys\nfor k in range(10**5): print(k, file=sys.stderr if k % 2 else sys.stdout)\n",
}
SAID = {
    "hangs": "it was not done 0.5 seconds after the end",
    "is killed": "its process ended with code -9",
    "has no server": "no route to host",
    "is broken": "No module named 'this_is_nowhere' (ModuleNotFoundError)",
    "prints": "module 'wandb' has no attribute 'init' (AttributeError)",
}
# One that writes down what it is told of, and in which process.
NOTES = """\
import json, os
class Settings:
    def __init__(self, **_): pass
class Run:
    offline, url, summary, dir = False, "here", {}, "/nowhere/run"
    config = summary
    def define_metric(self, *_, **__): pass
    def log(self, row):
        with open(os.environ["NOTES"], "a") as file:
            file.write(json.dumps(row) + chr(10))
    def finish(self): self.log({"finished": os.getpid()})
def teardown(): pass
def init(**_):
    run = Run()
    run.log({"process": os.getpid()})
    return run
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """package(source) puts a module wandb of this source before any that is installed."""
    names = ("wandb", "dlrun.tracking.wandb")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))

    def make(source: str) -> Path:
        folder = tmp_path / "packages"
        folder.mkdir()
        (folder / "wandb.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        return folder

    yield make
    for name in names:  # one that was installed comes back
        sys.modules.pop(name, None)


def noted(tmp_path: Path, key: str) -> list[Any]:
    """The values under a key, of what the package of NOTES was told."""
    path = tmp_path / "notes"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line[key] for line in lines if key in line]


def until(is_true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := is_true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def is_gone(process: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True


def of_the_run(summary: dict[str, Any]) -> dict[str, Any]:
    """The entries of a summary that are the same whenever it is written, and by which process."""
    often = ("started", "updated", "seconds", "pid", "name", "final", "best", "command")
    return {key: value for key, value in summary.items() if key not in often}


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The processes that were started beside runs; none of them may outlive the test."""
    made = []

    class Kept(live.Follower):
        def __init__(self, *words: Any) -> None:
            super().__init__(*words)
            made.append(self._process)

    monkeypatch.setattr(live, "Follower", Kept)
    yield made
    for process in made:
        process.kill()
        process.wait()


@pytest.mark.parametrize("what", PACKAGES)
def test_a_run_is_bit_for_bit_what_it_is_without_a_tracker_that(
    what: str,
    tmp_path: Path,
    package: Callable[[str], Path],
    followers: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package(PACKAGES[what])
    if what == "hangs":
        monkeypatch.setattr(live, "END_WITHIN", 0.5)
    without = trained(planned(), tmp_path / "without")
    plan, view = planned(track=["wandb"]), Listening()
    run = started(plan, tmp_path / "with")
    assert train_run(plan, run, view).exit_code == 0
    assert [process.poll() is None for process in followers] == [False]
    command = f"dlrun log {run.folder} --to wandb"
    said = f"Weights & Biases does not have all of this run: {SAID[what]}; log it by {command}"
    assert view.warnings == [said]
    assert said in (run.folder / "log.txt").read_text()
    assert differences(outcome(run), outcome(without)) == []
    assert timeless(run.rows()) == timeless(without.rows())
    assert of_the_run(run.summary()) == of_the_run(without.summary())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prlimit")
def test_a_run_whose_trackers_disk_is_full_is_what_it_is_without_and_is_logged_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dlrun: Callable[..., Any]
) -> None:
    import resource

    class Full(live.Follower):
        def __init__(self, *words: Any) -> None:
            super().__init__(*words)
            assert self._process
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (500, 500))

    # The limit would cut off what Python compiles too, which then no process could import.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(live, "Follower", Full)
    without = trained(planned(), tmp_path / "without")
    plan, view = planned(track=["tensorboard"]), Listening()
    run = started(plan, tmp_path / "with")
    assert train_run(plan, run, view).exit_code == 0
    [said] = view.warnings
    assert said.startswith("TensorBoard does not have all of this run: cannot write ")
    assert f"File too large; log it by dlrun log {run.folder} --to tensorboard" in said
    assert differences(outcome(run), outcome(without)) == []
    assert timeless(run.rows()) == timeless(without.rows())
    done = dlrun("log", run.folder, "--to", "tensorboard")
    assert (done.code, done.err) == (0, "") and "epoch 3 in TensorBoard" in done.out


def test_a_tracker_gets_every_epoch_and_its_process_ends_with_the_run(
    tmp_path: Path, package: Callable[[str], Path], followers: list[Any]
) -> None:
    package(NOTES)
    view = Listening()
    run = trained(planned(track=["wandb"]), tmp_path, view=view)
    assert view.warnings == []
    assert noted(tmp_path, "epoch") == [1, 2, 3]
    assert noted(tmp_path, "train/loss") == run.rows()["train_loss"]
    assert noted(tmp_path, "process") == noted(tmp_path, "finished") == [followers[0].pid]


def test_a_run_that_goes_on_may_have_another_tracker_or_none(
    tmp_path: Path, package: Callable[[str], Path], followers: list[Any]
) -> None:
    package(NOTES)
    run = trained(planned(), tmp_path)
    assert go_on(run, {"epochs": 5, "track": ["wandb"]}).exit_code == 0
    assert noted(tmp_path, "epoch") == [1, 2, 3, 4, 5], "the epochs before too"
    assert go_on(run, {"epochs": 6}).exit_code == 0
    assert len(followers) == 1


def test_a_run_that_fails_is_logged_as_one_that_failed(
    tmp_path: Path, package: Callable[[str], Path], followers: list[Any]
) -> None:
    package(NOTES.replace("def finish(self):", "def finish(self): self.log(dict(self.summary));"))

    def fail() -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        trained(planned(track=["wandb"]), tmp_path, view=Listening(4, fail))
    assert noted(tmp_path, "about/status") == ["failed"]
    assert followers[0].poll() == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no nice")
def test_its_process_gives_way_to_training_and_is_out_of_reach_of_the_terminals_ctrl_c(
    tmp_path: Path, package: Callable[[str], Path], followers: list[Any]
) -> None:
    package(NOTES.replace('{"process": os.getpid()}', '{"nice": os.nice(0), "group": os.getpgid(0)}'))
    trained(planned(track=["wandb"]), tmp_path)
    assert noted(tmp_path, "nice") == [19]
    assert noted(tmp_path, "group") == [followers[0].pid] != [os.getpgid(0)]


@pytest.mark.slow
def test_its_process_ends_after_that_of_a_run_that_is_killed(
    tmp_path: Path, package: Callable[[str], Path]
) -> None:
    packages = package(NOTES)
    paths = [str(packages), str(PROJECT), str(PROJECT / "tests")]
    code = "import sys; from pathlib import Path; from small_runs import planned, trained; "
    code += "trained(planned(track=['wandb'], epochs=10**6), Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "runs")], env=environment)
    try:
        [follower] = until(lambda: noted(tmp_path, "process"))
        until(lambda: noted(tmp_path, "epoch"))
        assert not is_gone(follower)
    finally:
        process.kill()
        process.wait()
    until(lambda: is_gone(follower))
    assert noted(tmp_path, "finished") == [follower]
    rows = only_run(tmp_path / "runs").rows()["epoch"]
    assert noted(tmp_path, "epoch") == rows, "and it has all that is on the disk"


@pytest.mark.slow
def test_ctrl_c_ends_run_and_tracker(tmp_path: Path, package: Callable[[str], Path]) -> None:
    package(NOTES)
    view = Listening(5, lambda: os.kill(os.getpid(), signal.SIGINT))
    run = trained(planned(track=["wandb"], epochs=10**6), tmp_path, view=view)
    assert (run.summary()["status"], view.warnings) == ("interrupted", [])
    assert noted(tmp_path, "epoch") == run.rows()["epoch"]


def test_a_tracker_that_is_not_installed_is_refused_before_there_is_a_folder(
    dlrun: Callable[..., Any], tiny: Path, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tiny.write_text(f"{tiny.read_text()}track: [mlflow]\n")
    said = "MLflow needs the package mlflow, which is not installed"
    for words in (["train", tiny], ["train", tiny, "--quick"], ["sweep", tiny, "optimizer.lr=0.1,0.2"]):
        done = dlrun(*words)
        fix = "pip install 'dlrun[mlflow]', or leave it out"
        assert done.code == 2 and f"{tiny}:10:8 track: {said}; {fix}" in done.err
    assert not runs_dir.exists()
    done = dlrun("train", tiny, "track=mlflow")
    assert f"on the command line: track: {said}" in done.err
    with pytest.raises(ConfigError, match="needs the package mlflow"):
        go_on(trained(planned(), tmp_path), {"epochs": 5, "track": ["mlflow"]})


def test_a_model_is_evaluated_where_its_tracker_is_not_installed(
    dlrun: Callable[..., Any], tiny: Path, package: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    package(NOTES)
    assert dlrun("train", tiny, "track=wandb").code == 0
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert dlrun("eval", "last").code == 0
    assert dlrun("reproduce", "last").code == 0, "which is logged nowhere"
    done = dlrun("resume", "tiny-001", "epochs=4")
    assert done.code == 2 and "pip install 'dlrun[wandb]'" in done.err
    assert dlrun("resume", "tiny-001", "epochs=4", "track=[]").code == 0


def test_a_folder_that_is_called_as_a_package_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "mlflow").mkdir()
    assert not is_installed("mlflow")
    (tmp_path / "mlflow" / "__init__.py").write_text("")
    assert is_installed("mlflow")


def test_a_run_that_trains_with_a_tracker_is_not_logged_to_it_a_second_time(
    dlrun: Callable[..., Any], tiny: Path, runs_dir: Path, package: Callable[[str], Path]
) -> None:
    package(NOTES)
    dlrun("train", tiny, "track=wandb")
    run = only_run(runs_dir)
    with run.lock():
        done = dlrun("log", "last", "--to", "wandb")
    assert done.code == 2 and "tiny-001 is training, and its config has it logged by track" in done.err


def test_its_words_on_the_command_line_are_one_or_several() -> None:
    from dlrun.config.loading import config_from_plain

    for word, trackers in (("wandb", ["wandb"]), ("wandb,mlflow", ["wandb", "mlflow"]), ("[]", [])):
        assert config_from_plain(SMALL, "small.yaml", [f"track={word}"]).track == trackers
    with pytest.raises(ConfigError, match="mlflow is given a second time"):
        config_from_plain(SMALL, "small.yaml", ["track=mlflow,mlflow"])


def test_the_command_says_what_is_missing(dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fix: add --to tensorboard, --to mlflow or --to wandb" in dlrun("log", "last").err
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = dlrun("log", "last", "--to", "mlflow")
    assert done.err == (
        "error: MLflow needs the package mlflow, which is not installed\n  fix: pip install 'dlrun[mlflow]'\n"
    )


def test_a_tracker_that_refuses_is_said_by_the_command(
    dlrun: Callable[..., Any], tiny: Path, package: Callable[[str], Path]
) -> None:
    package(PACKAGES["has no server"])
    dlrun("train", tiny)
    done = dlrun("log", "last", "--to", "wandb")
    said = "error: Weights & Biases has not taken tiny-001: no route to host\n"
    assert (done.code, done.err) == (1, said)


def test_of_several_runs_those_without_an_epoch_are_left_out(
    dlrun: Callable[..., Any], tiny: Path, runs_dir: Path, package: Callable[[str], Path]
) -> None:
    package(NOTES)
    dlrun("train", tiny)
    dlrun("train", tiny)
    (runs_dir / "tiny-001" / "metrics.csv").unlink()
    done = dlrun("log", "tiny", "--to", "wandb")
    assert (done.code, done.err) == (0, "warning: left out, as there is no epoch yet: tiny-001\n")
    assert done.out.startswith("tiny-002: epoch 3 in Weights & Biases, ")


def test_runs_of_before_have_no_trackers(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    run.config.write_text(run.config.read_text().replace("track: []\n", ""))
    assert go_on(Run(run.folder), {"epochs": 4}).exit_code == 0
