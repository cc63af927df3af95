"""`dlrun sweep --resume x --shard I/N`: parts of a sweep's runs, trained at the same time."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from small_runs import contents, timeless
from small_sweeps import CONFIG, listed, only_sweep, ranking_of

from dlrun.errors import RunFailed
from dlrun.run_folders.sweep_finding import find_sweep
from dlrun.run_folders.sweep_folder import Sweep, created_sweep
from dlrun.sweeps.planning import jobs_of_shard
from dlrun.sweeps.shards import Shard
from dlrun.system import locks

Dlrun = Callable[..., Any]
SETTINGS = ("optimizer.lr=1e-3,1e-2", "--seeds", "2", "epochs=2")


@pytest.fixture
def config(write: Callable[[str, str], Path]) -> Path:
    return write("small.yaml", CONFIG)


def figures(sweep: Sweep) -> list[Any]:
    return [timeless(trial.run.rows()) for trial in sweep.trials]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("parts", [1, 2, 3, 5, 9])
def test_each_run_is_in_one_part_wherever_counts_begin(
    first: int, parts: int, runs_dir: Path, tmp_path: Path
) -> None:
    trials = listed(runs_dir, tmp_path).trials * 3  # six places
    every = [Shard(index, parts).own(trials) for index in range(first, first + parts)]
    assert sorted(id(trial) for part in every for trial in part) == sorted(map(id, trials))
    assert max(map(len, every)) - min(map(len, every)) <= 1


def test_shards_train_the_sweep_and_the_last_one_ranks_it(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    assert dlrun("sweep", config, *SETTINGS, "--name", "whole").code == 0
    created = dlrun("sweep", config, *SETTINGS, "--name", "parts", "--create", "--quiet")
    assert created.out == f"{runs_dir / 'parts-sweep-001'}\n"
    sweep = find_sweep("parts", runs_dir)
    assert len(sweep.unfinished()) == 4
    done = dlrun("sweep", "--resume", "parts", "--shard", "1/3")
    assert (done.code, "2 runs, 2 to train" in done.out) == (0, True)
    assert "2 runs of other shards are not done: the shard that ends last ranks all" in done.out
    assert [trial.run.name for trial in sweep.unfinished()] == ["parts-002", "parts-003"]
    before = contents(sweep.trials[0].run.folder)
    assert (
        json.loads(dlrun("sweep", "--resume", "parts", "--shard", "2/3", "--json").out).items()
        >= {
            "shard": "2/3",
            "left_to_other_shards": 1,
            "results": None,
        }.items()
    )
    assert not (sweep.folder / "results.csv").exists()
    assert "not done" not in dlrun("sweep", "--resume", "parts", "--shard", "3/3").out
    whole = find_sweep("whole", runs_dir)
    assert figures(sweep) == figures(whole)
    assert ranking_of(sweep) == ranking_of(whole) and "001 002" in ranking_of(whole)
    again = dlrun("sweep", "--resume", "parts", "--shard", "1/3")
    assert (again.code, "2 runs, 0 to train" in again.out) == (0, True)
    assert contents(sweep.trials[0].run.folder) == before


def test_a_run_that_failed_in_another_shard_delays_no_ranking(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ("architecture.hidden=[8],[9]", "epochs=1", "--seeds", "1")
    assert dlrun("sweep", config, *words, "--create").code == 0
    broken = only_sweep(runs_dir).trials[1].run
    broken.write_json("summary.json", {"status": "failed", "error": "error: there was no memory"})
    assert "not done" not in dlrun("sweep", "--resume", "last", "--shard", "1/2").out
    assert (only_sweep(runs_dir).folder / "results.csv").exists()


def test_shards_share_the_sweep_and_none_shares_it_with_the_whole(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    sweep = listed(runs_dir, tmp_path)
    before = contents(sweep.folder)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(find_sweep("last", runs_dir).lock(is_shared=True))
        assert locks.is_in_use(sweep.folder)
        with pytest.raises(RunFailed, match="in use by another process"), sweep.lock():
            pass
    assert contents(sweep.folder) == before
    with sweep.lock(), pytest.raises(RunFailed, match="in use by process"), sweep.lock(is_shared=True):
        pass
    assert not locks.is_in_use(sweep.folder)


@pytest.mark.parametrize(
    ("shard", "said"),
    [
        ("/", "'/' is no part of the runs"),
        ("3", "'3' is no part of the runs"),
        ("-1/4", "'-1/4' is no part of the runs"),
        ("5/4", "there is no part 5 of 4"),
        ("0/0", "there is no part 0 of 0"),
    ],
)
def test_what_is_no_part_is_refused(
    shard: str, said: str, dlrun: Dlrun, runs_dir: Path, tmp_path: Path
) -> None:
    before = contents(listed(runs_dir, tmp_path).folder)
    done = dlrun("sweep", "--resume", "last", "--shard", shard)
    assert done.code == 2
    assert done.err.startswith(f"error: {said}\n  where: --shard\n  fix: ")
    assert contents(only_sweep(runs_dir).folder) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shard", "1/2"), "--shard is for a sweep that is there"),
        (("--or-resume", "--shard", "1/2"), "--shard is for a sweep that is there"),
        (("--create", "--dry-run"), "--create and --dry-run cannot both be given"),
    ],
)
def test_shards_are_of_a_sweep_that_is_there(
    words: tuple[str, ...], said: str, dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", config, *SETTINGS, *words)
    assert (done.code, runs_dir.exists()) == (2, False)
    assert said in done.err


def test_a_sweep_is_created_once(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    for _ in range(2):
        done = dlrun("sweep", config, *SETTINGS, "--create", "--or-resume", "--json")
        assert json.loads(done.out) == {"sweep": str(only_sweep(runs_dir).folder), "runs": 4}
    assert dlrun("sweep", "--resume", "last", "--create").code == 2


def test_a_search_has_no_parts(dlrun: Dlrun, runs_dir: Path) -> None:
    search = {"axes": [], "count": 3}
    with created_sweep(runs_dir, "s", jobs=1, device="cpu", metric="best.train_loss", search=search):
        pass
    done = dlrun("sweep", "--resume", "last", "--shard", "1/2")
    assert done.code == 2
    assert "chooses each setting by the results of those before, and has no parts" in done.err


def test_a_reused_run_that_is_gone_is_named_before_anything_is_trained(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    assert dlrun("train", config, "optimizer.lr=1e-3", "--seed", "0", "epochs=1").code == 0
    words = ("optimizer.lr=1e-3,1e-2", "--seeds", "1", "epochs=1")
    assert dlrun("sweep", config, *words, "--needed", "--create").code == 0
    [first, second] = only_sweep(runs_dir).trials
    assert first.is_borrowed and not second.is_borrowed
    shutil.rmtree(first.run.folder)
    done = dlrun("sweep", "--resume", "last", "--shard", "2/2")
    assert done.code == 2
    assert "error: a finished run that small-sweep-001 reuses is gone: small-001" in done.err
    assert only_sweep(runs_dir).unfinished() == [second]


def test_a_shard_takes_the_machine_as_it_is(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = listed(runs_dir, tmp_path)
    sweep.content.update(jobs=16, device="cuda")
    monkeypatch.setattr("dlrun.sweeps.planning.dealt_cards", lambda device: ["0", "1"])
    assert jobs_of_shard(sweep) == 2
    monkeypatch.setattr("dlrun.sweeps.planning.dealt_cards", lambda device: [])
    monkeypatch.setattr("dlrun.system.machine.cores", lambda: 4)
    assert jobs_of_shard(sweep) == 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_shards_that_are_killed_at_any_moment_train_each_run_once(
    seed: int,
    dlrun: Dlrun,
    dlrun_process: Callable[..., subprocess.Popen[str]],
    config: Path,
    runs_dir: Path,
) -> None:
    chance = random.Random(seed)
    words = ("optimizer.lr=1e-3,1e-2,1e-1", "--seeds", "2", "epochs=60", "--jobs", "1")
    assert dlrun("sweep", config, *words, "--name", "whole").code == 0
    assert dlrun("sweep", config, *words, "--name", "parts", "--create").code == 0
    left = {1, 2, 3}
    for attempt in range(20):
        jobs = {index: dlrun_process("sweep", "--resume", "parts", "--shard", f"{index}/3") for index in left}
        if attempt < 3:
            time.sleep(chance.uniform(3, 7))
            for job in jobs.values():
                job.send_signal(chance.choice([signal.SIGKILL, signal.SIGUSR1, signal.SIGTERM]))
        left -= {index for index, job in jobs.items() if job.wait(120) == 0}
        if not left:
            break
    sweep, whole = (find_sweep(name, runs_dir) for name in ("parts", "whole"))
    assert not left and not sweep.unfinished()
    assert figures(sweep) == figures(whole)
    assert ranking_of(sweep) == ranking_of(whole)
    assert not [*sweep.folder.glob("sockets*.json")]
