"""Encoded pictures become RGB: Pillow, one frame, alpha dropped, EXIF rotation not applied.

This is what the reference does (`Image.open(...).convert("RGB")`), but for 16-bit grey, which Pillow would
clip to white: here its upper eight bits are kept.
"""

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image, UnidentifiedImageError

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media.policy import MediaPolicy
from vlm2vec_cli.media.sampling import from_raw

Change = Callable[[Image.Image], Image.Image]

# Formats that decode without helper programs and are pictures, not documents.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")

_MATROSKA = b"\x1aE\xdf\xa3"
_HEADS: tuple[tuple[bytes, str, str | None], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself", "git lfs pull"),
    (b"%PDF-", "is a PDF", "name a page: FILE.pdf#page=1"),
    (b"PK\x03\x04", "is a zip archive", "name a member: FILE.zip!NAME"),
    (b"PAR1", "is a Parquet file", "name a cell: FILE.parquet!COLUMN[ROW] (rows from 0)"),
    (b"\x1f\x8b", "is gzip data", None),
    (_MATROSKA, "is a video", "use the field `video` for it"),
    (b"<!doctype html", "is an HTML page", None),
    (b"<html", "is an HTML page", None),
    (b"<svg", "is an SVG drawing", "convert it to PNG"),
)
_PICTURE_HEADS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP",
)


_PORTABLE_PIXMAP = re.compile(rb"P[1-6]\s")


def quiet_pillow() -> None:
    """Keep Pillow's remarks on odd files (damaged EXIF, sizes) from being printed or raised.

    What matters of them is checked here: sizes before decoding, damage by decoding completely.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def looks_like_picture(head: bytes) -> bool:
    """Whether a file that begins with `head` (16 bytes or more) is a picture rather than a video."""
    if head.startswith(_PICTURE_HEADS) or _PORTABLE_PIXMAP.match(head):
        return True
    return (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] in (b"ftypavif", b"ftypavis")


def check_head(head: bytes, *, video: bool = False) -> None:
    """Raise DataError where the first 64 bytes show no picture or, with `video`, no video."""
    if not head:
        raise DataError("the file is empty")
    for start, fact, hint in _HEADS:
        if head[: len(start)].lower() == start.lower() and not (video and start == _MATROSKA):
            raise DataError(fact, hint=hint)


def decode(content: bytes, max_pixels: int, first: Change | None = None) -> Image.Image:
    """The first frame of an encoded picture, RGB, after `first` was done to it as it is stored.

    Raises DataError where it is damaged, too large or no picture.
    """
    check_head(content[:64])
    with _open(content, max_pixels) as image:
        if first is not None:
            image = first(to_rgb(image) if image.mode.startswith("I") else image)
        return to_rgb(image)


def size(content: str | bytes) -> tuple[int, int]:
    """Width and height of a picture, the path of a file or bytes, from its header; nothing is decoded.

    Raises DataError where it is no picture.
    """
    with _open(content, sys.maxsize) as image:
        return image.size


def decode_frames(content: str | bytes, num_frames: int | None, policy: MediaPolicy) -> list[Image.Image]:
    """A picture as a video: its frames, RGB, sampled as a raw video's are; one where it is not animated.

    `content` is the path of a file, or bytes.
    """
    with _open(content, policy.max_pixels) as image:
        frames = []
        for position in from_raw(getattr(image, "n_frames", 1), num_frames, policy.max_video_frames):
            if position:
                image.seek(position)
            frames.append(to_rgb(image))
        return frames


def to_rgb(image: Image.Image) -> Image.Image:
    """`image.convert("RGB")`, with 16-bit grey scaled to eight bits instead of clipped."""
    image.load()
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 256, "L").convert("RGB")
    if image.mode == "I":
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    return image.convert("RGB")


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _open(content: str | bytes, max_pixels: int) -> Iterator[Image.Image]:
    try:
        file = content if isinstance(content, str) else io.BytesIO(content)
        with Image.open(file, formats=_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"has {width} x {height} pixels, more than {max_pixels:,}")
            yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(_unidentified(content if isinstance(content, bytes) else b"")) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"has more pixels than can be read: {error}") from error
    except Exception as error:  # decoders raise almost anything on damaged data
        raise DataError(f"cannot be decoded: {str(error) or type(error).__name__}") from error


def _unidentified(content: bytes) -> str:
    if not content or looks_like_picture(content[:16]):
        return "cannot be decoded: its header is damaged"
    if content[4:8] == b"ftyp" or content[:4] in (b"RIFF", b"FLV\x01", b"OggS", b"\x00\x00\x01\xba"):
        return "is a video or another container, not a picture"
    return f"is no picture (begins with {content[:12]!r})"
