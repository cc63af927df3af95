"""A text as a dataset: windows of tokens, and at each place of a window the token that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.data.examples import Data, Examples
from dlrun.data.folds import Fold, splits_of
from dlrun.data.hold_out import consecutive
from dlrun.data.text.subwords import Subwords
from dlrun.data.text.texts import Alphabet, Letters, Text, letters_of, read_letters
from dlrun.errors import UserError, first_few

Coder = Alphabet | Subwords
USUAL_VOCABULARY = 1000  # subwords
_SHOWN = 10  # characters in a message


@dataclass(frozen=True)
class TextOptions:
    """The options of a text as a dataset (documented in `dlrun.dataset.text_file.text_file`)."""

    tokens: Literal["characters", "bytes", "subwords"]
    window: int
    stride: int | None
    test_fraction: float
    valid_fraction: float
    vocabulary: int | None = None  # the number of subwords
    fold: Fold | None = None  # that takes the place of the validation split

    @property
    def letters(self) -> Letters:
        """The letters in which a text is read."""
        return "bytes" if self.tokens == "bytes" else "characters"

    def parts(self, n: int) -> dict[str, slice]:
        """The part of each split among so many letters."""
        return consecutive(n, self.valid_fraction, self.test_fraction, self.fold)


def next_tokens(read: Callable[[], Text], options: TextOptions, known: Mapping[str, Any] | None) -> Data:
    """A text as a dataset. Without `known` it is read at once, for the vocabulary depends on it.

    Raises UserError for a text that is too short; ValueError, TypeError or KeyError for a malformed `known`.
    """
    notes: list[str] = []
    splits: dict[str, Examples] | None = None
    if options.vocabulary and options.tokens != "subwords":
        what = f"the vocabulary of {options.tokens} is not chosen"
        raise UserError(what, fix="leave vocabulary out, or set tokens to subwords")
    if known is None:
        text = read()
        coder = _learnt(text, options)
        splits = _splits(coder, text, options)
        if options.tokens == "characters":
            notes += _unlearnable(coder.vocabulary, text, options)
    elif options.tokens == "subwords":
        coder = Subwords.remembered(known)
    else:
        coder = Alphabet.remembered(options.letters, known["vocabulary"])
    return Data(
        task="sequence",
        input_shape=(options.window,),
        read=partial(_read, read, coder, options) if splits is None else partial(dict, splits),
        classes=coder.vocabulary,
        splits=splits_of(options.valid_fraction, options.test_fraction, options.fold),
        read_new=partial(_read_new, coder, options.letters),
        read_labelled=partial(_read_labelled, coder, options),
        known=coder.known(),
        notes=notes,
        input_dtype=torch.int64,
        vocabulary=coder.vocabulary,
        characters=coder.characters,
        places=(options.window,),
        autoregressive=True,
        encode=partial(_encode, coder, options.letters),
        decode=coder.text,
    )


def _learnt(text: Text, options: TextOptions) -> Coder:
    """The letters of a whole text, or the subwords of the part that trains."""
    if options.tokens != "subwords":
        return Alphabet.of(options.letters, text)
    training = text.codes[options.parts(len(text.codes))["train"]]
    return Subwords.learnt(Text(text.source, training), options.vocabulary or USUAL_VOCABULARY)


def _read(read: Callable[[], Text], coder: Coder, options: TextOptions) -> dict[str, Examples]:
    """All splits of a text, with a vocabulary from a checkpoint."""
    return _splits(coder, read(), options)


def _splits(coder: Coder, text: Text, options: TextOptions) -> dict[str, Examples]:
    """Windows within each part of a text; those to train on begin every `stride` tokens."""
    # A character that is unknown is told with its line, so that no part of the letters is cut out before.
    ids = coder.ids(text) if isinstance(coder, Alphabet) else None
    splits = {}
    for name, part in options.parts(len(text.codes)).items():
        own = coder.ids(Text(text.source, text.codes[part])) if ids is None else ids[part]
        if len(own) <= options.window:
            what = f"of {len(text.codes):,} {options.letters} the {name} split gets {len(own):,}"
            what += f" {options.tokens}" * (options.tokens == "subwords")
            change = "take fewer folds" if options.fold else "change test_fraction or valid_fraction"
            fix = f"take a longer text or a smaller window, or {change}"
            raise UserError(f"{what}, but {_needed(options)}", where=text.source, fix=fix)
        splits[name] = _windows(own, options, options.stride if name == "train" else None)
    return splits


def _needed(options: TextOptions) -> str:
    return f"a window of {options.window:,} and the next one are {options.window + 1:,}"


def _windows(ids: Tensor, options: TextOptions, stride: int | None = None) -> Examples:
    """The windows of some ids (n,), one after another, or one every `stride` ids."""
    windows = ids.unfold(0, options.window + 1, stride or options.window)  # a view: they overlap in memory
    return Examples(windows[:, :-1], windows[:, 1:])


def _read_labelled(coder: Coder, options: TextOptions, path: Path) -> Examples:
    """Read another text in windows, in which each token is predicted once."""
    ids = coder.ids(read_letters(path, options.letters))
    if len(ids) <= options.window:
        raise UserError(
            f"the text has {len(ids):,} {options.tokens}, but {_needed(options)}", where=str(path)
        )
    return _windows(ids, options)


def _unlearnable(vocabulary: Sequence[str], text: Text, options: TextOptions) -> list[str]:
    """A note that names the characters which the training split lacks."""
    seen = set(text.codes[options.parts(len(text.codes))["train"]].unique().tolist())
    if not (absent := [letter for letter in vocabulary if ord(letter) not in seen]):
        return []
    shown = first_few([*map(repr, absent)], _SHOWN)
    return [f"the training split holds no {shown}: what never follows there cannot be learnt"]


def _read_new(coder: Coder, letters: Letters, path: Path) -> tuple[list[str], Tensor]:
    """Read a file as the beginning of a text: its name, and ids (1, n)."""
    return [path.name], coder.ids(read_letters(path, letters)).unsqueeze(0)


def _encode(coder: Coder, letters: Letters, text: str) -> Tensor:
    return coder.ids(letters_of(text, letters))
