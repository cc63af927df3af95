"""Examples that stand in two splits, or under two labels, are found and named."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dlrun.data.examples import Data, Examples
from dlrun.data.loaded import InMemory, Loaded
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree
from dlrun.results.leaks import leak_warnings, near_copies

STREAM = torch.Generator().manual_seed(0)


def warnings(
    training: Tensor, test: Tensor, labels: Tensor | None = None, *, is_named: bool = True
) -> list[str]:
    classes = torch.arange(len(training)) % 2 if labels is None else labels
    examples = {
        "train": Examples(training, classes, origin=torch.arange(len(training))),
        "test": Examples(test, torch.arange(len(test)) % 2, origin=torch.arange(100, 100 + len(test))),
    }
    data = Data(
        "classification",
        tuple(training.shape[1:]),
        lambda: examples,
        classes=("cat", "dog"),
        name_of=(lambda number: f"{number}.png") if is_named else None,
    )
    return list(leak_warnings(data, Loaded(data, torch.device("cpu")).splits))


def pictures(n: int, side: int = 24) -> Tensor:
    """Smooth pictures (n, 3, side, side) of random colours, uint8."""
    coarse = 255 * torch.rand(n, 3, 6, 6, generator=STREAM)
    return interpolate(coarse, (side, side), mode="bilinear").byte()


def test_different_pictures_are_no_copies() -> None:
    assert warnings(pictures(60), pictures(20)) == []


def test_copies_are_named_by_the_files_of_both() -> None:
    training, test = pictures(60), pictures(20)
    test[3] = training[17]
    [said] = warnings(training, test)
    assert said.startswith("1 of the test inputs (5 %) is in train too, bit for bit: 103.png and 17.png; ")
    [said] = warnings(training, test, is_named=False)
    assert "example 3 of test and example 17 of train" in said


def test_pictures_that_are_nearly_equal_are_named() -> None:
    training, test = pictures(60), pictures(20)
    noise = 3 * torch.randn(3, 24, 24, generator=STREAM)
    test[5] = (training[30] + noise).clamp(0, 255).byte()
    test[6] = (0.7 * training[31] + 20).byte()  # darker, with less contrast
    [said] = warnings(training, test)
    assert said.startswith("2 of the test inputs (10 %) are nearly in train too: ")
    assert "105.png and 30.png, 106.png and 31.png" in said


class Counting(InMemory):
    """A split that notes how many pictures are asked for at once."""

    asked: list[int]

    def raw_tree(self, indices: Tensor) -> Tree:
        self.asked.append(len(indices))
        return super().raw_tree(indices)


def test_large_pictures_are_compared_few_at_a_time() -> None:
    training = pictures(200, 96)
    test = (0.7 * training[:100] + 20).byte()  # each nearly equal to one of train
    splits = {}
    for name, inputs in (("train", training), ("test", test)):
        examples = Examples(inputs, torch.zeros(len(inputs), dtype=torch.long))
        splits[name] = Counting(examples, Preparation.of_single(Preprocessing()), torch.device("cpu"))
        splits[name].asked = []
    found = near_copies(splits["train"], splits["test"], torch.arange(100))
    assert found.tolist() == [[place, place] for place in range(100)]
    assert max(splits["train"].asked + splits["test"].asked) * 3 * 96 * 96 <= 2**20


def test_pictures_with_the_same_outline_are_not_nearly_equal() -> None:
    """Seen small they are; their pixels differ."""
    texture = 25 * torch.randn(60, 1, 64, 64, generator=STREAM)
    other = 25 * torch.randn(20, 1, 64, 64, generator=STREAM)
    outline = pictures(1, 64)[:, :1].float()
    assert warnings((outline + texture).clamp(0, 255).byte(), (outline + other).clamp(0, 255).byte()) == []


def test_pictures_of_a_single_colour_are_like_no_other() -> None:
    assert warnings(torch.full((20, 3, 8, 8), 7.0), torch.full((10, 3, 8, 8), 9.0)) == []


def test_equal_inputs_of_two_classes_are_named() -> None:
    training = torch.randn(60, 4, generator=STREAM)
    training[41] = training[10]
    [said] = warnings(training, torch.randn(20, 4, generator=STREAM))
    assert said == (
        "equal inputs of different classes in train: 41.png (dog) and 10.png (cat); correct the classes"
    )


def test_copies_within_train_are_named() -> None:
    training, labels = torch.randn(60, 4, generator=STREAM), torch.arange(60) % 2
    training[[41, 43]], labels[41] = training[10].clone(), labels[10]
    said = warnings(training, torch.randn(20, 4, generator=STREAM), labels)
    assert [line[: line.index(";")] for line in said] == [
        "1 of the train inputs (1.67 %) is a copy of another one there: 41.png and 10.png",
        "equal inputs of different classes in train: 43.png (dog) and 10.png (cat)",
    ]


def test_categories_that_recur_with_other_classes_are_no_mistake() -> None:
    few = torch.arange(60).remainder(3).float().unsqueeze(1).expand(60, 2)
    assert not [said for said in warnings(few, few[:20] + 0.5) if "classes" in said or "copy" in said]


def test_rows_of_equal_inputs_and_other_numbers_are_no_copies() -> None:
    """As of goods of one kind at two prices; the third row of test is a copy of the third of train."""
    kinds = torch.arange(40).remainder(4)[:, None].expand(40, 2).double()
    prices = torch.rand(60, 1, generator=STREAM)
    prices[42] = prices[2]
    examples = {
        "train": Examples(kinds, prices[:40]),
        "test": Examples(kinds[:20], prices[40:]),
    }
    data = Data("regression", (2,), lambda: examples)
    [said] = leak_warnings(data, Loaded(data, torch.device("cpu")).splits)
    assert said.startswith("1 of the test inputs (5 %) is in train too, bit for bit: example 2 of test and ")
