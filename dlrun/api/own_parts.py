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
from tempfile import TemporaryDirectory
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from dlrun.config.registry import FOLDERS, read_part
from dlrun.errors import UserError, nearest
from dlrun.results.places import PathLike, expanded, note_made_parts
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
    if not isinstance(kind, str):
        raise UserError("the decorator names the kind of the part", fix='write @dlrun.part("architecture")')
    if kind not in FOLDERS:
        raise UserError(f"there is no kind of part {kind!r}{nearest(kind, FOLDERS)}")
    home = expanded(folder or os.environ.get("DLRUN_PARTS") or "dlrun_parts")

    def make(function: Part) -> Part:
        if not isinstance(function, FunctionType | type) or not function.__name__.isidentifier():
            what = f"a part is a function with a name of its own, and this is a {type(function).__name__}"
            raise UserError(what, fix="write it with def")
        path = home / kind / f"{function.__name__}.py"
        if path.exists() and not path.read_text(encoding="utf-8").startswith(_HEAD):
            what = f"{path} is there, and was not made by dlrun.part"
            raise UserError(what, fix="give the function another name")
        text = _HEAD + source_of_part(function, constants)
        _refuse_no_part(kind, path.name, text)
        note_made_parts(home)
        make_folder(path.parent, "name another folder=…")
        write_atomically(path, lambda file: file.write(text.encode()))
        Path(cache_from_source(str(path))).unlink(missing_ok=True)  # of a file as old and as long as this one
        return function

    return make


def _refuse_no_part(kind: str, name: str, text: str) -> None:
    """Raise UserError if the text of a file defines no part, before it replaces one."""
    with TemporaryDirectory(prefix="dlrun-part-") as folder:
        draft = Path(folder, name)
        draft.write_text(text, encoding="utf-8")
        try:
            read_part(kind, draft)
        except UserError as error:
            raise UserError(error.what, fix=error.fix, where=f"the part {kind}/{draft.stem}") from None


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
        text = _definition(value, self._known)
        for used in sorted(_globals_of(symtable.symtable(text, name, "exec"))):
            if used in self._known and used not in self._met:
                self._add_used(name, used, self._known[used])
        self.definitions.append(f"\n\n{text}\n")

    def _add_used(self, user: str, name: str, value: Any) -> None:
        self._met.add(name)
        is_own = getattr(value, "__module__", None) == self._module
        if isinstance(value, ModuleType):
            whole = value.__name__
            self.imports.add(f"import {whole}" if whole == name else f"import {whole} as {name}")
        elif is_own and (isinstance(value, type | FunctionType) or hasattr(value, "__wrapped__")):
            if value.__name__ not in self._met or value.__name__ == name:
                self.add(value.__name__, value)
            if value.__name__ != name:
                self.definitions.append(f"\n\n{name} = {value.__name__}\n")
        elif found := _home_of(name, value):
            self.imports.add(f"from {found[0]} import {found[1]}{f' as {name}' * (found[1] != name)}")
        elif _is_literal(value):
            self.constants.append(f"{name} = {value!r}")
        else:
            what = f"{user} uses {name}, a {type(value).__name__} that no file can hold"
            raise UserError(what, fix=f"make it inside of {user}, or of a function that {user} calls")


def _home_of(name: str, value: Any) -> tuple[str, str] | None:
    """The module that has a function or a class, and its name there; None for what is of no module."""
    if not callable(value) or not hasattr(value, "__name__"):
        return None
    stated = getattr(value, "__module__", None)
    others = sorted(each for each in sys.modules if not each.startswith("_"))
    for module in [*([stated] if stated in sys.modules else []), *sorted(others, key=len)]:
        for attribute in dict.fromkeys((value.__name__, name)):
            if module != "__main__" and vars(sys.modules[module]).get(attribute) is value:
                return module, attribute
    return None


def _globals_of(scope: symtable.SymbolTable) -> set[str]:
    """The names that a piece of source takes from its module."""
    is_module = scope.get_type() == "module"
    own = {
        each.get_name()
        for each in scope.get_symbols()
        if each.is_referenced() and (each.is_global() or (is_module and not each.is_assigned()))
    }
    return own.union(*map(_globals_of, scope.get_children()))


def _definition(value: Any, known: dict[str, Any]) -> str:
    """The source of a function or a class, without the decorator `part`.

    Raises UserError for a function that takes values of the function around it.
    """
    whole = inspect.unwrap(value)
    if isinstance(whole, FunctionType) and whole.__closure__:
        outer = ", ".join(whole.__code__.co_freevars)
        what = f"{whole.__name__} uses {outer} of the function around it, which no file can hold"
        raise UserError(what, fix="make it an option of the part, or define the part outside of a function")
    try:
        source = dedent(inspect.getsource(value))
    except (OSError, TypeError):
        source = _class_in_cell(value)
    [node] = ast.parse(source).body
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        raise UserError(f"{ast.unparse(node)[:60]} is no definition by def or class", fix="write it as one")
    others = [each for each in node.decorator_list if not _is_part(each, known)]
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
    raise UserError(f"the source of {value!r} is not known", fix="give it a method, or define it in a file")


def _is_part(decorator: ast.expr, known: dict[str, Any]) -> bool:
    """True for the decorator `part(…)`, by whatever name it was imported, or `dlrun.part(…)`."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(called, ast.Attribute):
        return called.attr == "part"
    return isinstance(called, ast.Name) and known.get(called.id) is part


def _is_literal(value: Any) -> bool:
    """True for a value that its own text gives back."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
