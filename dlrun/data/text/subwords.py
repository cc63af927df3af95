"""Subwords: frequent pieces of words, learnt from a text, as the tokens of that text and of any other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dlrun.data.text.texts import Text, distinct_texts
from dlrun.errors import UserError

_BYTES = 256  # each is a token, so that every text has tokens
_MOST = 2**20  # tokens
_LONGEST = 64  # bytes of a token; a checkpoint's could double with each merge
_AT_ONCE = 2**16  # characters: the library keeps far more of each token than its id
_PRINTABLE = {*range(33, 127), *range(161, 173), *range(174, 256)}


@dataclass(frozen=True)
class Subwords:
    """Byte-level byte-pair encoding: the tokens are the 256 bytes, then those that `merges` join.

    A text is cut before its words, numbers, signs and runs of spaces, and within a piece neighbours are
    joined in the order of the merges. Each merge is two tokens with a space between, in letters that stand
    for bytes (see `_letters`). Sources: Sennrich et al. 2016, arXiv 1508.07909; Radford et al. 2019,
    "Language Models are Unsupervised Multitask Learners".
    """

    merges: tuple[str, ...]

    @classmethod
    def learnt(cls, text: Text, size: int) -> Subwords:
        """The `size` tokens of a text, fewer if no two of them are neighbours any more.

        Raises UserError if the size is none, or the library is not installed.
        """
        if not _BYTES <= size <= _MOST:
            what = f"vocabulary is {size:,}, but subwords are the {_BYTES} bytes and what is joined of them"
            raise UserError(what, fix=f"set it between {_BYTES} and {_MOST:,}")
        tokenizers = _library()
        tokenizer = _tokenizer(tokenizers.models.BPE())
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=_letters(), max_token_length=_LONGEST, show_progress=False
        )
        tokenizer.train_from_iterator(_pieces(text), trainer)
        return cls(tuple(" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]))

    @classmethod
    def remembered(cls, known: Mapping[str, Any]) -> Subwords:
        """Those that a checkpoint stores. Raises ValueError, TypeError or KeyError if they are malformed."""
        merges = distinct_texts(known["merges"])
        there = set(_letters())
        if len(merges) > _MOST:
            raise ValueError("there are too many stored subwords")
        for merge in merges:
            pair = merge.split(" ")
            if len(pair) != 2 or not there.issuperset(pair) or len(merge) > _LONGEST + 1:
                raise ValueError("a stored subword is not joined of two earlier ones")
            there.add("".join(pair))
        return cls(merges)

    def known(self) -> dict[str, Any]:
        """The merges as plain values, for a checkpoint."""
        return {"merges": list(self.merges)}

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The tokens in the order of their ids, in letters that stand for bytes."""
        return tuple(dict.fromkeys([*sorted(_letters()), *(each.replace(" ", "") for each in self.merges)]))

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The tokens as texts, in which bytes that are no whole character are escaped."""
        shown = tuple(_bytes_of(token).decode("utf-8", "backslashreplace") for token in self.tokens)
        return shown if len(set(shown)) == len(shown) else self.tokens

    @cached_property
    def characters(self) -> tuple[int, ...]:
        """The number of characters that begin in each token."""
        return tuple(sum(byte & 0xC0 != 0x80 for byte in _bytes_of(token)) for token in self.tokens)

    def ids(self, text: Text) -> Tensor:
        """The ids (n,) of a text."""
        pieces = self._tokenizer.encode_batch_fast(list(_pieces(text)))
        return torch.cat([torch.empty(0).long(), *(torch.tensor(piece.ids).long() for piece in pieces)])

    def text(self, ids: Tensor) -> str:
        """The text of ids (n,); bytes that are no UTF-8 become replacement characters."""
        return b"".join(_bytes_of(self.tokens[index]) for index in ids.tolist()).decode("utf-8", "replace")

    @cached_property
    def _tokenizer(self) -> Any:
        places = {token: place for place, token in enumerate(self.tokens)}
        pairs = [tuple(merge.split(" ")) for merge in self.merges]
        return _tokenizer(_library().models.BPE(vocab=places, merges=pairs))


def _library() -> Any:
    """Import the library of tokenizers. Raises UserError if it is not installed."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would not survive a fork
    try:
        import tokenizers
    except ImportError:
        what = "subwords need the package tokenizers, which is not installed"
        raise UserError(what, fix="pip install 'dlrun[tokenizers]'") from None
    return tokenizers


def _tokenizer(model: Any) -> Any:
    tokenizers = _library()
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return found


def _pieces(text: Text) -> Iterator[str]:
    """Yield a text in pieces that begin with a space behind a letter, where no token goes on."""
    whole = "".join(map(chr, text.codes.tolist()))
    first = 0
    while first < len(whole):
        end = first + _AT_ONCE
        while end < len(whole) and not (whole[end] in " \n" and whole[end - 1].isalpha()):
            end += 1
        yield whole[first:end]
        first = end


def _letters() -> list[str]:
    """The letters that stand for the bytes: printable ones for themselves, others from U+0100 on."""
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in _PRINTABLE else next(others)) for byte in range(_BYTES)]


def _bytes_of(token: str) -> bytes:
    return bytes(_BYTE_OF[letter] for letter in token)


_BYTE_OF = {letter: byte for byte, letter in enumerate(_letters())}
