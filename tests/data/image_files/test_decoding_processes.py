"""Processes that help to decode give what threads would, leave what they should, and may end at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlrun.data.image_files import decoded_images, decoding_processes
from dlrun.data.image_files.decoded_images import Decoding, decoded
from dlrun.data.image_files.decoding_processes import DecodingProcesses
from dlrun.data.image_files.reading import Picture, Unreadable, read_picture
from dlrun.errors import UserError

SETTINGS: dict[str, Any] = {"height": 8, "width": 8, "channels": 3, "resize": "crop", "levels": None}
COUNT = 60


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """JPEGs of several sizes, the last of them larger than a process reads, and in between damaged ones."""
    chance = np.random.default_rng(0)
    names = []
    for number in range(COUNT):
        sides = (600, 600, 3) if number == COUNT - 1 else (10 + number, 40, 3)
        name = tmp_path / f"{number:02}.jpg"
        Image.fromarray(chance.integers(0, 256, sides, dtype=np.uint8)).save(name)
        if number in (7, 31):
            name.write_bytes(name.read_bytes()[:200])
        names.append(str(name))
    return names


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have few images decoded by two processes, in pieces of four; the files that threads read besides."""
    monkeypatch.setattr(decoded_images, "_MANY", 1)
    monkeypatch.setattr(decoded_images, "_PIECE", 4 * 8 * 8 * 3)
    monkeypatch.setattr(decoded_images.machine, "cores", lambda: 2)
    real, besides = read_picture, list[str]()

    def noted(file: str, **settings: Any) -> Picture:
        besides.append(file)
        return real(file, **settings)

    monkeypatch.setattr(decoded_images, "read_picture", noted)
    return besides


def begun(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are begun from here on."""
    found, real = list[subprocess.Popen[bytes]](), subprocess.Popen

    def noted(*words: Any, **more: Any) -> subprocess.Popen[bytes]:
        found.append(real(*words, **more))
        return found[-1]

    monkeypatch.setattr(decoding_processes.subprocess, "Popen", noted)
    return found


def said(pictures: Iterator[Picture | UserError]) -> list[bytes | str]:
    return [each.values.tobytes() if isinstance(each, Picture) else each.what for each in pictures]


def expected(files: list[str]) -> list[bytes | str]:
    def one(file: str) -> bytes | str:
        try:
            return read_picture(file, **SETTINGS).values.tobytes()
        except Unreadable as error:
            return error.what

    return [one(file) for file in files]


def settings_of(files: list[str]) -> Decoding:
    return Decoding(Path(files[0]).parent, (3, 8, 8), "crop")


def test_they_give_what_threads_would_in_order_and_leave_large_and_damaged_ones(
    files: list[str], in_processes: list[str]
) -> None:
    assert said(decoded(settings_of(files), files)) == expected(files)
    assert sorted(in_processes) == [files[7], files[31], files[-1]]


def test_few_files_are_read_by_threads_alone(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    processes = begun(monkeypatch)
    assert said(decoded(settings_of(files), files)) == expected(files)
    assert not processes


def test_images_of_more_than_eight_bits_are_read_by_the_same_levels(
    tmp_path: Path, in_processes: list[str]
) -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 100
    files = [str(tmp_path / f"{number}.png") for number in range(8)]
    for number, file in enumerate(files):
        Image.fromarray(values + number).save(file)
    every = list(decoded(Decoding(tmp_path, (1, 8, 8), "crop", (10.5, 6000.25)), files))
    again = [read_picture(file, 8, 8, 1, "crop", (10.5, 6000.25)) for file in files]
    for found, one in zip(every, again, strict=True):
        assert isinstance(found, Picture) and found.remarks == one.remarks == ["deep", "clipped"]
        assert found.values.tobytes() == one.values.tobytes()
    assert not in_processes


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no such signal")
def test_what_they_had_yet_to_read_when_they_were_killed_is_read_by_threads(
    files: list[str], in_processes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = begun(monkeypatch)
    pictures = decoded(settings_of(files), files)
    first = said(iter([next(pictures)]))
    assert len(processes) == 2
    for each in processes:
        os.kill(each.pid, signal.SIGKILL)
    assert first + said(pictures) == expected(files)
    assert len(in_processes) > 10


def test_a_system_that_refuses_processes_has_threads_read_everything(
    files: list[str], in_processes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(decoding_processes.subprocess, "Popen", refused)
    assert said(decoded(settings_of(files), files)) == expected(files)
    assert len(in_processes) == COUNT


def test_they_end_when_no_more_is_asked_of_them(
    files: list[str], in_processes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = begun(monkeypatch)
    pictures = decoded(settings_of(files), files)
    next(pictures)
    assert [each.poll() for each in processes] == [None, None]
    pictures.close()
    assert [each.returncode for each in processes] == [0, 0]


def test_what_a_process_prints_is_no_answer(
    files: list[str], in_processes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "sitecustomize.py").write_text("print('Loading …', flush=True)\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "noise"))
    found = list(decoded(Decoding(Path(), (3, 8, 8), "crop"), files[:7]))
    assert all(isinstance(one, Picture) for one in found)


def test_one_that_reads_none_of_some_files_is_not_asked_again(files: list[str]) -> None:
    with DecodingProcesses(1, SETTINGS) as processes:
        assert processes.pictures(files[:2]) != [None, None]
        for _ in range(9):
            assert processes.pictures([files[7], files[-1]]) == [None, None]
        assert processes.pictures(files[:2]) != [None, None]  # small ones among the large
        for _ in range(10):
            assert processes.pictures([files[7], files[-1]]) == [None, None]
        assert processes.pictures(files[:2]) == [None, None]


def test_they_start_without_pytorch() -> None:
    module = "dlrun.data.image_files.decoding_processes"
    subprocess.run(
        [sys.executable, "-c", f"import {module}, sys; sys.exit('torch' in sys.modules)"], check=True
    )
