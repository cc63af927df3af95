"""YAML is read strictly: what a text means, where it stands, and what is refused."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlrun import strict_yaml
from dlrun.errors import UserError
from dlrun.strict_yaml import Located, parse, read_file

pytestmark = pytest.mark.usefixtures("no_hanging")
LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


@pytest.fixture(autouse=True, params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each promise holds with libyaml and without it."""
    monkeypatch.setattr(strict_yaml, "_Loader", request.param)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("-1.5e-2", -0.015),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.50", 1.5),
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("-12", -12),
        ("9223372036854775807", 2**63 - 1),
        ("true", True),
        ("True", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("0b11", "0b11"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("e3", "e3"),
        (".", "."),
        ("-", [None]),
        ("=", "="),
        ("'1e-3'", "1e-3"),
        ('"no"', "no"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("'010'", "010"),
        ("٣", "٣"),
    ],
)
def test_a_text_means_what_it_says(written: str, meant: Any) -> None:
    below = "\n" if written == "-" else ""
    found = parse(f"key: {below}{written}", "f").plain()["key"]
    assert found == meant
    assert type(found) is type(meant)


def test_not_a_number_is_read_as_one_for_the_schema_to_refuse() -> None:
    assert math.isnan(parse("key: .nan", "f").plain()["key"])


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("lr: 010", "f:1:5", "'010' is no plain number"),
        ("lr: -010", "f:1:5", "'-010' is no plain number"),
        ("lr: +00", "f:1:5", "'+00' is no plain number"),
        ("a: 1\nlr: " + "7" * 5000, "f:2:5", "no plain number"),
        ("lr: 1\nother: 3\nlr: 2", "f:3:1", "'lr' stands here a second time (first at f:1:1)"),
        ("a:\n  b: {lr: 1, lr: 2}", "f:2:14", "'lr' stands here a second time (first at f:2:7)"),
        ("lr: 1\n'lr': 2", "f:2:1", "'lr' stands here a second time (first at f:1:1)"),
        ("1: a\ntrue: b", "f:1:1", "a key must be plain text"),
        ("a: 1\nnull: b", "f:2:1", "a key must be plain text"),
        ("? [a]\n: b", "f:1:3", "a key must be plain text"),
        ("a: &x 1\nb: 2", "f:1:4", "anchors and aliases"),
        ("a: *x", "f:1:4", "anchors and aliases"),
        ("a: {b: 1}\n<<: {c: 1}", "f:2:1", "merge keys"),
        ("a: !!python/object/apply:os.getcwd []", "f:1:4", "tags"),
        ("a: !!str 1", "f:1:4", "tags"),
        ("a: ! 1", "f:1:4", "tags"),
        ("a: 1\n---\nb: 2", "f:2:1", "this is not YAML"),
        ("a: [1,\n", "f:2:1", "this is not YAML"),
        ("a: b: c", "f:1:5", "this is not YAML"),
        ("a:\n\t- b", "f:2:1", "this is not YAML"),
        ("a: 1\nb: @", "f:2:4", "this is not YAML"),
    ],
)
def test_what_yaml_would_silently_get_wrong_is_refused_with_its_place(
    text: str, place: str, said: str
) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, "f")
    assert refused.value.where == place
    assert said in refused.value.what
    assert len(refused.value.what) < 200


@pytest.mark.parametrize("text", ["a: 1\x00b: 2", "a: \x07", "a: \udcff", "\x00", "a: \ufffe"])
def test_characters_that_are_no_text_are_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, "f")
    assert refused.value.where.startswith("f")


ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    "text",
    [
        ALIASES,
        MERGES,
        "[" * 900 + "]" * 900,
        "{a: " * 900,
        "[" * 500_000,
        "- " * 100_000,
        f"a: [{'x,' * 400_000}]",
        f"a: [{'{},' * 300_000}]",
    ],
    ids=["aliases", "merges", "lists", "mappings", "unclosed", "dashes", "flood", "flood of mappings"],
)
def test_a_text_that_would_never_end_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, "f")
    assert refused.value.where.startswith("f:")
    assert len(" ".join(refused.value.lines())) < 300


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


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ("a: ü\n".encode("latin-1"), 1),
        (b"a: 1\nb: 2\nc: \xff\n", 3),
        ("a: 1\n".encode("utf-16"), 1),
        (b"a: \xed\xa0\x80\n", 1),
    ],
    ids=["latin-1", "third line", "UTF-16", "surrogate"],
)
def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path, raw: bytes, line: int) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError, match="not UTF-8") as refused:
        read_file(path)
    assert refused.value.where == f"{path}:{line}"


def test_utf16_without_its_mark_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("lr: 1\n".encode("utf-16-le"))
    with pytest.raises(UserError) as refused:
        read_file(path)
    assert str(path) in " ".join(refused.value.lines())


def test_two_mebibytes_are_too_large_for_a_config(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"# comment\n" * (2 << 20 >> 3))
    with pytest.raises(UserError, match="too large") as refused:
        read_file(path)
    assert str(path) in " ".join(refused.value.lines())


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), tmp_path / "dangling", tmp_path / "missing"):
        with pytest.raises(UserError) as refused:
            read_file(path)
        assert str(path) in " ".join(refused.value.lines())


def test_a_value_of_the_command_line_has_no_line_numbers() -> None:
    value = parse("{lr: 1}", "on the command line:", has_lines=False)
    assert str(value.at(("lr",)).place) == "on the command line:"
    with pytest.raises(UserError) as refused:
        parse("[1, 2", "on the command line:", has_lines=False)
    assert refused.value.where == "on the command line:"


def test_nothing_but_plain_values_comes_out() -> None:
    def kinds(item: Located) -> set[type]:
        inside = item.value
        below = inside.values() if isinstance(inside, dict) else inside if isinstance(inside, list) else ()
        return {type(inside)}.union(*(kinds(each) for each in below))

    tree = parse("a: 2024-01-02\nb: [1, 2.0, no, ~, {c: 0x10}]\nd: 2001-12-14t21:59:43.10-05:00\n", "f")
    assert kinds(tree) == {dict, list, str, int, float, type(None)}
