"""Data as anyone may have made them: tables, images, folders, archives, downloads, too few examples."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import struct
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cells import rows_of
from PIL import Image, ImageFile
from small_runs import PHOTOS, child, little_memory
from watched_disk import Disk

from dlrun.data import download as _download
from dlrun.data.image_files import idx as _idx
from dlrun.data.image_files import reading as images
from dlrun.data.image_files.reading import read_image
from dlrun.data.loaded import Loaded
from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import STRICT, Reading
from dlrun.dataset import cifar10
from dlrun.dataset.image_folder import image_folder
from dlrun.dataset.mnist import mnist
from dlrun.errors import UserError
from dlrun.system.progress import no_progress

Dlrun = Callable[..., Any]
CPU = torch.device("cpu")

# pytest sets the filter of dlrun.images aside.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


def refused(fault: Any, done: Any, said: str, code: int = 2) -> None:
    """A command that ended as it must where data cannot be used, in a few lines."""
    lines = [line for line in done.err.splitlines() if not line.startswith(("decoding", "downloading"))]
    fault.count(tracebacks=done.err.count("Traceback"))
    assert done.code == code, done.out + done.err
    assert said in done.err
    assert 0 < len(lines) <= 5, done.err
    assert lines[0].startswith("error: ")


def below(folder: Path) -> set[str]:
    """All that is in a folder, at any depth."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# ------------------------------------------------------------------------ T32: tables

TABLE = """\
seeds: [0]
dataset: {name: csv, path: PATH, target: b, read: strict, missing: refuse, unknown: refuse, categorical: [],
  scale_target: false, split_rule: drawn, valid_fraction: 0}
architecture: linear
loss: mse
optimizer: {name: sgd, lr: 1e-3}
epochs: 1
batch_size: 8
plots: []
"""
PLAIN = "a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(12))


def with_cells(*cells: str, rows: int = 12) -> bytes:
    """The plain table with other cells in its first column, beginning in row 2."""
    lines = [f"{cells[i] if i < len(cells) else i},{2 * i}" for i in range(rows)]
    return "\n".join(["a,b", *lines]).encode()


# what -> the file, what is said of it, and the line that is named
REFUSED: dict[str, tuple[bytes, str, int | None]] = {
    "a row too long": (b"a,b\n1,2\n1,2,3\n", "row 3 has 3 cells, but the header names 2 columns", 3),
    "a row too short": (b'a,b\n"1\n",2\n\n1\n', "row 5 has 1 cell,", 5),
    "two columns of one name": (b"a,b, a\n1,2,3\n", "columns 1 and 3 are both called 'a'", 1),
    "columns without a name": (b",a,\n1,2,3\n", "column 1 has no name; column 3 has no name", 1),
    "a name without end": (b"a," + b"b" * 1001 + b"\n1,2\n", "the name of column 2 is longer than 1,000", 1),
    "a quote that is not closed": (b'a,b\n1,2\n1,"2\n1,2\n', "opened here and never closed", 3),
    "a quote within": (b'a,b\n1,"2"3\n', "between a closing quote and the next comma", 2),
    "a quote that another closes": (
        b'a,b\n1,2\n1,"2\n1,2\n1,"2"\n',
        'it goes on to line 5: maybe a quote (") is not closed',
        3,
    ),
    "two quotes too many": (b'a,b\n1,"2\n1,2\n",1,2\n', "row 2 has 4 cells, but", 2),
    "a cell without end": (b"a,b\n1,2\n1," + b"x" * 200_000, "longer than 131,072 characters", 3),
    "latin-1": ("a,b\n1,2\n1,é\n".encode("latin-1"), "row 3 is not UTF-8: byte 3 is 0xe9", 3),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "row 1 is not UTF-8", 1),
    "semicolons": (b"a;b\n1,5;2\n", "separated by semicolons", 1),
    "tabs": (b"a\tb\n1\t2\n", "separated by tabs", 1),
    "bars": (b"a|b\n1|2\n", "separated by bars", 1),
    "utf-16 without a mark": (
        "a,b\n1,2\n".encode("utf-16-le"),
        "row 1 holds a byte 0: this is not text",
        None,
    ),
    "a title": (b"# my table\na,b\n1,2\n", "name each column in the first row", 2),
    "rows of old": (b"a,b\r1,2\r", "a carriage return", 1),
    "nothing": (b"", "the file is empty", None),
    "blank lines": (b"\n\n", "the file is empty", None),
    "a header only": (b"a,b\n", "a header but no rows", None),
    "no header": (b"1,2\n3,4\n5,6\n", "the first row holds numbers, but must name the columns", 1),
    "half a gzip file": (gzip.compress(PLAIN.encode())[:-5], "not a complete gzip file", None),
    "a line without end": (gzip.compress(b"x" * (2**24 + 1)), "row 1 is longer than 16,777,216 bytes", None),
    "a broken archive": (b"PK\x03\x04" + bytes(99), "this is not a complete ZIP file", None),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(99), "this is a workbook (.xls)", None),
    "one row": (b"a,b\n1,2\n", "of 1 row the train split gets 1, but needs 2", None),
    "text": (with_cells(*"xyzuvwxyz"), "a holds text such as 'x' (row 2)", None),
    "a text among numbers": (with_cells("1", "x"), "1 cell is unreadable: a in row 3 ('x')", None),
    "no number": (with_cells("nan", "inf"), "a in row 2; 1 cell is unreadable: a in row 3 ('inf')", None),
    "too large": (with_cells("1", "1e400"), "a in row 3 ('1e400')", None),
    "all too large": (with_cells(*["1e400"] * 12), "a holds numbers beyond float32 such as '1e400'", None),
    "decimal commas": (with_cells(*['"1,5"'] * 12), "write numbers as 1234.5", None),
    "thousands": (with_cells(*["1_000"] * 12), "set thousands", None),
    "shares": (with_cells(*["5%"] * 12), "write numbers as 1234.5", None),
    "prices": (with_cells(*["$ 5"] * 12), "write numbers as 1234.5", None),
    "another minus": (with_cells(*["−5"] * 12), "write numbers as 1234.5", None),
    "other digits": (with_cells(*["٣"] * 12), "write numbers as 1234.5", None),
    "no value": (with_cells(*["?"] * 12), "leave cells without a value empty, or write NA", None),
    "a column of nothing": (with_cells(*["NaN"] * 12), "12 cells are missing: a in row 2, a in row 3", None),
}


