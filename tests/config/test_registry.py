"""A part's options are read from its file, from a closed list of types, without importing it."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import TypeAdapter, ValidationError

from dlrun.config import options
from dlrun.config.option_types import describe, read_type
from dlrun.config.registry import KINDS, REQUIRED, Parts, read_part
from dlrun.errors import UserError

PROJECT = Path(__file__).parents[2]
BUILT_IN = [(kind, name) for kind in KINDS for name in Parts().names(kind)]
PART = '''\
"""What the file is about."""

import nothing_of_this_name_can_be_imported

task = "classification"
better = "lower"
LIMIT: int = 3


def width(shape, outputs, *, size: int, share: float = 0.5, sizes: Sequence[Count] = (1, 2)):
    """Make it wide.

    And more that is not its summary.
    """
    return size
'''


def test_there_are_parts_of_every_kind() -> None:
    assert {kind for kind, _ in BUILT_IN} == set(KINDS)


@pytest.mark.parametrize(("kind", "name"), BUILT_IN, ids=lambda text: text)
def test_every_part_that_dlrun_brings_can_be_read(kind: str, name: str) -> None:
    part = Parts().part(kind, name)
    assert part.summary
    assert part.built_in
    for option in part.options.values():
        assert describe(option.type)


@pytest.mark.parametrize(("kind", "name"), BUILT_IN, ids=lambda text: text)
def test_what_is_read_is_what_python_sees(kind: str, name: str) -> None:
    parts = Parts()
    function = parts.find(kind, name)
    keywords = {
        p.name: p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY
    }
    part = parts.part(kind, name)
    read = {option: each for option, each in part.options.items() if option not in part.takes}
    assert list(read) == list(keywords)
    for option in read.values():
        default = keywords[option.name].default
        assert (option.default is REQUIRED) == (default is inspect.Parameter.empty)
        if option.default is not REQUIRED:
            assert option.default == (list(default) if isinstance(default, tuple) else default)


def test_a_part_is_read_without_being_imported(write: Callable[[str, str], Path]) -> None:
    part = read_part("architecture", write("architecture/width.py", PART))
    assert part.name == "width"
    assert part.summary == "Make it wide."
    assert part.constants == {"task": "classification", "better": "lower"}
    assert {name: option.default for name, option in part.options.items()} == {
        "size": REQUIRED,
        "share": 0.5,
        "sizes": [1, 2],
    }
    assert part.options["sizes"].type == list[options.Count]
    assert not part.built_in


def test_reading_every_part_imports_no_torch() -> None:
    code = """
import sys
from dlrun.config.registry import KINDS, Parts
parts = Parts()
for kind in KINDS:
    for name in parts.names(kind):
        parts.part(kind, name)
