"""From a request to rows: the datasets it names, each one's rows in order."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from vlm2vec_cli import catalogue, plugins
from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import MissingError, UsageError, UserError
from vlm2vec_cli.preparing.choose import chosen, sample
from vlm2vec_cli.preparing.request import CATALOGUED, Request, check
from vlm2vec_cli.preparing.sources import Contents, contents, home, permitted
from vlm2vec_cli.readers import Found, Raw, Reader, References
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.streams.blocks import Piece, count, first, flat, weighted

log = logging.getLogger(__name__)

Reject = Callable[[UserError], None]


@dataclass(frozen=True)
class Plan:
    """A request made sense of: the datasets it names, their kind of row, and where they lie."""

    request: Request
    source: Contents

    @property
    def kind(self) -> Kind:
        """The kind of row."""
        return self.source.kind

    def rows(self, media_root: Path, reject: Reject) -> Iterator[Row]:
        """The same as `pieces`, every row a dictionary."""
        return flat(self.pieces(media_root, reject))

    def pieces(self, media_root: Path, reject: Reject) -> Iterator[Piece]:
        """The rows asked for, lazily, some in blocks; references relative to `media_root` where they can be.

        Raises UsageError for unknown names and MissingError for a dataset that is not there.
        """
        references = References(media_root, partial(_tell_outside, self.source.root))
        entries = self.entries()
        weights = self._weights(entries, references) if self.request.source == "mix" else {}
        for entry in entries:
            for piece in self.pieces_of(entry, references, reject):
                yield weighted(piece, weights[entry["name"]]) if weights else piece

    def pieces_of(self, entry: Entry, references: References, reject: Reject) -> Iterator[Piece]:
        """The rows of one dataset; those left out by a rule of its format are counted on stderr."""
        left_out, noted = Counter[str](), Counter[str]()
        if self.source.shipped:
            references = References(self.source.shipped, quickstart=True)
        with permitted():
            raw = self._raw(
                entry, references, _once(reject),
                left_out=lambda why: left_out.update([why]), noted=lambda why: noted.update([why]),
            )  # fmt: skip
            yield from self._dataset(entry, raw)
        for why, rows in left_out.items():
            log.warning("%d left out: %s", rows, why)
        for why, rows in noted.items():
            log.info("%s: %d rows have %s", entry["name"], rows, why)

    def listing(self) -> list[Row]:
        """The catalogue: an object for each dataset, with what of it is found where a root is given."""
        listed = []
        for entry in chosen(self.source.known, self.request):
            row: Row = {name: entry.get(name) for name in ("name", "modality", "group", "task_type")}
            row["size"] = entry.get("num_queries") or entry.get("num_pairs")
            if self.request.root or self.request.source == "quickstart":
                found = self._found(entry)
                row.update({"annotations": found.annotations, "media": found.media})
                row["missing"] = [
                    {name: value for name, value in vars(one).items() if value} for one in found.missing
                ]
            row["repository"] = (entry.get("hf") or {}).get("repo")
            listed.append(row)
        return listed

    def entries(self) -> list[Entry]:
        """The datasets to read: those asked for by name, else those that are there."""
        if self.request.source not in CATALOGUED:
            return list(self.source.known.values())
        every = chosen(self.source.known, self.request)
        if self.request.names:
            return every
        there = [entry for entry in every if self._found(entry).annotations]
        if not there:
            hint = f"vlm2vec prepare {self.request.source} --list --root DIR says what is missing"
            raise MissingError("no dataset of the catalogue is here", place=str(self.source.root), hint=hint)
        if len(there) < len(every):
            log.info("%d of %d datasets are in %s", len(there), len(every), self.source.root)
        return there

    def _raw(
        self, entry: Entry, references: References, reject: Reject, **counts: Callable[[str], None]
    ) -> Raw:
        asked = self.request
        return Raw(
            home(self.source.root, entry), references, reject,
            split=self.source.split, instructions=asked.instructions, num_frames=asked.num_frames, **counts,
        )  # fmt: skip

    def _found(self, entry: Entry) -> Found:
        with permitted():
            raw = self._raw(entry, References(self.source.root), lambda _: None)
            return _reader(entry).found(entry, raw)

    def _weights(self, entries: list[Entry], references: References) -> dict[str, float]:
        """How much a row of each dataset counts, so that datasets count as in the mix, whatever their size.

        The mean over all rows is 1. Takes a pass over the raw rows, to count them.
        """
        raws = [self._raw(one, references, lambda _: None) for one in entries]
        sizes = {one["name"]: count(self._dataset(one, raw)) for one, raw in zip(entries, raws, strict=True)}
        total, shares = sum(sizes.values()), sum(one["share"] for one in entries if sizes[one["name"]])
        return {
            one["name"]: one["share"] / shares * total / sizes[one["name"]] if sizes[one["name"]] else 0.0
            for one in entries
        }

    def _dataset(self, entry: Entry, raw: Raw) -> Iterator[Piece]:
        reader, side = _reader(entry), self.request.side
        if self.kind is PAIR:
            yield from self._some(entry, reader.read(entry, raw, "pair"))
            return
        if entry.get("mixed"):
            whole = flat(reader.read(entry, raw, "item"))
            yield from self._some(entry, (row for row in whole if side in ("both", row["role"])))
            return
        narrowed = self.request.sample or self.request.limit
        needed: set[str] | None = set() if narrowed and entry.get("eval_type") == "local" else None
        if side != "candidate" or needed is not None:
            for row in flat(self._some(entry, reader.read(entry, raw, "query"))):
                if needed is not None:
                    needed.update(row["pool"])
                if side != "candidate":
                    yield row
        if side != "query":
            for row in flat(reader.read(entry, raw, "candidate")):
                if needed is None or row["id"] in needed:
                    yield row

    def _some(self, entry: Entry, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The first rows that --limit and the dataset allow, or a sample of them."""
        cap = entry.get("cap") if self.request.source == "mix" else None
        limits = [one for one in (self.request.limit, entry.get("max_queries"), cap) if one]
        kept = first(pieces, min(limits)) if limits else iter(pieces)
        if self.request.sample is None:
            return kept
        return iter(sample(flat(kept), self.request.sample, f"{self.request.seed} {entry['name']}"))


def plan(request: Request) -> Plan:
    """What `request` comes to. UsageError where it does not fit its source, MissingError without the root."""
    check(request)
    made = Plan(request, contents(request))
    if made.kind is PAIR:
        items_only = {
            "--side": request.side != "both",
            "--no-instruction": not request.instructions,
            "--role": request.role,
            "--instruction": request.instruction,
        }
        for option in (option for option, given in items_only.items() if given):
            raise UsageError(f"{option} has no use for training pairs", hint="it is for items")
    return made


def _reader(entry: Entry) -> Reader:
    return cast(Reader, plugins.load("readers", catalogue.reader_of(entry)))


def _once(reject: Reject) -> Reject:
    """Rejects a bad row once, though its queries and its candidates are read in two passes."""
    seen: set[str] = set()

    def once(error: UserError) -> None:
        if str(error) not in seen:
            reject(error)
            seen.add(str(error))

    return once


def _tell_outside(root: Path, folder: Path) -> None:
    top = root if folder.resolve().is_relative_to(root.resolve()) else folder
    log.warning(
        "media in %s lie outside of the media root, so references to them are absolute: give --media-root %s "
        "here and to the commands that read these rows, or --trust-paths to the latter",
        folder,
        top,
    )
