"""Tab offers what a command would accept, and --help shows commands that work."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from places import TINY

from dlrun.config.keys import KEYS
from dlrun.config.registry import FOLDERS, Parts
from dlrun.console.commands.app import COMMANDS, app
from dlrun.console.commands.completion import complete_config
from dlrun.console.commands.examples import EXAMPLES

Dlrun = Callable[..., Any]
Offered = Callable[[str], list[str]]


@pytest.fixture
def offered(dlrun: Dlrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """offered("dlrun train t") gives what Bash shows for the last word, in a folder with tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_DLRUN_COMPLETE", "complete_bash")

    def ask(line: str) -> list[str]:
        words = line.replace("=", " = ").split() + ([""] if line.endswith((" ", "=")) else [])
        monkeypatch.setenv("COMP_WORDS", line.replace("=", " = "))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        return dlrun().out.split()  # type: ignore[no-any-return]

    return ask


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("dlrun tr", ["train"]),
        ("dlrun train tin", ["tiny.yaml"]),
        ("dlrun train spiral_relu_", ["spiral_relu_deep", "spiral_relu_wide"]),
        ("dlrun train tiny.yaml epo", ["epochs=", "epoch_examples="]),
        ("dlrun train tiny.yaml architecture.h", ["architecture.hidden="]),
        ("dlrun train tiny.yaml optimizer=ad", ["adam", "adamw"]),
        ("dlrun train tiny.yaml optimizer.name=lb", ["lbfgs"]),
        ("dlrun train tiny.yaml architecture.activation=t", ["tanh"]),
        ("dlrun train tiny.yaml architecture.batch_norm=", ["true", "false"]),
        ("dlrun train tiny.yaml precision=float", ["float32", "float16", "float64"]),
        ("dlrun train tiny.yaml device=cu", ["cuda"]),
        ("dlrun train tiny.yaml monitor=valid_acc", ["valid_accuracy"]),
        ("dlrun train tiny.yaml task=recon", ["reconstruction"]),
        ("dlrun train tiny.yaml --device c", ["cpu", "cuda"]),
        ("dlrun sweep tiny.yaml optimizer=lb", ["lbfgs"]),
        ("dlrun plot last confu", ["confusion_matrix"]),
        ("dlrun plot last decision_regions.m", ["decision_regions.margin="]),
        ("dlrun compare a --metric best.valid_acc", ["best.valid_accuracy"]),
        ("dlrun parts opt", ["optimizer"]),
        ("dlrun parts adam", ["adam", "adamw"]),
        ("dlrun parts optimizer.sg", ["optimizer.sgd", "optimizer.sgd_scratch"]),
        ("dlrun parts opt", ["optimizer"]),
        ("dlrun train nothing.yaml optimizer.l", []),
        ("dlrun train tiny.yaml nothing=", []),
    ],
)
def test_what_can_be_written_next_is_offered(offered: Offered, line: str, wanted: list[str]) -> None:
    assert offered(line) == wanted


def test_configs_are_offered_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    assert complete_config(f"{tmp_path}/t") == [str(tmp_path / "tiny.yaml")]
    assert complete_config("tin") == ["tiny.yaml"]
    assert complete_config("spiral_relu_w") == ["spiral_relu_wide"]
    assert complete_config("[") == []


def test_shells_that_leave_words_whole_are_offered_whole_words(
    offered: Offered, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", "dlrun train tiny.yaml optimizer=lb")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert dlrun().out.split() == ["optimizer=lbfgs"]


def test_every_key_and_every_part_is_offered(offered: Offered) -> None:
    assert {f"{key}=" for key in KEYS} <= {*offered("dlrun show tiny.yaml ")}
    for kind in FOLDERS:
        assert offered(f"dlrun show tiny.yaml {kind}=") == Parts().names(kind)


def test_runs_are_offered_from_the_folder_that_is_named(offered: Offered, tmp_path: Path) -> None:
    for folder in ("runs/one-001", "other/two-001"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.yaml").write_text(TINY)
    (tmp_path / "other/three-sweep-001").mkdir()
    (tmp_path / "other/three-sweep-001/sweep.json").write_text("{}")
    assert offered("dlrun eval ") == ["last", "one-001"]
    assert offered("dlrun eval --runs-dir other ") == ["last", "two-001"]
    assert offered("dlrun rm --runs-dir other t") == ["two-001", "three-sweep-001"]
    assert offered("dlrun sweep --runs-dir other --resume t") == ["three-sweep-001"]
    assert "architecture.hidden=" in offered("dlrun resume last arch")


def test_every_command_has_examples_that_no_terminal_breaks_and_that_it_would_accept(
    dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    group: Any = typer.main.get_command(app)
    for name, examples in EXAMPLES.items():
        monkeypatch.setenv("COLUMNS", "80")
        shown = [line.strip() for line in dlrun(name, "--help").out.splitlines()]
        assert {*examples} <= {*shown}, name
        for example in examples:
            program, command, *words = shlex.split(example)
            assert (program, command) == ("dlrun", name)
            group.commands[name].make_context(name, words)