print(sorted({"torch", "matplotlib", "pydantic"} & sys.modules.keys()))
"""
    assert subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT, text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("int", int),
        ("float", float),
        ("bool", bool),
        ("str", str),
        ("None", None),
        ("int | None", int | None),
        ("int | float | None", int | float | None),
        ("list[int]", list[int]),
        ("Sequence[Count]", list[options.Count]),
        ("list[list[float]]", list[list[float]]),
        ("dict[str, float]", dict[str, float]),
        ("Literal['a', 'b']", Literal["a", "b"]),
        ("Literal['same'] | int", Literal["same"] | int),
        ("Annotated[int, Ge(2)]", Annotated[int, Ge(2)]),
        ("Annotated[float, Gt(0), Le(1)]", Annotated[float, Gt(0), Le(1)]),
        ("Annotated[float, Ge(-1.5), Lt(2)]", Annotated[float, Ge(-1.5), Lt(2)]),
        *((name, getattr(options, name)) for name in options.__all__),
    ],
)
def test_these_types_can_be_written(written: str, meant: Any) -> None:
    assert read_type(ast.parse(written, mode="eval").body) == meant


def test_a_choice_among_numbers_is_one_of_them_and_nothing_that_is_equal() -> None:
    written = read_type(ast.parse("Literal[1, 2.5, 'a']", mode="eval").body)
    kind = TypeAdapter(written)
    assert [kind.validate_python(value) for value in (1, 2.5, "a")] == [1, 2.5, "a"]
    for other in (True, 1.0, "1", 2, None, [1]):
        with pytest.raises(ValidationError):
            kind.validate_python(other)
    assert describe(written) == "one of: 1, 2.5, a"


@pytest.mark.parametrize(
    "written",
    [
        "object",
        "Any",
        "Path",
        "torch.Tensor",
        "nn.Module",
        "Callable[[int], int]",
        "tuple[int, ...]",
        "list",
        "list[Path]",
        "dict[str]",
        "'int'",
        "5",
        "int and float",
        "__import__('os').system('true')",
        "Literal[print]",
        "Annotated[int]",
        "Annotated[int, 5]",
        "Annotated[int, Ge]",
        "Annotated[int, Ge(print)]",
        "Annotated[int, MultipleOf(2)]",
        "Annotated[Path, Ge(1)]",
        "Option",
    ],
)
def test_other_types_are_refused_and_never_evaluated(written: str) -> None:
    with pytest.raises(ValueError):
        read_type(ast.parse(written, mode="eval").body)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("def width(shape:\n", 1, "this is not Python"),
        ("x = 1\ny = = 2\n", 2, "this is not Python"),
        ("def wide(shape, outputs):\n    pass\n", 1, "must define a function width()"),
        ("class width:\n    pass\n", 1, "must define a function width()"),
        ("", None, "must define a function width()"),
        ("width = lambda shape, outputs: None\n", 1, "must define a function width()"),
        (
            "def width(shape, *, a: int,\n          size):\n    pass\n",
            2,
            "option size: the option has no type",
        ),
        ("\ndef width(shape, *, size: Path):\n    pass\n", 2, "option size: Path is not a type"),
        ("def width(shape, *, size: int = default()):\n    pass\n", 1, "option size:"),
        ("def width(shape, *, size: Annotated[int, Odd(1)]):\n    pass\n", 1, "Odd(1) is not a bound"),
    ],
)
def test_a_file_that_breaks_the_contract_is_named_with_its_line(
    text: str, line: int | None, said: str, write: Callable[[str, str], Path]
) -> None:
    path = write("architecture/width.py", text)
    with pytest.raises(UserError) as refused:
        read_part("architecture", path)
    assert refused.value.where == (f"{path}:{line}" if line else str(path))
    assert said in refused.value.what


def test_a_line_that_is_not_python_is_shown_with_a_caret(write: Callable[[str, str], Path]) -> None:
    path = write("loss/slip.py", "def slip(outputs, targets):\n    größe = = 1\n")
    with pytest.raises(UserError) as refused:
        read_part("loss", path)
    assert refused.value.what == "this is not Python: invalid syntax"
    assert refused.value.excerpt == ("    größe = = 1", "            ^")


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ("freq=2.0", "freq: float = 2.0"),
        ("size=3", "size: int = 3"),
        ("kind='a'", "kind: str = 'a'"),
        ("deep=True", "deep: bool = True"),
        ("hidden=(4, 4)", "hidden: Sequence[int] = (4, 4)"),
        ("limit=None", "limit: float | None = None"),
        ("rate", "rate: float, or another type"),
    ],
)
def test_an_option_without_a_type_is_written_with_that_of_its_default(
    option: str, fix: str, write: Callable[[str, str], Path]
) -> None:
    path = write("architecture/width.py", f"def width(shape, outputs, *, {option}):\n    return shape\n")
    with pytest.raises(UserError) as refused:
        read_part("architecture", path)
    assert refused.value.fix == f"write {fix}"
    if "=" in option:
        path.write_text(f"def width(shape, outputs, *, {fix}):\n    return shape\n")
        assert not read_part("architecture", path).options[option.split("=")[0]].is_required


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "width.py"
    for raw in (b"def width(): '\xff'\n", b"x = '\x00'\n"):
        path.write_bytes(raw)
        with pytest.raises(UserError, match="not Python") as refused:
            read_part("architecture", path)
        assert refused.value.where.startswith(str(path))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (float, "a number"),
        (bool, "true or false"),
        (str, "text"),
        (None, "null"),
        (options.Count, "a whole number >= 1"),
        (options.NonNegativeInt, "a whole number >= 0"),
        (options.Positive, "a number > 0"),
        (options.Fraction, "a number >= 0 and < 1"),
        (int | None, "a whole number, or null"),
        (options.Count | Literal["full"], "a whole number >= 1, or full"),
        (Literal["a", "b"], "one of: a, b"),
        (list[options.Count], "a list of whole numbers >= 1"),
        (list[float], "a list of numbers"),
        (list[str], "a list of text"),
        (dict[str, str], "a mapping of names to text"),
    ],
)
def test_a_type_is_described_in_words(kind: Any, words: str) -> None:
    assert describe(kind) == words


def test_every_named_type_is_described_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in options.__all__:
        words = describe(getattr(options, name))
        assert not {"Annotated", "typing", "[", "<class"} & set(words.split()), name
        assert words.startswith(("a ", "one of: ")), name


def test_a_part_that_is_not_there_is_answered_with_its_nearest_neighbour() -> None:
    with pytest.raises(UserError) as refused:
        Parts().part("optimizer", "sdg")
    assert refused.value.what.startswith(
        "there is no optimizer/sdg.py; did you mean 'sgd'? (there are: adadelta,"
    )


def test_a_name_like_no_other_may_be_a_part_in_a_folder_that_was_not_named(tmp_path: Path) -> None:
    for kind, name in (("loss", "xyzzy"), ("dataset", "moons")):  # which is a little like mnist
        with pytest.raises(UserError, match=r"name its folder with --parts or in DLRUN_PARTS$"):
            Parts().part(kind, name)
    for parts, name in ((Parts(), "focal_crossentropy"), (Parts(tmp_path), "xyzzy")):
        with pytest.raises(UserError, match=r"\)$"):
            parts.part("loss", name)


@pytest.mark.parametrize(
    "name", ["../optimizer/sgd", "_style", "os", "", "SGD", "sgd.py", "x" * 5000, "a\nb"]
)
def test_only_the_files_of_the_folder_are_parts(name: str) -> None:
    with pytest.raises(UserError, match="there is no plots/") as refused:
        Parts().part("plots", name)
    assert len(refused.value.what) < 600


def test_your_own_folder_adds_parts_that_import_what_stands_beside_them(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    write("mine/schedule/_shared.py", "FACTOR = 0.25\n")
    path = write(
        "mine/schedule/quarter.py",
        "from ._shared import FACTOR\n\ndef quarter(progress, *, times: float = 2.0):\n"
        '    """A quarter, some times."""\n    return FACTOR * times\n',
    )
    parts = Parts(tmp_path / "mine")
    assert parts.names("schedule") == sorted([*Parts().names("schedule"), "quarter"])
    part = parts.part("schedule", "quarter")
    assert (part.path, part.built_in, part.summary) == (path.resolve(), False, "A quarter, some times.")
    assert parts.find("schedule", "quarter")(0.0, times=3.0) == 0.75
    assert parts.find("schedule", "constant")(0.5) == 1.0
    with pytest.raises(UserError, match=r"there is no schedule/quarter\.py"):
        Parts().part("schedule", "quarter")


def test_two_folders_of_your_own_keep_apart(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    for folder, value in (("one", 1.0), ("two", 2.0)):
        write(f"{folder}/schedule/mine.py", f"def mine(progress):\n    return {value}\n")
    found = [Parts(tmp_path / folder).find("schedule", "mine") for folder in ("one", "two")]
    assert [schedule(0.0) for schedule in found] == [1.0, 2.0]


def test_an_own_part_stands_in_for_one_of_dlrun_that_has_its_name(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    path = write("mine/schedule/constant.py", "def constant(progress, *, at: float = 0.5):\n    return at\n")
    parts = Parts(tmp_path / "mine")
    part = parts.part("schedule", "constant")
    assert (part.path, part.built_in, list(part.options)) == (path.resolve(), False, ["at"])
    assert parts.find("schedule", "constant")(0.0) == 0.5
    assert parts.names("schedule") == Parts().names("schedule"), "once"
    assert parts.replaced == ["schedule/constant"]
    assert Parts().find("schedule", "constant")(0.0) == 1.0, "without the folder it is dlrun's again"
    assert Parts().replaced == []


def test_a_part_that_cannot_be_imported_says_why(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    path = write(
        "mine/schedule/broken.py", "import no_such_module\n\ndef broken(progress):\n    return 1.0\n"
    )
    with pytest.raises(UserError, match="no_such_module") as refused:
        Parts(tmp_path / "mine").find("schedule", "broken")
    assert refused.value.where == f"{path.resolve()}:1, in <module>"


def test_a_parts_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        Parts(tmp_path / "nowhere")


def test_activations_are_the_ones_that_architectures_know() -> None:
    from dlrun.blocks.activations import ACTIVATIONS

    assert list(get_args(options.Activation)) == list(ACTIVATIONS)


def test_the_code_is_that_of_files_and_of_nothing_that_only_has_their_names(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    plain = Parts(tmp_path).code
    (tmp_path / "loss" / ".#mine.py").symlink_to("user@host.1")
    (tmp_path / "folder.py").mkdir()
    assert Parts(tmp_path).code == plain
    (tmp_path / "loss" / "mine.py").write_text("x = 1\n")
    assert Parts(tmp_path).code != plain
