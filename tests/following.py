"""A page that is followed to the letter: its commands are run, and must print what it shows."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import blocks

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
# Times, and a line of progress that a slow machine prints.
_SECONDS, _PROGRESS = re.compile(r" in \d[\d:.]* (?:s|min|h)\b"), re.compile(r"epoch (\d+)/(?!\1 )")


def follow_page(text: str, dlrun: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files of a page into an empty folder, and give its commands there, in its order."""
    monkeypatch.chdir(here)
    for kind, name, content in blocks(text):
        path = Path(name)
        if kind != "console":
            if path.exists():
                assert path.read_text(encoding="utf-8") == content, f"dlrun new writes another {name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            continue
        for command, shown in commands(content):
            follow(command, shown, dlrun, here, monkeypatch)


def commands(content: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block, with the lines of output that are shown below it."""
    for command in content.removeprefix("$ ").split("\n$ "):
        first, *shown = command.splitlines()
        yield first, shown


def lines_of(text: str) -> list[str]:
    """The lines of an output without those that are empty, times and progress."""
    kept = (line.rstrip() for line in text.splitlines() if line.strip() and not _PROGRESS.match(line))
    return [_SECONDS.sub(" in a while", line) for line in kept]


def says_the_same(shown: str, printed: str) -> bool:
    """True if two lines have the same words, and the same figures as far as a processor decides them."""
    words = [" ".join(_NUMBER.sub("0", line).split()) for line in (shown, printed)]
    figures = [[float(n.replace(",", "")) for n in _NUMBER.findall(line)] for line in (shown, printed)]
    return words[0] == words[1] and figures[0] == pytest.approx(figures[1], rel=0.005, abs=0.005)


def occurs(shown: list[str], printed: list[str]) -> bool:
    """True if the lines shown are among the printed ones, without a gap except where `…` says so."""
    while "…" in shown:
        cut = shown.index("…")
        places = (
            start
            for start in range(len(printed) - cut + 1)
            if all(map(says_the_same, shown[:cut], printed[start : start + cut]))
        )
        start = next(places, None)
        if start is None:
            return False
        shown, printed = shown[cut + 1 :], printed[start + cut :]
    return any(
        all(map(says_the_same, shown, printed[start : start + len(shown)]))
        for start in range(len(printed) - len(shown) + 1)
    )


def follow(
    command: str,
    shown: list[str],
    dlrun: Callable[..., Any],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Do what a command of the page does, and compare its output with what is shown."""
    program, *words = shlex.split(command, comments=True)
    match program:
        case "export":
            monkeypatch.setenv(*words[0].replace("$PWD", str(here)).split("="))
        case "python":
            runpy.run_path(words[0])
        case "dlrun":
            stated = re.search(r"# exit code (\d)", command)
            done = dlrun(*words)
            printed = (done.out + done.err).replace(f"{here}/", "")
            if words[0] == "show":  # what a terminal does not show as comments
                printed = re.sub(r"^# ?", "", printed, flags=re.MULTILINE)
            assert done.code == (int(stated[1]) if stated else 0), f"{command}\n{printed}"
            assert occurs(lines_of("\n".join(shown)), lines_of(printed)), f"{command}\n{printed}"
        case _:
            pytest.fail(f"a reader may not have {program}")
