"""Generated reviews of restaurants, each of them good or bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge

from dlrun.config.options import Count, Fraction, Seed
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
from dlrun.data.table_files.tables import Table
from dlrun.data.tabular.encoding import TableOptions
from dlrun.data.tabular.text_tables import TextTableOptions, text_table_data
from dlrun.system.randomness import generator

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ()

_ASPECTS = ["the soup", "the bread", "the fish", "the cake", "the coffee", "the service", "the music"]
_GOOD = ["good", "great", "fresh", "lovely", "friendly", "excellent", "pleasant", "perfect"]
_BAD = ["bad", "awful", "stale", "boring", "rude", "terrible", "unpleasant", "poor"]
_AFFIRMED = ["was", "was really", "was quite", "seemed"]
_DENIED = ["was not", "was never", "did not seem", "was hardly"]
_BETWEEN = [" and ", ", and ", ", while "]


def reviews(
    root: Path,
    known: Mapping[str, Any] | None = None,
    fold: Fold | None = None,
    *,
    count: Annotated[int, Ge(10)] = 4000,
    aspects: Literal[1, 3, 5] = 3,
    denied: Fraction = 0.5,
    tokens: Literal["words", "characters", "bytes"] = "words",
    length: Count = 40,
    test_fraction: Fraction = 0.2,
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """Short reviews from a small grammar, each of them good or bad.

    A review praises or faults aspects of a restaurant, and is good if it praises most of them. It is read as
    texts of text_table are.

    Args:
        count: Reviews that are generated, for all splits together.
        aspects: Aspects that a review judges.
        denied: Share of the judgements that are said by the opposite ("the soup was not bad"), so that words
            tell the class only in their order.
        tokens: Pieces that a text is cut into.
        length: Tokens of a text that the model is given; a shorter text is filled up with id 0.
        test_fraction: Share of the reviews that becomes the test split.
        valid_fraction: Share of the rest that becomes the validation split.
        seed: Random reviews, and their splits.
    """
    table = TableOptions(
        target="opinion",
        task="classification",
        split="random",
        test_fraction=test_fraction,
        valid_fraction=valid_fraction,
        seed=seed,
        fold=fold,
    )
    options = TextTableOptions(
        "review", tokens, lowercase=True, length=length, vocabulary=10_000, table=table
    )
    return replace(
        text_table_data(partial(made, count, aspects, denied, seed), options, known), synthetic=True
    )


def made(count: int, aspects: int, denied: float, seed: int) -> Table:
    """Generate the reviews as a table with the columns `review` and `opinion`."""
    stream = generator("reviews", seed, 0)
    praised = torch.rand(count, aspects, generator=stream) < 0.5
    turned = torch.rand(count, aspects, generator=stream) < denied
    draws = iter(torch.randint(2**31, (4 * count * aspects,), generator=stream).tolist())

    def one_of(texts: list[str]) -> str:
        number: int = next(draws)
        return texts[number % len(texts)]

    rows = []
    for praises, turns in zip(praised.tolist(), turned.tolist(), strict=True):
        text = ""
        for praise, turn in zip(praises, turns, strict=True):
            text += (one_of(_BETWEEN) if text else "") + one_of(_ASPECTS)
            text += f" {one_of(_DENIED if turn else _AFFIRMED)} {one_of(_GOOD if praise != turn else _BAD)}"
        rows.append([f"{text[0].upper()}{text[1:]}.", "good" if 2 * sum(praises) > aspects else "bad"])
    return Table.of_rows("reviews", ("review", "opinion"), rows)
