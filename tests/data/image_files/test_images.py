"""Image files: what a person sees is what the model gets, and what is no image is refused by name."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dlrun.data.image_files import formats
from dlrun.data.image_files import reading as images
from dlrun.data.image_files.finding import files_below, image_files
from dlrun.data.image_files.grey_levels import Spread
from dlrun.data.image_files.reading import read_image, read_picture, spread_of, upright_size
from dlrun.data.image_files.resizing import at_full_size
from dlrun.errors import UserError

# pytest sets the filter of dlrun.images aside.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    """Random pixels (channels, height, width)."""
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(256, (channels, height, width), generator=stream, dtype=torch.uint8)


def smooth(height: int, width: int) -> Tensor:
    """Waves (3, height, width), as a photograph is smoother than noise."""
    y, x = torch.linspace(0, 9, height).view(-1, 1), torch.linspace(0, 7, width)
    waves = [(x + y).sin(), (x - 2 * y).cos(), (3 * x).sin() * y.cos()]
    return torch.stack([100 * wave + 128 for wave in waves]).to(torch.uint8)


def picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())


def saved(folder: Path, pixels: Tensor | Image.Image, name: str = "image.png", **options: Any) -> Path:
    path = folder / name
    (picture(pixels) if isinstance(pixels, Tensor) else pixels).save(path, **options)
    return path


def difference(a: Tensor, b: Tensor) -> float:
    """The mean absolute difference of two images, in grey levels."""
    return (a.int() - b.int()).abs().float().mean().item()


def read(path: Path, height: int, width: int, channels: int = 3, resize: Any = "crop") -> Tensor:
    return read_image(path, height, width, channels, resize)


# ------------------------------------------------------------------------ formats and modes


@pytest.mark.parametrize(
    ("name", "options"), [("a.png", {}), ("a.bmp", {}), ("a.webp", {"lossless": True}), ("a.PNG", {})]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_the_wanted_size_is_read_pixel_for_pixel(
    tmp_path: Path, name: str, options: dict[str, Any], channels: int
) -> None:
    pixels = noise(7, 11, channels)
    found = read(saved(tmp_path, pixels, name, **options), 7, 11, channels)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert torch.equal(found, pixels)


def test_a_jpeg_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = smooth(40, 60)
    found = read(saved(tmp_path, pixels, "a.jpg", quality=95, subsampling=0), 40, 60)
    assert difference(found, pixels) < 2
    grey = read(saved(tmp_path, pixels[:1], "grey.jpeg", quality=95), 40, 60, channels=1)
    assert difference(grey, pixels[:1]) < 2


def test_grey_becomes_three_equal_colours_and_colour_the_grey_of_its_brightness(tmp_path: Path) -> None:
    grey = noise(5, 6, 1)
    assert torch.equal(read(saved(tmp_path, grey), 5, 6), grey.expand(3, -1, -1))
    colour = noise(5, 6)
    for name in ("a.png", "a.jpg"):
        path = saved(tmp_path, smooth(5, 6) if name == "a.jpg" else colour, name)
        rgb = read(path, 5, 6).float()
        wanted = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]  # ITU-R BT.601
        torch.testing.assert_close(read(path, 5, 6, 1)[0].float(), wanted, atol=1.6, rtol=0)


def test_what_is_transparent_is_seen_over_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (4, 4), (200, 0, 100, 0))
    half.paste((200, 0, 100, 255), (0, 0, 2, 4))
    half.putpixel((0, 0), (0, 0, 0, 128))
    for name in ("a.png", "a.webp"):
        options = {"lossless": True} if name == "a.webp" else {}
        found = read(saved(tmp_path, half, name, **options), 4, 4)
        assert found[:, 2, 1].tolist() == [200, 0, 100]
        assert found[:, 2, 3].tolist() == [255, 255, 255]
        assert found[:, 0, 0].tolist() == [127, 127, 127]
    assert read(saved(tmp_path, half.convert("LA"), "la.png"), 4, 4, 1)[0, 2, 3] == 255
    # Not the hidden colour either, where pixels of both kinds are mixed.
    assert read(saved(tmp_path, half, "b.png"), 1, 1)[0].item() > 220


def test_a_transparent_colour_or_entry_of_a_palette_is_white(tmp_path: Path) -> None:
    colours = Image.new("RGB", (4, 2), (10, 20, 30))
    colours.paste((90, 80, 70), (0, 0, 2, 2))
    keyed = saved(tmp_path, colours, "keyed.png", transparency=(10, 20, 30))
    palette = saved(tmp_path, colours.quantize(4), "palette.png")
    clear = colours.quantize(4)
    gone = clear.getpixel((3, 0))
    palette_clear = saved(tmp_path, clear, "clear.png", transparency=gone)
    for path, last in ((keyed, [255] * 3), (palette, [10, 20, 30]), (palette_clear, [255] * 3)):
        found = read(path, 2, 4)
        assert found[:, 0, 0].tolist() == [90, 80, 70]
        assert found[:, 0, 3].tolist() == last


def test_black_and_white_is_0_and_255(tmp_path: Path) -> None:
    checks = Image.new("1", (2, 1))
    checks.putpixel((1, 0), 1)
    for name in ("a.png", "a.bmp"):
        assert read(saved(tmp_path, checks, name), 1, 2, 1).flatten().tolist() == [0, 255]


def test_cmyk_is_converted(tmp_path: Path) -> None:
    for ink, wanted in (
        ((255, 0, 0, 0), [0, 255, 255]),
        ((0, 0, 0, 0), [255] * 3),
        ((0, 0, 0, 255), [0] * 3),
    ):
        path = saved(tmp_path, Image.new("CMYK", (16, 16), ink), "a.jpg", quality=100)
        torch.testing.assert_close(
            read(path, 16, 16)[:, 3, 3].float(), torch.tensor(wanted).float(), atol=3, rtol=0
        )


def test_16_bits_of_grey_are_scaled_to_8(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 1000, 32768, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(values))
    assert Image.open(path).mode == "I;16"
    assert read(path, 1, 7, 1).flatten().tolist() == [0, 0, 1, 1, 4, 128, 255]
    assert torch.equal(read(path, 1, 7, 3)[2], read(path, 1, 7, 1)[0])


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 2048, 4095]], np.uint16),
        np.array([[-100, 0, 100]], np.int32),
        np.array([[0.25, 0.5, 0.75]], np.float32),
    ],
    ids=["12 of 16 bits", "whole numbers", "floats"],
)
def test_values_of_more_than_8_bits_are_read_between_their_levels(tmp_path: Path, values: Any) -> None:
    levels = (float(values.min()), float(values.max()))
    names = ("a.tif", "a.png", "a.jp2") if values.dtype == np.uint16 else ("a.tif",)
    for name in names:
        found = read_picture(saved(tmp_path, Image.fromarray(values), name), 1, 3, 1, "crop", levels)
        assert found.pixels.flatten().tolist() in ([0, 128, 255], [0, 127, 255])
        assert found.remarks == ["deep"]
    narrow = read_picture(path := tmp_path / "a.tif", 1, 3, 1, "crop", (levels[0], float(values[0, 1])))
    assert narrow.pixels.flatten().tolist() == [0, 255, 255]
    assert narrow.remarks == ["deep", "clipped"]
    if values.dtype == np.uint16:
        assert read(path, 1, 3, 1).flatten().tolist() == [0, 8, 16], "of the whole range"
    else:
        with pytest.raises(UserError, match="black and white are unknown"):
            read(path, 1, 3, 1)


def test_the_spread_of_an_image_is_that_of_its_values(tmp_path: Path) -> None:
    values = np.full((60, 50), 800, np.uint16)
    values[:30] = 840
    values[0, 0] = 65535
    found = spread_of(saved(tmp_path, Image.fromarray(values), "a.tif", compression="tiff_lzw"))
    assert found == Spread(800.0, 800.0, 840.0, 65535.0, True)
    assert found.used(found.levels) < 0.001
    assert spread_of(saved(tmp_path, noise(5, 5), "b.png")) is None
    floats = np.array([[np.nan, 1.5], [-np.inf, 2.0]], np.float32)
    other = spread_of(path := saved(tmp_path, Image.fromarray(floats), "c.tif"))
    assert other is not None and other.levels == (1.5, 2.0)
    both = Spread.of_all([found, other])
    assert both is not None and both.levels == (1.5, 65535.0)
    with pytest.raises(UserError, match="not finite"):
        read_picture(path, 2, 2, 1, "crop", other.levels)


def test_colours_of_16_bits_are_marked(tmp_path: Path) -> None:
    scan = np.array([[[0, 256, 65535]] * 2] * 2, np.uint16)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in scan)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(raw))]
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in [*chunks, (b"IEND", b"")]
        )
    )
    found = read_picture(path, 2, 2, 3, "crop")
    assert found.pixels[:, 0, 0].tolist() == [0, 1, 255]
    assert found.remarks == ["cut"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.tif", {}), ("a.tiff", {"compression": "tiff_lzw"}), ("a.tif", {"compression": "jpeg"}),
        ("a.jp2", {}), ("a.gif", {}), ("a.avif", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)  # fmt: skip
def test_formats_of_scanners_and_browsers_are_read(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    pixels = smooth(20, 30)[: 1 if name == "a.gif" else 3]
    found = read_picture(saved(tmp_path, pixels, name, **options), 20, 30, 3, "crop")
    assert difference(found.pixels, pixels.expand(3, -1, -1)) < 3
    assert found.remarks == []


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif", "a.avif"])
def test_of_several_frames_or_pages_the_first_is_read_and_marked(tmp_path: Path, name: str) -> None:
    first, more = picture(smooth(16, 16)[:1]), [picture(noise(16, 16, 1, seed)) for seed in (1, 2)]
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path, first, name, save_all=True, append_images=more, **options)
    found = read_picture(path, 16, 16, 1, "crop")
    assert difference(found.pixels, smooth(16, 16)[:1]) < 3
    assert found.remarks == ["first"]


def test_an_image_is_read_by_its_content_whatever_its_ending(tmp_path: Path) -> None:
    pixels = noise(9, 9)
    for format in ("PNG", "TIFF", "BMP"):
        path = saved(tmp_path, picture(pixels), "a.jpg", format=format)
        assert torch.equal(read(path, 9, 9), pixels)


def test_heic_is_called_heic_and_read_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(bytes([0, 0, 0, 24]) + b"ftypheic" + bytes(400))
    with monkeypatch.context() as patched:
        patched.setattr(formats, "find_spec", lambda name: None)
        formats.readable_formats.cache_clear()
        with pytest.raises(
            UserError, match=r"it is HEIC, which is read after pip install 'dlrun\[heic\]'"
        ) as no:
            read(path, 8, 8)
    formats.readable_formats.cache_clear()
    assert no.value.fix == "pip install 'dlrun[heic]'"
    heif = pytest.importorskip("pillow_heif")
    with pytest.raises(UserError, match="HEIC of a kind that is not read, or damaged"):
        read(path, 8, 8)
    heif.from_pillow(picture(smooth(64, 64))).save(path, quality=95)
    assert difference(read(path, 64, 64), smooth(64, 64)) < 8


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.7", "it is PDF"),
        (b"\n<svg>", "it is SVG"),
        (b"\0\0\0\x14ftypmp42" + bytes(8), "it is a video"),
        (bytes(128) + b"DICM", "it is DICOM"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"II*\0" + bytes(9), "it is TIFF of a kind that is not read, or damaged"),
        (b"something else", "it is none of PNG, JPEG, WEBP, BMP, GIF, TIFF, JPEG2000, AVIF"),
    ],
)
def test_a_file_is_called_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read(tmp_path / "a.jpg", 8, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_an_image_is_upright_whatever_way_the_camera_was_held(
    tmp_path: Path, orientation: int, resize: str
) -> None:
    stored = picture(noise(20, 31))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.png", "a.webp"):
        options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
        turned = saved(tmp_path, stored, name, exif=exif, **options)
        upright = saved(tmp_path, ImageOps.exif_transpose(Image.open(turned)), f"upright {name}", **options)
        assert Image.open(upright).getexif().get(0x0112, 1) == 1
        for height, width in ((31, 20), (20, 31), (8, 8), (5, 12)):
            a, b = (read(path, height, width, resize=resize).int() for path in (turned, upright))
            assert (a - b).abs().max() <= 1, "but for rounding"


def test_a_turned_photograph_is_upright(tmp_path: Path) -> None:
    stored, exif = picture(smooth(240, 400)), Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, stored, "a.jpg", exif=exif, quality=95)
    wanted = read(saved(tmp_path, stored.rotate(-90, expand=True), "b.png"), 40, 24, resize="stretch")
    assert difference(read(path, 40, 24, resize="stretch"), wanted) < 2


A_LETTER = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0a\0\0\0"


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", A_LETTER])
def test_an_orientation_that_cannot_be_read_is_none(tmp_path: Path, exif: bytes) -> None:
    path = saved(tmp_path, smooth(40, 60), "a.jpg", exif=exif, quality=95, subsampling=0)
    assert difference(read(path, 40, 60), smooth(40, 60)) < 2


# ------------------------------------------------------------------------ sizes


def bars(height: int, width: int, upright: bool) -> Tensor:
    """A grey image of black, grey and white bars, the grey one of twice the others' breadth."""
    along = torch.tensor([0, 128, 128, 255], dtype=torch.uint8)
    if upright:
        return along.repeat_interleave(width // 4).expand(1, height, width)
    return along.repeat_interleave(height // 4).view(-1, 1).expand(1, height, width)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_crop_keeps_the_centre_of_the_longer_side(tmp_path: Path, name: str) -> None:
    for upright, shape in ((True, (40, 80)), (False, (80, 40))):
        path = saved(tmp_path, bars(*shape, upright), name)
        torch.testing.assert_close(
            read(path, 40, 40, 1).float(), torch.full((1, 40, 40), 128.0), atol=6, rtol=0
        )


def test_pad_adds_black_on_both_sides_and_keeps_all(tmp_path: Path) -> None:
    path = saved(tmp_path, torch.full((3, 10, 20), 200, dtype=torch.uint8))
    found = read(path, 20, 20, resize="pad")
    assert set(found[:, 5:15].flatten().tolist()) == {200}
    assert set(found[:, :5].flatten().tolist()) | set(found[:, 15:].flatten().tolist()) == {0}
    assert read(path, 20, 4, resize="pad")[0].count_nonzero() == 2 * 4, "as small as it must be"
    line = saved(tmp_path, torch.full((3, 1, 100), 200, dtype=torch.uint8), "line.png")
    assert read(line, 8, 8, resize="pad")[0].count_nonzero() == 8, "never to nothing"


def test_stretch_brings_each_side_to_size(tmp_path: Path) -> None:
    found = read(saved(tmp_path, bars(40, 80, upright=True)), 20, 20, 1, "stretch")
    assert found[0, 3].tolist()[2::5] == [0, 128, 128, 255]


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_shrinking_mixes_what_it_cannot_show(tmp_path: Path, name: str, resize: str) -> None:
    checks = (torch.arange(256).view(-1, 1) + torch.arange(256)) % 2 * 255
    path = saved(tmp_path, checks.to(torch.uint8).unsqueeze(0), name)
    found = read(path, 8, 8, 1, resize).float()
    torch.testing.assert_close(found, torch.full((1, 8, 8), 127.5), atol=3, rtol=0)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((667, 1001), (64, 64)), ((1001, 667), (50, 70)), ((300, 200), (64, 64)), ((513, 3000), (28, 28))],
)
def test_a_large_photograph_is_what_decoding_all_of_it_gives(
    tmp_path: Path, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    """Though no more of it is decoded than the size needs."""
    path = saved(tmp_path, smooth(*shape), "a.jpg", quality=92)
    with Image.open(path) as image:
        whole = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    wanted = torch.from_numpy(np.array(whole)).permute(2, 0, 1)
    assert difference(read(path, *size), wanted) < 1


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(
    ("original", "size"),
    [((40, 100), (16, 16)), ((90, 50), (12, 24)), ((10, 14), (32, 20)), ((16, 16), (16, 16))],
)
def test_a_mask_lies_on_the_pixels_that_the_resized_image_came_from(
    tmp_path: Path, original: tuple[int, int], size: tuple[int, int], resize: Any
) -> None:
    height, width = original
    rows, columns = (1 + np.indices(original)).astype(np.uint8)  # each pixel says where it is
    coordinates = np.stack([rows, columns, np.full(original, 255, np.uint8)], -1)
    Image.fromarray(coordinates).save(tmp_path / "a.png")
    seen = read_image(tmp_path / "a.png", *size, 3, resize).long()
    scales = [original[axis] / size[axis] for axis in (0, 1)]
    if resize != "stretch":
        scales = [max(scales) if resize == "pad" else min(scales)] * 2
    for axis, places in enumerate((rows, columns)):
        back = at_full_size(seen[axis], original, resize, 0).numpy()
        assert back.shape == (height, width)
        covered = back > 0
        assert (np.abs(back - places.astype(int))[covered] <= scales[axis] / 2 + 1.5).all()
        kept = [min(1.0, size[each] * scales[each] / original[each]) for each in (0, 1)]
        assert covered.mean() == pytest.approx(kept[0] * kept[1], abs=0.04), "the rest was cut off"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_file_is_that_of_the_upright_image(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (30, 20))
    picture.save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as stored:
        assert upright_size(tmp_path / "a.jpg") == ImageOps.exif_transpose(stored).size[::-1]


def test_what_is_no_image_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    assert [upright_size(tmp_path / name) for name in ("text.png", "none.png", "")] == [None] * 3


def test_every_shape_is_brought_to_every_size(tmp_path: Path) -> None:
    for height, width in ((1, 1), (1, 50), (50, 1), (13, 17), (3, 7), (20, 7)):
        path = saved(tmp_path, noise(height, width))
        for size in ((1, 1), (3, 7), (9, 9), (7, 3), (25, 25), (33, 11)):  # 25 · (7/25) > 7
            for resize in ("crop", "pad", "stretch"):
                assert read(path, *size, resize=resize).shape == (3, *size)


# ------------------------------------------------------------------------ what is no image


def test_what_is_no_file_is_refused(tmp_path: Path, no_hanging: None) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone")
    for name in ("pipe.jpg", "folder.jpg", "nowhere.jpg", "missing.jpg"):
        with pytest.raises(UserError) as refused:
            read(tmp_path / name, 8, 8)
        assert refused.value.where == str(tmp_path / name)


def test_a_photograph_with_previews_in_it_is_no_animation(tmp_path: Path) -> None:
    pixels = smooth(48, 64)
    path = tmp_path / "phone.jpg"
    picture(pixels).save(path, "MPO", save_all=True, append_images=[picture(noise(6, 8))], quality=95)
    found = read_picture(path, 48, 64, 3, "crop")
    assert difference(found.pixels, pixels) < 5
    assert found.remarks == []


def test_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_MANY_PIXELS", 100)
    large, small = saved(tmp_path, noise(20, 20), "large.png"), saved(tmp_path, noise(9, 9), "small.png")
    reading = threading.Thread(target=read, args=(large, 8, 8))
    with images._one_at_a_time:
        reading.start()
        assert read(small, 8, 8).shape == (3, 8, 8), "a small one does not wait"
        reading.join(0.05)
        assert reading.is_alive()
    reading.join(10)
    assert not reading.is_alive()


# ------------------------------------------------------------------------ folders


def test_the_images_of_a_folder_are_found_at_any_depth_but_not_what_is_hidden(tmp_path: Path) -> None:
    shown = ["B.JPG", "a.png", "deep/d.jpeg", "deep/er/c.webp", "e f.bmp"]
    others = ["notes.txt", "deep/scan.xcf", "png"]
    hidden = [".a.png", "._a.png", ".git/a.png", "deep/.ipynb_checkpoints/d.png", "__MACOSX/a.png"]
    for name in shown + others + hidden:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [str(path.relative_to(tmp_path)) for path in image_files(tmp_path)] == shown
    assert len(files_below(tmp_path)) == len(shown) + len(others)


def test_links_are_followed_but_not_in_circles(tmp_path: Path, no_hanging: None) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    (tmp_path / "one" / "linked").symlink_to(tmp_path / "two")
    (tmp_path / "one" / "b.png").symlink_to(tmp_path / "two" / "a.png")
    assert len(image_files(tmp_path / "one")) == 3
    assert len(image_files(tmp_path)) == 4, "the same folder twice is no circle"
    (tmp_path / "two" / "back").symlink_to(tmp_path / "one")
    for folder in (tmp_path, tmp_path / "one", tmp_path / "two"):
        with pytest.raises(UserError, match="leads back"):
            image_files(folder)


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be listed") as refused:
        image_files(tmp_path / "missing")
    assert refused.value.where == str(tmp_path / "missing")
