"""`dlrun lr`: the rate that a config is told, what it writes where, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
STEADY = ("threads=1", "batch_size=full", "--steps", "100")


def test_it_prints_a_rate_and_draws_a_picture(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    before = tiny.read_bytes()
    done = dlrun("lr", tiny, *STEADY, "schedule=cosine", "--seeds", 2)
    assert (done.code, done.err) == (0, "steps of seed 0: 100\nsteps of seed 1: 100\n")
    assert "suggestion: optimizer.lr=0." in done.out
    assert ", of 2 seeds from 0." in done.out
    assert "rule: the rate at which the smoothed loss falls most steeply" in done.out
    assert "left out of the test: schedule (cosine)" in done.out
    picture = runs_dir / "previews" / "tiny" / "learning_rates.png"
    assert done.out.splitlines()[-1] == str(picture)
    assert [path for path in runs_dir.rglob("*") if path.is_file()] == [picture]
    assert tiny.read_bytes() == before


def test_out_names_the_folder_of_the_picture(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    assert dlrun("lr", tiny, *STEADY, "--out", tmp_path / "pictures").code == 0
    assert (tmp_path / "pictures" / "learning_rates.png").exists()
    assert not runs_dir.exists()


def test_json_has_every_loss_and_writes_no_file(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    done = dlrun("lr", tiny, *STEADY, "--seed", 7, "--from", "1e-5", "--json")
    told = json.loads(done.out)
    assert (done.err, runs_dir.exists()) == ("", False)
    assert told["config"] == "tiny"
    assert told["is_trusted"] is True
    assert (told["from"], told["to"], told["steps"]) == (1e-5, 10.0, 100)
    [seed] = told["seeds"]
    assert seed["seed"] == 7
    assert seed["rate"] == pytest.approx(told["rate"], rel=0.06)
    assert len(seed["rates"]) == len(seed["losses"]) == len(seed["smoothed"])
    assert dlrun("lr", tiny, *STEADY, "--seed", 7, "--from", "1e-5", "--json").out == done.out


def test_apply_writes_the_rate_into_the_file(dlrun: Dlrun, tiny: Path) -> None:
    before = tiny.read_text().replace("batch_size: 32", "batch_size: full")
    tiny.write_text(before)
    done = dlrun("lr", tiny, "--apply", "--steps", 100)
    told = json.loads(dlrun("lr", tiny, "--steps", 100, "--json").out)  # its own rate has no effect
    assert done.code == 0
    assert done.out.splitlines()[-1] == f"{tiny}:5:29: lr: 1e-2 is now {told['rate']}"
    assert tiny.read_text() == before.replace("lr: 1e-2", f"lr: {told['rate']}")


def test_a_rate_that_is_not_to_be_trusted_is_not_written(dlrun: Dlrun, tiny: Path) -> None:
    before = tiny.read_bytes()
    done = dlrun("lr", tiny, "--from", "1e-9", "--to", "1e-6", "--steps", 30, "--apply")
    assert done.code == 1
    assert "not to be trusted: optimizer.lr=" in done.out
    assert f"error: {tiny} is left as it was: the loss hardly falls" in done.err
    assert tiny.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--from", "1", "--to", "0.1"], "the rates go from 1 to 0.1"),
        (["--from", "0"], "the rates go from 0 to 10"),
        (["--to", "nan"], "the rates go from 1e-07 to nan"),
        (["--to", "inf"], "the rates go from 1e-07 to inf"),
        (["--from", "1", "--to", "2"], "less than a factor of ten"),
        (["--steps", "5"], "'--steps'"),
        (["--seed", "1", "--seeds", "2"], "--seed and --seeds cannot both be given"),
        (["optimizer.lr=0"], "optimizer.lr is 0"),
        (["epochs=2", "--apply"], "the rate would be found with epochs=2, which the file does not have"),
    ],
)
def test_what_makes_no_test_is_refused_before_it(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, words: list[str], what: str
) -> None:
    done = dlrun("lr", tiny, *words)
    assert done.code == 2
    assert what in done.err
    assert "steps of seed" not in done.err
    assert not runs_dir.exists()


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["lr", "mine.yaml", "--min_lr", "1e-5"], "write --from 1e-5"),
        (["lr", "mine.yaml", "--end-lr=3"], "write --to 3"),
        (["lr", "mine.yaml", "--num_training", "50"], "write --steps 50"),
        (["lr_find", "mine.yaml", "--seeds", "3"], "dlrun lr mine.yaml --seeds 3"),
    ],
)
def test_the_words_of_other_tools_lead_to_it(dlrun: Dlrun, words: list[str], fix: str) -> None:
    done = dlrun(*words)
    assert done.code == 2
    assert done.err.splitlines()[-1] == f"  fix: {fix}"


def test_apply_leaves_what_is_not_the_users(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("dlrun.config.lookup.shipped_folder", lambda: tiny.parent)
        assert "tiny is a config that comes with dlrun" in dlrun("lr", "tiny", "--apply").err
    assert dlrun("train", tiny).code == 0
    assert "is the record of a run" in dlrun("lr", runs_dir / "tiny-001", "--apply").err


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("groups: [{match: '*.bias', lr: 0.1}]", "the group *.bias has a rate of its own"),
        ("optimizer: {name: muon, lr: 0.1, adamw_lr: 0.01}", "optimizer.adamw_lr has a rate of its own"),
    ],
)
def test_apply_refuses_rates_beside_the_one_that_it_writes(
    dlrun: Dlrun, tiny: Path, line: str, what: str
) -> None:
    key = line.partition(":")[0]
    kept = [own for own in tiny.read_text().splitlines() if not own.startswith(key)]
    tiny.write_text("\n".join([*kept, line]))
    done = dlrun("lr", tiny, "--apply")
    assert (done.code, what in done.err) == (2, True)
