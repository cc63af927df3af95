"""Many runs in one folder, names from anywhere, streams and clocks that fail: nothing is lost or mixed up."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from processes import ENDLESS, begin_together, write_on_and_on
from small_runs import (
    Listening,
    changed,
    child,
    differences,
    outcome,
    own_parts,
    planned,
    saved_epoch,
    started,
    trained,
    tree,
)
from watched_disk import Disk

from dlrun.config.dumping import dump_config
from dlrun.config.loading import load_config
from dlrun.console.run_list import print_runs
from dlrun.errors import UserError
from dlrun.run_folders.finding import find_run
from dlrun.run_folders.listing import overviews, runs_in
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.run import Run
from dlrun.system.files import write_atomically
from dlrun.system.processes import identity, now
from dlrun.training import run_summary
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.views import HiddenTraining

Dlrun = Callable[..., Any]
Fault = Any  # of conftest.py
Write = Callable[[str, str], Path]
PROJECT = Path(__file__).parent.parent.parent


# --------------------------------------------------------------------------- T44: many begin at once


def refuse_mixtures(run: Run, seed: int) -> None:
    """Everything in the folder is of the run with this seed."""
    assert load_config(run.config).seeds == [seed]
    assert set(run.rows()["seed"]) == {seed}
    assert run.summary()["seeds"] == [seed]
    for path in (run.last, run.best):
        assert load_checkpoint(path).config["seeds"] == [seed]
    assert {path.name for path in run.folder.iterdir()} == {
        "config.yaml",
        "metrics.csv",
        "summary.json",
        "log.txt",
        "checkpoints",
        "plots",
    }


@pytest.mark.row("T44")
def test_runs_that_begin_at_once_have_a_folder_each(fault: Fault, tiny: Path, tmp_path: Path) -> None:
    count = fault.times(4, 64)
    for number in range(fault.times(1, 10)):
        parent = tmp_path / f"runs{number}"
        together = multiprocessing.get_context("forkserver").Barrier(count)
        words = ["train", str(tiny), "epochs=1", "threads=1", "--quiet", "--runs-dir", str(parent)]
        said = [tmp_path / f"said-{number}-{seed}" for seed in range(count)]
        processes = [
            child(begin_together, together, [*words, "--seed", str(seed)], str(said[seed]))
            for seed in range(count)
        ]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * count
        for path in said:
            fault.said(path.read_text())
        folders = [path.read_text().splitlines() for path in said]
        assert sorted(map(len, folders)) == [1] * count, "each names its folder and says nothing else"
        made = {path.name for path in parent.iterdir()}
        fault.count(starts=count)
        fault.never(
            shared=count - len({folder for [folder] in folders}),
            outside=made - {f"tiny-{n:03d}" for n in range(1, count + 1)},
        )
        assert len(made) == count
        for seed, [folder] in enumerate(folders):
            refuse_mixtures(Run(Path(folder)), seed)
    if fault.thorough:
        in_one_shell_loop(fault, 16, tiny, tmp_path / "runs")


def in_one_shell_loop(fault: Fault, count: int, tiny: Path, runs_dir: Path) -> None:
    """The same with real processes."""
    loop = """
    for seed in $(seq 0 $3); do
        "$0" -m dlrun train "$1" epochs=1 --seed $seed --quiet --runs-dir "$2" &
    done
    wait
    """
    done = subprocess.run(
        ["bash", "-c", loop, sys.executable, str(tiny), str(runs_dir), str(count - 1)],
        cwd=PROJECT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    fault.said(done.stderr)
    assert done.stderr == ""
    folders = {Path(line) for line in done.stdout.splitlines()}
    fault.count(processes=count)
    fault.never(shared=count - len(folders))
    assert folders == {runs_dir / f"tiny-{number:03d}" for number in range(1, count + 1)}
    by_seed = {Run(folder).summary()["seeds"][0]: Run(folder) for folder in folders}
    assert sorted(by_seed) == list(range(count))
    for seed, run in by_seed.items():
        refuse_mixtures(run, seed)


# --------------------------------------------------------------------------- T45: names

NAMES = [
    *("", " ", ".", "..", "../x", "../../x", "/etc/x", "a/b", "a/../../b", "./a", "a/", "//x"),
    *(
        "\0",
        "a\0b",
        "a\nb",
        "a\n",
        "\r",
        "\t",
        "\x1b[31m",
        "\u202ex",
        "a\u200fb",
        "[/x]",
        "$HOME",
        "~",
        "~root",
    ),
    *(
        "-rf",
        "--help",
        ".hidden",
        "_x",
        "a b",
        "a\\b",
        "..\\x",
        "C:\\x",
        "a:b",
        "*",
        "é\u3164",
        "١",
        "\u0301a",
        "\ud800",
    ),
    *("CON", "con", "NUL.txt", "aux", "PRN.a", "com1", "LPT9.tar.gz", "x" * 65, "x" * 256, "x" * 100_000),
]


@pytest.mark.row("T45")
def test_a_name_that_leads_elsewhere_is_refused(
    fault: Fault, dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    text = tiny.read_text()
    for name in NAMES:
        config = write("named.yaml", f"name: {json.dumps(name)}\n{text}")
        before = tree(tmp_path)
        said = [("train", tiny, f"--name={name}"), ("train", tiny, f"name={json.dumps(name)}")]
        for words in fault.random.sample(said, fault.times(1, 2)):
            done = dlrun(*words)
            assert done.code == 2, name
            assert "cannot name a folder" in done.err or name == "\ud800", "which is no text at all"
        assert dlrun("train", config).code == 2, name
        fault.count(refused=1)
        fault.never(outside=set(tmp_path.rglob("*")) - {here, tiny, config})
        assert tree(tmp_path) == before
    assert dlrun("train", tiny, "--name", "x" * 64, "epochs=1").code == 0


@pytest.mark.row("T45")
def test_random_names_make_their_own_folder_or_none(fault: Fault, tiny: Path, tmp_path: Path) -> None:
    pieces = [
        "..",
        ".",
        "/",
        "\\",
        "-",
        "_",
        "a",
        "Z",
        "9",
        "con",
        "NUL",
        "\0",
        "\n",
        " ",
        "é",
        "~",
        "\u202e",
        ":",
    ]
    for number in range(fault.times(150, 500)):
        name = "".join(fault.random.choices(pieces, k=fault.random.randint(0, 6)))
        parent = tmp_path / f"{number}" / "runs"
        try:
            checked = load_config(tiny, [f"name={json.dumps(name)}"])
        except UserError:
            fault.count(random_refused=1)
            continue
        made = create_run(parent, checked.name, dump_config(checked))
        assert made.folder == parent / f"{name}-001"
        fault.never(outside=set(parent.parent.rglob("*")) - {parent, made.folder, *made.folder.rglob("*")})
        assert load_config(made.config).name == name
        assert made.folder.resolve() == made.folder
        fault.count(random_made=1)
    fault.never(outside=set(os.listdir(tmp_path)) - {"tiny.yaml", *map(str, range(500))})


@pytest.mark.row("T45")
def test_a_link_by_the_name_of_a_run_is_none(
    fault: Fault, dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    assert dlrun("train", tiny, "--runs-dir", tmp_path / "elsewhere").code == 0
    runs_dir.mkdir()
    (runs_dir / "tiny-001").symlink_to(tmp_path / "elsewhere" / "tiny-001")
    (runs_dir / "tiny-002").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path / "elsewhere")
    (runs_dir / "tiny-sweep-001").symlink_to(tmp_path / "elsewhere")
    names = ("tiny-001", "last", "tiny-sweep-001/tiny-001", "../elsewhere/tiny-001")
    for words in (*(("resume", name, "epochs=9") for name in names), ("eval", "last")):
        done = dlrun(*words)
        assert (done.code, "there is no run" in done.err) == (2, True)
    assert dlrun("train", tiny).code == 0
    assert [run.name for run in runs_in(runs_dir)] == ["tiny-003"]
    fault.count(links=3)
    fault.never(
        outside=[*changed(before, tree(tmp_path / "elsewhere")), *tmp_path.glob("nowhere")],
    )


@pytest.mark.row("T45")
@pytest.mark.usefixtures("no_hanging")
def test_what_lies_in_a_strangers_run_leads_nowhere_else(
    fault: Fault, dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.1.tmp").write_text("precious")
    (outside / "file").write_text("epoch,seed\n1,0\nprecious\n")
    before = tree(outside)
    assert dlrun("train", tiny, "--stop-after", 1).code == 0
    [run] = runs_in(runs_dir)
    for name in ("metrics.csv", "log.txt", "checkpoints", "plots", "weights", "eval"):
        place, away = run.folder / name, tmp_path / "away"
        if place.exists():
            place.rename(away)
        for leads_to in (outside / ("file" if "." in name else ""), outside / "new", None):
            if leads_to:
                place.symlink_to(leads_to)
            else:
                os.mkfifo(place)
            words = [("resume", "last"), ("eval", "last"), ("plot", "last", "curves"), ("resume", run.folder)]
            for command in words:
                done = dlrun(*command)
                assert done.code == 2
                assert f"{name} of the run is no" in done.err
            fault.count(links=1)
            fault.never(outside=changed(before, tree(outside)))
            assert set(os.listdir(outside)) == {"precious.1.tmp", "file"}
            assert dlrun("runs").code == 0
            place.unlink()
        if away.exists():
            away.rename(place)
    (run.folder / "anything").symlink_to(outside)  # which dlrun has no use for: what is .tmp there stays
    (run.folder / "checkpoints" / "last.pt.7.tmp").write_bytes(b"half")
    assert dlrun("resume", "last").code == 0
    fault.count(links=1)
    fault.never(outside=changed(before, tree(outside)))
    assert not list((run.folder / "checkpoints").glob("*.tmp"))
    (run.folder / "eval").symlink_to(outside)
    with run.lock():  # as one that was found without being looked at
        fault.never(outside=changed(before, tree(outside)))


@pytest.mark.row("T45")
def test_a_file_of_a_run_that_is_a_link_is_replaced_and_not_followed(
    fault: Fault, dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    assert dlrun("train", tiny, "--stop-after", 1, "plots=[curves]").code == 0
    [run] = runs_in(runs_dir)
    outside = tmp_path / "outside"
    outside.mkdir()
    names = ["config.yaml", "summary.json", "checkpoints/last.pt", "checkpoints/best.pt", "plots/curves.png"]
    for name in names:
        (run.folder / name).rename(outside / Path(name).name)
        (run.folder / name).symlink_to(outside / Path(name).name)
    before = tree(outside)
    assert dlrun("resume", "last").code == 0
    assert run.summary()["status"] == "finished"
    fault.count(links=len(names))
    fault.never(outside=changed(before, tree(outside)))
    assert not any((run.folder / name).is_symlink() for name in names)


@pytest.mark.row("T45")
def test_a_runs_folder_that_is_a_file_read_only_or_missing(
    fault: Fault, dlrun: Dlrun, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "loop").symlink_to("loop")
    for parent in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "loop"):
        done = dlrun("train", tiny, "--runs-dir", parent)
        assert done.code == 1
        assert str(parent) in done.err
    for error in (errno.EROFS, errno.EACCES):

        def refused(*arguments: Any, code: int = error) -> None:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patched:
            patched.setattr(os, "mkdir", refused)
            done = dlrun("train", tiny, "--runs-dir", tmp_path / "locked")
        first, fix = done.err.splitlines()
        assert (done.code, os.strerror(error) in first) == (1, True)
        assert "--runs-dir" in fix
    assert dlrun("train", tiny, "--runs-dir", tmp_path / "missing" / "below").code == 0
    assert (tmp_path / "file").read_text() == "precious"
    assert (tmp_path / "missing" / "below" / "tiny-001").is_dir()
    fault.never(outside=set(os.listdir(tmp_path)) - {"tiny.yaml", "file", "loop", "missing"})


# --------------------------------------------------------------------------- T46: listings

HOSTILE: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b"[" * 100_000,
    b"9" * 5000,
    b'{"status": 5}',
    b'{"status": "finished"}',
    b'{"status": ["finished"]}',
    b'{"status": "\\u001b[31m[/foo]\\n\\ud800"}',
    b'{"status": "finished", "best": [1, 2], "final": "text", "seconds": "long", "epochs": {}}',
    b'{"status": "finished", "best": {"monitor": "a"}, "final": {"a": 1, "b": null, "c": {"mean": []}}}',
    b'{"status": "finished", "best": {"monitor": [], "figures": {"a": {"mean": 1, "sd": "x"}}, "epoch": {}}}',
    b'{"status": "finished", "best": {"monitor": "a", "figures": 7}, "seconds": NaN, "final": [{}]}',
    b'{"status": "finished", "final": {"a": {"mean": Infinity, "sd": NaN}}, "seconds": 1e999}',
    b'{"status": "finished", "final": {"a": {"mean": '
    + b"9" * 4000
    + b'}}, "seconds": '
    + b"9" * 4000
    + b"}",
    b'{"status": "running", "pid": "text"}',
    b'{"status": "running", "pid": -1, "host": 5, "started": {}}',
    b'{"status": "running", "pid": 1e300}',
    b'{"status": "running", "started": ["2024"], "epochs": "[/foo]", "planned_epochs": null}',
]
BROKEN = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10)  # those without a status


@pytest.fixture
def strangers(runs_dir: Path) -> Path:
    """A folder of runs that holds whatever may lie in it."""
    for number, raw in enumerate(HOSTILE):
        run = create_run(runs_dir, f"hostile{number}", "")
        (run.folder / "summary.json").write_bytes(raw)
        (run.folder / "metrics.csv").write_bytes(raw)
    host = json.dumps(identity()["host"]).encode()
    for number, rows in enumerate(
        (b"epoch,seed,a\n", b"epoch,seed,a\n1,0\n", b"\n\n\n", b"epoch\n1e5\n", b"\xff\n")
    ):
        run = create_run(runs_dir, f"rows{number}", "")
        (run.folder / "summary.json").write_bytes(
            b'{"status": "running", "pid": 2147483000, "host": %s}' % host
        )
        run.metrics.write_bytes(rows)
    (runs_dir / "foreign").mkdir()
    (runs_dir / "foreign" / "notes.txt").write_text("not a run")
    (runs_dir / "file").write_text("no folder")
    (runs_dir / "link").symlink_to(runs_dir / "hostile0-001")
    (runs_dir / "loop").symlink_to(runs_dir / "loop")
    for name in ("summary.json", "metrics.csv"):
        pipes = create_run(runs_dir, "pipe", "")
        os.mkfifo(pipes.folder / name)
        folders = create_run(runs_dir, "folder", "")
        (folders.folder / name).mkdir()
    pipes = create_run(runs_dir, "pipe", "")
    pipes.write_json("summary.json", {"status": "interrupted"})
    os.mkfifo(pipes.metrics)
    (runs_dir / "[red]x\x1b[31m\n-001").mkdir()
    (runs_dir / "[red]x\x1b[31m\n-001" / "config.yaml").touch()
    folder_as_config = runs_dir / "odd-001" / "config.yaml"
    folder_as_config.mkdir(parents=True)
    return runs_dir


@pytest.mark.row("T46")
@pytest.mark.usefixtures("no_hanging")
def test_whatever_lies_in_the_folder_is_listed_or_passed_over(
    fault: Fault, strangers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = runs_in(strangers)
    names = {run.name for run in found}
    assert names.isdisjoint({"foreign", "file", "link", "loop", "odd-001"})
    assert len(names) == len(HOSTILE) + 5 + 4 + 1 + 1
    print_runs(overviews(strangers))
    printed = capsys.readouterr().out
    assert all(f"hostile{number}-001" in printed for number in range(len(HOSTILE)))
    assert "\x1b" not in printed
    assert "[/foo]" in printed
    fault.count(listings=1)


@pytest.mark.row("T46")
def test_a_run_without_a_sound_summary_is_called_broken(fault: Fault, strangers: Path) -> None:
    status = {row["run"]: row["status"] for row in overviews(strangers)}
    for number in BROKEN:
        assert status[f"hostile{number}-001"] == "broken"
    fault.count(listings=1)


@pytest.fixture
def training(fault: Fault, strangers: Path) -> Iterator[dict[Run, BaseProcess]]:
    """Some runs that train on and on beside whatever lies in the folder, a process each."""
    processes = {}
    try:
        for _ in range(fault.times(5, 16)):
            run, process = begun(strangers)
            processes[run] = process
        while not all(run.last_row()[0] for run in processes):
            assert all(process.is_alive() for process in processes.values())
            time.sleep(0.01)
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.join()


def begun(parent: Path) -> tuple[Run, BaseProcess]:
    """A run without an end."""
    run = started(planned(**ENDLESS), parent)
    return run, child(write_on_and_on, str(run.folder))


@pytest.mark.row("T46")
def test_runs_are_listed_while_others_write_and_are_killed(
    fault: Fault,
    training: dict[Run, BaseProcess],
    strangers: Path,
    dlrun: Dlrun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    locks: list[Any] = []
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: locks.append(arguments))
    alien = [path for path in strangers.iterdir() if not path.name.startswith("small")]
    before = [tree(path) for path in alien if path.is_dir()]
    killed: list[str] = []
    for number in range(fault.times(10, 1000)):
        if number % 10 == 9:
            run = fault.random.choice(list(training))
            process = training.pop(run)
            process.kill()
            process.join()
            killed.append(run.name)
            run, training_process = begun(strangers)
            training[run] = training_process
        writing = {run.name for run in training if run.summary().get("status") == "running"}
        done = dlrun("runs")
        fault.count(listings=1)
        fault.never(failed=(done.code, done.err) != (0, ""), locks=locks)
        lines = [line.split() for line in done.out.splitlines()]
        status = {words[0]: words[1] for words in lines if len(words) > 1}
        assert {status[name] for name in writing} == {"running"}
        assert {status[name] for name in killed} <= {"interrupted"}
        assert {status[f"hostile{number}-001"] for number in BROKEN} == {"broken"}
        rows = fault.random.choice(list(training)).rows()
        assert len({len(column) for column in rows.values()}) <= 1
    assert killed
    assert [tree(path) for path in alien if path.is_dir()] == before
    fault.count(kills=len(killed))


@pytest.mark.row("T46")
def test_whoever_reads_a_file_while_it_is_replaced_reads_the_old_or_the_new_one(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each call that writes, and right before the one that gives the new file its name."""
    path, read = tmp_path / "summary.json", []
    path.write_bytes(b"old")
    disk = Disk(tmp_path)
    disk.after = lambda: read.append(path.read_bytes())
    with disk.watched(), monkeypatch.context() as patched:
        replace = os.replace

        def read_first(*paths: Any) -> None:
            read.append(path.read_bytes())
            replace(*paths)

        patched.setattr(os, "replace", read_first)
        write_atomically(path, lambda file: file.write(b"new"))
    fault.count(reads=len(read))
    fault.never(wrong=[raw for raw in read if raw not in (b"old", b"new")])
    assert (read[0], read[-1]) == (b"old", b"new")


