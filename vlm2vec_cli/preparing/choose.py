"""Which datasets of a catalogue, and which of their rows, are wanted."""

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from heapq import nsmallest
from typing import Any

import orjson

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.preparing.request import Request
from vlm2vec_cli.schemas.base import Row

UNNAMED = ("id", "relevant", "pool", "weight")
"""Fields of a row that say nothing about what it shows."""


def chosen(known: dict[str, Entry], request: Request) -> list[Entry]:
    """The entries that names, modality, task type and domain leave, in catalogue order.

    UsageError for a name, pattern or value that stands for nothing.
    """
    found = _named(known, request) if request.names else list(known.values())
    if request.modality:
        found = _having(found, request.modality, "--modality", lambda one: {one["modality"]})
    if request.task_type:
        found = _having(found, request.task_type, "--task-type", _types)
    if request.domain:
        found = [one for one in found if is_in_domain(one) == (request.domain == "in")]
    if not found:
        raise UsageError("no dataset is all of what --task, --modality, --task-type and the domain ask for")
    return found


def is_in_domain(entry: Entry) -> bool:
    """Whether the published models were trained on the task's own dataset or its family."""
    return not str(entry.get("domain", "in-domain")).startswith("out-of-domain")


def _types(entry: Entry) -> set[str]:
    """The words a task's type can be asked for by: the type itself, its words, its group."""
    words = entry["task_type"].casefold().replace("(", " ").replace(")", " ").split()
    return {entry["task_type"].casefold(), entry["group"].casefold(), *words}


def _having(entries: list[Entry], wanted: str, option: str, words: Any) -> list[Entry]:
    found = [one for one in entries if any(fnmatchcase(word, wanted.casefold()) for word in words(one))]
    if not found:
        known = sorted({word for one in entries for word in words(one)})
        hint = nearest(wanted, known) or f"there are {', '.join(known[:20])}"
        raise UsageError(f"{option}: no dataset with {wanted!r}", hint=hint)
    return found


def _named(known: dict[str, Entry], request: Request) -> list[Entry]:
    wanted: set[str] = set()
    for name in request.names:
        found = [one for one in known if one == name or fnmatchcase(one, name)]
        if not found:
            hint = nearest(name, known) or f"vlm2vec prepare {request.source} --list names them all"
            raise UsageError(f"no dataset {name!r} in {request.source}", hint=hint)
        wanted.update(found)
    return [entry for name, entry in known.items() if name in wanted]


def sample(rows: Iterable[Row], count: int, seed: str) -> list[Row]:
    """`count` of the rows, each with the same chance, in their order, or all. Holds `count` rows.

    Which ones depends on what they show and on the seed, not on the order they come in, nor on the folder or
    archive their media lie in: the rows whose digests are the smallest.
    """
    key = hashlib.blake2b(seed.encode(), digest_size=32).digest()
    numbered = ((_digest(row, key), number, row) for number, row in enumerate(rows))
    kept = nsmallest(count, numbered, key=lambda one: one[:2])
    return [row for _, _, row in sorted(kept, key=lambda one: one[1])]


def _digest(row: Row, key: bytes) -> bytes:
    shown = {name: _bare(name, value) for name, value in row.items() if name not in UNNAMED}
    return hashlib.blake2b(orjson.dumps(shown, option=orjson.OPT_SORT_KEYS), digest_size=16, key=key).digest()


def _bare(name: str, value: Any) -> Any:
    """`value` with the media in it named by their last part alone."""
    if isinstance(value, dict):
        return {inner: _bare(inner, one) for inner, one in value.items()}
    if isinstance(value, list):
        return [_bare(name, one) for one in value]
    if name in ("image", "video") and isinstance(value, str):
        return value.rstrip("/").replace("!", "/").rsplit("/", 1)[-1]
    return value
