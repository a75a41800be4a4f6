"""One image file: every kind becomes the same plain pixels, and what is none is one reason."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from influence.data.images import decode as decoding
from influence.data.images import thumbnails
from influence.data.images.decode import Unreadable, decode, size_of
from influence.data.images.pixels import seen
from tests.imagery import colour, grey, packed


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data).image)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_grey_files_without_loss_keep_every_value(kind):
    np.testing.assert_array_equal(np.asarray(decode(packed(grey(), kind)).image.convert("L")), grey())


@pytest.mark.parametrize(("kind", "given"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_colour_files_without_loss_keep_every_value(kind, given):
    np.testing.assert_array_equal(pixels(packed(colour(), kind, **given)), colour())


def test_the_name_of_the_format_is_not_asked_for():
    assert decode(packed(colour(), "JPEG")).image.mode == "RGB"


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_stand_upright_as_exif_says(turn):
    upright = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, 16, 0), 16, 1)
    # What a camera stores: the inverse of what a reader has to do.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = turn
    data = packed(np.ascontiguousarray(stored), "JPEG", quality=95, exif=exif)
    found = decode(data)
    assert np.abs(np.asarray(found.image).astype(int) - upright).max() < 12
    assert (found.height, found.width) == size_of(data) == upright.shape
    assert found.done == (("turned",) if turn > 1 else ())


def test_nothing_but_pixels_is_kept():
    exif = Image.Exif()
    exif[0x010E], exif[0x8825] = "the secret place", {1: "N", 2: (52.0, 31.0, 12.0)}
    data = packed(colour(), "JPEG", exif=exif, comment=b"the secret place")
    assert b"the secret place" in data
    found = decode(data)
    again = io.BytesIO()
    found.image.save(again, "PNG")
    assert b"secret" not in again.getvalue()
    assert b"secret" not in repr(thumbnails.of_found(data)).encode()


def test_transparent_parts_are_laid_on_white():
    rgba = np.dstack([colour(), np.zeros((6, 6), np.uint8)])
    rgba[:3, :, 3] = 255
    found = decode(packed(rgba))
    np.testing.assert_array_equal(np.asarray(found.image)[:3], rgba[:3, :, :3])
    assert (np.asarray(found.image)[3:] == 255).all()
    assert (found.mode, found.done) == ("RGBA", ("transparent",))


def test_an_alpha_channel_without_a_hole_is_no_transparency():
    found = decode(packed(np.dstack([colour(), np.full((6, 6), 255, np.uint8)])))
    np.testing.assert_array_equal(np.asarray(found.image), colour())
    assert found.done == ()


def test_a_grey_image_with_transparent_parts_stays_grey():
    file = io.BytesIO()
    layer = Image.merge("LA", [Image.fromarray(grey()), Image.fromarray(np.full((6, 6), 128, np.uint8))])
    layer.save(file, "PNG")
    found = decode(file.getvalue())
    assert found.image.mode == "L"
    assert np.abs(np.asarray(found.image).astype(float) - (grey() * 128.0 + 255 * 127) / 255).max() <= 1


def test_sixteen_bits_are_rounded_to_eight():
    deep = np.linspace(0, 65535, 36).round().astype(np.uint16).reshape(6, 6)
    found = decode(packed(deep))
    np.testing.assert_array_equal(np.asarray(found.image), np.rint(deep / 257).astype(np.uint8))
    assert found.done == ("deep",)


def test_sixteen_bits_of_colour_are_said():
    rows = b"".join(b"\0" + struct.pack(">6H", 65535, 0, 0, 0, 65535, 32768) for _ in range(2))
    found = decode(png(2, 2, rows, depth=16, kind=2))
    assert np.asarray(found.image)[0].tolist() == [[255, 0, 0], [0, 255, 128]]
    assert found.done == ("deep",)


def test_palettes_and_printing_colours_become_red_green_and_blue():
    file = io.BytesIO()
    Image.fromarray(colour()).quantize(16).save(file, "PNG")
    assert decode(file.getvalue()).image.mode == "RGB"
    assert decode(file.getvalue()).done == ("palette",)
    file = io.BytesIO()
    Image.new("CMYK", (6, 6), (0, 255, 255, 0)).save(file, "JPEG")
    found = decode(file.getvalue())
    assert found.done == ("cmyk",)
    assert np.asarray(found.image)[3, 3].tolist()[0] > 240 > 20 > np.asarray(found.image)[3, 3].tolist()[1]


def test_of_an_animation_the_first_frame_is_used():
    file = io.BytesIO()
    first, second = Image.new("L", (6, 6), 40), Image.new("L", (6, 6), 200)
    first.save(file, "GIF", save_all=True, append_images=[second])
    found = decode(file.getvalue())
    assert (np.asarray(found.image.convert("L")) == 40).all()
    assert "animated" in found.done


def test_large_photos_are_decoded_at_less_and_look_the_same():
    y, x = np.mgrid[:800, :800] / 800
    photo = np.dstack([255 * x, 255 * y, 255 * (x * y)]).astype(np.uint8)
    data = packed(photo, "JPEG", quality=95)
    fast, whole = seen(data, (32, 32), "auto"), np.asarray(Image.fromarray(photo).resize((32, 32), Image.Resampling.BILINEAR)) / 255
    assert decode(data, 32).image.size == (100, 100)
    assert (fast.width, fast.height) == (800, 800)
    assert np.abs(np.moveaxis(fast.pixels, 0, 2) - whole).max() < 0.03


def png(width: int, height: int, rows: bytes, depth: int = 8, kind: int = 0) -> bytes:
    """A PNG file that says these sizes, whatever its rows are."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


