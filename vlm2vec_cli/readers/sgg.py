"""Scene graphs: relations between boxed objects of a picture, as training pairs or as evaluation items.

Training files hold a relation an entry, `image_path`, `subject` and `object` with `class_name` and `bbox`,
`predicate`; evaluation files a picture an entry, with its `objects` and `relations`. Both are JSON, lists or
lines. A pair asks for the sentence of its predicate; `positive_ids` names every predicate that is right for
the same two objects. As items, each ordered pair of two objects of a picture is a query, `relevant` its
predicates (none for most), and each predicate of the vocabulary a candidate. Queries carry `image_id`,
`subject_id`, `object_id`, `subject` and `object`; candidates carry `novel`.

An entry's `dataset_name` is not read: the dataset is the run's.

Boxes are pixels of the picture as it is stored, whose size is taken from its header; they become thousandths.
Memory: the predicates of every pair of a training file.
Source: the scene-graph fork of VLM2Vec (doddodod/VLM2Vec); Xu et al. 2017 for the split VG150.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

from vlm2vec_cli import catalogue
from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.media import MediaPolicy, MediaReader
from vlm2vec_cli.readers import Raw, Side
from vlm2vec_cli.readers._items import candidates, pairs, query
from vlm2vec_cli.readers._json import elements, first
from vlm2vec_cli.readers._packed import besides
from vlm2vec_cli.readers._places import Places
from vlm2vec_cli.readers._rows import RawRow
from vlm2vec_cli.readers._text import IMAGE, joined
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.streams import read_lines

PROMPTS = {
    "training": "In the given image, the subject {subject} is located at {subject_box}, the object {object} "
    "is located at {object_box}. Please return the predicate relationship between the subject and the "
    "object.",
    "evaluation": "In the given image, the subject {subject} is located at {subject_box},the object{object} "
    "is located at {object_box}.Please describe the predicate relationship between the subject and the "
    "object as the subject is *predicate* the object.",
}
"""What is asked. The published evaluation asks in other words than the training, blanks missing included."""

NO_RELATION = "no relation"
IMAGE_NAMES = ("image_path", "img_path", "image")
PREDICATE_NAMES = ("predicate", "relation")
SIDES = {"subject": ("objectA", "bbox1"), "object": ("objectB", "bbox2")}
"""A side's name where it has none, and its box where it is not in the side."""

MOST = 999
"""The largest coordinate."""


def kind(entry: Entry) -> Kind:
    """Pairs for a file of relations, items for one of whole pictures, as its first entry says."""
    kinds = {path: ITEM if "objects" in (first(path) or {}) else PAIR for path in entry["paths"]}
    if len(set(kinds.values())) > 1:
        raise UsageError("a training and an evaluation file do not become one stream", hint="one run each")
    return next(iter(kinds.values()))


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The pairs of training files; the queries or the candidates of evaluation files."""
    pictures = Pictures(raw)
    if side == "pair":
        known = _known(entry, raw)
        return pairs(entry, raw, _samples(entry, raw), partial(_pair, entry, pictures, known))
    if side == "query":
        return _queries(entry, raw, pictures)
    words, novel = vocabulary(entry)
    source = [RawRow({"predicate": one}, Path(), at, at + 1) for at, one in enumerate(words)]
    return candidates(entry, raw, source, partial(_offers, novel))


def vocabulary(entry: Entry) -> tuple[list[str], list[str]]:
    """The predicates in order, and the novel ones: of a file of names and commas, or VG150's."""
    words, novel = catalogue.predicates()
    if path := entry.get("predicates"):
        words = [one.strip() for _, line in read_lines(path) for one in line.split(",") if one.strip()]
        if not words or len(set(words)) < len(words):
            raise DataError("expected different predicates, separated by commas", place=path)
    return [*words, NO_RELATION] if entry["no_relation"] else words, novel


class Pictures:
    """References of pictures, under the root, and their sizes."""

    def __init__(self, raw: Raw) -> None:
        tops = [raw.root, *sorted(one for one in raw.root.iterdir() if one.is_dir())]
        self._places = Places(raw, tops, besides(raw.root, [raw.root / "VG150", raw.root / "images"]))
        self._media, self._root = MediaReader(MediaPolicy(trust_paths=True)), raw.references.root
        self._last: tuple[str, tuple[int, int]] | None = None

    def find(self, values: Mapping[str, Any]) -> tuple[str, tuple[int, int]]:
        """The reference of a row's picture, its width and height. UserError for one that is not there."""
        path = next((values[one] for one in IMAGE_NAMES if values.get(one)), None)
        if not isinstance(path, str):
            raise DataError("image_path: the row has no picture")
        reference = self._places.reference("image", path)
        if self._last is None or self._last[0] != reference:
            self._last = reference, self._media.size(reference, self._root)
        return self._last


def box_text(box: object, size: tuple[int, int]) -> str:
    """A box in pixels as tokens of thousandths; "" for no box.

    >>> box_text([32, 0, 16, 48], (64, 48))
    '<|box_start|>(250, 0), (500, 999)<|box_end|>'
    """
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(one, int | float) for one in box):
        return ""
    ends = []
    for low, high, side in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        one, other = sorted(min(max(int(place / side * 1000), 0), MOST) for place in (low, high))
        ends.append((one, min(other + 1, MOST) if one == other else other))
    (left, right), (top, bottom) = ends
    return f"<|box_start|>({left}, {top}), ({right}, {bottom})<|box_end|>"


