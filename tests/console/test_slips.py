"""The commonest slips, each said with its place, its cause and its remedy, before there is a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]

CONFIG = """\
dataset: {name: spiral, points: 20}
architecture: {name: mlp, hidden: [4]}
loss: cross_entropy
optimizer: {name: adam, lr: 0.01, beta1: 0.8, weight_decay: 0.1}
epochs: 2
batch_size: 16
plots: []
"""
LOSSES = {
    "forgot": "def forgot(outputs, targets):\n    outputs.sum(1)\n",
    "classy": "class classy:\n    pass\n",
    "options": "def options(outputs, targets, gamma=2.0):\n    return outputs.sum(1)\n",
    "broken": "def broken(outputs, targets:\n    return 1\n",
    "wide": "def wide(outputs, targets):\n    return outputs\n",
    "sound": """\
def sound(outputs, targets):
    return outputs.logsumexp(1) - outputs[range(len(targets)), targets]
""",
}
DEEP = "def deep(outputs, targets):\n    return outputs.sum(1)\n"
FLOATS = """\
import torch
from dlrun.data import Data, Examples


def floats(root):
    examples = Examples(torch.zeros(9, 2), torch.zeros(9))
    return Data("classification", (2,), lambda: {"train": examples}, classes=("a", "b"), splits=("train",))
