"""The encoding of a text file, found by reading all of it, and its lines."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dlrun.data.table_files.packed_files import PackedFile
from dlrun.errors import UserError

_PIECE = 2**20  # bytes
_SAMPLE = 2**17  # characters by which a table is judged, if they are _LINES or more; else more of them
_LINES, _LARGEST = 20, 2**24
LONGEST_LINE = 2**24  # characters: a hundred thousand columns
INVISIBLE = "\ufeff\u200b\u2060\u200e\u200f"  # at the ends of cells they mean nothing, and hide mistakes
_WINDOWS = "cp1252"  # the encoding of programs of Windows in the west
_MARK = codecs.BOM_UTF8
FIX = "save the table as CSV, in UTF-8"


@dataclass(frozen=True)
class TextFile:
    """A text file: its encoding, and its beginning as a sample, which is the whole text if `is_short`.

    It has at most `most_lines` lines. `has_marks` is True if it begins with more than one byte order mark.
    `note` says what was guessed, "" if it was nothing.
    """

    file: PackedFile
    encoding: str
    sample: str
    is_short: bool
    most_lines: int
    has_marks: bool = False
    note: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the lines with their ends: LF, CRLF or CR. Raises UserError for one that is far too long."""
        with self.file.opened() as raw, io.TextIOWrapper(raw, self.encoding, newline="") as text:
            number = 0
            while line := text.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    what = f"row {number} is longer than {LONGEST_LINE:,} characters"
                    raise UserError(what, where=str(self.file.path))
                yield line.lstrip("\ufeff") if number == 1 else line


def text_file(file: PackedFile, encoding: str = "auto") -> TextFile:
    """Read a whole file as text, and tell its encoding: UTF-8, UTF-16 by its mark or zeros, else cp1252.

    Raises UserError if it is no text, or not in the given encoding.
    """
    if encoding != "auto":
        known = _known(encoding)
        try:
            return _read(file, known)
        except UnicodeDecodeError as error:
            what = f"this is not {encoding}: {error.reason}"
            raise UserError(what, where=str(file.path), fix="set another encoding, or leave it out") from None
    with file.opened() as raw:
        start = raw.read(_PIECE)
    if wide := _wide(start):
        try:
            return _read(file, wide, "read as UTF-16")
        except UnicodeDecodeError as error:
            what = f"this is no complete UTF-16: {error.reason}"
            raise UserError(what, where=str(file.path), fix=FIX) from None
    if b"\0" in start:
        line = start[: start.index(b"\0")].count(b"\n") + 1
        raise UserError(f"row {line} holds a byte 0: this is not text", where=str(file.path), fix=FIX)
    try:
        return _read(file, "utf-8-sig")
    except UnicodeDecodeError:
        line, word = _first_beyond_ascii(file)
        try:
            return _read(file, _WINDOWS, f"read as {_WINDOWS}, for line {line} is not UTF-8 ({word!r})")
        except UnicodeDecodeError:
            what = f"row {line} is neither UTF-8 nor {_WINDOWS} ({word!r})"
            fix = "save the table in UTF-8, or set encoding, such as latin-1, shift_jis or gb18030"
            raise UserError(what, where=f"{file.path}:{line}", fix=fix) from None


def _wide(start: bytes) -> str:
    """The kind of UTF-16 that some bytes seem to be, "" if none."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = start[first::2].count(0)
        if zeros > 0.9 * len(start[first::2]) and not start[1 - first :: 2].count(0):
            return encoding
    return ""


def _known(encoding: str) -> str:
    """An encoding as Python calls it. Raises UserError if there is none of the name."""
    try:
        "".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        what = f"there is no encoding {encoding[:40]!r}"
        raise UserError(what, fix="set encoding, such as utf-8, cp1252 or utf-16") from None
    return "utf-8-sig" if name == "utf-8" else name


def _read(file: PackedFile, encoding: str, note: str = "") -> TextFile:
    """Decode a whole file. Raises UnicodeDecodeError for a guessed encoding (one with a note, or UTF-8)."""
    decoder = codecs.getincrementaldecoder(encoding)()
    sample, size, lines, is_utf8 = "", 0, 0, encoding == "utf-8-sig"
    with file.opened() as raw:
        while piece := raw.read(_PIECE):
            if (
                is_utf8
                and _is_enough(sample)
                and piece.isascii()
                and not decoder.getstate()[0]
                and b"\0" not in piece
            ):
                size, lines = size + len(piece), lines + _ends(piece)
                continue
            text = decoder.decode(piece)
            if "\0" in text:
                line = lines + text[: text.index("\0")].count("\n") + 1
                raise UserError(f"row {line} holds a byte 0: this is not text", where=str(file.path), fix=FIX)
            lines += text.count("\n") + (text.count("\r") - text.count("\r\n") if "\r" in text else 0)
            size += len(text)
            if not _is_enough(sample):
                sample += text
        decoder.decode(b"", final=True)
    most = _SAMPLE if sample.count("\n", 0, _SAMPLE) >= _LINES else _LARGEST
    is_short = size <= min(most, len(sample))
    has_marks, sample = sample.startswith("\ufeff"), sample[:most].lstrip("\ufeff")
    if not is_short and (end := max(sample.rfind("\n"), sample.rfind("\r"))) >= 0:
        sample = sample[: end + 1]
    return TextFile(file, encoding, sample, is_short, lines + 1, has_marks, note)


def _is_enough(sample: str) -> bool:
    """True if a table can be judged by a text: it has many lines, or is very long."""
    return len(sample) > _LARGEST or (len(sample) > _SAMPLE and sample.count("\n", 0, _SAMPLE) >= _LINES)


def _ends(piece: bytes) -> int:
    """The number of ends of lines."""
    newlines = int(np.count_nonzero(np.frombuffer(piece, np.uint8) == ord("\n")))  # faster than piece.count
    return newlines + (piece.count(b"\r") - piece.count(b"\r\n") if b"\r" in piece else 0)


def _first_beyond_ascii(file: PackedFile) -> tuple[int, str]:
    """The first line that is not UTF-8, and the word in it, with bytes beyond ASCII as in cp1252."""
    with file.opened() as raw:
        for number, line in enumerate(iter(lambda: raw.readline(LONGEST_LINE), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                words = re.split(rb"[\s,;|\"]", line[: error.start])[-1:] + re.split(
                    rb"[\s,;|\"]", line[error.start :]
                )
                return number, b"".join(words[:2]).decode(_WINDOWS, "replace")[:40]
    raise AssertionError("it was not UTF-8 a moment ago")
