"""A console that lacks letters is shown others for them, by every command and in every error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from dlrun.console.commands.app import COMMANDS, main

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["cp1252", "ascii"])
def said(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Said:
    """said("train", …) is how a command ends and what it prints, where a console has few letters."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        streams = [TextIOWrapper(BytesIO(), encoding=request.param) for _ in range(2)]
        monkeypatch.setattr(sys, "argv", ["dlrun", *words])
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = []
        for stream in streams:
            stream.flush()
            printed.append(stream.buffer.getvalue().decode(request.param))  # type: ignore[attr-defined]
        return int(ended.value.code or 0), *printed  # type: ignore[return-value]

    return call


@pytest.mark.parametrize("command", ["--help", *COMMANDS])
def test_help_can_be_read(said: Said, command: str) -> None:
    code, out, err = said(command, "--help")
    assert (code, err) == (0, "")
    assert "Usage: dlrun" in out


def test_a_name_in_other_letters_is_shown_as_far_as_it_can_be(said: Said) -> None:
    code, out, err = said("train", "日本 b.yaml")
    assert (code, out) == (2, "")
    assert "there is no config ?? b" in err


def test_a_traceback_can_be_read(said: Said) -> None:
    code, _, err = said("--debug", "train", "日本.yaml")
    assert code == 2
    assert "Traceback" in err and "??.yaml" in err
