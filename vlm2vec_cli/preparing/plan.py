"""From a request to rows: the datasets it names, each one's rows in order."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, cast

from vlm2vec_cli import catalogue, plugins
from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import MissingError, UsageError, UserError, nearest
from vlm2vec_cli.media.locate import quickstart_root
from vlm2vec_cli.preparing.request import CATALOGUED, Request, check
from vlm2vec_cli.readers import Found, Raw, Reader, References, table
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.streams import opening, read_lines

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A request made sense of: the datasets it names, their kind of row, and where they lie."""

    request: Request
    kind: Kind
    known: dict[str, Entry]
    root: Path
    split: str | None

    def rows(self, media_root: Path, reject: Callable[[UserError], None]) -> Iterator[Row]:
        """The rows asked for, lazily. References are relative to `media_root` where they can be.

        Raises UsageError for unknown names and MissingError for a dataset that is not there.
        """
        left_out: Counter[str] = Counter()
        references = References(media_root, partial(_tell_outside, self.root))
        if self.request.source == "quickstart":
            references = References(quickstart_root(), quickstart=True)
        raw = self._raw(
            references=references, reject=_once(reject), left_out=lambda why: left_out.update([why])
        )
        for entry in self._chosen(raw):
            yield from self._dataset(entry, raw)
        for why, count in left_out.items():
            log.warning("%d left out: %s", count, why)

    def listing(self) -> list[Row]:
        """The catalogue: an object for each dataset, with what of it is found where a root is given."""
        raw = self._raw(references=References(self.root), reject=_once(lambda _: None))
        listed = []
        for entry in self._chosen(raw) if self.request.names else self.known.values():
            row: Row = {name: entry.get(name) for name in ("name", "modality", "group", "task_type")}
            row["size"] = entry.get("num_queries") or entry.get("num_pairs")
            if self.request.root or self.request.source == "quickstart":
                found = _found(entry, raw)
                row.update({"annotations": found.annotations, "media": found.media})
            row["repository"] = (entry.get("hf") or {}).get("repo")
            listed.append(row)
        return listed

    def _raw(self, **given: Any) -> Raw:
        asked = self.request
        return Raw(
            self.root, split=self.split, instructions=asked.instructions, num_frames=asked.num_frames, **given
        )

    def _chosen(self, raw: Raw) -> list[Entry]:
        if self.request.source not in CATALOGUED:
            return list(self.known.values())
        if self.request.names:
            return _named(self.known, self.request)
        there = [entry for entry in self.known.values() if _found(entry, raw).annotations]
        if not there:
            hint = f"vlm2vec prepare {self.request.source} --list shows what it looks for"
            raise MissingError("no dataset of the catalogue is here", place=str(self.root), hint=hint)
        if len(there) < len(self.known):
            log.info("%d of %d datasets are in %s", len(there), len(self.known), self.root)
        return there

    def _dataset(self, entry: Entry, raw: Raw) -> Iterator[Row]:
        reader = cast(Reader, plugins.load("readers", catalogue.reader_of(entry)))
        side = self.request.side
        if self.kind is PAIR or entry.get("mixed"):
            whole = reader.read(entry, raw, "pair" if self.kind is PAIR else "item")
            yield from self._some(entry, (row for row in whole if side in ("both", row.get("role"))))
            return
        narrowed = self.request.sample or self.request.limit
        needed: set[str] | None = set() if narrowed and entry.get("eval_type") == "local" else None
        if side != "candidate" or needed is not None:
            for row in self._some(entry, reader.read(entry, raw, "query")):
                if needed is not None:
                    needed.update(row["pool"])
                if side != "candidate":
                    yield row
        if side != "query":
            for row in reader.read(entry, raw, "candidate"):
                if needed is None or row["id"] in needed:
                    yield row

    def _some(self, entry: Entry, rows: Iterable[Row]) -> Iterator[Row]:
        """The first rows that --limit and the task allow, or a sample of them."""
        limits = [one for one in (self.request.limit, entry.get("max_queries")) if one]
        kept = islice(rows, min(limits)) if limits else iter(rows)
        if self.request.sample is None:
            return kept
        return iter(sample(kept, self.request.sample, Random(f"{self.request.seed} {entry['name']}")))


