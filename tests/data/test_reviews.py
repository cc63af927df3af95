"""The generated reviews: each is of the class that its words say, and is drawn by the seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cells import rows_of
from small_runs import planned, trained

from dlrun.data.trees import single
from dlrun.dataset.reviews import made, reviews

GOOD = {"good", "great", "fresh", "lovely", "friendly", "excellent", "pleasant", "perfect"}
DENIALS = {"not", "never", "hardly"}


def praises(text: str) -> int:
    """The number of aspects that a review praises, less those that it faults, read word by word."""
    total, sign = 0, 1
    for clause in text.lower().rstrip(".").replace(", ", " ").replace(" while ", " and ").split(" and "):
        words = clause.split()
        sign = -1 if DENIALS & set(words) else 1
        total += sign * (1 if words[-1] in GOOD else -1)
    return total


@pytest.mark.parametrize("aspects", [1, 3, 5])
def test_a_review_is_good_if_it_praises_more_than_it_faults(aspects: int) -> None:
    rows = rows_of(made(300, aspects, 0.5, seed=1))
    assert all(opinion == ("good" if praises(text) > 0 else "bad") for text, opinion in rows)
    assert 100 < sum(opinion == "good" for _, opinion in rows) < 200
    assert {abs(praises(text)) for text, _ in rows} == set(range(1, aspects + 1, 2))


def test_the_share_that_is_denied_is_the_one_asked_for() -> None:
    def denied(share: float) -> float:
        return (
            sum(bool(DENIALS & set(text.split())) for text, _ in rows_of(made(1000, 1, share, seed=0))) / 1000
        )

    assert denied(0) == 0
    assert denied(0.25) == pytest.approx(0.25, abs=0.05)


def test_no_review_is_cut_and_every_word_is_known() -> None:
    data = reviews(Path(), aspects=5)
    splits = data.read()
    assert not data.notes
    assert (len(splits["train"]), len(splits["test"])) == (3200, 800)
    assert data.vocabulary[1] == "<unknown>" and not bool((single(splits["test"].inputs) == 1).any())


def test_the_seed_alone_decides_on_the_reviews() -> None:
    first, again, other = (rows_of(made(50, 3, 0.5, seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_the_mean_of_words_is_enough_where_nothing_is_denied_and_not_else(tmp_path: Path) -> None:
    def accuracy(denied: float) -> float:
        plan = planned(
            name=f"denied-{denied}",
            dataset={"name": "reviews", "count": 800, "denied": denied},
            architecture={"name": "embedding_bag", "embedding": 16},
            optimizer={"name": "adam", "lr": 0.03},
            epochs=6,
            batch_size=32,
        )
        return float(trained(plan, tmp_path).rows()["test_accuracy"][-1])

    assert accuracy(0.0) > 0.97
    assert accuracy(0.5) < 0.8
