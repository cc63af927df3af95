"""CONTRIBUTING.md answers where something is: its folders, files and names are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from small_runs import differences, go_on, outcome, own_parts, planned, trained

import dlrun
from dlrun.training.evaluation import evaluate_run
from dlrun.training.plan_trials import try_on
from dlrun.training.trained import open_checkpoint
from tests.test_imports import LAYERS

PACKAGE = Path(dlrun.__file__).parent
WHOLE_PAGE = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGE = WHOLE_PAGE.partition("\n## How the code")[2]
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


# ------------------------------------------------------------------------ the parts that the page shows

# A block of code belongs to the last file named before it.
EXAMPLES = {
    re.findall(r"`(\w+/\w+\.py)`", before)[-1]: code
    for before, code in re.findall(r"\n(A [^`]*`\w+/\w+\.py`.*?)```python\n(.*?)```", WHOLE_PAGE, re.DOTALL)
}


def test_every_part_that_is_shown_is_found() -> None:
    shown = {"dataset/blobs.py", "loss/centres.py", "metrics/macro_f1.py", "architecture/one_hidden.py"}
    assert shown == EXAMPLES.keys()


def test_the_parts_that_are_shown_train_evaluate_and_are_right(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, EXAMPLES)
    chosen = {path.split("/")[0]: Path(path).stem for path in EXAMPLES}
    changes = chosen | {"metrics": ["accuracy", "macro_f1"], "epochs": 20, "seeds": [0, 1]}
    plan = planned(parts, **changes)
    try_on(plan, plan.load())
    unbroken = trained(plan, tmp_path)
    run = trained(planned(parts, **changes), tmp_path, stop_after=7)
    go_on(run, changes, parts)
    assert not differences(outcome(unbroken), outcome(run))
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.best, "test")
    f1 = [row["f1"] for row in report["per_class"].values()]
    assert report["metrics"]["macro_f1"] == pytest.approx(sum(f1) / 3, abs=1e-6)
    assert report["metrics"]["accuracy"] > 0.85
