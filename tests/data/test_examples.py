"""Examples, their order, their splits, and the readers of files that anyone may have written."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import own_parts, planned
from torch import Tensor

from dlrun.data.batches import Batches, Sampling
from dlrun.data.examples import Data, Examples
from dlrun.data.hold_out import carve
from dlrun.data.image_files import idx as _idx
from dlrun.data.image_files.pixels import FITS
from dlrun.data.loaded import InMemory, Loaded, Streamed
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree, single
from dlrun.dataset.mnist import mnist
from dlrun.dataset.spiral import spiral
from dlrun.errors import UserError

CPU = torch.device("cpu")


def numbered(n: int, classes: int = 1) -> Examples:
    """Examples that say which they are."""
    return Examples(torch.arange(n).float().unsqueeze(1), torch.arange(n) % classes)


def batches(n: int, size: Any, seeds: list[int], device: torch.device = CPU) -> Batches:
    split = InMemory(numbered(n), Preparation.of_single(Preprocessing()), device)
    return Batches(split, Sampling(size), seeds)


# ------------------------------------------------------------------------ order


def test_preprocessing_leaves_what_it_is_given_alone() -> None:
    inputs = torch.tensor([1.0, float("nan"), 3.0])
    before = inputs.clone()
    prepared = Preprocessing(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(5.0))(inputs)
    assert prepared.tolist() == [0.0, 2.0, 1.0]
    assert Preprocessing(torch.tensor(1.0), torch.tensor(2.0))(inputs)[2] == 1.0
    assert torch.equal(inputs.nan_to_num(9), before.nan_to_num(9))


def test_each_epoch_sees_every_example_once() -> None:
    some = batches(23, 5, [0, 7])
    for epoch in (1, 2):
        for row in some.order(epoch):
            assert row.sort().values.tolist() == list(range(23))
        shown = torch.cat([some.examples(*batch)[0] for batch in some.shuffled(epoch)], 1)
        assert torch.equal(shown[..., 0].long(), some.order(epoch))


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    order = batches(23, 5, [0, 7]).order(3)
    torch.manual_seed(99)
    assert torch.equal(order, batches(23, 5, [0, 7]).order(3))
    assert torch.equal(order[1], batches(23, 9, [7]).order(3)[0]), "alone or among others, in any batches"
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order, batches(23, 5, [0, 7]).order(4))
    before = torch.get_rng_state()
    batches(23, 5, [0]).order(1)
    assert torch.equal(before, torch.get_rng_state()), "and no one else's generator moves"


def test_placement_never_changes_the_order() -> None:
    here = batches(23, 5, [1]).order(2)
    assert torch.equal(here, batches(23, 5, [1], torch.device("meta")).order(2))
    assert here.device == CPU


@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (9, 4, [4, 4, 1]), (3, 50, [3])]
)
def test_the_last_batch_may_be_short(n: int, size: int, sizes: list[int]) -> None:
    some = batches(n, size, [0, 1])
    assert [some.examples(*batch)[0].shape[:2] for batch in some.shuffled(1)] == [(2, each) for each in sizes]
    assert len(some) == len(sizes)


def test_a_full_batch_is_the_split_as_it_stands() -> None:
    some = batches(11, "full", [0, 1])
    [batch] = some.shuffled(5)
    inputs, targets = some.examples(*batch)
    assert inputs.shape == (2, 11, 1)
    assert torch.equal(inputs[0, :, 0], torch.arange(11).float())
    assert torch.equal(targets[1], torch.arange(11) % 1)
    assert len(some) == 1


def test_inputs_and_targets_stay_together() -> None:
    split = InMemory(numbered(12, classes=12), Preparation.of_single(Preprocessing()), CPU)
    some = Batches(split, Sampling(5), [3, 4])
    for batch in some.shuffled(1):
        inputs, targets = some.examples(*batch)
        assert torch.equal(inputs[..., 0].long(), targets)
    inputs, targets = split.batch(torch.tensor([[3, 1], [2, 2]]))
    assert targets.tolist() == [[3, 1], [2, 2]]
    assert inputs.squeeze(2).tolist() == [[3, 1], [2, 2]]


# ------------------------------------------------------------------------ splits


def test_the_validation_split_has_its_share_of_every_class() -> None:
    targets = torch.cat([torch.full((count,), label) for label, count in enumerate((40, 20, 10))])
    examples = Examples(torch.arange(70).unsqueeze(1), targets[torch.randperm(70)])
    rest, chosen = carve(examples, 0.2, seed=3, by_class=True)
    assert torch.bincount(chosen.targets).tolist() == [8, 4, 2]
    assert torch.bincount(rest.targets).tolist() == [32, 16, 8]
    ids = torch.cat([rest.inputs, chosen.inputs]).squeeze(1)
    assert ids.sort().values.tolist() == list(range(70)), "each example is in one of the two"
    for part in (rest, chosen):
        assert part.inputs.squeeze(1).tolist() == sorted(part.inputs.squeeze(1).tolist())


def test_the_validation_split_of_a_regression_has_its_share(tmp_path: Path) -> None:
    plan = planned(
        own_parts(tmp_path), dataset={"name": "line", "valid_fraction": 0.3}, loss="mse", metrics=[]
    )
    loaded = plan.load()
    assert [(name, len(split)) for name, split in loaded.splits.items()] == [
        ("train", 35),
        ("valid", 15),
        ("test", 30),
    ]


def test_the_split_is_the_datasets_own_and_the_same_for_all_copies() -> None:
    def valid(seeds: list[int], **options: Any) -> Tensor:
        dataset = {"name": "spiral", "points": 20, "valid_fraction": 0.25, **options}
        return planned(seeds=seeds, dataset=dataset).load()["valid"].inputs

    assert torch.equal(valid([0]), valid([5, 6]))
    examples = numbered(40)
    chosen = {seed: carve(examples, 0.25, seed, by_class=False)[1].inputs for seed in (1, 2)}
    assert not torch.equal(chosen[1], chosen[2]), "another dataset.seed, another split"
    assert torch.equal(chosen[1], carve(examples, 0.25, 1, by_class=False)[1].inputs)
    assert not torch.equal(valid([0]), valid([0], seed=4))


@pytest.mark.parametrize("places", [(4, 4), (3,)])
def test_examples_of_several_targets_are_held_out_whole(places: tuple[int, ...]) -> None:
    numbers = torch.arange(40).view(40, 1)
    each = (numbers % 2).view(40, *[1] * len(places)).expand(40, *places)
    rest, chosen = carve(Examples(numbers, each), 0.25, seed=1, by_class=True)
    assert (len(rest), len(chosen)) == (30, 10)
    assert sorted(torch.cat([single(rest.inputs), single(chosen.inputs)]).flatten().tolist()) == [*range(40)]
    assert torch.equal(single(chosen.targets).flatten(1)[:, 0], single(chosen.inputs)[:, 0] % 2)
    named: Tree = {"a": torch.zeros(40), "b": torch.zeros(40)}
    assert len(carve(Examples(numbers, named), 0.25, seed=1, by_class=True)[1]) == 10


def test_preprocessing_is_fitted_on_train_after_the_split() -> None:
    pixels = torch.zeros(100, 1, 2, 2, dtype=torch.uint8)
    everything = Examples(pixels, torch.zeros(100, dtype=torch.long))
    _, chosen = carve(Examples(torch.arange(100).view(100, 1), everything.targets), 0.3, 0, by_class=True)
    pixels[chosen.inputs.squeeze(1)] = 255  # what is kept for validation is nothing like the rest
    data = Data(
        "classification", (1, 2, 2), lambda: {"train": everything, "test": everything}, ("a", "b"),
        fit=FITS["train"], valid_fraction=0.3,
    )  # fmt: skip
    loaded = Loaded(data, CPU)
    assert loaded.preprocessing.each[""].offset is not None
    assert loaded.preprocessing.each[""].offset.item() == 0
    assert set(loaded["valid"].inputs.flatten().tolist()) == {255}


def test_the_preprocessing_of_a_checkpoint_is_used_as_it_is() -> None:
    data = Data("classification", (1,), lambda: {"train": numbered(4), "test": numbered(4)}, ("a", "b"))
    loaded = Loaded(data, CPU, Preparation.of_single(Preprocessing(torch.tensor(1.0), torch.tensor(2.0))))
    inputs, _ = loaded["test"].batch(torch.arange(4))
    assert inputs.squeeze(1).tolist() == [-0.5, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("unit", [0.0, 51 / 255, 1.0]), ("half", [-1.0, (51 / 255 - 0.5) / 0.5, 1.0])],
)
def test_pixels_become_numbers_as_the_name_says(name: Any, expected: list[float]) -> None:
    raw = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(FITS[name](Examples(raw, torch.zeros(len(raw))))(raw), torch.tensor(expected))


def test_normalising_by_train_gives_each_channel_mean_0_and_deviation_1() -> None:
    raw = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8) // torch.tensor([1, 2, 7]).view(1, 3, 1, 1)
    raw = raw.to(torch.uint8)
    ready = FITS["train"](Examples(raw, torch.zeros(len(raw))))(raw).double()
    torch.testing.assert_close(ready.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ready.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(UserError, match="valid split is empty"):
        planned(dataset={"name": "spiral", "points": 3, "valid_fraction": 0.1}).load()
    data = Data("classification", (1,), lambda: {"train": numbered(0), "test": numbered(2)}, ("a", "b"))
    with pytest.raises(UserError, match="train split is empty"):
        Loaded(data, CPU)


def test_a_split_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UserError, match=r"no valid split \(there are: train, test\)"):
        planned().load()["valid"]


def test_the_fingerprint_changes_with_one_value() -> None:
    def fingerprint(change: Callable[[Examples, Examples], None] = lambda train, test: None) -> str:
        train, test = (
            Examples(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.arange(3)) for _ in range(2)
        )
        change(train, test)
        data = Data("classification", (1, 2, 2), lambda: {"train": train, "test": test}, ("a", "b", "c"))
        return Loaded(data, CPU).fingerprint

    def one_pixel(train: Examples, test: Examples) -> None:
        train.inputs[2, 0, 1, 1] = 1

    def one_test_pixel(train: Examples, test: Examples) -> None:
        test.inputs[2, 0, 1, 1] = 1

    def one_label(train: Examples, test: Examples) -> None:
        train.targets[0] = 1

    found = [fingerprint(), fingerprint(one_pixel), fingerprint(one_test_pixel), fingerprint(one_label)]
    assert len(set(found)) == 4
    assert fingerprint() == found[0]


def test_the_fingerprint_changes_with_a_guess_and_with_the_choice_of_a_split() -> None:
    def fingerprint(guess: float = 1.0, seed: int = 0) -> str:
        some = numbered(20)
        train = Examples(some.inputs, some.targets, {"guess": torch.full((20,), guess)})
        data = Data(
            "classification",
            (1,),
            lambda: {"train": train},
            ("a", "b"),
            splits=("train",),
            valid_fraction=0.3,
            seed=seed,
        )
        return Loaded(data, CPU).fingerprint

    assert len({fingerprint(), fingerprint(guess=2.0), fingerprint(seed=1)}) == 3
    assert fingerprint() == fingerprint()


# ------------------------------------------------------------------------ what stays in a file


def mapped(n: int = 40, digest: str = "the file") -> tuple[Examples, Examples]:
    """Images that stand in a file in another order, and the same images in memory."""
    stream = torch.Generator().manual_seed(2)
    file = torch.randint(256, (n + 5, 3, 4, 4), generator=stream, dtype=torch.uint8)
    rows = torch.randperm(n + 5, generator=stream)[:n]
    targets = torch.arange(n) % 3
    return Examples(file, targets, {"date": targets * 10.0}, rows, digest), Examples(file[rows], targets)


def test_a_split_that_streams_gives_the_same_batches() -> None:
    of_file, in_memory = mapped()
    preprocessing = Preparation.of_single(Preprocessing(torch.full((3, 1, 1), 99.0), torch.tensor(7.0)))
    wanted = InMemory(in_memory, preprocessing, CPU)
    splits = [Streamed(some, preprocessing, CPU) for some in (of_file, in_memory)]
    for split in (*splits, InMemory(of_file, preprocessing, CPU)):
        assert len(split) == len(wanted)
        for indices in (torch.tensor([3, 3, 39, 0]), torch.tensor([[7, 1, 2], [0, 5, 7]])):
            for found, same in zip(split.batch(indices), wanted.batch(indices), strict=True):
                assert found.shape[: indices.dim()] == indices.shape
                assert torch.equal(found, same)
        assert torch.equal(split.raw(), wanted.raw())
        assert torch.equal(split.raw(torch.tensor([9, 2])), wanted.raw(torch.tensor([9, 2])))
        for seeds in ([4], [1, 2]):
            a, b = (Batches(each, Sampling(16), seeds) for each in (split, wanted))
            assert all(
                torch.equal(x, y)
                for one, two in zip(a.shuffled(3), b.shuffled(3), strict=True)
                for x, y in zip(a.examples(*one), b.examples(*two), strict=True)
            )
    assert torch.equal(splits[0].aside["date"], torch.arange(40) % 3 * 10.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_what_goes_to_the_gpu_ahead_of_its_step_is_the_same() -> None:
    gpu = torch.device("cuda:0")
    of_file, in_memory = mapped()
    preprocessing = Preparation.of_single(Preprocessing(torch.full((3, 1, 1), 99.0), torch.tensor(7.0))).to(
        gpu
    )
    streamed = Batches(Streamed(of_file, preprocessing), Sampling(16), [1, 2], gpu)
    wanted = Batches(InMemory(in_memory, preprocessing), Sampling(16), [1, 2], gpu)
    for one, two in zip(streamed.shuffled(3), wanted.shuffled(3), strict=True):
        for found, same in zip(streamed.examples(*one), wanted.examples(*two), strict=True):
            assert found.device == gpu
            assert torch.equal(found, same)


def test_examples_in_a_file_are_split_without_being_read() -> None:
    of_file, in_memory = mapped()
    parts = [carve(some, 0.25, seed=1, by_class=True) for some in (of_file, in_memory)]
    for found, same in zip(*parts, strict=True):
        assert found.inputs is of_file.inputs
        assert found.digest == "the file"
        assert torch.equal(torch.cat([*found.pieces()]), same.inputs)
        assert torch.equal(found.targets, same.targets)
        assert torch.equal(found.aside["date"], found.targets * 10.0)


def test_inputs_are_gone_through_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.data.examples.EVALUATION_BATCH", 16)
    for some in mapped():
        assert [len(piece) for piece in some.pieces()] == [16, 16, 8]
        assert torch.equal(torch.cat([*some.pieces()]), mapped()[1].inputs)


def test_large_examples_are_looked_at_few_at_a_time() -> None:
    for side, size in ((8, 1024), (28, 445), (224, 6), (4096, 1)):
        inputs = torch.zeros(1, 3, side, side, dtype=torch.uint8).expand(1030, -1, -1, -1)
        some = Examples(inputs, torch.zeros(1030, dtype=torch.long))
        assert len(next(some.pieces())) == size  # type: ignore[arg-type]


def test_statistics_of_a_file_are_those_of_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.data.examples.EVALUATION_BATCH", 7)
    of_file, in_memory = (FITS["train"](some) for some in mapped())
    assert of_file.offset is not None and of_file.scale is not None
    values = mapped()[1].inputs.double()
    torch.testing.assert_close(of_file.offset.flatten().double(), values.mean((0, 2, 3)))
    torch.testing.assert_close(of_file.scale.flatten().double(), values.std((0, 2, 3), correction=0))
    assert torch.equal(of_file.offset, in_memory.offset)  # type: ignore[arg-type]


def test_the_fingerprint_of_a_file_is_its_digest_and_the_choice_from_it() -> None:
    def fingerprint(some: Examples) -> str:
        read = lambda: {"train": some}  # noqa: E731
        data = Data("classification", (3, 4, 4), read, ("a", "b", "c"), splits=("train",))
        return Loaded(data, CPU).fingerprint

    whole, _ = mapped()
    other_choice = whole.take(torch.tensor([0, 1]))
    other_order = whole.take(torch.arange(40).flip(0))
    other_labels = Examples(whole.inputs, (whole.targets + 1) % 3, {}, whole.rows, whole.digest)
    others = [mapped(digest="another")[0], other_choice, other_order, other_labels]
    assert len({fingerprint(some) for some in (whole, *others)}) == 5
    assert fingerprint(whole) == fingerprint(mapped()[0])


def test_what_does_not_fit_the_device_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    of_file, in_memory = mapped()

    def kinds(some: Examples, device: str) -> set[type]:
        data = Data("classification", (3, 4, 4), lambda: {"train": some, "test": some}, ("a", "b", "c"))
        return {type(split) for split in Loaded(data, torch.device(device)).splits.values()}

    for room, elsewhere in ((2 * 40 * 3 * 4 * 4, InMemory), (2 * 40 * 3 * 4 * 4 - 1, Streamed)):
        monkeypatch.setattr("dlrun.data.loaded._room", lambda device, room=room: room)
        assert kinds(of_file, "meta") == kinds(in_memory, "meta") == {elsewhere}
        assert kinds(of_file, "cpu") == {Streamed}, "a mapped file is not copied"
        assert kinds(in_memory, "cpu") == {InMemory}


# ------------------------------------------------------------------------ spiral


def test_the_spiral_is_the_published_formula_with_the_published_noise() -> None:
    loaded = spiral(Path(), points=1000).read()
    torch.manual_seed(12345)
    points = []
    for c in range(3):
        t = torch.linspace(0, 1, 1000)
        phi = torch.linspace(2 * math.pi / 3 * c, 2 * math.pi / 3 * (c + 2), 1000) + torch.randn(1000) * 0.2
        points.append(torch.stack([t * torch.sin(phi), t * torch.cos(phi)], 1))
    torch.testing.assert_close(loaded["train"].inputs, torch.cat(points), atol=1e-6, rtol=0)
    assert torch.equal(loaded["train"].targets, torch.arange(3).repeat_interleave(1000))


def test_the_spirals_test_points_are_fresh_ones_on_the_same_arms() -> None:
    splits = spiral(Path(), points=500, noise=0.1).read()
    train, test = splits["train"], splits["test"]
    assert torch.equal(train.targets, test.targets)
    assert (train.inputs != test.inputs).any(1).float().mean() > 0.99
    radius = train.inputs.norm(dim=1)
    torch.testing.assert_close(radius, test.inputs.norm(dim=1), atol=1e-6, rtol=0)
    assert (train.inputs - test.inputs).norm(dim=1).mean() < 0.2


def test_the_arms_of_a_spiral_may_have_other_numbers_of_points() -> None:
    """Equal numbers in a list are the spiral that the one number draws."""
    same, listed = (spiral(Path(), points=points).read() for points in (30, [30, 30, 30]))
    assert all(torch.equal(same[split].inputs, listed[split].inputs) for split in same)
    for some in spiral(Path(), points=[40, 7, 1]).read().values():
        assert torch.bincount(some.targets).tolist() == [40, 7, 1]
        assert float(some.inputs[:40].norm(dim=1).max()) == pytest.approx(1), "each arm has the whole length"
        assert float(some.inputs[40:47].norm(dim=1).max()) == pytest.approx(1)
    with pytest.raises(UserError, match="points has 2 numbers for 3 arms"):
        spiral(Path(), points=[40, 7])
    with pytest.raises(UserError, match="10,000,007 points are more than 10,000,000 in all"):
        spiral(Path(), points=[10_000_000, 5, 2])


# ------------------------------------------------------------------------ idx files


def idx(values: Tensor) -> bytes:
    sizes = b"".join(size.to_bytes(4) for size in values.shape)
    return b"\x00\x00\x08" + bytes([values.dim()]) + sizes + values.numpy().tobytes()


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """A data folder with 6 training images and 4 test images in MNIST's layout."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    stream = torch.Generator().manual_seed(1)
    for prefix, n in (("train", 6), ("t10k", 4)):
        pixels = torch.randint(256, (n, 28, 28), generator=stream, dtype=torch.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(pixels))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(torch.arange(n, dtype=torch.uint8)))
    return tmp_path


