"""Your own text, from a file: a model learns to continue it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.data_paths import file_at
from dlrun.config.options import Count, Fraction
from dlrun.data.examples import Data
from dlrun.data.text.next_tokens import TextOptions, next_tokens
from dlrun.data.text.texts import Letters, Text, read_letters

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("path",)


def text_file(
    root: Path,
    known: Mapping[str, Any] | None = None,
    *,
    path: str,
    tokens: Literal["characters", "bytes", "subwords"] = "characters",
    vocabulary: Count | None = None,
    window: Count = 128,
    stride: Count | None = None,
    test_fraction: Fraction = 0.1,
    valid_fraction: Fraction = 0.0,
) -> Data:
    """A text file in windows of tokens: at each place of a window the next token is predicted.

    `path` is looked for in the working directory, beside the config and in the data folder. `tokens` are
    the characters of the file, which has to be UTF-8, or the 256 bytes, of any file. The vocabulary of
    characters is that of the whole file, so that no part of it holds an unknown one; those that the
    training split lacks are reported. A character that is new to the model is refused.

    `subwords` are frequent pieces of words: a byte-level byte-pair encoding with `vocabulary` tokens (null:
    1000), learnt from the part that trains, in UTF-8, by the package tokenizers (`dlrun[tokenizers]`). No
    text is new to it.

    The last `test_fraction` of the text is the test split, and the last `valid_fraction` of the rest the
    validation split; no window lies across a border. A window has `window` tokens, and the model sees no
    further back. In training windows begin every `stride` tokens (null: `window`, so that each token is
    predicted once in an epoch); with `stride: 1` they begin at every token, and `epoch_examples` says how
    many of them an epoch has. In the other splits each token is predicted once. What is left at the end
    of a part, less than a window, is not used.
    """
    options = TextOptions(tokens, window, stride, test_fraction, valid_fraction, vocabulary)
    return next_tokens(partial(_read, path, root, options.letters), options, known)


def _read(path: str, root: Path, letters: Letters) -> Text:
    return read_letters(file_at(path, root), letters)
