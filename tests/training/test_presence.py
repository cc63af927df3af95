"""Processes of a run that lose each other say why, and no longer wait than they did."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dlrun.training import presence
from dlrun.training.presence import Presence


class Gone:
    """The store of a launcher that has ended."""

    def check(self, *_: Any) -> bool:
        raise RuntimeError("Broken pipe")

    set = get = check


class Silent(Gone):
    """The store of a machine out of reach: a call of it never returns."""

    def check(self, *_: Any) -> bool:
        time.sleep(60)
        raise AssertionError

    set = get = check


def of(store: Any, timeout: str) -> Presence:
    return Presence(store, 1, 2, timeout)


def test_without_the_launcher_no_process_claims_to_have_waited() -> None:
    with pytest.raises(presence.RunFailed, match="or the launcher has ended, in the preparation"):
        of(Gone(), "10m").meet("start")
    assert "10m" not in str(of(Gone(), "10m").lost(RuntimeError("Connection closed by peer")))


def test_a_machine_that_never_answers_is_given_up_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_BEAT", 0.1)
    monkeypatch.setattr(presence, "_MOMENT", 0.1)
    with pytest.raises(presence.RunFailed, match="did not answer for 1s, in the preparation"):
        of(Silent(), "1s").meet("start")
    for error, said in ("Timed out", "first process did not answer for 1s"), ("reset", "does not answer"):
        assert said in str(of(Silent(), "1s").lost(RuntimeError(error)))
