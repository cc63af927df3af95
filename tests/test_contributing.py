"""CONTRIBUTING.md answers where something is: its folders, files and names are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import dlrun
from tests.test_imports import LAYERS

PACKAGE = Path(dlrun.__file__).parent
PAGE = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## How the code")[2]
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
