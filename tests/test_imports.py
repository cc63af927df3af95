"""Who may import whom: down only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dlrun
from dlrun.components import KINDS

PACKAGE = Path(dlrun.__file__).parent
# A module imports only what stands further down.
DOWN = [
    "__main__",
    "cli",
    "display",
    "reproduction",
    "sweep",
    "preparation",
    "search",
    "workers",
    "diff",
    "experiment",
    "continuing",
    "prediction",
    "preview",
    "evaluation",
    "plan",
    "trainer",
    "stacking",
    "settings",
    "deletion",
    "compare",
    "records",
    "sweep_folder",
    "runs",
    "layers",
    "checkpoint",
    "hardware",
    "graphs",
    "bare",
    "copies",
    "data",
    "axes",
    "where",
    "significance",
    "signals",
    "config",
    "components",
    "strict_yaml",
    "images",
    "tables",
    "files",
    "randomness",
    "vision",
    "options",
    "errors",
]
DRAWN = {"sweep": {"plots"}, "cli": {"plots._settings"}}  # which is no part: it draws many runs
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
PARTS = sorted(path.relative_to(PACKAGE) for kind in KINDS for path in (PACKAGE / kind).glob("*.py"))


def imported(path: Path) -> set[str]:
    """The dotted names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            module = node.module or ""
            found |= {f"dlrun.{alias.name}" for alias in node.names} if module == "dlrun" else {module}
    return found - {"dlrun.__version__"}


def own(names: set[str]) -> set[str]:
    return {name.removeprefix("dlrun.") for name in names if name.startswith("dlrun.")}


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_every_module_has_its_place() -> None:
    assert sorted(DOWN) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    below = set(DOWN[DOWN.index(module) + 1 :])
    assert own(imported(PACKAGE / f"{module}.py")) - DRAWN.get(module, set()) <= below


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_part_imports_what_is_below_evaluation_and_the_files_beside_it(part: Path) -> None:
    kind = part.parts[0]
    allowed = set(DOWN[DOWN.index("evaluation") + (kind != "plots") :])
    for name in own(imported(PACKAGE / part)):
        if name not in allowed:
            assert name.startswith(f"{kind}._"), f"{part} imports dlrun.{name}"


def test_only_components_imports_parts() -> None:
    for module in MODULES:
        names = own(imported(PACKAGE / f"{module}.py")) - DRAWN.get(module, set())
        assert not {name for name in names if name.split(".")[0] in KINDS}
        if module != "components":
            text = (PACKAGE / f"{module}.py").read_text()
            assert (
                "importlib" not in roots(imported(PACKAGE / f"{module}.py")) and "import_module" not in text
            )


def test_the_trainer_knows_no_paths_files_or_pictures() -> None:
    banned = {"rich", "matplotlib", "yaml", "pathlib", "os", "io", "json", "typer"}
    assert not roots(imported(PACKAGE / "trainer.py")) & banned


@pytest.mark.parametrize(
    ("library", "home"), [("rich", "display"), ("yaml", "strict_yaml"), ("typer", "cli")]
)
def test_only_one_module_knows(library: str, home: str) -> None:
    knowing = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if library in roots(imported(path))
    }
    assert knowing - {"config.py" if library == "yaml" else ""} == {f"{home}.py"}


def test_only_plots_know_matplotlib() -> None:
    knowing = {path for path in PACKAGE.rglob("*.py") if "matplotlib" in roots(imported(path))}
    assert knowing
    assert {path.parent.name for path in knowing} == {"plots"}
