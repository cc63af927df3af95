"""Large tables are parsed once: the next reading maps what was kept, if file and options are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from cells import rows_of

from dlrun.data.table_files import csv_files
from dlrun.data.table_files.columns import Column
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import Reading, Table

ROWS = "".join(f"{at};{at},5;{'xyz'[at % 3]};{at if at % 7 else ''}\n" for at in range(200))
CONTENT = f"n;x;k;m\n{ROWS}"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table that counts as a large one."""
    monkeypatch.setattr(csv_files, "_LARGE", 1)
    monkeypatch.setattr(csv_files, "_KEPT", 1)
    path = tmp_path / "table.csv"
    path.write_text(CONTENT)
    return path


def is_kept(table: Table) -> bool:
    return type(table.columns["x"]) is not Column  # but one that is read from the cache


def kept(cache: Path) -> list[Path]:
    return sorted(each for each in cache.iterdir() if each.is_dir())


def test_the_table_that_was_kept_is_the_table(path: Path, tmp_path: Path) -> None:
    plain = read_table(path, Reading(), texts=["n"])
    for _ in range(2):
        table = read_table(path, Reading(), texts=["n"], cache=tmp_path / "cache")
        assert is_kept(table) and not is_kept(plain)
        assert rows_of(table) == rows_of(plain) and list(table.columns) == list(plain.columns)
        assert list(table.lines) == list(plain.lines)
        assert list(table.notes) == list(plain.notes) and table.guessed == plain.guessed
    assert len(kept(tmp_path / "cache")) == 1
    assert {each.name for each in kept(tmp_path / "cache")[0].iterdir()} == {"columns", "index.json"}


def test_a_table_with_lines_that_are_no_rows_is_kept_too(path: Path, tmp_path: Path) -> None:
    path.write_text(f'{CONTENT}\n# a remark\n1;2,5;"a\nb";\n3;4,5;c;x\n')
    plain = read_table(path, Reading())
    for _ in range(2):
        table = read_table(path, Reading(), cache=tmp_path / "cache")
        assert is_kept(table)
        assert rows_of(table) == rows_of(plain) and list(table.lines) == list(plain.lines)
        assert table.columns["m"].odd == {201: "x"}
        assert any("remark" in note for note in table.notes)


def test_another_content_or_other_options_are_another_table(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read_table(path, Reading(), cache=cache)
    table = read_table(path, Reading(na_values=["x"]), cache=cache)
    assert table.columns["k"].missing.any()
    assert len(kept(cache)) == 2
    path.write_text(CONTENT.replace("1;1,5", "1;7,5"))
    table = read_table(path, Reading(), cache=cache)
    assert table.column("x")[1] == "7.5"
    assert len(kept(cache)) == 1, "those of the earlier content are gone"


def test_a_bit_that_has_changed_on_the_disk_is_found_and_the_file_parsed_again(
    path: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    before = rows_of(read_table(path, Reading(), cache=cache))
    for name in ("columns", "index.json"):
        file = kept(cache)[0] / name
        content = bytearray(file.read_bytes())
        content[200] ^= 1
        file.write_bytes(content)
        assert rows_of(read_table(path, Reading(), cache=cache)) == before
        assert is_kept(read_table(path, Reading(), cache=cache))


def test_a_table_is_read_where_nothing_can_be_kept(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    table = read_table(path, Reading(), cache=tmp_path / "cache")
    assert len(table) == 200 and not is_kept(table)


def test_a_mistake_is_said_and_nothing_is_kept(path: Path, tmp_path: Path) -> None:
    path.write_text(f"{CONTENT}1;2\n1;2;3;4\n")
    with pytest.raises(csv_files.UserError, match="1 row has too few cells"):
        read_table(path, Reading(), cache=tmp_path / "cache")
    assert not any(each.is_file() for each in (tmp_path / "cache").rglob("*"))
