"""docs/performance.md is what was measured; goals can be missed, and contestants that differ are refused."""

from __future__ import annotations

import itertools
import json
import math
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import agreement, digits, measured, noise, processes, sections, seeds
from benchmarks.sections import SECTIONS, Goal, section
from dlrun.data.image_files.idx import read

GOALS = [(name, goal) for name in SECTIONS for goal in sections.goals(name)]
CHOSEN = {"auto", "threads"}  # how something was run: no figure
ROUND: dict[str, Any] = {"losses": [2.0, 1.0], "test_accuracies": [0.5, 0.75]}


def judged(figure: float) -> Goal:
    return Goal("a ratio", "≤", 1.5, lambda found: [figure])


def test_the_page_is_what_was_measured() -> None:
    kept = measured.read(sections.MEASURED)
    assert sections.PAGE.read_text(encoding="utf-8") == "\n".join(sections.lines(kept)) + "\n", (
        "write it again: python -m benchmarks --table"
    )


def test_what_was_measured_is_strict_json_in_order() -> None:
    text = sections.MEASURED.read_text(encoding="utf-8")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    kept = json.loads(text, parse_constant=refuse)
    assert text == json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    assert set(kept) <= set(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_keeps_its_contract(name: str) -> None:
    found = section(name)
    assert callable(found.measure) and callable(found.table)
    assert f"## {found.TITLE}" in sections.lines({})
    assert "Not measured: it rains." in sections.section_lines(name, {name: {"not measured": "it rains"}})


@pytest.mark.parametrize(("name", "goal"), GOALS, ids=lambda value: getattr(value, "what", value))
def test_every_goal_can_be_met_and_missed(name: str, goal: Goal) -> None:
    step = max(abs(goal.bound) * 0.01, 0.01)
    assert goal.met([goal.bound - step]) is (goal.sign != "≥")
    assert goal.met([goal.bound + step]) is (goal.sign == "≥")
    assert goal.met([goal.bound]) is (goal.sign != "<")
    assert not goal.met([math.nan])


QUIET, NOISY = [1.0, 1.01, 1.02, 1.03, 1.0], [1.0, 1.3, 1.1, 1.6, 1.0]


@pytest.mark.parametrize(
    ("ratios", "seconds", "met"),
    [
        ([1.3, 1.4, 1.6], QUIET, "yes"),
        ([1.4, 1.6, 1.7], QUIET, "**no**"),
        ([1.3, 1.4, 1.6], NOISY, "not judged: noisy"),
        ([1.4, 1.6, 1.7], NOISY, "not judged: noisy"),
        ([1.3, 1.4, 1.5], NOISY, "yes"),
        ([1.6, 1.7], NOISY, "**no**"),
        ([1.4, 1.6, 1.7], [], "**no**"),
    ],
)
def test_on_a_noisy_machine_a_goal_is_judged_only_if_every_round_agrees(
    ratios: list[float], seconds: list[float], met: str
) -> None:
    goal = Goal("a ratio", "≤", 1.5, lambda found: found["ratios"])
    found = {"ratios": ratios, "rounds": [{"one": {"fixed_work": each}} for each in seconds]}
    assert goal.row(found)[-1] == met
    assert goal.missed(found) is (met == "**no**")


def test_the_same_work_is_done_before_each_contestant() -> None:
    contestants = {name: lambda: {"seconds": 1.0} for name in ("one", "other")}
    found = {"rounds": list(processes.in_turn(contestants, 2))}
    seconds = noise.seconds_in(found)
    assert len(seconds) == 4 and all(each > 0 for each in seconds)
    assert noise.seconds_in({"rounds": [{"one": {"seconds": 1.0}}]}) == noise.seconds_in({}) == []


def test_a_section_says_how_noisy_the_machine_was() -> None:
    assert noise.said(QUIET).startswith("The machine was quiet: the same fixed work, done 5 times")
    assert noise.said(NOISY).startswith("The machine was noisy: ")
    assert "1000 to 1600 ms, its middle half within 27%" in noise.said(NOISY)
    assert noise.said([1.0]) == ""


def test_what_was_measured_is_kept_when_the_rest_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "MEASURED", tmp_path / "performance.json")
    monkeypatch.setattr(sections, "PAGE", tmp_path / "performance.md")

    def measure(module: Any, rounds: int, threads: int | None) -> dict[str, Any]:
        if module.__name__ == "benchmarks.spiral":
            raise KeyboardInterrupt
        return {"not measured": "it rains"}

    monkeypatch.setattr(sections, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        sections.main(["threenet", "spiral"])
    assert measured.read(tmp_path / "performance.json") == {"threenet": {"not measured": "it rains"}}
    assert "Not measured: it rains." in (tmp_path / "performance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "goal"), GOALS, ids=lambda value: getattr(value, "what", value))
def test_a_goal_reads_what_was_measured(name: str, goal: Goal) -> None:
    """With other figures in its place the goal would see others."""
    kept = measured.read(sections.MEASURED).get(name, {})
    if not kept or "not measured" in kept:
        pytest.skip(f"{name} has not been measured")
    figures = list(goal.figures(kept))
    if not figures:
        pytest.skip("a contestant of it was not there")
    assert all(isinstance(figure, int | float) for figure in figures)
    assert list(goal.figures(changed(kept))) != figures


def changed(kept: dict[str, Any]) -> dict[str, Any]:
    """The same measurement with other figures, each changed in another way."""
    numbers = itertools.count(2)

    def other(content: Any) -> Any:
        if isinstance(content, dict):
            return {key: value if key in CHOSEN else other(value) for key, value in content.items()}
        if isinstance(content, list):
            return [other(value) for value in content]
        if isinstance(content, bool) or not isinstance(content, int | float):
            return content
        number = next(numbers)
        return content * number + number

    changed: dict[str, Any] = other(kept)
    return changed


def test_the_median_is_judged_and_the_spread_is_shown() -> None:
    goal = Goal("a ratio", "≤", 1.5, lambda found: found["ratios"], " s")
    row = goal.row({"ratios": [9.0, 1.0, 1.25]})
    assert row == ["a ratio", "1 s", "1.25 s", "9 s", "≤ 1.5 s", "yes"]
    assert goal.row({"ratios": [9.0, 1.0, 1.75]})[-1] == "**no**"


def test_a_note_is_said_of_a_goal_that_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    goal = Goal("a ratio", "≤", 1.5, lambda found: found["ratios"], note="the disk is slow")
    monkeypatch.setattr(sections, "goals", lambda name: [goal] if name == "gpu" else [])
    said = "a ratio: the disk is slow"
    assert said in sections.note_lines({"gpu": {"ratios": [2.0]}})
    assert said not in sections.note_lines({"gpu": {"ratios": [1.0]}})
    assert said not in sections.note_lines({"gpu": {"not measured": "no GPU"}})


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    goal = judged(1.0)
    assert goal.row({})[-1] == goal.row({"not measured": "no GPU"})[-1] == "not measured"
    assert Goal("a ratio", "≤", 1.5, lambda found: []).row({"rounds": []})[-1] == "not measured"


@pytest.mark.parametrize(
    "other",
    [
        {"losses": [2.0, 1.1], "test_accuracies": [0.5, 0.75]},
        {"losses": [2.0, 1.0], "test_accuracies": [0.5, 0.7]},
        {"losses": [2.0, math.nan], "test_accuracies": [0.5, 0.75]},
    ],
)
def test_contestants_that_learn_different_things_are_refused(other: dict[str, Any]) -> None:
    agreement.agree({"dlrun": ROUND, "other": {"losses": [2.0, 1.01], "test_accuracies": [0.5, 0.75]}})
    with pytest.raises(RuntimeError, match="they do not train alike"):
        agreement.agree({"dlrun": ROUND, "other": other})


def test_contestants_are_compared_at_the_last_epoch_that_all_reached() -> None:
    short = {"losses": [2.0], "test_accuracies": [0.5]}
    agreement.agree({"dlrun": ROUND, "other": short})
    with pytest.raises(RuntimeError, match="after epoch 1"):
        agreement.agree({"dlrun": ROUND, "other": short | {"losses": [1.0]}})


def test_a_seed_that_learns_something_else_in_company_is_refused() -> None:
    alone = {"first": [1.0, 2.0], "last": [0.5, 0.25]}
    seeds.agree({"processes": alone, "apart": alone, "bare": {"first": [1.1], "last": [0.55]}})
    with pytest.raises(RuntimeError, match="first loss of seed 1 of apart"):
        seeds.agree({"processes": alone, "apart": alone | {"first": [1.0, 2.1]}})


def test_a_process_is_timed_and_weighed_from_outside() -> None:
    done = processes.run([sys.executable, "-c", "b = bytes(200_000_000); print('one'); print('two')"])
    assert [line for _, line in done.lines] == ["one", "two"]
    # The system counts what this process holds too, from which that one was made.
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 200_000_000 < done.peak < max(400_000_000, 1.2 * held)
    assert 0 < done.lines[0][0] <= done.seconds


def test_a_contestant_that_fails_stops_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match="ended with 3:\nwhy"):
        processes.run([sys.executable, "-c", "import sys; sys.stderr.write('why'); sys.exit(3)"])


def test_an_epoch_is_timed_between_the_lines_of_the_table() -> None:
    lines = [(1.0, "a run"), (2.0, "epoch 1/9  train_loss 2"), (4.0, "epoch 4/9  x"), (6.0, "epoch 9/9  x")]
    assert processes.wall(lines) == 0.5
    assert processes.wall(lines[2:]) is None  # when the first one ended, nobody saw


def test_ratios_are_taken_within_a_round() -> None:
    kept = {
        "rounds": [{"a": {"s": 2.0}, "b": {"s": 1.0}}, {"a": {"s": 9.0}, "b": {"s": 3.0}}, {"b": {"s": 1.0}}]
    }
    assert processes.ratios(kept, "a", "b", "s") == [2.0, 3.0]


def test_a_training_is_read_from_its_run_and_its_table() -> None:
    found = processes.train("spiral_relu", "epochs=2", "evaluate_every=1", "plots=[]", "expect={}")
    assert len(found["losses"]) == len(found["row_seconds"]) == len(found["test_accuracies"]) == 2
    assert 0 < sum(found["row_seconds"]) < found["loop_seconds"] < found["process_seconds"]
    assert found["checkpoint"] > 1000


def test_the_stand_in_is_read_as_mnist_is(tmp_path: Path) -> None:
    digits.write_stand_in(tmp_path, {"train": 30, "t10k": 20})
    splits = read(tmp_path, "MNIST", 10)
    assert [tuple(splits[name].inputs.shape) for name in ("train", "test")] == [
        (30, 1, 28, 28),
        (20, 1, 28, 28),
    ]
    assert 0 <= int(splits["train"].targets.min()) <= int(splits["train"].targets.max()) < 10


def test_a_section_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sections.main(["spirals"])
    assert "there is no section 'spirals'" in capsys.readouterr().err


def test_the_table_is_written_without_measuring(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sections, "MEASURED", tmp_path / "performance.json")
    monkeypatch.setattr(sections, "PAGE", tmp_path / "performance.md")
    measured.keep(sections.MEASURED, {"gpu": {"not measured": "there is no GPU here"}})
    sections.main(["--table"])
    assert "Not measured: there is no GPU here." in sections.PAGE.read_text(encoding="utf-8")
    assert "GPU" in capsys.readouterr().out
