"""A folder imports only from the folders below it, and the imports inside a folder have no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dlrun
from dlrun.config.registry import FOLDERS

PACKAGE = Path(dlrun.__file__).parent
# A file imports what stands further down, or beside it in its folder.
LAYERS = [
    "__main__",
    "api",
    "console",
    "sweeps",
    "results",
    "templates",
    "plots",
    "drawing",
    "training",
    *(
        "dataset",
        "architecture",
        "loss",
        "optimizer",
        "schedule",
        "average",
        "metrics",
        "augmentations",
        "task",
    ),
    "blocks",
    "tracking",
    "run_folders",
    "data",
    "config",
    "system",
    "errors",
]
PARTS = set(FOLDERS) - {"plots"}
FOR_PARTS = {"blocks", "data", "config", "system", "errors"}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
)


def file_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def nodes_of(module: str) -> Iterator[ast.AST]:
    """Yield every node of a module's source."""
    yield from ast.walk(ast.parse(file_of(module).read_text()))


@cache
def imported(module: str) -> frozenset[str]:
    """The dotted names that a file imports, anywhere in it: `dlrun.x.y` of dlrun's own, libraries whole."""
    found = set()
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            named = node.module or ""
            is_module = (PACKAGE.parent / named.replace(".", "/")).is_dir()
            found |= {f"{named}.{alias.name}" for alias in node.names} if is_module else {named}
    return frozenset(found - {"dlrun.__version__"})


def own(module: str) -> set[str]:
    """The modules of dlrun that a module imports, without `dlrun.`."""
    return {name.removeprefix("dlrun.") for name in imported(module) if name.startswith("dlrun.")}


def layer(module: str) -> str:
    return module.split(".")[0]


def libraries(module: str) -> set[str]:
    return {layer(name) for name in imported(module)}


def knowing(library: str) -> set[str]:
    return {module for module in MODULES if library in libraries(module)}


def test_every_folder_has_its_place() -> None:
    assert sorted(LAYERS) == sorted({layer(module) for module in MODULES})


def test_imports_point_down() -> None:
    assert {module: up for module in MODULES if (up := pointing_up(module))} == {}


def pointing_up(module: str) -> set[str]:
    """The modules that a module imports and may not."""
    here = layer(module)
    below = {here, *LAYERS[LAYERS.index(here) + 1 :]} - (set() if here in ("config", "templates") else PARTS)
    if here in PARTS:
        below = {here} | FOR_PARTS
    return {name for name in own(module) if layer(name) not in below}


@pytest.mark.parametrize("folder", sorted({layer(module) for module in MODULES}))
def test_no_folder_imports_in_a_circle(folder: str) -> None:
    inside = [module for module in MODULES if layer(module) == folder]
    graph = {module: {name for name in own(module) if layer(name) == folder} for module in inside}
    assert list(TopologicalSorter(graph).static_order()), "raises CycleError where there is one"


def test_only_the_registry_imports_parts_by_their_names() -> None:
    functions = ("import_module", "__import__")
    naming = [m for m in MODULES if any(function in file_of(m).read_text() for function in functions)]
    importing = {
        module
        for module in naming
        for node in nodes_of(module)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(functions)
    }
    assert importing == {"config.registry", "config.earlier_names"}


def test_the_loop_knows_no_paths_files_or_pictures() -> None:
    banned = {"rich", "matplotlib", "yaml", "pathlib", "os", "io", "json", "typer"}
    assert not libraries("training.loop") & banned


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("rich", {"console"}),
        ("jinja2", {"console"}),
        ("typer", {"console"}),
        ("yaml", {"config"}),
        ("matplotlib", {"templates", "plots", "drawing"}),
        ("tokenizers", {"data"}),
        ("pyarrow", {"data"}),
        ("openpyxl", {"data"}),
    ],
)
def test_a_library_is_known_in_one_place(library: str, homes: set[str]) -> None:
    assert {layer(module) for module in knowing(library)} == homes
