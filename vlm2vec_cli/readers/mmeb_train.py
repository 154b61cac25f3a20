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

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._media import with_frames
from vlm2vec_cli.readers._places import Packed, Places
from vlm2vec_cli.readers._raw import Missing, NotThere, found_in
from vlm2vec_cli.readers._rows import RawRow, rows, split_files
from vlm2vec_cli.readers._text import visible
from vlm2vec_cli.schemas.base import Row

COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path")
NEGATIVES = ("neg_text", "neg_image_path")
CLIPS = ("qry_video_path", "pos_video_path")
OLDER_EXPORT = "train"
PICTURE_ROOTS = ("", "image")
REPOSITORY = "TIGER-Lab/MMEB-train"
LOOKED_AT = 100
"""Rows in which `found` looks for the name of a picture."""


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The pairs of one subset."""
    places: dict[str, Places] = {}
    for row in rows(split_of(entry, raw), COLUMNS, raw, (*NEGATIVES, *CLIPS)):
        try:
            pair = _pair(entry, raw, places, row)
        except UserError as error:
            raw.reject(error.at(row.place))
            continue
        if pair is None:
            raw.left_out(f"{entry['name']}: no text and no picture on one side")
        else:
            yield pair


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


def _pair(entry: Entry, raw: Raw, places: dict[str, Places], row: RawRow) -> Row | None:
    sides = [
        (row.text(side), row.text(f"{name}_image_path"), row.text(f"{name}_video_path"))
        for side, name in (("qry", "qry"), ("pos_text", "pos"))
    ]
    if not all(map(any, sides)):
        return None
    texts, paths = row.texts("neg_text"), row.texts("neg_image_path")
    texts, paths = texts or [""] * len(paths), paths or [""] * len(texts)
    if len(texts) != len(paths):
        raise DataError(f"neg_text has {len(texts)} entries, neg_image_path has {len(paths)}")
    shared = sides[1][0]
    taken = [(text or (shared if path else ""), path, "") for text, path in zip(texts, paths, strict=True)]
    contents = [_content(entry, raw, places, *side) for side in (*sides, *taken) if any(side)]
    return {
        "id": str(row.number),
        "dataset": entry["name"],
        "query": with_frames(contents[0], entry, raw),
        "positive": with_frames(contents[1], entry, raw),
        "negatives": contents[2:],
    }


def _content(entry: Entry, raw: Raw, places: dict[str, Places], text: str, picture: str, clip: str) -> Row:
    content: Row = {"text": visible(text)} if text else {}
    for kind, path in (("image", picture), ("video", clip)):
        if path:
            subset = _subset(entry, path)
            if subset not in places:
                places[subset] = _places(entry, raw, subset)
            content[kind] = places[subset].reference(kind, path)
    return content


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
