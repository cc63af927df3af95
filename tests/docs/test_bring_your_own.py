"""docs/bring-your-own.md can be followed to the letter: its files run, and its figures are those printed."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import blocks, page
from small_runs import differences, go_on, outcome, own_parts, planned, trained

from dlrun.config.registry import FOLDERS, read_part
from dlrun.errors import UserError
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_trials import try_on

PAGE = page("docs/bring-your-own.md")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
# Times, and a line of progress that a slow machine prints.
SECONDS, PROGRESS = re.compile(r" in \d+(\.\d+)? s"), re.compile(r"epoch (\d+)/(?!\1 )")


FILES = {name: text for kind, name, text in blocks(PAGE) if kind != "console"}
PARTS = {name.removeprefix("my_parts/"): text for name, text in FILES.items() if name.startswith("my_parts/")}


def commands(content: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block, with the lines of output that are shown below it."""
    for command in content.removeprefix("$ ").split("\n$ "):
        first, *shown = command.splitlines()
        yield first, shown


def lines_of(text: str) -> list[str]:
    """The lines of an output without those that are empty, times and progress."""
    kept = (line.rstrip() for line in text.splitlines() if line.strip() and not PROGRESS.match(line))
    return [SECONDS.sub(" in a while", line) for line in kept]


def says_the_same(shown: str, printed: str) -> bool:
    """True if two lines have the same words, and the same figures as far as a processor decides them."""
    words = [" ".join(NUMBER.sub("0", line).split()) for line in (shown, printed)]
    figures = [[float(n.replace(",", "")) for n in NUMBER.findall(line)] for line in (shown, printed)]
    return words[0] == words[1] and figures[0] == pytest.approx(figures[1], rel=0.005, abs=0.005)


def occurs(shown: list[str], printed: list[str]) -> bool:
    """True if the lines shown are among the printed ones, without a gap except where `…` says so."""
    while "…" in shown:
        cut = shown.index("…")
        places = (
            start
            for start in range(len(printed) - cut + 1)
            if all(map(says_the_same, shown[:cut], printed[start : start + cut]))
        )
        start = next(places, None)
        if start is None:
            return False
        shown, printed = shown[cut + 1 :], printed[start + cut :]
    return any(
        all(map(says_the_same, shown, printed[start : start + len(shown)]))
        for start in range(len(printed) - len(shown) + 1)
    )


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
    monkeypatch.chdir(tmp_path)
    for kind, name, content in blocks(PAGE):
        path = Path(name)
        if kind != "console":
            if path.exists():
                assert path.read_text(encoding="utf-8") == content, f"dlrun new writes another {name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            continue
        for command, shown in commands(content):
            follow(command, shown, dlrun, tmp_path, monkeypatch)
    for path in Path("my_parts").rglob("*.py"):
        assert read_part(path.parent.name, path).name == path.stem


def follow(
    command: str,
    shown: list[str],
    dlrun: Callable[..., Any],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Do what a command of the page does, and compare its output with what is shown."""
    program, *words = shlex.split(command, comments=True)
    match program:
        case "export":
            monkeypatch.setenv(*words[0].replace("$PWD", str(here)).split("="))
        case "python":
            runpy.run_path(words[0])
        case "dlrun":
            stated = re.search(r"# exit code (\d)", command)
            done = dlrun(*words)
            printed = (done.out + done.err).replace(f"{here}/", "")
            assert done.code == (int(stated[1]) if stated else 0), f"{command}\n{printed}"
            assert occurs(lines_of("\n".join(shown)), lines_of(printed)), f"{command}\n{printed}"
        case _:
            pytest.fail(f"a reader may not have {program}")


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
        "optimizer": {"name": "lion", "lr": 0.01},
        "schedule": "trapezoid",
        "metrics": ["accuracy", "brier", "macro_f1"],
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
    assert report["metrics"]["brier"] == pytest.approx(away.square().sum(-1).mean().item(), rel=1e-5)


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
