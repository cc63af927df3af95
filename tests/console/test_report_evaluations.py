"""The evaluations in a report: of which model they are, by which decisions, and the unit of their counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from made_runs import EVALUATED, made
from reading_pages import PNG, ReadPage

from dlrun.console.evaluation import print_evaluation
from dlrun.console.layout import short_names
from dlrun.results.report_evaluations import Evaluation
from dlrun.run_folders.run import Run

Report = Callable[..., ReadPage]
LONG = "all that was sold in the shops of the old town"
RATES = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "examples": 4}


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["cat", " "], ["cat", "' '"]),
        (["abcdefghijklm"], ["abcdefghi…"]),
        (["abcdefghijklm", "abcdefghijkno"], ["abcde…jklm", "abcde…jkno"]),
        (["abcdefghijklm", "abcdefghi…"], ["abcde…jklm", "abcdefghi…"]),
        (["abcdefghi-x-jklm", "abcdefghi-y-jklm"], ["abcdefghi-x-jklm", "abcdefghi-y-jklm"]),
        (["abcdefghijklm", "abcdefghijklm"], ["abcdefghi…", "abcdefghi…"]),
    ],
)
def test_a_long_name_is_cut_visibly_and_two_stay_apart(names: list[str], short: list[str]) -> None:
    assert short_names(names, 10) == short


def test_class_names_are_whole_in_a_report_and_apart_on_a_terminal(
    report: Report, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{LONG}, {place}" for place in ("north", "south")]
    found = EVALUATED | {
        "per_class": dict.fromkeys(names, RATES),
        "most_confused": [{"true": names[0], "predicted": names[1], "count": 3.0}],
    }
    run = made(runs_dir)
    run.write_json("eval/test.json", found)
    page = report(run.folder)
    assert [row[0] for row in page.tables()["Each class of test"][1:]] == names
    assert f"Most often confused: {names[0]} as {names[1]} 3." in page.texts("p")
    print_evaluation(found | {"recorded": {}, "same_data": True})
    rows = [line for line in capsys.readouterr().out.splitlines() if "…" in line and "0.5000" in line]
    assert len({*rows}) == 2


@pytest.mark.parametrize(
    ("entries", "head"),
    [({}, "examples"), ({"counted": "pixels"}, "pixels"), ({"examples": 3}, "pixels or positions")],
)
def test_counts_of_classes_are_headed_by_what_is_counted(
    report: Report, runs_dir: Path, entries: dict[str, Any], head: str
) -> None:
    """Evaluations of an earlier dlrun do not name it."""
    run = made(runs_dir)
    own = RATES | {"examples": 163937 if head != "examples" else 4}
    run.write_json("eval/test.json", EVALUATED | {"per_class": {"disc": own}} | entries)
    heads, row = report(run.folder).tables()["Each class of test"]
    assert heads[-1] == head
    assert row[-1] == ("4" if head == "examples" else "163,937")


def checkpoint_of(run: Run, content: bytes = b"weights") -> str:
    """Write a file in the place of a run's best checkpoint; give its SHA-256."""
    run.best.parent.mkdir(exist_ok=True)
    run.best.write_bytes(content)
    return sha256(content).hexdigest()


def test_an_evaluation_of_an_earlier_checkpoint_is_marked_with_its_pictures(
    report: Report, runs_dir: Path
) -> None:
    run = made(runs_dir)
    digests = {"test": checkpoint_of(run), "test_tta_flip": sha256(b"others").hexdigest()}
    for name, digest in digests.items():
        run.write_json(f"eval/{name}.json", EVALUATED | {"sha256": digest})
        (run.folder / "eval" / f"{name}_confusion_matrix.png").write_bytes(PNG + name.encode())
    checkpoint_of(run, b"others")
    run.write_json("summary.json", run.summary() | {"epochs": 5})
    page = report(run.folder)
    earlier = "of epoch 3; the run went on to epoch 5"
    assert [text for text in page.texts("li") if "evaluat" in text] == [
        f"the evaluation below is {earlier}: dlrun eval small-001 evaluates it again"
    ]
    assert [earlier in own["alt"] for own, _ in page.of("img")] == [True, False]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, []),
        ({"split": "valid", "tta": "flip"}, ["--split", "valid", "--tta", "flip"]),
        ({"split": None, "on": "new.csv", "weights": "trained"}, ["--on", "new.csv", "--weights", "trained"]),
        ({"checkpoint": "runs/small-001/checkpoints/last.pt"}, ["--checkpoint", "last"]),
    ],
)
def test_an_outdated_evaluation_is_repeated_by_the_command_that_is_named(
    entries: dict[str, Any], words: list[str]
) -> None:
    assert Evaluation(Path("test.json"), EVALUATED | entries).words == words


@pytest.mark.parametrize(("epoch", "is_marked"), [(3, False), (2, True)])
def test_without_the_checkpoint_its_epoch_tells(
    report: Report, runs_dir: Path, epoch: int, is_marked: bool
) -> None:
    run = made(runs_dir, best={"epoch": epoch, "monitor": "train_loss", "figures": {}})
    run.write_json("eval/test.json", EVALUATED)
    said = "the evaluation below is of epoch 3; best.pt is another file now"
    assert any(said in text for text in report(run.folder).texts("li")) is is_marked


