"""Which frames of a video are looked at, and the order of frame files.

Source: VLM2Vec's processing of frame folders (`linspace` cut to integers, nothing padded) and of raw videos
(up to 64 frames, frame floor(i * total / 64)).
"""

import re
from collections.abc import Sequence

from vlm2vec_cli.errors import DataError

Window = tuple[float | None, float | None]
_TICK_SECONDS = 1e-4  # decord's time stamps are float32
_DIGITS = re.compile("([0-9]+)")
FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")


def spread(total: int, wanted: int | None) -> list[int]:
    """Positions in 0..total-1: all of them, or `wanted` ones by numpy's `linspace`, cut to integers.

    `None` wants all. Rising; the first is 0 and, with two or more, the last is total - 1. Raises ValueError
    for `wanted` below 1.

    >>> spread(20, 8)
    [0, 2, 5, 8, 10, 13, 16, 19]
    """
    if wanted is not None and wanted < 1:
        raise ValueError(f"the number of frames wanted is {wanted}")
    if wanted is None or total <= wanted:
        return list(range(total))
    if wanted == 1:
        return [0]
    step = (total - 1) / (wanted - 1)
    return [*(int(i * step) for i in range(wanted - 1)), total - 1]


def extracted(total: int, limit: int) -> list[int]:
    """The frames a raw video stands for: all up to `limit`, else those at floor(i * total / limit)."""
    return list(range(total)) if total <= limit else [i * total // limit for i in range(limit)]


def from_raw(total: int, wanted: int | None, limit: int) -> list[int]:
    """The frames of a raw video of `total` frames that `wanted` of its `limit` extracted ones come from."""
    frames = extracted(total, limit)
    return [frames[position] for position in spread(len(frames), wanted)]


def in_window(starts: Sequence[float], window: Window) -> tuple[int, int]:
    """Index of the first frame that begins in a window of seconds, its end excluded, and how many do.

    `starts`: when each frame begins, rising, the first at 0. A window in which none begins has the one on
    show. Raises DataError where the window begins after the video; the last frame lasts as long as the mean.

    >>> in_window([0.0, 0.5, 1.0, 1.5], (0.5, 1.5))
    (1, 2)
    """
    begin, end = window
    first = 0 if begin is None else sum(start < begin - _TICK_SECONDS for start in starts)
    total = (len(starts) if end is None else sum(start < end - _TICK_SECONDS for start in starts)) - first
    if total > 0 or first == 0:
        return first, max(total, min(len(starts), 1))
    close = starts[-1] + starts[-1] / max(len(starts) - 1, 1)
    if len(starts) > 1 and begin is not None and begin >= close - _TICK_SECONDS:
        raise DataError(f"the window begins at {begin:g} s, the video ends at {close:g} s")
    return first - 1, 1


def natural_key(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sorts names with their digit runs as numbers and the rest in lower case; equal ones by the name itself.

    >>> sorted(["f10.jpg", "F9.jpg", "f1.jpg"], key=natural_key)
    ['f1.jpg', 'F9.jpg', 'f10.jpg']
    """
    parts: list[str | tuple[int, str]] = []
    for place, part in enumerate(_DIGITS.split(name)):
        number = part.lstrip("0")
        parts.append((len(number), number) if place % 2 else part.lower())
    return parts, name


def frame_names(names: list[str]) -> list[str]:
    """The frame files among `names` (bare file names) in natural order; hidden files are no frames."""
    frames = [name for name in names if name.lower().endswith(FRAME_SUFFIXES) and not name.startswith(".")]
    return sorted(frames, key=natural_key)
