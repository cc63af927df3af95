"""A number in a config file, found where it is written and replaced there: all else stays byte for byte."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml

from dlrun.config.dumping import in_one_line
from dlrun.config.keys import SWEEP_KEY
from dlrun.config.strict_yaml import Located, Place, no_mapping, parse, read_file
from dlrun.errors import UserError
from dlrun.system.bounds import CONFIG
from dlrun.system.files import NotAFile, read_bounded, write_atomically

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class WrittenNumber:
    """A number of a config as its file has it: the text around it, which stays, and its place."""

    path: Path
    key: str
    before: str
    written: str
    after: str
    place: Place
    has_bom: bool

    def set_to(self, value: float) -> str:
        """Write another number in its place, atomically; gives it as it is written now.

        Raises RunFailed, with the file unchanged, if the disk refuses.
        """
        now = in_one_line(value)
        text = f"{self.before}{now}{self.after}"
        assert _number_at(parse(text, str(self.path)), self.key).value == value, "the file has the new number"
        content = (_BOM if self.has_bom else b"") + text.encode()
        target = self.path.resolve()  # a link stays one
        mode = stat.S_IMODE(target.stat().st_mode)

        def write(file: IO[bytes]) -> None:
            file.write(content)
            with suppress(OSError, AttributeError):  # not every system and file system has modes
                os.fchmod(file.fileno(), mode)

        write_atomically(target, write, fix="write the number yourself")
        return now


def written_number(path: Path, key: str) -> WrittenNumber:
    """The number of a key, such as `optimizer.lr`, in a config file.

    Raises UserError unless the file itself has it, as one number for all runs.
    """
    tree = read_file(path)
    if not isinstance(tree.value, dict):
        raise no_mapping(tree)
    if SWEEP_KEY in tree.value:
        what = f"the file is a sweep, whose runs have values of their own: {key} is not one number"
        fix = "write a config without sweep: for it, or set the values there yourself"
        raise UserError(what, where=str(tree.value[SWEEP_KEY].key_place), fix=fix)
    found = _number_at(tree, key)
    try:
        raw = read_bounded(path, CONFIG)
    except NotAFile:
        raise UserError(f"{path} is no file that could be changed", fix="name a YAML file") from None
    text = raw.decode("utf-8-sig")
    start, end = _span(text, key.split("."))
    return WrittenNumber(
        path, key, text[:start], text[start:end], text[end:], found.place, raw.startswith(_BOM)
    )


def _number_at(tree: Located, key: str) -> Located:
    """The number of a key in the tree of a file. Raises UserError if it is not there."""
    found = tree
    for name in key.split("."):
        inside = found.value.get(name) if isinstance(found.value, dict) else None
        if inside is None:
            option = key.rpartition(".")[2]
            base = tree.value.get("base")
            if base is not None:
                what = f"{key} is not in this file: it comes from its base, {base.value}"
                fix = f"write {key.split('.')[0]}: {{{option}: …}} into this file first, with any number"
            else:
                what, fix = f"{key} is not in this file: its default is used", f"write {option}: … first"
            raise UserError(what, where=str(found.place), fix=fix)
        found = inside
    if isinstance(found.value, bool) or not isinstance(found.value, int | float):
        raise UserError(f"{key} is not one number", where=str(found.place), fix="write one number there")
    return found


def _span(text: str, names: Sequence[str]) -> tuple[int, int]:
    """The start and the end of a value in the text of a config, in characters."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in names:
        assert isinstance(node, yaml.MappingNode), "the key was found before"
        node = next(value for key, value in node.value if key.value == name)
    assert node is not None
    return node.start_mark.index, node.end_mark.index
