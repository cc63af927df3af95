"""Texts read strictly from files, and cut into characters, bytes or words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.errors import UserError, in_full

Letters = Literal["characters", "bytes"]  # of which a text is made
Tokens = Literal["words", "characters", "bytes"]
_MOST_BYTES = 2**28  # of a file; as ids they take up to eight times as much memory
_CODES = {"characters": 0x110000, "bytes": 256}
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_FIX = "save the file as plain text, in UTF-8"


@dataclass(frozen=True)
class Text:
    """The letters of a text: `codes` (n,) int64 are the code points of its characters, or its bytes."""

    source: str  # the file that messages name
    codes: Tensor


@dataclass(frozen=True)
class Alphabet:
    """The letters that a model knows: the characters of a text, or all 256 bytes; ids are in their order."""

    letters: Letters
    vocabulary: tuple[str, ...]
    characters: tuple[int, ...] = ()  # that begin in each token: one in each

    @classmethod
    def of(cls, letters: Letters, text: Text) -> Alphabet:
        """The letters of a text."""
        if letters == "bytes":
            return cls(letters, BYTES)
        there = torch.bincount(text.codes, minlength=_CODES[letters]).nonzero().squeeze(1)
        return cls(letters, tuple(map(chr, there.tolist())))

    @classmethod
    def remembered(cls, letters: Letters, known: object) -> Alphabet:
        """The letters that a checkpoint stores. Raises ValueError or TypeError if they are malformed."""
        vocabulary = distinct_texts(known)
        if letters == "bytes" and vocabulary != BYTES:
            raise ValueError("the stored letters are not the bytes")
        if letters == "characters" and not all(len(letter) == 1 for letter in vocabulary):
            raise ValueError("a stored letter is not a single character")
        return cls(letters, vocabulary)

    def known(self) -> dict[str, Any]:
        """The letters as plain values, for a checkpoint."""
        return {"vocabulary": list(self.vocabulary)}

    def ids(self, text: Text) -> Tensor:
        """The ids (n,) of a text. Raises UserError for a character that the model does not know."""
        known = torch.arange(256) if self.letters == "bytes" else torch.tensor([*map(ord, self.vocabulary)])
        table = torch.full((_CODES[self.letters],), -1)
        table[known] = torch.arange(len(known))
        ids = table[text.codes]
        if bool((ids < 0).any()):
            place = int((ids < 0).nonzero()[0, 0])
            line, column = _line_and_column(text.codes, place)
            code = int(text.codes[place])
            what = f"line {line}, character {column} is {said(chr(code))}, which is not among the"
            what += f" {len(known):,} characters that the model knows"
            where = f"{text.source}:{line}:{column}" if text.source else ""
            raise UserError(what, where=where, fix="replace it, or train with a text that holds it")
        return ids

    def text(self, ids: Tensor) -> str:
        """The text of ids (n,); bytes that are no UTF-8 become replacement characters."""
        if self.letters == "bytes":
            return bytes(ids.tolist()).decode("utf-8", "replace")
        return "".join(self.vocabulary[index] for index in ids.tolist())


def read_letters(path: Path, letters: Letters) -> Text:
    """Read the letters of a file: any bytes, or characters in UTF-8, with or without byte order mark.

    Raises UserError, with the line, if the file is missing, empty or no such text.
    """
    raw = _bytes_of(path)
    if letters == "bytes":
        return Text(str(path), _byte_codes(raw))
    return Text(str(path), letters_of(_decoded(raw, path), letters).codes)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not blank, each with its number. Raises as `read_letters`."""
    lines = enumerate(_decoded(_bytes_of(path), path).split("\n"), 1)
    found = [(number, line.strip()) for number, line in lines if line.strip()]
    if not found:
        raise UserError("the file has no line of text", where=str(path))
    return found


def letters_of(text: str, letters: Letters) -> Text:
    """The letters of a text that is in no file."""
    try:
        if letters == "bytes":
            return Text("", _byte_codes(text.encode("utf-8")))
        raw = bytearray(text.encode("utf-32-le"))
    except UnicodeEncodeError:  # an argument of the command line may hold any bytes
        raise UserError("the text is not UTF-8") from None
    return Text("", torch.frombuffer(raw, dtype=torch.int32).long() if raw else torch.empty(0).long())


def tokens_of(text: str, tokens: Tokens, *, lowercase: bool) -> list[str]:
    """Cut a text into words and punctuation marks, characters or bytes."""
    text = text.lower() if lowercase else text
    if tokens == "bytes":
        return [BYTES[byte] for byte in text.encode("utf-8", "surrogateescape")]
    return _WORD.findall(text) if tokens == "words" else list(text)


def distinct_texts(value: object) -> tuple[str, ...]:
    """Check that a value is a list of distinct texts. Raises ValueError for anything else."""
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise ValueError("a stored value is not a list of names")
    if len(set(value)) < len(value):
        raise ValueError("a stored name is there twice")
    return tuple(value)


def said(character: str) -> str:
    """A character in a message: `'é' (U+00E9)`."""
    return f"{character!r} (U+{ord(character):04X})"


def _name_of(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"


BYTES = tuple(map(_name_of, range(256)))


def _byte_codes(raw: bytes) -> Tensor:
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).long() if raw else torch.empty(0).long()


def _bytes_of(path: Path) -> bytes:
    """The bytes of a file. Raises UserError if it is missing, empty, a folder or far too large."""
    try:
        if path.is_dir():
            what, fix = f"{path} is a folder, but a text is one file", "join its files to one, and name that"
            raise UserError(what, fix=fix)
        if path.exists() and not path.is_file():  # opening a pipe may block forever
            raise UserError(f"{path} is not a file")
        with open(path, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"there is no file {in_full(path)}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not raw:
        raise UserError("the file is empty", where=str(path))
    if len(raw) > _MOST_BYTES:
        most = f"{_MOST_BYTES / 2**20:.0f} MiB"
        raise UserError(f"the text has more than {most}: too much for dlrun", where=str(path))
    return raw


def _decoded(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # the codec counts from behind the byte order mark, and gives the bytes from there
        before, byte = error.object[: error.start], error.object[error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        what = f"line {line} is not UTF-8: byte {column} is {byte:#04x}"
        raise UserError(what, where=f"{path}:{line}", fix=_FIX) from None


def _line_and_column(codes: Tensor, place: int) -> tuple[int, int]:
    """The line, and the place in it, of one character of a text, both counted from 1."""
    ends = (codes[:place] == ord("\n")).nonzero().squeeze(1)
    return len(ends) + 1, place - (int(ends[-1]) if len(ends) else -1)
