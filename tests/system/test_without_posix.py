"""dlrun does without all that Windows lacks: a stand-in hides it from Python, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from small_runs import FULL, SMALL, timeless

from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
CALL = """
import json, os, signal, sys, threading, time, traceback
from pathlib import Path
from dlrun.console.commands.app import main

def dlrun(*words):
    sys.stdout.write(f"\\n== {' '.join(words)}\\n")
    sys.argv = ["dlrun", *words]
    try:
        main()
    except SystemExit as ended:
        print(f"-- {ended.code or 0}", flush=True)
"""
# The second run is killed with its lock held, in an epoch that is not saved.
TRAINED = """
dlrun("train", "small.yaml")
from dlrun.run_folders.metrics_file import MetricsFile
from dlrun.training import run_writer
run_writer.SAVE_EVERY = run_writer.SAVE_SHARE = 0
add = MetricsFile.add
def killed(self, epoch, row, seeds):
    add(self, epoch, row, seeds)
    if epoch == 4:
        os.kill(os.getpid(), signal.SIGTERM)
MetricsFile.add = killed
dlrun("train", "small.yaml")
"""
USED = """
import shutil
shutil.copytree("runs/small-001", "unbroken")
dlrun("runs")
dlrun("resume", "small-002")
dlrun("eval", "small-002")
dlrun("predict", "small-002", "points.csv", "--csv")
dlrun("train", "photos.yaml", "--data-dir", "data", "--quiet")
dlrun("predict", "photos-001", "photos", "--data-dir", "data", "--csv")
def stop():
    while not list(Path("runs").glob("long-sweep-001/long-*/metrics.csv")):
        time.sleep(0.01)
    time.sleep(0.05)
    signal.raise_signal(signal.SIGINT)
threading.Thread(target=stop, daemon=True).start()
dlrun("sweep", "long.yaml", "optimizer.lr=0.01,0.001", "--jobs", "2")
dlrun("sweep", "--resume", "last", "--jobs", "1")
dlrun("runs")
dlrun("rm", "small-001", "long-sweep-001", "--yes")
dlrun("runs")
"""


def without_posix(code: str, folder: Path, **more: str) -> subprocess.Popen[str]:
    """A process that runs some code without POSIX."""
    paths = os.pathsep.join([str(HERE / "without_posix"), str(PROJECT)])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONWARNDEFAULTENCODING": "1"} | more
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@dataclass(frozen=True)
class Done:
    """The folder in which some commands ran; `said` holds the exit code and output of each."""

    folder: Path
    said: list[tuple[str, int, str]]
    errors: str

    def run(self, name: str) -> Run:
        return Run(self.folder / "runs" / name)

    def of(self, command: str) -> list[tuple[int, str]]:
        return [(code, out) for words, code, out in self.said if words.split()[0] == command]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("without_posix")
    small = SMALL | FULL | {"epochs": 6}
    long = SMALL | {"name": "long", "epochs": 400, "batch_size": "full"}
    photos = SMALL | {"name": "photos", "dataset": {"name": "image_folder", "path": "photos", "size": 8}}
    photos["architecture"] = {"name": "mlp", "hidden": [4], "flatten": True}
    for name, config in {"small": small, "long": long, "photos": photos}.items():
        (folder / f"{name}.yaml").write_text(yaml.dump(config))
    (folder / "points.csv").write_text("a,b\n0.5,0.5\n-0.5,0.1\n")
    for number in range(12):
        path = folder / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (20 * number, 0, 200 * (number % 2))).save(path)
    printed, errors = "", ""
    for code, ends in ((TRAINED, -signal.SIGKILL), (USED, 0)):
        process = without_posix(CALL + code, folder)
        out, err = process.communicate(timeout=300)
        assert process.returncode == ends, out + err
        printed, errors = printed + out, errors + err
        if ends:
            assert (folder / "runs" / "small-002" / ".lock").exists()
    said = []
    for each in printed.split("\n== ")[1:]:
        if ended := re.fullmatch(r"([^\n]*)\n(.*)-- (\d+)\n", each, re.DOTALL):  # else it was killed
            said.append((ended[1], int(ended[3]), ended[2]))
    return Done(folder, said, errors)


def bits(checkpoint: Path) -> list[bytes]:
    """Of each tensor of the model and of the optimizer in a checkpoint."""
    found: list[bytes] = []

    def collect(content: object) -> None:
        if isinstance(content, torch.Tensor):
            found.append(content.numpy().tobytes())
        elif isinstance(content, dict | list | tuple):
            for each in content.values() if isinstance(content, dict) else content:
                collect(each)

    collect(load_checkpoint(checkpoint).state)
    assert found
    return found


def test_every_command_does_its_work(done: Done) -> None:
    assert {words: code for words, code, _ in done.said} == {
        "train small.yaml": 0,
        "runs": 0,
        "resume small-002": 0,
        "eval small-002": 0,
        "predict small-002 points.csv --csv": 0,
        "train photos.yaml --data-dir data --quiet": 0,
        "predict photos-001 photos --data-dir data --csv": 0,
        "sweep long.yaml optimizer.lr=0.01,0.001 --jobs 2": 130,
        "sweep --resume last --jobs 1": 0,
        "rm small-001 long-sweep-001 --yes": 0,
    }
    assert "Traceback" not in done.errors
    assert "EncodingWarning" not in "".join(re.findall(rf"{PROJECT}/dlrun/.*Warning.*", done.errors))
    assert [len(out.splitlines()) for _, out in done.of("predict")] == [3, 13]


def test_a_killed_run_goes_on_to_the_same_bits(done: Done) -> None:
    [(_, before), *_] = done.of("runs")
    assert re.search(r"small-002 +interrupted +\d/6", before)
    [(_, said)] = done.of("resume")
    assert "finished after epoch 6" in said
    unbroken, resumed = done.folder / "unbroken", done.run("small-002")
    assert "epoch 3 of 6" in (resumed.folder / "log.txt").read_text()
    assert timeless(resumed.rows()) == timeless(Run(unbroken).rows())
    assert bits(resumed.last) == bits(Run(unbroken).last)


def test_a_stopped_sweep_saves_its_runs_and_goes_on(done: Done) -> None:
    (stopped, before), (code, said) = done.of("sweep")
    assert (stopped, code) == (130, 0)
    assert re.search(r"long-00[12] interrupted at epoch \d+/400", before)
    assert "finished" not in before
    assert "2/2 runs are done" in said
    [_, (_, after), _] = done.of("runs")
    assert re.search(r"long-sweep-001 +2 of 2", after)


def test_what_is_deleted_is_gone_and_no_lock_is_left(done: Done) -> None:
    assert sorted(path.name for path in (done.folder / "runs").iterdir()) == ["photos-001", "small-002"]
    assert not list(done.folder.rglob(".lock"))


HELD = """
import sys
from pathlib import Path
from dlrun.errors import RunFailed
from dlrun.system import locks
from dlrun.system.processes import identity
locks.PATIENCE = 0.2
folder = Path("run")
print(locks.is_in_use(folder))
try:
    with locks.lock(folder, lambda: {"pid": int(sys.argv[1]), "host": identity()["host"]}):
        try:
            with locks.lock(folder, identity):
                print("held twice")
        except RunFailed as error:
            print("held", locks.is_in_use(folder), flush=True)
        sys.stdin.readline()
