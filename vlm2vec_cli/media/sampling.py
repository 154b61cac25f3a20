"""Which frames of a video are looked at, and the order of frame files.

Source: VLM2Vec's processing of frame folders (`linspace` cut to integers, nothing padded) and of raw videos
(up to 64 frames, frame floor(i * total / 64)).
"""

import re

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
