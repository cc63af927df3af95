"""A text as a dataset: windows of tokens, and at each place of a window the token that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlrun.data.examples import Data, Examples, consecutive
from dlrun.data.texts import Alphabet, Letters, Text, letters_of, read_letters
from dlrun.errors import UserError

_SHOWN = 10  # characters in a message


@dataclass(frozen=True)
class TextOptions:
    """The options of a text as a dataset (documented in `dlrun.dataset.text_file.text_file`)."""

    tokens: Letters
    window: int
    stride: int | None
    test_fraction: float
    valid_fraction: float


def next_tokens(read: Callable[[], Text], options: TextOptions, known: Mapping[str, Any] | None) -> Data:
    """A text as a dataset. Without `known` it is read at once, for the vocabulary depends on it.

    Raises UserError for a text that is too short; ValueError, TypeError or KeyError for a malformed `known`.
    """
    notes: list[str] = []
    splits: dict[str, Examples] | None = None
    if known is None:
        text = read()
        alphabet = Alphabet.of(options.tokens, text)
        splits = _splits(alphabet.ids(text), options, text.source)
        notes += _unlearnable(alphabet, text, options)
    else:
        alphabet = Alphabet.remembered(options.tokens, known["vocabulary"])
    return Data(
        task="sequence",
        input_shape=(options.window,),
        read=partial(_read, read, alphabet, options) if splits is None else partial(dict, splits),
        classes=alphabet.vocabulary,
        splits=tuple(consecutive(1, options.valid_fraction, options.test_fraction)),
        read_new=partial(_read_new, alphabet),
        known={"vocabulary": list(alphabet.vocabulary)},
        notes=notes,
        input_dtype=torch.int64,
        vocabulary=alphabet.vocabulary,
        places=(options.window,),
        autoregressive=True,
        encode=partial(_encode, alphabet),
        decode=alphabet.text,
    )


def _read(read: Callable[[], Text], alphabet: Alphabet, options: TextOptions) -> dict[str, Examples]:
    """All splits of a text, with a vocabulary from a checkpoint."""
    text = read()
    return _splits(alphabet.ids(text), options, text.source)


def _splits(ids: Tensor, options: TextOptions, source: str) -> dict[str, Examples]:
    """Windows within each part of a text; those to train on begin every `stride` tokens."""
    splits = {}
    for name, part in consecutive(len(ids), options.valid_fraction, options.test_fraction).items():
        own, needed = ids[part], options.window + 1
        if len(own) < needed:
            what = f"of {len(ids):,} {options.tokens} the {name} split gets {len(own):,}"
            what += f", but a window of {options.window:,} and the next one are {needed:,}"
            fix = "take a longer text or a smaller window, or change test_fraction or valid_fraction"
            raise UserError(what, where=source, fix=fix)
        stride = options.stride if name == "train" else None
        windows = own.unfold(0, needed, stride or options.window)  # a view: they overlap in memory too
        splits[name] = Examples(windows[:, :-1], windows[:, 1:])
    return splits


def _unlearnable(alphabet: Alphabet, text: Text, options: TextOptions) -> list[str]:
    """A note that names the characters which the training split lacks."""
    if options.tokens == "bytes":
        return []
    training = consecutive(len(text.codes), options.valid_fraction, options.test_fraction)["train"]
    seen = set(text.codes[training].unique().tolist())
    if not (absent := [letter for letter in alphabet.vocabulary if ord(letter) not in seen]):
        return []
    more = f" and {len(absent) - _SHOWN:,} more" if len(absent) > _SHOWN else ""
    shown = ", ".join(map(repr, absent[:_SHOWN])) + more
    return [f"the training split holds no {shown}: what never follows there cannot be learnt"]


def _read_new(alphabet: Alphabet, path: Path) -> tuple[list[str], Tensor]:
    """Read a file as the beginning of a text: its name, and ids (1, n)."""
    return [path.name], alphabet.ids(read_letters(path, alphabet.letters)).unsqueeze(0)


def _encode(alphabet: Alphabet, text: str) -> Tensor:
    return alphabet.ids(letters_of(text, alphabet.letters))
