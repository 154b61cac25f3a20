"""The 36 image tasks: rows of `ziyjiang/MMEB_Test_Instruct`, pictures of `TIGER-Lab/MMEB-V2`.

A row holds `qry_inst`, `qry_text`, `qry_img_path`, `tgt_inst` and the lists `tgt_text`, `tgt_img_path` with
the right answer first. The five parsers differ in how texts are put together and in what names a candidate:
its text where candidates are texts; its picture's path; or path and caption, where several candidates share a
picture.
Source: VLM2Vec V2 (TIGER-AI-Lab/VLM2Vec, src/data/eval_dataset),
parsers image_cls, image_qa, image_i2t, image_t2i, image_i2i_vg.
"""

from collections.abc import Iterator
from functools import partial

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._items import Offer, candidates, queries, query, text_offers
from vlm2vec_cli.readers._media import picture_places
from vlm2vec_cli.readers._places import Places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import IMAGE, joined, visible, without_token
from vlm2vec_cli.schemas.base import Row

QUERY_COLUMNS = ("qry_inst", "qry_text", "qry_img_path", "tgt_text", "tgt_img_path")
CANDIDATE_COLUMNS = ("tgt_inst", "tgt_text", "tgt_img_path")
TEXT_CANDIDATES = ("image_cls", "image_qa", "image_i2t")


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The queries or candidates of one image task."""
    files, places = annotations(entry, raw), picture_places(entry, raw)
    if side == "query":
        return queries(raw, rows(files, QUERY_COLUMNS, raw), partial(_query, entry, raw, places))
    source = rows(files, CANDIDATE_COLUMNS, raw)
    return candidates(entry, raw, source, partial(_offers, entry, raw, places))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there."""
    return found_in(partial(annotations, entry, raw), media=picture_places(entry, raw).missing())


def _query(entry: Entry, raw: Raw, places: Places, row: RawRow) -> Row:
    keys = _keys(entry, row)
    instruction = row.text("qry_inst") if raw.instructions else ""
    content: Row = {"text": query_text(entry, instruction, row.text("qry_text"))}
    if entry["parser"] != "image_t2i":
        path = row.text("qry_img_path")
        if not path:
            raise DataError("qry_img_path: the query has no picture")
        content["image"] = places.reference("image", path)
    return query(entry, raw, str(row.number), content, keys[:1], keys)


def query_text(entry: Entry, instruction: str, text: str) -> str:
    """What the model sees of a query.

    Text-to-image queries keep the picture token that their instruction may hold, without a picture: so do
    those of WebQA, and the token is then embedded like a word. The others have token, newline, instruction.
    """
    if entry["parser"] == "image_t2i":
        prompt = joined(visible(instruction), text)
    else:
        bare = without_token(instruction)
        if entry["parser"] in ("image_qa", "image_i2i_vg") and bare:
            bare = "\n" + bare.strip()
        prompt = joined(bare, text, IMAGE)
    end: str = entry.get("query_end", "\n")
    return prompt.replace(" \n", "\n") + end


def _offers(entry: Entry, raw: Raw, places: Places, row: RawRow) -> Iterator[Offer]:
    keys, texts = _keys(entry, row), row.texts("tgt_text")
    if entry["parser"] in TEXT_CANDIDATES:
        yield from text_offers(keys)
        return
    instruction = row.text("tgt_inst") if raw.instructions else ""
    captioned = bool(texts[0].strip())
    for key, text, path in zip(keys, texts, row.texts("tgt_img_path"), strict=True):
        yield key, partial(_picture, entry, places, instruction, text if captioned else None, path)


def _picture(entry: Entry, places: Places, instruction: str, caption: str | None, path: str) -> Row:
    return {"text": candidate_text(entry, instruction, caption), "image": places.reference("image", path)}


def candidate_text(entry: Entry, instruction: str, caption: str | None) -> str:
    """What the model sees of a picture candidate beside the picture; `caption` is None for uncaptioned rows.

    Only text-to-image ends uncaptioned candidates with a newline.
    """
    text = joined(without_token(instruction), caption or "", IMAGE).replace(" \n", "\n")
    return text if caption is None and entry["parser"] == "image_i2i_vg" else text + "\n"


def _keys(entry: Entry, row: RawRow) -> list[str]:
    """The names of the row's candidates, the right one first."""
    texts = row.texts("tgt_text")
    if not texts:
        raise DataError("tgt_text: the row has no candidates")
    if entry["parser"] in TEXT_CANDIDATES:
        return texts
    paths = row.texts("tgt_img_path")
    if len(texts) != len(paths):
        raise DataError(f"tgt_text has {len(texts)} entries, tgt_img_path has {len(paths)}")
    if entry["parser"] == "image_t2i":
        return paths
    return [f"{path}:{text}" for path, text in zip(paths, (one.strip('"') for one in texts), strict=True)]
