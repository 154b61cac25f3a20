"""Content: what the model sees on one side. Text and media, at least one of them.

Visuals come before the text unless the text places them itself with `<image>` or `<video>`. An empty text
counts as text: blank distractors are encoded as they are.
"""

from typing import Any, TypedDict

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas import checks
from vlm2vec_cli.schemas.base import Field

FIELDS = (
    Field("text", "string", "The text; <image> and <video> in it place the visuals."),
    Field("image", "media", "A reference to a picture, or a list of them."),
    Field("video", "media", "A reference to a video, or a list of references to its frames."),
    Field("instruction", "string", "What the model is asked to do with this side."),
    Field("num_frames", "count", "Frames taken of the video; wins over --num-frames and the model's own."),
)
NAMES = ("text", "image", "video", "instruction")
"""The fields that say what there is to see, and not how much of it."""


class Content(TypedDict, total=False):
    """The content fields of a row; `image` and `video` are a reference or a list of at least two."""

    text: str
    image: str | list[str]
    video: str | list[str]
    instruction: str
    num_frames: int


def check_content(row: dict[str, Any], where: str = "") -> None:
    """Checks and normalises the content fields of `row` in place; DataError, its fact behind `where`."""
    try:
        checks.check_content(row)
    except DataError as error:
        raise DataError(f"{where}: {error.fact}" if where else error.fact, hint=error.hint) from None
