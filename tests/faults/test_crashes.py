"""Killed, crashed, out of power or disk: what a run has saved stays, and going on ends in the same bits."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import pytest
import torch
from processes import CHANGES, train_and_crash, train_and_tell, until, with_moving
from small_runs import (
    Listening,
    child,
    contents,
    differences,
    go_on,
    mostly_slow,
    only_run,
    outcome,
    own_parts,
    planned,
    saved_epoch,
    started,
    trained,
)
from watched_disk import Disk, Tree

import dlrun as package
from dlrun.config.dumping import dump_config
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused, RunFailed
from dlrun.run_folders.listing import runs_in
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.run import Run
from dlrun.system.files import make_folder, write_atomically
from dlrun.training import run_writer
from dlrun.training.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.views import HiddenTraining

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
SOURCE = Path(package.__file__).parent
RELEASES = sorted((HERE / "releases").glob("*.pt"))
ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS]
Dlrun = Callable[..., Any]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """mount(*words) is a new folder on which `mount *words` was done. Skips where that is not possible."""
    mounted: list[Path] = []

    def do(*words: object) -> Path:
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root mounts a disk")
        folder = tmp_path / f"mounted{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(["mount", *map(str, words), str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this system mounts nothing: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield do
    for folder in reversed(mounted):
        if folder.is_mount():
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


# ------------------------------------------------------------------------ T1, T8: killed again and again


def last_told(told: Path) -> int:
    """The epoch of the last save that returned; -1 where none did."""
    lines = told.read_text().split() if told.exists() else []
    return int(lines[-1]) if lines else -1


def saves_told(told: Path) -> int:
    """The number of saves that returned."""
    return len(told.read_text().split()) if told.exists() else 0


def killed_until_done(fault: Any, folder: Path, kills: int, temporary: str | None = None) -> None:
    """kill -9, whatever a run is doing, and go on with it, until it is done; so often, over many runs."""
    changes = CHANGES | {"epochs": fault.times(10, 40)}
    wanted = outcome(trained(planned(**changes), folder))
    while kills > 0:
        run = started(planned(**changes), folder)
        told = folder / f"{run.name}.told"
        while True:
            returned, began = saves_told(told), time.monotonic()
            process = child(train_and_tell, str(run.folder), changes, str(told), temporary)
            if kills > 0:
                if kills % 4 == 3:  # most likely before it trains
                    process.join(fault.random.uniform(0.005, 0.25))
                else:  # after a few saves, so that each run gets on
                    more = returned + fault.random.randint(1, 4)
                    until(lambda: saves_told(told) >= more, process.is_alive)  # noqa: B023
                    each = (time.monotonic() - began) / (more - returned)
                    process.join(fault.random.uniform(0, 2) * each)  # anywhere between two saves
                process.kill()
            process.join()
            if process.exitcode == 0:
                break
            killed = process.exitcode == -signal.SIGKILL
            kills -= killed
            fault.count(kills=killed)
            fault.never(refused=not killed, lost=max(0, last_told(told) - saved_epoch(run)))
        fault.count(runs=1)
        fault.never(different=differences(wanted, outcome(run)))
        assert not list(run.folder.rglob("*.tmp"))


@pytest.mark.row("T1")
def test_killed_at_random_moments_a_run_ends_in_the_same_bits(fault: Any, tmp_path: Path) -> None:
    killed_until_done(fault, tmp_path, fault.times(1, 400))


@pytest.mark.row("T8")
@pytest.mark.slow
def test_temporary_files_on_another_filesystem_change_nothing(fault: Any, tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other filesystem in /dev/shm")
    elsewhere = shared / f"dlrun-{os.getpid()}"
    elsewhere.mkdir()
    try:
        killed_until_done(fault, tmp_path, fault.times(1, 100), str(elsewhere))
        outside = list(elsewhere.rglob("*"))
    finally:
        shutil.rmtree(elsewhere)
    fault.never(outside=outside)


@pytest.mark.row("T8")
def test_what_is_written_is_beside_its_target(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    seen: list[str] = []
    write_atomically(tmp_path / "target", lambda file: seen.extend(os.listdir(tmp_path)))
    assert len(seen) == 1


# ------------------------------------------------------------------------ T2: the whole command line

SAVING = """
from dlrun.console.commands.app import main
from dlrun.training import run_writer

