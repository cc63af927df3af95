"""YAML is read strictly: what a text means, where it stands, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.config.strict_yaml import Located, parse, read_file
from dlrun.errors import UserError

pytestmark = pytest.mark.usefixtures("loader", "no_hanging")


def test_not_a_number_is_read_as_one_for_the_schema_to_refuse() -> None:
    assert math.isnan(parse("key: .nan", "f").plain()["key"])


def test_places_count_lines_and_columns_from_one() -> None:
    tree = parse("# a comment\n\nlr: 0.1\nmodel:\n  hidden: [10, 20]\n  naïve: {öl: x}\n", "f.yaml")
    places = {
        ("lr",): ("f.yaml:3:5", "f.yaml:3:1"),
        ("model",): ("f.yaml:5:3", "f.yaml:4:1"),
        ("model", "hidden"): ("f.yaml:5:11", "f.yaml:5:3"),
        ("model", "hidden", 1): ("f.yaml:5:16", "f.yaml:5:16"),
        ("model", "naïve", "öl"): ("f.yaml:6:15", "f.yaml:6:11"),
    }
    for path, (place, key_place) in places.items():
        found = tree.at(path)
        assert (str(found.place), str(found.key_place)) == (place, key_place), path


def test_a_path_that_leads_nowhere_ends_at_what_is_above_it() -> None:
    tree = parse("model: {hidden: [10]}", "f")
    assert tree.at(("model", "width", "deep")) is tree.value["model"]
    assert tree.at(("model", "hidden", 5)) is tree.value["model"].value["hidden"]
    assert tree.at(("nothing",)) is tree
    assert parse("name: abc", "f").at(("name", 0)).plain() == "abc"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping(text: str, write: Callable[[str, str], Path]) -> None:
    found = read_file(write("empty.yaml", text))
    assert found.plain() in ({}, None)
    assert found.place.line >= 1


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbflr: 1\r\nepochs: 2\r\n")
    tree = read_file(path)
    assert tree.plain() == {"lr": 1, "epochs": 2}
    assert str(tree.at(("epochs",)).key_place) == f"{path}:2:1"


def test_a_value_of_the_command_line_has_no_line_numbers() -> None:
    value = parse("{lr: 1}", "on the command line", has_lines=False)
    assert str(value.at(("lr",)).place) == "on the command line"
    with pytest.raises(UserError) as refused:
        parse("[1, 2", "on the command line", has_lines=False)
    assert refused.value.where == "on the command line"


def test_nothing_but_plain_values_comes_out() -> None:
    def kinds(item: Located) -> set[type]:
        inside = item.value
        below = inside.values() if isinstance(inside, dict) else inside if isinstance(inside, list) else ()
        return {type(inside)}.union(*(kinds(each) for each in below))

    tree = parse("a: 2024-01-02\nb: [1, 2.0, no, ~, {c: 0x10}]\nd: 2001-12-14t21:59:43.10-05:00\n", "f")
    assert kinds(tree) == {dict, list, str, int, float, type(None)}


BACKSLASH = r"in double quotes a backslash begins an escape: write C:\data\x in single quotes, or C:/data/x"


@pytest.mark.parametrize(
    "path", [r"C:\data\x", r"C:\Users\x", r"C:\new\table.csv", r"c:\x", r"..\data\x.csv"]
)
def test_a_path_with_backslashes_in_double_quotes_is_refused_with_the_remedy(path: str) -> None:
    for text in (f'path: "{path}"', f'é: 1\r\ndataset: {{name: csv, path: "{path}"}}'):
        with pytest.raises(UserError) as refused:
            parse(text, "config.yaml")
        assert refused.value.fix == BACKSLASH
        assert refused.value.where.startswith(f"config.yaml:{text.count(chr(10)) + 1}:")


@pytest.mark.parametrize(
    "written", [r"C:\new\table.csv", r"'C:\new\table.csv'", r'"C:\\new\\table.csv"', r'"C:\/new/table.csv"']
)
def test_a_path_with_backslashes_is_read_as_it_stands_elsewhere(written: str) -> None:
    meant = "C:/new/table.csv" if "/" in written else r"C:\new\table.csv"
    for text in (f"dataset: {{path: {written}, name: csv}}", f"dataset:\n  path: {written}"):
        assert parse(text, "config.yaml").value["dataset"].value["path"].value == meant


def test_an_escape_of_other_texts_is_read_as_yaml_has_it() -> None:
    assert parse(r'note: "a\tb: C:\n"', "config.yaml").value["note"].value == "a\tb: C:\n"
