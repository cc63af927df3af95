"""Folds: each example is held out once, what is fitted never sees it, and the test split stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit
from small_runs import own_parts, planned, trained

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.examples import Data
from dlrun.data.folds import Fold, HashFolds, drawn_folds
from dlrun.data.hash_split import text_keys
from dlrun.data.loaded import Loaded
from dlrun.data.trees import single
from dlrun.dataset.csv import csv
from dlrun.dataset.hourly_demand import hourly_demand
from dlrun.dataset.image_folder import image_folder
from dlrun.dataset.reviews import reviews
from dlrun.dataset.sentences import sentences
from dlrun.dataset.text_table import text_table
from dlrun.errors import UserError
from dlrun.training.opening import open_checkpoint

Of = Callable[[Fold | None], Data]
LABELS = torch.tensor([0] * 41 + [1] * 23 + [2] * 13)
COUNT = 5


def counts(numbers: np.ndarray, labels: torch.Tensor) -> np.ndarray:
    """The examples of each class in each fold (folds, classes)."""
    return np.stack([np.bincount(labels[numbers == fold], minlength=3) for fold in range(COUNT)])


@pytest.mark.parametrize("by_hash", [True, False])
def test_folds_are_as_even_in_size_and_classes_as_those_of_scikit_learn(by_hash: bool) -> None:
    keys, names = text_keys(map(str, range(len(LABELS)))), ("a", "b", "c")

    def found(labels: torch.Tensor | None) -> np.ndarray:
        if not by_hash:
            return drawn_folds(len(keys), labels, COUNT, seed=0)
        folds = HashFolds.fitted(keys, names, labels, seed=0, count=COUNT)
        return folds.numbers(keys, names, labels)

    split = StratifiedKFold(COUNT).split(np.zeros(len(LABELS)), LABELS)
    wanted = np.stack([np.bincount(LABELS[held], minlength=3) for _, held in split])
    assert (counts(found(LABELS), LABELS) == wanted).all()
    sizes = [len(held) for _, held in KFold(COUNT).split(np.zeros(len(LABELS)))]
    assert np.bincount(found(None)).tolist() == sizes


def test_folds_of_groups_are_as_even_as_those_of_scikit_learn_and_tear_none() -> None:
    groups = np.random.default_rng(0).integers(0, 20, 300) ** 2 // 20
    keys = text_keys(map(str, groups))
    numbers = HashFolds.of_groups(keys, None, seed=0, count=COUNT).numbers(keys, (), None)
    assert all(len({*numbers[groups == group]}) == 1 for group in groups)
    wanted = [len(held) for _, held in GroupKFold(COUNT).split(groups, groups=groups)]
    assert sorted(np.bincount(numbers)) == sorted(wanted)


def test_groups_of_a_rare_class_are_spread_over_all_folds() -> None:
    groups = np.concatenate([np.repeat(np.arange(11), 20), np.arange(11, 11 + COUNT)])
    labels = torch.from_numpy((groups > 10).astype(np.int64))  # in the fold of three large groups too
    keys = text_keys(map(str, groups))
    numbers = HashFolds.of_groups(keys, labels, seed=0, count=COUNT).numbers(keys, (), None)
    assert sorted(np.bincount(numbers)) == [41, 41, 41, 41, 61]
    assert {*numbers[labels == 1]} == {*range(COUNT)}


@pytest.mark.parametrize("n", [6, 17, 100])
def test_blocks_in_the_order_of_time_are_those_of_scikit_learn(n: int) -> None:
    wanted = [(held[0], held[-1] + 1, len(train)) for train, held in TimeSeriesSplit(COUNT).split(range(n))]
    found = [Fold(number, COUNT).block(n) for number in range(COUNT)]
    assert [(start, end, start) for start, end in found] == wanted


@pytest.mark.parametrize("is_grouped", [True, False])
def test_an_example_keeps_its_fold_when_others_are_added(is_grouped: bool) -> None:
    keys = text_keys(str(number // 3) for number in range(300))
    fit = HashFolds.of_groups(keys, None, seed=1, count=COUNT) if is_grouped else None
    fit = fit or HashFolds.fitted(keys, (), None, seed=1, count=COUNT)
    more = text_keys(str(number // 3) for number in range(900))
    numbers = HashFolds.remembered(fit.known()).numbers(more, (), None)
    assert (numbers[:300] == fit.numbers(keys, (), None)).all()
    assert (np.bincount(numbers) > 90).all()


@pytest.mark.parametrize(
    "change",
    [
        {"count": "5"},
        {"count": 10**9},
        {"pieces": {"": []}},
        {"pieces": {"": [[9, 0], [3, 1]]}},
        {"pieces": {"": [[0, 7]]}},
    ],
)
def test_malformed_folds_of_a_checkpoint_are_refused(change: dict[str, Any]) -> None:
    keys = text_keys(map(str, range(50)))
    known = HashFolds.fitted(keys, (), None, seed=0, count=COUNT).known()
    with pytest.raises((TypeError, ValueError)):
        HashFolds.remembered(known | change)


# ------------------------------------------------------------------------ the datasets


def table(folder: Path, n: int = 90, **cells: Callable[[int], object]) -> Path:
    columns = {
        "id": int,
        "x": lambda i: i % 7 + i / 100,
        "sky": lambda i: "abc"[i % 3],
        "y": lambda i: "uvw"[i % 3],
    }
    columns |= cells
    lines = [",".join(str(make(number)) for make in columns.values()) for number in range(n)]
    path = folder / "rows.csv"
    path.write_text("\n".join([",".join(columns), *lines]))
    return path


def of_csv(path: Path, **options: Any) -> Of:
    usual: dict[str, Any] = {"target": "y", "task": "classification", "id": "id"}
    return lambda fold, known=None: csv(path.parent, known, fold, path=str(path), **usual | options)


def photos(folder: Path) -> Path:
    """Thirty images of each of two classes, twelve of them under valid."""
    for number in range(60):
        place = folder / "photos" / ("valid" if number % 5 == 0 else "train") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 3 * number).save(place / f"{number}.png")
    return folder / "photos"


def datasets(folder: Path) -> dict[str, Of]:
    path = table(folder, g=lambda i: i // 2)
    texts = table(folder / "..", text=lambda i: f"word{i} {'good' if i % 3 else 'bad'}")
    images = {"path": str(photos(folder)), "size": 4, "colour": False}
    return {
        "csv": of_csv(path),
        "csv, drawn": of_csv(path, split_rule="drawn"),
        "csv, group": of_csv(path, group="g", id=None),
        "text_table": lambda fold: text_table(folder, None, fold, path=str(texts), text="text", target="y"),
        "reviews": lambda fold: reviews(folder, None, fold, count=100),
        "image_folder": lambda fold: image_folder(folder, None, fold, **images),
        "image_folder, test": lambda fold: image_folder(folder, None, fold, test_fraction=0.2, **images),
        "image_folder, drawn": lambda fold: image_folder(folder, None, fold, split_rule="drawn", **images),
    }


@pytest.mark.parametrize(
    "name",
    [
        "csv",
        "csv, drawn",
        "csv, group",
        "text_table",
        "reviews",
        "image_folder",
        "image_folder, test",
        "image_folder, drawn",
    ],
)
def test_each_example_is_held_out_once_and_the_test_split_stays(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    of = datasets(tmp_path / "data")[name]
    without = Loaded(of(None), torch.device("cpu")).splits
    held_out = []
    for number in range(COUNT):
        data = of(Fold(number, COUNT))
        assert data.evaluation_split == "valid"
        splits = Loaded(data, torch.device("cpu")).splits
        held_out += splits["valid"].origin.tolist()
        pairs = 2 if name == "csv, group" else 1  # rows that stand together
        parts = ({row // pairs for row in splits[each].origin.tolist()} for each in ("train", "valid"))
        assert set.isdisjoint(*parts)
        assert ("test" in splits) == ("test" in without)
        if "test" in splits:
            assert splits["test"].origin.tolist() == without["test"].origin.tolist()
        assert len(splits["valid"].targets.unique()) == len(data.classes)
    beside = {"train", "valid"} & without.keys()
    assert sorted(held_out) == sorted(place for each in beside for place in without[each].origin.tolist())


def test_a_dataset_without_a_rule_of_its_own_is_parted_after_it_is_read(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    plain = {"name": "points", "path": str(tmp_path / "points.txt")}
    (tmp_path / "points.txt").write_text("\n".join(f"{n} {n} {'ab'[n % 2]}" for n in range(40)))
    held_out = []
    for number in range(3):
        loaded = planned(parts, dataset=plain | {"folds": 3, "fold": number}).load()
        held_out += loaded["valid"].origin.tolist()
        assert {*loaded["train"].origin.tolist(), *loaded["valid"].origin.tolist()} == {*range(1, 31)}
    assert sorted(held_out) == [*range(1, 31)]


def test_examples_with_dates_are_trained_on_what_is_before(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    change = {"loss": "mse", "metrics": [], "dataset": {"name": "days", "folds": 3, "fold": 1}}
    loaded = planned(parts, **change).load()
    train, valid, test = (loaded[name].aside["date"] for name in ("train", "valid", "test"))
    assert train.max() < valid.min() <= valid.max() < test.min()
    assert (len(train), len(valid), len(test)) == (30, 15, 20)


def test_rows_with_dates_are_in_later_blocks_that_cut_no_date(tmp_path: Path) -> None:
    path = table(tmp_path, when=lambda i: f"2020-{i // 2 // 28 + 1:02}-{i // 2 % 28 + 1:02}")
    of = of_csv(path, target="x", task="regression", date=["when"])
    ends = [(of(Fold(number, 3)).read(), number) for number in range(3)]
    before = of(None).read()["test"].aside["date"]
    for splits, number in ends:
        train, valid = splits["train"].aside["date"], splits["valid"].aside["date"]
        assert train.max() < valid.min() <= valid.max() < before.min()
        assert (len(train), len(valid)) == (18 * (number + 1), 18)
        assert torch.equal(splits["test"].aside["date"], before)
    findings = of(Fold(0, 3)).findings
    assert any("later folds, which are left out, from 2020-01-19 on" in said for said in findings)


def test_stated_validation_rows_are_parted_as_all_others(tmp_path: Path) -> None:
    path = table(tmp_path, part=lambda i: "test" if i < 30 else "valid" if i < 50 else "train")
    data = of_csv(path, split_column="part")(Fold(0, COUNT))
    splits = data.read()
    assert {name: len(some) for name, some in splits.items()} == {"train": 48, "valid": 12, "test": 30}
    assert "20 valid rows of part are parted into folds as all others" in data.notes


@pytest.mark.parametrize("make", [hourly_demand, sentences])
def test_a_series_is_trained_on_what_is_before_the_fold(make: Callable[..., Data]) -> None:
    options: dict[str, Any] = (
        {"days": 40, "window": 24, "season": None} if make is hourly_demand else {"count": 100}
    )
    sizes = [
        {name: len(some) for name, some in make(Path(), None, Fold(number, 3), **options).read().items()}
        for number in range(3)
    ]
    assert len({size["valid"] for size in sizes}) == len({size["test"] for size in sizes}) == 1
    assert sizes[0]["train"] < sizes[1]["train"] < sizes[2]["train"]
    if make is hourly_demand:
        read = make(Path(), None, Fold(1, 3), **options).read()
        train, valid = read["train"].aside["date"], read["valid"].aside["date"]
        assert train.max() < valid.min() and int(valid.max()) < int(read["test"].aside["date"].min())


# ------------------------------------------------------------------------ what must not leak


def test_nothing_that_is_fitted_on_a_table_depends_on_the_fold_that_is_held_out(tmp_path: Path) -> None:
    options: dict[str, Any] = {"target": "x", "task": "regression", "missing": "auto", "scale": "quantile"}
    of = of_csv(table(tmp_path, z=float), **options)
    before = of(Fold(2, COUNT))
    held_out = {*before.read()["valid"].origin.tolist()}
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    columns = lines[0].split(",")
    assert columns == ["id", "x", "sky", "y", "z"]
    for line in (place + 1 for place in held_out):  # behind the header
        own = lines[line].split(",")
        lines[line] = ",".join([own[0], "12345.6", "new sky", own[3], "-777"])
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    after = of(Fold(2, COUNT))
    assert {*after.read()["valid"].origin.tolist()} == held_out
    one, other = (
        {k: v for k, v in each.known.items() if k != "placement"} | {"scaling": each.scaling}
        for each in (before, after)
    )
    assert one == other
    fitted = [data.fit(data.read()["train"]) for data in (before, after)]
    assert repr(vars(fitted[0])) == repr(vars(fitted[1]))
    assert of(Fold(1, COUNT)).scaling != of_csv(table(tmp_path, z=float), **options)(Fold(1, COUNT)).scaling


def test_the_vocabulary_of_texts_is_that_of_the_rows_that_train(tmp_path: Path) -> None:
    path = table(tmp_path, text=lambda i: f"own{i} word")
    for number in range(3):
        data = text_table(tmp_path, None, Fold(number, 3), path=str(path), text="text", target="y")
        words = {token for token in data.vocabulary if token.startswith("own")}
        assert words == {f"own{place}" for place in data.read()["train"].origin.tolist()}


def test_pixels_are_scaled_by_the_images_that_train(tmp_path: Path) -> None:
    options = {"path": str(photos(tmp_path)), "size": 4, "colour": False}
    loaded = Loaded(image_folder(tmp_path, None, Fold(1, 3), **options), torch.device("cpu"))
    train = single(loaded["train"].raw_tree(torch.arange(len(loaded["train"])))).double()
    prepared = single(loaded["train"].batch(torch.arange(len(loaded["train"])))[0])
    assert float(prepared.mean()) == pytest.approx(0, abs=1e-5)
    assert float(train.mean()) != pytest.approx(
        float(single(loaded["valid"].raw_tree(torch.arange(len(loaded["valid"])))).double().mean()), abs=1e-3
    )


# ------------------------------------------------------------------------ runs and refusals


def test_a_missing_value_of_what_is_stratified_by_needs_not_be_in_each_fold(tmp_path: Path) -> None:
    path = table(tmp_path, sky=lambda i: "" if i == 7 else "ab"[i % 2])
    parts = [of_csv(path, stratify="sky")(Fold(number, COUNT)).read() for number in range(COUNT)]
    assert sum(len(each["valid"]) for each in parts) == len(parts[0]["train"]) + len(parts[0]["valid"])


def test_a_checkpoint_places_the_rows_of_a_table_that_grew_as_training_did(tmp_path: Path) -> None:
    path = table(tmp_path)
    dataset = {"name": "csv", "path": str(path), "target": "y", "task": "classification", "id": "id"}
    run = trained(planned(dataset=dataset | {"folds": COUNT, "fold": 3}), tmp_path)
    before, _ = open_checkpoint(run.best, run, [], Parts(), Path("no-data"))
    were = {name: {*before.loaded[name].keys.tolist()} for name in ("train", "valid", "test")}
    table(tmp_path, 300)
    after, _ = open_checkpoint(run.best, run, [], Parts(), Path("no-data"))
    now = {name: {*after.loaded[name].keys.tolist()} for name in ("train", "valid", "test")}
    assert now["train"] == were["train"]
    assert were["valid"] < now["valid"] and were["test"] < now["test"]
    assert now["valid"].isdisjoint(now["train"] | now["test"])
    assert "folds" in after.plan.config.dataset.options


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        (
            {"folds": 4},
            "dataset.folds",
            "4 folds, and none is chosen to be held out; hold out one with dataset.fold=0",
        ),
        ({"fold": 1}, "dataset.fold", "a fold is one of several, and folds is not set; set dataset.folds=5"),
        (
            {"folds": 4, "fold": 4},
            "dataset.fold",
            "no fold 4 among 4, which are numbered from 0; write one from 0 to 3",
        ),
        ({"folds": 1, "fold": 0}, "dataset.folds", "1 is not a whole number >= 2"),
    ],
)
def test_a_fold_is_one_of_the_folds(options: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(dataset={"name": "spiral", "points": 20} | options)
    assert [mistake.key for mistake in refused.value.mistakes] == [key]
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("cells", "options", "said"),
    [
        (
            {"y": lambda i: "rare" if i > 86 else "uv"[i % 2]},
            {},
            "class rare has 2 examples, too few for 5 folds",
        ),
        (
            {"y": lambda i: "rare" if i > 69 else "uv"[i % 2], "g": lambda i: i // 10},
            {"group": "g"},
            "that stand together",
        ),
        ({"when": lambda i: f"2020-01-{i // 30 + 1:02}"}, {"date": ["when"]}, "needs 2"),
    ],
)
def test_too_few_examples_for_the_folds_are_refused(
    cells: dict[str, Any], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        for number in range(COUNT):
            of_csv(table(tmp_path, **cells), **options)(Fold(number, COUNT))
    assert said in refused.value.what
    assert (
        "fewer folds" in refused.value.fix
        or "leave the class out" in refused.value.fix
        or "dataset.folds=" in refused.value.fix
    )


OWN = """\
import torch
from dlrun.data import Data, Examples

NUMBERS = torch.arange(10.0)[:, None]


def mine(root):
    '''Numbers.'''

    def read(inputs=NUMBERS, names=("train", "test")):
        return {name: Examples(inputs, torch.ones(10, 1)) for name in names}

    return Data("regression", (1,), OPTIONS)
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("read, scaling=(0.0, 1.0)", "learns scaling from its examples before a fold"),
        ("read, known={'a': 1}", "learns known from its examples before a fold"),
        ("lambda: read(names=NAMES), splits=NAMES", "a validation split, which is not parted"),
        ("lambda: read(torch.zeros(1, 1).expand(10, 1))", "its examples overlap"),
    ],
)
def test_an_own_dataset_that_dlrun_cannot_part_is_refused(options: str, said: str, tmp_path: Path) -> None:
    source = OWN.replace("OPTIONS", options.replace("NAMES", '("train", "valid", "test")'))
    parts = own_parts(tmp_path, {"dataset/mine.py": source})
    with pytest.raises(UserError) as refused:
        planned(parts, dataset={"name": "mine", "folds": 2, "fold": 0}, loss="mse", metrics=[]).load()
    assert said in str(refused.value)
    assert "take fold" in "\n".join(refused.value.lines())
