"""A file is replaced whole, however long somebody else keeps it open; a pipe or folder is opened at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import RunFailed
from dlrun.system import files
from dlrun.system.files import open_to_read, write_atomically

SHARING_VIOLATION, PRIVILEGE_NOT_HELD = 32, 1314  # of Windows


def refusing(times: float, winerror: int | None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have os.replace refuse so often, as Windows does while somebody reads the file; what it was asked."""
    asked: list[Any] = []
    replace: Callable[..., None] = os.replace

    def refuse(before: Path, after: Path) -> None:
        asked.append(after)
        if len(asked) <= times:
            error = PermissionError(13, "Permission denied")
            if winerror is not None:
                error.winerror = winerror  # type: ignore[attr-defined]
            raise error
        replace(before, after)

    monkeypatch.setattr(os, "replace", refuse)
    return asked


def test_a_file_that_somebody_reads_is_replaced_once_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")
    asked = refusing(3, SHARING_VIOLATION, monkeypatch)
    write_atomically(path, lambda file: file.write(b"new"))
    assert (path.read_text(), len(asked)) == ("new", 4)


@pytest.mark.parametrize("winerror", [SHARING_VIOLATION, PRIVILEGE_NOT_HELD, None])
def test_a_file_that_is_never_closed_or_may_not_be_written_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, winerror: int | None
) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    asked = refusing(float("inf"), winerror, monkeypatch)
    with pytest.raises(RunFailed, match=r"cannot write .*summary.json: Permission denied"):
        write_atomically(path, lambda file: file.write(b"new"))
    assert [each.name for each in tmp_path.iterdir()] == ["summary.json"]
    assert path.read_text() == "old"
    assert (len(asked) > 1) == (winerror == SHARING_VIOLATION)


def test_line_ends_are_written_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without O_BINARY Windows would write two bytes for each."""
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)
    wanted = ("O_RDONLY", "O_BINARY", "O_LACKING")
    assert files._flags(*wanted) == os.O_RDONLY | 0x8000


def test_a_pipe_is_opened_at_once_and_a_folder_is_refused_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    open_to_read(tmp_path / "pipe").close()
    with pytest.raises(IsADirectoryError):
        open_to_read(tmp_path)

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # as Windows does for both
    with pytest.raises(IsADirectoryError):
        open_to_read(tmp_path)
    with pytest.raises(PermissionError):
        open_to_read(tmp_path / "file")
