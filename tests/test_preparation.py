"""What a sweep will train is checked and shared out among the cores before there is a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import contents
from small_sweeps import CONFIG

from dlrun import sweep_folder

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


def test_a_run_takes_no_more_than_its_share_of_the_cores(
    config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun import hardware, preparation
    from dlrun.components import Parts
    from dlrun.settings import settings

    monkeypatch.setattr(preparation, "cores", lambda: 8)
    monkeypatch.setattr(hardware, "cores", lambda: 8)
    chosen = settings(config, ["architecture.hidden=[8],[3000,3000]", "batch_size=full"], None, None, Parts())
    of_three = preparation.prepare(chosen, 3, None, Parts(), Path())
    assert [each.threads for _, each in of_three.runs] == ["auto", "auto", 2, 2]
    of_all = preparation.prepare(chosen, None, None, Parts(), Path())
    assert of_all.jobs == 4  # runs, which are fewer than cores
    alone = preparation.prepare(chosen, 1, None, Parts(), Path())
    assert {each.threads for _, each in alone.runs} == {"auto"}


def test_mistakes_of_all_settings_are_said_at_once_with_their_places(
    dlrun: Dlrun, write: Write, runs_dir: Path
) -> None:
    path = write("wrong.yaml", CONFIG + "sweep:\n  optimizer.lrate: [1, 2]\n  epochs: [0, 1]\n")
    done = dlrun("sweep", path, "architecture.activation=relu,tnah")
    assert done.code == 2
    assert "3 mistakes" in done.err
    assert f"{path}:11:20 optimizer.lrate: there is no such option; did you mean 'lr'?" in done.err
    assert f"{path}:12:11 epochs: 0 is not a whole number >= 1" in done.err
    assert "on the command line: architecture.activation: 'tnah' is not one of" in done.err
    assert not runs_dir.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a CONFIG, or a sweep to --resume"),
        (("{config}", "--seed", "1"), "No such option"),
        (("{config}", "--seeds", "1"), "there is nothing to go through"),
        (("{config}", "optimizer.lr"), "is not of the form KEY=VALUES"),
        (("{config}", "optimizer.lr=log(1,2)"), "is a range without a count"),
        (("{config}", "seeds=a,b"), "seeds are whole numbers"),
        (("{config}", "epochs=1,2", "--metric", "nope"), "--metric nope is never measured"),
        (("{config}", "epochs=1,2", "--jobs", "0"), "--jobs '0' is no number of runs"),
        (("{config}", "epochs=1,2", "metrics=[rmse]"), "rmse is for regression"),
        (("{config}", "epochs=1,2", "--resume", "last"), "--resume goes on with a sweep as it was begun"),
        (("--resume", "last", "--device", "cpu"), "--resume goes on with a sweep as it was begun"),
        (("--resume", "last"), "there is no sweep last"),
        (("{config}", "epochs=1,2", "--needed", "--parts", "."), "--needed cannot know"),
        (("{config}", "epochs=1,2", "--optuna", "2", "--random", "2"), "--optuna draws by itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_swept_is_said_in_five_lines_and_leaves_nothing(
    words: tuple[str, ...], says: str, dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", *(word.format(config=config) for word in words))
    assert done.code == 2
    assert says in done.err
    assert len(done.err.splitlines()) <= 5
    assert not runs_dir.exists()


def test_a_dry_run_says_what_would_be_trained_and_makes_nothing(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 4, "--jobs", 2, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "8 runs, 2 at a time: about " in done.out
    assert done.out.count("0 … 3") == 2
    assert not runs_dir.exists()


def test_what_a_finished_run_answers_is_not_trained_again(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    dlrun("train", config, "--seed", 1)
    dlrun("sweep", config, "optimizer.lr=1e-3,2e-2", "--seeds", 1, "--jobs", 1, "--name", "before")
    dlrun("train", config, "--seed", 0, "epochs=5")  # which is another one
    before = contents(runs_dir)
    done = dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 2, "--jobs", 1, "--needed")
    sweep = sweep_folder.find("small-sweep", runs_dir)
    borrowed = [str(t.run.folder.relative_to(runs_dir)) for t in sweep.trials if t.is_borrowed]
    assert done.code == 0
    assert borrowed == ["before-sweep-001/before-001", "small-001"]
    assert len(list(sweep.folder.glob("*/config.yaml"))) == 2
    assert "0.01" in done.out and "0.001" in done.out
    assert before.items() <= contents(runs_dir).items()
    assert (
        sum(int(line.split(",")[3]) for line in (sweep.folder / "results.csv").read_text().splitlines()[1:])
        == 4
    )
