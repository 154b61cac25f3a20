"""Video classification: K700, UCF101, HMDB51, Breakfast with a fixed label list, SmthSmthV2 with one a row.

A row holds `video_id`, `pos_text`, and for SmthSmthV2 `neg_text`, its pool. Candidates are the labels of the
rows, then the rest of the label list.
Source: VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset), parsers video_classification, ssv2.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import PurePosixPath

from vlm2vec_cli import catalogue
from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query, text_offers
from vlm2vec_cli.readers._media import Videos, video_places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import VIDEO, joined
from vlm2vec_cli.schemas.base import Row


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one video classification task."""
    pooled = ("neg_text",) if entry["parser"] == "ssv2" else ()
    files = annotations(entry, raw)
    if side == "query":
        source = rows(files, ("video_id", "pos_text", *pooled), raw)
        return queries(raw, source, partial(_query, entry, raw, video_places(entry, raw)))
    source = rows(files, ("pos_text", *pooled), raw)
    labels = catalogue.label_set(entry["label_set"]) if entry.get("label_set") else []
    fixed = (RawRow({"pos_text": label}, files[0], 0, 0) for label in labels)
    return candidates(entry, raw, chain(source, fixed), partial(_offers, entry))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    return found_in(partial(annotations, entry, raw), media=video_places(entry, raw).missing())


def _query(entry: Entry, raw: Raw, videos: Videos, row: RawRow) -> Row:
    instruction = entry["instruction"]["query"] if raw.instructions else ""
    name, label = row.identifier("video_id"), row.identifier("pos_text")
    content: Row = {
        "text": joined(instruction, token=VIDEO),
        "video": videos.reference([name, PurePosixPath(name).stem]),
    }
    pool = row.texts("neg_text") if entry["parser"] == "ssv2" else None
    if pool is not None and label not in pool:
        raise DataError(f"neg_text: the row's pool lacks its pos_text {label!r}")
    return query(entry, raw, str(row.number), content, [label], pool)


def _offers(entry: Entry, row: RawRow) -> Iterator[Offer]:
    return text_offers(row.texts("neg_text") if entry["parser"] == "ssv2" else [row.identifier("pos_text")])