"""


def changed(before: str, after: str) -> str:
    assert before in CONFIG
    return CONFIG.replace(before, after)


# The text of the file; the place of the mistake, its cause, and the remedy.
IN_THE_FILE = {
    "a tab": (
        f"{CONFIG}metrics:\n\t- accuracy\n",
        ":9:1",
        "a tab; use spaces",
        "indent by two spaces a level",
    ),
    "no colon": (changed("epochs: 2", "epochs 2"), ":5:7", "line 5 has no colon", "write epochs: 2"),
    "no space": (changed("epochs: 2", "epochs:2"), ":5:7", "no space behind its colon", "write epochs: 2"),
    "a bracket": (changed("[4]}", "[4}"), ":2:35", "the bracket [ is not closed", "hidden: [4]}"),
    "a brace": (
        changed("points: 20}", "points: 20"),
        ":1:10",
        "the bracket { is never closed",
        "points: 20}",
    ),
    "a quote": (f'{CONFIG}name: "x\n', ":8:7", 'the quote " is never closed', 'write name: "x"'),
    "hidden": (
        f"{CONFIG}hidden: [8]\n",
        ":8:1",
        "hidden is an option of architecture.mlp",
        "write architecture: {name: mlp, hidden: [8]}",
    ),
    "activation": (
        f"{CONFIG}activation: tanh\n",
        ":8:1",
        "activation is an option of architecture.mlp",
        "write architecture: {name: mlp, hidden: [4], activation: tanh}",
    ),
    "lr": (
        f"{CONFIG}lr: 0.1\n",
        ":8:1",
        "lr is an option of optimizer.adam",
        "write optimizer: {name: adam, lr: 0.1, beta1: 0.8, weight_decay: 0.1}",
    ),
    "a required key": (changed("optimizer:", "optimiser:"), ":4:1", "there is no such key", "optimizer"),
    "a number in quotes": (
        changed("lr: 0.01", 'lr: "0.01"'),
        ":4:29",
        "'0.01' is not a number >= 0",
        "write 0.01 without quotes",
    ),
    "a comma in braces": (
        changed("lr: 0.01", "lr: 0,01"),
        ":4:31",
        "a comma parts a number in two",
        "write lr: 0.01",
    ),
    "a comma in thousands": (
        changed("points: 20", "points: 2,000"),
        ":1:35",
        "a comma parts a number in two",
        "write points: 2000, or 2.000",
    ),
    "a zero in front": (changed("epochs: 2", "epochs: 02"), ":5:9", "'02' is not a plain number", "write 2,"),
    "a missing option": (
        changed("{name: adam, lr: 0.01, beta1: 0.8, weight_decay: 0.1}", "Adam"),
        ":4:1",
        "the option lr is missing: a number >= 0",
        "such as optimizer: {name: adam, lr: 0.001}",
    ),
    "no log-probabilities": (
        changed("loss: cross_entropy", "loss: nll"),
        ":3:7",
        "nll takes log-probabilities, and the outputs of mlp are none",
        "end the architecture with output_activation: log_softmax, or take loss: cross_entropy",
    ),
    "a word of another tool": (
        f"{CONFIG}max_epochs: 3\n",
        ":8:1",
        "dlrun's word is epochs",
        "write epochs: 3",
    ),
}
# The words behind `train`; the place, the cause, and the remedy.
IN_WORDS = {
    "--epochs": (["--epochs", "5"], "", "No such option: --epochs", "write epochs=5"),
    "--lr": (["--lr", "0.1"], "", "No such option: --lr", "write optimizer.lr=0.1"),
    "a list with spaces": (
        ["architecture.hidden=[8,", "8]"],
        "architecture.hidden=[8,",
        "a shell ends a word at a space",
        "write architecture.hidden=[8,8]\n",
    ),
    "a list in parentheses": (
        ["architecture.hidden=(8,", "8)", "epochs=3"],
        "architecture.hidden=(8,",
        "a shell ends a word at a space",
        "write architecture.hidden=[8,8]\n",
    ),
    "options with spaces": (
        ["optimizer={name:", "adam,", "lr:", "0.1}"],
        "optimizer={name:",
        "a shell ends a word at a space",
        "write 'optimizer={name: adam,lr: 0.1}'\n",
    ),
    "a part that lacks an option": (
        ["dataset=csv"],
        "dataset",
        "the option target is missing",
        "such as dataset.target=price",
    ),
    "no return": (["loss=forgot"], "loss/forgot.py:2)", "ends without a return", "return a figure for each"),
    "a class": (
        ["loss=classy"],
        "loss/classy.py:1)",
        "classy is a class, but a part is a function",
        "write def classy(outputs, targets, *, …)",
    ),
    "no star": (
        ["loss=options"],
        "loss/options.py:1)",
        "gamma before a *",
        "def options(outputs, targets, *, gamma: float=2.0)",
    ),
    "too deep": (["loss=deep"], "mine/mine/loss/deep.py", "there is no loss/deep.py", "mine/mine"),
    "no Python": (["loss=broken"], "loss/broken.py:1)", "this is not Python", "'(' was never closed"),
    "a wrong shape": (
        ["loss=wide"],
        "loss/wide.py:1)",
        "gives shape (2, 3) for 2 examples",
        'take reduction="none"',
    ),
    "a wrong dtype": (
        ["dataset=floats"],
        "dataset/floats.py:5",
        "the targets are float32, but class numbers are int64",
        "use .long()",
    ),
    "dropout of nothing": (
        ["architecture={name: mlp, hidden: [], dropout: 0.5}"],
        "architecture.dropout",
        "0.5 changes nothing",
        "add one, such as hidden: [100]",
    ),
    "a loss of another task": (
        ["loss=l1"],
        "command line: loss",
        "l1 is for regression, but spiral is a classification task",
        "write loss=cross_entropy\n",
    ),
    "a metric of another task": (
        ["metrics=mae"],
        "command line: metrics",
        "mae is for regression",
        "write metrics=[accuracy]\n",
    ),
    "a picture of another task": (
        ["plots=predictions"],
        "command line: plots",
        "predictions is for inputs of images",
        "write plots=[auto] for those that suit\n",
    ),
    "a classification's loss of numbers": (
        ["dataset={name: csv, path: rent.csv, target: y}", "loss=nll"],
        "command line: loss",
        "nll is for classification, but csv is a regression task",
        "write loss=mse\n",
    ),
    "probabilities in place of their logarithms": (
        ["loss=nll", "architecture.output_activation=softmax"],
        "command line: loss",
        "nll takes log-probabilities, and the outputs of mlp are none",
        "with architecture.output_activation=log_softmax, or take loss=cross_entropy, which needs none\n",
    ),
    "a file that is not there": (
        ["dataset={name: csv, path: nosuch.csv, target: y}"],
        "dataset.path",
        "there is no file or folder",
        "say where it is with dataset.path=",
    ),
}
# The words behind `train`, and the warning with which it trains.
WARNED = {
    "probabilities": (
        ["architecture.output_activation=softmax"],
        ["mlp gives probabilities", "cross_entropy takes logits", "set output_activation: identity"],
    ),
    "outputs cut off": (
        ["architecture.output_activation=relu"],
        ["never below 0", "cross_entropy takes logits", "set output_activation: identity"],
    ),
    "a large batch": (
        ["batch_size=1000"],
        ["batch_size 1,000 exceeds the 60 training examples", "set batch_size: full"],
    ),
    "another optimizer": (["optimizer.name=sgd"], ["optimizer.name=sgd: beta1 of the config is left out"]),
}


@pytest.fixture
def mine(write: Write, tmp_path: Path) -> Path:
    for name, text in LOSSES.items():
        write(f"mine/loss/{name}.py", text)
    write("mine/mine/loss/deep.py", DEEP)
    write("mine/dataset/floats.py", FLOATS)
    return tmp_path / "mine"


@pytest.mark.parametrize("slip", IN_THE_FILE)
def test_a_slip_in_a_config(slip: str, dlrun: Dlrun, write: Write, runs_dir: Path) -> None:
    text, place, cause, remedy = IN_THE_FILE[slip]
    path = write("c.yaml", text)
    done = dlrun("train", path)
    assert done.code == 2
    assert f"{path}{place}" in done.err and cause in done.err and remedy in done.err, done.err
    assert "mistakes" not in done.err, "it is one"
    assert not runs_dir.exists()


@pytest.mark.parametrize("slip", IN_WORDS)
def test_a_slip_on_the_command_line_or_in_a_part(
    slip: str, dlrun: Dlrun, write: Write, mine: Path, runs_dir: Path
) -> None:
    words, place, cause, remedy = IN_WORDS[slip]
    table = write("rent.csv", "x,y\n" + "".join(f"{each},{each}.5\n" for each in range(20)))
    words = [word.replace("rent.csv", str(table)) for word in words]
    done = dlrun("train", write("c.yaml", CONFIG), *words, "--parts", mine)
    assert done.code == 2
    assert place in done.err and cause in done.err and remedy in done.err, done.err
    assert "report this" not in done.err
    assert not runs_dir.exists()


def test_a_part_that_is_not_python_has_its_place_once_and_its_line_with_a_caret(
    dlrun: Dlrun, write: Write, mine: Path
) -> None:
    done = dlrun("train", write("c.yaml", CONFIG), "loss=broken", "--parts", mine)
    said = f"loss: this is not Python: '(' was never closed ({mine}/loss/broken.py:1)"
    assert done.err.splitlines()[1:] == [
        f"  on the command line: {said}",
        "      def broken(outputs, targets:",
        "                ^",
    ]


def test_a_list_of_what_there_is_stands_once(dlrun: Dlrun, write: Write) -> None:
    keys = [f"zz{letter}q" for letter in "abcdefghijkl"]
    done = dlrun("train", write("c.yaml", CONFIG + "".join(f"{key}: 1\n" for key in keys)))
    said = done.err.splitlines()
    assert said[0].endswith("12 mistakes") and len(said) == 13
    assert all(f"{key}: there is no such key" in line for key, line in zip(keys, said[1:], strict=True))
    assert "(there are: name, seeds," in said[1] and done.err.count("there are") == 1


@pytest.mark.parametrize("slip", WARNED)
def test_a_trap_is_said_once_and_the_run_trains(slip: str, dlrun: Dlrun, write: Write) -> None:
    words, said = WARNED[slip]
    done = dlrun("train", write("c.yaml", CONFIG), *words)
    assert done.code == 0
    warning = [line for line in (done.out + done.err).splitlines() if said[0] in line]
    assert len(warning) == 1 and all(each in warning[0] for each in said), done


@pytest.mark.parametrize(
    ("words", "said", "unsaid"),
    [
        ("train houses.csv", "dlrun init houses.csv writes a config", ""),
        ("train table.parquet", "dlrun init table.parquet writes a config", ""),
        ("train images", "if it holds images, dlrun init images writes a config", "YAML"),
        ("train more", "name a YAML file in it, such as more/x.yaml", "init"),
        ("train cc.yaml", "; did you mean 'c.yaml'?", "there are"),
        ("train spiral_rely", "; did you mean 'spiral_relu'?", "there are"),
        ("train c.yaml dataset={name:csv,path:hoses.csv,target:y}", "; did you mean 'houses.csv'?", ""),
        ("init hoses.csv", "; did you mean 'houses.csv'?", ""),
        ("train c.yaml losss=mse", "; did you mean 'loss'?", "there are"),
        (
            "train c.yaml architecture=sinnet",
            "there is no architecture/sinnet.py in dlrun, but own/architecture/sinnet.py; add --parts own\n",
            "unet",
        ),
    ],
)
def test_a_name_that_is_not_there_leads_to_what_is(
    dlrun: Dlrun, write: Write, monkeypatch: pytest.MonkeyPatch, words: str, said: str, unsaid: str
) -> None:
    write("c.yaml", CONFIG)
    write("more/x.yaml", CONFIG)
    write("houses.csv", "x,y\n1,2\n")
    write("table.parquet", "PAR1")
    write("own/architecture/sinnet.py", "def sinnet(inputs, outputs):\n    return None\n")
    monkeypatch.chdir(write("images/cat/1.png", "").parent.parent.parent)
    done = dlrun(*(word.replace(":", ": ") for word in words.split()))
    assert done.code == 2
    assert said in done.err, done.err
    assert not unsaid or unsaid not in done.err, done.err


def test_what_is_meant_is_taken(dlrun: Dlrun, write: Write, mine: Path) -> None:
    config = write("c.yaml", CONFIG)
    for words in (
        ["architecture.hidden=6,6"],
        ["architecture.activation=ReLU"],
        ["optimizer=Adam"],
        ["loss=sound", "--parts", mine],  # beside a broken one
    ):
        done = dlrun("train", config, *words)
        assert done.code == 0, done.err
    sweep = dlrun("sweep", config, "architecture.hidden=6,6", "--dry-run")
    assert sweep.code == 2 and "architecture.hidden=[6,6] for one list" in sweep.err


# The words; what is said of the cause, and the remedy.
AT_THE_DATA = {
    "a folder too deep": (
        "init fotos/dots",
        "fotos/dots holds images itself, and no folders of classes",
        "its parent fotos has the classes dots, stripes: take that",
    ),
    "a folder of a split too deep": (
        "init split/train/dots",
        "split/train/dots holds images itself",
        "its parent split/train has the classes dots, stripes: take split",
    ),
    "the images of one class": (
        "init one",
        "one holds images itself, and no folders of classes",
        "put the images of each class into a folder",
    ),
    "a folder too deep in a config": (
        "train c.yaml dataset={name:image_folder,path:fotos/dots}",
        "fotos/dots holds images itself",
        "/fotos has the classes dots, stripes: take that",
    ),
    "a folder of a split without classes": (
        "train c.yaml dataset={name:image_folder,path:flat/train}",
        "flat/train holds images itself",
        "put the images of each class into a folder",
    ),
    "a folder too deep beside a link that leads nowhere": (
        "init linked/dots",
        "linked/dots holds images itself",
        "put the images of each class into a folder",
    ),
    "a table for images": (
        "train c.yaml dataset={name:image_folder,path:rent.csv}",
        "rent.csv is a file, not a folder of images",
        "name the folder of the class folders with dataset.path=…; the dataset csv reads a table",
    ),
    "images for a table": (
        "train c.yaml dataset={name:csv,path:fotos,target:y}",
        "fotos is a folder, but a table is one file",
        "its folders hold images, which the dataset image_folder reads",
    ),
    "a folder of tables": (
        "train c.yaml dataset={name:csv,path:tables,target:y}",
        "tables is a folder, but a table is one file",
        "tables/a.csv",
    ),
    "an image for a table": (
        "init fotos/dots/0.png",
        "this is a PNG image, not a table",
        "name a table, such as a CSV file",
    ),
}


@pytest.mark.parametrize("slip", AT_THE_DATA)
def test_data_of_another_kind_or_at_another_level_are_said_with_the_remedy(
    slip: str, dlrun: Dlrun, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, cause, remedy = AT_THE_DATA[slip]
    monkeypatch.chdir(tmp_path)
    write("c.yaml", CONFIG)
    write("rent.csv", "x,y\n1,2\n")
    write("tables/a.csv", "x,y\n1,2\n")
    folders = ["fotos/dots", "fotos/stripes", "split/train/dots", "split/train/stripes", "one"]
    for folder in (*folders, "flat/train", "flat/test", "linked/dots"):
        write(f"{folder}/0.png", "").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "linked/away").symlink_to("nowhere")
    done = dlrun(*(word.replace(":", ": ") for word in words.split()))
    assert done.code == 2
    assert cause in done.err and remedy in done.err, done.err
