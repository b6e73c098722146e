"""A ramp stays a ramp, whatever depth a file has; and only pictures of the kinds that we mean are opened."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from proxy_tasks.data.image_io import ImageError, image_size, open_rgb, read_image_size
from proxy_tasks.data.pixel_depth import depth_of

WIDTH, HEIGHT = 64, 8


def ramp(low: float, high: float) -> NDArray[np.float64]:
    """[HEIGHT, WIDTH] from low on the left to high on the right."""
    return np.tile(np.linspace(low, high, WIDTH), (HEIGHT, 1))


def assert_ramp(image: Image.Image, low: int = 0, high: int = 255, within: int = 3) -> None:
    pixels = np.asarray(image).astype(int)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    expected = np.rint(ramp(low, high))[..., None]
    assert np.abs(pixels - expected).max() <= within, pixels[0, :, 0].tolist()


def deep_png(path: Path, values: NDArray[np.float64], kind: int) -> Path:
    """A PNG of 16 bits: kind 0 gray, 2 RGB, 4 gray and alpha, 6 RGB and alpha."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    planes = np.repeat(values.round().astype(">u2")[..., None], channels, axis=2)
    if kind in (4, 6):
        planes[..., -1] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in planes)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def tiff(
    path: Path,
    values: NDArray[np.generic],
    *,
    sample_format: int = 1,
    channels: int = 1,
    photometric: int = 1,
) -> Path:
    """An uncompressed TIFF in the byte order of the values."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    data = values.tobytes()
    bits = values.dtype.itemsize * 8
    entries = [
        (256, 3, WIDTH),
        (257, 3, HEIGHT),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 0),
        (277, 3, channels),
        (278, 3, HEIGHT),
        (279, 4, len(data)),
        (339, 3, sample_format),
    ]
    size = 8 + 2 + 12 * len(entries) + 4
    extra = struct.pack(f"{order}{channels}H", *([bits] * channels)) if channels > 1 else b""
    extra += struct.pack(f"{order}{channels}H", *([sample_format] * channels)) if channels > 1 else b""
    directory = b""
    for tag, kind, value in entries:
        count = channels if tag in (258, 339) and channels > 1 else 1
        if tag == 273:
            value = size + len(extra)
        if count > 2:
            value, kind_of = (size if tag == 258 else size + 2 * channels), "I"
        else:
            kind_of = "H" if kind == 3 else "I"
        packed = struct.pack(f"{order}{kind_of}", value).ljust(4, b"\0")
        directory += struct.pack(f"{order}HHI", tag, kind, count) + packed
    mark = b"MM" if order == ">" else b"II"
    header = mark + struct.pack(f"{order}HIH", 42, 8, len(entries))
    path.write_bytes(header + directory + b"\0\0\0\0" + extra + data)
    return path


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", [0, 2, 4, 6])
def test_a_png_of_16_bits_that_uses_fewer(tmp_path: Path, bits: int, kind: int) -> None:
    assert_ramp(open_rgb(deep_png(tmp_path / "a.png", ramp(0, 2**bits - 1), kind)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_gray_tiff_of_16_bits(tmp_path: Path, order: str, bits: int) -> None:
    values = ramp(0, 2**bits - 1).round().astype(f"{order}u2")
    assert_ramp(open_rgb(tiff(tmp_path / "a.tif", values)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_color_tiff_of_16_bits(tmp_path: Path, order: str, bits: int) -> None:
    values = np.repeat(ramp(0, 2**bits - 1).round()[..., None], 3, 2).astype(f"{order}u2")
    assert_ramp(open_rgb(tiff(tmp_path / "a.tif", values, channels=3, photometric=2)))


def test_white_may_be_zero(tmp_path: Path) -> None:
    values = ramp(4095, 0).round().astype("<u2")
    assert_ramp(open_rgb(tiff(tmp_path / "a.tif", values, photometric=0)))


def test_whole_numbers_of_16_bits_with_a_sign(tmp_path: Path) -> None:
    for high in (255, 4095, 32767):
        values = ramp(0, high).round().astype("<i2")
        assert_ramp(open_rgb(tiff(tmp_path / "a.tif", values, sample_format=2)))


@pytest.mark.parametrize("high", [255, 4095, 65535, 2**24 - 1, 2**31 - 1])
def test_whole_numbers_of_32_bits(tmp_path: Path, high: int) -> None:
    values = ramp(0, high).round().astype("<i4")
    assert_ramp(
        open_rgb(tiff(tmp_path / "a.tif", values, sample_format=2)), high=254 if high > 2**30 else 255
    )


def test_whole_numbers_without_a_sign(tmp_path: Path) -> None:
    values = ramp(0, 2**32 - 1).round().astype("<u4")
    assert_ramp(open_rgb(tiff(tmp_path / "a.tif", values)))


def test_numbers_below_zero_are_spread(tmp_path: Path) -> None:
    for dtype in ("<i2", "<i4"):
        values = ramp(-1000, 1000).round().astype(dtype)
        assert_ramp(open_rgb(tiff(tmp_path / "a.tif", values, sample_format=2)))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, 1),
        (0, 255),
        (0, 4095),
        (0, 65535),
        (-1, 1),
        (-0.02, 1.03),
        (0, 1e-3),
        (-3e38, 3e38),
        (2, 9),
        (0, 1e20),
    ],
)
def test_floats(tmp_path: Path, low: float, high: float) -> None:
    found = open_rgb(tiff(tmp_path / "a.tif", ramp(low, high).astype("<f4"), sample_format=3))
    dark = (low, high) == (0, 1e-3)  # A part of 1 as any other: it is nearly black.
    assert_ramp(found, high=0 if dark else 255, within=8 if low == -0.02 else 3)


def test_floats_that_are_no_numbers_do_not_spoil_the_rest(tmp_path: Path) -> None:
    values = ramp(0, 1).astype("<f4")
    values[0] = np.nan
    values[1] = np.inf
    pixels = np.asarray(open_rgb(tiff(tmp_path / "a.tif", values, sample_format=3)))
    assert_ramp(Image.fromarray(np.concatenate([pixels[2:], pixels[2:4]])))
    whole = np.full((HEIGHT, WIDTH), np.nan, "<f4")
    assert np.asarray(open_rgb(tiff(tmp_path / "b.tif", whole, sample_format=3))).max() == 0


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "PA", "I;16", "I", "F"])
def test_every_mode_that_pillow_writes(tmp_path: Path, mode: str) -> None:
    gray = Image.fromarray(ramp(0, 255).round().astype(np.uint8))
    image = gray.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else gray.convert(mode)
    ending = {"LA": "png", "P": "gif", "PA": "png", "RGBA": "webp", "F": "tif", "CMYK": "tif"}
    path = tmp_path / f"a.{ending.get(mode, 'tif')}"
    if mode == "PA":
        image = image.convert("LA")
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    image.save(path, **options)
    assert_ramp(open_rgb(path))


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(ramp(0, 255) > 128).save(tmp_path / "a.png")
    pixels = np.asarray(open_rgb(tmp_path / "a.png"))
    assert pixels[:, : WIDTH // 2].max() == 0
    assert pixels[:, WIDTH // 2 + 1 :].min() == 255


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "gif", "bmp", "ppm", "avif"])
def test_every_kind_is_opened(tmp_path: Path, ending: str) -> None:
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"a.{ending}"
    Image.fromarray(ramp(0, 255).round().astype(np.uint8)).convert("RGB").save(path)
    assert_ramp(open_rgb(path), within=12)
    assert image_size(path) == (HEIGHT, WIDTH)


def test_the_least_depth_is_taken() -> None:
    assert [depth_of(value) for value in (0, 255, 256, 1023, 4095, 4096, 65535, 65536, 2.0**40)] == [
        *(8, 8, 10, 10, 12, 14, 16, 24, 32)
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_images_are_turned_once(tmp_path: Path, orientation: int, ending: str) -> None:
    """TIFFs are turned by Pillow itself when it decodes them."""
    gray = Image.fromarray(ramp(0, 255).round().astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{ending}"
    gray.save(path, exif=exif)
    sideways = orientation >= 5
    upright = open_rgb(path)
    assert upright.size == ((HEIGHT, WIDTH) if sideways else (WIDTH, HEIGHT))
    assert image_size(path) == (upright.height, upright.width)
    first, last = np.asarray(upright)[0, 0].mean(), np.asarray(upright)[-1, -1].mean()
    assert (first < last) == (orientation in (1, 4, 5, 6))
    if sideways:  # Annotated as it is stored.
        assert_ramp(open_rgb(path, (HEIGHT, WIDTH)), within=12)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) =\n%%EOF\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (EPS, "no image of a kind that is read"),
        (b"", "the file is empty"),
        (b"DDS " + bytes(200), "no image of a kind that is read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, r"\w"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", r"\w"),
        (b"BM" + b"\xff" * 60, r"\w"),
        (b"II*\0\xff\xff\xff\xff", r"\w"),
        (b"P6\n99999999 99999999\n255\n", "are more than"),
        (b"P5\n-4 4\n255\n", r"\w"),
    ],
)
def test_what_is_no_picture_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, told: str
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a program is started")

    monkeypatch.setattr("subprocess.Popen.__init__", forbidden)
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (open_rgb, image_size):
        with pytest.raises(ImageError, match=told):
            read(path)
    assert read_image_size(path) is None


def test_a_folder_and_a_file_that_is_not_there_are_errors_too(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.png", tmp_path / ("a" * 5000)):
        with pytest.raises(ImageError):
            image_size(path)


def test_the_limit_of_pixels_is_named_with_the_setting_that_raises_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (100, 50)).save(path)
    with pytest.raises(ImageError, match=r"100x50 are more than 4,000 pixels; task\.data\.max_pixels=5000"):
        open_rgb(path, max_pixels=4000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own limit is lower than ours then.
    assert open_rgb(path, max_pixels=5000).size == (100, 50)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(ImageError, match=r"task\.data\.max_pixels"):
        image_size(path, max_pixels=4000)


def test_mutated_pictures_are_images_or_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    values = rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)
    for ending in ("jpg", "png", "tif", "webp", "gif", "bmp", "ppm"):
        path = tmp_path / f"a.{ending}"
        Image.fromarray(values).save(path)
        whole = path.read_bytes()
        for _ in range(40):
            content = bytearray(whole)
            for _ in range(int(rng.integers(1, 8))):
                content[int(rng.integers(min(len(content), 200)))] = int(rng.integers(256))
            path.write_bytes(content[: int(rng.integers(1, len(content) + 1))])
            try:
                assert open_rgb(path).mode == "RGB"
            except ImageError as error:
                assert len(str(error)) < 400


@pytest.mark.parametrize("largest", [1000, 19_192, 40_000])
def test_a_pgm_is_read_as_the_same_pixels_in_a_png(tmp_path: Path, largest: int) -> None:
    """Values of a PGM have no sign, so that none of 16 bits is taken for one."""
    values = ramp(0, largest).round()
    header = f"P5 {WIDTH} {HEIGHT} 65535\n".encode()
    (tmp_path / "a.pgm").write_bytes(header + values.astype(">u2").tobytes())
    png = open_rgb(deep_png(tmp_path / "a.png", values, 0))
    np.testing.assert_array_equal(np.asarray(open_rgb(tmp_path / "a.pgm")), np.asarray(png))


@pytest.mark.parametrize(("low", "high", "levels"), [(-0.4, 0.5, (0, 128)), (0.0, 1.5, (0, 255))])
def test_floats_near_0_to_1_are_cut_off_there_as_the_document_says(
    tmp_path: Path, low: float, high: float, levels: tuple[int, int]
) -> None:
    Image.fromarray(ramp(low, high).astype(np.float32)).save(tmp_path / "a.tif")
    pixels = np.asarray(open_rgb(tmp_path / "a.tif"))
    assert (pixels.min(), pixels.max()) == levels
