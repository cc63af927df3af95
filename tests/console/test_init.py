"""`dlrun init` writes a config that trains as it stands, for the data that it is shown."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from dlrun.config.loading import load_config

Dlrun = Callable[..., Any]
ROWS = 120


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_csv(name: str, columns: dict[str, Sequence[object]], separator: str = ",") -> str:
    with open(name, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return name


def houses() -> str:
    """A table of German habits: semicolons, decimal commas, dates, an id, missing cells, and remarks."""
    random = np.random.default_rng(0)
    area = random.uniform(20, 300, ROWS).round(1)
    return write_csv(
        "houses.csv",
        {
            "id": range(1, ROWS + 1),
            "day": [f"{1 + n % 28:02}.{1 + n // 28:02}.2024" for n in range(ROWS)],
            "area": [str(each).replace(".", ",") for each in area],
            "city": [("Ulm", "Berlin", "Ulm")[n % 3] for n in range(ROWS)],
            "garden": ["" if n % 4 else str(n / 8).replace(".", ",") for n in range(ROWS)],
            "remark": [f"the remark number {n}" for n in range(ROWS)],
            "price": [f"{1000 * each + n:.2f}".replace(".", ",") for n, each in enumerate(area)],
        },
        ";",
    )


def images(folder: str, classes: int = 2, side: int = 40, *, grey: bool = False, count: int = 20) -> str:
    """Random images, darker for the first class."""
    random = np.random.default_rng(0)
    for number in range(classes):
        place = Path(folder) / f"class {number}"
        place.mkdir(parents=True)
        for each in range(count):
            shape = (side, side + 8) if grey else (side, side + 8, 3)
            pixels = random.integers(0, 100 + 100 * number, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{each}.png")
    return folder


def trains(dlrun: Dlrun, config: str) -> None:
    """The config trains for an epoch, and the run can be evaluated; its patience may run out."""
    chosen = load_config(Path(config))
    assert chosen.patience is not None and chosen.patience < chosen.epochs
    done = dlrun("train", config, "epochs=1", "patience=1", "plots=[]")
    assert done.code == 0, done.err
    assert dlrun("eval", "last").code == 0


def columns_in(text: str) -> dict[str, str]:
    """The comment on each column of a table, by the column's name."""
    lines = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


@pytest.mark.parametrize(("words", "file"), [((), "spiral.yaml"), (("trial",), "trial.yaml")])
def test_without_data_it_is_an_example(dlrun: Dlrun, words: tuple[str, ...], file: str) -> None:
    done = dlrun("init", *words)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [file, f"try: dlrun train {file}"]
    assert load_config(Path(file)).dataset.name == "spiral"
    trains(dlrun, file)


def test_every_line_that_chooses_has_a_comment(dlrun: Dlrun) -> None:
    dlrun("init")
    lines = Path("spiral.yaml").read_text().splitlines()
    assert [line for line in lines if line and "#" not in line] == ["  name: mlp"]


def test_texts_are_found_and_the_model_that_is_named_reads_them(dlrun: Dlrun) -> None:
    remarks = [
        f"{('a warm and dry', 'a cold and wet')[n % 2]} house, number {n}, by the river" for n in range(60)
    ]
    path = write_csv("rooms.csv", {"remark": remarks, "good": [("yes", "no")[n % 2] for n in range(60)]})
    [said] = [line for line in dlrun("init", path).out.splitlines() if "holds texts" in line]
    dataset, architecture = said.partition(" can read: dataset: ")[2].split(", with architecture: ")
    words = (f"dataset={dataset}", f"architecture={architecture}", "epochs=1")
    assert dlrun("train", "rooms.yaml", *words).code == 0


def test_the_columns_of_a_table_are_listed_with_their_kinds(dlrun: Dlrun) -> None:
    done = dlrun("init", houses())
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "houses.yaml",
        "houses.csv: 120 rows, 7 columns",
        "target: price, the last column; regression: its numbers are predicted",
        "try: dlrun train houses.yaml",
    ]
    said = columns_in(Path("houses.yaml").read_text())
    assert said["id"] == "number 1 to 120, left out: numbers the rows"
    assert said["day"] == "date 2024-01-01 to 2024-05-08"
    assert said["city"] == "category 2 different, most often Ulm (67%)"
    assert said["garden"] == "number 0 to 14.5, 90 missing"
    assert said["remark"] == "category 120 different, left out: all its texts differ"
    assert said["price"].startswith("number the target, ")
    config = load_config(Path("houses.yaml"))
    chosen = {name: config.dataset.options[name] for name in ("path", "target", "task")}
    assert chosen == {"path": "houses.csv", "target": "price", "task": "regression"}
    assert [choice.name for choice in config.metrics] == ["mae", "rmse", "r2"]
    trains(dlrun, "houses.yaml")


