"""A command is printed as the shell of the system reads it."""

from __future__ import annotations

import os
import shlex

import pytest

from dlrun.system.processes import quoted

WORDS = ["dlrun", "resume", r"C:\my runs\small-001"]


def test_a_command_that_is_printed_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shlex.split(quoted(WORDS)) == WORDS
    monkeypatch.setattr(os, "sep", "\\")
    assert quoted(WORDS) == r'dlrun resume "C:\my runs\small-001"'
