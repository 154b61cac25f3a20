"""Training pairs of questions and document pages, the pages as bytes in Parquet: ColPali's set, VisRAG's.

A row holds `query` and `image`. The entry's `direction` says what is asked for: with `answer` (ColPali) page
and question ask for the text in `answer`; with `page` (VisRAG) the question asks for the page, and the row's
`source` chooses the prompts of both sides. VisRAG's texts keep the blanks of the reference: two behind a
query's prompt, which ends in one, and one at its end; two before the picture.
Source: the datasets vidore/colpali_train_set and openbmb/VisRAG-Ret-Train-In-domain-data, and VLM2Vec V2
(TIGER-AI-Lab/VLM2Vec), parsers vidore and visrag.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers import Found, Raw, Side
from vlm2vec_cli.readers._cells import Held, held, path_in, shallow
from vlm2vec_cli.readers._items import pairs
from vlm2vec_cli.readers._places import Find, Places
from vlm2vec_cli.readers._raw import found_in
from vlm2vec_cli.readers._rows import RawRow, annotations, rows
from vlm2vec_cli.readers._text import IMAGE, joined
from vlm2vec_cli.schemas.base import Row


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The pairs of one set."""
    kinds: dict[Path, Held] = {}
    places: Find = cache(partial(Places, raw))  # of each, what is listed is kept
    return pairs(entry, raw, _rows(entry, raw, kinds), partial(_pair, entry, raw, kinds, places))


def found(entry: Entry, raw: Raw) -> Found:
    """What of the dataset is there; pages stand in the annotations."""
    return found_in(partial(annotations, entry, raw))


def _rows(entry: Entry, raw: Raw, kinds: dict[Path, Held]) -> Iterator[RawRow]:
    """The rows of all files, without the pictures; how a file holds those goes into `kinds`."""
    other = "answer" if entry["direction"] == "answer" else "source"
    number = 0
    for path in annotations(entry, raw):
        found = held(path, ["image"])
        if "image" not in found:
            raise DataError("no column 'image'", place=str(path))
        kinds[path] = found["image"]
        for row in rows([path], ("query", other), raw, shallow(["image"], found)):
            number += 1
            yield replace(row, number=number)


def _pair(entry: Entry, raw: Raw, kinds: dict[Path, Held], places: Find, row: RawRow) -> Row:
    question, page = row.text("query"), _page(raw, row, kinds[row.path], places)
    if not question:
        raise DataError("query: the row has no text")
    if entry["direction"] == "answer":
        answer = row.text("answer")
        if not answer:
            raise DataError("answer: the row has no text")
        return {"query": {"text": joined(question, token=IMAGE), "image": page}, "positive": {"text": answer}}
    source = row.text("source")
    target = entry["target_prompts"].get(source)
    return {
        "query": {"text": joined(entry["query_prompts"].get(source, ""), question) + " "},
        "positive": {"text": f"{target}  {IMAGE}" if target else f" {IMAGE}", "image": page},
    }


def _page(raw: Raw, row: RawRow, kind: Held, places: Find) -> str:
    if kind == "bytes":
        return raw.references.of(row.path.parent, f"{row.path.name}!image[{row.index}]")
    path = path_in(row.values.get("image"))
    if path is None:
        raise DataError("image: the row has no page")
    return places((row.path.parent, row.path.parent.parent, raw.root)).reference("image", path)
