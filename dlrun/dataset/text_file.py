"""Your own text, from a file: a model learns to continue it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlrun.config.data_paths import file_at
from dlrun.config.options import Count, Fraction
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
from dlrun.data.text.next_tokens import TextOptions, next_tokens
from dlrun.data.text.texts import Letters, Text, read_letters

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ("path",)


def text_file(
    root: Path,
    known: Mapping[str, Any] | None = None,
    fold: Fold | None = None,
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

    No window lies across the border of two splits. In the test and validation splits each token is predicted
    once. What is left at the end of a part, less than a window, is not used. Characters that the training
    split lacks are reported, and one that is new to the model is refused.

    Args:
        path: File to read, looked for in the working directory, beside the config and in the data folder.
        tokens: Pieces of the text: characters, those of the whole UTF-8 file; the 256 bytes, of any file;
            subwords, frequent pieces of words by a byte-level byte-pair encoding, learnt from the part that
            trains by the package tokenizers (`dlrun[tokenizers]`), to which no UTF-8 text is new.
        vocabulary: Number of different subwords; null: 1000.
        window: Tokens in a window: the model sees no further back.
        stride: Tokens between the starts of two training windows; null: `window`, so that an epoch predicts
            each token once. With 1 they begin at every token, and the key epoch_examples says how many an
            epoch has.
        test_fraction: Share of the text, its end, that becomes the test split.
        valid_fraction: Share of the rest, its end, that becomes the validation split.

    Example:
        dataset: {name: text_file, path: my.txt, window: 128}
    """
    options = TextOptions(tokens, window, stride, test_fraction, valid_fraction, vocabulary, fold)
    return next_tokens(partial(_read, path, root, options.letters), options, known)


def _read(path: str, root: Path, letters: Letters) -> Text:
    return read_letters(file_at(path, root), letters)
