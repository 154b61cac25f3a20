"""Vector rows of Parquet by the column: a batch of Arrow's as a `Batch`, without an object a number or row.

Only rows that nothing is wrong or special with are taken this way. Where a column has another type than ours,
or some row would not pass the checks of its kind, `batch` gives None and the rows are read one by one, which
names the row and says what is wrong with it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlm2vec_cli.schemas.base import Origin, Row
from vlm2vec_cli.schemas.checks import MOST, PRECISIONS, ROLES
from vlm2vec_cli.schemas.vector import STORED, VECTOR
from vlm2vec_cli.streams import columns
from vlm2vec_cli.streams.batches import Batch

TYPES: Final = {one.name: one.type for one in VECTOR.fields if one.name != "embedding"}
DEFAULTS: Final = {one.name: one.default for one in VECTOR.fields if one.default is not None}
KEPT: Final = (np.int8, np.uint8)  # number types of fixed-size lists that stay what they are


def batch(
    found: pa.RecordBatch,
    origin: Origin,
    first: int,
    default_id: int,
    row: Callable[[int], Row],
) -> Batch | None:
    """The rows of `found` as a batch, or None where they are to be read one by one.

    `first` is the number of the first row in its file and `default_id` that among all rows; `row` makes
    everything of one row.
    """
    named = dict(zip(found.schema.names, found.columns, strict=True))
    of_run = _of_run(origin.metadata)
    if of_run is None or not len(found) or not _is_plain(found, named, tagged="schema" in origin.metadata):
        return None
    embeddings = _matrix(named["embedding"], of_run.get("precision"))
    if embeddings is None:
        return None

    def column(name: str) -> Sequence[Any]:
        values: Sequence[Any] = [None] * len(found)
        if name in named:
            values = _values(name, named[name])
        if name == "id":
            return [str(default_id + at) if one is None else one for at, one in enumerate(values)]
        default = of_run.get(name) if name in of_run else DEFAULTS.get(name)
        return values if default is None else [default if one is None else one for one in values]

    return Batch(origin, range(first, first + len(found)), embeddings, column, row)


def _of_run(metadata: Mapping[str, Any]) -> dict[str, str] | None:
    """The fields of every row that stand in the metadata; None where they are not what they should be."""
    tag = metadata.get("schema")
    found = {} if tag is None else {name: metadata[name] for name in VECTOR.file_fields if name in metadata}
    right = tag in (None, VECTOR.tag) and all(isinstance(one, str) for one in found.values())
    return found if right and found.get("precision", PRECISIONS[0]) in PRECISIONS else None


def _is_plain(found: pa.RecordBatch, named: Mapping[str, pa.Array], *, tagged: bool) -> bool:
    """Whether every field but the embedding passes the checks of a vector row as it stands."""
    if "embedding" not in named or len(named) != len(found.columns) or not named.keys().isdisjoint(_SPECIAL):
        return False
    if tagged and columns.EXTRA in named and named[columns.EXTRA].null_count < len(found):
        return False
    try:
        found.validate(full=True)  # texts are UTF-8
    except pa.ArrowInvalid:
        return False
    return all(
        _FITS[TYPES[name]](column) if name in TYPES else _is_simple(column.type)
        for name, column in named.items()
        if name != "embedding" and not pa.types.is_null(column.type)
    )


_SPECIAL: Final = ("schema", "precision")  # decide row by row what a row is


def _matrix(column: pa.Array, precision: str | None) -> NDArray[Any] | None:
    """The embeddings (N, D) as `checks.embedding` would leave each; without a copy where nothing changes."""
    kind = column.type
    fixed = pa.types.is_fixed_size_list(kind)
    if not (fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)) or column.null_count:
        return None
    flat = column.flatten()
    if flat.null_count or not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type)):
        return None
    dim = kind.list_size if fixed else len(flat) // len(column)
    if not dim or not (fixed or pc.all(pc.equal(pc.list_value_length(column), dim)).as_py()):
        return None
    matrix: NDArray[Any] = flat.to_numpy().reshape(len(column), dim)
    if not fixed or matrix.dtype not in KEPT:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite
            matrix = matrix.astype(np.float32, copy=False)
            squares = np.einsum("nd,nd->n", matrix, matrix)
        if not np.isfinite(squares).all():  # as it is not where a number of the row is not
            return None
    stored = STORED.get(precision or "")
    if stored is not None and matrix.dtype != stored:
        with np.errstate(invalid="ignore"):
            exact = matrix.astype(stored)
        return exact if (exact == matrix).all() else None
    return matrix


def _is_simple(kind: pa.DataType) -> bool:
    """Whether every value of the type is one in Python too, so that nobody need look unless asked."""
    if pa.types.is_list(kind):
        return _is_simple(kind.value_type)
    if pa.types.is_struct(kind):
        return len({one.name for one in kind}) == kind.num_fields and all(
            _is_simple(one.type) for one in kind
        )
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, _is_text, pa.types.is_binary)
    return any(of(kind) for of in known)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(column: pa.Array) -> bool:
    return _is_text(column.type)


def _names(column: pa.Array) -> bool:
    """Texts, none of them empty."""
    return _is_text(column.type) and not _some(pc.equal(pc.binary_length(column), 0))


def _roles(column: pa.Array) -> bool:
    return _is_text(column.type) and set(pc.unique(column).to_pylist()) <= {*ROLES, None}


def _counts(column: pa.Array) -> bool:
    if not pa.types.is_int64(column.type):
        return False
    least, most = pc.min_max(column).as_py().values()
    return least is None or 1 <= least <= most <= MOST


def _lists(column: pa.Array) -> bool:
    """Lists of texts, none of these empty or null."""
    if not pa.types.is_list(column.type):
        return False
    inside = column.flatten()
    return not inside.null_count and (not len(inside) or _names(inside))


def _references(column: pa.Array) -> bool:
    return _names(column) or _lists(column)


def _gains(column: pa.Array) -> bool:
    kind = column.type
    if not pa.types.is_map(kind) or not _is_text(kind.key_type) or not pa.types.is_floating(kind.item_type):
        return False
    if not len(column.items):
        return True
    positive = pc.and_(pc.is_finite(column.items), pc.greater(column.items, 0))
    keys = _listed(column.keys)
    unique = all(_cut(column, lambda low, high: len(set(keys[low:high])) == high - low, True))
    return not column.items.null_count and bool(pc.all(positive).as_py()) and unique


def _some(mask: pa.Array) -> bool:
    return bool(pc.any(mask).as_py())


_FITS: Final[dict[str, Callable[[pa.Array], bool]]] = {
    "string": _texts,
    "id": _names,
    "count": _counts,
    "role": _roles,
    "media": _references,
    "ids": _lists,
    "gains": _gains,
}


def _values(name: str, column: pa.Array) -> Sequence[Any]:
    """The column as rows would hold it."""
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return [None] * len(column)
    word = TYPES.get(name)
    if _is_text(column.type):
        found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return found
    if word == "gains":
        keys, items = _listed(column.keys), _listed(column.items)
        return _cut(column, lambda low, high: dict(zip(keys[low:high], items[low:high], strict=True)))
    if word in ("ids", "media"):
        texts = _listed(column.values)
        if word == "ids":
            return _cut(column, lambda low, high: texts[low:high])
        return _cut(column, lambda low, high: _media(texts[low:high]))
    return columns.values(name, column)


def _listed(column: pa.Array) -> list[Any]:
    found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return found


def _cut(column: pa.Array, made: Callable[[int, int], Any], null: Any = None) -> list[Any]:
    """What `made` makes of the first place of each row's entries and the one behind its last."""
    ends = column.offsets.to_numpy().tolist()
    there = column.is_valid().to_numpy(zero_copy_only=False).tolist()
    return [
        made(low, high) if valid else null
        for low, high, valid in zip(ends[:-1], ends[1:], there, strict=True)
    ]


def _media(references: list[str]) -> str | list[str] | None:
    return references[0] if len(references) == 1 else references or None
