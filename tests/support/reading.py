"""What the tests of the media reader share."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from vlm2vec_cli.errors import UserError

Make = Callable[..., bytes]


def numbers(frames: list[Image.Image]) -> list[int]:
    """The number that each frame was painted with: the green of its first pixel."""
    return [np.asarray(frame)[0, 0, 1].item() for frame in frames]


def error_of(call: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.place == ""
    return caught.value
