"""MMEB, first version: 36 image tasks whose texts are complete, pictures in `images.zip`.

A row holds `qry_text`, `qry_img_path` and the lists `tgt_text`, `tgt_img_path`, the right answer first. A
candidate is a pair of text and picture, and named by it: by its text, or by `PATH:TEXT`.
Source: the dataset TIGER-Lab/MMEB-eval, and VLM2Vec V1 (TIGER-AI-Lab/VLM2Vec).
"""

from collections.abc import Iterator
from functools import partial

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query
from vlm2vec_cli.readers._packed import Packed
from vlm2vec_cli.readers._places import Places
from vlm2vec_cli.readers._raw import Missing, found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import visible
from vlm2vec_cli.schemas.base import Row

CANDIDATES = ("tgt_text", "tgt_img_path")
FOLDERS = ("", "images", "eval_images")
PICTURES = Missing("images.zip", "TIGER-Lab/MMEB-eval")


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one task."""
    files, places = annotations(entry, raw), _places(raw)
    if side == "query":
        source = rows(files, ("qry_text", "qry_img_path", *CANDIDATES), raw)
        return queries(raw, source, partial(_query, entry, raw, places))
    return candidates(entry, raw, rows(files, CANDIDATES, raw), partial(_offers, places))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    there = any((raw.root / one).is_dir() for one in FOLDERS[1:]) or (raw.root / PICTURES.file).is_file()
    return found_in(partial(annotations, entry, raw), media=() if there else (PICTURES,))


def _places(raw: Raw) -> Places:
    packed = Packed(raw.root / PICTURES.file, tuple(f"{one}/" if one else "" for one in FOLDERS))
    return Places(raw, [raw.root / one for one in FOLDERS], [packed], (PICTURES,))


def _query(entry: Entry, raw: Raw, places: Places, row: RawRow) -> Row:
    keys = [key for key, _, _ in _targets(row)]
    content = _content(places, row.text("qry_text"), row.text("qry_img_path"))
    return query(entry, raw, str(row.number), content, keys[:1], keys)


def _offers(places: Places, row: RawRow) -> Iterator[Offer]:
    for key, text, path in _targets(row):
        yield key, partial(_content, places, text, path)


def _targets(row: RawRow) -> list[tuple[str, str, str]]:
    """Key, text and picture of each candidate."""
    texts, paths = row.texts("tgt_text"), row.texts("tgt_img_path")
    if not texts or len(texts) != len(paths):
        raise DataError(f"tgt_text has {len(texts)} entries, tgt_img_path has {len(paths)}")
    return [(f"{path}:{text}" if path else text, text, path) for text, path in zip(texts, paths, strict=True)]


def _content(places: Places, text: str, path: str) -> Row:
    content: Row = {"text": visible(text)}
    if path:
        content["image"] = places.reference("image", path)
    return content
