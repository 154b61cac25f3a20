"""Vectors taken by the column are the rows that are read one by one."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vec_cli.errors import UserError
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.streams import Session, reading, vector_columns, write_file
from vlm2vec_cli.streams.batches import Batch

Row = dict[str, Any]
TEXT, TEXTS, GAINS = pa.string(), pa.list_(pa.string()), pa.map_(pa.string(), pa.float64())
ASKED = (*(one.name for one in VECTOR.fields if one.name != "embedding"), "mine", "never")


def column(values: st.SearchStrategy[Any], *kinds: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of a column, mostly null, and its type."""
    return st.tuples(
        st.lists(st.none() | st.none() | values, min_size=12, max_size=12), st.sampled_from(kinds)
    )


SOME = st.sampled_from(["a", "bb", "c c"])
COLUMNS = {
    "id": column(SOME, TEXT, pa.large_string())
    | column(st.sampled_from(["", "x"]), TEXT)
    | column(st.integers(0, 3), pa.int64()),
    "dataset": column(SOME, TEXT),
    "role": column(st.sampled_from(["query", "candidate"]), TEXT) | column(SOME, TEXT),
    "text": column(SOME, TEXT, pa.large_string(), pa.dictionary(pa.int8(), TEXT)),
    "image": column(st.lists(SOME, max_size=2), TEXTS) | column(SOME, TEXT),
    "video": column(st.lists(st.sampled_from(["", "v"]), max_size=2), TEXTS),
    "instruction": column(SOME, TEXT) | column(st.integers(0, 3), pa.int64()),
    "relevant": column(
        st.dictionaries(SOME, st.sampled_from([0.5, 2.0])).map(lambda one: [*one.items()]), GAINS
    )
    | column(st.lists(st.tuples(SOME, st.sampled_from([1.0, 0.0, float("nan")])), max_size=1), GAINS),
    "pool": column(st.lists(SOME, max_size=3), TEXTS) | column(st.lists(st.just(""), max_size=1), TEXTS),
    "num_frames": column(st.integers(0, 3), pa.int64()) | column(st.integers(1, 3), pa.int64(), pa.int32()),
    "modality": column(SOME, TEXT),
    "fingerprint": column(SOME, TEXT),
    "precision": column(st.sampled_from(["float32", "int8"]), TEXT),
    "mine": column(st.lists(st.integers(0, 3), max_size=2), pa.list_(pa.int64())) | column(SOME, TEXT),
    "_extra": column(st.sampled_from(['{"mine": [1], "text": "x"}', '{"model": "other"}']), TEXT),
}
NUMBERS = st.sampled_from([0, 1, 1, 2, -3])
EMBEDDINGS = st.sampled_from(
    [
        *(pa.list_(one, 3) for one in (pa.float32(), pa.float16(), pa.float64(), pa.int8(), pa.uint8())),
        *(pa.list_(one) for one in (pa.float32(), pa.float16(), pa.float64(), pa.int8(), pa.int64())),
    ]
)
METADATA = st.sampled_from(
    [
        None,
        {"schema": "vlm2vec/vector@1", "model": "m", "fingerprint": "f"},
        {"schema": "vlm2vec/vector@1", "precision": "int8"},
        {"schema": "vlm2vec/vector@1", "model": 3},
        {"schema": "vlm2vec/item@1"},
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Twelve rows whose columns may have any type and hold anything that Arrow holds."""
    rows = draw(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=12, max_size=12))
    kind = draw(EMBEDDINGS)
    odd = draw(st.sampled_from([None, None, None, "short", "null", "nan"]))
    if odd == "nan" and pa.types.is_floating(kind.value_type):
        rows[5] = [1, float("nan"), 1]
    elif odd == "null" or (odd == "short" and not pa.types.is_fixed_size_list(kind)):
        rows[7] = None if odd == "null" else [1, 2]
    if pa.types.is_unsigned_integer(kind.value_type):
        rows = [one and [abs(number) for number in one] for one in rows]
    if kind.value_type == pa.float16():
        rows = [one and [np.float16(number) for number in one] for one in rows]
    made = {"embedding": pa.array(rows, kind)}
    for name in draw(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True)):
        values, type_ = draw(COLUMNS[name])
        made[name] = (
            pa.array(values, TEXT).cast(type_) if pa.types.is_dictionary(type_) else pa.array(values, type_)
        )
    found = draw(METADATA)
    return pa.table(made).replace_schema_metadata(found and {"vlm2vec": json.dumps(found)})


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool((one == other).all())
    return bool(one == other) and type(one) is type(other)


@settings(max_examples=60)
@given(tables(), st.integers(1, 15), st.sampled_from([2, 5, 12]), st.sampled_from([None, 7]))
def test_batches_hold_the_rows_that_are_read_one_by_one(
    table: pa.Table, group: int, wide: int, limit: int | None
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "WIDE", wide)
        path = Path(name, "vectors.parquet")
        pq.write_table(table, path, row_group_size=group)
        found = []
        for by_column in (False, True):
            rejects = Path(name, f"{by_column}.jsonl")
            session = Session(
                [str(path)], on_error="skip", allow_rejects=99, rejects=str(rejects), limit=limit, quiet=True
            )
            error = None
            rows: list[tuple[str, Row, list[Any]]] = []
            try:
                with session:
                    if by_column:
                        rows += (one for batch in session.read_batches(VECTOR) for one in rows_of(batch))
                    else:
                        rows += (
                            (one.place, one.row, [one.row.get(name) for name in ASKED])
                            for one in session.read(VECTOR)
                        )
            except UserError as raised:
                error = str(raised)
            found.append((rows, error, rejects.read_bytes() if rejects.exists() else b""))
    (plain, *its), (taken, *others) = found
    assert its == others
    assert [place for place, _, _ in plain] == [place for place, _, _ in taken]
    for (_, row, values), (_, other, columns) in zip(plain, taken, strict=True):
        assert list(row) == list(other)
        assert [name for name in row if not same(row[name], other[name])] == []
        assert [name for name, *both in zip(ASKED, values, columns, strict=True) if not same(*both)] == []


def rows_of(batch: Batch) -> Iterator[tuple[str, Row, list[Any]]]:
    assert batch.embeddings is not None
    for at in range(len(batch)):
        row = batch.row(at)
        assert same(row["embedding"], batch.embeddings[at])
        yield batch.place(at), row, [batch.column(name)[at] for name in ASKED]


def test_what_embed_writes_is_taken_by_the_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(vector_columns.columns, "vectors")  # which reads rows one by one
    rows = [
        {"id": "q", "embedding": np.ones(4, np.float32), "relevant": {"c": 1.0}, "pool": ["c"], "mine": 1},
        {"id": "c", "role": "candidate", "embedding": np.ones(4, np.float32), "image": "a.png"},
    ]
    path = str(tmp_path / "vectors.parquet")
    for precision, kind in (
        ("float32", "float32"),
        ("float16", "float32"),
        ("int8", "int8"),
        ("binary", "uint8"),
    ):
        write_file(path, rows, VECTOR, {"model": "m", "fingerprint": "f", "precision": precision})
        with Session([path], quiet=True) as session:
            (batch,) = session.read_batches(VECTOR)
        assert batch.embeddings is not None
        assert batch.embeddings.dtype == kind
        assert batch.column("fingerprint") == ["f", "f"]
        assert batch.column("image") == [None, "a.png"]
        assert batch.column("relevant") == [{"c": 1.0}, None]
