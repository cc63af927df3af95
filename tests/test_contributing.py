"""CONTRIBUTING.md answers where something is, and its code runs: both are those of the project."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import blocks, page, parts_of
from places import PROJECT
from small_runs import differences, go_on, lines_of_points, outcome, own_parts, planned, trained

import dlrun
from dlrun.data.hash_split import text_keys
from dlrun.errors import UserError
from dlrun.training.plan_trials import try_on
from tests.test_imports import LAYERS

PACKAGE = Path(dlrun.__file__).parent
WHOLE = page("CONTRIBUTING.md")
PAGE = WHOLE.partition("\n## How the code")[2]
ROWS = re.findall(r"^\| (.+?) \| `([a-z_/]+(?:\.py)?)` \| (.+) \|$", PAGE, re.MULTILINE)


def names_in(path: Path) -> set[str]:
    """The functions, classes, methods and constants that a file or the files of a folder define."""
    found = set[str]()
    for file in [path] if path.is_file() else path.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{own.name}" for own in node.body if isinstance(own, ast.FunctionDef)}
                fields = (own.target for own in node.body if isinstance(own, ast.AnnAssign))
                found |= {field.id for field in fields if isinstance(field, ast.Name)}
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def test_the_folders_are_listed_in_the_order_of_their_imports() -> None:
    listed = re.findall(r"^([a-z_]+)(?:/|\.py) +\S", PAGE, re.MULTILINE)
    assert listed == LAYERS


def test_both_tables_are_found() -> None:
    assert len(ROWS) > 25


@pytest.mark.parametrize(("what", "file", "answer"), ROWS, ids=lambda value: value[:40])
def test_what_is_looked_for_is_where_the_table_says(what: str, file: str, answer: str) -> None:
    named = re.findall(r"`([\w./]+)`", answer)
    files = [PACKAGE / file, *(PACKAGE / name for name in named if "/" in name)]
    assert [path for path in files if not path.exists()] == [], what
    known = set[str]().union(*map(names_in, files))
    wanted = {name for name in named if "/" not in name} - {"optimizer.lr"}
    assert wanted - known == set(), what


# ------------------------------------------------------------------------ its code


def test_the_commands_for_those_who_begin_are_there() -> None:
    (_, _, commands), *_ = blocks(WHOLE)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    stated = {each.split(":")[0] for each in project["tool"]["pytest"]["ini_options"]["markers"]}
    assert {*re.findall(r"-m (\w+)  ", commands)} <= stated
    assert {*re.findall(r"\.\[(\w+)\]", commands)} <= project["project"]["optional-dependencies"].keys()
    files = [*re.findall(r"^(\.ci/\w+)", commands, re.MULTILINE), *re.findall(r"-c (\S+)", commands)]
    assert len(files) == 2
    assert all((PROJECT / file).is_file() for file in files)


def readings(path: Path, n: int, seed: int) -> Path:
    """A file of readings for the dataset of the page: the state is where the numbers are."""
    states = {"a": "idle", "b": "broken"}
    lines = [f"{line[:-1]}{states[line[-1]]}" for line in lines_of_points(n, seed)]
    path.write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
    return path


def test_its_dataset_trains_and_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, parts_of("CONTRIBUTING.md"))
    changes = {"dataset": {"name": "readings", "path": str(readings(tmp_path / "seen.txt", 80, 0))}}
    plan = planned(parts, **changes)
    loaded = plan.load()
    try_on(plan, loaded)
    lines = (tmp_path / "seen.txt").read_text(encoding="utf-8").splitlines()
    test = [line for line, key in zip(lines, text_keys(lines).tolist(), strict=True) if key % 1000 < 250]
    assert 10 < len(test) < 30
    assert sorted(loaded["test"].raw()[:, 0].tolist()) == pytest.approx(
        sorted(float(line.split()[0]) for line in test)
    )
    prepared, _ = loaded["train"].batch(torch.arange(len(loaded["train"])))
    torch.testing.assert_close(prepared.std(0), torch.ones(2))
    run = trained(planned(parts, **changes), tmp_path, stop_after=1)
    go_on(run, changes, parts)
    assert not differences(outcome(trained(plan, tmp_path)), outcome(run))


def test_its_dataset_is_judged_on_other_files_and_predicts_new_ones(
    dlrun: Callable[..., Any], tiny: Path, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, parts_of("CONTRIBUTING.md"))
    seen, new = readings(tmp_path / "seen.txt", 80, 0), readings(tmp_path / "new.txt", 20, 1)
    mine = ("--parts", parts.folder)
    assert dlrun("train", tiny, f"dataset={{name: readings, path: {seen}}}", *mine).code == 0
    both = tmp_path / "both.txt"
    both.write_text(f"{seen.read_text()}\n{new.read_text()}", encoding="utf-8")
    judged = dlrun("eval", "last", "--on", both, *mine)
    assert judged.code == 0, judged.err
    assert "were trained on" in judged.out + judged.err
    said = dlrun("predict", "last", new, "--csv", *mine)
    assert [row.split(",")[0] for row in said.out.splitlines()[1:]] == [f"line {n}" for n in range(1, 22)]
    new.write_text("0.1 0.2 asleep")
    refused = dlrun("eval", "last", "--on", new, *mine)
    assert (refused.code, refused.err.splitlines()[0]) == (2, "error: asleep is no state")
    with pytest.raises(UserError, match="does not begin with two numbers"):
        new.write_text("0.1 warm idle")
        parts.find("dataset", "readings")(tmp_path, path=str(new)).read()