def test_whole_idx_files_are_read_as_they_are(small_mnist: Path) -> None:
    splits = mnist(small_mnist).read()
    assert {name: tuple(some.inputs.shape) for name, some in splits.items()} == {
        "train": (6, 1, 28, 28),
        "test": (4, 1, 28, 28),
    }
    assert splits["train"].inputs.dtype == torch.uint8
    assert splits["train"].targets.tolist() == list(range(6))
    raw = (small_mnist / "MNIST/raw/train-images-idx3-ubyte").read_bytes()
    assert bytes(splits["train"].inputs.flatten().tolist()) == raw[16:]


def replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "MNIST" / "raw" / name
        path.write_bytes(change(path.read_bytes()))

    return damage


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
DAMAGE = {
    "truncated": replaced(IMAGES, lambda raw: raw[:-1]),
    "longer": replaced(IMAGES, lambda raw: raw + b"\0"),
    "empty": replaced(LABELS, lambda raw: b""),
    "only a magic": replaced(LABELS, lambda raw: raw[:4]),
    "wrong magic": replaced(IMAGES, lambda raw: b"\x00\x00\x09" + raw[3:]),
    "a web page": replaced(IMAGES, lambda raw: b"<html>404</html>"),
    "many dimensions": replaced(IMAGES, lambda raw: raw[:3] + b"\xff" + raw[4:]),
    "no image": replaced(IMAGES, lambda raw: idx(torch.zeros(0, 28, 28, dtype=torch.uint8))),
    "too few labels": replaced(LABELS, lambda raw: idx(torch.arange(5, dtype=torch.uint8))),
    "labels for images": replaced(IMAGES, lambda raw: idx(torch.arange(6, dtype=torch.uint8))),
    "other sizes": replaced(IMAGES, lambda raw: idx(torch.zeros(6, 28, 27, dtype=torch.uint8))),
    "label of no class": replaced(LABELS, lambda raw: idx(torch.full((6,), 10, dtype=torch.uint8))),
    "huge sizes": replaced(IMAGES, lambda raw: raw[:4] + b"\xff" * 12 + raw[16:]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_idx_files_that_are_not_whole_or_do_not_fit_are_refused(small_mnist: Path, damage: str) -> None:
    DAMAGE[damage](small_mnist)
    with pytest.raises(UserError) as refused:
        mnist(small_mnist).read()
    assert str(small_mnist / "MNIST" / "raw") in refused.value.where
    assert refused.value.exit_code == 2


def test_stating_a_dataset_reads_and_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_idx, "fetch", lambda *a, **k: pytest.fail("it went to the network"))
    plan = planned(
        dataset="mnist",
        architecture={"name": "mlp", "flatten": True},
        data_dir=tmp_path / "none",
    )
    assert plan.layers.parameters > 0
    assert not (tmp_path / "none").exists()


def test_real_mnist_is_what_it_is_known_to_be(real_mnist: Path) -> None:
    splits = mnist(real_mnist).read()
    assert torch.bincount(splits["train"].targets).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert torch.bincount(splits["test"].targets).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert splits["train"].inputs.shape == (60_000, 1, 28, 28)
    assert splits["test"].inputs.shape == (10_000, 1, 28, 28)