except RunFailed as error:
    print(error.what)
"""


def locking(folder: Path, holder: int = 0) -> subprocess.Popen[str]:
    """A process that takes the lock of a run until it is told to end; it takes `holder` for who has it."""
    return without_posix(f"import sys; sys.argv.append({holder})\n{HELD}", folder)


def test_the_lock_of_a_folder_is_held_once_and_freed_by_whoever_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").touch()
    first = locking(tmp_path)
    assert [first.stdout.readline(), first.stdout.readline()] == ["False\n", "held True\n"]
    said = f"run is in use by process {first.pid} on {socket.gethostname()}"
    for _ in range(2):  # who asked changed nothing
        second = locking(tmp_path, first.pid)
        assert second.communicate(timeout=30)[0].splitlines() == ["True", said]
    first.kill()
    first.communicate()
    assert (folder / ".lock").exists()
    third = locking(tmp_path, first.pid)
    assert third.communicate("\n", timeout=30)[0].splitlines() == ["False", "held True"]
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_a_folder_whose_lock_is_held_is_deleted_when_it_is_freed(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from dlrun.system import locks
for name in ("held", "free", "taken"):
    Path(name, "inner").mkdir(parents=True)
    Path(name, "file").touch()
with locks.lock(Path("held"), dict):
    locks.remove_locked(Path("held"))
with locks.lock(Path("taken"), dict):
    locks.remove_unless_in_use(Path("taken"))
    locks.remove_unless_in_use(Path("free"))
"""
    process = without_posix(code, tmp_path)
    assert process.communicate(timeout=30)[1] == ""
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        *("taken", "taken/file", "taken/inner")
    ]


def test_whoever_asks_whether_a_process_is_alive_does_not_end_it(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as asleep:
        code = f"""
from dlrun.system.processes import is_alive
print(is_alive({asleep.pid}), is_alive(2**22 + 1), is_alive("none"), is_alive(2**40))
"""
        said = without_posix(code, tmp_path).communicate(timeout=30)[0]
        assert said == "True False True True\n"
        assert asleep.poll() is None
        asleep.kill()


def test_each_signal_that_there_is_is_noted_once(tmp_path: Path) -> None:
    code = """
import signal
from dlrun.system.signals import StopSignals
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK):
    with StopSignals() as signals:
        signal.raise_signal(number)
        print(int(signals.received), signal.getsignal(number) == signal.SIG_DFL, flush=True)
with StopSignals():
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    print("it goes on")
"""
    process = without_posix(code, tmp_path)
    assert process.communicate(timeout=30) == ("2 True\n15 True\n21 True\n", "")
    assert process.returncode == -signal.SIGINT


def test_a_search_keeps_what_it_drew_without_symbolic_links(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from dlrun.sweeps.study import Study
from dlrun.sweeps.values import SweptKey
for expected in (0, 1):
    study = Study(Path(), [SweptKey("x", [1, 2, 3], "here")], False, seed=0)
    number, values = study.draw()
    study.tell(number, [1.0])
    print(number == expected, values["x"] in (1, 2, 3))
"""
    out, err = without_posix(code, tmp_path).communicate(timeout=60)
    assert out == "True True\nTrue True\n", err
