"""Text-to-video retrieval: MSR-VTT, MSVD, DiDeMo, YouCook2, VATEX. A row is a caption and its video.

Every row's video is a candidate, named by the id that its frame folder has; the query is a text alone. Videos
that nothing asks for may stand in a split `corpus` beside the rows.
Source: VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset),
parsers msrvtt, msvd, didemo, youcook2, vatex.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query
from vlm2vec_cli.readers._media import Videos, video_places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows, split_files
from vlm2vec_cli.readers._text import VIDEO, joined
from vlm2vec_cli.schemas.base import Row

COLUMNS = {
    "msrvtt": ("video_id", "caption", "video"),
    "msvd": ("video_id", "caption", "video"),
    "didemo": ("video", "caption", "video"),
    "youcook2": ("id", "sentence", "video_path"),
    "vatex": ("videoID", "enCap", "videoID"),
}
"""Parser to the columns of the video's name, the caption (of a list, the first), and the clip's file."""


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one text-to-video task."""
    name, caption, file = COLUMNS[entry["parser"]]
    files = annotations(entry, raw)
    if side == "query":
        return queries(raw, rows(files, (name, caption), raw), partial(_query, entry, raw))
    files += [
        more
        for folder in dict.fromkeys(one.parent for one in files)
        for more in split_files(folder, "corpus")
    ]
    source = rows(files, (name,), raw, () if file == name else (file,))
    return candidates(entry, raw, source, partial(_offers, entry, raw, video_places(entry, raw)))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    return found_in(partial(annotations, entry, raw), media=video_places(entry, raw).missing())


def _query(entry: Entry, raw: Raw, row: RawRow) -> Row:
    column = COLUMNS[entry["parser"]][1]
    captions = row.texts(column)
    if not captions or not captions[0]:
        raise DataError(f"{column}: the row has no caption")
    text = joined(entry["instruction"]["query"] if raw.instructions else "", captions[0])
    return query(entry, raw, str(row.number), {"text": text}, [_key(entry, row)])


def _offers(entry: Entry, raw: Raw, videos: Videos, row: RawRow) -> Iterator[Offer]:
    text = joined(entry["instruction"]["target"] if raw.instructions else "", token=VIDEO)
    key, file = _key(entry, row), row.values.get(COLUMNS[entry["parser"]][2])
    files = [file] if isinstance(file, str) and file else []
    yield key, lambda: {"text": text, "video": videos.reference([key], files)}


def _key(entry: Entry, row: RawRow) -> str:
    """The name of the row's video; for DiDeMo the stem of its file."""
    name = row.identifier(COLUMNS[entry["parser"]][0])
    return PurePosixPath(name).stem if entry["parser"] == "didemo" else name
