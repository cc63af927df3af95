"""Words of the command line mean what a shell would make of them, or lead to dlrun's own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import TINY
from small_runs import only_run
from small_sweeps import only_sweep

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
HALF = "def half(progress, *, of: float = 1.0):\n    '''Half the rate.'''\n    return of / 2\n"
DOUBLE = "def half(progress, *, of: float = 1.0):\n    '''Twice the rate.'''\n    return of * 2\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that holds a config and a schedule of its owner's, and is not where we are."""
    home = tmp_path / "home"
    (home / "mine" / "schedule").mkdir(parents=True)
    (home / "mine" / "schedule" / "half.py").write_text(HALF)
    (home / "own.yaml").write_text(TINY.replace("plots: []", "plots: [curves]") + "schedule: half\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home


def test_a_tilde_is_the_home_wherever_a_path_is_written(
    dlrun: Dlrun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirs = ("--runs-dir", "~/runs", "--parts", "~/mine", "--data-dir", "~/data")
    (home / "above.yaml").write_text("base: ~/own.yaml\nepochs: 2\n")
    assert dlrun("train", "~/above.yaml", "--stop-after", 1, *dirs).code == 0
    run = only_run(home / "runs")
    (home / "points.csv").write_text("x,y\n0.1,0.2\n")
    for words in (
        ("resume", "~/runs/above-001"),
        ("eval", "~/runs/above-001/checkpoints/last.pt"),
        ("predict", "~/runs/above-001", "~/points.csv"),
        ("plot", "last", "curves", "--out", "~/pictures"),
        ("data", "~/own.yaml", "--out", "~/previews"),
        ("reproduce", "~/runs/above-001"),
        ("sweep", "~/own.yaml", "epochs=1,2", "--jobs", 1),
    ):
        done = dlrun(*words, *dirs)
        assert done.code == 0, (words, done.err)
    sweep = ("sweep", "--resume", "~/runs/own-sweep-001", *dirs)
    assert dlrun(*sweep).code == 0
    compared = ("compare", "~/runs/own-sweep-001", "-o", "~/curves.png", "--runs-dir", "~/runs")
    assert dlrun(*compared, "--metric", "train_loss").code == 0
    assert dlrun("rm", "~/runs/own-sweep-001", "--yes", "--runs-dir", "~/runs").code == 0
    assert run.rows()["epoch"] == [1, 2]
    for made in ("pictures/curves.png", "curves.png", "previews"):
        assert (home / made).exists(), made
    monkeypatch.setenv("DLRUN_DATA", "~/data")
    monkeypatch.setenv("DLRUN_PARTS", "~/mine")
    assert dlrun("eval", "last", "--runs-dir", "~/runs").code == 0
    assert not list(Path().glob("*")), "nothing is made in a folder of that name where we are"


def test_a_tilde_of_nobody_is_a_name_as_it_is_to_a_shell(dlrun: Dlrun, home: Path) -> None:
    done = dlrun("train", "~nobody-has-this-name/x.yaml")
    assert (done.code, "there is no config ~nobody-has-this-name/x.yaml" in done.err) == (2, True)


def test_own_parts_are_found_by_the_environment_and_the_option_goes_before_it(
    dlrun: Dlrun, home: Path, runs_dir: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dlrun("show", home / "own.yaml").code == 2
    monkeypatch.setenv("DLRUN_PARTS", str(home / "mine"))
    assert "Half the rate." in dlrun("parts", "schedule").out
    other = write("other/schedule/half.py", DOUBLE).parents[1]
    assert "Twice the rate." in dlrun("parts", "schedule", "--parts", other).out
    done = dlrun("train", home / "own.yaml", "--stop-after", 1)
    assert done.code == 0, done.err
    monkeypatch.delenv("DLRUN_PARTS")
    printed = next(line for line in done.out.splitlines() if "dlrun resume" in line)
    command = shlex.split(printed[printed.index("dlrun resume") :])
    assert command[-2:] == ["--parts", str(home / "mine")]
    assert dlrun(*command[1:]).code == 0, "the command that is printed needs no environment"
    monkeypatch.setenv("DLRUN_PARTS", "nowhere")
    refused = dlrun("parts")
    assert (refused.code, f"there is no folder {Path.cwd() / 'nowhere'}" in refused.err) == (2, True)
    assert "DLRUN_PARTS" in refused.err


def test_the_workers_of_a_sweep_have_the_parts_of_the_environment(
    dlrun: Dlrun, home: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLRUN_PARTS", "~/mine")
    done = dlrun("sweep", home / "own.yaml", "epochs=1,2", "--jobs", 1)
    assert done.code == 0, done.err
    assert {trial.run.summary()["status"] for trial in only_sweep(runs_dir).trials} == {"finished"}
    monkeypatch.delenv("DLRUN_PARTS")
    assert dlrun("sweep", "--resume", "last", "--parts", home / "mine").code == 0


def test_every_command_that_takes_parts_says_that_the_environment_names_them(dlrun: Dlrun) -> None:
    for command in (
        "train",
        "resume",
        "eval",
        "predict",
        "plot",
        "data",
        "show",
        "parts",
        "sweep",
        "compare",
    ):
        assert "DLRUN_PARTS" in dlrun(command, "--help").out, command


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        ("train {tiny} --epochs 5", "No such option: --epochs", "write epochs=5"),
        ("train {tiny} --epochs=5", "No such option: --epochs", "write epochs=5"),
        ("train {tiny} --lr 0.1", "No such option: --lr", "write optimizer.lr=0.1"),
        ("resume last --max-epochs 5", "No such option: --max-epochs", "write epochs=5"),
        ("show {tiny} --batch-size 5", "No such option: --batch-size", "write batch_size=5"),
        ("show {tiny} --hidden [5]", "No such option: --hidden", "write architecture.hidden=[5]"),
        (
            "train --config {tiny}",
            "No such option: --config",
            "name the config without an option: dlrun train {tiny}",
        ),
        ("train -c {tiny}", "No such option: -c", "name the config without an option: dlrun train {tiny}"),
        (
            "train {tiny} --multirun",
            "No such option: --multirun",
            "dlrun sweep CONFIG KEY=VALUES trains every combination of values",
        ),
        ("fit {tiny} epochs=5", "No such command 'fit'.", "dlrun train {tiny} epochs=5"),
        ("--debug fit {tiny}", "No such command 'fit'.", "dlrun train {tiny}"),
        ("trian {tiny}", "No such command 'trian'. Did you mean 'train'?", "dlrun train {tiny}"),
        ("{tiny}", "No such command '{tiny}'.", "dlrun train {tiny}"),
        ("spiral_relu epochs=5", "No such command 'spiral_relu'.", "dlrun train spiral_relu epochs=5"),
        ("help", "No such command 'help'.", "dlrun --help"),
        ("help train", "No such command 'help'.", "dlrun train --help"),
        ("version", "No such command 'version'.", "dlrun --version"),
        ("xyz", "No such command 'xyz'.", "dlrun --help says what can be written"),
        ("parts cnn.dropout", "cnn is a part, and no kind of part", "dlrun parts cnn has its options"),
    ],
)
def test_an_option_of_another_tool_leads_to_dlruns_own_words(
    dlrun: Dlrun, tiny: Path, words: str, what: str, fix: str
) -> None:
    done = dlrun(*words.format(tiny=tiny).split())
    assert done.code == 2
    said = [line for line in done.err.splitlines() if line.startswith(("error: ", "  fix: "))]
    assert said == [f"error: {what.format(tiny=tiny)}", f"  fix: {fix.format(tiny=tiny)}"]
    if advised := re.fullmatch(r"write (\S+)", fix):
        assert dlrun("show", tiny, advised[1]).code == 0


def test_a_file_or_a_folder_without_a_command_leads_to_that_which_takes_it(
    dlrun: Dlrun, write: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("rent.csv", "photos/cat/1.png", "old/config.yaml", "notes.txt", "texts/a/b.txt"):
        write(name, "")
    remedies = {"rent.csv": "dlrun init rent.csv", "photos": "dlrun init photos", "old": "dlrun eval old"}
    for name in ("rent.csv", "photos", "old", "notes.txt", "texts", "photos/train", "a" * 300):
        remedy = remedies.get(name, "dlrun --help says what can be written")
        assert dlrun(name).err.endswith(f"  fix: {remedy}\n"), name


@pytest.mark.parametrize(
    "words",
    [
        "--hidden 100,100",
        "--optimizer torch.optim.SGD",
        "--metrics accuracy,f1",
        "hidden=3,4",
        "model.hidden=3,4",
        "optimizer.lr:0.1",
        "epochs: 3",
    ],
)
def test_advice_about_an_argument_is_one_word_that_is_taken(dlrun: Dlrun, tiny: Path, words: str) -> None:
    refused = dlrun("show", tiny, *shlex.split(words))
    assert refused.code == 2
    advice = re.search(r"write (.*)", refused.err)
    assert advice, refused.err
    [word] = shlex.split(advice[1])
    taken = dlrun("show", tiny, word)
    assert taken.code == 0, taken.err


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("--gpu", "write device=cuda"),
        ("--gpus 1", "write device=VALUE: auto, cpu, cuda, cuda:N or mps"),
        ("--fp16 true", "write precision=VALUE: one of: float32, bfloat16, float16, float64"),
        ("--lr -1", "write optimizer.lr=VALUE: a number >= 0"),
        ("--no-shuffle", "leave it out: none is needed"),
        ("--num-workers 4", "leave it out: none is needed"),
        ("epochs", "write epochs=VALUE"),
    ],
)
def test_a_value_that_would_be_refused_is_not_advised(dlrun: Dlrun, tiny: Path, words: str, fix: str) -> None:
    refused = dlrun("show", tiny, *words.split())
    assert refused.code == 2
    assert f"  fix: {fix}\n" in refused.err


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("runs --limit 3", "dlrun runs --help says what can be written"),
        ("predict last --batch_size 3 x.csv", "dlrun predict --help says what can be written"),
        ("predict last --gpu x.csv", "write --device cuda"),
        ("compare --metrics test_loss a b", "write --metric"),
        ("init houses.csv --out", "dlrun init --help says what can be written"),
        ("eval last --epochs 3", "leave it out: epochs is of training, not of evaluation"),
        ("eval last --batch-size 3", "leave it out: batch_size is of training, not of evaluation"),
        ("eval last --eval-batch-size 3", "write evaluation_batch_size=3"),
    ],
)
def test_no_key_is_advised_to_a_command_that_does_not_take_it(dlrun: Dlrun, words: str, fix: str) -> None:
    refused = dlrun(*words.split())
    assert refused.code == 2
    assert f"  fix: {fix}\n" in refused.err


