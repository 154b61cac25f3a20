import io
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media import MediaPolicy
from vlm2vec_cli.media.pictures import decode, decode_frames, quiet_pillow

PIXELS = 10**6
Encode = Callable[..., bytes]


@pytest.fixture(autouse=True)
def quiet() -> None:
    quiet_pillow()


@pytest.mark.parametrize(
    ("mode", "form", "options"),
    [
        ("RGB", "PNG", {}),
        ("RGB", "JPEG", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGB", "BMP", {}),
        ("RGB", "PPM", {}),
        ("RGB", "TIFF", {}),
        ("RGB", "GIF", {}),
        ("RGB", "PNG", {"transparency": (1, 2, 3)}),
        ("RGBA", "PNG", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("L", "PNG", {}),
        ("L", "JPEG", {}),
        ("L", "PNG", {"transparency": 5}),
        ("LA", "PNG", {}),
        ("1", "PNG", {}),
        ("P", "PNG", {}),
        ("P", "PNG", {"transparency": 3}),
        ("P", "PNG", {"transparency": bytes([0, 128] + [255] * 14)}),
        ("CMYK", "JPEG", {}),
        ("CMYK", "TIFF", {}),
        ("YCbCr", "TIFF", {}),
        ("LAB", "TIFF", {}),
        ("F", "TIFF", {}),
    ],
)
def test_pixels_equal_pillows_conversion(
    picture: Image.Image, encode: Encode, mode: str, form: str, options: dict[str, object]
) -> None:
    image = (
        picture.quantize(16) if mode == "P" else picture.convert("L" if mode == "F" else "RGB").convert(mode)
    )
    content = encode(image, form, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as opened:
            expected = opened.convert("RGB")
    decoded = decode(content, PIXELS)
    assert decoded.mode == "RGB"
    assert np.array_equal(np.asarray(decoded), np.asarray(expected))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_upper_eight_bits(encode: Encode, form: str) -> None:
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    decoded = np.asarray(decode(encode(Image.fromarray(values), form), PIXELS))
    assert np.array_equal(decoded, np.repeat((values >> 8)[..., None], 3, axis=2))


def test_alpha_is_dropped_not_composited(encode: Encode) -> None:
    decoded = decode(encode(Image.new("RGBA", (2, 2), (10, 20, 30, 0))), PIXELS)
    assert decoded.getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "RGB", "I;16"])
def test_what_is_done_first_is_done_to_the_stored_mode(mode: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    stored = Image.fromarray(colours)
    if mode == "I;16":
        stored = Image.fromarray(colours[..., 0].astype(np.uint16) * 256)
    elif mode != "RGBA":
        stored = stored.convert("RGB").convert(mode)
    buffer = io.BytesIO()
    stored.save(buffer, "PNG")
    found = decode(buffer.getvalue(), PIXELS, lambda image: image.resize((16, 16)))
    # Of 16-bit grey the upper eight bits are kept before anything else.
    expected = Image.fromarray(colours[..., 0]).convert("RGB") if mode == "I;16" else stored
    assert np.array_equal(np.asarray(found), np.asarray(expected.resize((16, 16)).convert("RGB")))


def test_exif_rotation_is_not_applied(picture: Image.Image, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encode(picture, "JPEG", exif=exif), PIXELS).size == picture.size


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_picture_and_as_a_video_all_of_them(encode: Encode, form: str) -> None:
    images = [Image.new("RGB", (8, 8), (0, 0, 20 * number)) for number in range(10)]
    options = {"lossless": True} if form == "WEBP" else {}
    content = encode(images[0], form, save_all=True, append_images=images[1:], **options)
    assert decode(content, PIXELS).getpixel((0, 0)) == (0, 0, 0)
    blues = [frame.getpixel((0, 0)) for frame in decode_frames(content, 4, MediaPolicy())]
    assert blues == [(0, 0, 0), (0, 0, 60), (0, 0, 120), (0, 0, 180)]
    assert len(decode_frames(content, None, MediaPolicy(max_video_frames=5))) == 5


def bomb(width: int, height: int) -> bytes:
    """A few bytes that claim to be a huge PNG."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 1000)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("pixels", [101, 90_000_000, 150_000_000])
def test_pixels_are_limited_before_decoding_and_without_warnings(pixels: int) -> None:
    with pytest.raises(DataError, match=f"has {pixels} x 1 pixels, more than 100"):
        decode(bomb(pixels, 1), 100)


def test_pillows_own_limit_is_bad_data_too() -> None:
    with pytest.raises(DataError, match="has more pixels than can be read"):
        decode(bomb(30_000, 30_000), 10**10)


def test_pillows_warning_below_our_limit_is_not_heard() -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(bomb(100_000_000, 1), 100_000_000)


def test_damaged_exif_says_nothing(picture: Image.Image, encode: Encode) -> None:
    content = encode(picture, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff garbage")
    assert decode(content, PIXELS).size == picture.size


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_cut_picture_is_bad_data_wherever_it_is_cut(
    picture: Image.Image, encode: Encode, form: str
) -> None:
    content = encode(picture, form)
    for size in range(1, len(content) * 3 // 4, 7):
        with pytest.raises(DataError):
            decode(content[:size], PIXELS)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "the file is empty"),
        (b"hello world, this is text", "is no picture (begins with b'hello world,')"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file itself"),
        (b"<!DOCTYPE html><title>404</title>", "is an HTML page"),
        (b"%PDF-1.7", "is a PDF"),
        (b"PK\x03\x04", "is a zip archive"),
        (b"PAR1", "is a Parquet file"),
        (b"\x1aE\xdf\xa3", "is a video"),
        (b"\0\0\0\x20ftypisom", "is a video or another container, not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "is no picture (begins with b'%!PS-Adobe-3')"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded: its header is damaged"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, fact: str) -> None:
    with pytest.raises(DataError) as caught:
        decode(content, PIXELS)
    assert caught.value.fact == fact
