"""One training pair: the contents of its two sides, and what marks a target as an answer to its query.

Two contents are the same when text, media and instruction are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.schemas.content import NAMES

MODALITIES = ("text", "image", "video", "visdoc")


@dataclass(frozen=True, slots=True)
class Side:
    """One content of one row."""

    content: Mapping[str, Any]
    key: str
    root: Path
    place: str
    marks: frozenset[str] = frozenset()  # whatever names it as an answer: its own id, its row's key


@dataclass(frozen=True, slots=True)
class Example:
    """One training pair."""

    dataset: str
    query: Side
    positive: Side
    negatives: tuple[Side, ...]
    weight: float
    answers: frozenset[str]  # ids and keys that mark a target as correct
    modality: str

    @property
    def sides(self) -> tuple[Side, ...]:
        """Query, positive, negatives."""
        return (self.query, self.positive, *self.negatives)


def of_record(record: Record, root: int) -> Example:
    """The pair that a row holds; `root` numbers the row's media root. DataError for a weight below zero."""
    row, place, media = record.row, record.place, record.origin.media_root
    dataset, weight = row["dataset"], float(row.get("weight", 1.0))
    if weight < 0:
        raise DataError(f"weight: expected a number from 0, got {weight}", place=place)

    def side(content: Mapping[str, Any], more: frozenset[str] = frozenset()) -> Side:
        own = content.get("id")
        marks = frozenset() if own is None else frozenset({f"id:{dataset}:{own}"})
        return Side(content, content_key(content, root), media, place, marks | more)

    named = frozenset(f"id:{dataset}:{name}" for name in row.get("positive_ids", ()))
    key = frozenset({f"key:{dataset}:{row['key']}"} if row.get("key") else ())
    # Without an id of its own the positive may be any of those that the row names.
    positive = side(row["positive"], key if "id" in row["positive"] else key | named)
    return Example(
        dataset,
        side(row["query"]),
        positive,
        tuple(side(negative) for negative in row.get("negatives", ())),
        weight,
        named | positive.marks,
        _modality(row),
    )


def content_key(content: Mapping[str, Any], root: int = 0) -> str:
    """Equal for contents with the same text, media and instruction; `root` numbers the media root, since one
    reference means another picture under another root."""
    fields = [content.get(name) for name in (*NAMES, "num_frames")]
    if content.get("image") or content.get("video"):
        fields.append(root)
    return hashlib.blake2b(orjson.dumps(fields), digest_size=16).hexdigest()


def check(example: Example) -> None:
    """Raises DataError for a row that contradicts itself."""
    for number, negative in enumerate(example.negatives, start=1):
        if negative.key == example.positive.key:
            raise DataError(
                f"negative {number} equals the positive",
                place=example.positive.place,
                hint="--on-error skip leaves such rows out",
            )


def _modality(row: Mapping[str, Any]) -> str:
    if (named := row.get("modality")) in MODALITIES:
        return str(named)
    sides = (row["query"], row["positive"])
    return next((kind for kind in ("video", "image") if any(side.get(kind) for side in sides)), "text")