def calibrated(digest: str, **entries: Any) -> dict[str, Any]:
    """The content of best.calibration.json."""
    figures = {"test": {"before": {"ece": [0.2]}, "after": {"ece": [0.1]}}}
    usual = {"temperatures": [1.5], "examples": {"valid": 1250}, "figures": figures, "warnings": ["few"]}
    return {"sha256": digest, "weights": None} | usual | entries


def test_a_calibration_is_told_and_what_is_from_before_it_is_marked(report: Report, runs_dir: Path) -> None:
    run = made(runs_dir)
    digest = checkpoint_of(run)
    run.write_json("eval/test.json", EVALUATED | {"sha256": digest})
    for name in ("calibration", "confusion_matrix"):
        (run.plots / f"{name}.png").write_bytes(PNG + name.encode())
        os.utime(run.plots / f"{name}.png", (1, 1))
    run.write_json("checkpoints/best.calibration.json", calibrated(digest))
    page = report(run.folder)
    fitted = "Calibrated by dlrun calibrate: temperature 1.5, fitted on 1,250 validation examples."
    assert fitted in page.texts("p") and "few" in page.texts("li")
    assert page.tables()["Figures as trained and calibrated"][1:] == [["test_ece", "0.2000", "0.1000"]]
    before = "the evaluation below is from before dlrun calibrate: dlrun eval small-001 evaluates it again"
    assert before in page.texts("li")
    marked = [own["alt"].endswith("; from before dlrun calibrate.") for own, _ in page.of("img")]
    assert marked == [True, False]  # a temperature changes no decision
    run.write_json("eval/test.json", EVALUATED | {"sha256": digest, "temperatures": [1.5]})
    os.utime(run.plots / "calibration.png")
    page = report(run.folder)
    assert before not in page.texts("li")
    assert not [own for own, _ in page.of("img") if "before" in own["alt"]]
    run.best.unlink()  # as in a copy without the weights
    assert fitted in report(run.folder).texts("p")


def test_thresholds_are_told(report: Report, runs_dir: Path) -> None:
    run = made(runs_dir)
    digest = checkpoint_of(run)
    threshold = {
        "metric": {"name": "f1", "average": "macro"},
        "above": {"spam": 0.25, "<i>": 0.5},
        "examples": {"valid": 20},
        "figures": {"valid": {"before": {"f1": [0.5]}, "after": {"f1": [0.75]}}},
    }
    content = calibrated(digest, temperatures=[], figures={}, threshold=threshold)
    run.write_json("checkpoints/best.calibration.json", content)
    page = report(run.folder)
    said = "Thresholds by dlrun calibrate: 2 labels above probabilities of 0.25 to 0.5, chosen by"
    assert f"{said} f1 (average macro) on 20 validation examples." in page.texts("p")
    tables = page.tables()
    labels = tables["The probability above which each label is predicted"]
    assert labels[1:] == [["spam", "0.25"], ["<i>", "0.5"]]
    assert tables["Figures without and with thresholds"][1:] == [["valid_f1", "0.5000", "0.7500"]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (calibrated("other"), "is of an earlier best.pt, and is not used: dlrun calibrate small-001"),
        (calibrated("other", temperatures=["<b>"]), "it is no file that dlrun calibrate writes"),
        ([], "it is no file that dlrun calibrate writes"),
    ],
)
def test_a_calibration_that_is_not_used_is_named(
    report: Report, runs_dir: Path, content: Any, said: str
) -> None:
    run = made(runs_dir)
    checkpoint_of(run)
    run.write_json("checkpoints/best.calibration.json", content)
    page = report(run.folder)
    assert any(said in text for text in page.texts("li"))
    assert "Figures as trained and calibrated" not in page.tables()


def test_commands_name_the_folder_of_own_parts_if_a_run_has_some(
    report: Report, runs_dir: Path, tmp_path: Path
) -> None:
    parts = tmp_path / "my parts"
    (parts / "architecture").mkdir(parents=True)
    (parts / "architecture" / "own.py").write_text('"""Own."""\n\n\ndef own(shape, outputs): ...\n')
    run = made(runs_dir)
    usual = {"dlrun reproduce small-001\ndlrun train config.yaml"}
    assert usual <= {*report(run.folder, "--parts", parts).texts("code")}  # it needs none of them
    run.config.write_text(run.config.read_text().replace("name: mlp", "name: own"))
    page = report(run.folder)
    need = "They need parts that are not of dlrun: with --parts and the folder of your own parts."
    assert usual <= {*page.texts("code")} and page.texts("p").count(need) == 2
    page = report(run.folder, "--parts", parts)
    ending = f"--parts '{parts}'"
    again = f"dlrun reproduce small-001 {ending}\ndlrun train config.yaml {ending}"
    assert again in page.texts("code") and need not in page.texts("p")
    assert any(f"dlrun eval small-001 {ending} writes one" in text for text in page.texts("p"))
    page = report(run.folder, made(runs_dir).folder, "--parts", parts)
    assert any(text.startswith("dlrun compare") and text.endswith(ending) for text in page.texts("code"))
    (parts / "architecture" / "mlp.py").write_text(
        '"""Own."""\n\n\ndef mlp(shape, outputs):\n    return shape\n'
    )
    page = report(made(runs_dir).folder, "--parts", parts, warns="stands in for dlrun's own")
    assert any(text.endswith(f"config.yaml {ending}") for text in page.texts("code"))
