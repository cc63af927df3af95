"""A generated text of simple English sentences: a model learns to continue it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dlrun.config.options import Count, Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
from dlrun.data.text.next_tokens import TextOptions, next_tokens
from dlrun.data.text.texts import Text, letters_of
from dlrun.system.randomness import generator

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ()

_NAMES = ["Ada", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas"]
_NOUNS = ["dog", "cat", "bird", "child", "baker", "farmer", "sailor", "teacher", "doctor", "painter"]
_THINGS = ["apple", "boat", "clock", "garden", "house", "letter", "lamp", "river", "song", "window"]
_KINDS = ["old", "small", "red", "quiet", "bright", "strange", "heavy", "cold", "green", "happy"]
_DOES = ["sees", "finds", "paints", "likes", "builds", "hears", "sells", "loses", "keeps", "opens"]
_WHEN = ["in the morning", "at night", "on Sunday", "after lunch", "in spring", "every day"]


def sentences(
    root: Path,
    known: Mapping[str, Any] | None = None,
    fold: Fold | None = None,
    *,
    count: Count = 4000,
    window: Count = 64,
    stride: Count | None = None,
    test_fraction: Fraction = 0.1,
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """Sentences of a small grammar in windows of characters: the next one is predicted at each place.

    Subject, verb, object and often a time are drawn, each word as probable as the others of its kind; a
    second clause repeats the subject as "he" or "she", which a model can only know from the name. The text is
    read as that of text_file.

    Args:
        count: Sentences that are generated.
        window: Characters that the model sees at once.
        stride: Characters between the starts of two training windows; null: the window's length.
        test_fraction: Share of the text, its end, that becomes the test split.
        valid_fraction: Share of the rest, its end, that becomes the validation split.
        seed: Random sentences.
    """
    options = TextOptions("characters", window, stride, test_fraction, valid_fraction, fold=fold)
    return replace(next_tokens(partial(_text, count, seed), options, known), synthetic=True)


def _text(count: int, seed: int) -> Text:
    """The sentences as one text, a line for each."""
    draws = iter(torch.randint(2**31, (10 * count,), generator=generator("sentences", seed, 0)).tolist())

    def one_of(words: list[str]) -> str:
        number: int = next(draws)
        return words[number % len(words)]

    def thing() -> str:
        kind = one_of([*_KINDS, *[""] * len(_KINDS)])
        return f"the {kind} {one_of(_THINGS)}".replace("  ", " ")

    lines = []
    for _ in range(count):
        name = one_of(_NAMES)
        subject = one_of([name, f"the {one_of(_NOUNS)}"])
        sentence = f"{subject} {one_of(_DOES)} {thing()}"
        if subject == name:
            pronoun = "she" if _NAMES.index(name) % 2 == 0 else "he"
            sentence += f", and {pronoun} {one_of(_DOES)} it"
        sentence += one_of(["", f" {one_of(_WHEN)}"])
        lines.append(sentence[0].upper() + sentence[1:] + ".\n")
    return letters_of("".join(lines), "characters")
