"""The index of a folder of a cache: plain values with a checksum, written last, that make the rest valid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlrun.system.files import ANOTHER_DATA_DIR, write_atomically

_NAME = "index.json"


def write_index(folder: Path, index: Mapping[str, Any]) -> None:
    """Write the index of a folder. Raises RunFailed if the disk refuses."""
    text = json.dumps({**index, "check": _check(index)}).encode()
    write_atomically(folder / _NAME, lambda file: file.write(text), ANOTHER_DATA_DIR)


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a folder; {} if it is missing or damaged."""
    path = folder / _NAME
    try:
        index = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(index, dict) or index.pop("check", None) != _check(index):
        return {}
    return index


def _check(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(index)).encode()).hexdigest()
