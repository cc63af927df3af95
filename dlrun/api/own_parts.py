"""`dlrun.part`: a part of one's own from a notebook or a program, written into a file."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import symtable
import sys
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from dlrun.api.places import PathLike, expanded, note_made_parts
from dlrun.config.registry import FOLDERS, read_part
from dlrun.errors import UserError, nearest
from dlrun.system.files import make_folder, write_atomically

Part = TypeVar("Part", bound=Callable[..., Any])
_HEAD = "# Written by dlrun.part, which replaces this file when the part is made anew.\n"


def part(
    kind: str, *, folder: PathLike | None = None, **constants: bool | int | str
) -> Callable[[Part], Part]:
    """Make the decorated function a part of a kind, such as "architecture", that configs name.

    Its source is written into the file KIND/NAME.py of `folder`, by default DLRUN_PARTS or dlrun_parts/, with
    the imports, functions, classes and constants that it uses, so that the run can be resumed and evaluated
    without this program: `dlrun resume RUN --parts dlrun_parts`. `constants` are those that a file of this
    kind may have, such as `batchwise=True` of a loss.
    Raises UserError for a kind that there is not, for a function that uses what no file can hold, and for a
    file of that name that was not made here.
    """
    if kind not in FOLDERS:
        raise UserError(f"there is no kind of part {kind!r}{nearest(kind, FOLDERS)}")
    home = expanded(folder or os.environ.get("DLRUN_PARTS") or "dlrun_parts")

    def make(function: Part) -> Part:
        path = home / kind / f"{function.__name__}.py"
        if path.exists() and not path.read_text(encoding="utf-8").startswith(_HEAD):
            what = f"{path} is there, and was not made by dlrun.part"
            raise UserError(what, fix="give the function another name")
        text = _HEAD + source_of_part(function, constants)
        make_folder(path.parent, "name another folder=…")
        write_atomically(path, lambda file: file.write(text.encode()))
        Path(cache_from_source(str(path))).unlink(missing_ok=True)  # of a file as old and as long as this one
        read_part(kind, path)  # raises for what is no part
        note_made_parts(home)
        return function

    return make


def source_of_part(function: Callable[..., Any], constants: dict[str, Any] | None = None) -> str:
    """The text of a file that defines a function, after all that it uses of its module."""
    module = sys.modules.get(function.__module__)
    found = _Definitions(vars(module) if module else {}, function.__module__)
    found.add(function.__name__, function)
    lines = [f"{name} = {value!r}" for name, value in (constants or {}).items()]
    return "\n".join(["", *sorted(found.imports), "", *lines, *found.constants, *found.definitions])


class _Definitions:
    """The imports, constants and definitions that a function needs, each once, in the order of their use."""

    def __init__(self, known: dict[str, Any], module: str) -> None:
        self._known, self._module, self._met = known, module, set[str]()
        self.imports, self.constants, self.definitions = set[str](), list[str](), list[str]()

    def add(self, name: str, value: Any) -> None:
        """Add a definition of the module, after those that it uses."""
        self._met.add(name)
        text = _definition(value)
        for used in sorted(_globals_of(symtable.symtable(text, name, "exec"))):
            if used in self._known and used not in self._met:
                self._add_used(name, used, self._known[used])
        self.definitions.append(f"\n\n{text}\n")

    def _add_used(self, user: str, name: str, value: Any) -> None:
        self._met.add(name)
        if isinstance(value, ModuleType):
            whole = value.__name__
            self.imports.add(f"import {whole}" if whole == name else f"import {whole} as {name}")
        elif isinstance(value, type | FunctionType) and value.__module__ == self._module:
            self.add(name, value)
        elif hasattr(value, "__module__") and hasattr(value, "__qualname__") and value.__module__:
            as_name = "" if value.__qualname__ == name else f" as {name}"
            self.imports.add(f"from {value.__module__} import {value.__qualname__}{as_name}")
        elif _is_literal(value):
            self.constants.append(f"{name} = {value!r}")
        else:
            what = f"{user} uses {name}, a {type(value).__name__} that no file can hold"
            raise UserError(what, fix=f"make it inside of {user}, or of a function that {user} calls")


def _globals_of(scope: symtable.SymbolTable) -> set[str]:
    """The names that a piece of source takes from its module."""
    is_module = scope.get_type() == "module"
    own = {
        each.get_name()
        for each in scope.get_symbols()
        if each.is_referenced() and (each.is_global() or (is_module and not each.is_assigned()))
    }
    return own.union(*map(_globals_of, scope.get_children()))


def _definition(value: Any) -> str:
    """The source of a function or a class, without the decorator `part`."""
    try:
        source = dedent(inspect.getsource(value))
    except (OSError, TypeError):
        source = _class_in_cell(value)
    [node] = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    others = [each for each in node.decorator_list if not _is_part(each)]
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join([*(f"@{ast.unparse(each)}" for each in others), *lines])


def _class_in_cell(value: Any) -> str:
    """The source of a class that was defined in a cell of a notebook, for which Python knows no file.

    Raises UserError if no method tells the cell.
    """
    for method in vars(value).values() if isinstance(value, type) else ():
        if isinstance(method, FunctionType):
            text = "".join(linecache.getlines(method.__code__.co_filename))
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and node.name == value.__name__:
                    start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                    return dedent("\n".join(text.splitlines()[start - 1 : node.end_lineno]))
    raise UserError(f"the source of {value!r} is not known", fix="define it in a cell or in a file")


def _is_part(decorator: ast.expr) -> bool:
    """True for the decorator `part(…)` or `dlrun.part(…)`."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "part"


def _is_literal(value: Any) -> bool:
    """True for a value that its own text gives back."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
