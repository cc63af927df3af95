"""A number in a config file is replaced where it stands, and nothing else changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.config.loading import load_config
from dlrun.config.written_values import written_number
from dlrun.errors import UserError

Write = Callable[[str, str], Path]
RATE = "optimizer.lr"
REST = """dataset: {name: spiral, points: 20}
architecture: {name: mlp, hidden: [4]}
loss: cross_entropy
epochs: 3
batch_size: 32
"""
BLOCK = "# rates: lr: 1e-2\noptimizer:   # lr: 1\n  name: adam\n  lr:   1e-2   # lr: 1e-2\n  eps: 1e-8\n"
FLOW = "optimizer: {lr: 1e-2, name: adam}  # größer: 1e-2\n"
QUOTED = "\"optimizer\":\n    {'lr'  : +.01 ,\n  name: adam}\n"


@pytest.mark.parametrize("text", [BLOCK, FLOW, QUOTED])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("value", [3.5e-05, 0.031, 12.0])
def test_only_the_number_changes(tmp_path: Path, text: str, ends: str, bom: bytes, value: float) -> None:
    path = tmp_path / "config.yaml"
    raw = bom + f"# Überschrift\n{text}{REST}".replace("\n", ends).encode()
    path.write_bytes(raw)
    place = written_number(path, RATE)
    now = place.set_to(value)
    assert load_config(path).optimizer.options["lr"] == value
    start = len(bom) + len(place.before.encode())
    assert path.read_bytes() == raw[:start] + now.encode() + raw[start + len(place.written) :]
    assert float(place.written) == 0.01
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]


def test_mode_and_link_stay(tmp_path: Path, write: Write) -> None:
    path = write("real.yaml", FLOW + REST)
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    written_number(link, RATE).set_to(0.5)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert load_config(path).optimizer.options["lr"] == 0.5


def test_a_file_with_a_base_may_have_the_number_itself(write: Write) -> None:
    write("below.yaml", FLOW + REST)
    path = write("above.yaml", "base: below.yaml\noptimizer: {lr: 1e-3}\n")
    written_number(path, RATE).set_to(0.5)
    assert path.read_text() == "base: below.yaml\noptimizer: {lr: 0.5}\n"


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("base: below.yaml\n", "comes from its base, below.yaml", "write optimizer: {lr: …}"),
        ("base: below.yaml\noptimizer: {eps: 1e-7}\n", "comes from its base", "write optimizer: {lr: …}"),
        (f"optimizer: adadelta\n{REST}", "its default is used", "write lr: …"),
        (f"{FLOW}{REST}sweep: {{{RATE}: [1e-3, 1e-2]}}\n", "the file is a sweep", "without sweep:"),
        (f"{FLOW}{REST}sweep: {{epochs: [1, 2]}}\n", "the file is a sweep", "without sweep:"),
        (f"optimizer: {{name: adam, lr: [1e-3, 1e-2]}}\n{REST}", "is not one number", "write one number"),
        ("- 1\n", "must be a mapping", "leave out the dashes"),
    ],
)
def test_a_file_without_one_number_is_refused(write: Write, text: str, what: str, fix: str) -> None:
    write("below.yaml", FLOW + REST)
    path = write("above.yaml", text)
    with pytest.raises(UserError) as refused:
        written_number(path, RATE)
    assert what in refused.value.what
    assert fix in refused.value.fix
    assert str(path) in refused.value.where
    assert path.read_text() == text


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(UserError, match="pipe"):
        written_number(path, RATE)
