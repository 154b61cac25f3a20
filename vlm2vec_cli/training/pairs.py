"""Pairs as a trainer needs them: contents of both sides, and who answers whose query.

Two contents are the same when text, media and instruction are; a target is correct for a query when the file
pairs the two anywhere, or names it in `positive_ids` or by an equal `key`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.schemas.content import NAMES


@dataclass(frozen=True, slots=True)
class Side:
    """One content of one row."""

    content: Mapping[str, Any]
    key: str
    root: Path
    place: str
    marks: frozenset[str] = frozenset()  # its own id, where it has one


@dataclass(frozen=True, slots=True)
class Example:
    """One training pair."""

    dataset: str
    query: Side
    positive: Side
    negatives: tuple[Side, ...]
    weight: float
    answers: frozenset[str]  # ids and keys that mark a target as correct


@dataclass(frozen=True, slots=True)
class Batch:
    """One step: B queries, N distinct targets, and how they belong together."""

    queries: tuple[Side, ...]
    targets: tuple[Side, ...]
    positive_B: Tensor
    allowed_BN: Tensor
    weight_B: Tensor


class Pairs(Sequence[Example]):
    """All pairs of a run. Memory: the rows themselves, no media."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._examples: list[Example] = []
        self._correct: defaultdict[str, set[str]] = defaultdict(set)
        digest = hashlib.sha256()
        roots: dict[Path, int] = {}
        for record in records:
            example = _example(record, roots.setdefault(record.origin.media_root, len(roots)))
            self._examples.append(example)
            self._correct[example.query.key].add(example.positive.key)
            sides = (example.query, example.positive, *example.negatives)
            facts = [example.dataset, example.weight, sorted(example.answers)]
            digest.update(orjson.dumps([*facts, *(side.key for side in sides)]))
        self.digest = digest.hexdigest()
        if not self._examples:
            raise DataError("no pairs to train on")

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: Any) -> Any:
        return self._examples[index]

    def texts(self) -> Iterable[str]:
        """Every text of every side, for a tokenizer."""
        for example in self._examples:
            for side in (example.query, example.positive, *example.negatives):
                for field in ("instruction", "text"):
                    if text := side.content.get(field):
                        yield text

    def batch(self, rows: Sequence[int], *, mask_duplicates: bool, num_hard_negatives: int | None) -> Batch:
        """The batch of these rows. Equal targets are kept apart, as the published loss has them, unless
        masked."""
        examples = [self._examples[row] for row in rows]
        targets: list[Side] = []
        positives, marks = [], []
        for example in examples:
            positives.append(len(targets))
            for side in (example.positive, *example.negatives[:num_hard_negatives]):
                targets.append(side)
                marks.append(example.answers if side is example.positive else side.marks)
        allowed = np.ones((len(examples), len(targets)), dtype=bool)
        if mask_duplicates:
            at: defaultdict[str, list[int]] = defaultdict(list)
            for column, (side, mark) in enumerate(zip(targets, marks, strict=True)):
                for name in {side.key, *mark}:
                    at[name].append(column)
            for row, example in enumerate(examples):
                for name in {*self._correct[example.query.key], *example.answers}:
                    allowed[row, at.get(name, [])] = False
                allowed[row, positives[row]] = True
        return Batch(
            tuple(example.query for example in examples),
            tuple(targets),
            torch.tensor(positives),
            torch.from_numpy(allowed),
            torch.tensor([example.weight for example in examples]),
        )


def content_key(content: Mapping[str, Any], root: int = 0) -> str:
    """Equal for contents with the same text, media and instruction; `root` numbers the media root, since one
    reference means another picture under another root."""
    fields = [content.get(name) for name in (*NAMES, "num_frames")]
    if content.get("image") or content.get("video"):
        fields.append(root)
    return hashlib.blake2b(orjson.dumps(fields), digest_size=16).hexdigest()


def _example(record: Record, root: int) -> Example:
    row = record.row
    dataset, weight = row["dataset"], float(row.get("weight", 1.0))
    if weight < 0:
        raise DataError(f"weight: expected a number from 0, got {weight}", place=record.place)

    def side(content: Mapping[str, Any]) -> Side:
        own = content.get("id")
        marks = frozenset() if own is None else frozenset({f"id:{dataset}:{own}"})
        return Side(content, content_key(content, root), record.origin.media_root, record.place, marks)

    positive = side(row["positive"])
    answers = {f"id:{dataset}:{name}" for name in row.get("positive_ids", ())}
    if key := row.get("key"):
        answers.add(f"key:{dataset}:{key}")
    return Example(
        dataset,
        side(row["query"]),
        positive,
        tuple(side(negative) for negative in row.get("negatives", ())),
        weight,
        frozenset(answers | positive.marks),
    )
