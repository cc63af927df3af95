"""Augmentations that the last epochs of a run go without (`off_epochs`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import (
    FULL,
    STEPS,
    Listening,
    differences,
    go_on,
    interrupting,
    of_seed,
    outcome,
    own_parts,
    planned,
    trained,
)

from dlrun.config.mistakes import ConfigError

STILL: dict[str, Any] = {"optimizer": {"name": "sgd", "lr": 0.0}, "epochs": 4}
OWN = '''
def louder(inputs, generator, *, off_epochs: float = 0.5):
    """Inputs times a number that the file calls as dlrun calls its option."""
    return inputs * off_epochs
'''


def losses(folder: Path, *augmentations: Any, **changes: Any) -> list[float]:
    plan = planned(**STILL | {"augmentations": list(augmentations)} | changes)
    found: list[float] = trained(plan, folder).rows()["train_loss"]
    return found


def test_the_last_epochs_see_examples_as_they_are(tmp_path: Path) -> None:
    """Nothing is learnt, so that losses differ by what is seen alone."""
    noise: dict[str, Any] = {"name": "noise", "sd": 1.0}
    without, always = losses(tmp_path), losses(tmp_path, noise)
    assert not {*without} & {*always}
    assert losses(tmp_path, noise | {"off_epochs": 0}) == always
    assert losses(tmp_path, noise | {"off_epochs": 1}) == [*always[:3], without[3]]
    assert losses(tmp_path, noise | {"off_epochs": 3}) == [always[0], *without[1:]]


def test_each_augmentation_is_off_by_itself(tmp_path: Path) -> None:
    scaling: dict[str, Any] = {"name": "scaling", "spread": 0.5}
    mixup: dict[str, Any] = {"name": "mixup", "off_epochs": 2}
    both, alone = losses(tmp_path, mixup, scaling), losses(tmp_path, scaling)
    assert both[2:] == alone[2:] and both[0] != alone[0] and both[1] != alone[1]


def test_a_run_goes_on_over_the_change_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    noise, mixup = {"name": "noise", "sd": 0.2}, {"name": "mixup", "off_epochs": 2}
    changes = FULL | {"augmentations": [mixup, noise], "epochs": 4}
    whole = trained(planned(**changes), tmp_path / "whole")
    for at_step in (STEPS + 2, 2 * STEPS, 2 * STEPS + 1):
        run = trained(planned(**changes), tmp_path / str(at_step), view=interrupting(at_step))
        assert run.summary()["status"] == "interrupted"
        go_on(run, changes)
        assert not differences(outcome(run), outcome(whole))
    alone = trained(planned(**changes | {"seeds": [1]}), tmp_path / "alone")
    assert not differences(of_seed(whole, 1), of_seed(alone, 1))


def test_a_step_that_is_recorded_is_recorded_again_where_it_changes() -> None:
    noise = {"name": "noise", "off_epochs": 2}
    recipe = planned(epochs=5, augmentations=[noise, {"name": "noise", "off_epochs": 1}]).recipe
    assert [epoch for epoch in range(1, 6) if recipe.changes_after(epoch)] == [3, 4]
    assert not any(map(planned(augmentations=["noise"]).recipe.changes_after, range(1, 6)))


def test_with_more_epochs_at_resume_they_are_the_last_of_these_and_a_line_says_so(tmp_path: Path) -> None:
    noise = {"name": "noise", "sd": 1.0, "off_epochs": 1}
    changes = STILL | {"augmentations": [noise]}
    run = trained(planned(**changes | {"epochs": 2}), tmp_path)
    without, always = losses(tmp_path), losses(tmp_path, noise | {"off_epochs": 0})
    view = Listening()
    go_on(run, changes, view=view)
    assert run.rows()["train_loss"] == [always[0], without[1], always[2], without[3]]
    assert [text for text in view.warnings if "off_epochs" in text] == [
        "off_epochs of noise are now the last of 4 epochs: a run of that length from the start would differ "
        "from this one"
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            4,
            "noise is off in the last 4 of 4 epochs, and so never on; set off_epochs to fewer",
        ),
        (-1, "off_epochs: -1 is not a whole number >= 0"),
        (0.5, "off_epochs: 0.5 is not a whole number >= 0"),
    ],
)
def test_an_augmentation_that_is_never_on_is_refused(value: object, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        planned(**STILL | {"augmentations": [{"name": "noise", "off_epochs": value}]})
    assert said in str(error.value)


def test_an_option_of_that_name_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"augmentations/louder.py": OWN})
    plan = planned(parts, **STILL | {"augmentations": ["louder"]})
    assert plan.recipe.augmentations[0].off_epochs == 0
    assert trained(plan, tmp_path).rows()["train_loss"] != losses(tmp_path)
