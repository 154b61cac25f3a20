"""What a run keeps: rows and contents in a temporary file, and in memory only numbers about them.

Each side's distinct contents are units: what is embedded once. Contents that count as the same (see
`identity`) are a group: what is mined once, and never for a query that it answers.
"""

import os
import pickle
import tempfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm2vec_cli.mining.identity import is_relative, literal_key, only_content
from vlm2vec_cli.schemas.base import Origin, Record

HEAD_BYTES = 8
WRITTEN_AT_ONCE = 1 << 20


def numbers() -> "array[int]":
    """An empty column of 64-bit integers."""
    return array("q")


class Spool:
    """Objects in a temporary file, read back by the place that `add` gave them."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(  # noqa: SIM115  # lives as long as the run
            prefix="vlm2vec-", buffering=WRITTEN_AT_ONCE
        )
        self._end = 0
        self._flushed = 0

    def add(self, thing: Any) -> int:
        """Keeps `thing` and returns its place."""
        data = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
        place = self._end
        self._end += self._file.write(len(data).to_bytes(HEAD_BYTES, "little") + data)
        return place

    def get(self, place: int) -> Any:
        """A fresh copy of what was kept at `place`."""
        if place >= self._flushed:
            self._file.flush()
            self._flushed = self._end
        size = int.from_bytes(os.pread(self._file.fileno(), HEAD_BYTES, place), "little")
        return pickle.loads(os.pread(self._file.fileno(), size, place + HEAD_BYTES))

    def close(self) -> None:
        """Gives the space back."""
        self._file.close()


@dataclass
class Origins:
    """Where rows came from, each file once."""

    origins: list[Origin] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)

    def add(self, record: Record) -> int:
        """The number of the record's origin; rows of a file come one after the other."""
        if not self.origins or self.origins[-1] is not record.origin:
            self.origins.append(record.origin)
            self.roots.append(os.path.realpath(record.origin.media_root))
        return len(self.origins) - 1

    def place(self, origin: int, number: int) -> str:
        """Such as "pairs.jsonl line 12"."""
        return Record({}, self.origins[origin], number).place

    def media_root(self, origin: int) -> Path:
        """What the origin's references are resolved against."""
        return self.origins[origin].media_root


class Units:
    """The distinct contents of one side, numbered in order of appearance.

    `literals[i]` is the content as written (see `literal_key`), `origins[i]` and `numbers[i]` say where
    it first stood, `relative[i]` whether its media depend on the media root.
    """

    def __init__(self, spool: Spool, origins: Origins) -> None:
        self._spool, self._origins = spool, origins
        self.literals: list[bytes] = []
        self.origins, self.numbers, self._places = numbers(), numbers(), numbers()
        self.relative = bytearray()
        self._index: dict[tuple[bytes, str], int] = {}
        self._group_index: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.literals)

    def group(self, key: bytes) -> int:
        """The number of the group with this key, a new one if need be."""
        return self._group_index.setdefault(key, len(self._group_index))

    def group_if_known(self, key: bytes) -> int | None:
        """The number of the group with this key, if some unit has it."""
        return self._group_index.get(key)

    def add(self, content: dict[str, Any], origin: int, number: int) -> int:
        """The unit of `content`, which stands in that row."""
        relative = is_relative(content)
        literal = literal_key(content)
        index = (literal, self._origins.roots[origin] if relative else "")
        unit = self._index.setdefault(index, len(self.literals))
        if unit == len(self.literals):
            self.literals.append(literal)
            self.origins.append(origin)
            self.numbers.append(number)
            self.relative.append(relative)
            self._places.append(self._spool.add(only_content(content)))
        return unit

    def content(self, unit: int) -> dict[str, Any]:
        """A fresh copy of the unit's content fields."""
        found: dict[str, Any] = self._spool.get(self._places[unit])
        return found

    def place(self, unit: int) -> str:
        """Where the unit first stood."""
        return self._origins.place(self.origins[unit], self.numbers[unit])

    def media_root(self, unit: int) -> Path:
        """What its references are resolved against."""
        return self._origins.media_root(self.origins[unit])

    def root(self, unit: int) -> str | None:
        """The real path of the media root if the content depends on it."""
        return self._origins.roots[self.origins[unit]] if self.relative[unit] else None
