"""The folders of data and of runs that commands use if none is named."""

from __future__ import annotations

from pathlib import Path

DATA = Path("data")
RUNS = Path("runs")


def each_once(folders: list[Path] | None) -> list[Path]:
    """The folders that --runs-dir names, each of them once; without any the usual one."""
    return list({folder.resolve(): folder for folder in folders or [RUNS]}.values())
