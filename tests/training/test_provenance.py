"""Own parts go before those of dlrun with the same name, and a run knows with which it was trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import only_run
from small_sweeps import only_sweep

from dlrun import load
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]

# The names and options of dlrun's own: these are of other weights, and another picture.
MLP = """\
from torch import nn


def mlp(shape, outputs, *, hidden: list[int]):
    '''Without a bias.'''
    return nn.Sequential(
        nn.Linear(shape[0], hidden[0], bias=False), nn.Tanh(), nn.Linear(hidden[0], outputs, bias=False)
    )
"""
CURVES = """\
from matplotlib.figure import Figure

automatic = True


def curves(trained):
    '''A white square.'''
    return Figure(figsize=(1, 1))
"""
SIGNS = """\
from torch.optim import SGD


def sgd(parameters, *, lr: float):
    '''A tenth of the rate.'''
    return SGD(parameters, lr=lr / 10)
"""


@pytest.fixture
def mine(write: Write, tmp_path: Path) -> tuple[str, Path]:
    write("mine/architecture/mlp.py", MLP)
    return "--parts", tmp_path / "mine"


def test_an_own_part_goes_before_one_of_dlrun_and_one_line_says_so(
    dlrun: Dlrun, tiny: Path, mine: tuple[str, Path], runs_dir: Path
) -> None:
    done = dlrun("train", tiny, *mine)
    assert done.code == 0
    assert done.err == f"warning: architecture/mlp of {mine[1]} stands in for dlrun's own\n"
    [weights] = load_checkpoint(only_run(runs_dir).last).state["model"]
    assert list(weights) == ["0.weight", "2.weight"], "it has no bias"
    assert "Without a bias." in dlrun("parts", "architecture", *mine).out
    for words in (
        ("eval", "last"),
        ("resume", "last", "epochs=4"),
        ("show", tiny),
        ("plot", "last", "curves"),
    ):
        done = dlrun(*words, *mine)
        assert (done.code, done.err.count("stands in for dlrun's own")) == (0, 1), done.err


def test_the_line_is_in_the_way_of_no_script(
    dlrun: Dlrun, tiny: Path, mine: tuple[str, Path], runs_dir: Path
) -> None:
    done = dlrun("train", tiny, "--quiet", *mine)
    assert (done.code, done.out, done.err) == (0, f"{runs_dir / 'tiny-001'}\n", "")
    assert json.loads(dlrun("eval", "last", "--json", *mine).out)["epoch"]
    assert dlrun("resume", "last", "epochs=4", "--quiet", *mine).err == ""
    done = dlrun("sweep", tiny, "--seeds", 2, "--jobs", 1, "--quiet", *mine)
    assert (done.code, done.err) == (0, "")
    for trial in only_sweep(runs_dir).trials:
        assert list(load_checkpoint(trial.run.last).state["model"][0]) == ["0.weight", "2.weight"]


@pytest.mark.usefixtures("all_dots")
def test_an_own_picture_is_drawn_in_the_place_of_one_of_dlrun(
    dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path, runs_dir: Path
) -> None:
    write("mine/plots/curves.py", CURVES)
    assert dlrun("train", tiny, "plots=auto", "--parts", tmp_path / "mine").code == 0
    png = (only_run(runs_dir).plots / "curves.png").read_bytes()
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (200, 200), "a square inch"


def test_without_its_own_parts_a_run_says_that_it_was_trained_with_them(
    dlrun: Dlrun, tiny: Path, mine: tuple[str, Path], write: Write, tmp_path: Path, runs_dir: Path
) -> None:
    points = write("points.csv", "x,y\n0.1,0.2\n")
    write("mine/optimizer/sgd.py", SIGNS)
    assert dlrun("train", tiny, "optimizer={name: sgd, lr: 0.1}", *mine).code == 0
    for words in (
        ("eval", "last"),
        ("plot", "last", "curves"),
        ("predict", "last", points),
        ("resume", "last"),
    ):
        words += ("epochs=9",) if words[0] == "resume" else ()
        done = dlrun(*words)
        assert done.code == 4, words
        assert "trained with an own architecture/mlp.py, not with dlrun's of that name" in done.err, done.err
        assert "--parts" in done.err
    (tmp_path / "mine" / "optimizer" / "sgd.py").unlink()
    assert dlrun("eval", "last", *mine).code == 0, "no optimizer is needed"
    done = dlrun("resume", "last", "epochs=9", *mine)
    assert (done.code, "trained with an own optimizer/sgd.py" in done.err) == (4, True)


def test_weights_that_do_not_fit_are_said_to_need_own_parts_where_the_checkpoint_is_an_earlier_one(
    dlrun: Dlrun, tiny: Path, mine: tuple[str, Path], runs_dir: Path
) -> None:
    assert dlrun("train", tiny, *mine).code == 0
    for path in (only_run(runs_dir).best, only_run(runs_dir).last):
        saved = load_checkpoint(path)
        known = {key: value for key, value in saved.environment.items() if key != "own parts"}
        save_checkpoint(path, replace(saved, environment=known))
    for words in (("eval", "last"), ("resume", "last", "epochs=9")):
        done = dlrun(*words)
        assert (done.code, "--parts" in done.err) == (4, True), done.err
        assert "fit" in done.err
    assert dlrun("resume", "last", "epochs=9", *mine).code == 0


def test_a_part_that_has_changed_since_is_said_wherever_the_model_is_used(
    dlrun: Dlrun,
    tiny: Path,
    write: Write,
    mine: tuple[str, Path],
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.chdir(tmp_path)
    between = MLP.replace("nn.Tanh()", "helper_of_mine.between()")
    write("mine/architecture/mlp.py", f"import helper_of_mine\n{between}")
    write("lib/helper_of_mine.py", "from torch import nn\n\nbetween = nn.Tanh\n")
    write("mine/loss/unused.py", "def unused(outputs, targets):\n    return outputs[:, 0]\n")
    assert dlrun("train", tiny, *mine).code == 0
    said = "architecture/mlp.py has changed since the run was trained"
    write("mine/loss/unused.py", "def unused(outputs, targets):\n    return outputs[:, 1]\n")
    assert said not in dlrun("eval", "last", *mine).err
    write("lib/helper_of_mine.py", "from torch import nn\n\nbetween = nn.ReLU\n")
    write("points.csv", "x,y\n0.1,0.2\n")
    for words in (("eval",), ("plot",), ("predict", "points.csv")):
        done = dlrun(words[0], "last", *words[1:], *mine)
        assert said in " ".join(f"{done.out} {done.err}".split()), words
    with pytest.warns(UserWarning, match=said):
        load(only_run(runs_dir).folder, parts=mine[1])
    path = only_run(runs_dir).best
    saved = load_checkpoint(path)
    save_checkpoint(path, replace(saved, environment=saved.environment | {"code of own parts": None}))
    assert said not in dlrun("eval", "last", *mine).err, "of an earlier dlrun"


def test_a_run_that_goes_on_with_another_part_says_so_and_never_hides_it(
    dlrun: Dlrun, tiny: Path, write: Write, mine: tuple[str, Path]
) -> None:
    assert dlrun("train", tiny, *mine).code == 0
    path = mine[1] / "architecture" / "mlp.py"
    text = path.read_text()
    path.write_text(text.replace("nn.Tanh()", "nn.ReLU()"))
    said = "architecture/mlp.py has changed since the run was trained"
    assert said in dlrun("resume", "last", "epochs=5", *mine).out
    ask = ("eval", "last", "--checkpoint", "last", *mine)
    assert said in dlrun(*ask).err, "its first epochs had other code"
    path.write_text(text)
    assert said in dlrun(*ask).err, "its last epochs had other code"
