"""Vectors kept between runs, by what they are of and by the fingerprint of what made them.

One SQLite file a fingerprint. A vector is found by the content as the model sees it: text and instruction as
written, media by their bytes, so that renamed or moved pictures hit and changed ones miss.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.nearest import Floats

WRITTEN_AT_ONCE = 1024
WAIT_SECONDS = 60  # for another run that writes


class Cache:
    """The vectors of one fingerprint in `folder`; DataError for a file that is no such cache."""

    def __init__(self, folder: str, fingerprint: str, dim: int, media: MediaReader) -> None:
        self._path = Path(folder) / f"{fingerprint}.sqlite"
        self._dim, self._media = dim, media
        self._waiting: list[tuple[bytes, bytes]] = []
        with self._reading():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self._path, timeout=WAIT_SECONDS)
            self._base.execute("create table if not exists vectors (name blob primary key, vector blob)")

    def name(self, content: Mapping[str, Any], root: Path) -> bytes | None:
        """What the content's vector is kept under; None where its media cannot be read."""
        try:
            media = [
                [self._media.identity(one, root) for one in _listed(content.get(field))]
                for field in ("image", "video")
            ]
        except UserError:
            return None
        facts = [content.get("text"), content.get("instruction"), *media]
        if content.get("num_frames") is not None:
            facts.append(content["num_frames"])
        return hashlib.sha256(orjson.dumps(facts)).digest()

    def get(self, name: bytes) -> Floats | None:
        """The vector (D,) kept under a name."""
        with self._reading():
            found = self._base.execute("select vector from vectors where name = ?", (name,)).fetchone()
        if found is None:
            return None
        if not isinstance(found[0], bytes) or len(found[0]) != 4 * self._dim:
            raise self._unreadable(f"a vector in it has not {self._dim} dimensions")
        return np.frombuffer(found[0], np.float32)

    def put(self, name: bytes, vector: Floats) -> None:
        """Keeps a vector; `write` has the last few written."""
        self._waiting.append((name, vector.tobytes()))
        if len(self._waiting) >= WRITTEN_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Writes what waits, at once, so that other runs with this cache wait for moments only."""
        with self._reading():
            self._base.executemany("insert or replace into vectors values (?, ?)", self._waiting)
            self._base.commit()
            self._waiting = []

    def close(self) -> None:
        """Ends it; what waits is written, whatever ended the run."""
        self.write()
        self._base.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise self._unreadable(str(error)) from error
            fact, hint = "another run is using this cache", "wait for it, or name another folder with --cache"
            raise DataError(fact, place=str(self._path), hint=hint) from error
        except (sqlite3.Error, OSError) as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, fact: str) -> DataError:
        hint = "delete it, or name another folder with --cache"
        return DataError(f"not a usable cache of vectors: {fact}", place=str(self._path), hint=hint)


def _listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []
