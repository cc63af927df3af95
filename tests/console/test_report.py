"""`dlrun report`: a run, a sweep or a comparison in one file, in which all that is of a run is text."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from made_runs import EVALUATED, made, made_sweep, two_settings, with_rows
from reading_pages import PNG, ReadPage
from small_runs import contents, trained
from small_runs import planned as small_plan

from dlrun.console import report_page
from dlrun.run_folders.run import Run

Dlrun = Callable[..., Any]
Report = Callable[..., ReadPage]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(1)'>\"'`|"


@pytest.fixture
def run(runs_dir: Path) -> Run:
    """A trained run of two seeds with a claim."""
    runs_dir.mkdir()
    return trained(small_plan(seeds=[0, 1], epochs=4, expect={"train_accuracy": ">= 2"}), runs_dir)


def test_it_has_the_figures_that_the_run_has(report: Report, run: Run) -> None:
    page, summary = report("last"), run.summary()
    assert page.texts("h1") == ["small-001"]
    [figures] = [
        rows for caption, rows in page.tables().items() if caption.startswith("Figures of the model")
    ]
    assert figures[0][:2] == ["figure", "final, epoch 4"] and figures[0][-1] == "class prior"
    for name, final, *_, baseline in figures[1:]:
        own, split = summary["final"][name], name.partition("_")[0]
        assert final == f"{own['mean']:.4f} ± {own['sd']:.4f}"
        assert baseline == f"{summary['baselines'][split]['class prior'][name.partition('_')[2]]:.4f}"
    [claim] = page.tables()["Claims of the config"][1:]
    measured = summary["final"]["train_accuracy"]["mean"]
    assert claim == ["train_accuracy >= 2", f"{measured:.4f}", f"no, missed by {2 - measured:.4f}"]
    seeds = page.tables()["Figures of each seed after its last epoch"]
    place = seeds[0].index("train_loss")
    values = summary["final"]["train_loss"]["values"]
    assert [row[place] for row in seeds[1:3]] == [f"{value:.4f}" for value in values]
    layers = page.tables()["Layers, for one example"]
    assert sum(int(row[3]) for row in layers[1:]) == summary["parameters"]
    assert run.config.read_text().strip() in page.texts("code")
    assert summary["data"]["fingerprint"] in page.texts("td")
    assert {"dlrun reproduce small-001\ndlrun train config.yaml"} <= {*page.texts("code")}


def test_its_curves_are_means_and_spreads_over_the_seeds(report: Report, run: Run) -> None:
    [loss, accuracy] = report("last").charts()
    assert (loss["title"], accuracy["title"]) == ("loss", "accuracy")
    rows = run.rows()
    for line in (*loss["lines"], *accuracy["lines"]):
        measured: dict[int, list[float]] = {}
        for epoch, value in zip(rows["epoch"], rows[line["name"]], strict=True):
            if value is not None:
                measured.setdefault(epoch, []).append(value)
        assert line["epochs"] == list(measured)
        assert line["means"] == pytest.approx([fmean(values) for values in measured.values()], rel=1e-5)
        assert line["sds"] == pytest.approx([stdev(values) for values in measured.values()], rel=1e-4)
    baseline = run.summary()["baselines"]["test"]["class prior"]["loss"]
    assert loss["levels"] == [["class prior, test", pytest.approx(baseline, rel=1e-5)]]


def test_a_long_run_has_some_of_its_epochs_and_says_so(report: Report, runs_dir: Path) -> None:
    run = with_rows(made(runs_dir), [f"{epoch},0,{1 / epoch},0.1,1" for epoch in range(1, 2001)])
    page = report(run.folder)
    [chart] = page.charts()
    [line] = chart["lines"]
    assert (len(line["epochs"]), line["epochs"][0], line["epochs"][-1]) == (400, 1, 2000)
    assert line["means"] == pytest.approx([1 / epoch for epoch in line["epochs"]], rel=1e-5)
    assert line["epochs"] == sorted(set(line["epochs"])) and line["sds"] is None
    assert chart["is_log"] is True
    assert (
        "Of a line with more than 400 epochs, 400 are drawn, evenly spaced; the longest has 2,000."
        in page.texts("p")
    )


def test_an_epoch_of_one_seed_alone_has_no_spread(report: Report, runs_dir: Path) -> None:
    """The other one has stopped."""
    run = made(runs_dir, {"seeds": [0, 1]})
    page = report(with_rows(run, ["1,0,2,0.1,1", "1,1,4,0.1,1", "2,0,1,0.1,1"]).folder)
    [line] = page.charts()[0]["lines"]
    assert (line["means"], line["sds"]) == ([3, 1], [pytest.approx(2**0.5, rel=1e-5), None])


def test_a_rate_that_changes_has_a_chart(report: Report, runs_dir: Path) -> None:
    rising = with_rows(made(runs_dir), ["1,0,0.5,0.1,1", "2,0,0.4,0.2,1"])
    steady = with_rows(made(runs_dir), ["1,0,0.5,0.1,1", "2,0,0.4,0.1,1"])
    assert [chart["title"] for chart in report(rising.folder).charts()] == ["loss", "learning rate"]
    assert [chart["title"] for chart in report(steady.folder).charts()] == ["loss"]


def test_everything_of_a_run_is_text(report: Report, dlrun: Dlrun, runs_dir: Path, tmp_path: Path) -> None:
    run = made(
        runs_dir,
        final={f"test_{HOSTILE}": [0.5]},
        warnings=[HOSTILE],
        command=["dlrun", "train", HOSTILE],
        baselines={"test": {HOSTILE: {"accuracy": 0.5}}},
        best={"epoch": 3, "monitor": HOSTILE, "figures": {}},
        machine={"processor": HOSTILE},
    )
    with_rows(run, ["1,0,0.5,0.1,1"], f'epoch,seed,"test_{HOSTILE}",lr,seconds'.replace('>"', '>""'))
    evaluated = EVALUATED | {"per_class": {HOSTILE: EVALUATED["per_class"]["cat"]}}
    run.write_json("eval/test.json", evaluated)
    page = report(run.folder)
    of_charts, of_page = (page.of("script", **kind) for kind in ({"type": "application/json"}, {}))
    assert len(of_page) - len(of_charts) == 1 and "use strict" in of_page[-1][1]
    assert [page.charts()[0]["lines"][0]["name"]] == [f"test_{HOSTILE}"]
    assert HOSTILE in page.texts("li") and HOSTILE in page.texts("th")
    for _, attributes, _ in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert not [
            attributes[name] for name in ("src", "href") if name in attributes and HOSTILE in attributes[name]
        ]
    card = tmp_path / "card"
    assert dlrun("report", run.folder, "--markdown", "-o", card).code == 0
    outside = re.sub(r"^```.*?^```$", "", (card / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<(?!!-- written)", outside)


@pytest.mark.parametrize("value", [["x"], {"a": {"b": [1, "c"]}}, "text", 1e400, -1, [{"epoch": None}]])
def test_entries_of_another_form_are_left_out_by_name(report: Report, runs_dir: Path, value: object) -> None:
    entries = ["final", "best", "baselines", "expect", "seeds", "machine", "git", "data", "layers"]
    run = made(runs_dir)
    (run.folder / "summary.json").write_text(json.dumps(run.summary() | dict.fromkeys(entries, value)))
    said = "left out, as summary.json has them in a form that dlrun does not write: "
    [line] = [text for text in report(run.folder).texts("li") if text.startswith(said)]
    assert sorted(line.removeprefix(said).split(", ")) == sorted(entries)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no summary.json that can be read: figures are missing"),
        ("[", "there is no summary.json that can be read: figures are missing"),
        ('{"status": "interrupted"}', "the run is not complete: figures are those so far"),
    ],
)
def test_a_run_without_results_says_so(report: Report, runs_dir: Path, text: str, said: str) -> None:
    run = made(runs_dir)
    (run.folder / "summary.json").write_text(text)
    assert said in report(run.folder).texts("li")


def test_the_error_that_ended_a_run_is_told(report: Report, runs_dir: Path) -> None:
    run = made(
        runs_dir,
        status="diverged",
        error="error: the loss is nan   fix: lower optimizer.lr",
        planned_epochs=9,
        seconds=2.0,
    )
    said = "Diverged after epoch 3 in 2.0 s (of 9 epochs). Error: the loss is nan. Fix: lower optimizer.lr."
    assert said in report(run.folder).texts("p")


def test_a_run_that_ended_before_it_had_figures_says_so_and_is_not_to_be_evaluated(
    report: Report, runs_dir: Path
) -> None:
    page = report(made(runs_dir, status="diverged", epochs=0, final={}).folder)
    assert "There are no figures: no epoch was completed." in page.texts("p")
    assert not [text for text in page.texts("p") if "dlrun eval" in text]


def test_figures_in_the_unit_of_the_target_have_it(report: Report, runs_dir: Path) -> None:
    final = {"test_mae": [2.5], "test_rmse_average": [3.0], "test_r2": [0.5], "test_lost": [1.0]}
    run = made(runs_dir, final=final, data={"fingerprint": "abc", "unit": "€"})
    with_rows(run, ["1,0,2.5,0.5,0.1,1"], "epoch,seed,test_mae,test_r2,lr,seconds")
    of_targets = {"per_target": {"rent": {"mae": 2.5, "r2": 0.5}}, "unit": "€"}
    figures = {"metrics": {"mae": 2.5, "r2": 0.5}, "per_seed": {"0": {"loss": 7.0, "mae": 2.5, "r2": 0.5}}}
    run.write_json("eval/test.json", EVALUATED | {"baselines": {}} | of_targets | figures)
    page = report(run.folder)
    tables = page.tables()
    names = [row[0] for row in tables["Figures"][1:]]
    assert names == ["test_mae, €", "test_rmse_average, €", "test_r2", "test_lost"]
    assert [chart["title"] for chart in page.charts()] == ["MAE, €", "R²"]
    assert [row[0] for row in tables["small-001, epoch 3, 4 test examples"]][1:] == ["loss", "mae, €", "r2"]
    assert tables["Each target of test"][0] == ["target", "mae, €", "r2"]
    assert tables["Predicted intervals of test"][0][-1] == "mean width, €"


def test_an_evaluation_is_part_of_it(report: Report, runs_dir: Path) -> None:
    run = made(runs_dir)
    assert any("dlrun eval small-001 writes one" in text for text in report(run.folder).texts("p"))
    run.write_json("eval/test.json", EVALUATED)
    for number, broken in enumerate(({"per_class": 3}, {"per_seed": {}}, {"per_seed": {"0": {"loss": 1}}})):
        run.write_json(f"eval/x{number}.json", EVALUATED | broken)
    page = report(run.folder)
    tables = page.tables()
    assert tables["small-001, epoch 3, 4 test examples"] == [
        ["figure", "model", "class prior"],
        ["loss", "0.7000", "1.1000"],
        ["accuracy", "0.5000", "0.3000"],
    ]
    assert tables["Each class of test"][1] == ["cat", "0.2500", "–", "0.5000", "4"]
    assert tables["Predicted intervals of test"][1] == ["rent", "0.1 to 0.9", "80.0 %", "75.0 %", "3.5000"]
    assert tables["Predicted quantiles of test"][1] == ["rent", "0.1", "12.5 %"]
    left_out = [text for text in page.texts("li") if "it is no report that dlrun eval writes" in text]
    assert len(left_out) == 3


def test_pictures_are_in_the_file_and_others_are_not(report: Report, runs_dir: Path, tmp_path: Path) -> None:
    run = made(runs_dir)
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG + b"secret")
    (run.plots / "mistakes.png").write_bytes(PNG)
    (run.plots / "link.png").symlink_to(secret)
    (run.plots / "page.png").write_text("<svg onload='alert(1)'>")
    (run.folder / "eval").mkdir()
    (run.folder / "eval" / "test_mistakes.png").write_bytes(PNG)  # the same again
    page = report(run.folder)
    [(image, _)] = page.of("img")  # not twice, and neither the link nor the file that is no picture
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == PNG
    assert (image["width"], image["height"]) == ("1", "1")
    assert image["alt"].startswith("The ") and image["alt"].endswith(".")


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_pictures_of_one_seed_speak_of_no_others(report: Report, runs_dir: Path, seeds: list[int]) -> None:
    run = made(runs_dir, {"seeds": seeds})
    (run.plots / "confusion_matrix.png").write_bytes(PNG)
    [(image, _)] = report(run.folder).of("img")
    of_seeds = ", means over seeds" * (len(seeds) > 1)
    assert image["alt"] == f"The confusion matrix, row-normalised: percentages of each true class{of_seeds}."


def test_the_largest_pictures_are_left_out_of_a_large_report(
    report: Report, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(runs_dir)
    for name, more in (("mistakes", 10), ("filters", 5_000), ("weights", 90_000)):
        (run.plots / f"{name}.png").write_bytes(PNG + bytes(more))
    monkeypatch.setattr(report_page, "MOST_OF_PICTURES", 20_000)
    page = report(run.folder, warns="weights.png is left out of the report, for its 88.0 KiB")
    assert len(page.of("img")) == 2
    assert any("weights.png is left out of the report" in text for text in page.texts("li"))


def test_it_asks_for_nothing_from_elsewhere_and_can_be_listened_to(report: Report, run: Run) -> None:
    run.write_json("eval/test.json", EVALUATED)
    (run.plots / "mistakes.png").write_bytes(PNG)
    page = report("last")
    for tag, attributes, _ in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)
        assert tag not in ("link", "iframe", "object")
    levels = [int(tag[1]) for tag, _, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(own.get("alt") for own, _ in page.of("img"))
    assert all(own.get("scope") in ("col", "row") and text for own, text in page.of("th"))
    anchors = [own["id"] for _, own, _ in page.elements if "id" in own]
    assert len(anchors) == len({*anchors})
    assert all(own["href"][1:] in anchors for own, _ in page.of("a"))


def test_the_same_run_gives_the_same_bytes_and_stays_as_it_is(dlrun: Dlrun, run: Run, tmp_path: Path) -> None:
    before = contents(run.folder)
    for name in ("a.html", "b.html"):
        assert dlrun("report", "last", "-o", tmp_path / name).code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert contents(run.folder) == before


def test_several_runs_are_compared_as_by_compare(report: Report, dlrun: Dlrun, runs_dir: Path) -> None:
    for run in two_settings(runs_dir):
        seeds = run.summary()["seeds"]
        with_rows(run, [f"{epoch},{seed},{seed + epoch},0.1,1" for epoch in (1, 2, 3) for seed in seeds])
    page = report("small")
    found = json.loads(dlrun("compare", "small", "--json").out)
    [settings] = [
        rows for caption, rows in page.tables().items() if caption.startswith("The keys that differ")
    ]
    assert settings[0] == ["optimizer.lr", "train_accuracy", "seeds", "beside the first", "run"]
    assert [row[-2] for row in settings[1:]] == [each["verdict"] for each in found["settings"]]
    assert "better by" in settings[2][-2]
    assert [row[-1] for row in settings[1:]] == ["small-001", "small-002"]
    assert [row[0] for row in page.tables()["The runs, with their best and last figures"][1:]] == [
        "small-001",
        "small-002",
    ]
    assert "dlrun compare small" in page.texts("code")


def test_a_sweep_has_a_line_for_each_setting(report: Report, runs_dir: Path) -> None:
    sweep = made_sweep(runs_dir, [{"epochs": 2}, {"epochs": 3}], [[0.5, 0.7], [0.8, 0.9]])
    for trial in sweep.trials:
        with_rows(trial.run, [f"{epoch},{seed},{epoch + seed},0.1,1" for epoch in (1, 2) for seed in (0, 1)])
        (trial.run.folder / "summary.json").write_text(
            json.dumps(
                trial.run.summary()
                | {"final": trial.run.summary()["final"] | {"train_loss": {"values": [2, 3]}}}
            )
        )
    sweep.plots.mkdir()
    (sweep.plots / "settings.png").write_bytes(PNG)
    page = report("small-sweep")
    loss = next(chart for chart in page.charts() if chart["title"] == "train_loss")
    assert [line["name"] for line in loss["lines"]] == ["epochs 3", "epochs 2"]
    assert loss["lines"][0]["means"] == [1.5, 2.5]
    assert page.of("img")[0][0]["alt"] == "The compared figure of each setting."
    assert page.texts("h1") == ["small-sweep-001"]


def test_a_card_is_a_readme_with_its_pictures_beside_it(
    dlrun: Dlrun, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("curves.png", "mistakes.png"):
        (run.plots / name).write_bytes(PNG + name.encode())
    assert dlrun("report", "last", "--markdown").out == "small-001-report/README.md\n"
    assert dlrun("report", "last", "--markdown").code == 0  # its own is replaced
    card = (tmp_path / "small-001-report" / "README.md").read_text()
    assert "# small-001" in card
    accuracy = run.summary()["final"]["train_accuracy"]
    assert f"| train\\_accuracy | {accuracy['mean']:.4f} ± {accuracy['sd']:.4f} |" in card
    named = re.findall(r"!\[.+\]\((.+)\)", card)
    assert sorted(named) == ["curves.png", "mistakes.png"]
    assert {path.name for path in (tmp_path / "small-001-report").iterdir()} == {"README.md", *named}
    for table in re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE):
        assert len({line.replace(r"\|", "").count("|") for line in table.splitlines()}) == 1, table
    assert run.config.read_text().strip() in card


@pytest.mark.parametrize("name", ["README.md", "mistakes.png"])
def test_a_file_of_someone_else_is_not_replaced(dlrun: Dlrun, run: Run, tmp_path: Path, name: str) -> None:
    (run.plots / "mistakes.png").write_bytes(PNG)
    (tmp_path / name).write_text("# Mine\n")
    done = dlrun("report", "last", "--markdown", "-o", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert f"there is a {name} that dlrun report did not write" in done.err
    assert (tmp_path / name).read_text() == "# Mine\n"


@pytest.mark.parametrize(
    ("content", "is_replaced"),
    [
        ("<html>mine", False),
        ("", True),
        ('<!doctype html>\n<meta name="generator" content="dlrun 0.1.0">', True),
        ('<meta name="generator" content="another">', False),
    ],
)
def test_a_page_of_someone_else_is_not_replaced(
    dlrun: Dlrun, runs_dir: Path, tmp_path: Path, content: str, is_replaced: bool
) -> None:
    made(runs_dir)
    path = tmp_path / "mine.html"
    path.write_text(content)
    done = dlrun("report", "last", "-o", path)
    assert done.code == (0 if is_replaced else 2)
    if is_replaced:
        assert dlrun("report", "last", "-o", path).code == 0  # its own
    else:
        assert f"there is a mine.html that dlrun report did not write\n  where: {path}" in done.err
        assert "fix: name another file with -o, or move the file" in done.err
        assert path.read_text() == content


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("last", "-o", "r.png"), "r.png is not the name of an HTML file"),
        (("last", "--markdown", "-o", "r.html"), "r.html is the name of a file"),
        (("last", "--metric", "seconds"), "there is one run, small-001: nothing to compare"),
        (("lost",), "there is no run lost"),
    ],
)
def test_what_cannot_be_written_is_refused(
    dlrun: Dlrun,
    runs_dir: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made(runs_dir)
    monkeypatch.chdir(tmp_path)
    done = dlrun("report", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not list(tmp_path.glob("*.html")) and not list(tmp_path.glob("*-report"))


def test_runs_of_which_none_is_finished_are_not_compared(dlrun: Dlrun, runs_dir: Path) -> None:
    for _ in range(2):
        made(runs_dir, status="failed")
    assert "there is no finished run to compare" in dlrun("report", "small").err


def test_names_in_tables_break_behind_dots_and_underscores_alone(
    report: Report, run: Run, tmp_path: Path
) -> None:
    page = report("last")
    html = (tmp_path / "r.html").read_text()
    assert '<th scope="row">train_<wbr>accuracy</th>' in html
    assert '<th scope="row">train_<wbr>accuracy &gt;= 2</th>' in html
    assert not re.search(r"\d\.<wbr>\d", html)
    assert any("train_accuracy" in row for rows in page.tables().values() for row in rows)
