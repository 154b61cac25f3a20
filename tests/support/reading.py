"""What the tests of the media reader share."""

from collections.abc import Callable

import pytest
from PIL import Image

from vlm2vec_cli.errors import UserError

Make = Callable[..., bytes]


def numbers(frames: list[Image.Image]) -> list[int]:
    return [frame.getpixel((0, 0))[1] for frame in frames]  # type: ignore[index,misc]


def error_of(call: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.place == ""
    return caught.value
