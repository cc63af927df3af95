"""`dlrun sweep --or-resume`: the same command begins a sweep, goes on with it, or finds it done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import contents, timeless
from small_sweeps import CONFIG, only_sweep

Dlrun = Callable[..., Any]
WORDS = ("optimizer.lr=1e-3,1e-2", "--seeds", "1", "--jobs", "1", "--or-resume")


@pytest.fixture
def config(write: Callable[[str, str], Path]) -> Path:
    return write("small.yaml", CONFIG)


def test_it_goes_on_in_its_folder_and_is_done(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    assert dlrun("sweep", config, *WORDS).code == 0
    first, second = (trial.run for trial in only_sweep(runs_dir).trials)
    rows, before = timeless(second.rows()), contents(first.folder)
    for path in (second.last, second.best, second.metrics, second.folder / "summary.json"):
        path.unlink()
    done = dlrun("sweep", config, *WORDS)
    assert (done.code, "2 runs, 1 to train" in done.out) == (0, True)
    assert timeless(second.rows()) == rows
    assert contents(first.folder) == before
    again = dlrun("sweep", config, *WORDS)
    assert (again.code, "2 runs, 0 to train" in again.out) == (0, True)
    only_sweep(runs_dir)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("optimizer.lr=1e-3,1e-1", *WORDS[1:]), "has other values, or other seeds"),
        ((WORDS[0], "--seeds", "2", "--or-resume"), "has other values, or other seeds"),
        ((*WORDS, "epochs=5", "optimizer.beta1=0.8"), "has another optimizer.beta1 and epochs"),
        ((WORDS[0], "--optuna", "3", "--or-resume"), "has other settings to search"),
    ],
)
def test_a_sweep_of_other_runs_is_refused_and_nothing_changes(
    words: tuple[str, ...], said: str, dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    assert dlrun("sweep", config, *WORDS, "epochs=1").code == 0
    before = contents(runs_dir)
    done = dlrun("sweep", config, *((*words, "epochs=1") if "epochs=5" not in words else words))
    assert done.code == 2
    assert f"small-sweep-001 {said}" in done.err
    assert contents(runs_dir) == before


def test_what_a_machine_decides_may_be_another(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    assert dlrun("sweep", config, *WORDS, "epochs=1", "threads=1").code == 0
    assert dlrun("sweep", config, *WORDS, "epochs=1", "threads=2", "device=cpu").code == 0
    only_sweep(runs_dir)


def test_one_whose_creation_was_killed_gives_way(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    (runs_dir / "small-sweep-001" / "small-001").mkdir(parents=True)
    assert dlrun("sweep", config, *WORDS, "epochs=1").code == 0
    assert [path.name for path in runs_dir.iterdir()] == ["small-sweep-001"]
    assert len(only_sweep(runs_dir).trials) == 2


def test_a_search_goes_on_with_the_same_count_alone(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    pytest.importorskip("optuna")
    search = ("optimizer.lr=log(1e-3,1e-1)", "epochs=1", "--seeds", "1", "--or-resume")
    for _ in range(2):
        assert dlrun("sweep", config, *search, "--optuna", "2").code == 0
    assert len(only_sweep(runs_dir).trials) == 2
    done = dlrun("sweep", config, *search, "--optuna", "3")
    assert (done.code, "has other settings to search" in done.err) == (2, True)


def test_a_cross_validation_goes_on_too(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    for _ in range(2):
        words = ("--folds", "2", "epochs=1", "dataset.valid_fraction=0.0", "--or-resume")
        assert dlrun("train", config, *words).code == 0
    assert len(only_sweep(runs_dir).trials) == 2


def test_it_is_no_option_of_a_sweep_that_is_named(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    assert dlrun("sweep", config, *WORDS, "epochs=1").code == 0
    done = dlrun("sweep", "--resume", "last", "--or-resume")
    assert (done.code, "--resume continues a sweep" in done.err) == (2, True)
