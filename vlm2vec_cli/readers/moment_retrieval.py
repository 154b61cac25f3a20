"""Moment retrieval: QVHighlight and Charades-STA. Find the clip of a video that a sentence describes.

A row holds `query` and `video_path`; everything else lies in the folder named like the video: `query/` holds
its frames, every other folder is a candidate clip, the right one's name starts with "positive". In the flat
layout the clips' frames stand beside `query/` as `positive_000.jpg`, `negative_1_000.jpg`. Clips are taken in
sorted order.
Source: VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset), parser moment_retrieval.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query
from vlm2vec_cli.readers._raw import is_there
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import VIDEO, joined
from vlm2vec_cli.schemas.base import Row

FRAME = re.compile(r"^(?P<clip>(?:positive|negative).*)_(?P<number>\d+)\.(?:jpe?g|png)$", re.IGNORECASE)


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one moment retrieval task."""
    roots = _roots(entry, raw)
    source = rows(annotations(entry, raw), ("query", "video_path"), raw)
    if side == "query":
        return queries(raw, source, partial(_query, entry, raw, roots))
    return candidates(entry, raw, source, partial(_offers, entry, raw, roots))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    return Found(is_there(partial(annotations, entry, raw)), any(one.is_dir() for one in _roots(entry, raw)))


def _roots(entry: Entry, raw: Raw) -> list[Path]:
    local = entry["local"]
    return [raw.root / one for one in (local["frame_root"], *local.get("frame_root_variants", ()))]


def _query(entry: Entry, raw: Raw, roots: Sequence[Path], row: RawRow) -> Row:
    folder = _folder(roots, row)
    clips = _clips(folder)
    right = [name for name in clips if name.startswith("positive")]
    if not right:
        raise DataError(f"{folder}: no clip whose name starts with 'positive'")
    if not (folder / "query").is_dir():
        raise MissingError(f"video {folder / 'query'}: no such folder")
    instruction = entry["instruction"]["query"] if raw.instructions else ""
    content: Row = {
        "text": joined(instruction, row.text("query"), VIDEO),
        "video": raw.references.of(folder.parent, f"{folder.name}/query/"),
    }
    keys = {name: f"{folder.name}/{name}" for name in clips}
    return query(entry, raw, str(row.number), content, [keys[right[0]]], list(keys.values()))


def _offers(entry: Entry, raw: Raw, roots: Sequence[Path], row: RawRow) -> Iterator[Offer]:
    folder = _folder(roots, row)
    text = joined(entry["instruction"]["target"] if raw.instructions else "", token=VIDEO)
    for name, frames in _clips(folder).items():
        yield f"{folder.name}/{name}", partial(_clip, raw, folder, text, name, frames)


def _clip(raw: Raw, folder: Path, text: str, name: str, frames: Sequence[str]) -> Row:
    names = [f"{folder.name}/{frame}" for frame in frames] or [f"{folder.name}/{name}/"]
    references = [raw.references.of(folder.parent, one) for one in names]
    return {"text": text, "video": references if frames else references[0]}


def _folder(roots: Sequence[Path], row: RawRow) -> Path:
    name = PurePosixPath(row.identifier("video_path")).stem
    for root in roots:
        if (root / name).is_dir():
            return root / name
    raise MissingError(f"video {name}: no such folder in {', '.join(map(str, roots))}")


def _clips(folder: Path) -> dict[str, list[str]]:
    """Clip name to its frame files in order; an empty list where the clip is a folder."""
    clips: dict[str, list[str]] = {}
    flat: list[tuple[str, int, str]] = []
    for one in sorted(folder.iterdir()):
        if one.is_dir() and one.name != "query":
            clips[one.name] = []
        elif found := FRAME.match(one.name):
            flat.append((found["clip"], int(found["number"]), one.name))
    for clip, _, name in sorted(flat):
        clips.setdefault(clip, []).append(name)
    return dict(sorted(clips.items()))
