"""The commit of the folder we are in."""

from __future__ import annotations

import subprocess
from typing import Any


def git_commit() -> dict[str, Any] | None:
    """The commit of the folder we are in, and whether the tree differs from it."""
    # Git would write its index anew, and start the monitor that the folder's .git/config names.
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
