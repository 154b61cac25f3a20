"""MomentSeeker: find a clip by a text, by a picture and a text, or by a video and a text.

A row holds `query`, `input_frames` (a clip, a picture, or nothing), `positive_frames` and `negative_frames`
(lists of `{"output_path": ...}`); all positives are right. Clips lie as frame folders under `video_frames/`,
named by the path with `/` as `_` and cut at ".mp4"; query pictures under `query_images/`.
Source: VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset), parser momentseeker.
"""

from collections.abc import Iterator
from functools import partial

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query
from vlm2vec_cli.readers._media import Videos, video_places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import IMAGE, VIDEO, joined
from vlm2vec_cli.schemas.base import Row

PICTURES = (".jpg", ".jpeg", ".png")


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of MomentSeeker."""
    videos = video_places(entry, raw)
    columns = ("positive_frames", "negative_frames")
    files = annotations(entry, raw)
    if side == "query":
        source = rows(files, ("query", "input_frames", *columns), raw)
        return queries(raw, source, partial(_query, entry, raw, videos))
    return candidates(entry, raw, rows(files, columns, raw), partial(_offers, entry, raw, videos))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    return found_in(partial(annotations, entry, raw), media=video_places(entry, raw).missing())


def _query(entry: Entry, raw: Raw, videos: Videos, row: RawRow) -> Row:
    given, text = row.text("input_frames"), row.text("query")
    instruction = entry["instruction"] if raw.instructions else {}
    content: Row
    if not given:
        content = {"text": joined(instruction.get("query_text_only", ""), text)}
    elif given.lower().endswith(PICTURES):
        content = {
            "text": joined(instruction.get("query_image", ""), text, IMAGE),
            "image": videos.frames.reference("image", f"query_{given}"),
        }
    else:
        content = {
            "text": joined(instruction.get("query_video", ""), text, VIDEO),
            "video": videos.reference([f"video_frames/{clip_name(given)}"], [given]),
        }
    right = [clip_name(path) for path in _paths(row, "positive_frames")]
    if not right:
        raise DataError("positive_frames: the row has no positive")
    pool = right + [clip_name(path) for path in _paths(row, "negative_frames")]
    return query(entry, raw, str(row.number), content, right, pool)


def _offers(entry: Entry, raw: Raw, videos: Videos, row: RawRow) -> Iterator[Offer]:
    text = joined(entry["instruction"]["target"] if raw.instructions else "", token=VIDEO)
    for path in (*_paths(row, "positive_frames"), *_paths(row, "negative_frames")):
        yield clip_name(path), partial(_clip, videos, text, path)


def _clip(videos: Videos, text: str, path: str) -> Row:
    return {"text": text, "video": videos.reference([f"video_frames/{clip_name(path)}"], [path])}


def clip_name(path: str) -> str:
    """The frame folder of a clip: "clips/f3/p0.mp4" -> "clips_f3_p0"."""
    return path.replace("/", "_").partition(".mp4")[0]


def _paths(row: RawRow, column: str) -> list[str]:
    listed = row.values.get(column) or []
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and isinstance(one.get("output_path"), str) for one in listed
    ):
        raise DataError(f'{column}: expected a list of {{"output_path": ...}}')
    return [one["output_path"] for one in listed]