@pytest.mark.row("T46")
def test_a_run_that_is_deleted_while_it_is_listed_is_no_trouble(
    fault: Fault, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run(runs_dir, "some", "epochs: 3\n")
    is_file = Path.is_file

    def then_gone(path: Path) -> bool:
        found = is_file(path)
        if path.name == "config.yaml":
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", then_gone)
    fault.count(listings=1)
    assert [row["run"] for row in overviews(runs_dir)] == ["some-001"]


@pytest.mark.row("T46")
def test_runs_that_come_and_go_while_they_are_listed_are_no_trouble(
    fault: Fault, runs_dir: Path, dlrun: Dlrun, tiny: Path
) -> None:
    """Folders made, renamed and deleted by others, as `rm -r` does it: the files first."""
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            run = create_run(runs_dir, "passing", tiny.read_text())
            run.write_json("summary.json", {"status": "finished"})
            run.folder.rename(runs_dir / "other-001")
            for path in sorted((runs_dir / "other-001").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            (runs_dir / "other-001").rmdir()

    assert dlrun("train", tiny).code == 0
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(fault.times(100, 1000)):
            fault.count(listings=1)
            fault.never(failed="tiny-001" not in {row["run"] for row in overviews(runs_dir)})
    finally:
        stop.set()
        thread.join()


# --------------------------------------------------------------------------- T47: stdout

TRAIN = "{python} -m dlrun train {config} seeds=[0,1] --runs-dir {runs}"
STREAMS = {  # what becomes of stdout and stderr, one fault each
    "head": TRAIN + " | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}",
    "closed": TRAIN + " >&- 2>&-",
    "full": TRAIN + " >/dev/full 2>/dev/full",
    "ascii": "PYTHONIOENCODING=ascii " + TRAIN + " >{runs}.said",
    "latin-1": "PYTHONIOENCODING=latin-1 " + TRAIN + " >{runs}.said",
    "one column": "COLUMNS=1 " + TRAIN + " >/dev/tty 2>/dev/tty",
    "dumb": "TERM=dumb " + TRAIN + " >/dev/tty 2>/dev/tty",
    "no terminal": "setsid --wait " + TRAIN + " </dev/null >/dev/null",
}
TOGETHER = {  # several at once, for the default form
    "head": "PYTHONIOENCODING=latin-1 "
    + TRAIN
    + " 2>/dev/full | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}",
    "ascii": "COLUMNS=1 TERM=dumb PYTHONIOENCODING=ascii setsid --wait "
    + TRAIN
    + " </dev/null >{runs}.said 2>&-",
}


@pytest.mark.slow
@pytest.mark.row("T47")
def test_whatever_becomes_of_stdout_training_finishes(fault: Fault, tiny: Path, tmp_path: Path) -> None:
    commands = [TOGETHER, STREAMS][: fault.times(1, 2)]
    for index, forms in enumerate(commands):
        parents = {name: tmp_path / f"{index} {name}" for name in forms}
        started_there = {
            name: in_a_terminal(command.format(python=sys.executable, config=tiny, runs=f"'{parents[name]}'"))
            for name, command in forms.items()
        }  # all at once
        for name, parent in parents.items():
            code, said = finished(*started_there[name])
            fault.count(streams=1)
            fault.said(said)
            assert (name, code) == (name, 0)
            if name in ("ascii", "latin-1"):
                whole = Path(f"{parent}.said").read_text(encoding=name)
                assert "finished after epoch 3" in whole
                assert "?" in whole if name == "ascii" else "±" in whole
            if name not in ("one column", "dumb"):  # which show the run on their terminal
                assert said == ""
            [run] = runs_in(parent)
            assert run.summary()["status"] == "finished"
            assert run.rows()["epoch"] == [1, 1, 2, 2, 3, 3]
            assert "warning" not in (run.folder / "log.txt").read_text()


@pytest.mark.row("T47")
def test_what_cannot_be_said_in_full_is_no_success(
    fault: Fault, dlrun: Dlrun, tiny: Path, tmp_path: Path, dlrun_process: Callable[..., Any]
) -> None:
    """The output is what these commands are for; training leaves a folder behind."""
    assert dlrun("train", tiny).code == 0
    (tmp_path / "points.csv").write_text("a,b\n0.1,0.2\n")
    commands: list[tuple[object, ...]] = [
        ("runs",),
        ("--help",),
        ("show", "spiral_relu"),
        ("predict", "last", tmp_path / "points.csv", "--csv"),
        ("eval", "last", "--json"),
    ]
    with Path("/dev/full").open("w") as full:
        for words in commands[: fault.times(2, len(commands))]:
            process = dlrun_process(*words, stdout=full)
            said = process.stderr.read()
            process.wait()
            fault.count(streams=1)
            fault.said(said)
            wanted = "error: cannot write the output: No space left on device"
            assert (words, process.returncode, said.splitlines()[:1]) == (words, 1, [wanted])


def in_a_terminal(command: str) -> tuple[int, int]:
    """The process of a shell command that was begun in a terminal of its own, and that terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(PROJECT)
        os.execvp("bash", ["bash", "-c", command])
    return pid, terminal


def finished(pid: int, terminal: int) -> tuple[int, str]:
    """The exit code of such a command once it is done, and what its terminal showed."""
    shown = b""
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # the terminal is gone with its last process
            break
        if not some:
            break
        shown += some
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode("utf-8", "replace")


# --------------------------------------------------------------------------- T48: pictures and the log

BROKEN_PLOT = '''
"""A picture that is never drawn."""


def broken(trained):
    """It has a mistake."""
    raise ZeroDivisionError("no such [/foo] picture")
'''


@pytest.mark.row("T48")
def test_a_plot_that_fails_is_a_warning(fault: Fault, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"plots/broken.py": BROKEN_PLOT})
    plan = planned(parts, plots=["broken", "curves"])
    run, view = started(plan, tmp_path), Listening()
    done = train_run(plan, run, view)
    assert (done.exit_code, done.summary["status"]) == (0, "finished")
    [warning] = view.warnings
    assert warning.startswith("the plot broken was not drawn: ZeroDivisionError: no such [/foo] picture (in ")
    assert "ZeroDivisionError" in (run.folder / "log.txt").read_text()
    assert [path.name for path in run.plots.iterdir()] == ["curves.png"]
    fault.count(pictures=1)


@pytest.mark.row("T48")
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError("a\nb\nc\nd\ne\nf"), MemoryError()],
    ids=repr,
)
def test_a_picture_that_cannot_be_written_is_a_warning(
    error: Exception, fault: Fault, dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("matplotlib.figure.Figure.savefig", full)
        done = dlrun("train", tiny, "plots=[curves]")
    [run] = runs_in(runs_dir)
    assert (done.code, run.summary()["status"]) == (0, "finished")
    assert "warning: the plot curves was not drawn: " in done.out
    assert not list(run.plots.iterdir()), "nor anything half written"
    assert dlrun("plot", "last").code == 0
    fault.count(pictures=1)


@pytest.mark.row("T48")
def test_a_log_that_cannot_be_written_is_a_warning(
    fault: Fault, dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_path = Path.open

    def refused(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "log.txt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open_path(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    done = dlrun("train", tiny)
    [run] = runs_in(runs_dir)
    assert (done.code, run.summary()["status"], done.err) == (0, "finished", "")
    assert done.out.count(f"warning: {run.folder / 'log.txt'} cannot be written") == 1
    assert run.rows()["epoch"] == [1, 2, 3]
    fault.count(logs=1)


# --------------------------------------------------------------------------- T49: the clock

KEPT = '''
"""A picture for which the weights of each epoch are kept."""
from matplotlib.figure import Figure

keeps_weights = 6


def kept(trained):
    """Nothing but a frame."""
    return Figure()
'''


@pytest.mark.row("T49")
def test_the_newest_is_by_epoch_whatever_the_clock_says(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_always: None
) -> None:
    parts, changes = own_parts(tmp_path, {"plots/kept.py": KEPT}), {"epochs": 6, "plots": ["kept"]}
    plan = planned(parts, **changes)
    whole = trained(plan, tmp_path / "whole")

    clock = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    monkeypatch.setattr(run_summary, "now", lambda: f"{next(clock):010d}")
    run = started(plan, tmp_path / "back")
    for epoch in range(1, 7):
        train_run(plan, run, HiddenTraining(), stop_after=epoch)
        for age, path in enumerate(sorted(run.folder.rglob("*.pt"))):
            year_1970 = 1000 * (age if epoch % 2 else 100 - age) if epoch % 3 else 0  # or all in one second
            os.utime(path, (year_1970, year_1970))
        fault.never(lost=epoch - saved_epoch(run))
        assert run.rows()["epoch"] == list(range(1, epoch + 1))
        fault.count(clocks=1)
    fault.never(different=differences(outcome(run), outcome(whole)))
    shown, _ = open_checkpoint(run.best, run, [], parts, tmp_path)
    assert [moment.epoch for moment in shown.moments()] == list(range(7))


@pytest.mark.row("T49")
def test_runs_of_one_moment_are_in_the_order_of_their_numbers(
    fault: Fault, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_summary, "now", lambda: "2030-01-01T00:00:00.000000+00:00")
    for _ in range(12):
        create_run(runs_dir, "small", "").write_json("summary.json", {"started": now()})
    assert [run.name for run in runs_in(runs_dir)] == [f"small-{n:03d}" for n in range(12, 0, -1)]
    assert find_run("last", runs_dir).name == "small-012"
    fault.count(clocks=1)
