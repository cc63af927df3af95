"""A run's folder is nobody else's, is found by name, and survives crashes and strangers."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dlrun.errors import CheckpointRefused, RunFailed, UserError
from dlrun.run_folders.finding import find_run
from dlrun.run_folders.listing import overview, runs_in
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.metrics_file import MetricsFile
from dlrun.run_folders.run import Run
from dlrun.system import locks
from dlrun.system.files import write_atomically
from dlrun.system.processes import identity, now

PROJECT = Path(__file__).parents[2]
COLUMNS = ["train_loss", "test_loss"]


@pytest.fixture
def run(runs_dir: Path) -> Run:
    return create_run(runs_dir, "some", "epochs: 3\n")


@pytest.fixture
def python() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """python(code) starts a process whose first line on stdout says that it is ready."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=PROJECT, text=True, stdout=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


# --------------------------------------------------------------------------- folders


def test_a_run_of_a_sweep_is_named_with_the_separator_of_the_system(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run(runs_dir / "some-sweep-001", "some", "epochs: 3\n")
    folder = runs_dir / "some-sweep-001" / "some-001"
    assert find_run("some-sweep-001/some-001", runs_dir).folder == folder
    with pytest.raises(UserError):
        find_run(r"some-sweep-001\some-001", runs_dir)
    monkeypatch.setattr(os, "sep", "\\")
    assert find_run(r"some-sweep-001\some-001", runs_dir).folder == folder


def test_a_new_run_has_its_config_and_the_next_number(runs_dir: Path) -> None:
    first, second = (create_run(runs_dir, "some", f"epochs: {n}\n") for n in (1, 2))
    assert [first.name, second.name] == ["some-001", "some-002"]
    assert first.config.read_text() == "epochs: 1\n"
    assert first.last.parent.is_dir()
    assert first.plots.is_dir()
    assert not list(runs_dir.rglob("*.tmp"))


def test_numbers_go_on_after_the_highest_of_the_same_name(runs_dir: Path) -> None:
    for folder in ("some-007", "some-1000", "something-2000", "some-other-3000", "some-abc", "some-12"):
        (runs_dir / folder).mkdir(parents=True)
    (runs_dir / "some-1001").write_text("a file has the next name")
    assert create_run(runs_dir, "some", "").name == "some-1002"
    assert create_run(runs_dir, "some-other", "").name == "some-other-3001"


def test_threads_never_share_a_folder(runs_dir: Path) -> None:
    barrier = threading.Barrier(16)

    def make(number: int) -> str:
        barrier.wait()
        return create_run(runs_dir, "some", f"seeds: [{number}]\n").name

    with ThreadPoolExecutor(16) as pool:
        names = list(pool.map(make, range(16)))
    assert len(set(names)) == 16
    assert {(runs_dir / name / "config.yaml").read_text() for name in names} == {
        f"seeds: [{number}]\n" for number in range(16)
    }


def test_a_runs_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for parent in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(RunFailed, match="is not a folder") as refused:
            create_run(parent, "some", "")
        assert refused.value.exit_code == 1


# --------------------------------------------------------------------------- finding


@pytest.fixture
def several(runs_dir: Path) -> list[Run]:
    made = [create_run(runs_dir, name, "") for name in ("alpha", "alpha", "beta", "alphabet")]
    for age, each in enumerate(made):
        each.write_json("summary.json", {"started": f"2024-01-0{age + 1}T00:00:00+00:00"})
    return made


def test_last_is_the_run_that_started_last(several: list[Run], runs_dir: Path) -> None:
    assert find_run("last", runs_dir).name == "alphabet-001"
    several[0].write_json("summary.json", {"started": now()})
    assert find_run("last", runs_dir).name == "alpha-001"


def test_a_run_that_was_killed_before_its_first_word_is_as_old_as_its_config(
    several: list[Run], runs_dir: Path
) -> None:
    silent = create_run(runs_dir, "silent", "")
    assert find_run("last", runs_dir) == silent
    os.utime(silent.config, (0, 0))
    assert runs_in(runs_dir)[-1] == silent


@pytest.mark.usefixtures("several")
def test_a_run_is_found_by_its_name_a_prefix_or_its_folder(runs_dir: Path) -> None:
    assert find_run("alpha-002", runs_dir).name == "alpha-002"
    assert find_run("be", runs_dir).name == "beta-001"
    assert find_run("alphab", runs_dir).name == "alphabet-001"
    assert find_run(str(runs_dir / "beta-001"), Path("nowhere")).folder == runs_dir / "beta-001"


@pytest.mark.usefixtures("several")
def test_a_whole_name_is_never_ambiguous(runs_dir: Path) -> None:
    (runs_dir / "beta-0010").mkdir()
    (runs_dir / "beta-0010" / "config.yaml").touch()
    assert find_run("beta-001", runs_dir).name == "beta-001"


@pytest.mark.usefixtures("several")
def test_a_prefix_of_several_runs_is_answered_with_them(runs_dir: Path) -> None:
    with pytest.raises(UserError) as refused:
        find_run("alpha", runs_dir)
    assert refused.value.exit_code == 2
    assert refused.value.what == "alpha could be alphabet-001, alpha-002, alpha-001"


@pytest.mark.usefixtures("several")
def test_a_run_that_is_not_there_is_answered_with_its_nearest_neighbour(runs_dir: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run alpah-001; did you mean 'alpha-001'\?"):
        find_run("alpah-001", runs_dir)
    for text in ("x" * 300, "a\0b", "../nothing", "\x1b[31m"):
        with pytest.raises(UserError, match="there is no run"):
            find_run(text, runs_dir)


@pytest.mark.parametrize("text", ["last", "some", ""])
def test_without_runs_none_is_found(text: str, runs_dir: Path) -> None:
    with pytest.raises(UserError, match="there are no runs in"):
        find_run(text, runs_dir)


# --------------------------------------------------------------------------- listing


def test_a_folder_of_runs_that_is_missing_is_empty(tmp_path: Path) -> None:
    assert runs_in(tmp_path / "nowhere") == []
    (tmp_path / "file").write_text("")
    assert runs_in(tmp_path / "file") == []


def test_the_overview_says_what_the_summary_says(run: Run) -> None:
    figures = {"train_loss": {"mean": 0.5, "sd": 0.1}, "test_accuracy": {"mean": 0.9, "sd": None}}
    run.write_json(
        "summary.json",
        {
            "status": "finished",
            "epochs": 3,
            "planned_epochs": 4,
            "final": figures | {"lr": {"mean": 0.1, "sd": None}, "seconds": {"mean": 1, "sd": None}},
            "best": {"epoch": 2, "monitor": "train_loss", "figures": figures},
            "seconds": 1.5,
        },
    )
    assert overview(run, run.summary()) == {
        "run": "some-001",
        "status": "finished",
        "epochs": "3/4",
        "best": {"train_loss": {"mean": 0.5, "sd": 0.1}},
        "best_epoch": 2,
        "best_epochs": "2",
        "last": figures,
        "told": ["test_accuracy"],
        "seconds": 1.5,
    }


def test_a_killed_run_shows_the_last_row_that_it_wrote(run: Run) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    run.write_json("summary.json", {"status": "running", **identity(), "pid": gone.pid, "planned_epochs": 9})
    rows = MetricsFile(run, COLUMNS, 0)
    for epoch in range(1, 1001):
        rows.add(epoch, {"train_loss": [1 / epoch], "lr": [0.1], "seconds": [0.5]}, [0])
    rows.close()
    shown = overview(run, run.summary())
    assert (shown["status"], shown["epochs"]) == ("interrupted", "1000/9")
    assert shown["last"]["train_loss"]["mean"] == 1 / 1000


def test_a_killed_run_shows_the_mean_over_the_seeds_of_its_last_epoch(run: Run) -> None:
    rows = MetricsFile(run, COLUMNS, 0)
    rows.add(1, {"train_loss": [9.0, 9.0, 9.0], "lr": [0.1] * 3, "seconds": [0.5] * 3}, [0, 1, 2])
    rows.add(2, {"train_loss": [1.0, 2.0, 6.0], "lr": [0.1] * 3, "seconds": [0.5] * 3}, [0, 1, 2])
    rows.add(3, {"train_loss": [1.0, 3.0], "lr": [0.1] * 2, "seconds": [0.5] * 2}, [0, 2])  # 1 has stopped
    rows.close()
    epoch, figures = run.last_row()
    assert (epoch, figures["train_loss"]) == (3, {"mean": 2.0, "sd": pytest.approx(2**0.5)})


def test_a_run_whose_process_lives_is_running_and_elsewhere_nobody_knows(run: Run) -> None:
    assert run.status({}) == "interrupted"  # before its first word
    run.write_json("summary.json", {})
    assert run.status({"status": "running", **identity()}) == "running"
    assert run.status({"status": "running", "pid": 2**22 + 1, "host": "another machine"}) == "running"
    assert run.status({"status": "finished", **identity()}) == "finished"
    assert run.status({}) == "broken"


# --------------------------------------------------------------------------- the lock

HOLD = """
import time
from pathlib import Path
from dlrun.run_folders.run import Run
from dlrun.system.processes import identity
run = Run(Path({folder!r}))
with run.lock():
    run.write_json("summary.json", identity())
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_is_exclusive_and_falls_with_its_process(
    run: Run, python: Callable[[str], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    holder = python(HOLD.format(folder=str(run.folder)))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    host = identity()["host"]
    with pytest.raises(RunFailed, match=f"some-001 is in use by process {holder.pid} on {host}"), run.lock():
        pytest.fail("two processes hold the lock")
    holder.kill()
    holder.wait()
    monkeypatch.undo()
    with run.lock():
        pass


def test_a_lock_that_is_given_back_soon_is_waited_for(run: Run) -> None:
    held, entered = threading.Event(), []

    def hold() -> None:
        with run.lock():
            held.set()
            time.sleep(0.3)
            entered.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with run.lock():
        entered.append("second")
    thread.join()
    assert entered == ["first", "second"]


def test_the_lock_is_given_back_after_an_error(run: Run) -> None:
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    with run.lock():
        pass


def test_whoever_takes_the_lock_removes_what_a_crash_left(run: Run) -> None:
    for name in ("summary.json.12.tmp", "checkpoints/last.pt.12.tmp"):
        (run.folder / name).write_text("half")
    with run.lock():
        assert not list(run.folder.rglob("*.tmp"))
    assert run.config.exists()


# --------------------------------------------------------------------------- rows


def row(value: float) -> dict[str, list[float]]:
    return {"train_loss": [value, value + 1], "lr": [0.1, 0.1], "seconds": [2.0, 2.0]}


def test_rows_are_tidy_and_read_back_bit_for_bit(run: Run) -> None:
    rows = MetricsFile(run, COLUMNS, 0)
    rows.add(1, row(0.1 + 0.2), [7, 8])
    rows.add(2, row(1e-30) | {"test_loss": [math.pi, math.e]}, [7, 8])
    end = rows.flush()
    rows.close()
    assert run.metrics.stat().st_size == end
    assert run.metrics.read_text().splitlines()[:2] == [
        "epoch,seed,train_loss,test_loss,lr,seconds",
        f"1,7,{0.1 + 0.2!r},,0.1,2.0",
    ]
    assert run.rows() == {
        "epoch": [1, 1, 2, 2],
        "seed": [7, 8, 7, 8],
        "train_loss": [0.1 + 0.2, 1.1 + 0.2, 1e-30, 1.0],
        "test_loss": [None, None, math.pi, math.e],
        "lr": [0.1] * 4,
        "seconds": [2.0] * 4,
    }


def test_rows_behind_what_the_checkpoint_knows_are_cut_off(run: Run) -> None:
    rows = MetricsFile(run, COLUMNS, 0)
    rows.add(1, row(1.0), [7, 8])
    end = rows.flush()
    whole = run.metrics.read_bytes()
    rows.add(2, row(2.0), [7, 8])
    rows.close()
    assert run.metrics.read_bytes() != whole
    again = MetricsFile(run, COLUMNS, end)
    assert run.metrics.read_bytes() == whole
    again.add(2, row(3.0), [7, 8])
    again.close()
    assert run.rows()["train_loss"] == [1.0, 2.0, 3.0, 4.0]
    assert run.rows()["epoch"] == [1, 1, 2, 2]


def test_a_start_from_nothing_begins_the_file_anew(run: Run) -> None:
    run.metrics.write_text("epoch,seed,old\n1,0,5\n")
    MetricsFile(run, COLUMNS, 0).close()
    assert run.metrics.read_text() == "epoch,seed,train_loss,test_loss,lr,seconds\n"


def test_rows_that_are_lost_are_noticed(run: Run) -> None:
    rows = MetricsFile(run, COLUMNS, 0)
    rows.add(1, row(1.0), [7, 8])
    end = rows.flush()
    rows.close()
    os.truncate(run.metrics, end - 5)
    with pytest.raises(CheckpointRefused, match="shorter"):
        MetricsFile(run, COLUMNS, end)
    assert run.metrics.stat().st_size == end - 5
    run.metrics.unlink()
    with pytest.raises(CheckpointRefused):
        MetricsFile(run, COLUMNS, end)


def test_a_last_line_that_is_not_whole_is_left_out(run: Run) -> None:
    run.metrics.write_text("epoch,seed,train_loss\n1,0,0.5\n2,0,0.2")
    assert run.rows() == {"epoch": [1], "seed": [0], "train_loss": [0.5]}
    run.metrics.unlink()
    assert run.rows() == {}


# --------------------------------------------------------------------------- what is written


def test_json_is_strict_whatever_is_in_it(run: Run) -> None:
    def no_constants(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    content = {
        "a": math.nan,
        "b": [math.inf, (1.5, -math.inf)],
        "c": {"d": {"e": math.nan}},
        "f": "nan ü [/x]",
    }
    run.write_json("eval/test.json", content)
    text = (run.folder / "eval" / "test.json").read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=no_constants)
    assert read == {"a": None, "b": [None, [1.5, None]], "c": {"d": {"e": None}}, "f": "nan ü [/x]"}


def test_a_log_that_cannot_be_written_stops_nothing(run: Run) -> None:
    run.log("first\nsecond [/x]")
    lines = (run.folder / "log.txt").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["first", "second [/x]"]
    (run.folder / "log.txt").unlink()
    (run.folder / "log.txt").mkdir()
    run.log("third")
    Run(run.folder / "gone").log("fourth")
    (run.folder / "log.txt").rmdir()
    (run.folder / "log.txt").symlink_to("/dev/full")
    run.log("fifth")


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f"target.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(RunFailed):
        write_atomically(tmp_path / "target", lambda file: file.write(b"new"))
    assert victim.read_bytes() == b"precious"
