"""Rows of evaluation tasks: a query with the facts scoring needs, a candidate with its id."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.readers._media import with_frames
from vlm2vec_cli.readers._raw import Raw
from vlm2vec_cli.readers._rows import RawRow
from vlm2vec_cli.readers._text import IMAGE
from vlm2vec_cli.schemas.base import Row

BLANK_ID = "<blank>"
"""The id of a candidate whose key is the empty string: blank answers exist and are encoded as they are."""

BLANK = "a blank candidate in the query's pool, embedded as an empty text"
TWICE = "a candidate twice in the query's pool, ranked twice"
STRAY = "a picture token without a picture, embedded like a word"
"""Oddities of published tasks that belong to them."""

TASK_FACTS = ("modality", "task_type", "group", "main_metric")

Made = TypeVar("Made")
Offer: TypeAlias = tuple[str, Callable[[], Row]]
"""A candidate's key, and what makes its content when it is wanted."""


def identify(key: str) -> str:
    """The candidate id of a key; ids are never empty."""
    return key or BLANK_ID


def query(
    entry: Entry,
    raw: Raw,
    identifier: str,
    content: Row,
    relevant: Mapping[str, float] | Sequence[str],
    pool: Sequence[str] | None = None,
) -> Row:
    """A query row. `relevant` and `pool` hold keys; a list of relevant keys means gain 1 each.

    The pool is written for local tasks only: in global ones all candidates are ranked.
    """
    gains = relevant if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1.0)
    row: Row = {"id": identifier, "dataset": entry["name"], "role": "query", **content}
    row["relevant"] = {identify(key): float(gain) for key, gain in gains.items()}
    if pool is not None and entry.get("eval_type") == "local":
        row["pool"] = [identify(key) for key in pool]
        if "" in pool:
            raw.noted(BLANK)
        if len(set(pool)) < len(pool):
            raw.noted(TWICE)
    if IMAGE in content.get("text", "") and "image" not in content:
        raw.noted(STRAY)
    row.update({name: entry[name] for name in TASK_FACTS if entry.get(name)})
    return with_frames(row, entry, raw)


def queries(raw: Raw, source: Iterable[RawRow], make: Callable[[RawRow], Row]) -> Iterator[Row]:
    """The row that `make` makes of each raw row."""
    return (made for _, made in _each(raw, source, make))


def _each(
    raw: Raw, source: Iterable[RawRow], make: Callable[[RawRow], Made]
) -> Iterator[tuple[RawRow, Made]]:
    """Each raw row and what `make` makes of it; a UserError of it is rejected at the raw row's place."""
    for row in source:
        try:
            made = make(row)
        except UserError as error:
            raw.reject(error.at(row.place))
            continue
        yield row, made


def pairs(
    entry: Entry, raw: Raw, source: Iterable[RawRow], make: Callable[[RawRow], Row | None]
) -> Iterator[Row]:
    """The pair that `make` makes of each raw row, completed; None is a row that a rule has left out.

    `make` gives query, positive and, where there are any, negatives.
    """
    for row, made in _each(raw, source, make):
        if made is not None:
            made.setdefault("negatives", [])
            yield {"id": str(row.number), "dataset": entry["name"], **made}


def candidates(
    entry: Entry, raw: Raw, source: Iterable[RawRow], offers: Callable[[RawRow], Iterable[Offer]]
) -> Iterator[Row]:
    """A candidate row for each key that the raw rows offer, the first offer of a key wins. Holds the keys."""
    seen: set[str] = set()
    for row, offered in _each(raw, source, lambda row: list(offers(row))):
        for key, make_content in offered:
            if key in seen:
                continue
            seen.add(key)
            try:
                made: Row = {
                    "id": identify(key),
                    "dataset": entry["name"],
                    "role": "candidate",
                    **make_content(),
                }
            except UserError as error:
                raw.reject(error.at(row.place))
                continue
            yield with_frames(made, entry, raw)


def text_offers(texts: Iterable[str]) -> Iterator[Offer]:
    """Candidates that are texts and are named by them."""
    for text in texts:
        yield text, lambda text=text: {"text": text}  # type: ignore[misc]  # a default is how a loop value is kept
