"""The columns of rows in Parquet: their types, what fits them, and the values of an Arrow array.

A side of a pair is a struct of the content fields; whatever else it holds stands as JSON in the struct's own
`_extra`. References are always lists in Parquet; on reading, a list of one is the reference itself again.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from vlm2vec_cli.schemas.base import Row

EXTRA = "_extra"
EXACT = 1 << 53  # every integer up to here is a float64
INT, FLOAT = pa.int64(), pa.float64()
SCALARS = {str: pa.string(), float: FLOAT, bool: pa.bool_()}

_MEDIA = pa.list_(pa.string())
_CONTENT: dict[str, pa.DataType] = {
    "text": pa.string(),
    "image": _MEDIA,
    "video": _MEDIA,
    "instruction": pa.string(),
}
_NEGATIVE: dict[str, pa.DataType] = {
    **_CONTENT,
    "score": pa.float64(),
    "rank": pa.int64(),
    "source": pa.string(),
}
ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "id": pa.string(),
    "role": pa.string(),
    "precision": pa.string(),
    "integer": pa.int64(),
    "count": pa.int64(),
    "number": pa.float64(),
    "fraction": pa.float64(),
    "flag": pa.bool_(),
    "media": _MEDIA,
    "ids": pa.list_(pa.string()),
    "numbers": pa.list_(pa.float64()),
    "gains": pa.map_(pa.string(), pa.float64()),
    "fractions": pa.map_(pa.string(), pa.float64()),
    "values": pa.map_(pa.string(), pa.float64()),
    "counts": pa.map_(pa.string(), pa.map_(pa.string(), pa.float64())),
    "intervals": pa.map_(pa.string(), pa.list_(pa.float64())),
    "content": pa.struct([*_CONTENT.items(), (EXTRA, pa.string())]),
    "contents": pa.list_(pa.struct([*_NEGATIVE.items(), (EXTRA, pa.string())])),
}


def _media(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def _pairs(value: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(value.items())


def _struct(kinds: dict[str, pa.DataType]) -> Callable[[Row], Row]:
    def encode(side: Row) -> Row:
        encoded: Row = {}
        extra: Row = {}
        for name, value in side.items():
            if name in ("image", "video"):
                encoded[name] = _media(value)
            elif name in kinds and fits(value, kinds[name]):
                encoded[name] = value
            else:
                extra[name] = value
        if extra:
            encoded[EXTRA] = to_json(extra)
        return encoded

    return encode


_side = _struct(_CONTENT)
_negative = _struct(_NEGATIVE)

ENCODE: dict[str, Callable[[Any], Any]] = {
    "media": _media,
    "gains": _pairs,
    "fractions": _pairs,
    "values": _pairs,
    "counts": lambda value: [(name, _pairs(one)) for name, one in value.items()],
    "intervals": _pairs,
    "content": _side,
    "contents": lambda sides: [_negative(side) for side in sides],
}


def to_json(value: Any) -> str:
    """JSON of whatever a row may hold; TypeError for binary data."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """The Arrow array of one column; a column of vectors is built without a copy a number."""
    if pa.types.is_fixed_size_list(kind) and values:
        flat = np.concatenate([np.asarray(one) for one in values]).astype(kind.value_type.to_pandas_dtype())
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
    return pa.array(values, type=kind)


def size(value: Any) -> int:
    """About how many bytes a value takes."""
    if isinstance(value, dict):
        return 16 + sum(size(one) for one in value.values())
    if isinstance(value, list):
        return 16 + (
            sum(size(one) for one in value) if value and not isinstance(value[0], float) else 8 * len(value)
        )
    if isinstance(value, (str, bytes)):
        return 16 + len(value)
    return int(getattr(value, "nbytes", 16))


def infer_all(rows: Iterable[Row], skip: set[str]) -> dict[str, pa.DataType]:
    """The column type of every field that is not in `skip` and has one, in order of appearance."""
    found: dict[str, pa.DataType] = {}
    for row in rows:
        for name, value in row.items():
            if name in skip or not _nameable(name) or found.get(name, INT) != INT:
                continue
            kind = infer(value)
            if kind is not None and (name not in found or kind == FLOAT):
                found[name] = kind
    return found


def infer(value: Any) -> pa.DataType | None:
    """The column type that fits a value; None for null, {}, [], mixed lists and integers over 64 bits."""
    if type(value) in SCALARS:
        return SCALARS[type(value)]
    if isinstance(value, int):
        return INT if -(1 << 63) <= value < 1 << 63 else None
    if isinstance(value, list):
        kinds = {infer(one) for one in value}
        if kinds == {INT, FLOAT}:
            kinds = {FLOAT} if all(fits(one, FLOAT) for one in value) else set()
        kind = kinds.pop() if len(kinds) == 1 else None
        return None if kind is None else pa.list_(kind)
    if isinstance(value, dict):
        fields = {name: infer(one) for name, one in value.items() if _nameable(name)}
        whole = fields and len(fields) == len(value) and None not in fields.values()
        return pa.struct(list(fields.items())) if whole else None
    try:
        return None if value is None else pa.scalar(value).type
    except pa.ArrowException:
        return None


def _nameable(name: str) -> bool:
    return bool(name) and name.isprintable()


def fits(value: Any, kind: pa.DataType) -> bool:
    """Whether a value comes back equal from a column of this type."""
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(fits(one, kind.value_type) for one in value)
    if pa.types.is_struct(kind):
        return (
            isinstance(value, dict)
            and list(value) == [one.name for one in kind]
            and all(fits(value[one.name], one.type) for one in kind)
        )
    if kind == FLOAT and isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= EXACT
    return bool(infer(value) == kind)


def vectors(column: pa.Array) -> list[Any]:
    """A 1-D numpy array a row: float32, or int8 and uint8 as stored; None for null."""
    kind = column.type
    if not pa.types.is_fixed_size_list(kind) or column.null_count or column.values.null_count:
        fixed = pa.types.is_fixed_size_list(kind) and kind.value_type in (pa.int8(), pa.uint8())
        kept = kind.value_type.to_pandas_dtype() if fixed else None
        return [
            None if one is None else np.asarray(one, None if None in one else kept)
            for one in column.to_pylist()
        ]
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if flat.dtype not in (np.int8, np.uint8):
        flat = flat.astype(np.float32, copy=False)
    return list(flat.reshape(len(column), kind.list_size))


def values(name: str, column: pa.Array) -> list[Any]:
    """The values of the column `name` as JSON would hold them; the sides of a pair without nulls."""
    found: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    if name in ("query", "positive"):
        return [_side_of(one) for one in found]
    if name == "negatives":
        return [one and [_side_of(side) for side in one] for one in found]
    return found


def _side_of(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    side = {name: one for name, one in value.items() if one is not None}
    extra = side.pop(EXTRA, None)
    for name in ("image", "video"):
        if isinstance(side.get(name), list) and len(side[name]) == 1:
            side[name] = side[name][0]
    if extra is not None:
        side.update(orjson.loads(extra))
    return side
