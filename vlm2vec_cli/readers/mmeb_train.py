"""MMEB-train: training pairs over pictures; Parquet files and `images_zip/SUBSET.zip` for each subset.

Columns `qry`, `qry_image_path`, `pos_text`, `pos_image_path`, `neg_text`, `neg_image_path`; missing values
are empty strings or null, older exports lack the negatives, exports with mined negatives hold lists of them.
Texts are complete, only the picture token is renamed. A row without text and picture on the query's or the
positive's side is left out, as in the reference. A negative that is a picture without text (VisDial) takes
the positive's text, which holds the token. WebQA's queries keep a token without a picture. Sets with clips
have `qry_video_path`, `pos_video_path` too.
Source: the dataset TIGER-Lab/MMEB-train, and VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec), parser mmeb.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._columns import batches
from vlm2vec_cli.readers._media import with_frames
from vlm2vec_cli.readers._places import Packed, Places
from vlm2vec_cli.readers._raw import Missing, NotThere, found_in
from vlm2vec_cli.readers._rows import rows, split_files
from vlm2vec_cli.readers._text import IMAGE, LEGACY
from vlm2vec_cli.schemas.base import Row

COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path")
NEGATIVES = ("neg_text", "neg_image_path")
CLIPS = ("qry_video_path", "pos_video_path")
OLDER_EXPORT = "train"
PICTURE_ROOTS = ("", "image")
REPOSITORY = "TIGER-Lab/MMEB-train"
NOTHING = "no text and no picture on one side"
KEPT_NAMES = 100_000
LOOKED_AT = 100
"""Rows in which `found` looks for the name of a picture."""


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The pairs of one subset."""
    name, media, number = entry["name"], _Media(entry, raw), 0
    for path in split_of(entry, raw):
        for batch in batches(path, COLUMNS, raw, (*NEGATIVES, *CLIPS), lists=NEGATIVES):
            for index, *given in zip(batch.indexes, *batch.columns.values(), strict=True):
                number += 1
                asked, picture, answer, target, others, other_pictures, clip, target_clip = given
                if not (asked or picture or clip) or not (answer or target or target_clip):
                    raw.left_out(f"{name}: {NOTHING}")
                    continue
                try:
                    yield {
                        "id": str(number),
                        "dataset": name,
                        "query": media.content(asked, picture, clip),
                        "positive": media.content(answer, target, target_clip),
                        "negatives": media.negatives(others, other_pictures, answer)
                        if others or other_pictures
                        else [],
                    }
                except UserError as error:
                    raw.reject(error.at(batch.place(index)))


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
    """Makes contents; a reference is looked for once for each of the last names."""

    def __init__(self, entry: Entry, raw: Raw) -> None:
        self._entry, self._raw = entry, raw
        self._places: dict[str, Places] = {}
        self._known: dict[tuple[str, str], str] = {}

    def content(self, text: str | None, picture: str | None, clip: str | None) -> Row:
        """One side of a pair."""
        content: Row = {"text": text.replace(LEGACY, IMAGE)} if text else {}
        if picture:
            content["image"] = self._known.get(("image", picture)) or self._find("image", picture)
        if clip:
            content["video"] = self._known.get(("video", clip)) or self._find("video", clip)
            with_frames(content, self._entry, self._raw)
        return content

    def negatives(self, texts: Any, paths: Any, shared: str | None) -> list[Row]:
        """Those of a row: one, or lists of equal length. A picture without text takes the positive's."""
        texts, paths = _listed(texts), _listed(paths)
        texts, paths = texts or [""] * len(paths), paths or [""] * len(texts)
        if len(texts) != len(paths):
            raise DataError(f"neg_text has {len(texts)} entries, neg_image_path has {len(paths)}")
        return [
            self.content(text or shared if path else text, path, None)
            for text, path in zip(texts, paths, strict=True)
            if text or path
        ]

    def _find(self, kind: str, path: str) -> str:
        if len(self._known) > KEPT_NAMES:
            self._known.clear()
        subset = _subset(self._entry, path)
        if subset not in self._places:
            self._places[subset] = _places(self._entry, self._raw, subset)
        found = self._known[kind, path] = self._places[subset].reference(kind, path)
        return found


def _listed(value: Any) -> list[str | None]:
    return value if isinstance(value, list) else [value]


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
