"""Odd pictures: floats, wide integers, broken EXIF, names that are no names."""

import struct

import numpy as np
import pytest
from PIL import Image

from pyramid import data
from pyramid.errors import InputError


def ramp(white: float, dtype=np.float32) -> np.ndarray:
    return np.linspace(0, white, 1024).reshape(32, 32).astype(dtype)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0, 2.0**31])
def test_float_grey_is_scaled_by_its_own_white(white, tmp_path):
    Image.fromarray(ramp(white), "F").save(tmp_path / "x.tif")
    image = data.open_image(tmp_path / "x.tif", 32)
    expected = 2 * min(white / next(w for w in (1, 255, 65535, 2**32 - 1) if white <= w), 1) - 1
    assert image[0, 0, 0, 0] == -1 and image.max() == pytest.approx(expected, abs=0.01)
    assert float(image.mean()) == pytest.approx((expected - 1) / 2, abs=0.01)


@pytest.mark.parametrize(("white", "expected"), [(255, 1.0), (65535, 1.0), (2**31 - 1, 0.0)])
def test_wide_integers_too(white, expected, tmp_path):
    Image.fromarray(ramp(white, np.int64).astype(np.int32), "I").save(tmp_path / "x.tif")
    assert data.open_image(tmp_path / "x.tif", 32).max() == pytest.approx(expected, abs=0.01)


def test_the_file_s_own_word_for_white_counts(tmp_path):
    """TIFF's SMaxSampleValue: floats up to 10 of a white of 20 are half as bright."""
    Image.fromarray(ramp(10.0), "F").save(tmp_path / "x.tif", tiffinfo={341: 20.0})
    assert data.open_image(tmp_path / "x.tif", 32).max() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_black_is_black(mode, tmp_path):
    Image.new(mode, (32, 32), 0).save(tmp_path / "x.tif")
    assert data.open_image(tmp_path / "x.tif", 32).max() == -1


def test_a_dark_photograph_of_16_bits_stays_dark(tmp_path):
    Image.fromarray(ramp(200, np.uint16)).save(tmp_path / "x.png")
    assert data.open_image(tmp_path / "x.png", 32).max() < -0.98


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e30])
def test_pixels_that_are_no_brightness_are_refused(value, tmp_path):
    pixels = ramp(1.0)
    pixels[3, 3] = value
    Image.fromarray(pixels, "F").save(tmp_path / "odd.tif")
    with pytest.raises(InputError, match=r"odd\.tif .*; save it as PNG"):
        data.open_image(tmp_path / "odd.tif", 32)


def jpeg_with(exif: bytes, path) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, :20, 0], pixels[:, 20:, 2] = 255, 255  # red at the left, blue at the right
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


@pytest.mark.parametrize("numerator", [0, 1])
def test_a_rational_over_zero_in_exif_harms_no_picture(numerator, tmp_path):
    """XResolution = n/0, and an orientation that still has to be followed."""
    entries = entry(0x0112, 3, 1, struct.pack("<H", 6)) + entry(0x011A, 5, 1, struct.pack("<I", 38))
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + b"\0" * 4
    jpeg_with(block + struct.pack("<II", numerator, 0), tmp_path / "x.jpg")
    image = data.open_image(tmp_path / "x.jpg", 32)
    assert image[0, 0, 4, 16] > 0.5 > image[0, 2, 4, 16] and image[0, 2, 28, 16] > 0.5  # red came to the top


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage" * 50])
def test_a_broken_exif_block_harms_no_picture(block, tmp_path):
    jpeg_with(block, tmp_path / "x.jpg")
    image = data.open_image(tmp_path / "x.jpg", 32)
    assert image[0, 0, 16, 4] > 0.5 and image[0, 2, 16, 28] > 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations(orientation, tmp_path):
    """Against Pillow's own transposition, of a picture without symmetry."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "x.png"))
    assert np.array_equal(np.asarray(data.read_image(tmp_path / "x.png")), np.asarray(expected))
    Image.fromarray(pixels).save(tmp_path / "x.tif", tiffinfo={0x0112: orientation})  # which Pillow turns by itself
    assert np.array_equal(np.asarray(data.read_image(tmp_path / "x.tif")), np.asarray(expected))


@pytest.mark.parametrize("name", ["x\0.png", "n" * 5000 + ".png", ""])
def test_names_that_no_file_can_have(name):
    with pytest.raises(InputError):
        data.open_image(name, 32)
