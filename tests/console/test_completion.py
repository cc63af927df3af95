"""Tab offers what a command would accept, and --help shows commands that work."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from places import TINY

from dlrun.config.keys import KEYS
from dlrun.config.lookup import shipped_names, shipped_sweeps
from dlrun.config.registry import FOLDERS, Parts
from dlrun.console.commands.app import COMMANDS, app
from dlrun.console.commands.completion import complete_config
from dlrun.console.commands.examples import EXAMPLES
from dlrun.run_folders.run import Run

Dlrun = Callable[..., Any]
Offered = Callable[[str], list[str]]


@pytest.fixture
def offered(dlrun: Dlrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """offered("dlrun train t") gives what Bash shows for the last word, in a folder with tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_DLRUN_COMPLETE", "complete_bash")

    def ask(line: str) -> list[str]:
        # Bash makes an equals sign a word, which is the one to complete as long as nothing is behind it.
        words = line.replace("=", " = ").split() + ([""] if line.endswith(" ") else [])
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
        ("dlrun train tiny.yaml architecture.w", ["architecture.weights="]),
        ("dlrun train tiny.yaml optimizer=adam", ["adam", "adamax", "adamw"]),
        ("dlrun train tiny.yaml optimizer.name=lb", ["lbfgs"]),
        ("dlrun train tiny.yaml architecture.activation=t", ["tanh"]),
        ("dlrun train tiny.yaml architecture.batch_norm=", ["true", "false"]),
        ("dlrun train tiny.yaml precision=float", ["float32", "float16", "float64"]),
        ("dlrun train tiny.yaml device=cu", ["cuda"]),
        ("dlrun train tiny.yaml monitor=valid_acc", ["valid_accuracy"]),
        ("dlrun train tiny.yaml task=recon", ["reconstruction"]),
        ("dlrun train tiny.yaml --device ", ["auto", "cpu", "cuda", "mps"]),
        ("dlrun train tiny.yaml --device c", ["cpu", "cuda"]),
        ("dlrun sweep tiny.yaml optimizer=lb", ["lbfgs"]),
        ("dlrun eval last --tta f", ["flip", "flips"]),
        ("dlrun calibrate last --threshold ba", ["balanced_accuracy"]),
        ("dlrun export last --format t", ["torch"]),
        ("dlrun plot last confu", ["confusion_matrix"]),
        ("dlrun plot last decision_regions.m", ["decision_regions.margin="]),
        ("dlrun compare a --metric best.valid_acc", ["best.valid_accuracy"]),
        ("dlrun compare a --metric sec", ["seconds"]),
        ("dlrun parts adam", ["adam", "adamax", "adamw"]),
        ("dlrun parts optimizer.sg", ["optimizer.sgd", "optimizer.sgd_scratch"]),
        ("dlrun parts opt", ["optimizer"]),
        ("dlrun train nothing.yaml epo", ["epochs=", "epoch_examples="]),
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
    (tmp_path / "[a].yaml").write_text(TINY)
    assert complete_config("[a") == complete_config("[a]") == ["[a].yaml"]
    for names in (shipped_names(), shipped_sweeps()):
        assert names[0] in complete_config("") and complete_config(names[0])[0] == names[0]


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
    assert offered("dlrun eval --runs-dir other ") == ["last", "two-001", "three-sweep-001/best"]
    assert offered("dlrun train tiny.yaml --from ") == ["last", "one-001"]
    assert offered("dlrun train tiny.yaml architecture.weights=o") == ["one-001"]
    assert offered("dlrun rm --runs-dir other t") == ["two-001", "three-sweep-001"]
    assert offered("dlrun sweep --runs-dir other --resume t") == ["three-sweep-001"]
    assert "architecture.hidden=" in offered("dlrun resume last arch")