def test_a_line_of_the_date_can_be_uncommented(dlrun: Dlrun) -> None:
    dlrun("init", houses())
    text = Path("houses.yaml").read_text()
    assert "  # date: [day] " in text
    Path("dated.yaml").write_text(text.replace("  # date: [day]", "  date: [day]"))
    assert load_config(Path("dated.yaml")).dataset.options["date"] == ["day"]
    trains(dlrun, "dated.yaml")


RANDOM = np.random.default_rng(1)
NUMBERS = RANDOM.normal(size=ROWS).tolist()


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (NUMBERS, "regression"),
        ([*range(ROWS)][::-1], "regression"),
        ([("yes", "no")[n % 2] for n in range(ROWS)], "classification"),
        ([n % 2 for n in range(ROWS)], "classification"),
        ([n % 4 for n in range(ROWS)], "classification"),
        ([n % 4 / 2 for n in range(ROWS)], "regression"),
    ],
)
def test_the_task_suits_the_target(dlrun: Dlrun, target: Sequence[object], task: str) -> None:
    done = dlrun("init", write_csv("table.csv", {"x": NUMBERS, "z": target}))
    assert (done.code, done.err) == (0, "")
    config = load_config(Path("table.yaml"))
    assert config.dataset.options["task"] == task
    assert config.loss.name == {"regression": "mse", "classification": "cross_entropy"}[task]


@pytest.mark.parametrize(
    ("columns", "words", "target", "why"),
    [
        (("a", "b", "c"), (), "c", "the last column"),
        (("a", "Label", "c"), (), "Label", "by its name"),
        (("a", "b", "id"), (), "b", "the last column that can be predicted"),
        (("a", "label", "c"), ("--target", "a"), "a", "as named"),
    ],
)
def test_the_target_is_guessed_and_said_or_named(
    dlrun: Dlrun, columns: tuple[str, ...], words: tuple[str, ...], target: str, why: str
) -> None:
    numbers = [range(1, ROWS + 1) if name == "id" else NUMBERS for name in columns]
    done = dlrun("init", write_csv("table.csv", dict(zip(columns, numbers, strict=True))), *words)
    assert f"target: {target}, {why}; " in done.out
    assert f"# {why}; " in Path("table.yaml").read_text()
    assert load_config(Path("table.yaml")).dataset.options["target"] == target


def test_a_table_of_parquet_trains(dlrun: Dlrun) -> None:
    kinds = [("good", "bad")[n % 2] for n in range(ROWS)]
    pq.write_table(pa.table({"x": NUMBERS, "kind": kinds}), "some.parquet")
    assert dlrun("init", "some.parquet", "--out", "mine.yaml").code == 0
    trains(dlrun, "mine.yaml")


def test_few_rows_are_not_asked_for_a_validation_split(dlrun: Dlrun) -> None:
    dlrun("init", write_csv("few.csv", {"a": [1, 2, 3, 4, 5], "b": [1.5, 2, 3, 4, 7]}))
    trains(dlrun, "few.yaml")


@pytest.mark.parametrize(("grey", "side", "size"), [(False, 40, 32), (True, 100, 96), (True, 12, 32)])
def test_a_folder_of_images_is_read_at_its_size_and_colours(
    dlrun: Dlrun, grey: bool, side: int, size: int
) -> None:
    done = dlrun("init", images("my photos", side=side, grey=grey))
    assert (done.code, done.err) == (0, "")
    colours = "grey" if grey else "in colour"
    assert done.out.splitlines()[:3] == [
        "my_photos.yaml",
        "my photos: 40 images of 2 classes",
        f"size: {size} pixels, {colours}",
    ]
    options = load_config(Path("my_photos.yaml")).dataset.options
    assert (options["size"], options["colour"]) == (size, not grey)


def test_a_folder_of_images_trains(dlrun: Dlrun) -> None:
    dlrun("init", images("photos"))
    trains(dlrun, "photos.yaml")


@pytest.mark.parametrize(
    ("splits", "fractions"),
    [
        (("train", "test"), {"valid_fraction": 0.1}),
        (("train", "valid"), {"test_fraction": 0.0}),
        (("train", "valid", "test"), {}),
    ],
)
def test_a_folder_with_splits_keeps_them(
    dlrun: Dlrun, splits: tuple[str, ...], fractions: dict[str, float]
) -> None:
    for split in splits:
        images(f"photos/{split}")
    assert dlrun("init", "photos").code == 0
    text = Path("photos.yaml").read_text()
    counts = ", ".join(f"40 {split}" for split in splits)
    assert f"{40 * len(splits)} images of 2 classes ({counts})" in text
    written = yaml.safe_load(text)["dataset"]
    assert {name: written[name] for name in written if name.endswith("_fraction")} == fractions


