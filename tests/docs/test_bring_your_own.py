"""docs/bring-your-own.md can be followed to the letter: its files run, and its figures are those printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from following import follow_page, occurs
from pages import blocks, page
from small_runs import differences, go_on, outcome, own_parts, planned, trained

from dlrun.config.registry import FOLDERS, read_part
from dlrun.errors import UserError
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_trials import try_on

PAGE = page("docs/bring-your-own.md")
FILES = {name: text for kind, name, text in blocks(PAGE) if kind != "console"}
PARTS = {name.removeprefix("my_parts/"): text for name, text in FILES.items() if name.startswith("my_parts/")}


def test_a_line_with_another_figure_or_word_is_another_line() -> None:
    printed = [" train_loss  0.4964  1,024", " test_loss  0.4927  1,024", "done: a"]
    assert occurs([" train_loss   0.4964  1,024", "…", "done: a"], printed)
    assert not occurs([" train_loss  0.5964  1,024"], printed)
    assert not occurs([" train_error  0.4964  1,024"], printed)
    assert not occurs([" train_loss  0.4964  1,024", "done: a"], printed), "a gap without …"
    assert not occurs([*printed, "more"], printed)


def test_the_page_does_what_it_says_from_the_first_line_to_the_last(
    dlrun: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow_page(PAGE, dlrun, tmp_path, monkeypatch)
    for path in Path("my_parts").rglob("*.py"):
        assert read_part(path.parent.name, path).name == path.stem


def test_the_page_has_a_part_of_every_kind_and_is_linked() -> None:
    assert {Path(name).parent.name for name in PARTS} == {*FOLDERS}
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "(docs/bring-your-own.md)" in page(name)


# ------------------------------------------------------------------------ its parts beyond the page


def test_its_parts_train_together_and_are_resumed_bit_for_bit(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, PARTS)
    changes = {
        "architecture": {"name": "residual", "width": 8},
        "loss": "centres",
        "optimizer": {"name": "my_lion", "lr": 0.01},
        "schedule": "trapezoid",
        "metrics": ["accuracy", "my_brier", "macro_f1"],
        "epochs": 6,
        "seeds": [0, 1],
    }
    plan = planned(parts, **changes)
    try_on(plan, plan.load())
    unbroken = trained(plan, tmp_path)
    run = trained(planned(parts, **changes), tmp_path, stop_after=2)
    go_on(run, changes, parts)
    assert not differences(outcome(unbroken), outcome(run))
    model, saved = open_checkpoint(run.last, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.last, "test")
    f1 = [row["f1"] for row in report["per_class"].values()]
    assert report["metrics"]["macro_f1"] == pytest.approx(sum(f1) / 3, abs=1e-6)
    outputs, targets = model.outputs("test")
    away = outputs.softmax(-1) - torch.eye(3)[targets]
    assert report["metrics"]["my_brier"] == pytest.approx(away.square().sum(-1).mean().item(), rel=1e-5)


def test_a_weight_counts_as_in_pytorchs_cross_entropy(tmp_path: Path) -> None:
    weighted = own_parts(tmp_path, PARTS).find("loss", "weighted")
    outputs, targets = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
    expected = torch.nn.functional.cross_entropy(
        outputs, targets, weight=torch.tensor([1.0, 1.0, 4.0]), reduction="none"
    )
    torch.testing.assert_close(weighted(outputs, targets, weights=[1, 1, 4]), expected)
    with pytest.raises(UserError, match="2 weights for 3 classes"):
        weighted(outputs, targets, weights=[1, 1])


def test_the_noise_of_labels_has_its_share(tmp_path: Path) -> None:
    noise = own_parts(tmp_path, PARTS).find("augmentations", "label_noise")
    inputs, targets = torch.zeros(3000, 2), torch.eye(3)[torch.arange(3000) % 3]
    _, changed = noise(inputs, targets, torch.Generator().manual_seed(0), share=0.3)
    assert (changed.argmax(1) != targets.argmax(1)).double().mean() == pytest.approx(0.2, abs=0.03)
    assert torch.equal(changed.sum(1), torch.ones(3000))
