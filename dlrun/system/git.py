"""The git commit of the current folder, noted in a run's summary."""

from __future__ import annotations

import subprocess
from typing import Any


def git_commit() -> dict[str, Any] | None:
    """The commit of the current folder, and `dirty` if the working tree differs; None without git."""
    # By default git rewrites its index, and runs the monitor program that the folder's .git/config names.
    careful = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false"]

    def git(*words: str) -> str:
        done = subprocess.run(
            [*careful, *words], capture_output=True, encoding="utf-8", errors="replace", timeout=5, check=True
        )
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