def plan(request: Request) -> Plan:
    """What `request` comes to. UsageError where it does not fit its source, MissingError without the root."""
    check(request)
    root = Path(request.root or ".")
    if not root.is_dir():
        raise MissingError("no such folder", place=str(root))
    split, kind, known = request.split, ITEM, dict[str, Entry]()
    if request.source == "mmeb-v2":
        known = catalogue.tasks()
    elif request.source == "mmeb-train":
        kind, known = PAIR, _train_entries(root)
    elif request.source == "quickstart":
        root, split, train = quickstart_root() / "mmeb-v2", None, request.split == "train"
        if train:
            root, kind = quickstart_root() / "mmeb-train", PAIR
        known = catalogue.load(quickstart_root() / "tasks.json", "train" if train else "tasks")
    else:
        entry = _open_entry(request, root)
        kind = table.kind(entry) if request.source == "table" else ITEM
        known = {entry["name"]: entry}

    if kind is PAIR:
        items_only = {
            "--side": request.side != "both",
            "--no-instruction": not request.instructions,
            "--role": request.role,
            "--instruction": request.instruction,
        }
        for option in (option for option, given in items_only.items() if given):
            raise UsageError(f"{option} has no use for training pairs", hint="it is for items")
    return Plan(request, kind, known, root, split)


def _open_entry(request: Request, root: Path) -> Entry:
    """The entry of a source without a catalogue."""
    entry: dict[str, Any] = {"name": request.dataset or "default", "parser": request.source}
    if request.source == "beir":
        return {**entry, "name": request.dataset or root.resolve().name, "eval_type": "global"}
    entry.update(paths=request.paths, instruction=request.instruction, role=request.role, mixed=True)
    if request.source == "files":
        return {**entry, "paths": _listed(request.paths), "role": request.role or "candidate"}
    return {**entry, "maps": request.maps, "rooted": request.root is not None}


def _listed(paths: Iterable[str]) -> Iterator[str]:
    """The paths, those in stdin's lines for "-"."""
    for path in paths:
        if path == opening.STDIN:
            yield from (line for _, line in read_lines(path))
        else:
            yield path


def _train_entries(root: Path) -> dict[str, Entry]:
    """The subsets of MMEB-train, then other folders under the root that look like subsets."""
    return {
        **catalogue.train_sources(),
        **{name: one for name, one in _folders(root).items() if name not in catalogue.train_sources()},
    }


def _folders(root: Path) -> dict[str, Entry]:
    """An entry for every folder with Parquet files in it."""
    hf = {"repo": "TIGER-Lab/MMEB-train", "split": "original"}
    names = sorted({path.parent.name for path in root.glob("*/*.parquet")})
    return catalogue.by_name(
        {"name": name, "modality": "image", "parser": "mmeb_train", "hf": hf} for name in names
    )


def _named(known: dict[str, Entry], request: Request) -> list[Entry]:
    """What names and patterns stand for, in catalogue order. UsageError for one that stands for nothing."""
    wanted: set[str] = set()
    for name in request.names:
        found = [one for one in known if one == name or fnmatchcase(one, name)]
        if not found:
            hint = nearest(name, known) or f"vlm2vec prepare {request.source} --list names them all"
            raise UsageError(f"no dataset {name!r} in {request.source}", hint=hint)
        wanted.update(found)
    return [entry for name, entry in known.items() if name in wanted]


def _found(entry: Entry, raw: Raw) -> Found:
    return cast(Reader, plugins.load("readers", catalogue.reader_of(entry))).found(entry, raw)


def sample(rows: Iterable[Row], count: int, random: Random) -> list[Row]:
    """`count` of the rows, each with the same chance, in their order, or all. Holds `count` rows."""
    kept: list[tuple[int, Row]] = []
    for number, row in enumerate(rows):
        if number < count:
            kept.append((number, row))
        elif (place := random.randrange(number + 1)) < count:
            kept[place] = (number, row)
    return [row for _, row in sorted(kept, key=lambda one: one[0])]


def _once(reject: Callable[[UserError], None]) -> Callable[[UserError], None]:
    """Rejects a bad row once, though its queries and its candidates are read in two passes."""
    seen: set[str] = set()

    def once(error: UserError) -> None:
        if str(error) not in seen:
            seen.add(str(error))
            reject(error)

    return once


def _tell_outside(root: Path, folder: Path) -> None:
    top = root if folder.resolve().is_relative_to(root.resolve()) else folder
    log.warning(
        "media in %s lie outside of the media root, so references to them are absolute: give --media-root %s "
        "here and to the commands that read these rows, or --trust-paths to the latter",
        folder,
        top,
    )
