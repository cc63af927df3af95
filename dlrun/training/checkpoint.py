"""The checkpoint: one self-contained file for a trained model, written atomically and validated when read."""

from __future__ import annotations

import hashlib
import io
import os
import pickletools
import stat
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.errors import CheckpointRefused, RunFailed, in_full, shortened
from dlrun.system import machine
from dlrun.system.files import open_to_read, size_text, write_atomically

FORMAT = 1
_MOST_NODES = 500_000
_DEEPEST = 32
_MOST_OPERATIONS = 20 * _MOST_NODES  # of pickle; a tensor takes some forty
_MAKING = (b"}", b"]", b"\x85", b"\x8f")  # each of these bytes makes pickle a dict, list, tuple or set
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number with which files of before PyTorch 1.6 begin
# If this bit is set, PyTorch's reader takes a record for a folder and reads its bytes from arbitrary memory.
_FOLDER = 0x10
_LARGEST_DIRECTORY = 2**24  # bytes: more than a hundred thousand records
_KEYS = {"format", "dlrun", "config", "data", "state", "figures", "environment"}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    `config` is the resolved config; `data` the task, shapes, class names, unit, preprocessing, fingerprint
    and the keys of the examples that were trained on; `state` the State's state_dict, without the optimizer
    in best.pt; `figures` those of its epoch, a list over seeds for each column; `environment` versions,
    machine, threads.
    """

    config: dict[str, Any]
    data: dict[str, Any]
    state: dict[str, Any]
    figures: dict[str, Any]
    environment: dict[str, Any]
    dlrun: str
    digest: str = ""  # SHA-256 of the file it was read from


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint atomically: a crash at any moment leaves the old file or the new one complete.

    Raises RunFailed, naming the entry, for a value that could not be read back, and if the disk refuses.
    """
    content = {
        "format": FORMAT,
        "dlrun": checkpoint.dlrun,
        "config": checkpoint.config,
        "data": checkpoint.data,
        "state": checkpoint.state,
        "figures": checkpoint.figures,
        "environment": checkpoint.environment,
    }
    try:
        _check(content)
    except _Unfit as unfit:
        what = f"a checkpoint cannot hold this run: {unfit.reason}"
        fix = "keep numbers, texts, lists, dicts and whole tensors there"
        raise RunFailed(what, where=str(path), fix=fix) from None
    write_atomically(path, lambda file: torch.save(content, file), needed=lambda: _size(content))


def _size(content: Any) -> int:
    """The bytes of all tensors in a content; a shared storage counts once."""
    memories = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for _, value in _walk(content)
        if isinstance(value, Tensor)
    }
    return sum(memories.values())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint from an untrusted file: no code in it is ever executed.

    Raises CheckpointRefused for a file that is not a complete dlrun checkpoint of plain values and tensors.
    """
    content, digest = load_plain(path)
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise CheckpointRefused("this is not a dlrun checkpoint", where=str(path))
    if type(content["format"]) is not int or content["format"] != FORMAT:
        written = shortened(content["dlrun"])
        raise CheckpointRefused(
            f"the checkpoint was written by dlrun {written}, in a format that this version cannot read",
            where=str(path),
            fix="install that version of dlrun",
        )
    wanted = {key: str if key == "dlrun" else dict for key in sorted(_KEYS - {"format"})}
    for key, kind in wanted.items():
        if not isinstance(content[key], kind):
            raise CheckpointRefused(
                f"this is not a dlrun checkpoint: {key} has the wrong type", where=str(path)
            )
    return Checkpoint(**{key: content[key] for key in wanted}, digest=digest)


def load_plain(path: Path, *, may_be_old: bool = False) -> tuple[Any, str]:
    """Read what torch.save wrote into an untrusted file, and the file's SHA-256: no code in it is executed.

    It `may_be_old`, of before PyTorch 1.6, without checksums. Raises CheckpointRefused unless it is
    a tree of plain values and tensors.
    """
    raw = read_whole(path)
    try:
        return _open(raw, may_be_old=may_be_old), hashlib.sha256(raw).hexdigest()
    except CheckpointRefused as refused:
        raise CheckpointRefused(refused.what, where=str(path), fix="use another checkpoint") from None


def read_whole(path: Path) -> bytes:
    """The bytes of a regular file, read only once, so that the loaded bytes are the checked ones."""
    try:
        with open_to_read(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointRefused("a checkpoint must be a file", where=str(path))
            if status.st_size > (there := machine.memory()):
                sizes = f"{size_text(status.st_size)}, and this process may use {size_text(there)} of memory"
                raise CheckpointRefused(f"the checkpoint has {sizes}", where=str(path))
            return file.read()
    except OSError as error:
        raise CheckpointRefused(
            f"cannot read the checkpoint: {error.strerror}", where=in_full(path)
        ) from None


def _open(raw: bytes, *, may_be_old: bool = False) -> Any:
    """Check the bytes of a checkpoint and return its plain values and tensors."""
    try:
        if may_be_old and raw.startswith(_OLD):
            _refuse_old_file(raw)
        else:
            _refuse_archive(raw)
        with warnings.catch_warnings(action="ignore"):  # about values that _check refuses
            content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        _check(content)
        return content
    except CheckpointRefused:
        raise
    except Exception as error:  # a hostile file may raise anything
        what = (
            (str(error).splitlines() or [""])[0][:100]
            if isinstance(error, zipfile.BadZipFile)
            else "its content"
        )
        raise CheckpointRefused(f"checkpoint is damaged ({what})") from None


def _refuse_archive(raw: bytes) -> None:
    """Raises CheckpointRefused for a zip that PyTorch and zipfile may read differently, or a damaged one."""
    _refuse_another_directory(raw)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        records = archive.infolist()
        names = [record.filename for record in records]
        if len(set(names)) < len(names) or len(names) > _MOST_NODES:
            raise CheckpointRefused("checkpoint is damaged (a record occurs twice)")
        if any(r.compress_type != zipfile.ZIP_STORED or r.file_size != r.compress_size for r in records):
            raise CheckpointRefused("checkpoint is damaged (a record is compressed)")
        if any(r.external_attr & _FOLDER or r.is_dir() for r in records):
            raise CheckpointRefused("checkpoint is damaged (a record is a folder)")
        if sum(record.file_size for record in records) > len(raw):
            raise CheckpointRefused("checkpoint is damaged (records overlap)")
        broken = archive.testzip()  # torch.load verifies no checksums: it would load flipped bits
        if broken is not None:
            raise CheckpointRefused(f"checkpoint is damaged ({shortened(broken)})")
        for name in names:
            if name.endswith("data.pkl"):
                pickled = archive.read(name)
                if sum(map(pickled.count, _MAKING)) > _MOST_NODES // 2:
                    raise CheckpointRefused("checkpoint is damaged (its content is too large)")


def _refuse_old_file(raw: bytes) -> None:
    """Raises CheckpointRefused for pickles that make too much: five of them stand before the numbers."""
    file, operations, made = io.BytesIO(raw), 0, 0
    for _ in range(5):
        for operation, _, _ in pickletools.genops(file):
            operations += 1
            made += operation.code.encode("latin-1") in _MAKING
            if made > _MOST_NODES // 2 or operations > _MOST_OPERATIONS:
                raise CheckpointRefused("checkpoint is damaged (its content is too large)")


class _Unfit(CheckpointRefused):
    """A value that no checkpoint can hold."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"checkpoint is damaged ({reason})")
        self.reason = reason


