"""Moment retrieval: QVHighlight and Charades-STA. Find the clip of a video that a sentence describes.

A row holds `query` and `video_path`; everything else lies in the folder named like the video: `query/` holds
its frames, every other folder is a candidate clip, the right one's name starts with "positive". In the flat
layout the clips' frames stand beside `query/` as `positive_000.jpg`, `negative_1_000.jpg`. Clips are taken in
sorted order.
Source: VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset), parser moment_retrieval.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query
from vlm2vec_cli.readers._media import video_places
from vlm2vec_cli.readers._places import Folder, Places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import VIDEO, joined
from vlm2vec_cli.schemas.base import Row

FRAME = re.compile(r"^(?P<clip>(?:positive|negative).*)_(?P<number>\d+)\.(?:jpe?g|png)$", re.IGNORECASE)


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one moment retrieval task."""
    places = video_places(entry, raw).frames
    source = rows(annotations(entry, raw), ("query", "video_path"), raw)
    if side == "query":
        return queries(raw, source, partial(_query, entry, raw, places))
    return candidates(entry, raw, source, partial(_offers, entry, raw, places))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    return found_in(partial(annotations, entry, raw), media=video_places(entry, raw).missing())


def _query(entry: Entry, raw: Raw, places: Places, row: RawRow) -> Row:
    name, folder = _folder(places, row)
    clips = _clips(folder)
    right = [clip for clip in clips if clip.startswith("positive")]
    if not right:
        raise DataError(f"{folder.reference}: no clip whose name starts with 'positive'")
    if "query" not in folder.folders:
        raise MissingError(f"video {folder.reference}query: no such folder")
    instruction = entry["instruction"]["query"] if raw.instructions else ""
    content: Row = {
        "text": joined(instruction, row.text("query"), VIDEO),
        "video": f"{folder.reference}query/",
    }
    keys = [f"{name}/{clip}" for clip in clips]
    return query(entry, raw, str(row.number), content, [f"{name}/{right[0]}"], keys)


def _offers(entry: Entry, raw: Raw, places: Places, row: RawRow) -> Iterator[Offer]:
    name, folder = _folder(places, row)
    text = joined(entry["instruction"]["target"] if raw.instructions else "", token=VIDEO)
    for clip, frames in _clips(folder).items():
        video = [folder.reference + frame for frame in frames] or f"{folder.reference}{clip}/"
        yield f"{name}/{clip}", partial(dict, text=text, video=video)


def _folder(places: Places, row: RawRow) -> tuple[str, Folder]:
    """The name of the row's video, and its folder."""
    name = PurePosixPath(row.identifier("video_path")).stem
    found = places.folder(name)
    if found is None:
        raise MissingError(f"video {name}: no such folder in {places.shown()}", hint=places.hint())
    return name, found


def _clips(folder: Folder) -> dict[str, list[str]]:
    """Clip name to its frame files in order; an empty list where the clip is a folder."""
    clips: dict[str, list[str]] = {name: [] for name in folder.folders if name != "query"}
    matches = [(found, name) for name in folder.files if (found := FRAME.match(name))]
    for found, name in sorted(matches, key=lambda one: (one[0]["clip"], int(one[0]["number"]))):
        clips.setdefault(found["clip"], []).append(name)
    return dict(sorted(clips.items()))
