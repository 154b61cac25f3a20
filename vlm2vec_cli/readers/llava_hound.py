"""LLaVA-Hound: training pairs over videos, JSON lines of two turns, the videos as folders of frames.

A line holds `video` and `conversations`, first the human turn, then the answer. The entry's `direction` says
what becomes of them: `caption` asks with the video and the human turn, `qa` puts an instruction before it,
`video` asks with the answer for the video. The human turn places the video itself, by `<video>`. A video
without a folder of frames is left out, as in the reference.
Source: the dataset ShareGPTVideo/train_video_and_instruction, and VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec), parsers
llavahound_caption, llavahound_qa.
"""

from collections.abc import Iterator
from functools import partial

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import pairs
from vlm2vec_cli.readers._media import Videos, video_places, with_frames
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import VIDEO, joined
from vlm2vec_cli.schemas.base import Row

TURNS = 2
NO_FRAMES = "video without a folder of frames"


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The pairs of one file of turns."""
    videos = video_places(entry, raw)
    if not videos.there():
        raise MissingError(f"{entry['name']}: no frames in {raw.root}", hint=videos.frames.hint())
    source = rows(annotations(entry, raw), ("video", "conversations"), raw)
    return pairs(entry, raw, source, partial(_pair, entry, raw, videos))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    return found_in(partial(annotations, entry, raw), media=video_places(entry, raw).missing())


def _pair(entry: Entry, raw: Raw, videos: Videos, row: RawRow) -> Row | None:
    asked, answer = _turns(row)
    reference = videos.frames.find(row.identifier("video"), folder=True)
    if reference is None:
        raw.left_out(f"{entry['name']}: {NO_FRAMES}")
        return None
    instruction = entry["instruction"]
    if entry["direction"] == "video":
        query = {"text": joined(instruction["query"], answer)}
        positive = {"text": joined(instruction["target"], VIDEO), "video": reference}
    else:
        if VIDEO not in asked:
            raise DataError(f"conversations: the human turn does not place the video by {VIDEO}")
        query = {"text": joined(instruction["query"], asked), "video": reference}
        positive = {"text": answer}
    return {"query": with_frames(query, entry, raw), "positive": with_frames(positive, entry, raw)}


def _turns(row: RawRow) -> tuple[str, str]:
    """What is asked and what is answered."""
    turns = row.values["conversations"]
    if not isinstance(turns, list) or len(turns) < TURNS:
        raise DataError("conversations: expected two turns")
    asked, answer = (turn.get("value") if isinstance(turn, dict) else None for turn in turns[:TURNS])
    if not isinstance(asked, str) or not isinstance(answer, str) or not asked or not answer:
        raise DataError("conversations: a turn has no value")
    return asked, answer
