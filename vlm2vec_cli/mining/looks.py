"""Pictures that look the same though their bytes differ: re-encoded, resized, a little brightened.

A picture is reduced to 17 x 16 grey pixels; a bit says whether a pixel is clearly brighter than the one to
its left (a difference hash, N. Krawetz 2013; "clearly" so that flat areas do not turn noise into bits).
Pictures are near when at most `bits` of the 256 differ. With more bands than bits that may differ, near
pictures have a band in common (pigeonhole), so that looking up bands finds all of them.
"""

from array import array
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlm2vec_cli.nearest import Ints

SIDE = 16
CLEARLY = 2  # grey levels of 0..255
FEWEST_BANDS = 8
Hashes = NDArray[np.uint8]


class Looks:
    """The looks of targets that hold one picture, by group; `picture` opens a reference."""

    def __init__(self, bits: int, picture: Callable[[str, Path], Image.Image]) -> None:
        self._bits, self._picture = bits, picture
        self._at: dict[int, int] = {}
        self._groups = array("q")
        self._kinds = array("q")
        self._kind_of: dict[bytes, int] = {}
        self._bytes = bytearray()

    def add(self, group: int, content: Mapping[str, Any], root: Path, beside: bytes) -> None:
        """Looks at the first content of each group. Only contents with an equal `beside` are ever near."""
        reference = content.get("image")
        if group in self._at or not isinstance(reference, str):
            return
        self._bytes += difference_hash(self._picture(reference, root)).tobytes()
        self._at[group] = len(self._groups)
        self._groups.append(group)
        self._kinds.append(self._kind_of.setdefault(beside, len(self._kind_of)))

    def near(self, group: int) -> list[int]:
        """The other groups that look like this one, in ascending order."""
        at = self._at.get(group)
        if at is None:
            return []
        hashes, kinds, bands = self._index
        found = [
            order[np.searchsorted(codes, own[at], "left") : np.searchsorted(codes, own[at], "right")]
            for own, codes, order in bands
        ]
        places = np.unique(np.concatenate(found))
        places = places[(places != at) & (kinds[places] == kinds[at])]
        apart = np.unpackbits(hashes[places] ^ hashes[at], axis=1).sum(axis=1)
        groups: list[int] = np.sort(np.array(self._groups)[places[apart <= self._bits]]).tolist()
        return groups

    @cached_property
    def _index(self) -> tuple[Hashes, Ints, list[tuple[Ints, Ints, Ints]]]:
        hashes = np.frombuffer(bytes(self._bytes), np.uint8).reshape(-1, SIDE * SIDE // 8)
        kinds = np.array(self._kinds, dtype=np.int64)
        bits = np.unpackbits(hashes, axis=1)
        bands = []
        for band in np.array_split(bits, max(FEWEST_BANDS, self._bits + 1), axis=1):
            width = band.shape[1]
            codes = kinds << width | band.astype(np.int64) @ (1 << np.arange(width, dtype=np.int64))
            order = np.argsort(codes, kind="stable")
            bands.append((codes, codes[order], order))
        return hashes, kinds, bands


def difference_hash(picture: Image.Image) -> Hashes:
    """256 bits as 32 bytes."""
    grey = np.asarray(picture.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(np.diff(grey, axis=1) > CLEARLY)
