"""Files: read within bounds, and written in place only where they are one's own."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dlrun.errors import RunFailed
from dlrun.system.files import NotAFile, TooLarge, read_bounded, unshare, write_atomically


def test_a_file_is_read_up_to_its_bound_and_nothing_else_is_a_file(tmp_path: Path, no_hanging: None) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert read_bounded(file, 10) == b"x" * 10
    with pytest.raises(TooLarge, match="it has 10 bytes, and at most 9 are read"):
        read_bounded(file, 9)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(NotAFile):
            read_bounded(other, 10)


def test_a_hard_link_becomes_a_file_of_its_own_and_the_other_name_keeps_the_old_one(tmp_path: Path) -> None:
    file, other = tmp_path / "log.txt", tmp_path / "other"
    unshare(file, 100)  # nothing is there yet
    file.write_bytes(b"before\n")
    alone = file.stat().st_ino
    unshare(file, 100)
    assert file.stat().st_ino == alone, "a file of one name is left as it is"
    other.hardlink_to(file)
    with pytest.raises(TooLarge):
        unshare(file, 6)
    assert file.samefile(other)
    unshare(file, 100)
    with file.open("ab") as own:
        own.write(b"after\n")
    assert (other.read_bytes(), file.read_bytes()) == (b"before\n", b"before\nafter\n")


@pytest.mark.parametrize("begin", [0, 3])
def test_a_run_writes_through_no_hard_link(begin: int, dlrun: Any, tiny: Path, tmp_path: Path) -> None:
    """Hard links, as `cp -al` makes them for a backup, or an attacker to have a file overwritten."""
    runs = tmp_path / "runs"
    whole = Path(dlrun("train", tiny, "--quiet").out.strip())
    run = Path(dlrun("train", tiny, "--stop-after", 3, "--quiet").out.strip())
    if not begin:  # as if it had only been made
        (run / "checkpoints" / "last.pt").unlink()
        (run / "checkpoints" / "best.pt").unlink()
        (run / "metrics.csv").write_text("")
    names = ("metrics.csv", "log.txt")
    for name in names:
        (tmp_path / name).hardlink_to(run / name)
    before = {name: (tmp_path / name).read_bytes() for name in names}
    assert dlrun("resume", run.name).code == 0
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert (run / "log.txt").read_bytes().startswith(before["log.txt"])
    assert _figures(runs / run.name) == _figures(whole)


def _figures(run: Path) -> list[str]:
    return [line.rpartition(",")[0] for line in (run / "metrics.csv").read_text().splitlines()]


def test_a_disk_too_small_for_the_copy_leaves_the_link_and_says_so(
    dlrun: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(dlrun("train", tiny, "--stop-after", 1, "--quiet").out.strip())
    (tmp_path / "other").hardlink_to(run / "metrics.csv")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dlrun.system.files.shutil.copyfileobj", full)
    done = dlrun("resume", run.name)
    assert done.code == 1 and f"cannot write {run / 'metrics.csv'}: No space left" in done.err
    assert (tmp_path / "other").samefile(run / "metrics.csv")


@pytest.mark.parametrize(
    ("free", "needed", "said"),
    [
        (2**20, 5 * 2**20, " (5.0 MiB are needed, and 1.0 MiB are free)"),
        (700, 0, " (700 bytes are free)"),
        (2**40, 0, ""),
        (2**40, 2**30, ""),  # it is short of something else
    ],
)
def test_a_full_disk_is_told_in_figures_where_it_lacks_them(
    free: int, needed: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.system.files.shutil.disk_usage", lambda path: SimpleNamespace(free=free))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunFailed) as refused:
        write_atomically(tmp_path / "file", full, "go elsewhere", lambda: needed)
    assert refused.value.fix == f"free some space{said}, or go elsewhere"


def test_a_checkpoint_that_does_not_fit_the_disk_says_how_much_it_takes(
    dlrun: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dlrun.system.files.shutil.disk_usage", lambda path: SimpleNamespace(free=4096))
    monkeypatch.setattr("torch.save", full)
    done = dlrun("train", tiny, "architecture={name: mlp, hidden: [100, 100]}")
    assert done.code == 1
    assert "fix: free some space (41.8 KiB are needed, and 4.0 KiB are free)" in done.err, done.err