def table(folder: Path, content: bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.fixture
def table_config(write: Callable[[str, str], Path], tmp_path: Path) -> Path:
    return write("table.yaml", TABLE.replace("PATH", str(tmp_path / "table.csv")))


@pytest.mark.row("T32")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_such_table_is_refused_with_its_line(
    fault: Any, dlrun: Dlrun, table_config: Path, runs_dir: Path, tmp_path: Path, what: str
) -> None:
    content, said, line = REFUSED[what]
    path = table(tmp_path, content)
    done = dlrun("train", table_config, "--quiet")
    refused(fault, done, said)
    assert f"({path}:{line})" in done.err or (line is None and f"({path})" in done.err)
    assert max(map(len, done.err.splitlines())) < 400
    assert not runs_dir.exists()
    fault.count(tables=1)


NOTHING = with_cells(*["NaN"] * 12)


@pytest.mark.row("T32")
@pytest.mark.parametrize(
    ("what", "content", "words", "said"),
    [
        ("nothing to fill with", NOTHING, ["missing=fill"], "no training row has a value of a"),
        ("nothing is left", NOTHING, ["missing=drop"], "no row is left: 12 cells"),
        ("little is left", with_cells(*["NaN"] * 10), ["missing=drop"], "of 2 rows left of 12 the test"),
        ("a guess of nothing", NOTHING, ["missing=fill", "baselines={g: a}"], "take it out of baselines"),
        ("no such target", PLAIN.encode(), ["target=c"], "there is no column 'c'"),
        ("all the same", b"a,b\n" + b"1,7\n" * 9, ["scale_target=true"], "set scale_target: false"),
    ],
)  # fmt: skip
def test_what_teaches_nothing_is_refused_with_a_remedy_that_fits(
    fault: Any, dlrun: Dlrun, table_config: Path, runs_dir: Path, tmp_path: Path,
    what: str, content: bytes, words: list[str], said: str,
) -> None:  # fmt: skip
    table(tmp_path, content)
    done = dlrun("train", table_config, *(f"dataset.{word}" for word in words), "--quiet")
    refused(fault, done, said)
    assert not runs_dir.exists()
    fault.count(tables=1)


CLASSES = ("dataset.task=classification", "loss=cross_entropy")


@pytest.mark.row("T32")
def test_a_class_that_the_model_does_not_know_is_named_with_its_row(
    fault: Any, dlrun: Dlrun, table_config: Path, tmp_path: Path
) -> None:
    lines = [f"{i},{'xyz'[i % 3]}" for i in range(30)]
    table(tmp_path, "\n".join(["a,b", *lines]).encode())
    assert dlrun("train", table_config, *CLASSES, "--quiet").code == 0
    other = table(tmp_path, "\n".join(["a,b", *lines[:20], "9,w", *lines[20:]]).encode(), "other.csv")
    done = dlrun("eval", "last", f"dataset.path={other}")
    refused(fault, done, "b holds 'w' in row 22, no class of the model (there are: x, y, z)")
    fault.count(tables=1)


READ: dict[str, tuple[bytes, str]] = {
    "a mark": (b"\xef\xbb\xbf" + PLAIN.encode(), ""),
    "ends of Windows": (PLAIN.replace("\n", "\r\n").encode(), ""),
    "gzip": (gzip.compress(PLAIN.encode()), ""),
    "no last newline": (PLAIN.rstrip().encode(), ""),
    "blank lines": (PLAIN.replace("5,10\n", "\n5,10\n\n").encode(), ""),
    "a constant column": (b"a,c,b\n" + b"".join(b"%d,7,%d\n" % (i, i) for i in range(12)),
                          "warning: c is the same in all training rows, and becomes 0"),
}  # fmt: skip


@pytest.mark.row("T32")
@pytest.mark.parametrize("what", READ)
def test_a_table_is_read_as_it_is_meant(
    fault: Any, dlrun: Dlrun, table_config: Path, tmp_path: Path, what: str, no_hanging: None
) -> None:
    content, said = READ[what]
    path = table(tmp_path, content)
    done = dlrun("train", table_config, "metrics=[]")
    fault.count(tables=1, tracebacks=done.err.count("Traceback"))
    assert done.code == 0, done.err
    assert said in done.err + done.out
    if "column" not in what:
        plain = read_table(table(tmp_path, PLAIN.encode(), "plain.csv"))
        assert rows_of(read_table(path)) == rows_of(plain)


@pytest.mark.row("T32")
def test_very_many_columns_are_a_table(
    fault: Any, dlrun: Dlrun, table_config: Path, tmp_path: Path, no_hanging: None
) -> None:
    many = fault.times(10**4, 5 * 10**4)
    header = ",".join([*(f"c{i}" for i in range(many)), "b"]).encode()
    rows = b"".join(b",".join([b"%d" % i] * many + [b"2\n"]) for i in range(9))
    table(tmp_path, header + b"\n" + rows)
    done = dlrun("train", table_config, "metrics=[]", "--quiet")
    fault.count(tables=1, tracebacks=done.err.count("Traceback"))
    assert done.code == 0, done.err


@pytest.mark.row("T32")
def test_any_table_at_all_is_read_or_refused(fault: Any, tmp_path: Path, no_hanging: None) -> None:
    chance: random.Random = fault.random
    pieces = [
        b"a",
        b"1",
        b",",
        b",",
        b"\n",
        b"\n",
        b'"',
        b"\r",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b" ",
        b"1e400",
        b"nan",
    ]
    for _ in range(fault.times(100, 5000)):
        content = b"".join(chance.choice(pieces) for _ in range(chance.randrange(1, 40)))
        path = table(
            tmp_path, content if chance.random() < 0.9 else gzip.compress(content)[: chance.randrange(9, 60)]
        )
        fault.count(tables=1, wrong=0)
        with suppress(UserError):
            found = read_table(path, chance.choice([STRICT, Reading()]))
            assert all(len(column) == len(found) for column in found.columns.values())


# ------------------------------------------------------------------------ T33: images


def one_image(path: Path, colour: tuple[int, int, int] = (9, 9, 9)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), colour).save(path)
    return path


