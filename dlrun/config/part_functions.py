"""The function of a part, found in its source: slips that show without importing it, each with a remedy."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from copy import copy
from inspect import signature
from pathlib import Path

from dlrun.errors import UserError, in_words

# The parameters that dlrun passes to the function of each kind, by position.
PASSED = {
    "dataset": ("root",),
    "architecture": ("shape", "outputs"),
    "loss": ("outputs", "targets"),
    "optimizer": ("parameters",),
    "schedule": ("progress",),
    "average": ("step",),
    "metrics": ("outputs", "targets"),
    "augmentations": ("inputs", "generator"),
    "plots": ("trained",),
    "task": ("data", "loss"),
}
# Those that it passes to a function that asks for them by these names.
_ASKED_FOR = {
    "dataset": ("known", "fold"),
    "architecture": ("data",),
    "augmentations": ("size",),
    "loss": ("inputs", "teacher"),
    "schedule": ("epochs", "figures"),
    "average": ("epochs",),
    "metrics": ("data", "weights"),
}
_GIVES = {
    "dataset": "Data(…)",
    "architecture": "an nn.Module",
    "loss": "a figure for each example, (n,)",
    "optimizer": "a torch.optim.Optimizer",
    "schedule": "the multiplier of the learning rate",
    "average": "the share of the averaged weights that is kept",
    "metrics": "a figure for each example, (n,)",
    "augmentations": "the changed inputs",
    "plots": "a Figure",
    "task": "a Task",
}


def function_of(kind: str, name: str, tree: ast.Module, path: Path) -> ast.FunctionDef:
    """The function of the part in its parsed file. Raises UserError if it is none, with the remedy."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == name:
            return statement
    form = f"def {name}({', '.join(PASSED[kind])}, *, …)"
    named = {own: statement for statement in tree.body for own in names_in(statement)}
    found = named.get(name)
    if isinstance(found, ast.ClassDef):
        what = f"{name} is a class, but a part is a function: the file must define a function {name}()"
        fix = f"give the class another name, and write {form} that returns {_GIVES[kind]}"
    elif found:
        what = f"{name} is no function by def: the file must define a function {name}()"
        fix = f"write {form} that returns {_GIVES[kind]}"
    else:
        what, fix = f"the file must define a function {name}()", f"write {form}, named as the file"
        functions = [own for own in tree.body if isinstance(own, ast.FunctionDef) and own.name[0] != "_"]
        if len(functions) == 1:
            found = functions[0]
            fix = f"the function and the file have one name: rename {found.name}(), or the file"
    raise UserError(what, where=f"{path}:{found.lineno}" if found else str(path), fix=fix)


def refuse_slips(kind: str, function: ast.FunctionDef, path: Path) -> None:
    """Raise UserError for parameters that dlrun does not pass, too few of them, and for no return."""
    name, arguments = function.name, function.args
    takes = [*arguments.posonlyargs, *arguments.args]
    names = [own.arg for own in takes]
    passed, asked_for = PASSED[kind], _ASKED_FOR.get(kind, ())
    if kind == "augmentations":
        first = "pixels" if names[:1] == ["pixels"] else "inputs"
        also = [own for own in ("targets", "masks") if own in names][:1]
        passed = (first, *also, "generator")
    if kind == "average" and names[:1] == ["epoch"]:
        passed = ("epoch",)
    makes_module = kind == "loss" and names in ([], ["data"])
    if never := [own for own in takes[len(passed) :] if own.arg not in asked_for]:
        said = in_words(own.arg for own in never)
        what = f"{name}() has {said} before a *, but dlrun passes only {in_words(passed)} there"
        fix = f"options stand after a *: {_with_options(function, never)}"
        raise UserError(what, where=f"{path}:{never[0].lineno}", fix=fix)
    if len(takes) < len(passed) and not makes_module and not (arguments.vararg and not takes):
        what = f"{name}() takes {in_words(names) or 'nothing'}, but dlrun passes {in_words(passed)}"
        raise UserError(what, where=f"{path}:{function.lineno}", fix=f"write {_with(function, passed)}")
    if not _gives_something(function):
        what = f"{name}() ends without a return: it gives None"
        where = f"{path}:{function.body[-1].end_lineno}"
        raise UserError(what, where=where, fix=f"return {_GIVES[kind]}")


def refuse_call(called: str, function: object, passed: tuple[str, ...]) -> None:
    """Raise UserError unless a function of the user's file can be called with what dlrun passes."""
    said = in_words(passed) or "nothing"
    if not callable(function):
        kind = type(function).__name__
        raise UserError(f"{called} is a {kind} instead of a function, to which dlrun passes {said}")
    try:
        signature(function).bind(*passed)
    except TypeError as error:
        fix = f"write def {called.partition('(')[0].split()[-1]}({', '.join(passed)})"
        raise UserError(f"{called} does not take what dlrun passes, {said}: {error}", fix=fix) from error
    except ValueError:  # it has no signature, as some that are written in C
        return


def names_in(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of a file defines or imports."""
    if isinstance(statement, ast.ClassDef | ast.AsyncFunctionDef | ast.FunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in statement.names)


def _with_options(function: ast.FunctionDef, options: list[ast.arg]) -> str:
    """The first line of a function, with some of its positional parameters after the star."""
    before = function.args
    takes = [*before.posonlyargs, *before.args]
    with_default = takes[len(takes) - len(before.defaults) :]
    defaults = dict(zip([own.arg for own in with_default], before.defaults, strict=True))
    after = copy(before)
    after.posonlyargs = []
    after.args = [own for own in takes if own not in options]
    after.defaults = [defaults[own.arg] for own in after.args if own.arg in defaults]
    after.kwonlyargs = [*(_typed(own, defaults.get(own.arg)) for own in options), *before.kwonlyargs]
    after.kw_defaults = [*(defaults.get(own.arg) for own in options), *before.kw_defaults]
    return f"def {function.name}({ast.unparse(after)})"


def _typed(option: ast.arg, default: ast.expr | None) -> ast.arg:
    """An option with its annotation, or with the type of its default."""
    if option.annotation:
        return option
    kind = type(default.value).__name__ if isinstance(default, ast.Constant) else "float"
    return ast.arg(option.arg, ast.Name(kind if kind in ("int", "float", "bool", "str") else "float"))


def _with(function: ast.FunctionDef, passed: Iterable[str]) -> str:
    """The first line of a function that takes what dlrun passes, and its own options."""
    after = copy(function.args)
    after.posonlyargs, after.args, after.defaults = [], [ast.arg(name) for name in passed], []
    return f"def {function.name}({ast.unparse(after)})"


def _gives_something(function: ast.FunctionDef) -> bool:
    """True unless a function ends without giving or raising anything, whatever happens."""
    if isinstance(function.body[-1], ast.Raise):
        return True
    return any(
        isinstance(node, ast.Yield | ast.YieldFrom)
        or (isinstance(node, ast.Return) and not _is_none(node.value))
        for statement in function.body
        for node in _outside_of_functions(statement)
    )


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _outside_of_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and those inside it, but nothing of functions and classes that it defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _outside_of_functions(child)