SVG = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>'
BAD = {
    "empty": (b"", "is empty"),
    "text": (b"these are words", "is no PNG"),
    "drawing": (SVG, "SVG drawing"),
    "bare drawing": (b"  <svg></svg>", "SVG drawing"),
    "tiff": (packed(colour(), "TIFF"), "TIFF"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no PNG"),
    "ppm": (packed(colour(), "PPM"), "is no PNG"),
    "cut jpeg": (packed(colour(size=(64, 64)), "JPEG")[:-400], "damaged or cut short"),
    "cut png": (packed(colour(size=(64, 64)))[:-400], "damaged or cut short"),
    "head of a png": (packed(colour())[:20], "damaged or cut short"),
    "half a gif": (packed(grey(size=(64, 64)), "GIF")[:60], "damaged or cut short"),
    "bomb": (png(60_000, 60_000, b"\0" * 1000), "more than 50,000,000 pixels"),
    "small bomb": (png(9_000, 6_000, b"\0" * 1000), "more than 50,000,000 pixels"),
    "large bomb": (png(80_000, 1_000, b"\0" * 1000), "more than 50,000,000 pixels"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_image_has_one_reason(case):
    data, reason = BAD[case]
    with pytest.raises(Unreadable, match=reason):
        decode(data)


def test_a_bomb_is_refused_though_somebody_silenced_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Unreadable, match="pixels"):
            decode(BAD["small bomb"][0])


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was unpacked"))
    with pytest.raises(Unreadable, match="pixels"):
        decode(BAD["bomb"][0])


@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_a_reason_or_an_image(seed):
    rng = np.random.default_rng(seed)
    kind = ("PNG", "JPEG", "GIF", "BMP", "WEBP")[seed % 5]
    data = bytearray(packed(colour(size=(20, 20)), kind))
    for place in rng.integers(0, len(data), 8):
        data[place] = rng.integers(256)
    with suppress(Unreadable):  # anything else that is raised fails the test
        assert decode(bytes(data)).image.mode in ("L", "RGB")


def test_images_cover_the_size_and_are_cut_evenly():
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 2:6] = 200
    np.testing.assert_array_equal(seen(packed(wide), (4, 4), "auto").pixels, np.full((1, 4, 4), 200 / 255, np.float32))
    planes = wide[None].astype(np.float32) / 255
    np.testing.assert_array_equal(seen(planes, (4, 4), "auto").pixels, np.full((1, 4, 4), 200 / 255, np.float32))


def test_channels_are_as_chosen():
    same = np.repeat(grey()[..., None], 3, 2)
    assert seen(packed(same), (6, 6), "auto").pixels.shape == (1, 6, 6)
    np.testing.assert_array_equal(seen(packed(same), (6, 6), "auto").pixels, seen(packed(grey()), (6, 6), "auto").pixels)
    assert seen(packed(colour()), (6, 6), "auto").pixels.shape == (3, 6, 6)
    assert seen(packed(colour()), (6, 6), "grey").pixels.shape == (1, 6, 6)
    np.testing.assert_array_equal(seen(packed(grey()), (6, 6), "colour").pixels, np.repeat(grey()[None] / np.float32(255), 3, 0))
    planes = np.moveaxis(colour(), 2, 0).astype(np.float32) / 255
    assert np.abs(seen(planes, (6, 6), "grey").pixels - seen(packed(colour()), (6, 6), "grey").pixels).max() < 1 / 255


def drawn(address: str) -> np.ndarray:
    import base64

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def test_thumbnails_enlarge_small_images_pixel_by_pixel():
    small = grey(size=(8, 8))
    picture = drawn(thumbnails.of_pixels(small[None] / 255))
    np.testing.assert_array_equal(picture, np.repeat(np.repeat(small, 8, 0), 8, 1))
    np.testing.assert_array_equal(drawn(thumbnails.of_found(packed(small))), picture)


def test_thumbnails_are_small_and_stretch_what_was_normalised():
    assert max(drawn(thumbnails.of_found(packed(colour(size=(300, 100))))).shape[:2]) == thumbnails.SIDE
    picture = drawn(thumbnails.of_pixels(np.linspace(-2, 2, 64).reshape(1, 8, 8)))
    assert (picture.min(), picture.max()) == (0, 255)
    assert thumbnails.drawable((3, 4, 4))
    assert not thumbnails.drawable((2, 4, 4))
    assert not thumbnails.drawable((5,))