def test_few_images_of_a_class_are_not_asked_for_a_validation_split(dlrun: Dlrun) -> None:
    for count, monitor in ((19, None), (20, "valid_loss")):
        assert dlrun("init", images(f"of {count}", count=count, side=8)).code == 0
        assert load_config(Path(f"of_{count}.yaml")).monitor == monitor


@pytest.mark.parametrize("out", [(), ("--out", "mine.yaml")])
def test_nothing_is_overwritten(dlrun: Dlrun, out: tuple[str, ...], here: Path) -> None:
    path = Path(out[1] if out else "spiral.yaml")
    path.write_text("mine")
    done = dlrun("init", *out)
    assert (done.code, done.out, path.read_text()) == (2, "", "mine")
    assert f"{path} exists already" in done.err
    path.unlink()
    path.symlink_to(here / "nowhere.yaml")
    assert dlrun("init", *out).code == 2, "a link that leads nowhere"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no/such.csv",), "there is no table and no folder no/such.csv"),
        (("spiral_relu",), "dlrun show spiral_relu --yaml > my.yaml"),
        (("mnist",), "dlrun configs"),
        (("trial", "--target", "price"), "only a table has columns"),
        (("--out", "nowhere/a.yaml"), "nowhere\n  where: --out"),
        (("houses.csv", "--target", "prize"), "did you mean 'price'?"),
        (("houses.csv", "--target", "day"), "day holds dates"),
        (("houses.csv", "--target", "remark"), "remark all its texts differ"),
        (("one.csv",), "there is nothing to predict"),
        (("empty",), "holds no folders"),
        (("b\udcff.csv",), "is no UTF-8 text"),
    ],
)
def test_what_cannot_be_begun_is_refused_and_nothing_written(
    dlrun: Dlrun, here: Path, words: tuple[str, ...], said: str
) -> None:
    houses()
    write_csv("one.csv", {"a": NUMBERS})
    write_csv("b\udcff.csv", {"a": NUMBERS, "b": NUMBERS})
    Path("empty").mkdir()
    done = dlrun("init", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert [*here.glob("*.yaml")] == []


def test_a_config_that_needs_a_change_is_written_and_said(dlrun: Dlrun) -> None:
    texts = [f"the soup number {n} was good" for n in range(ROWS)]
    done = dlrun("init", write_csv("reviews.csv", {"text": texts, "stars": NUMBERS}))
    assert done.code == 2
    assert "warning: reviews.yaml is written, but cannot be trained as it stands" in done.err
    assert "text_table" in done.err
    assert "try:" not in done.out
    assert Path("reviews.yaml").exists()


def test_no_name_gets_out_of_its_comment_or_its_quotes(dlrun: Dlrun) -> None:
    odd = ["a\nepochs: 9", 'b # "c": {d', "x\u2028seeds: [5]", "- y: 'z"]
    table = write_csv("odd.csv\nepochs: 8.csv", dict.fromkeys(odd, NUMBERS))
    assert dlrun("init", table, "--out", "odd.yaml").code == 0
    config = load_config(Path("odd.yaml"))
    assert config.dataset.options["target"] == odd[-1]
    assert (config.epochs, config.seeds) == (200, [0])
    trains(dlrun, "odd.yaml")


def test_a_config_elsewhere_has_the_whole_path(dlrun: Dlrun, here: Path) -> None:
    Path("configs").mkdir()
    assert dlrun("init", houses(), "--out", "configs/houses.yaml").code == 0
    assert load_config(Path("configs/houses.yaml")).dataset.options["path"] == str(here / "houses.csv")


def test_a_table_of_few_different_rows_has_no_validation_split_and_its_config_trains(
    dlrun: Dlrun, here: Path
) -> None:
    rows = [f"{('good', 'bad', 'nice', 'awful')[n % 4]},{n % 2}" for n in range(200)]
    Path("few.csv").write_text("\n".join(["text,label", *rows]))
    assert dlrun("init", "few.csv").code == 0
    assert dlrun("train", "few.yaml", "epochs=1", "--quiet").code == 0
    refused = dlrun("train", "few.yaml", "monitor=valid_loss")
    assert "monitor: valid_loss is never measured" in refused.err
    assert "leave monitor out: there is no validation split, for too few rows differ" in refused.err