def test_a_run_takes_a_name_of_rare_letters_from_an_option(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    rare = "\N{CJK UNIFIED IDEOGRAPH-20BB7}野"  # the first is beyond the 16 bits of \\u in JSON
    assert dlrun("train", tiny, "--name", rare).code == 0
    assert only_run(runs_dir).name == f"{rare}-001"


def test_options_that_another_part_does_not_have_are_left_out_aloud(dlrun: Dlrun, write: Write) -> None:
    path = write("a.yaml", TINY.replace("optimizer: {name: adam,", "optimizer: {name: adam, beta2: 0.9,"))
    said = "warning: optimizer=sgd: beta2 of the config is left out\n"
    for command in ("show", "train"):
        done = dlrun(command, path, "optimizer=sgd")
        assert (done.code, done.err) == (0, said), command
    assert dlrun("train", path, "optimizer=sgd", "--quiet").err == ""
    assert "name: sgd" in (path.parent / "runs/a-001/config.yaml").read_text()
    done = dlrun("sweep", path, "optimizer.name=adam,sgd", "--dry-run")
    assert done.err == said.replace("optimizer=", "optimizer.name=")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("show no.yaml", "no.yaml"),
        ("train sub/no.yaml", "sub/no.yaml"),
        ("eval no --runs-dir runs", "runs"),
        ("eval no --runs-dir full", "full"),
        ("compare no --runs-dir full", "full"),
        ("sweep --resume no --runs-dir runs", "runs"),
        ("predict full/one-001 no.csv", "no.csv"),
        ("eval full/one-001 --on no.csv", "no.csv"),
        ("eval no.pt", "no.pt"),
        ("parts --parts no", "no"),
        ("init no.csv", "no.csv"),
        ("init --out no/a.yaml", "no"),
        ("show tiny.yaml architecture.weights=no.pt", "no.pt"),
        ("show spiral_relu dataset={name:csv,path:no.csv,target:y}", "no.csv"),
    ],
)
def test_what_is_not_found_is_said_with_the_whole_path_at_which_it_was_looked_for(
    dlrun: Dlrun, tiny: Path, monkeypatch: pytest.MonkeyPatch, words: str, place: str
) -> None:
    monkeypatch.chdir(tiny.parent)
    if "full" in words:
        Path("table.csv").write_text("x,y\n" + "".join(f"{n % 7},{n % 5 / 3}\n" for n in range(30)))
        table = "dataset={name: csv, path: table.csv, target: y}", "loss=mse", "metrics=[]"
        assert dlrun("train", tiny, "--name", "one", "--runs-dir", "full", "epochs=1", *table).code == 0
    done = dlrun(*(word.replace(":", ": ").replace(",", ", ") for word in words.split()))
    assert done.code in (2, 4)
    assert re.search(rf"{re.escape(str(tiny.parent / place))}(\s|$)", done.err), done.err


@pytest.mark.parametrize("command", ["train", "predict", "rm", "init", "plot", "sweep", "reproduce"])
def test_a_usage_line_marks_what_may_be_left_out_or_repeated_once(dlrun: Dlrun, command: str) -> None:
    [usage] = [line for line in dlrun(command, "--help").out.splitlines() if "Usage:" in line]
    assert not re.search(r"\[\[|\.\.\.\S*\.\.\.", usage), usage
