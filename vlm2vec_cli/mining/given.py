"""Vectors that are given: the rows of --vectors, and those of --corpus that have one.

A row of --vectors belongs to every query (role query) or target (role candidate) whose text, image, video,
num_frames and instruction are equal to its own as written. Ids and datasets play no part: one content, one
vector.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.mining.identity import SEEN, literal_key
from vlm2vec_cli.mining.pairs import Offers, Pairs
from vlm2vec_cli.mining.vectors import Side, Vectors
from vlm2vec_cli.schemas.base import Record, Row
from vlm2vec_cli.streams.batches import Batch

OTHER_ROLE: Final = {"query": "candidate", "candidate": "query"}
MAKER: Final = ("model", "fingerprint")
OF_TARGET: Final = ("id", "dataset", "role", *SEEN, "positive_ids", "key", "document")


def from_rows(
    batches: Iterable[Batch], sides: Iterable[Side], reject: Callable[[UserError], None], name: str
) -> None:
    """Gives the units of `sides` their vectors out of vector rows; `name` is the file, for messages."""
    side_of = {side.role: side for side in sides}
    wanted = {role: side.by_literal() for role, side in side_of.items()}
    misplaced: set[tuple[str, bytes]] = set()
    for batch in batches:
        literals = list(map(literal_key, batch.rows(SEEN)))
        start = 0
        for role, rows in groupby(batch.column("role")):
            end = start + sum(1 for _ in rows)
            own, other = literals[start:end], OTHER_ROLE[role]
            misplaced.update((other, one) for one in wanted.get(other, {}).keys() & own)
            if role in side_of:
                units = [wanted[role].get(one, ()) for one in own]
                _give(side_of[role], batch.part(start, end), units, reject)
            start = end
    for role, side in side_of.items():
        for unit in side.missing():
            side.errors[unit] = _absent(name, role, (role, side.units.literals[unit]) in misplaced)


def _give(
    side: Side, batch: Batch, units_of: Sequence[Sequence[int]], reject: Callable[[UserError], None]
) -> None:
    """The vector of each row to its units; rows of more than one maker one by one."""
    rows = [at for at, units in enumerate(units_of) for _ in units]
    if not _one_maker(batch, rows, side.vectors):
        for at, one in enumerate(batch.singles()):
            _give(side, one, units_of[at : at + 1], reject)
        return
    units = [unit for units in units_of for unit in units]
    _put(side, batch, rows, units, lambda at, error: reject(error.at(batch.place(at))))


def _one_maker(batch: Batch, rows: Sequence[int], vectors: Vectors) -> bool:
    """Whether the rows can be taken together; DataError where their maker is not that of the rows before."""
    columns = [batch.column(name) for name in MAKER]
    first: dict[tuple[str, ...], int] = {}
    for at in rows:
        first.setdefault(tuple(column[at] for column in columns), at)
    if len(first) > 1 and not vectors.allow_mixed:
        return False
    for maker, at in first.items():
        vectors.check_maker(dict(zip(MAKER, maker, strict=True)), batch.place(at))
    return True


def _put(
    side: Side,
    batch: Batch,
    rows: Sequence[int],
    units: Sequence[int],
    reject: Callable[[int, DataError], None],
) -> None:
    """The vectors of `rows` to `units`, one after the other where something is wrong with some."""
    if not rows:
        return
    assert batch.embeddings is not None  # the caller has looked
    whole = len(rows) == len(batch) and rows[-1] == len(batch) - 1 and len(set(rows)) == len(rows)
    refused: dict[int, DataError] = {}

    def refuse(at: int, why: DataError) -> None:
        refused.setdefault(rows[at], why)

    found = batch.embeddings if whole else batch.embeddings[list(rows)]
    try:
        side.put(units, found, lambda at: batch.place(rows[at]), refuse)
    except DataError as error:
        if rows[0] != rows[-1]:
            for at in dict.fromkeys(rows):
                own = [unit for row, unit in zip(rows, units, strict=True) if row == at]
                _put(side, batch, [at] * len(own), own, reject)
            return
        refused = {rows[0]: error}
    for at, why in refused.items():
        reject(at, why)


def from_corpus(
    batches: Iterable[Batch],
    pairs: Pairs,
    side: Side | None,
    reject: Callable[[UserError, Row], None],
) -> Offers:
    """The corpus as targets; those of its rows that have a vector give it to `side`, where there is one."""
    offers = Offers(from_corpus=True)
    for batch in batches:
        _take(batch, pairs, side, offers, reject)
    return offers


def _take(
    batch: Batch, pairs: Pairs, side: Side | None, offers: Offers, reject: Callable[[UserError, Row], None]
) -> None:
    if batch.embeddings is None:
        side = None
    if side is not None and not _one_maker(batch, range(len(batch)), side.vectors):
        for one in batch.singles():
            _take(one, pairs, side, offers, reject)
        return

    def refuse(at: int, error: UserError) -> None:
        row = {name: value for name, value in batch.row(at).items() if name != "embedding"}
        reject(error.at(batch.place(at)), row)

    rows: list[int] = []
    units: list[int] = []

    def give() -> None:
        if side is not None:
            _put(side, batch, rows, units, refuse)
        rows.clear()
        units.clear()

    for at, row in enumerate(batch.rows(OF_TARGET)):
        try:
            unit = pairs.add_corpus_row(Record(row, batch.origin, batch.numbers[at]), offers)
        except UserError as error:
            give()  # an error of a row before comes first
            refuse(at, error)
        else:
            rows.append(at)
            units.append(unit)
    give()


def _absent(name: str, role: str, misplaced: bool) -> DataError:
    hint = f"wanted: a row of role {role} with the same text, image, video, num_frames and instruction"
    if misplaced:
        hint = f'a row of role {OTHER_ROLE[role]} has this content: give it "role": "{role}"'
    return DataError(f"no vector in {name}", hint=hint)
