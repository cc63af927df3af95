"""Properties that hold for random texts, tables, names and files."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import fuzz
import pytest
import torch
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from small_runs import differences, planned, trained
from strangers import DAMAGES, with_pickle

from dlrun.config import strict_yaml
from dlrun.config.dumping import _Dumper
from dlrun.config.keys import Config
from dlrun.config.loading import config_from_plain, load_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import KINDS
from dlrun.config.strict_yaml import Located, parse, read_file
from dlrun.data.table_files.columns import MISSING, number
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import STRICT, Reading
from dlrun.errors import CheckpointRefused, UserError
from dlrun.run_folders.finding import find_run
from dlrun.run_folders.locating import create_run
from dlrun.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

settings.register_profile(
    "repeatable",
    derandomize=True,  # the same examples at each run: what fails, fails for everybody
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")  # before any test is defined, which takes its settings then

BODY = """\
dataset: {name: spiral, points: 20}
architecture: {name: mlp, hidden: [4]}
loss: cross_entropy
optimizer: {name: adam, lr: 1e-2}
epochs: 10
batch_size: full
"""
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)  # whatever a file may hold
YAML_TEXT = st.lists(
    st.sampled_from(
        [
            *"{}[]:,-?&*!|>%@`'\"#\n \t~<=.01e+_",
            ": ",
            "- ",
            "\n  ",
            "true",
            "null",
            "1e-3",
            "a",
            "b",
            "&a",
            "*a",
            "<<",
        ]
    ),
    max_size=40,
).map("".join)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    ANY_TEXT,
)
PLAIN = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(ANY_TEXT, inside, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(planned(), tmp_path_factory.mktemp("good")).last


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "base.yaml"
    path.write_text(BODY)
    return path


def said_well(error: UserError) -> bool:
    """True if an error can be shown: a few lines, none of which contains a line break."""
    lines = error.lines()
    return len(lines) <= (25 if isinstance(error, ConfigError) else 5) and not any("\n" in x for x in lines)


# ------------------------------------------------------------------------ YAML


def all_plain(tree: Located) -> bool:
    if isinstance(tree.value, dict):
        keys = all(type(key) is str for key in tree.value)
        return keys and all(all_plain(item) for item in tree.value.values())
    if isinstance(tree.value, list):
        return all(all_plain(item) for item in tree.value)
    return tree.value is None or type(tree.value) in (str, int, float, bool)


@given(ANY_TEXT | YAML_TEXT)
@example("a: &a [*a]")
@example("{a: 1, a: 2}")
def test_any_text_is_plain_values_with_their_places_or_refused_with_its_own(text: str) -> None:
    try:
        tree = parse(text, "f.yaml")
    except UserError as error:
        assert error.where.startswith("f.yaml")
        assert said_well(error)
        return
    assert all_plain(tree)
    lines = text.splitlines() or [""]
    pending = [tree]
    while pending:
        here = pending.pop()
        assert 1 <= here.place.line <= len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text)) + 1, lines
        inside = here.value.values() if isinstance(here.value, dict) else here.value
        pending += list(inside) if isinstance(here.value, dict | list) else []


@given(YAML_TEXT)
def test_what_is_read_is_what_yaml_says_but_for_the_words_it_takes_for_numbers(text: str) -> None:
    """Structure and texts are those of PyYAML with every scalar left as it is written."""
    try:
        tree = parse(text, "f.yaml")
    except UserError:
        return
    is_c = strict_yaml._Loader is not yaml.SafeLoader
    theirs = yaml.load(text, Loader=yaml.CBaseLoader if is_c else yaml.BaseLoader)
    assert spelled(tree.plain()) == ({} if theirs is None else spelled(theirs)) or theirs is None


def spelled(value: Any) -> Any:
    """A tree with a mark in place of each scalar."""
    if isinstance(value, dict):
        return {key: spelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [spelled(item) for item in value]
    return "·"


@given(st.dictionaries(ANY_TEXT, PLAIN, max_size=5))
def test_whatever_is_written_is_read_again(tree: dict[str, Any]) -> None:
    assume(all(letter.isprintable() or letter in "\n\t" for letter in str(tree)))
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    again = parse(text, "f.yaml").plain()
    assert again == tree and not differences(again, tree), text


@given(st.binary(max_size=200))
def test_any_bytes_are_a_file_that_is_read_or_refused(folder: Path, raw: bytes) -> None:
    path = folder / "a.yaml"
    path.write_bytes(raw)
    try:
        assert all_plain(read_file(path))
    except UserError as error:
        assert str(path) in error.where and said_well(error)


# ------------------------------------------------------------------------ overrides


@given(st.lists(ANY_TEXT | YAML_TEXT | st.from_regex(r"[a-z_.]{1,20}=.{0,20}", fullmatch=True), max_size=3))
def test_any_words_make_a_config_or_are_refused(config: Path, words: list[str]) -> None:
    try:
        assert isinstance(load_config(config, words), Config)
    except UserError as error:
        assert error.exit_code == 2 and said_well(error)


@given(
    st.integers(1, 2**63 - 1),
    st.floats(0, 1e300),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 10**6), max_size=4),
)
def test_a_word_puts_its_value_where_its_key_says(
    config: Path, epochs: int, rate: float, seeds: list[int], hidden: list[int]
) -> None:
    words = {"epochs": epochs, "optimizer.lr": rate, "seeds": seeds, "architecture.hidden": hidden}
    found = load_config(config, [f"{key}={json.dumps(value)}" for key, value in words.items()])
    assert (found.epochs, found.seeds) == (epochs, seeds)
    assert (found.optimizer.options["lr"], found.architecture.options["hidden"]) == (rate, hidden)
    untouched = load_config(config)
    assert (found.dataset, found.loss, found.batch_size) == (untouched.dataset, untouched.loss, "full")


@given(
    PLAIN,
    st.sampled_from(["dataset", "architecture", "loss", "optimizer", "metrics", "expect", "seeds", "x"]),
)
def test_anything_in_the_place_of_a_value_is_a_config_or_refused_by_its_key(
    config: Path, value: Any, key: str
) -> None:
    plain = load_config(config).plain()
    try:
        found = config_from_plain(plain | {key: value}, "drawn")
    except UserError as error:
        assert error.exit_code == 2 and said_well(error)
        return
    for kind in KINDS:
        chosen = getattr(found, kind)
        for choice in chosen if isinstance(chosen, list) else [chosen]:
            assert re.fullmatch("[a-z][a-z0-9_]*", choice.name)


# ------------------------------------------------------------------------ tables

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(
    st.binary(max_size=300) | ANY_TEXT.map(str.encode) | st.text('a1,"\n\r; \t', max_size=80).map(str.encode)
)
@example(b"a,b\n1\n")
@pytest.mark.parametrize("reading", [STRICT, Reading()], ids=["strict", "guessed"])
def test_any_bytes_are_a_table_or_refused(folder: Path, reading: Reading, raw: bytes) -> None:
    path = folder / "a.csv"
    path.write_bytes(raw)
    try:
        table = read_table(path, reading)
    except UserError as error:
        assert error.exit_code == 2 and said_well(error)
        assert str(path) in error.where + error.what
        return
    assert len(set(table.columns)) == len(table.columns) >= 1 and all(table.columns)
    assert {len(column) for column in table.columns.values()} == {len(table)}
    first = 2 if reading.is_strict else 1
    assert list(table.lines) == sorted(set(table.lines)) and table.lines[0] >= first


@given(
    st.lists(CELLS.map(str.strip).filter(bool), min_size=2, max_size=4, unique=True),
    st.data(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_a_table_that_is_written_is_read_cell_by_cell(
    folder: Path, columns: list[str], data: st.DataObject, end: str, encoding: str
) -> None:
    assume(not columns[0].startswith("\ufeff"))
    row = st.lists(CELLS, min_size=len(columns), max_size=len(columns))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    written = io.StringIO()
    csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([columns, *rows])
    path = folder / "a.csv"
    path.write_bytes(written.getvalue().encode(encoding))
    table = read_table(path, texts=columns)
    assert list(table.columns) == columns
    for place, column in enumerate(columns):
        expected = [row[place].strip() for row in rows]
        assert table.column(column) == ["" if text in MISSING else text for text in expected]


@given(ANY_TEXT | st.from_regex(r"[-+]?[0-9]{0,4}\.?[0-9]{0,4}(e[-+]?[0-9]{1,3})?", fullmatch=True))
@example("\u0663")
def test_a_number_is_what_python_reads_of_plain_digits_or_none(text: str) -> None:
    try:
        value = number(text)
    except ValueError:
        return
    if value is None:
        assert text in MISSING
    else:
        assert value == float(text) and math.isfinite(value) and text.isascii()


# ------------------------------------------------------------------------ names of runs

RESERVED = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))}


@given(ANY_TEXT | st.text("aZ09._- /\\:\n", max_size=70) | st.from_regex(r"(?i)(con|nul|com1)[.]?[a-z]?"))
@example("../x")
@example("a\n")
def test_a_run_name_is_a_plain_word_whose_folder_stands_in_its_own(
    config: Path, folder: Path, name: str
) -> None:
    name = unicodedata.normalize("NFC", name)
    of_letters = all(sign in "0123456789._-" or unicodedata.category(sign)[0] in "LM" for sign in name)
    is_plain = (
        0 < len(name) <= 64
        and of_letters
        and (name[0] in "0123456789" or unicodedata.category(name[0])[0] == "L")
        and name.split(".")[0].lower() not in RESERVED
    )
    plain = load_config(config).plain()
    try:
        config_from_plain(plain | {"name": name}, "here")
    except ConfigError as refused:
        assert "cannot name a folder" in str(refused.mistakes[0]) and said_well(refused)
        assert not (is_plain and name.isascii())
        return
    assert is_plain
    parent = Path(tempfile.mkdtemp(dir=folder))
    run = create_run(parent / "runs", config_from_plain(plain | {"name": name}, "here").name, "")
    assert run.folder.parent == parent / "runs" and re.fullmatch(re.escape(name) + "-[0-9]{3,}", run.name)
    made = {path for path in parent.rglob("*") if path.is_dir()}
    assert {path for path in made if run.folder not in path.parents} == {parent / "runs", run.folder}
    assert find_run(run.name, parent / "runs").folder == run.folder


@given(ANY_TEXT)
def test_any_text_finds_a_run_or_says_that_there_is_none(folder: Path, text: str) -> None:
    parent = folder / "found"
    if not parent.exists():
        create_run(parent, "some", "")
    try:
        found = find_run(text, parent)
    except UserError as error:
        assert error.exit_code == 2 and said_well(error)
    else:
        assert found.folder.is_dir()


# ------------------------------------------------------------------------ checkpoints

KEYS = ANY_TEXT | st.integers(-(2**63), 2**63 - 1)
TENSORS = st.builds(
    lambda shape, kind: torch.arange(math.prod(shape)).reshape(shape).to(kind),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.bfloat16]),
)
CONTENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS | st.floats() | TENSORS,
        lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)


@given(CONTENTS, CONTENTS, ANY_TEXT)
def test_whatever_is_saved_is_loaded(
    folder: Path, state: dict[Any, Any], figures: dict[Any, Any], version: str
) -> None:
    path = folder / "a.pt"
    save_checkpoint(path, Checkpoint({}, {}, state, figures, {}, version))
    loaded = load_checkpoint(path)
    assert not differences([loaded.state, loaded.figures, loaded.dlrun], [state, figures, version])


def refused_or(path: Path, whole: Checkpoint | None) -> None:
    """The file at `path` is refused in words that can be shown, or holds what `whole` does."""
    try:
        loaded = load_checkpoint(path)
    except CheckpointRefused as error:
        assert error.exit_code == 4 and said_well(error)
        return
    assert whole is not None
    for name in ("config", "data", "state", "figures", "environment", "dlrun"):
        assert not differences(getattr(loaded, name), getattr(whole, name))


@given(
    st.binary(max_size=300) | st.binary(max_size=100).map(lambda raw: b"PK\3\4" + raw + b"PK\5\6" + bytes(18))
)
def test_any_bytes_are_no_checkpoint(folder: Path, raw: bytes) -> None:
    (folder / "a.pt").write_bytes(raw)
    refused_or(folder / "a.pt", None)


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(DAMAGES), min_size=1, max_size=3))
def test_a_damaged_checkpoint_is_refused_or_what_it_was(
    good: Path, folder: Path, chance: Any, damages: list[Any]
) -> None:
    raw = bytearray(good.read_bytes())
    for damage in damages:
        raw = damage(raw, chance) or bytearray(1)
    (folder / "a.pt").write_bytes(raw)
    refused_or(folder / "a.pt", load_checkpoint(good))


INSTRUCTIONS = st.sampled_from(
    [
        *(bytes([code]) for code in range(256)),
        *(
            b"}",
            b"]",
            b"(",
            b")",
            b"t",
            b"s",
            b"u",
            b"a",
            b"e",
            b"N",
            b"K\x01",
            b"q\x00",
            b"h\x00",
            b"0",
            b"2",
        ),
        *(
            b"ctorch\nTensor\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"cos\nsystem\n",
            b"ccollections\nOrderedDict\n",
        ),
        *(b"X\x01\x00\x00\x00a", b"R", b"b", b"Q", b"\x81", b"\x85", b"\x86", b"\x87", b"\x8a\x01\x05"),
    ]
)


@given(st.lists(INSTRUCTIONS, max_size=30).map(b"".join))
def test_any_instructions_in_whole_records_are_no_checkpoint(
    good: Path, folder: Path, instructions: bytes
) -> None:
    path = with_pickle(good, folder / "a.pt", b"\x80\x02" + instructions + b".")
    refused_or(path, None)


@given(st.lists(st.tuples(ANY_TEXT, st.binary(max_size=40)), max_size=5))
def test_any_archive_is_no_checkpoint(folder: Path, records: list[tuple[str, bytes]]) -> None:
    path = folder / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in dict(records).items():
            archive.writestr("x" + name, raw)
    refused_or(path, None)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.sampled_from([4, 8, 10, 12, 16, 20]))
def test_an_end_that_says_something_else_is_refused_or_without_effect(
    good: Path, folder: Path, small: int, large: int, field: int
) -> None:
    raw = bytearray(good.read_bytes())
    end = len(raw) - 22
    form, most = ("<I", 2**32 - 1) if field in (12, 16) else ("<H", 2**16 - 1)
    struct.pack_into(form, raw, end + field, small & most)
    (folder / "a.pt").write_bytes(raw)
    refused_or(folder / "a.pt", load_checkpoint(good))
    raw = bytearray(good.read_bytes())
    struct.pack_into("<Q", raw, max(0, end - 76 + field), large)
    (folder / "a.pt").write_bytes(raw)
    refused_or(folder / "a.pt", load_checkpoint(good))


# ------------------------------------------------------------------------ the search for more


def test_a_search_through_yaml_finds_ways_that_its_first_inputs_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(strict_yaml, "_Loader", yaml.SafeLoader)
    read, files, corpus = fuzz.of_yaml(tmp_path)
    assert fuzz.search(read, files, corpus[:3], fuzz.TOKENS["yaml"], (40, 600), random.Random(0)) is None
    assert kept(capsys.readouterr().out) > 0


def test_a_search_through_checkpoints_finds_ways_that_its_first_inputs_did_not_take() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.fuzz", "checkpoint", "--inputs", "100", "--seconds", "600"],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert kept(done.stdout) > 0


def kept(printed: str) -> int:
    said = re.match(r"[\d,]+ inputs, ([\d,]+) of them kept", printed)
    assert said, printed
    return int(said[1].replace(",", ""))


def test_a_search_finds_what_must_not_happen() -> None:
    def read(raw: bytes) -> None:
        if raw[:1] != b"{":
            return
        if raw[1:2] != b"[":
            return
        if raw[2:3] != b"#":
            return
        raise KeyError(raw)

    found = fuzz.search(read, {__file__}, [b"a: 1"], fuzz.TOKENS["yaml"], (10_000, 600), random.Random(0))
    assert found is not None and isinstance(found[1], KeyError)