run_writer.SAVE_EVERY = run_writer.SAVE_SHARE = 0
main()
"""


@pytest.mark.row("T2")
def test_the_whole_command_line_is_killed_and_goes_on(
    fault: Any, dlrun: Dlrun, tiny: Path, tmp_path: Path
) -> None:
    """A process group of its own, killed before, while and after it makes its folder, trains and saves."""
    long = ("epochs=150", "seeds=[0,1]")
    assert dlrun("train", tiny, *long, "--runs-dir", tmp_path / "unbroken").code == 0
    wanted = outcome(only_run(tmp_path / "unbroken"))
    kills = fault.times(1, 20)
    while kills > 0:
        folder = tmp_path / f"runs{kills}"
        for _ in range(min(kills, fault.random.randint(1, 4))):
            kills -= killed_once(fault, folder, ("train", tiny, *long), dlrun, early=kills % 4 == 3)
        if not runs_in(folder):
            continue  # it never came to making a folder
        run = only_run(folder)
        done = dlrun("resume", "last", "--runs-dir", folder)
        assert done.code == 0, done.err
        fault.count(runs=1)
        fault.never(different=differences(wanted, outcome(run)))
        assert not list(folder.rglob("*.tmp"))


def killed_once(fault: Any, folder: Path, begin: tuple[object, ...], dlrun: Dlrun, *, early: bool) -> bool:
    """Begin a run in an empty folder, else go on with the one that is there; kill its process group.

    Whether it was killed, and not done before.
    """
    [run] = runs_in(folder) or [None]
    before = saved_epoch(run) if run else -1
    words = ("resume", "last") if run else begin
    command = [sys.executable, "-c", SAVING, *map(str, words), "--runs-dir", str(folder)]
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    if early:
        time.sleep(fault.random.uniform(0, 2))  # most likely before it trains
    else:
        saved = saves_of(folder)
        until(lambda: saves_of(folder) != saved, lambda: process.poll() is None)
        time.sleep(fault.random.uniform(0, 1))
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    _, err = process.communicate()
    [run] = runs_in(folder) or [None]
    killed = process.returncode == -signal.SIGKILL
    fault.count(kills=killed, halves_left_behind=len(list(folder.rglob("*.tmp"))))
    fault.said(err.decode())
    fault.never(lost=max(0, before - saved_epoch(run)) if run else 0)
    assert err == b""
    if run:
        (run.last.parent / "last.pt.1.tmp").write_bytes(b"half")  # there is always one to remove
        if killed:
            status = run.summary().get("status")  # it may have been done, and killed on its way out
            said = "finished" if status == "finished" else "interrupted"
            assert said in dlrun("runs", "--runs-dir", folder).out
    return killed


def saves_of(folder: Path) -> list[int]:
    """The files that change when a run in a folder is saved."""
    return [run.last.stat().st_mtime_ns for run in runs_in(folder) if run.last.exists()]


# ------------------------------------------------------------------------ T3: the power goes


@pytest.mark.row("T3")
@pytest.mark.parametrize("options", ["auto_da_alloc", "noauto_da_alloc"])
def test_a_power_cut_leaves_the_newest_save_that_returned(
    fault: Any, tmp_path: Path, mount: Callable[..., Path], options: str
) -> None:
    """A disk of its own, copied while a run writes to it: what only the system's memory knows is lost.

    With noauto_da_alloc, ext4 gives a file its new name before its content.
    """
    changes = CHANGES | {"epochs": 15}
    wanted = outcome(trained(planned(**changes), tmp_path))
    image, copy = tmp_path / "disk", tmp_path / "copy"
    image.touch()
    os.truncate(image, 32 * 2**20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4 here")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    disk = mount("-o", f"loop,{options}", image)
    cuts, process = fault.times(1, 24), None
    while cuts > 0:
        if process is None or not process.is_alive():
            run = started(planned(**changes), disk)
            told = tmp_path / f"{run.name}.told"
            process = child(train_and_tell, str(run.folder), changes, str(told))
        more = saves_told(told) + fault.random.randint(1, 3)
        until(lambda: saves_told(told) >= more, process.is_alive)  # noqa: B023
        process.join(fault.random.uniform(0.0, 0.05))
        with standing_still(process.pid):
            returned = last_told(told)
            subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
        cuts -= 1
        found = mount("-o", f"loop,{options}", copy)
        lost, different = after_the_cut(Run(found / run.name), changes, returned, wanted)
        subprocess.run(["umount", str(found)], check=True)
        fault.count(cuts=1)
        fault.never(lost=lost, different=different)
    process.kill()
    process.join()


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """A process does nothing in here."""
    try:
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "TtZX":
            assert time.monotonic() < deadline, "it does not stop"
            time.sleep(0.001)
    except (ProcessLookupError, FileNotFoundError):
        pass  # it is done
    yield
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def after_the_cut(
    run: Run, changes: dict[str, Any], returned: int, wanted: dict[str, Any]
) -> tuple[int, list[str]]:
    """The number of saved epochs that are lost, and the differences from the unbroken run after a resume."""
    assert run.config.exists(), "the run itself is lost"
    lost = max(0, returned - saved_epoch(run))
    go_on(run, changes)
    return lost, differences(wanted, outcome(run))


# ------------------------------------------------------------------------ T4: the order of system calls

# Calls that write or rename, and where alone they may be: all else goes through dlrun/system/files.py.
WRITING = {
    "write_text",
    "write_bytes",
    "savefig",
    "mkdir",
    "makedirs",
    "TemporaryFile",
    "tofile",
    "open_to_append",
}
NEW_NAMES = {"replace", "rename", "renames", "link", "symlink", "hardlink_to", "symlink_to", "move"}
WRITERS = {
    ("system/files.py", "write_atomically"): "the door: a temporary file, then its name",
    ("system/files.py", "_replace"): "within write_atomically: a file that is in use is tried again",
    ("system/files.py", "open_to_append"): "for workers.log",
    ("system/files.py", "make_folder"): "a folder and those above it",
    ("system/locks.py", "_opened"): "where no folder can be opened, the empty file that is locked for it",
    ("training/checkpoint.py", "save_checkpoint"): "within write_atomically",
    ("run_folders/metrics_file.py", "__init__"): "metrics.csv: rows are appended, and cut off on resume",
    ("run_folders/run.py", "log"): "log.txt: its end may be lost",
    ("console/streams.py", "_give_up"): "to /dev/null",
    ("sweeps/ray_cluster.py", "_without_stderr"): "to /dev/null",
    (
        "data/table_files/parsed_tables.py",
        "_write",
    ): "a temporary file that is read while it is written; its name by put_in_place",
    ("run_folders/locating.py", "new_folder"): "the exclusive mkdir of a run or a sweep",
    ("run_folders/locating.py", "create_only_run"): "the mkdir of the one run of a name",
    ("run_folders/locating.py", "_begun"): "the folders in it",
    ("api/sweeps.py", "_file_of"): "a config that is a dict, in a temporary folder",
    ("api/own_parts.py", "_refuse_no_part"): "the draft of a part, in a temporary folder",
    ("training/presence.py", "note_for_launcher"): "a word to the launcher, in a temporary folder",
    ("sweeps/worker_process.py", "_say_into"): "workers.log: its end may be lost",
    ("training/plot_files.py", "write_picture"): "within write_atomically",
    ("tracking/tensorboard.py", "__init__"): "an event file: the next call writes all of it anew",
    ("tracking/follower.py", "_alone_with_stdout"): "to /dev/null",
    (
        "training/plot_files.py",
        "_draw_plot",
    ): "within write_atomically; an animation first in a folder of its own",
}


def writing_calls(function: ast.FunctionDef) -> Iterator[str]:
    """The names of calls in a function that write to a disk, by their look."""
    for call in ast.walk(function):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        owner = getattr(getattr(call.func, "value", None), "id", "")
        options = {word.arg for word in call.keywords}
        renames = name in NEW_NAMES and (owner in ("os", "shutil") or (owner and len(call.args) == 1))
        opens = name == "open" and bool(opened_as(call) & set("wax+"))
        saves = name == "save" and owner in ("torch", "picture", "image", "np")
        if renames or opens or saves or name in WRITING or "download" in options:
            yield name


def opened_as(call: ast.Call) -> set[str]:
    """The letters of the mode in which a call of `open` opens a file."""
    given = [*call.args, *(word.value for word in call.keywords)]
    texts = [str(each.value) for mode in given for each in ast.walk(mode) if isinstance(each, ast.Constant)]
    names = {getattr(each, "attr", getattr(each, "id", "")) for each in ast.walk(call)}
    flags = {"w"} if names & {"O_WRONLY", "O_RDWR", "O_CREAT", "_WRITE_ANEW", "_APPEND"} else set()
    return flags | {letter for text in texts if re.fullmatch(r"[rwax]\+?b?\+?", text) for letter in text}


@pytest.mark.row("T4")
def test_every_writer_goes_through_one_door(fault: Any) -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for name in writing_calls(function):
                    found.setdefault((str(path.relative_to(SOURCE)), function.name), set()).add(name)
    fault.count(writers=len(found))
    assert set(found) == set(WRITERS), (
        "a new writer: through dlrun/system/files.py, or with a reason in WRITERS"
    )
    assert {place for place, names in found.items() if names & NEW_NAMES} == {
        ("system/files.py", "_replace"),
    }


@pytest.mark.row("T4")
def test_a_file_is_on_the_disk_before_it_has_its_name(fault: Any, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    seen: list[bool] = []

    def write(file: IO[bytes]) -> None:
        file.write(b"content")
        seen.append((folder / "target").exists())

    with Disk(tmp_path).watched() as disk:
        write_atomically(folder / "target", write)
    temporary = disk.calls[0][1]
    assert disk.calls == [
        ("open", temporary),
        ("write", temporary),
        ("fsync", temporary),
        ("replace", temporary, "folder/target"),
        ("open", "folder"),
        ("fsync", "folder"),
    ]
    assert re.fullmatch(r"folder/target\.\d+\.tmp", temporary)
    assert seen == [False]
    assert contents(folder) == {"target": b"content"}


@pytest.mark.row("T4")
def test_a_new_folder_has_its_name_on_the_disk(fault: Any, tmp_path: Path) -> None:
    with Disk(tmp_path).watched() as disk:
        make_folder(tmp_path / "a" / "b" / "c")
    assert [call for call in disk.calls if call[0] == "fsync"] == [
        ("fsync", each) for each in ("a/b", "a", ".")
    ]
    with Disk(tmp_path).watched() as disk:
        make_folder(tmp_path / "a" / "b" / "c")
    assert not [call for call in disk.calls if call[0] == "fsync"]


@pytest.mark.row("T4")
def test_what_a_command_wrote_is_on_the_disk_when_it_ends(
    fault: Any, dlrun: Dlrun, tiny: Path, tmp_path: Path, save_always: None
) -> None:
    """Nothing but the end of a log is lost by a power cut after it."""
    moving = "plots=[curves, decision_animation]" if fault.thorough else "plots=[curves]"
    root = tmp_path / "disk"
    (root / "photos").mkdir(parents=True)
    photos(root / "photos")
    runs_dir, data = root / "deep" / "runs", root / "deep" / "data"
    run = runs_dir / "tiny-001"
    images = tmp_path / "images.yaml"
    images.write_text(IMAGES.format(folder=root / "photos"))
    commands: list[tuple[object, ...]] = [
        ("train", tiny, moving, "--stop-after", "2"),
        ("resume", run, "epochs=4"),
        ("eval", run),
        ("plot", run, "curves", "--out", root / "pictures" / "more"),
        ("data", tiny),
        ("train", images, "--data-dir", data),
    ]
    for words in commands:
        with Disk(root).watched() as disk:
            done = dlrun(words[0], "--runs-dir", runs_dir, *words[1:])
        assert done.code == 0, done.err
        in_order(disk.calls)
        left = disk.left(names_are_ahead=False, data_is_ahead=False)
        lost = {path for path, content in contents(root).items() if left.get(path) != content}
        assert {Path(path).name for path in lost} <= {"log.txt"}
        fault.count(commands=1, files_replaced=sum(call[0] == "replace" for call in disk.calls))
    assert run.joinpath("eval", "test.json").exists()
    assert list(data.rglob("index.json"))


def in_order(calls: list[tuple[str, ...]]) -> None:
    """Assert that a file is on the disk before it is named, its name after, and a folder before its files."""
    for place, call in enumerate(calls):
        if call[0] == "replace":
            temporary, target = call[1:]
            folder = str(Path(target).parent)
            assert calls[place - 1] == ("fsync", temporary), target
            assert calls[place + 1 : place + 3] == [("open", folder), ("fsync", folder)], target
            opened = len(calls) - 1 - calls[::-1].index(("open", temporary), len(calls) - place)
            written = calls[opened + 1 : place - 1]
            assert all(each == ("write", temporary) for each in written), target
        elif call[0] == "mkdir":
            inside = [
                n for n, (name, path, *_) in enumerate(calls) if name == "write" and within(path, call[1])
            ]
            named = calls.index(("fsync", str(Path(call[1]).parent)), place)
            assert all(named < n for n in inside), f"{call[1]} is used before its name is on the disk"


def within(path: str, folder: str) -> bool:
    return Path(folder) in Path(path).parents


IMAGES = """\
seeds: [0]
device: cpu
dataset: {{name: image_folder, path: "{folder}", size: 8}}
architecture: {{name: linear, flatten: true}}
loss: cross_entropy
optimizer: {{name: sgd, lr: 1e-2}}
epochs: 1
batch_size: full
plots: []
"""


def photos(folder: Path) -> None:
    """A few small pictures of two classes."""
    from PIL import Image

    for number in range(8):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(path)


@pytest.mark.row("T4")
def test_whatever_of_it_reached_the_disk_the_newest_save_is_there(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_always: None
) -> None:
    """The power goes after any one call: names and contents that nobody waited for are there, half or not."""
    changes = CHANGES | {"epochs": 3, "evaluate_every": 1}
    parts = with_moving(tmp_path)
    plan = planned(parts, **changes, plots=["moving"])
    wanted = outcome(trained(plan, tmp_path / "unbroken"))
    root = tmp_path / "disk"
    root.mkdir()
    saved, save = -2, save_checkpoint
    cuts: dict[bytes, tuple[int, Tree]] = {}  # what differs alone, with the newest save that had returned

    def telling(path: Path, checkpoint: Checkpoint) -> None:
        nonlocal saved
        save(path, checkpoint)
        if path.name == "last.pt":
            saved = checkpoint.state["epoch"]

    def cut() -> None:
        for names in (False, True):
            for data in (False, True):
                left = disk.left(names_are_ahead=names, data_is_ahead=data)
                cuts[repr(sorted(left.items())).encode()] = saved, left

    monkeypatch.setattr(run_writer, "save_checkpoint", telling)
    disk = Disk(root)
    disk.after = cut
    with disk.watched():
        run = create_run(root / "runs", "small", dump_config(plan.config))
        saved = -1
        train_run(plan, run, HiddenTraining())
    monkeypatch.setattr(run_writer, "save_checkpoint", save)
    chosen = list(cuts.values())
    if not fault.thorough:
        chosen = fault.random.sample(chosen, 4)
    for number, (returned, left) in enumerate(chosen):
        found = Run(tmp_path / f"cut{number}" / run.name)
        for path, content in left.items():
            where = tmp_path / f"cut{number}" / Path(path).relative_to("runs")
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content)
        if returned == -2 and not found.config.exists():
            continue  # the run had no config yet
        lost = max(0, returned - saved_epoch(found))
        if not (done := found.last.exists()):
            assert returned < 0, "a save that had returned is gone"
        for folder in (found.last.parent, found.plots):
            folder.mkdir(exist_ok=True)
        train_run(plan, found, HiddenTraining())
        fault.count(cuts=1, cuts_with_a_save=done)
        fault.never(lost=lost, different=differences(wanted, outcome(found)))


# ------------------------------------------------------------------------ T5: between two files


def everything(run: Run) -> dict[str, Any]:
    """All that a run learnt, with the weights that it kept on its way."""
    kept = {path.name: load_checkpoint(path).state["model"] for path in sorted(run.weights.iterdir())}
    return outcome(run) | {"kept": kept}


@pytest.mark.slow
@pytest.mark.row("T5")
def test_a_crash_after_any_of_its_writes_loses_nothing(fault: Any, tmp_path: Path) -> None:
    """Gone right after the Nth file is put in its place, best.pt before last.pt among them."""
    changes = CHANGES | {"epochs": 2, "evaluate_every": 1, "optimizer": {"name": "adam", "lr": 0.05}}
    changes |= {"plots": ["moving"]}
    parts = with_moving(tmp_path)
    wanted = everything(trained(planned(parts, **changes), tmp_path))
    replacement, half_saved, step = 0, 0, fault.times(2, 1)
    while True:
        replacement += step
        run = started(planned(parts, **changes), tmp_path)
        process = child(train_and_crash, str(run.folder), str(tmp_path), changes, replacement)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == 77
        if run.best.exists():
            half_saved += load_checkpoint(run.best).state["epoch"] > saved_epoch(run)
        go_on(run, changes, parts)
        fault.count(crashes=1)
        fault.never(different=differences(wanted, everything(run)))
    assert replacement > 6
    assert half_saved >= fault.times(1, 2), "no crash was between best.pt and last.pt"


# ------------------------------------------------------------------------ T6: any one call fails


@pytest.mark.row("T6")
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_call_that_fails_leaves_one_whole_file_and_nothing_else(
    fault: Any, tmp_path: Path, error: int
) -> None:
    path = tmp_path / "folder" / "target"
    path.parent.mkdir()
    failing = 0
    while True:
        failing += 1
        path.write_bytes(b"old")
        with Disk(tmp_path, failing, error).watched() as disk:
            try:
                write_atomically(path, lambda file: file.write(b"new" * 10_000))
                break
            except RunFailed as refused:
                assert refused.what == f"cannot write {path}: {os.strerror(error)}"
        renamed = "replace" in [call[0] for call in disk.calls[: failing - 1]]
        fault.count(failures=1)
        fault.never(lost=contents(tmp_path) != {"folder/target": b"new" * 10_000 if renamed else b"old"})
    assert failing > 6


@pytest.mark.row("T6")
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_run_that_cannot_be_made_is_said_so_whatever_fails(fault: Any, tmp_path: Path, error: int) -> None:
    failing = 0
    while True:
        failing += 1
        parent = tmp_path / f"runs{failing}" / "deep"
        with Disk(tmp_path, failing, error).watched():
            try:
                create_run(parent, "some", "")
                break
            except RunFailed as refused:
                assert os.strerror(error) in refused.what
                assert (refused.exit_code, bool(refused.fix)) == (1, True)
        assert not list(tmp_path.rglob("*.tmp"))
        fault.count(failures=1)
    assert failing > 12


@pytest.mark.row("T6")
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("command", ["train", "resume"])
def test_whichever_call_fails_the_command_says_so_and_nothing_saved_is_lost(
    fault: Any, dlrun: Dlrun, tiny: Path, tmp_path: Path, save_always: None, command: str, for_good: bool
) -> None:
    """Once, as a disk that hiccups, or from there on, as one that is full or read-only."""
    assert dlrun("train", tiny, "epochs=2", "--runs-dir", tmp_path / "unbroken").code == 0
    wanted = outcome(only_run(tmp_path / "unbroken"))
    before = tmp_path / "before"
    before.mkdir()
    if command == "resume":
        done = dlrun("train", tiny, "epochs=2", "--stop-after", 1, "--runs-dir", before / "runs")
        assert done.code == 0
    words = ("train", tiny, "epochs=2") if command == "train" else ("resume", "last")
    failures, calls = 0, the_calls(before, tmp_path / "counted", dlrun, words)
    numbers = range(1, len(calls) + 1)
    chosen = list(numbers)
    if not fault.thorough:
        kinds = {re.sub(r"\.\d+\.tmp", "", str(calls[number - 1])): number for number in numbers}
        chosen = sorted(kinds.values())[::2] if (command, for_good) == ("resume", False) else [numbers[-9]]
    for failing in chosen:
        one = ERRORS[failing % 4]
        errors = ERRORS if fault.thorough and (command, for_good) == ("train", False) else [one]
        for error in errors:
            folder = tmp_path / "now"
            shutil.copytree(before, folder)
            with Disk(folder, failing, error, for_good).watched() as disk:
                done = dlrun(*words, "--runs-dir", folder / "runs")
            failed = disk.calls[failing - 1 :] if for_good else [disk.failed]
            if all(call[1].endswith("log.txt") for call in failed):
                assert done.code == 0, "a log that cannot be written stops nothing"
            else:
                failures += 1
                said_as_it_is(fault, done, error)
                if not (for_good and error != errno.ENOSPC):
                    assert not list(folder.rglob("*.tmp"))
            if error == one:
                same_in_the_end(fault, dlrun, folder / "runs", done, words, wanted)
            shutil.rmtree(folder)
    assert failures >= len(chosen) - 6


def the_calls(before: Path, folder: Path, dlrun: Dlrun, words: tuple[object, ...]) -> list[tuple[str, ...]]:
    """The calls of a command where none fails."""
    shutil.copytree(before, folder)
    with Disk(folder).watched() as disk:
        assert dlrun(*words, "--runs-dir", folder / "runs").code == 0
    return disk.calls


def said_as_it_is(fault: Any, done: Any, error: int) -> None:
    """Assert that a command that could not write says so in a few lines, and what to do."""
    lines = done.err.splitlines()
    fault.count(failures=1)
    assert done.code == 1
    [said] = [line for line in lines if line.startswith("error: ")]
    assert said.startswith("error: cannot write ") and said.endswith(os.strerror(error))
    assert "unexpected pos" not in done.err
    first = "free some space" if error == errno.ENOSPC else "see that it can be written to"
    assert any(line.startswith(f"  fix: {first}") for line in lines)


def same_in_the_end(
    fault: Any, dlrun: Dlrun, runs_dir: Path, failed: Any, words: tuple[object, ...], wanted: dict[str, Any]
) -> None:
    """Assert that what was saved can be loaded, and that going on ends as if nothing had ever failed."""
    found = runs_in(runs_dir)
    if not found:
        assert words[0] == "train" and "resume:" not in failed.err
        return
    [run] = found
    if failed.code:
        assert f"  resume: dlrun resume {run.folder}" in failed.err.splitlines() or not run.metrics.exists()
    fault.never(lost=max(0, 1 - saved_epoch(run)) if words[0] == "resume" else 0)
    done = dlrun("resume", run.folder)
    assert done.code == 0, done.err
    fault.never(different=differences(wanted, outcome(run)))


@pytest.mark.row("T6")
@pytest.mark.parametrize("command", ["eval", "plot", "decode"])
def test_whatever_else_writes_says_so(
    fault: Any, dlrun: Dlrun, tiny: Path, tmp_path: Path, command: str
) -> None:
    """A report or decoded images that cannot be written are an error, a picture is a warning."""
    before = tmp_path / "before"
    (before / "photos").mkdir(parents=True)
    now = tmp_path / "now"
    photos(before / "photos")
    images = tmp_path / "images.yaml"
    images.write_text(IMAGES.format(folder=now / "photos"))
    assert dlrun("train", tiny, "--runs-dir", before / "runs").code == 0
    words = {
        "eval": ("eval", "last"),
        "plot": ("plot", "last", "curves", "--out", now / "pictures"),
        "decode": ("train", images, "--quiet", "--data-dir", now / "data"),
    }[command]
    failing = 0 if fault.thorough else fault.random.randint(0, 6)
    while True:
        failing += 1
        error = ERRORS[failing % 4]
        shutil.copytree(before, now)
        with Disk(now, failing, error).watched() as disk:
            done = dlrun(words[0], "--runs-dir", now / "runs", *words[1:])
        left = list(now.rglob("*.tmp"))
        shutil.rmtree(now)
        if len(disk.calls) < failing:
            assert done.code == 0, done.err
            break
        if command == "decode" and "runs" in disk.failed[1]:
            break  # the images are decoded
        assert left == []
        assert os.strerror(error) in done.err
        if "was not drawn: cannot write" in done.err:
            fault.count(failures=1)
            assert done.code == (command == "plot") and "warning: the plot" in done.err
            assert len(done.err.splitlines()) <= 5
        else:
            said_as_it_is(fault, done, error)
        if not fault.thorough:
            break
    assert failing > 6 or not fault.thorough


@pytest.mark.row("T6")
def test_an_error_that_is_not_the_disks_keeps_its_own_name(fault: Any, tmp_path: Path) -> None:
    def broken(file: IO[bytes]) -> None:
        raise RuntimeError("no disk was involved")

    with pytest.raises(RuntimeError, match="no disk was involved"):
        write_atomically(tmp_path / "target", broken)
    assert contents(tmp_path) == {}


# ------------------------------------------------------------------------ T7: the disk is full

WIDE = "architecture={name: mlp, hidden: [64, 64]}"  # its checkpoint is larger than what is free


def full_disk(
    fault: Any, dlrun: Dlrun, tiny: Path, runs_dir: Path, full: Callable[[Run], Any], said: str
) -> None:
    """A run that goes on where there is no place for another checkpoint, then where there is again."""
    assert dlrun("train", tiny, WIDE, "--runs-dir", runs_dir.parent / "unbroken").code == 0
    wanted = outcome(only_run(runs_dir.parent / "unbroken"))
    assert dlrun("train", tiny, WIDE, "--stop-after", 1, "--runs-dir", runs_dir).code == 0
    run = only_run(runs_dir)
    before = run.last.read_bytes()
    with full(run):
        done = dlrun("resume", "last", "--runs-dir", runs_dir)
    fault.count(full_disks=1)
    fault.never(lost=run.last.read_bytes() != before)
    lines = done.err.splitlines()
    assert done.code == 1, done.err
    assert any(line.startswith("error: cannot write ") and line.endswith(said) for line in lines)
    assert f"  resume: dlrun resume {run.folder}" in lines
    assert "unexpected pos" not in done.err + done.out + (run.folder / "log.txt").read_text()
    assert not list(run.folder.rglob("*.tmp"))
    assert dlrun("resume", "last", "--runs-dir", runs_dir).code == 0
    fault.never(different=differences(wanted, outcome(run)))


@pytest.mark.row("T7")
def test_a_file_that_may_not_grow_is_said_so_and_the_old_one_stays(
    fault: Any, dlrun: Dlrun, tiny: Path, tmp_path: Path, save_always: None
) -> None:
    @contextmanager
    def full(run: Run) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (run.last.stat().st_size // 2, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)

    full_disk(fault, dlrun, tiny, tmp_path / "runs", full, os.strerror(errno.EFBIG))


@pytest.mark.row("T7")
def test_a_disk_that_is_full_is_said_so_and_the_old_checkpoint_stays(
    fault: Any, dlrun: Dlrun, tiny: Path, mount: Callable[..., Path], save_always: None
) -> None:
    disk = mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")

    @contextmanager
    def full(run: Run) -> Iterator[None]:
        ballast = disk / "ballast"
        free = shutil.disk_usage(disk).free
        ballast.write_bytes(bytes(max(0, free - 32 * 2**10)))  # a checkpoint is larger than that
        assert run.last.stat().st_size > 32 * 2**10
        yield
        ballast.unlink()

    full_disk(fault, dlrun, tiny, disk / "runs", full, os.strerror(errno.ENOSPC))


@pytest.mark.row("T7")
@pytest.mark.parametrize("failing", range(1, 4))
def test_a_write_that_fails_half_way_leaves_the_old_file(fault: Any, failing: int, tmp_path: Path) -> None:
    path = tmp_path / "target"
    path.write_bytes(b"old")

    def full(file: IO[bytes]) -> None:
        for number in range(1, 4):
            if number == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.write(b"x" * 100_000)

    with pytest.raises(RunFailed, match="No space left on device"):
        write_atomically(path, full)
    assert contents(tmp_path) == {"target": b"old"}


@pytest.mark.row("T7")
def test_the_disks_own_words_are_found_behind_those_of_another_library(fault: Any, tmp_path: Path) -> None:
    def hidden(file: IO[bytes]) -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error

    with pytest.raises(RunFailed, match="No space left on device") as refused:
        write_atomically(tmp_path / "target", hidden)
    assert "unexpected pos" not in " ".join(refused.value.lines())
    assert contents(tmp_path) == {}


# ------------------------------------------------------------------------ T9: what no checkpoint can hold

NUMPY = '''
"""A metric that forgets to be plain."""
import numpy as np


def numpy_figure(outputs, targets):
    """Zero."""
    return targets.float() * 0


def finish(means):
    return np.float64(means[0])
'''
WITH_A_PATH = '''
"""Gradient descent that remembers where it was."""
from pathlib import Path

import torch


def with_a_path(parameters, *, lr: float = 0.1):
    """Plain gradient descent."""
    optimizer = torch.optim.SGD(parameters, lr=lr)
    optimizer.param_groups[0]["place"] = Path("here")
    return optimizer
'''


class OwnTensor(torch.Tensor):
    """A kind of tensor that no other program knows."""


UNREADABLE: dict[str, Any] = {
    "path": Path("x"),
    "set": {1, 2},
    "bytes": b"bytes",
    "complex": 1j,
    "object": object(),
    "dtype": torch.float32,
    "size": torch.Size([1]),
    "numpy scalar": np.float64(1),
    "numpy array": np.zeros(2),
    "defaultdict": defaultdict(list),
    "own tensor": torch.zeros(2).as_subclass(OwnTensor),
    "expanded tensor": torch.zeros(1).expand(5),
    "sparse tensor": torch.eye(3).to_sparse(),
    "meta tensor": torch.zeros(2, device="meta"),
    "huge number": 1 << 5000,
    "key": {(1, 2): 3},
    "too deep": json.loads("[" * 40 + "]" * 40),
}


@pytest.mark.row("T9")
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_value_that_could_not_be_read_back_is_refused_by_its_name(
    fault: Any, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")
    saved = Checkpoint({}, {}, {"model": [{"deep": UNREADABLE[kind]}]}, {}, {}, "0")
    with pytest.raises(RunFailed) as refused:
        save_checkpoint(path, saved)
    told = "nested too deeply" if kind == "too deep" else "state.model[0].deep is "
    assert (told if kind != "key" else "a key in state.model[0].deep") in refused.value.what
    assert (refused.value.exit_code, refused.value.where) == (1, str(path))
    assert contents(tmp_path) == {"a.pt": b"old"}
    fault.count(values_refused=1)


@pytest.mark.row("T9")
def test_what_is_not_refused_can_be_read_back(fault: Any, tmp_path: Path) -> None:
    values: list[Any] = [
        0,
        -1,
        2**1999,
        1.5,
        float("nan"),
        float("inf"),
        "π \udcff",
        True,
        None,
        (1, (2,)),
        {},
        [],
    ]
    values += [
        OrderedDict(a=torch.zeros(2)),
        torch.nn.Parameter(torch.ones(2)),
        torch.zeros(0),
        torch.tensor(1),
    ]
    values += [torch.zeros(4, 4).t(), torch.zeros(8)[2:4], torch.zeros(2, dtype=torch.bfloat16), {1: 2}]
    values += [torch.arange(3), torch.tensor([True])]
    for value in values:
        save_checkpoint(tmp_path / "a.pt", Checkpoint({}, {}, {"value": value}, {}, {}, "0"))
        read = load_checkpoint(tmp_path / "a.pt").state["value"]
        fault.count(values_saved=1)
        fault.never(wrong=differences(plain(value), plain(read)))


def plain(value: Any) -> Any:
    return (
        dict(value)
        if isinstance(value, OrderedDict)
        else value.detach()
        if isinstance(value, torch.nn.Parameter)
        else value
    )


@pytest.mark.row("T9")
@pytest.mark.parametrize("optimizer", mostly_slow(Parts().names("optimizer"), "adam", "lbfgs", "muon"))
def test_every_save_can_be_loaded_at_once(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_always: None, optimizer: str
) -> None:
    parts = own_parts(tmp_path, {"metrics/numpy_figure.py": NUMPY})
    save = save_checkpoint

    def checked(path: Path, checkpoint: Checkpoint) -> None:
        save(path, checkpoint)
        read = load_checkpoint(path)
        fault.count(saves=1)
        for name in ("state", "figures"):
            fault.never(wrong=differences(getattr(checkpoint, name), getattr(read, name)))

    monkeypatch.setattr(run_writer, "save_checkpoint", checked)
    changes = CHANGES | {
        "optimizer": {"name": optimizer, "lr": 0.02},
        "metrics": ["accuracy", "numpy_figure"],
    }
    run = trained(planned(parts, **changes), tmp_path)
    assert load_checkpoint(run.last).figures["train_numpy_figure"] == [0.0, 0.0]
    assert set(run.rows()["train_numpy_figure"]) == {0.0}


@pytest.mark.row("T9")
def test_a_part_that_no_checkpoint_can_hold_is_said_before_it_trains(
    fault: Any, dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    own_parts(tmp_path, {"optimizer/with_a_path.py": WITH_A_PATH})
    done = dlrun("train", tiny, "optimizer=with_a_path", "--parts", tmp_path / "parts")
    run = only_run(runs_dir)
    fault.count(values_refused=1)
    assert done.code == 1
    assert done.err.splitlines() == [
        "error: a checkpoint cannot hold this run: state.optimizer.param_groups[0].place is a PosixPath",
        f"  where: {run.last}",
        "  fix: keep numbers, texts, lists, dicts and whole tensors there",
        f"  resume: dlrun resume {run.folder} --parts {tmp_path / 'parts'}",
    ]
    assert not run.last.exists()
    assert not run.has_rows()


@pytest.mark.row("T9")
@pytest.mark.parametrize(("epoch_seconds", "save_seconds"), [(0.5, 0.001), (1.0, 0.2), (10.0, 5.0)])
def test_saves_are_spaced_so_that_they_take_little_of_the_time(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch_seconds: float, save_seconds: float
) -> None:
    """By a clock that only epochs and saves move on."""
    now, saves, save = 0.0, 0, save_checkpoint

    def slow(path: Path, checkpoint: Checkpoint) -> None:
        nonlocal now, saves
        now, saves = now + save_seconds, saves + 1
        save(path, checkpoint)

    class Ticking(Listening):
        def row(self, epoch: int, row: Any, best: bool) -> None:
            nonlocal now
            now += epoch_seconds

    monkeypatch.setattr(run_writer, "save_checkpoint", slow)
    monkeypatch.setattr(run_writer, "time", SimpleNamespace(monotonic=lambda: now))
    changes = {"epochs": 120, "batch_size": "full", "evaluate_every": 1000}
    trained(planned(**changes, monitor="test_loss"), tmp_path, view=Ticking())
    in_between = saves - 3  # the first, and the last with best.pt
    assert in_between > 2
    assert in_between * save_seconds < 0.03 * now
    assert in_between <= now / 3


# ------------------------------------------------------------------------ T10: checkpoints of older releases


@pytest.mark.row("T10")
def test_there_is_a_checkpoint_of_every_release(fault: Any) -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert {path.stem for path in RELEASES} == set(
        re.findall(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    )
    assert package.__version__ in {path.stem for path in RELEASES}


@pytest.mark.row("T10")
@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_a_checkpoint_of_an_older_release_is_evaluated_and_predicts(
    fault: Any, dlrun: Dlrun, tmp_path: Path, path: Path
) -> None:
    assert path.stat().st_size < 40_000
    saved = load_checkpoint(path)
    assert saved.dlrun == path.stem
    done = dlrun("eval", path, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert set(found["recorded"]) == {"loss", "accuracy"}
    wrong = [name for name, item in found["recorded"].items() if item["difference"] > 1e-3]
    table = tmp_path / "points.csv"
    table.write_text("x,y\n0.5,0.5\n-0.2,0.1\n")
    predicted = dlrun("predict", path, table, "--json")
    assert predicted.code == 0, predicted.err
    assert len(json.loads(predicted.out)["predictions"]) == 2
    fault.count(releases=1)
    fault.never(wrong=wrong)


@pytest.mark.row("T10")
@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1, "1", None])
def test_another_format_names_the_version_that_wrote_it(
    fault: Any, dlrun: Dlrun, tmp_path: Path, number: Any
) -> None:
    path = tmp_path / "old.pt"
    keys = ("config", "data", "state", "figures", "environment")
    torch.save({"format": number, "dlrun": "7.1"} | {key: {} for key in keys}, path)
    with pytest.raises(CheckpointRefused, match=r"written by dlrun 7\.1"):
        load_checkpoint(path)
    done = dlrun("eval", path)
    fault.count(formats_refused=1)
    assert done.code == 4
    assert done.err.splitlines()[1:] == [f"  where: {path}", "  fix: install that version of dlrun"]