def _refuse_another_directory(raw: bytes) -> None:
    """Raises CheckpointRefused unless the zip's central directory is directly before the end of the file.

    zipfile reads it there, PyTorch at the offset in the file. If these differed, each would read other
    records, and the checked ones would not be those that are loaded.
    """
    end = len(raw) - 22
    if end < 0 or raw[end : end + 4] != b"PK\5\6" or raw[-2:] != b"\0\0":
        raise CheckpointRefused("checkpoint is damaged (its end is missing)")
    size, start = struct.unpack_from("<II", raw, end + 12)
    locator, record = end - 20, end - 20 - 56  # of zip64, for files of more than 4 GiB
    if record >= 0 and raw[locator : locator + 4] == b"PK\6\7":
        if struct.unpack_from("<Q", raw, locator + 8) != (record,) or raw[record : record + 4] != b"PK\6\6":
            raise CheckpointRefused("checkpoint is damaged (its directory)")
        size, start = struct.unpack_from("<QQ", raw, record + 40)
        end = record
    if start + size != end or size > _LARGEST_DIRECTORY:
        raise CheckpointRefused("checkpoint is damaged (its directory)")


_KINDS = (dict, OrderedDict, list, tuple, str, int, float, bool, type(None), Tensor, nn.Parameter)
_LONGEST = 2000  # bits of an int: torch.load cannot read a longer one


def _check(content: Any) -> None:
    """Raises _Unfit unless this is a tree of plain values and dense tensors, of bounded size and depth."""
    for trail, value in _walk(content):
        if kind := _foreign(value):
            raise _Unfit(f"{_place(content, trail) or 'it'} is {kind}")


def _foreign(value: Any) -> str:
    """Describe a value that a checkpoint cannot hold; "" if it can."""
    if type(value) not in _KINDS:  # not isinstance: np.float64 is a subclass of float
        return f"a {type(value).__name__}"
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            return "a tensor that is sparse, quantized or without values"
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            return "an expanded tensor, larger than its storage"
    elif isinstance(value, int) and value.bit_length() > _LONGEST:
        return f"a number of more than {_LONGEST:,} bits"
    return ""


def _walk(content: Any) -> Iterator[tuple[list[str | int], Any]]:
    """Yield every value in a tree of dicts, lists and tuples, with the keys that lead to it.

    Raises _Unfit for too many or too deeply nested values, and for a key that is no text or int.
    """
    nodes, trail = 1, list[str | int]()
    yield trail, content
    pending = [_entries(content)]
    while pending:
        for key, value in pending[-1]:
            nodes += 1
            trail.append(key)
            if nodes > _MOST_NODES or len(trail) > _DEEPEST:
                raise _Unfit("its content is nested too deeply or too large")
            yield trail, value
            if isinstance(value, dict | list | tuple):
                if isinstance(value, dict) and not all(type(key) in (str, int) for key in value):
                    raise _Unfit(f"a key in {_place(content, trail)} is no text")
                pending.append(_entries(value))
                break
            trail.pop()
        else:
            pending.pop()
            if trail:
                trail.pop()


def _entries(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return enumerate(value) if isinstance(value, list | tuple) else iter(())


def _place(content: Any, trail: list[str | int]) -> str:
    """The path of the keys as text: `state.model[0].weight`."""
    text = ""
    for key in trail:
        text += f".{key}" if isinstance(content, dict) else f"[{key}]"
        content = content[key]
    return text[-200:].lstrip(".")
