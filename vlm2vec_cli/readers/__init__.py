"""Raw formats, one file each: what was published or lies around becomes rows of ours.

A file here offers `read`. It reads one dataset, described by a catalogue entry, from one side: a training
set's pairs (`pair`), a task's queries, then its candidates (`query`, `candidate`), or rows whose role stands
in the row (`item`). Adding a format is adding a file; the catalogue's `parser` names it. Nothing here decodes
a picture.
"""

from collections.abc import Iterator
from typing import Literal, Protocol, TypeAlias

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.readers._raw import Found, Missing, Raw, References
from vlm2vec_cli.streams.blocks import Piece

Side: TypeAlias = Literal["pair", "query", "candidate", "item"]

__all__ = ["Found", "Missing", "Raw", "Reader", "References", "Side"]


class Reader(Protocol):
    """A module of this folder; those of datasets with a catalogue entry also offer `found`."""

    def read(self, entry: Entry, raw: Raw, side: Side) -> Iterator[Piece]:
        """The rows of `entry` on `side`, in stored order; a candidate comes once, where its id is first met.

        Lazily, a bounded number of rows at a time; pairs may come in blocks. Bad rows go to `raw.reject`.
        Raises MissingError, without a place, where the annotations are not found.
        """
        ...

    def found(self, entry: Entry, raw: Raw) -> Found:
        """What of the dataset is under the root, by looking at names only."""
        ...
