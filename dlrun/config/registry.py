"""Registry of the parts: a name in YAML is a function in a file; `optimizer: sgd` is dlrun/optimizer/sgd.py.

The options of a part are the keyword-only parameters of its function, with their annotations and defaults
as the schema, and the entries of the docstring as their meanings. All is read from the source; only `find`
and `module` import a part.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal
from zlib import crc32

from dlrun.config.code_digest import digest_of_code
from dlrun.config.docstrings import Docstring, read_docstring
from dlrun.config.earlier_names import find_earlier_names
from dlrun.config.misplaced_parts import folder_here, said_elsewhere
from dlrun.config.option_types import read_type
from dlrun.config.options import Folds, Fraction, NonNegative, NonNegativeInt
from dlrun.config.other_words import part_meant
from dlrun.config.part_functions import function_of, refuse_slips
from dlrun.errors import (
    UserError,
    excerpt,
    in_full,
    is_out_of_memory,
    listed,
    meant,
    nearest,
    own_place,
    shortened,
)
from dlrun.system.processes import quoted

KINDS = (
    "dataset",
    "architecture",
    "loss",
    "optimizer",
    "schedule",
    "average",
    "metrics",
    "augmentations",
    "plots",
)
FOLDERS = (*KINDS, "task")  # the folders of parts; a task is named by the dataset, not by a key of a config
REQUIRED = object()
_BUILT_IN = Path(__file__).parent.parent
_imported: dict[str, tuple[int, int] | None] = {}  # the files of users' modules, as they were imported
_OWN = "dlrun_parts_"  # the start of the name of the package that a folder of the user's becomes
_OF_A_SLIP = 0.65  # likeness of names: sdg to sgd is 0.67, moons to mnist 0.6
NAME = re.compile(r"[a-z][a-z0-9_]*$")


@dataclass(frozen=True)
class Option:
    """One keyword of a part: its type, its default (REQUIRED if it has none), its meaning if that is said."""

    name: str
    type: Any
    default: Any = REQUIRED
    help: str = ""

    @property
    def is_required(self) -> bool:
        """True if there is no default."""
        return self.default is REQUIRED


# The options that every part of a kind has: a part does not take them, dlrun applies them itself.
COMMON = {
    "dataset": {
        "folds": Option(
            "folds",
            Folds | None,
            None,
            "Parts of all that is not test, for cross-validation, in place of `valid_fraction`: with equal "
            "shares of each class, or by date the last blocks, each trained on what is before. null: none.",
        ),
        "fold": Option(
            "fold",
            NonNegativeInt | None,
            None,
            "Part, from 0 to folds - 1, that is the validation split; the run is trained on the others. "
            "`dlrun train CONFIG --folds 5` trains with each in turn.",
        ),
    },
    "architecture": {
        "weights": Option(
            "weights",
            Annotated[str, "a run, a file or a name of weights"] | None,
            None,
            "Run, such as last, or file of weights (.pt, .pth, .safetensors) that the model begins with: "
            "what fits by name and shape. For some architectures also the name of published weights.",
        ),
    },
    "augmentations": {
        "off_epochs": Option(
            "off_epochs",
            NonNegativeInt,
            0,
            "Last epochs of the run, which go without it, so that it ends on examples as they are.",
        ),
    },
    "schedule": {
        "warmup_epochs": Option(
            "warmup_epochs",
            NonNegative | None,
            None,
            "Epochs in which the rate rises from 0 to that of the schedule; null: none.",
        ),
    },
    "loss": {
        "class_weight": Option(
            "class_weight",
            Literal["balanced"] | dict[str, NonNegative] | list[NonNegative] | None,
            None,
            "Number w of examples that one of a class counts as, in means Σ w · loss / Σ w over examples, "
            "or over pixels and positions: by names such as {rare: 5}, beside which others have 1, or in "
            "the order of the classes; balanced: n / (k · n_c) for n_c of n training examples in k classes, "
            "so that all classes count the same. The columns of the loss have it, metrics do not.",
        ),
        "label_smoothing": Option(
            "label_smoothing",
            Fraction,
            0.0,
            "Share of each target that is spread evenly over all classes, or of a label over 0 and 1 "
            "(Szegedy et al. 2015, arXiv 1512.00567). The columns of the loss have it.",
        ),
    },
}


# The option of a loss that has a parameter of this name: dlrun passes what that run's model gives.
TEACHER = "teacher"
_TEACHER = Option(
    TEACHER,
    Annotated[str, "a run or a checkpoint"],
    REQUIRED,
    "Run, such as last, or checkpoint of a model of the same classes and inputs, which teaches this one.",
)


@dataclass(frozen=True)
class Part:
    """A part as read from its file: the function's options, its docstring, the constants."""

    kind: str
    name: str
    path: Path
    about: Docstring
    options: dict[str, Option]
    constants: dict[str, Any]  # of the module, such as task = "classification", better = "lower"
    takes: tuple[str, ...] = ()  # the positional parameters, which dlrun passes
    line: int = 1  # of the function

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.about.summary

    @property
    def defaults(self) -> dict[str, Any]:
        """Every option with its default."""
        return {option.name: option.default for option in self.options.values()}

    @property
    def common(self) -> dict[str, Option]:
        """The options that every part of its kind has, without those that it takes itself."""
        return {name: each for name, each in COMMON.get(self.kind, {}).items() if name not in self.options}

    def taken(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the options in a config that its function takes."""
        return {name: value for name, value in options.items() if name not in (*self.common, *self.takes)}

    @property
    def place(self) -> str:
        """The file and the line of the function, for messages."""
        return f"{self.path}:{self.line}"

    @property
    def built_in(self) -> bool:
        """True if the file is dlrun's, False if it lies in the user's folder of parts."""
        return self.path.is_relative_to(_BUILT_IN)


class Parts:
    """The available parts: dlrun's, and those in the user's folder (--parts, DLRUN_PARTS)."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            full = in_full(folder)
            is_file = folder.is_file()
            what = f"{full} is a file, not a folder of parts" if is_file else f"there is no folder {full}"
            fix = (
                "name the folder that holds the folders of kinds, such as my_parts for my_parts/loss/mine.py"
            )
            raise UserError(what, where="--parts or DLRUN_PARTS", fix=fix if is_file else "")
        self.folder = folder.resolve() if folder else None
        if self.folder:
            find_earlier_names()
        self._read: dict[tuple[str, str], Part] = {}

    def names(self, kind: str) -> list[str]:
        """The names of every part of one kind, sorted."""
        return sorted(self._paths(kind))

    def canonical(self, kind: str, name: str) -> str:
        """The name of a part in its own letters, adam for Adam; the name itself if there is no such part."""
        if (kind, name) in self._read:
            return name
        names = self._paths(kind)
        return name.lower() if name not in names and name.lower() in names else name

    def part(self, kind: str, name: str) -> Part:
        """One part, read from its file. Raises UserError if there is none of that name."""
        if (kind, name) not in self._read:
            paths = self._paths(kind)
            if name not in paths:
                if other := part_meant(name, sorted(paths)):
                    known = listed(sorted(paths))
                    raise UserError(
                        f"there is no {kind}/{shortened(name)}.py; dlrun's name is {other} {known}"
                    )
                if found := None if self.folder else folder_here(kind, name):
                    what = f"there is no {kind}/{name}.py in dlrun, but {found / kind / name}.py"
                    raise UserError(what, fix=f"add {quoted(['--parts', str(found)])}")
                own = "; if it is one of your own, name its folder with --parts or in DLRUN_PARTS"
                hint = own if not self.folder and not meant(name, paths, likeness=_OF_A_SLIP) else ""
                what = f"there is no {kind}/{shortened(name)}.py{nearest(name, sorted(paths))}{hint}"
                elsewhere = said_elsewhere(self.folder, kind, name) if self.folder else ""
                raise UserError(elsewhere or what)
            is_built_in = paths[name].is_relative_to(_BUILT_IN)
            self._read[kind, name] = (_built_in_part if is_built_in else read_part)(kind, paths[name])
        return self._read[kind, name]

    def find(self, kind: str, name: str) -> Callable[..., Any]:
        """Import a part and return its function. Raises UserError if the import fails."""
        return getattr(self.module(kind, name), name)  # type: ignore[no-any-return]

    def module(self, kind: str, name: str) -> ModuleType:
        """Import a part and return its module. Raises UserError if the import fails."""
        part = self.part(kind, name)
        package = "dlrun" if part.built_in else self._package()
        try:
            found = importlib.import_module(f"{package}.{kind}.{name}")
            if not part.built_in:
                _note_imported()
            return found
        except ImportError as error:
            if is_out_of_memory(error):
                raise
            where = own_place(error) or str(part.path)
            raise UserError(f"cannot import {kind}/{name}.py: {error}", where=where) from error

    @cached_property
    def code(self) -> str:
        """A digest of the code of dlrun and of the user's parts, to tell if two runs used the same code."""
        return digest_of_code(self.folder, FOLDERS)

    @cached_property
    def replaced(self) -> list[str]:
        """The parts of dlrun that a user's part of the same name replaces, such as `optimizer/sgd`."""
        return [
            f"{kind}/{name}"
            for kind in (FOLDERS if self.folder else ())
            for name, path in sorted(self._paths(kind).items())
            if not path.is_relative_to(_BUILT_IN) and (_BUILT_IN / kind / path.name).exists()
        ]

    def _paths(self, kind: str) -> dict[str, Path]:
        """The files of all parts of a kind; a user's part replaces one of dlrun, which may be newer."""
        return _built_in_files(kind) | (_files(self.folder / kind) if self.folder else {})

    def _package(self) -> str:
        """Register the user's folder as a package, so that its parts can import modules beside them."""
        name = f"{_OWN}{crc32(str(self.folder).encode()):08x}"
        if name not in sys.modules:
            package = ModuleType(name)
            package.__path__ = [str(self.folder)]
            sys.modules[name] = package
        return name


def forget_own_parts() -> None:
    """Have the parts of users' folders imported anew if a file of theirs has changed since."""
    if any(_file_of(name) != file for name, file in _imported.items()):
        for name in [name for name in sys.modules if name.startswith(_OWN)]:
            del sys.modules[name]
        _imported.clear()
    importlib.invalidate_caches()


def _file_of(name: str) -> tuple[int, int] | None:
    """The time and the size of the file of an imported module; None if it is gone."""
    with suppress(OSError):
        found = Path(getattr(sys.modules.get(name), "__file__", None) or "").stat()
        return found.st_mtime_ns, found.st_size
    return None


def _note_imported() -> None:
    """Note the state of the files of users' parts, and of what they import beside them, once for each."""
    for name in [name for name in sys.modules if name.startswith(_OWN) and name not in _imported]:
        _imported[name] = _file_of(name)


def read_part(kind: str, path: Path) -> Part:
    """Read the signature, the docstring and the constants of a part, without importing it.

    Raises UserError, with file and line, if the file does not define a valid part.
    """
    name = path.stem
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        shown = excerpt(text, line - 1, column - 1)
        raise UserError(f"this is not Python: {error.msg}", where=f"{path}:{line}", excerpt=shown) from None
    except ValueError as error:
        raise UserError(f"this is not Python: {error}", where=f"{path}:1") from None
    constants = {
        target.id: ast.literal_eval(statement.value)
        for statement in tree.body
        if isinstance(statement, ast.Assign) and _is_constant(statement.value)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    function = function_of(kind, name, tree, path)
    about = read_docstring(ast.get_docstring(function) or ast.get_docstring(tree) or "")
    named: dict[str, Option] = {}
    arguments = function.args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        try:
            if argument.annotation is None:
                raise ValueError("the option has no type")
            kind_of_value = read_type(argument.annotation)
            value = REQUIRED if default is None else _plain(_constant(default))
        except ValueError as error:
            where, fix = f"{path}:{argument.lineno}", ""
            if argument.annotation is None:
                fix = f"write {argument.arg}: {_type_of(default)}"
            raise UserError(f"{name}, option {argument.arg}: {error}", where=where, fix=fix) from None
        named[argument.arg] = Option(argument.arg, kind_of_value, value, about.meanings.get(argument.arg, ""))
    refuse_slips(kind, function, path)
    takes = tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args))
    if kind == "loss" and TEACHER in takes:
        named = {TEACHER: replace(_TEACHER, help=about.meanings.get(TEACHER, _TEACHER.help))} | named
    return Part(kind, name, path, about, named, constants, takes, function.lineno)


def singular(kind: str) -> str:
    """The name of one part of a kind, such as metric."""
    return kind if kind.endswith("ss") else kind.removesuffix("s")


@cache
def _built_in_part(kind: str, path: Path) -> Part:
    """One of dlrun's own parts, whose file is read once in a process."""
    return read_part(kind, path)


@cache
def _built_in_files(kind: str) -> dict[str, Path]:
    """The files of dlrun's own parts of a kind, by name, listed once in a process."""
    return _files(_BUILT_IN / kind)


def _constant(default: ast.expr) -> Any:
    """The value of a default. Raises ValueError unless it is written there itself."""
    try:
        return ast.literal_eval(default)
    except ValueError:
        raise ValueError(f"its default {ast.unparse(default)} is no plain value, such as 0.1") from None


def _is_constant(value: ast.expr | None) -> bool:
    """True for a constant, and for lists, tuples and dicts of constants."""
    if isinstance(value, ast.Dict):
        return all(map(_is_constant, [*value.keys, *value.values]))
    each = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
    return all(isinstance(one, ast.Constant) for one in each)


def _files(folder: Path) -> dict[str, Path]:
    """The files of a folder that are parts, by name; those that begin with _ are not."""
    return {path.stem: path for path in folder.glob("*.py") if NAME.match(path.stem)}


def _type_of(default: ast.expr | None) -> str:
    """The type of a default, and the default, as they stand behind the name of an option."""
    kind = "float"
    if isinstance(default, ast.List | ast.Tuple):
        items = {type(each.value).__name__ for each in default.elts if isinstance(each, ast.Constant)}
        kind = f"Sequence[{items.pop() if len(items) == 1 else 'float'}]"
    elif isinstance(default, ast.Constant):
        kind = "float | None" if default.value is None else type(default.value).__name__
    return f"{kind} = {ast.unparse(default)}" if default else f"{kind}, or another type"


def _plain(value: Any) -> Any:
    """A default as YAML would give it: tuples become lists."""
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