def prompt(entry: Entry, size: tuple[int, int], subject: tuple[str, Any], object_: tuple[str, Any]) -> str:
    """The query's text; a side is its class name and its box."""
    given: dict[str, str] = {}
    for name, (label, box) in (("subject", subject), ("object", object_)):
        text = box_text(box, size)
        if not text:
            raise DataError(f"{name}: expected a box of four numbers, got {box!r}")
        given |= {name: f"<|object_ref_start|>{label}<|object_ref_end|>", f"{name}_box": text}
    return joined(PROMPTS[entry.get("prompt", "training")].format(**given), token=IMAGE)


def sentence(predicate: str) -> str:
    """What a predicate is embedded as.

    >>> sentence("on")
    'The subject is on the object.'
    """
    return f"The subject is {predicate} the object."


def _offers(novel: list[str], row: RawRow) -> Iterator[tuple[str, Any]]:
    name = row.values["predicate"]
    yield name, lambda: {"text": sentence(name), "novel": name in novel}


def _samples(entry: Entry, raw: Raw) -> Iterator[RawRow]:
    number = 0
    for path in entry["paths"]:
        for row in elements(path, raw):
            number += 1
            yield RawRow(row.values, row.path, row.index, number)


def _sides(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Class name and box of subject and object."""
    found = []
    for name, (usual, other) in SIDES.items():
        side = values.get(name)
        side = side if isinstance(side, Mapping) else {}
        found.append((side.get("class_name") or usual, side.get("bbox", values.get(other))))
    return found


def _predicate(values: Mapping[str, Any]) -> str:
    found = next((values[one] for one in PREDICATE_NAMES if values.get(one)), None)
    if not isinstance(found, str):
        raise DataError("predicate: the row has none")
    return found


def _key(values: Mapping[str, Any]) -> str:
    """Equal for samples of the same two objects of a picture."""
    picture = values.get("image_id", next((values[one] for one in IMAGE_NAMES if values.get(one)), None))
    return f"{picture} {_sides(values)}"


def _known(entry: Entry, raw: Raw) -> dict[str, list[str]]:
    """The predicates of every pair of objects, in order, each once."""
    found: dict[str, list[str]] = {}
    for row in _samples(entry, raw):
        try:
            predicate = _predicate(row.values)
        except UserError:
            continue  # said when the row itself is read
        right = found.setdefault(_key(row.values), [])
        if predicate not in right:
            right.append(predicate)
    return found


def _pair(entry: Entry, pictures: Pictures, known: Mapping[str, list[str]], row: RawRow) -> Row:
    values, predicate = row.values, _predicate(row.values)
    reference, size = pictures.find(values)
    subject, object_ = _sides(values)
    pair: Row = {
        "query": {"text": prompt(entry, size, subject, object_), "image": reference},
        "positive": {"text": sentence(predicate), "id": predicate},
        "positive_ids": known[_key(values)],
    }
    return {"id": str(values.get("id", row.number)), **pair}


def _queries(entry: Entry, raw: Raw, pictures: Pictures) -> Iterator[Row]:
    words = set(vocabulary(entry)[0])
    for row in _samples(entry, raw):
        try:
            made = list(_picture(entry, raw, pictures, words, row))
        except UserError as error:
            raw.reject(error.at(row.place))
            continue
        yield from made


def _picture(entry: Entry, raw: Raw, pictures: Pictures, words: set[str], row: RawRow) -> Iterator[Row]:
    """A query for each ordered pair of the picture's objects."""
    reference, size = pictures.find(row.values)
    picture = str(row.values.get("image_id", row.number))
    objects = {str(one["id"]): one for one in _listed(row, "objects", ("id", "class_name", "bbox"))}
    right: dict[tuple[str, str], dict[str, float]] = {}
    for one in _listed(row, "relations", ("subject_id", "predicate", "object_id")):
        subject, object_ = str(one["subject_id"]), str(one["object_id"])
        if one["predicate"] not in words:
            raise DataError(f"relations: the predicate {one['predicate']!r} is not in the vocabulary")
        if subject not in objects or object_ not in objects:
            raise DataError(f"relations: no object {subject if subject not in objects else object_}")
        right.setdefault((subject, object_), {})[one["predicate"]] = 1.0
    for subject, object_ in permutations(objects, 2):
        sides = [(objects[one]["class_name"], objects[one]["bbox"]) for one in (subject, object_)]
        content = {"text": prompt(entry, size, *sides), "image": reference}
        made = query(entry, raw, f"{picture}:{subject}:{object_}", content, right.get((subject, object_), {}))
        facts = {"modality": "image", "task_type": "predicate classification"}
        pair = {"subject_id": subject, "object_id": object_, "subject": sides[0][0], "object": sides[1][0]}
        yield {**made, **facts, "image_id": picture, **pair}


def _listed(row: RawRow, name: str, fields: tuple[str, ...]) -> list[Mapping[str, Any]]:
    found = row.values.get(name)
    if not isinstance(found, list) or not all(
        isinstance(one, Mapping) and all(field in one for field in fields) for one in found
    ):
        raise DataError(f"{name}: expected a list of objects with {', '.join(fields)}")
    return found
