"""A text that is not YAML is refused with the line of the mistake itself, its cause and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from places import PROJECT

from dlrun.config.loading import load_config
from dlrun.config.strict_yaml import parse, read_file
from dlrun.errors import UserError

pytestmark = pytest.mark.usefixtures("loader", "no_hanging")
GOOD = """\
dataset: {name: spiral}
architecture: {name: mlp, hidden: [10]}
loss: cross_entropy
optimizer:
  name: adam
  lr: 0.01
epochs: 3
batch_size: full
"""


def refused(text: str) -> UserError:
    with pytest.raises(UserError) as found:
        parse(text, "f.yaml")
    return found.value


@pytest.mark.parametrize(
    ("right", "wrong", "place", "cause", "remedy"),
    [
        ("epochs: 3", "epochs 3", "7:7", "line 7 has no colon", "write epochs: 3"),
        ("batch_size: full", "batch_size full", "8:11", "line 8 has no colon", "write batch_size: full"),
        ("dataset: {name: spiral}", "dataset spiral", "1:8", "line 1 has no colon", "write dataset: spiral"),
        ("  lr: 0.01", "  lr 0.01", "6:5", "line 6 has no colon", "write lr: 0.01"),
        ("optimizer:", "optimizer", "4:10", "line 4 has no colon", "write optimizer:"),
        ("epochs: 3", "epochs:3", "7:7", "line 7 has no space behind its colon", "write epochs: 3"),
        ("  lr: 0.01", "  lr:0.01 # low", "6:5", "line 6 has no space behind its colon", "write lr: 0.01"),
        ("epochs: 3", "epochs = 3", "7:7", "line 7 has = where a colon belongs", "write epochs: 3"),
        ("epochs: 3", "epochs\uff1a 3", "7:7", "the colon of line 7 is a full-width one", "write epochs: 3"),
        (
            "[10]}",
            "[10}",
            "2:35",
            "the bracket [ is not closed",
            "write architecture: {name: mlp, hidden: [10]}",
        ),
        (
            "[10]}",
            "[10]",
            "2:15",
            "the bracket { is never closed",
            "write architecture: {name: mlp, hidden: [10]}",
        ),
        (
            "[10]}",
            "[10]]}",
            "2:39",
            "the bracket ] closes nothing",
            "write architecture: {name: mlp, hidden: [10]}",
        ),
        (
            "mlp, hidden: [10]}",
            "mlp's, hidden: [10}",
            "2:37",
            "the bracket [ is not closed",
            "write architecture: {name: mlp's, hidden: [10]}",
        ),
        ("mlp, h", "mlp h", "2:25", "a comma is missing", "write architecture: {name: mlp, hidden: [10]}"),
        ("name: adam", 'name: "adam', "5:9", 'the quote " is never closed', 'write name: "adam"'),
        ("name: adam", "name: 'adam", "5:9", "the quote ' is never closed", "write name: 'adam'"),
        (
            "name: adam",
            "name: 'it's'",
            "5:12",
            "an apostrophe in single quotes ends them",
            'write name: "it\'s"',
        ),
        ("epochs: 3", "name: a: b", "7:7", "a value with a colon in it needs quotes", 'write name: "a: b"'),
        ("epochs: 3", "name: @a", "7:7", "a value that begins with @ needs quotes", "write name: '@a'"),
        (
            "epochs: 3",
            "name: *.bias",
            "7:7",
            "a value that begins with * needs quotes",
            "write name: '*.bias'",
        ),
        (
            "epochs: 3",
            "metrics:\n-accuracy",
            "8:1",
            "line 8 has no space behind its dash",
            "write - accuracy",
        ),
        (
            "  name",
            "  - name",
            "5:3",
            "line 5 begins with a dash, as the items of a list do, and the next line does not",
            "write name: adam",
        ),
    ],
)
def test_the_line_of_the_mistake_is_named_and_written_as_it_may_be_meant(
    right: str, wrong: str, place: str, cause: str, remedy: str
) -> None:
    text = GOOD.replace(right, wrong, 1)
    error = refused(text)
    assert (error.where, error.fix) == (f"f.yaml:{place}", remedy)
    assert error.what == f"this is not YAML: {cause}"
    line, column = map(int, place.split(":"))
    lines = text.splitlines()
    assert error.excerpt == (lines[line - 1], " " * (column - 1) + "^")
    # The advice is followed: the text is then YAML.
    indent = " " * (len(lines[line - 1]) - len(lines[line - 1].lstrip()))
    lines[line - 1] = indent + remedy.removeprefix("write ")
    assert parse("\n".join(lines), "f.yaml").plain()["loss"] == "cross_entropy"


@pytest.mark.parametrize(
    ("right", "wrong", "place", "cause"),
    [
        ("  lr", "   lr", "6:4", "line 6 is indented by 3 spaces, the line above it by 2"),
        ("  lr", " lr", "6:2", "line 6 is indented by 1 space, the line above it by 2"),
        ("epochs", " epochs", "7:2", "line 7 is indented by 1 space, the line above it by 2"),
        ("arch", " arch", "2:2", "line 2 is indented by 1 space, the line above it by none"),
        ("  name", "\tname", "5:1", "a tab; use spaces"),
        ("  lr", "  \tlr", "6:3", "a tab; use spaces"),
    ],
)
def test_a_line_that_is_indented_otherwise_is_named_itself(
    right: str, wrong: str, place: str, cause: str
) -> None:
    error = refused(GOOD.replace(right, wrong, 1))
    assert (error.what, error.where) == (f"this is not YAML: {cause}", f"f.yaml:{place}")
    assert "indent" in error.fix


def test_the_first_of_several_mistakes_is_named() -> None:
    error = refused(GOOD.replace("epochs: 3", "epochs:3").replace("batch_size: full", "batch_size full"))
    assert (error.where, error.fix) == ("f.yaml:7:7", "write epochs: 3")


@pytest.mark.parametrize(
    ("right", "wrong", "place", "cause", "remedy"),
    [
        (
            "name: adam",
            "name: 'ad' am",
            "5:14",
            "this is no continuation of the lines above it",
            "check its indentation, and the quotes and brackets above it",
        ),
        ("batch_size: full", "batch_size:[ full", "8:1", "line 8 has no colon", "write KEY: VALUE"),
        (
            "cross_entropy\n",
            "cross_entropy",
            "3:7",
            "a value with a colon in it needs quotes",
            'write loss: "cross_entropyoptimizer:"',
        ),
    ],
)
def test_a_line_that_no_single_change_repairs_is_named_all_the_same(
    right: str, wrong: str, place: str, cause: str, remedy: str
) -> None:
    error = refused(GOOD.replace(right, wrong, 1))
    assert error.what == f"this is not YAML: {cause}"
    assert (error.where, error.fix) == (f"f.yaml:{place}", remedy)


def test_a_long_line_is_named_without_repeating_it() -> None:
    error = refused(GOOD.replace("[10]}", f"[{'10, ' * 60}10}}"))
    assert (error.what, error.fix) == ("this is not YAML: the bracket [ is not closed", "")


def test_a_line_of_python_in_a_config_is_the_mistake_and_not_the_file() -> None:
    error = refused(f"import torch\n{GOOD}")
    assert (error.what, error.where) == ("this is not YAML: line 1 has no colon", "f.yaml:1:7")


def test_a_bracket_that_is_open_to_the_end_is_named_where_it_opens() -> None:
    error = refused('{"epochs": 3,\n "batch_size": 4,\n')
    assert (error.where, error.fix) == ("f.yaml:1:1", 'write line 2 as "batch_size": 4,}')


def test_what_is_read_but_not_meant_has_its_remedy() -> None:
    for text, place, cause, remedy in (
        ("a: 1\na: 2", "2:1", "'a' is given a second time (first at f.yaml:1:1)", "keep one of the two"),
        ("a: {b:1}", "1:5", "a space is missing behind the colon", "write b: 1"),
        ("a:\n\u00a0 b: 1", "2:1", "an unusual space in front of a key or behind it", "use plain spaces"),
        (
            "a: *x",
            "1:4",
            "anchors and aliases (& and *) are not read",
            "put a text that begins with & or * in quotes",
        ),
        (
            "a: 1\n---\nb: 2",
            "2:1",
            "this is not YAML: a second document begins here",
            "keep one config in a file",
        ),
        ("a: 1\nb: \x07", "2:4", "this is not YAML: the character U+0007 is no text", "delete it"),
        (
            "import os\n\nx: int = 3\n",
            "1:1",
            "this is not YAML: this is Python code",
            "name a YAML file, or a config that comes with dlrun",
        ),
    ):
        error = refused(text)
        assert (error.what, error.where, error.fix) == (cause, f"f.yaml:{place}", remedy)


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        (
            "- dataset: spiral\n",
            "a config must be a mapping of keys to values, not a list",
            "leave out the dashes",
        ),
        ("lr:0.1\n", "a space is missing behind the colon", "write lr: 0.1"),
        ("hello\n", "a config must be a mapping of keys to values", "write a line KEY: VALUE for each key"),
        ("import torch\n", "not Python code", "name a YAML file"),
        ("", "the config is empty", "dlrun init"),
        ("# nothing\n", "the config is empty", "dlrun init"),
    ],
)
def test_a_file_without_keys_is_one_mistake(
    text: str, cause: str, remedy: str, write: Callable[[str, str], Path]
) -> None:
    path = write("f.yaml", text)
    with pytest.raises(UserError) as found:
        load_config(path)
    assert cause in found.value.what and remedy in found.value.fix
    assert found.value.where.startswith(str(path))
    assert len(found.value.lines()) <= 5


def test_a_config_may_stand_on_the_command_line_alone(write: Callable[[str, str], Path]) -> None:
    words = ("dataset=spiral", "architecture=mlp", "loss=cross_entropy", "optimizer={name: adam, lr: 0.1}")
    config = load_config(write("f.yaml", ""), [*words, "epochs=1", "batch_size=5"])
    assert (config.name, config.optimizer.options["lr"]) == ("f", 0.1)


def test_a_file_of_another_kind_is_named_as_what_it_is(tmp_path: Path) -> None:
    for name, raw, cause, remedy in (
        (
            "a.yaml",
            (PROJECT / "docs/temps.png").read_bytes(),
            "this is a PNG image, not a config",
            "name a YAML file",
        ),
        ("a.pt", b"PK\x03\x04...", "this is a ZIP archive", "name a YAML file"),
        ("b.yaml", bytes(range(256)), "this is not YAML: the file is binary", "name a YAML file"),
        (
            "t.csv",
            b"x,y\n1,2\n",
            "this is a table, not a config",
            "t.csv writes a config that names it",
        ),
        ("a.py", b"x = 3\n", "this is Python code, not a config", "name a YAML file"),
        (
            "c.yaml",
            "lr: 1".encode("utf-16"),
            "the file is not UTF-8 text but UTF-16",
            "save the file as UTF-8",
        ),
        (
            "d.yaml",
            "lr: 1\nname: aü\n".encode("latin-1"),
            "not UTF-8 text: byte 0xFC, which elsewhere means ü",
            "save the file as UTF-8",
        ),
    ):
        path = tmp_path / name
        path.write_bytes(raw)
        with pytest.raises(UserError) as found:
            read_file(path)
        assert cause in found.value.what and remedy in found.value.fix, name
        assert found.value.where == f"{path}{':2:8' if name == 'd.yaml' else ''}"


def test_the_caret_stands_under_the_column_in_long_and_in_wide_lines() -> None:
    for text in (f"note: {'a' * 5000} : b: c", "名前: [1", "name: @abc"):
        line, caret = refused(text).excerpt
        assert len(line) <= 130 and caret.endswith("^")
    assert refused("名前: [1").excerpt == ("名前: [1", " " * 6 + "^")


def test_a_value_on_the_command_line_is_refused_with_the_same_words(
    write: Callable[[str, str], Path],
) -> None:
    with pytest.raises(UserError) as found:
        load_config(write("f.yaml", GOOD), ["architecture.hidden=[10"])
    assert found.value.lines() == [
        "error: this is not YAML: the bracket [ is never closed",
        "  where: on the command line: architecture.hidden=[10",
        "  fix: write [10]",
    ]


def test_too_many_values_are_said_with_the_way_to_write_fewer() -> None:
    error = refused(f"ignore: [{', '.join(f'x{number}' for number in range(10_000))}]")
    assert error.what == "a config holds at most 10,000 keys and values"
    assert error.fix == "a pattern such as 'x*' names many columns of a table at once"
    assert refused("[" * 60).what == "this is nested too deeply, in more than 50 levels"
