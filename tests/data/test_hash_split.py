"""Splits by hash: no example moves when data grow, and no split or class of one is empty."""

import pytest
import torch

from dlrun.data.hash_split import HashSplit, text_keys


def split_of(n: int, classes: int = 0, seed: int = 0, test: float = 0.2, valid: float = 0.1):
    keys = text_keys(map(str, range(n)))
    names = tuple(map(str, range(classes)))
    labels = torch.arange(n) % classes if classes else None
    fitted = HashSplit.fitted(keys, names, labels, seed=seed, test_fraction=test, valid_fraction=valid)
    return keys, names, labels, fitted


def places(keys: torch.Tensor, rows: dict[str, torch.Tensor]) -> dict[int, str]:
    return {int(keys[row]): name for name, some in rows.items() for row in some}


@pytest.mark.parametrize("classes", [0, 3])
def test_the_fractions_are_met(classes: int) -> None:
    keys, names, labels, fitted = split_of(900, classes)
    rows = fitted.rows(keys, names, labels)
    assert {name: len(some) for name, some in rows.items()} == {"train": 648, "valid": 72, "test": 180}
    if labels is not None:
        assert all(labels[some].bincount().unique().numel() == 1 for some in rows.values())


@pytest.mark.parametrize("classes", [0, 3])
def test_no_example_moves_when_others_come_before_between_and_after(classes: int) -> None:
    keys, names, labels, fitted = split_of(300, classes)
    before = places(keys, fitted.rows(keys, names, labels))
    many = text_keys(map(str, range(2000)))
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
    of_class = None if labels is None else order % classes
    again = HashSplit.remembered(fitted.known())
    after = places(many[order], again.rows(many[order], names, of_class))
    assert {key: after[key] for key in before} == before
    assert 280 < sum(name == "test" for name in after.values()) < 520


def test_equal_examples_stand_together() -> None:
    keys = text_keys(str(number // 7) for number in range(700))
    fitted = HashSplit.fitted(keys, (), None, seed=0, test_fraction=0.2, valid_fraction=0.1)
    rows = fitted.rows(keys, (), None)
    members = [{int(keys[row]) for row in some} for some in rows.values()]
    assert sum(map(len, members)) == 100 == len(set.union(*members))
    assert len(rows["test"]) == 140


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_is_in_every_split_as_far_as_it_reaches(seed: int) -> None:
    keys, labels = text_keys(map(str, range(106))), torch.tensor([0] * 100 + [1] * 3 + [2] * 2 + [3])
    names = ("a", "b", "c", "d")
    fitted = HashSplit.fitted(keys, names, labels, seed=seed, test_fraction=0.2, valid_fraction=0.1)
    counts = {
        name: labels[some].bincount(minlength=4).tolist()
        for name, some in fitted.rows(keys, names, labels).items()
    }
    assert [counts[name][1] for name in ("train", "valid", "test")] == [1, 1, 1]
    assert [counts[name][2] for name in ("train", "valid", "test")] == [1, 0, 1]
    assert [counts[name][3] for name in ("train", "valid", "test")] == [1, 0, 0]


def test_the_seed_chooses_the_split() -> None:
    drawn = [split_of(100, seed=seed) for seed in (0, 1)]
    rows = [fitted.rows(keys, names, labels)["test"].tolist() for keys, names, labels, fitted in drawn]
    assert rows[0] != rows[1]


def test_a_split_without_a_fraction_is_left_out() -> None:
    keys, names, labels, fitted = split_of(50, valid=0.0)
    assert list(fitted.rows(keys, names, labels)) == ["train", "test"]


@pytest.mark.parametrize(
    "changed",
    [{"borders": {"": [5, 4]}}, {"borders": {"": ["a", 4]}}, {"seed": 0.5}, {"test_fraction": 1.5}],
)
def test_a_hostile_split_is_refused(changed: dict) -> None:
    known = split_of(20)[3].known() | changed
    with pytest.raises((ValueError, TypeError)):
        HashSplit.remembered(known)