def fill(folder: Path, names: list[str], count: int = 5) -> Path:
    """Some images in a folder for each name."""
    for label, name in enumerate(names):
        for number in range(count):
            one_image(folder / name / f"{number}.png", (20 * number, 80 * label, 10))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five cats and five dogs."""
    return fill(tmp_path / "photos", ["cat", "dog"])


@pytest.fixture
def photos_config(photos: Path, write: Callable[[str, str], Path]) -> Path:
    return write("photos.yaml", PHOTOS.replace("PATH", str(photos)))


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    stream = np.random.default_rng(seed)
    return Image.fromarray(stream.integers(0, 256, (height, width, 3), np.uint8))


def encoded(format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    noise(40, 40).save(file, format, **options)
    return file.getvalue()


def animation(format: str) -> bytes:
    frames = [noise(16, 16, seed) for seed in range(3)]
    file = io.BytesIO()
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    return file.getvalue()


def png(
    width: int, height: int, colour: int = 0, depth: int = 8, content: bytes = b"", more: bytes = b""
) -> bytes:
    """A PNG file of so many pixels, as it says; `colour` and `depth` as in its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    content = content or zlib.compress(bytes(10_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff(more: dict[int, int], side: int = 8) -> bytes:
    """A TIFF file of grey pixels, side × 8 as it says, with more tags."""
    tags = {256: side, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1} | more
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<L", 8) + struct.pack("<H", len(tags)) + entries + bytes(200)


NO_IMAGES = {
    "truncated.jpg": encoded("JPEG")[:-200],
    "truncated.png": encoded("PNG")[:-200],
    "truncated.webp": encoded("WEBP")[:-200],
    "truncated.bmp": encoded("BMP")[:-200],
    "empty.jpg": b"",
    "text.jpg": b"this is no image\n" * 100,
    "web page.png": b"<html>404</html>",
    "magic only.png": b"\x89PNG\r\n\x1a\n",
    "truncated.gif": encoded("GIF")[:-200],
    "truncated.tif": encoded("TIFF")[:-200],
    "truncated.jp2": encoded("JPEG2000")[:90],
    "truncated.avif": encoded("AVIF")[:-200],
    "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "postscript.jpg": encoded("EPS"),
    "huge tiles.tif": tiff({322: 2**15, 323: 2**15, 324: 8, 325: 100}),
    "a bomb.tif": tiff({273: 8, 279: 100}, images.MOST_PIXELS),
    "broken checksum.png": encoded("PNG").replace(b"IHDR", b"IHDr", 1),
    "a bomb.png": png(images.MOST_PIXELS // 8192 + 1, 8192),
    "a large bomb.png": png(40_000, 40_000),
    "the largest bomb.png": png(2**31 - 1, 2**31 - 1),
}


@pytest.mark.row("T33")
@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_whole_image_is_refused_by_name_or_left_out_and_counted(
    fault: Any, dlrun: Dlrun, photos_config: Path, photos: Path, runs_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:  # fmt: skip
    (photos / "cat" / name).write_bytes(NO_IMAGES[name])
    if "bomb" in name:
        real = ImageFile.ImageFile.load
        monkeypatch.setattr(
            ImageFile.ImageFile,
            "load",
            lambda self: real(self) if self.width < 999 else pytest.fail("it is decoded"),
        )
    data = ("--data-dir", tmp_path / "data")
    done = dlrun("train", photos_config, *data)
    refused(fault, done, f"cat/{name} (")
    assert "1 of 11 images cannot be read" in done.err
    assert not runs_dir.exists()
    done = dlrun("train", photos_config, "dataset.unreadable=skip", *data)
    assert done.code == 0, done.err
    assert f"1 image cannot be read and is left out (1 of 6 in cat): cat/{name} (" in done.out
    done = dlrun("predict", "last", photos / "cat" / name, *data)
    refused(fault, done, "the image cannot be read: ")
    fault.count(images=1)


def turned(mode: str = "RGB") -> Image.Image:
    """A picture as it is meant: its left half is dark, its right half bright."""
    picture = Image.new("L", (40, 40), 200)
    picture.paste(20, (0, 0, 20, 40))
    return picture.convert(mode)


@pytest.mark.row("T33")
def test_what_a_person_sees_is_what_is_read(fault: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: to be turned clockwise
    sixteen = Image.fromarray(np.asarray(turned("L"), np.uint16) * 257)
    clear = turned("RGBA")
    clear.paste((0, 0, 0, 0), (20, 0, 40, 40))  # seen over white
    pictures: dict[str, tuple[Image.Image, dict[str, Any], int]] = {
        "plain.png": (turned(), {}, 200),
        "grey.png": (turned("L"), {}, 200),
        "palette.png": (turned().quantize(4), {}, 200),
        "cmyk.jpg": (turned("CMYK"), {"quality": 98}, 200),
        "16 bits.png": (sixteen, {}, 200),
        "clear.png": (clear, {}, 255),
        "clear.webp": (clear, {"lossless": True}, 255),
        "turned.jpg": (turned().rotate(90, expand=True), {"exif": exif, "quality": 98}, 200),
        "turned.png": (turned().rotate(90, expand=True), {"exif": exif}, 200),
        "plain.bmp": (turned(), {}, 200),
        "plain.gif": (turned("L"), {}, 200),
        "plain.tif": (turned(), {"compression": "tiff_lzw"}, 200),
        "16 bits.tif": (sixteen, {}, 200),
        "turned.tif": (turned().rotate(90, expand=True), {"exif": exif}, 200),
        "plain.jp2": (turned(), {}, 200),
        "plain.avif": (turned(), {"quality": 98}, 200),
        "animated.png": (turned(), {"save_all": True, "append_images": [noise(40, 40)]}, 200),
        "animated.webp": (turned(), {"save_all": True, "append_images": [noise(40, 40)], "quality": 98}, 200),
        "pages.tif": (turned(), {"save_all": True, "append_images": [noise(40, 40)]}, 200),
    }
    for name, (picture, options, bright) in pictures.items():
        picture.save(tmp_path / name, **options)
        for channels in (1, 3):
            found = read_image(tmp_path / name, 8, 8, channels, "crop").int()
            wrong = (found[:, :, :3] - 20).abs().max() > 4 or (found[:, :, 5:] - bright).abs().max() > 4
            fault.count(images=1, wrong=int(wrong))
            assert not wrong, name


@pytest.mark.row("T33")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "AVIF"])
def test_a_damaged_image_is_read_or_refused_and_nothing_else(fault: Any, tmp_path: Path, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw, path, chance = encoded(format, exif=exif), tmp_path / "damaged", fault.random
    for _ in range(fault.times(60, 3000)):
        damaged = bytearray(raw)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(min(len(raw), chance.choice((100, len(raw)))))] = chance.randrange(256)
        path.write_bytes(damaged)
        fault.count(images=1, wrong=0)
        with suppress(UserError):
            assert read_image(path, 8, 8, 3, "crop").shape == (3, 8, 8)


def blank(kind: str, side: int) -> bytes:
    """A file of side × side pixels of one colour, of some kind."""
    clear = {2: chunk(b"tRNS", bytes(6)), 3: chunk(b"PLTE", bytes(range(48))) + chunk(b"tRNS", b"\x80")}
    headers = {
        "grey": (0, 8), "16 bits of grey": (0, 16), "colours": (2, 8), "colours, one clear": (2, 8),
        "48 bits": (2, 16), "palette": (3, 8), "grey and clear": (4, 8), "colours and clear": (6, 8),
    }  # fmt: skip
    if kind in headers:
        colour, depth = headers[kind]
        row = bytes(1 + side * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth // 8)
        packing = zlib.compressobj(1)
        content = b"".join(packing.compress(row) for _ in range(side)) + packing.flush()
        more = clear.get(colour, b"") if kind != "colours" else b""
        return png(side, side, colour, depth, content, more)
    if kind == "JPEG in scans":
        return in_scans(side)
    file = io.BytesIO()
    picture = Image.new("RGBA" if "clear" in kind else "RGB", (side, side), (9, 99, 199))
    if kind.startswith("WEBP"):
        picture.save(file, "WEBP", lossless="lossless" in kind, method=0, quality=10)
    elif kind.startswith("TIFF"):
        picture.save(file, "TIFF", compression="tiff_lzw")
    elif kind.startswith(("GIF", "AVIF", "JPEG2000")):
        picture.save(file, kind.split(",")[0], **({"speed": 10} if kind.startswith("AVIF") else {}))
    else:
        picture.save(file, "JPEG", progressive="progressive" in kind, subsampling=0)
    return file.getvalue()


def in_scans(side: int) -> bytes:
    """A JPEG file that is not progressive, but whose three colours come one after the other."""
    file = io.BytesIO()
    Image.new("L", (side, side), 99).save(file, "JPEG")
    raw = file.getvalue()
    frame, scan = raw.index(b"\xff\xc0"), raw.index(b"\xff\xda")
    size = raw[frame + 5 : frame + 9]
    colours = b"\xff\xc0\x00\x11\x08" + size + b"\x03" + b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3))
    coded = raw[scan + 10 : -2]
    scans = b"".join(b"\xff\xda\x00\x08\x01" + bytes([i, 0, 0, 63, 0]) + coded for i in (1, 2, 3))
    return raw[:frame] + colours + raw[frame + 13 : scan] + scans + b"\xff\xd9"


@pytest.mark.row("T33")
def test_a_photograph_in_several_scans_is_told_from_one_in_one(fault: Any, tmp_path: Path) -> None:
    small = table(tmp_path, in_scans(64), "small.jpg")
    assert (read_image(small, 8, 8, 3, "crop").float().mean((1, 2)) - 99).abs().max() > 1, "three colours"
    with Image.open(small) as image:
        assert images._coefficients(image) == 2 * 3 * 64 * 64
    for options, samples in (({}, 0), ({"progressive": True}, 1.5), ({"quality": 100, "subsampling": 0}, 0)):
        path = tmp_path / "one.jpg"
        noise(64, 64).save(path, **options)
        with Image.open(path) as image:
            assert images._coefficients(image) == 2 * samples * 64 * 64
            image.load()
    fault.count(images=4)


def peak_in_child(path: str, size: int, log: str) -> None:
    """Read an image in a process of its own; says in `log` by how much its memory grew, in MiB."""
    read_image(one_image(Path(f"{log}.png")), 8, 8, 3, "crop")  # Pillow is loaded
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmHWM")
    try:
        said = f"read {tuple(read_image(path, size, size, 3, 'crop').shape)}"
    except UserError as error:
        said = error.what
    Path(log).write_text(json.dumps([(memory("VmHWM") - before) / 2**10, said]))


def memory(name: str) -> int:
    """A line of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


LARGEST = {  # kind -> the side of a square, as large as is read
    "colours and clear": 8192, "colours, one clear": 8192, "palette": 8192, "colours": 8192, "grey": 8192,
    "16 bits of grey": 8192, "48 bits": 8192, "grey and clear": 8192, "JPEG": 8192, "JPEG, progressive": 6000,
    "JPEG in scans": 6000, "WEBP": 4100, "WEBP, lossless": 4100, "WEBP, clear": 4100, "GIF": 8192,
    "TIFF": 5900, "TIFF, clear": 4100, "JPEG2000": 3400, "JPEG2000, clear": 2900, "AVIF": 4100,
    "AVIF, clear": 4100,
}  # fmt: skip
FEW = ("colours, one clear",)


@pytest.mark.row("T33")
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure its memory")
def test_no_image_takes_more_memory_than_it_may(fault: Any, tmp_path: Path) -> None:
    for kind in fault.times(FEW, tuple(LARGEST)):
        for side, size in ((fault.times(6000, LARGEST[kind]), 64), (8192, 3000)):
            path, log = tmp_path / "large", tmp_path / "log"
            if size == 64 or fault.thorough:
                path.write_bytes(blank(kind, side))
                process = child(peak_in_child, str(path), size, str(log))
                process.join(120)
                assert process.exitcode == 0
                grown, said = json.loads(log.read_text())
                fault.count(images=1, wrong=int(grown > 300))
                assert grown <= 300, f"{kind}: {grown:.0f} MiB, {said}"
                assert (f"read (3, {size}" in said) or (size == 3000 and "MiB to decode" in said), (
                    f"{kind}: {said}"
                )


@pytest.mark.row("T33")
def test_a_bit_that_flips_in_what_was_decoded_is_found(fault: Any, photos: Path, tmp_path: Path) -> None:
    def data() -> Any:
        return image_folder(tmp_path / "data", path=str(photos), size=12, unreadable="skip")

    (photos / "dog" / "0.png").write_bytes(b"no image")  # number 5, after the cats
    whole = Loaded(data(), CPU)
    wanted = {name: (split.raw(), split.targets) for name, split in whole.splits.items()}
    [kept] = (tmp_path / "data" / "image_folder").iterdir()
    for name in ("images", "keys", "index.json"):
        for turn in range(fault.times(15, 200)):
            raw = bytearray((kept / name).read_bytes())
            place, bit = fault.random.randrange(len(raw)), fault.random.randrange(8)
            if name == "index.json" and not turn:  # which of the files is none: 5 becomes 4
                place, bit = raw.index(b"[[5, ") + 2, 0
            raw[place] ^= 1 << bit
            (kept / name).write_bytes(raw)
            again = Loaded(data(), CPU)
            same = again.fingerprint == whole.fingerprint and all(
                torch.equal(split.raw(), wanted[each][0]) and torch.equal(split.targets, wanted[each][1])
                for each, split in again.splits.items()
            )
            fault.count(flips=1, wrong=int(not same))
            assert same


# ------------------------------------------------------------------------ T34: folders


def in_splits(photos: Path, **classes: list[str]) -> Path:
    """The folder anew: the classes of each split, two images each."""
    shutil.rmtree(photos)
    for name, of_split in classes.items():
        (photos / name).mkdir(parents=True)
        fill(photos / name, of_split, 2)
    return photos


def without_images(photos: Path) -> None:
    for path in (photos / "dog").iterdir():
        path.rename(path.with_suffix(".txt"))


def loose(photos: Path) -> None:
    shutil.rmtree(photos)
    one_image(photos / "train" / "a.png")
    one_image(photos / "test" / "b.png")


def one_each(photos: Path) -> None:
    shutil.rmtree(photos)
    fill(photos, ["cat"], 1)
    fill(photos, ["dog"], 2)


def only_cats(photos: Path) -> None:
    shutil.rmtree(photos / "dog")


PAIR = ["cat", "dog"]
UNSOUND: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "there is no file or folder"),
    "no classes": (lambda p: in_splits(p).mkdir(), "holds no folders"),
    "one class": (only_cats, "it needs two or more classes"),
    "an empty class": (lambda p: (p / "fox").mkdir(), "the class fox has no image"),
    "a class of Thumbs.db": (
        lambda p: table((p / "fox").mkdir() or p / "fox", b"", "Thumbs.db"),
        "fox has no",
    ),
    "a class without images": (without_images, "the class dog has no image"),
    "a circle of links": (lambda p: (p / "cat" / "again").symlink_to(p), "leads back"),
    "a link that leads nowhere": (lambda p: (p / "cat" / "x.png").symlink_to(p / "gone"), "No such file"),
    "a class that leads nowhere": (lambda p: (p / "fox").symlink_to(p / "gone"), "fox is a link that leads"),
    "a pipe": (lambda p: os.mkfifo(p / "cat" / "x.png"), "no regular file"),
    "a device": (lambda p: (p / "cat" / "x.png").symlink_to("/dev/zero"), "no regular file"),
    "a class name that is no text": (lambda p: (p / os.fsdecode(b"\xff")).mkdir(), "no UTF-8"),
    "test has a class more": (lambda p: in_splits(p, train=["cat"], test=PAIR), "test has the class dog"),
    "train has a class more": (lambda p: in_splits(p, train=PAIR, test=["cat"]), "train has the class dog"),
    "a split without classes": (lambda p: in_splits(p, train=PAIR, valid=[]), "valid has not"),
    "splits and classes": (lambda p: in_splits(p, train=PAIR, test=PAIR, cat=[]), "besides: cat"),
    "no train": (lambda p: in_splits(p, valid=PAIR, test=PAIR), "no folder of training images"),
    "valid and val": (lambda p: in_splits(p, train=PAIR, valid=PAIR, val=PAIR), "both valid and val"),
    "images without classes": (loose, "test, train hold no folders of classes"),
    "too few to test on": (one_each, "leaves no image to validate on"),
}


@pytest.mark.row("T34")
@pytest.mark.parametrize("what", UNSOUND)
def test_a_folder_that_is_not_sound_is_refused_in_words(
    fault: Any, dlrun: Dlrun, photos_config: Path, photos: Path, runs_dir: Path, tmp_path: Path,
    what: str, no_hanging: None,
) -> None:  # fmt: skip
    change, said = UNSOUND[what]
    change(photos)
    done = dlrun("train", photos_config, "dataset.unreadable=skip", "--data-dir", tmp_path / "data")
    refused(fault, done, said)
    assert not runs_dir.exists()
    fault.count(folders=1)


NOT_FOR_PEOPLE = [
    ".git/a.png", ".ipynb_checkpoints/a.png", "__MACOSX/a.png", "cat/.a.png", "cat/._0.png", "cat/.x/a.png",
    "cat/.ipynb_checkpoints/0.png", "@eaDir/a.png", "cat/@eaDir/0.png", "$RECYCLE.BIN/a.png",
    "System Volume Information/a.png", "lost+found/a.png",
]  # fmt: skip
OF_SYSTEMS = [
    "Thumbs.db",
    "cat/Thumbs.db",
    "cat/desktop.ini",
    "dog/.DS_Store",
    "dog/ehthumbs.db",
    "cat/Icon\r",
]


@pytest.mark.row("T34")
def test_what_systems_leave_in_folders_is_no_class_and_no_image(
    fault: Any, dlrun: Dlrun, photos_config: Path, photos: Path, tmp_path: Path
) -> None:
    def found() -> Any:
        data = image_folder(tmp_path / "data", path=str(photos), size=8)
        return data.classes, Loaded(data, CPU).fingerprint, data.notes

    wanted = found()
    for name in NOT_FOR_PEOPLE:
        one_image(photos / name)
    for name in OF_SYSTEMS:
        (photos / name).write_bytes(b"")
    fault.count(folders=1, wrong=int(found() != wanted))
    assert found() == wanted
    assert wanted[2] == []
    done = dlrun("train", photos_config, "--data-dir", tmp_path / "data")
    assert done.code == 0
    assert "left out" not in done.out + done.err


@pytest.mark.row("T34")
def test_the_classes_of_a_model_are_its_own_whatever_the_folder_holds(
    fault: Any, dlrun: Dlrun, photos_config: Path, tmp_path: Path
) -> None:
    data = ("--data-dir", tmp_path / "data")
    assert dlrun("train", photos_config, *data).code == 0
    other = fill(tmp_path / "other", ["dog"])
    found = json.loads(dlrun("eval", "last", "--json", "--on", other, *data).out)
    counts = {name: row["examples"] for name, row in found["per_class"].items()}
    fault.count(folders=1, wrong=int(counts != {"cat": 0, "dog": 5}))
    assert counts == {"cat": 0, "dog": 5}, "none moves up"
    fill(other, ["ant"])
    refused(fault, dlrun("eval", "last", "--on", other, *data), "the model has no class ant")


# ------------------------------------------------------------------------ T35: archives

RECORDS = 4  # in each batch of the small archive
CIFAR = PHOTOS.replace("{name: image_folder, path: PATH, size: 8}", "cifar10")


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 with batches of 4 records."""
    monkeypatch.setattr(cifar10, "_BATCH", RECORDS * cifar10._RECORD)


def records(number: int, label: int | None = None) -> bytes:
    """Record i of batch n: label (n + i) % 10, its red pixels n, green i, blue counting up."""
    return b"".join(
        bytes([(number + i) % 10 if label is None else label])
        + bytes([number]) * 1024
        + bytes([i]) * 1024
        + bytes(pixel % 256 for pixel in range(1024))
        for i in range(RECORDS)
    )


def cifar_archive(
    folder: Path,
    change: Callable[[str, tarfile.TarInfo], bytes | None] | None = None,
    more: Callable[[tarfile.TarFile], None] = lambda archive: None,
) -> Path:
    """An archive in CIFAR-10's layout; `change` may alter a member, give other bytes, or b"" for none."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        more(archive)
        for number, name in enumerate([*cifar10._MEMBERS["train"], *cifar10._MEMBERS["test"]], 1):
            content = records(number)
            member = tarfile.TarInfo(name)
            changed = change(name, member) if change else None
            if changed == b"":
                continue
            content = content if changed is None else changed
            member.size = len(content) if member.type == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.row("T35")
def test_cifar_is_read_from_the_archive_as_it_is(fault: Any, small_cifar: None, tmp_path: Path) -> None:
    cifar_archive(tmp_path)
    splits = cifar10.cifar10(tmp_path).read()
    assert splits["train"].inputs.shape == (5 * RECORDS, 3, 32, 32)
    assert splits["test"].inputs.shape == (RECORDS, 3, 32, 32)
    assert splits["train"].targets.tolist() == [(n + i) % 10 for n in range(1, 6) for i in range(RECORDS)]
    image = splits["train"].inputs[RECORDS + 2]  # batch 2, record 2
    assert image[0].unique().tolist() == [2]
    assert image[1].unique().tolist() == [2]
    assert image[2, 1, :3].tolist() == [32, 33, 34], "row by row"
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz"], "nothing is unpacked"
    fault.count(archives=1, outside=0)


def added(name: str, kind: bytes = tarfile.REGTYPE, **about: Any) -> Callable[[tarfile.TarFile], None]:
    """An archive with one member more."""

    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type = kind
        for key, value in about.items():
            setattr(member, key, value)
        member.size = 6 if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(b"escape"))

    return add


def instead(kind: str, target: Path) -> Callable[[str, tarfile.TarInfo], bytes | None]:
    """An archive in which the third batch is something else."""
    kinds = {
        "symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "folder": tarfile.DIRTYPE,
        "fifo": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE, "block device": tarfile.BLKTYPE,
    }  # fmt: skip
    contents = {"missing": b"", "short": records(3)[:-1], "long": records(3) + b"\0", "label": records(3, 10)}

    def change(name: str, member: tarfile.TarInfo) -> bytes | None:
        if not name.endswith("data_batch_3.bin"):
            return None
        member.type = kinds.get(kind, tarfile.REGTYPE)
        if "link" in kind:
            member.linkname = str(target)
        return contents.get(kind)

    return change


def twice(archive: tarfile.TarFile) -> None:
    member = tarfile.TarInfo(cifar10._MEMBERS["train"][0])
    member.size = RECORDS * cifar10._RECORD
    archive.addfile(member, io.BytesIO(bytes(member.size)))


VERY_MANY = 2  # times ten thousand


def very_many(archive: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("x").tobuf()
    for _ in range(VERY_MANY):
        archive.fileobj.write(member * 10_000)  # type: ignore[union-attr]


STRANGE = [
    "symlink", "hard link", "folder", "fifo", "device", "block device", "missing", "short", "long", "label",
    "twice", "very many", "a bomb", "packed twice", "a name without end", "names within names",
]  # fmt: skip


@pytest.mark.row("T35")
@pytest.mark.parametrize("kind", STRANGE)
def test_an_archive_that_is_not_what_it_should_be_is_refused_and_nothing_is_written(
    fault: Any,
    small_cifar: None,
    dlrun: Dlrun,
    write: Any,
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    no_hanging: None,
) -> None:
    config, target = write("cifar.yaml", CIFAR), tmp_path / "secret"
    monkeypatch.setattr(cifar10, "_MOST_BYTES", fault.times(2**25, 2**28))
    monkeypatch.setattr("test_data_faults.VERY_MANY", fault.times(VERY_MANY, 100))
    target.write_bytes(records(3))
    more = {"twice": twice, "very many": very_many}.get(kind, lambda archive: None)
    archive = cifar_archive(tmp_path / "data", instead(kind, target), more)
    if kind == "a bomb":  # gzip files may follow each other: 4 GiB in 4 MB
        header = tarfile.TarInfo("x")
        header.size = 2**32
        archive.write_bytes(gzip.compress(header.tobuf()) + 256 * gzip.compress(bytes(2**24)))
    if kind == "packed twice":
        archive.write_bytes(gzip.compress(archive.read_bytes()))
    if kind == "names within names":
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
        archive.write_bytes(gzip.compress((header.tobuf() + b"x" + bytes(511)) * 5000))
    if kind == "a name without end":
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**32
        archive.write_bytes(gzip.compress(header.tobuf()) + 256 * gzip.compress(b"x" * 2**24))
    before = below(tmp_path)
    with little_memory():
        done = dlrun("train", config, "--data-dir", tmp_path / "data", "--quiet")
    refused(fault, done, "this is not the CIFAR-10 archive: ")
    assert f"where: {archive}" in done.err
    fault.count(archives=1, outside=len(below(tmp_path) - before))
    assert below(tmp_path) == before


@pytest.mark.row("T35")
@pytest.mark.parametrize(
    ("name", "kind", "about"),
    [
        ("../escape", tarfile.REGTYPE, {}),
        ("{}/escape", tarfile.REGTYPE, {}),
        ("cifar-10-batches-bin/../../escape", tarfile.REGTYPE, {}),
        ("escape", tarfile.REGTYPE, {"mode": 0o4777, "uid": 0}),
        ("cifar-10-batches-bin", tarfile.SYMTYPE, {"linkname": "{}"}),
        ("escape", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 5}),
        ("a" * 200 + "/" + "b" * 5000, tarfile.REGTYPE, {}),
    ],
)
def test_what_else_an_archive_holds_goes_nowhere(
    fault: Any,
    small_cifar: None,
    dlrun: Dlrun,
    write: Any,
    tmp_path: Path,
    name: str,
    kind: bytes,
    about: Any,
) -> None:
    config, outside = write("cifar.yaml", CIFAR), tmp_path / "outside"
    outside.mkdir()
    about = {key: value.format(outside) if isinstance(value, str) else value for key, value in about.items()}
    cifar_archive(tmp_path / "data", more=added(name.format(outside), kind, **about))
    before = below(tmp_path)
    done = dlrun("train", config, "--data-dir", tmp_path / "data", "--quiet")
    assert done.code == 0, done.err
    new = {path for path in below(tmp_path) - before if not path.startswith("runs")}
    fault.count(archives=1, outside=len(new))
    assert not new
    assert not any(path.name == "escape" for path in tmp_path.parent.rglob("escape"))


@pytest.mark.row("T35")
@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_what_is_not_the_archive_is_refused(
    fault: Any, small_cifar: None, tmp_path: Path, damage: str
) -> None:
    path = cifar_archive(tmp_path)
    raw = path.read_bytes()
    path.write_bytes({"truncated": raw[: len(raw) // 2], "text": b"404", "empty": b""}[damage])
    fault.count(archives=1)
    with pytest.raises(UserError, match="not the CIFAR-10 archive"):
        cifar10.cifar10(tmp_path).read()


@pytest.mark.row("T35")
def test_a_flipped_bit_of_the_archive_never_changes_an_image(
    fault: Any, small_cifar: None, tmp_path: Path
) -> None:
    path, chance, declined = cifar_archive(tmp_path), fault.random, 0
    raw, whole = path.read_bytes(), cifar10.read(path)
    times = fault.times(100, 2000)
    for _ in range(times):
        damaged = bytearray(raw)
        damaged[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            splits = cifar10.read(path)
        except UserError:
            declined += 1
            fault.count(flips=1)
        else:
            for name, some in splits.items():
                same = torch.equal(some.inputs, whole[name].inputs) and torch.equal(
                    some.targets, whole[name].targets
                )
                fault.count(wrong=int(not same))
                assert same
    assert declined > times / 2


# ------------------------------------------------------------------------ T36: downloads


class Mirror(ThreadingHTTPServer):
    """A server on this machine that gives its files as told: whole, cut, wrong, never."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.how = "whole"
        self.asked: list[str] = []
        self.ends = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who was asked may be gone


class Answer(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        content, how = self.server.files[name], self.server.how
        self.server.asked.append(name)
        if how == "garbage":
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            return
        if how == "not there":
            self.send_error(404)
            return
        if how == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if how == "a web page":
            content = b"<html>Please sign in to this network</html>"
        self.send_response(200)
        if how == "too long":
            self.send_header("Content-Length", str(2**40))
        elif how != "without end":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if how in ("cut", "stalled"):
            content = content[: len(content) // 2]
        self.wfile.write(content)
        self.wfile.flush()
        while how == "stalled" and not self.server.ends.wait(0.05):
            pass
        if how == "without end":
            with suppress(OSError):
                while not self.server.ends.is_set():
                    self.wfile.write(bytes(2**20))

    def log_message(self, format: str, *rest: Any) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.ends.set()
    server.shutdown()
    thread.join()
    server.server_close()


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return b"\x00\x00\x08" + bytes([values.ndim]) + sizes + values.tobytes()


def publish(server: Mirror) -> Any:
    """Small files in MNIST's layout; gives what dlrun knows of them."""
    digests = []
    for of_split, n in zip(_idx._FILES.values(), (60, 20), strict=True):
        stream = np.random.default_rng(n)
        for name, values in zip(
            of_split,
            (stream.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8) % 10),
            strict=True,
        ):
            packed = gzip.compress(idx(values), mtime=0)
            server.files[f"{name}.gz"] = packed
            digests.append(hashlib.sha256(packed).hexdigest())
    return [server.address], digests


MNIST = CIFAR.replace("cifar10", "mnist")
HOW = {
    "cut": "ended after",
    "wrong": "not what was published (their SHA-256 differs)",
    "a web page": "not what was published (their SHA-256 differs)",
    "not there": "Not Found",
    "stalled": "timed out",
    "too long": "of 1,099,511,627,776 bytes",
    "without end": "gives more than 4,194,304 bytes",
    "garbage": "SSH-2.0",
    "nobody": "refused",
}


@pytest.mark.row("T36")
@pytest.mark.parametrize("how", HOW)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(
    fault: Any, mirror: Mirror, dlrun: Dlrun, write: Any, runs_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, how: str, no_hanging: None,
) -> None:  # fmt: skip
    config, raw = write("mnist.yaml", MNIST), tmp_path / "data" / "MNIST" / "raw"
    mirrors, digests = publish(mirror)
    mirror.how = how
    if how == "nobody":
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            mirrors = [f"http://127.0.0.1:{unused.getsockname()[1]}"]
    monkeypatch.setitem(_idx._PUBLISHED, "MNIST", (mirrors, digests))
    monkeypatch.setattr(_download, "PATIENCE", 0.5)
    monkeypatch.setattr(_idx, "_MOST_BYTES", 2**22)
    done = dlrun("train", config, "--data-dir", tmp_path / "data", "--quiet")
    refused(fault, done, "MNIST could not be downloaded: ")
    assert HOW[how] in done.err
    assert f"where: {raw}" in done.err
    assert all(name in done.err for of_split in _idx._FILES.values() for name in of_split)
    assert "--data-dir" in done.err
    left = list(raw.iterdir())
    fault.count(downloads=1, wrong=len(left))
    assert not left
    assert not runs_dir.exists()
    mirror.how = "whole"
    monkeypatch.setitem(_idx._PUBLISHED, "MNIST", ([*mirrors, mirror.address], digests))
    done = dlrun("train", config, "--data-dir", tmp_path / "data")
    assert done.code == 0, "and from another address"
    place = mirror.address.removeprefix("http://")
    assert f"downloading MNIST from {place} (MiB): 1\n" in done.err


@pytest.mark.row("T36")
def test_what_is_downloaded_is_on_the_disk_before_it_has_its_name(
    fault: Any, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_idx._PUBLISHED, "MNIST", publish(mirror))
    with Disk(tmp_path).watched() as disk:
        mnist(tmp_path).read()
    names = [name for of_split in _idx._FILES.values() for name in of_split]
    for name in names:
        (at,) = [i for i, call in enumerate(disk.calls) if call[0] == "replace" and call[-1].endswith(name)]
        temporary = disk.calls[at][1]
        kept = [call for call in disk.calls[: at + 3] if call[1] in (temporary, "MNIST/raw")]
        assert kept[-4:] == [
            ("fsync", temporary),
            ("replace", temporary, f"MNIST/raw/{name}"),
            ("open", "MNIST/raw"),
            ("fsync", "MNIST/raw"),
        ]
        fault.count(downloads=1)
    assert {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()} == set(names)


@pytest.mark.row("T36")
@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
@pytest.mark.parametrize("what", ["a pipe", "a device", "a folder", "a file without end", "a link to itself"])
def test_what_stands_in_the_place_of_a_file_is_not_waited_for(
    fault: Any, dlrun: Dlrun, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    no_hanging: None, dataset: str, what: str,
) -> None:  # fmt: skip
    names = {"mnist": "MNIST/raw/train-images-idx3-ubyte", "cifar10": "cifar-10-binary.tar.gz"}
    place = tmp_path / "data" / names[dataset]
    place.parent.mkdir(parents=True)
    monkeypatch.setattr(_download, "urlopen", unreachable)
    for name in [name for of_split in _idx._FILES.values() for name in of_split] * (dataset == "mnist"):
        (place.parent / name).touch()
    place.unlink(missing_ok=True)
    if what == "a pipe":
        os.mkfifo(place)
    elif what == "a folder":
        place.mkdir()
    elif what == "a file without end":
        with place.open("wb") as file:
            file.truncate(2**42)
    else:
        place.symlink_to("/dev/zero" if what == "a device" else place)
    config = write("config.yaml", CIFAR.replace("cifar10", dataset))
    with little_memory():
        done = dlrun("train", config, "--data-dir", tmp_path / "data", "--quiet")
    long = {"mnist": "this file has 4,398,046,511,104 bytes", "cifar10": "this is not the CIFAR-10 archive"}
    said = {"a file without end": long[dataset], "a link to itself": "could not be downloaded"}
    refused(fault, done, said.get(what, "this is no file"))


def unreachable(*rest: Any, **options: Any) -> None:
    raise OSError("there is no network")


@pytest.mark.row("T36")
def test_a_cifar_archive_is_fetched_whole_or_not_at_all(
    fault: Any, small_cifar: None, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = cifar_archive(tmp_path / "published").read_bytes()
    mirror.files["cifar.tar.gz"] = content
    monkeypatch.setattr(cifar10, "_URL", f"{mirror.address}/cifar.tar.gz")
    with pytest.raises(UserError, match="SHA-256 differs") as declined:
        cifar10.cifar10(tmp_path / "data").read()
    assert declined.value.where == str(tmp_path / "data")
    assert "cifar-10-binary.tar.gz" in declined.value.fix
    assert not list((tmp_path / "data").iterdir())
    monkeypatch.setattr(cifar10, "_SHA256", hashlib.sha256(content).hexdigest())
    assert len(cifar10.cifar10(tmp_path / "data").read()["train"]) == 5 * RECORDS
    assert (tmp_path / "data" / "cifar-10-binary.tar.gz").read_bytes() == content
    fault.count(downloads=2)


def fetch_in_child(root: str, published: Any, log: str) -> None:
    """Read MNIST in a process of its own, fetching it; says in `log` what it found."""
    _idx._PUBLISHED["MNIST"] = published
    found = Loaded(mnist(Path(root)), CPU, progress=no_progress).fingerprint
    with open(log, "a") as file:
        file.write(f"{found}\n")


@pytest.mark.slow
@pytest.mark.row("T36")
def test_processes_that_start_at_once_fetch_each_file_once(
    fault: Any, mirror: Mirror, tmp_path: Path
) -> None:
    published, many = publish(mirror), fault.times(2, 16)
    root, log = tmp_path / "data", tmp_path / "log"
    processes = [child(fetch_in_child, str(root), published, str(log)) for _ in range(many)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    fault.count(at_once=many, copies=len(mirror.asked) // 4, wrong=len(set(log.read_text().split())) - 1)
    assert sorted(mirror.asked) == sorted(mirror.files), "each file once"
    assert len(log.read_text().split()) == many
    assert len(set(log.read_text().split())) == 1
    assert len(list((root / "MNIST" / "raw").iterdir())) == 4, "and nothing beside them"


@pytest.mark.slow
@pytest.mark.row("T36")
def test_a_download_that_is_killed_is_begun_anew_and_nobody_waits_for_it(
    fault: Any, mirror: Mirror, tmp_path: Path
) -> None:
    published, root, log = publish(mirror), tmp_path / "data", tmp_path / "log"
    for _ in range(fault.times(2, 10)):
        mirror.how, asked = "stalled", len(mirror.asked)
        process = child(fetch_in_child, str(root), published, str(log))
        deadline = time.monotonic() + 60
        while len(mirror.asked) == asked and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(fault.random.random() / 10)
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        left = list((root / "MNIST" / "raw").iterdir())
        fault.count(kills=1, wrong=len(left))
        assert not left
    mirror.how = "whole"
    fetch_in_child(str(root), published, str(log))
    assert len(list((root / "MNIST" / "raw").iterdir())) == 4


# ------------------------------------------------------------------------ T37: too few examples

NORMALISED = "architecture.batch_norm=true"
A_TABLE = "dataset={name: csv, path: TABLE, target: b, split_rule: drawn, valid_fraction: 0}"
FEW_EXAMPLES: dict[str, tuple[tuple[str, ...], str]] = {
    "a single one is left": (
        (NORMALISED, "batch_size=59"),
        "the last batch of 60 examples has a single example",
    ),
    "one at a time": ((NORMALISED, "batch_size=1"), "every batch has a single example"),
    "one example": ((NORMALISED, "dataset=one"), "every batch has a single example"),
    "an empty split": (("dataset={name: spiral, points: 3, valid_fraction: 0.1}",), "valid split is empty"),
    "nothing to train on": (("dataset=none",), "the train split is empty"),
    "one class": (("dataset.classes=1",), "two or more classes"),
    "a table of three": ((A_TABLE, "loss=mse", "metrics=[]"), "of 3 rows the test split gets 1, but needs 2"),
    "a table of one class": ((A_TABLE, "dataset.target=c", "dataset.task=classification"), "a single value"),
}
TOO_FEW = '''
"""{n} points."""
import torch
from dlrun.data.examples import Data, Examples


def {name}(root):
    """Two classes."""
    some = Examples(torch.ones({n}, 2), torch.zeros({n}, dtype=torch.long))
    two = Examples(torch.ones(2, 2), torch.arange(2))
    return Data("classification", (2,), lambda: {{"train": some, "test": two}}, classes=("a", "b"))
'''


@pytest.mark.row("T37")
@pytest.mark.parametrize("what", FEW_EXAMPLES)
def test_too_few_examples_are_refused_before_there_is_a_run(
    fault: Any, dlrun: Dlrun, tiny: Path, write: Any, runs_dir: Path, tmp_path: Path, what: str
) -> None:
    words, said = FEW_EXAMPLES[what]
    for name, n in (("one", 1), ("none", 0)):
        write(f"parts/dataset/{name}.py", TOO_FEW.format(name=name, n=n).lstrip())
    path = table(tmp_path, b"a,b,c\n" + b"1,2,3\n" * (3 if "three" in what else 20))
    words = tuple(word.replace("TABLE", str(path)) for word in words)
    done = dlrun("train", tiny, *words, "--parts", tmp_path / "parts")
    refused(fault, done, said)
    assert not runs_dir.exists()
    fault.count(datasets=1)


@pytest.mark.row("T37")
@pytest.mark.parametrize(
    "words",
    [
        ("batch_size=10000",),
        ("batch_size=59",),
        ("batch_size=10000", "architecture.batch_norm=true"),
        ("batch_size=58", "architecture.batch_norm=true"),
        ("dataset.points=1", "batch_size=1"),
    ],
)
def test_a_batch_that_is_not_full_is_trained_on_as_it_is(
    fault: Any, dlrun: Dlrun, tiny: Path, words: tuple[str, ...]
) -> None:
    done = dlrun("train", tiny, *words, "--quiet")
    fault.count(datasets=1, tracebacks=done.err.count("Traceback"))
    assert done.code == 0, done.err
    assert done.err == ""
