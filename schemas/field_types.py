"""The closed set of types a field can have: its name in words, its check, its JSON Schema."""

from collections.abc import Callable
from typing import Any, NamedTuple

from vlm2vec_cli.schemas.checks import (
    MOST,
    PRECISIONS,
    ROLES,
    Json,
    content,
    count,
    embedding,
    flag,
    fraction,
    gain,
    identifier,
    integer,
    interval,
    list_of,
    map_of,
    media,
    number,
    one_of,
    string,
)


class Type(NamedTuple):
    """One type word: what a value of it is called, the check, the schema."""

    words: str
    normalise: Callable[[Any], Any]
    json_schema: Callable[[], Json]


def _json(**keys: Any) -> Callable[[], Json]:
    return lambda: dict(keys)


REFERENCE = {"type": "string", "minLength": 1}
MEDIA = {"oneOf": [REFERENCE, {"type": "array", "items": REFERENCE}]}
ID = {"type": ["string", "integer"]}
UNIT = {"type": "number", "minimum": 0, "maximum": 1}
STRING = {"type": "string"}
COUNT = {"type": "integer", "minimum": 1, "maximum": MOST}
PARTS = {"text": STRING, "image": MEDIA, "video": MEDIA, "instruction": STRING, "num_frames": COUNT}
SIDE = {
    "type": "object",
    "properties": PARTS,
    "anyOf": [{"required": ["text"]}, {"required": ["image"]}, {"required": ["video"]}],
    "additionalProperties": True,
}
PAIR_OF_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}

TYPES: dict[str, Type] = {
    "string": Type("a string", string, _json(**STRING)),
    "id": Type("a string or an integer", identifier, _json(**ID)),
    "role": Type("'query' or 'candidate'", one_of(*ROLES), _json(enum=list(ROLES))),
    "precision": Type("a precision", one_of(*PRECISIONS), _json(enum=list(PRECISIONS))),
    "integer": Type("an integer", integer, _json(type="integer", minimum=0)),
    "count": Type("an integer above 0", count, _json(**COUNT)),
    "number": Type("a number", number, _json(type="number")),
    "fraction": Type("a number from 0 to 1", fraction, _json(**UNIT)),
    "media": Type("a media reference or a list of them", media, _json(**MEDIA)),
    "ids": Type("a list of ids", list_of(identifier, "a list of ids"), _json(type="array", items=ID)),
    "numbers": Type(
        "a list of numbers",
        list_of(number, "a list of numbers"),
        _json(type="array", items={"type": "number"}),
    ),
    "gains": Type(
        "an object of gains",
        map_of(gain, "an object of gains"),
        _json(type="object", additionalProperties={"type": "number", "exclusiveMinimum": 0}),
    ),
    "fractions": Type(
        "an object of numbers",
        map_of(fraction, "an object of numbers"),
        _json(type="object", additionalProperties=UNIT),
    ),
    "values": Type(
        "an object of numbers",
        map_of(number, "an object of numbers"),
        _json(type="object", additionalProperties={"type": "number"}),
    ),
    "counts": Type(
        "an object of objects of numbers",
        map_of(map_of(number, "an object of numbers"), "an object of objects of numbers"),
        _json(type="object", additionalProperties={"type": "object"}),
    ),
    "flag": Type("true or false", flag, _json(type="boolean")),
    "intervals": Type(
        "an object of [low, high]",
        map_of(interval, "an object of [low, high]"),
        _json(type="object", additionalProperties=PAIR_OF_NUMBERS),
    ),
    "content": Type("an object with text, image or video", content, _json(**SIDE)),
    "contents": Type(
        "a list of objects with text, image or video",
        list_of(content, "a list of objects with text, image or video"),
        _json(type="array", items=SIDE),
    ),
    "embedding": Type(
        "a list of numbers", embedding, _json(type="array", items={"type": "number"}, minItems=1)
    ),
}
