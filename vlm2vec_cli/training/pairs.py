"""All pairs of a run, out of memory, and the batches made of them: who answers whose query.

A target is correct for a query when the file pairs the two anywhere, or names it in `positive_ids` or by an
equal `key`.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
import weakref
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, overload

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.training.examples import MODALITIES, Example, Side, check, of_record
from vlm2vec_cli.training.options import Named

_FIELDS = ("dataset", "query", "positive", "negatives", "weight", "positive_ids", "key", "modality")


@dataclass(frozen=True, slots=True)
class Batch:
    """One step: B queries, N targets, and how they belong together."""

    queries: tuple[Side, ...]
    targets: tuple[Side, ...]
    positive_B: Tensor
    allowed_BN: Tensor
    weight_B: Tensor
    datasets: tuple[str, ...] = ()  # of each query
    left_out: tuple[Side, ...] = ()  # the side for which a row is missing here, one a row


@dataclass(frozen=True, slots=True)
class Choice:
    """Which targets a query meets. `private_negatives`: of the explicit ones only its own."""

    mask_duplicates: bool = True
    num_hard_negatives: int | None = None
    private_negatives: bool = False


def _closed(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # a full disk has been said when the rows were written
        file.close()


class Pairs(Sequence[Example]):
    """All pairs of a run, in a temporary file.

    Memory: about 70 bytes a row and the names of datasets. `per_dataset` keeps only the first rows of each:
    patterns of names with numbers, the first that fits.
    `reject` takes the error of a row that nothing can be learnt from, and may raise.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        per_dataset: Named = (),
        reject: Callable[[UserError], None] | None = None,
    ) -> None:
        self._file = tempfile.TemporaryFile(prefix="vlm2vec-pairs-")  # noqa: SIM115  # as long as `self`
        weakref.finalize(self, _closed, self._file)
        self._ends, self._origin_of, self._numbers = array("q", [0]), array("i"), array("q")
        self._origins: list[Origin] = []
        self._roots: dict[Path, int] = {}
        self._dataset_of, self._modality_of, self._mined = array("i"), array("b"), array("i")
        counts: Counter[str] = Counter()
        most: dict[str, float] = {}
        codes: dict[str, int] = {}
        mined: dict[tuple[str, bytes], int] = {}
        query_keys, positive_keys = bytearray(), bytearray()
        digest = hashlib.sha256()
        for record in records:
            try:
                example = self._example(record)
                check(example)
            except DataError as error:
                if reject is None:
                    raise
                reject(error)
                continue
            if example.dataset not in most:
                fits = (number for pattern, number in per_dataset if fnmatchcase(example.dataset, pattern))
                most[example.dataset] = next(fits, math.inf)
            counts[example.dataset] += 1
            if counts[example.dataset] > most[example.dataset]:
                continue
            self._keep(record)
            self._dataset_of.append(codes.setdefault(example.dataset, len(codes)))
            self._modality_of.append(MODALITIES.index(example.modality))
            query_keys += bytes.fromhex(example.query.key)
            positive_keys += bytes.fromhex(example.positive.key)
            batch = record.row.get("batch")
            label = (example.dataset, orjson.dumps(batch))
            self._mined.append(-1 if batch is None else mined.setdefault(label, len(mined)))
            facts = [example.dataset, example.weight, sorted(example.answers)]
            if batch is not None:
                facts.append(batch)
            digest.update(orjson.dumps([*facts, *(side.key for side in example.sides)]))
        self._file.flush()
        self.digest = digest.hexdigest()
        if not len(self):
            raise DataError("no pairs to train on")
        self.names = tuple(codes)
        keys = np.frombuffer(bytes(query_keys), dtype="V16")
        self._positive_keys = np.frombuffer(bytes(positive_keys), dtype="V16")
        self._has_mined = bool(mined)
        # Rows with one query stand together in `_by_query`, from `_first_of[group]` on.
        _, group, numbers = np.unique(keys, return_inverse=True, return_counts=True)
        self._group_of: NDArray[np.int64] = group
        self._by_query = np.argsort(group, kind="stable")
        self._first_of = np.concatenate([[0], np.cumsum(numbers)])

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        start, end = self._ends[at], self._ends[at + 1]
        row = orjson.loads(os.pread(self._file.fileno(), end - start, start))
        return self._example(Record(row, self._origins[self._origin_of[at]], self._numbers[at]))

    @property
    def datasets(self) -> list[str]:
        """The dataset of each row."""
        return [self.names[code] for code in self._dataset_of]

    @property
    def modalities(self) -> list[str]:
        """The modality of each row: that of the row's field, else what its query or positive shows."""
        return [MODALITIES[code] for code in self._modality_of]

    @property
    def positives(self) -> NDArray[np.int64]:
        """(n,) numbers, equal where the positives are."""
        return np.unique(self._positive_keys, return_inverse=True)[1]

    @property
    def mined(self) -> NDArray[np.int32] | None:
        """(n,) numbers, equal where dataset and `batch` are, -1 without `batch`; None where no row has it."""
        return np.asarray(self._mined) if self._has_mined else None

    def texts(self) -> Iterator[str]:
        """Every text of every side, for a tokenizer."""
        for example in self:
            for side in example.sides:
                for field in ("instruction", "text"):
                    if text := side.content.get(field):
                        yield text

    def batch(self, rows: Sequence[int], choice: Choice, *, without: Collection[str] = ()) -> Batch:
        """The batch of these rows. Equal targets are kept apart, as the published loss has them, unless
        masked. Rows that need a content named in `without` are left out."""
        found, left_out = [], []
        for row in rows:
            example = self[row]
            lacking = next((side for side in _used(example, choice) if side.key in without), None)
            if lacking is None:
                found.append((row, example))
            else:
                left_out.append(lacking)
        targets: list[Side] = []
        positives, owner = [], []
        for number, (_, example) in enumerate(found):
            positives.append(len(targets))
            for side in _used(example, choice)[1:]:
                targets.append(side)
                owner.append(-1 if side is example.positive else number)
        allowed = np.ones((len(found), len(targets)), dtype=bool)
        if choice.private_negatives:
            whose = np.array(owner)
            allowed &= (whose == -1) | (whose == np.arange(len(found))[:, None])
        if choice.mask_duplicates:
            at: defaultdict[str, list[int]] = defaultdict(list)
            for column, side in enumerate(targets):
                for name in {side.key, *side.marks}:
                    at[name].append(column)
            for number, (row, example) in enumerate(found):
                for name in {*self._correct(row), *example.answers}:
                    allowed[number, at.get(name, [])] = False
                allowed[number, positives[number]] = True
        return Batch(
            tuple(example.query for _, example in found),
            tuple(targets),
            torch.tensor(positives),
            torch.from_numpy(allowed),
            torch.tensor([example.weight for _, example in found]),
            tuple(example.dataset for _, example in found),
            tuple(left_out),
        )

    def _correct(self, row: int) -> Iterator[str]:
        """Keys of everything that the file pairs with this row's query."""
        group = self._group_of[row]
        for other in self._by_query[self._first_of[group] : self._first_of[group + 1]]:
            yield self._positive_keys[other].tobytes().hex()

    def _keep(self, record: Record) -> None:
        if not self._origins or self._origins[-1] is not record.origin:
            self._origins.append(record.origin)
        line = orjson.dumps({name: record.row[name] for name in _FIELDS if name in record.row})
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        self._origin_of.append(len(self._origins) - 1)
        self._numbers.append(record.number)

    def _example(self, record: Record) -> Example:
        return of_record(record, self._roots.setdefault(record.origin.media_root, len(self._roots)))


def _used(example: Example, choice: Choice) -> tuple[Side, ...]:
    """Query, positive, and the negatives that are asked for."""
    return (example.query, example.positive, *example.negatives[: choice.num_hard_negatives])