def test_runs_of_a_sweep_and_its_best_are_offered(offered: Offered, tmp_path: Path) -> None:
    for folder in ("one-001", "one-sweep-001/one-001", "one-sweep-001/one-002"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
        (tmp_path / "runs" / folder / "config.yaml").write_text(TINY)
    (tmp_path / "runs/one-sweep-001/sweep.json").write_text("{}")
    assert offered("dlrun eval o") == ["one-001", "one-sweep-001/best"]
    inside = ["one-sweep-001/best", "one-sweep-001/one-001", "one-sweep-001/one-002"]
    assert offered("dlrun eval one-sweep-001/") == inside
    assert offered("dlrun compare one-sweep-001/o") == inside[1:]
    assert offered("dlrun compare o") == ["one-001", "one-sweep-001"]
    assert offered("dlrun eval nowhere/") == []


def test_many_runs_are_offered_without_their_files_being_read(
    offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 300):
        (tmp_path / f"runs/one-{number:03d}").mkdir(parents=True)
        (tmp_path / f"runs/one-{number:03d}/config.yaml").write_text(TINY)
    monkeypatch.setattr(Run, "summary", lambda _: pytest.fail("a summary is read"))
    assert len(offered("dlrun eval ")) == 300
    assert "optimizer.lr=" in offered("dlrun eval one-007 optimizer.")


def test_a_fault_offers_nothing_and_prints_nothing(
    dlrun: Dlrun, offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: Any) -> list[str]:
        print("half a line", file=sys.stderr)
        raise OSError("the disk is gone")

    monkeypatch.setattr("dlrun.run_folders.listing.names_in", faulty)
    monkeypatch.setenv("COMP_WORDS", "dlrun eval ")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = dlrun()
    assert (done.out, done.err) == ("", "")


def test_parts_of_ones_own_are_offered(offered: Offered, write: Callable[[str, str], Path]) -> None:
    write("mine/loss/sharp.py", "def sharp(outputs, targets, *, edge: float):\n    return outputs[:, 0]\n")
    write("own.yaml", TINY.replace("loss: cross_entropy", "loss: {name: sharp, edge: 1}"))
    assert offered("dlrun train --parts mine tiny.yaml loss=sh") == ["sharp"]
    assert offered("dlrun train --parts mine own.yaml loss.e") == ["loss.edge="]
    assert offered("dlrun train --parts nowhere tiny.yaml loss=cross_entropy_") == ["cross_entropy_scratch"]


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


# Data that no test has, or a sweep, which takes seconds to train.
ELSEWHERE = ("photos/", "new.csv", "table.csv", "moved.csv", "-sweep-001")


def test_the_examples_name_what_there_is(
    dlrun: Dlrun, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example does what it says, but training, of which its config is shown."""
    monkeypatch.chdir(tmp_path)
    Path("my.csv").write_text("area,price\n" + "".join(f"{n % 7},{n}\n" for n in range(40)))
    Path("my_parts").mkdir()
    runs = ("--runs-dir", "runs")
    for _ in range(2):  # spiral_relu-001 and -002
        words = ("epochs=5", "optimizer.lr=0.1", "dataset.valid_fraction=0.3", "dataset.classes=2")
        assert dlrun("train", tiny, "--name", "spiral_relu", *runs, *words).code == 0
    every = [shlex.split(example)[1:] for examples in EXAMPLES.values() for example in examples]
    every = [words for words in every if words[0] not in ("export", "log")]  # seconds each, or packages
    every.sort(key=lambda words: (words[0] != "init", words[0] == "rm"))  # init writes my.yaml
    for name, *words in (each for each in every if not any(word.endswith(ELSEWHERE) for word in each)):
        if name in ("train", "resume", "data"):
            config = f"runs/{words[0].replace('last', 'spiral_relu-002')}" if name == "resume" else words[0]
            done = dlrun("show", config, *(word for word in words[1:] if "=" in word))
        elif name == "sweep":
            assert dlrun("show", words[0]).code == 0
            done = dlrun(name, *runs, "--dry-run", tiny, *words[1:])
        elif name == "lr":  # --apply needs more steps than a test has time for
            done = dlrun(name, *runs, tiny, *(word for word in words[1:] if word != "--apply"), "--steps", 20)
        elif name in ("eval", "calibrate", "plot", "compare", "report", "runs", "rm", "diff", "reproduce"):
            done = dlrun(name, *runs, *["--yes"] * (name == "rm"), *words)
        elif name == "slurm":
            done = dlrun(name, "--name", "a_new_one", *words)
        else:
            done = dlrun(name, *words)
        assert done.code == 0, f"{name} {words}\n{done.out}{done.err}"
