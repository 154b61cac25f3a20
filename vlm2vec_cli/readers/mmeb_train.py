"""MMEB-train: training pairs over pictures; Parquet files and `images_zip/SUBSET.zip` for each subset.

Columns `qry`, `qry_image_path`, `pos_text`, `pos_image_path`, `neg_text`, `neg_image_path`; missing values
are empty strings or null, older exports lack the negatives, exports with mined negatives hold lists of them.
Texts are complete, only the picture token is renamed. A row without text and picture on the query's or the
positive's side is left out, as in the reference. A negative that is a picture without text (VisDial) takes
the positive's text, which holds the token. WebQA's queries keep a token without a picture. Sets with clips
have `qry_video_path`, `pos_video_path` too.
Source: the dataset TIGER-Lab/MMEB-train, and VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec), parser mmeb.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._columns import Batch, batches
from vlm2vec_cli.readers._items import STRAY
from vlm2vec_cli.readers._packed import Packed
from vlm2vec_cli.readers._places import Places
from vlm2vec_cli.readers._raw import Missing, NotThere, found_in
from vlm2vec_cli.readers._rows import rows, split_files
from vlm2vec_cli.readers._sides import Sides, present
from vlm2vec_cli.readers._text import LEGACY
from vlm2vec_cli.streams.blocks import Block, Piece, ahead

COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path")
NEGATIVES = ("neg_text", "neg_image_path")
CLIPS = ("qry_video_path", "pos_video_path")
SIDES = {"qry": ("qry_image_path", CLIPS[0]), "pos_text": ("pos_image_path", CLIPS[1])}
"""The text of a side to its picture and clip."""
OLDER_EXPORT = "train"
PICTURE_ROOTS = ("", "image")
REPOSITORY = "TIGER-Lab/MMEB-train"
NOTHING = "no text and no picture on one side"
LOOKED_AT = 100
"""Rows in which `found` looks for the name of a picture."""


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Piece]:
    """The pairs of one subset, in blocks."""
    return ahead(_read(entry, raw))


def _read(entry: Entry, raw: Raw) -> Iterator[Piece]:
    sides, number = Sides(entry, raw, _Media(entry, raw)), 0
    for path in split_of(entry, raw):
        for batch in batches(path, COLUMNS, raw, (*NEGATIVES, *CLIPS), lists=NEGATIVES):
            yield from _pieces(entry, raw, sides, batch, number)
            number += len(batch.frame)


def _pieces(entry: Entry, raw: Raw, sides: Sides, batch: Batch, before: int) -> Iterator[Block]:
    """The pairs of a batch, of which `before` rows stand before it."""
    frame = batch.frame.with_columns(
        (pl.int_range(pl.len()) + before + 1).cast(pl.String).alias("id"),
        pl.lit(entry["name"]).alias("dataset"),
        *(present(name) for name in (*COLUMNS, *CLIPS)),
    )
    asked, answered = (
        pl.any_horizontal(pl.col(name).is_not_null() for name in names)
        for names in (("qry", *SIDES["qry"]), ("pos_text", *SIDES["pos_text"]))
    )
    whole = frame.filter(asked & answered)
    for _ in range(len(frame) - len(whole)):
        raw.left_out(f"{entry['name']}: {NOTHING}")
    bare = whole.filter(pl.col("qry_image_path").is_null())
    stray = bare.filter(pl.col("qry").str.contains(LEGACY, literal=True))
    for _ in range(len(stray)):
        raw.noted(STRAY)
    bad: dict[int, UserError] = {}
    query, positive = (sides.side(whole, text, *media, bad) for text, media in SIDES.items())
    negatives = sides.negatives(whole, *NEGATIVES, "pos_text", bad)
    pairs = whole.select("id", "dataset").with_columns(
        query.alias("query"), positive.alias("positive"), negatives.alias("negatives")
    )
    start = 0
    for at in sorted(bad):
        yield Block(pairs[start:at])
        raw.reject(bad[at].at(batch.place(whole["index"][at])))
        start = at + 1
    yield Block(pairs[start:])


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    there = found_in(partial(split_of, entry, raw))
    return replace(there, media=not (more := _missing(entry, raw)), missing=(*there.missing, *more))


def split_of(entry: Entry, raw: Raw) -> list[Path]:
    """The files of the split asked for, by default `original` or, where it is not there, the older export."""
    folder, repository = raw.root / entry["name"], entry["hf"].get("repo")
    wanted = [raw.split] if raw.split else list(dict.fromkeys((entry["hf"]["split"], OLDER_EXPORT)))
    for split in wanted:
        if found := split_files(folder, split):
            return found
    there = sorted({path.name.split("-")[0] for path in folder.glob("*.parquet")})
    hint = f"splits there: {', '.join(there)}" if there else f"it is a folder of {repository} on the hub"
    error = NotThere(f"{entry['name']}: no split {' or '.join(wanted)} in {folder}", hint=hint)
    error.missing = (Missing(f"{entry['name']}/{wanted[0]}-*.parquet", repository),)
    raise error


class _Media:
    """The media of an entry, which may be those of several subsets."""

    def __init__(self, entry: Entry, raw: Raw) -> None:
        self._entry, self._raw, self._places = entry, raw, dict[str, Places]()

    def reference(self, kind: str, name: str) -> str:
        return self._of(name).reference(kind, name)

    def prefix(self, folder: str, names: Collection[str]) -> str | None:
        return self._of(folder).prefix(folder, names)

    def _of(self, name: str) -> Places:
        subset = _subset(self._entry, name)
        if subset not in self._places:
            self._places[subset] = _places(self._entry, self._raw, subset)
        return self._places[subset]


def _tops(entry: Entry, raw: Raw) -> list[Path]:
    """The folders that `images/` may lie in."""
    return [raw.root / one for one in entry.get("picture_roots", PICTURE_ROOTS)]


def _places(entry: Entry, raw: Raw, subset: str) -> Places:
    """Where `images/SUBSET/...` lies: unpacked, or in the archive of that or of the entry's subset."""
    names = dict.fromkeys((subset, entry["name"]))
    archives = [top / "images_zip" / name for top in _tops(entry, raw) for name in names]
    packed = [Packed(one.with_name(one.name + end), ("",)) for one in archives for end in (".zip", ".tar")]
    return Places(raw, _tops(entry, raw), packed, (_pictures(subset),))


def _pictures(subset: str) -> Missing:
    return Missing(f"images_zip/{subset}.zip", REPOSITORY)


def _missing(entry: Entry, raw: Raw) -> tuple[Missing, ...]:
    """The archive of the first picture or clip named in the rows, where neither of them is there."""
    try:
        source = rows(split_of(entry, raw), (), raw, (COLUMNS[1], COLUMNS[3], *CLIPS))
    except NotThere:
        return (_pictures(entry["name"]),)
    path = next((path for row in islice(source, LOOKED_AT) for path in row.values.values() if path), "")
    subset = _subset(entry, path)
    tops = _tops(entry, raw)
    archives = (top / "images_zip" / f"{subset}{end}" for top in tops for end in (".zip", ".tar"))
    files = (top / path.partition("#page=")[0] for top in tops)
    return () if not path or any(one.is_file() for one in (*archives, *files)) else (_pictures(subset),)


def _subset(entry: Entry, path: str) -> str:
    """The subset whose pictures `images/SUBSET/...` belongs to."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else str(entry["name"])
