"""Vectors taken by the column are the rows that are read one by one, and their errors are the same."""

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

import mining_run
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.scoring import Request, score
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


def vector(draw: st.DrawFn, number: int) -> Row:
    role = draw(st.sampled_from(["query", "candidate"]))
    row: Row = {"id": f"{role}{number}", "role": role, "text": f"{role} {number % 5}"}
    row["embedding"] = [float(draw(st.integers(-3, 3))) or 0.5 for _ in range(3)]
    if role == "query":
        row["relevant"] = {f"candidate{one}": 1.0 for one in draw(st.sets(st.integers(0, 9), max_size=2))}
    odd = draw(st.sampled_from([None] * 40 + ["zero", "twice", "pool", "gain", "maker", "dataset", "role"]))
    if odd == "zero":
        row["embedding"] = [0.0, 0.0, 0.0]
    elif odd == "twice":
        row["id"] = f"{role}0"
    elif odd == "pool":
        row["pool"] = []
    elif odd == "gain":
        row["relevant"] = {"candidate0": -1.0}
    elif odd == "maker":
        row["fingerprint"] = "other"
    elif odd in ("dataset", "role"):
        row[odd] = "other"
    return row


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    rows = [
        {"id": f"candidate{at}", "role": "candidate", "text": f"c{at}", "embedding": [1.0, at, -1.0]}
        for at in range(10)
    ]
    rows.append(
        {"id": "q", "role": "query", "text": "q", "embedding": [1.0, 2.0, 3.0], "relevant": {"candidate3": 1}}
    )
    drawn = [vector(draw, number) for number in range(10, 10 + draw(st.integers(0, 20)))]
    return rows + drawn if draw(st.booleans()) else drawn + rows


def as_parquet(rows: list[Row], path: Path) -> None:
    """The same rows, checked by nobody; what one of them lacks is null."""
    order = dict.fromkeys(name for row in rows for name in row)
    kinds = {"relevant": GAINS, "pool": TEXTS, "embedding": pa.list_(pa.float32(), 3)}
    arrays = {}
    for name in order:
        values = [row.get(name) for row in rows]
        if name == "relevant":
            values = [one and [*one.items()] for one in values]
        arrays[name] = pa.array(values, kinds.get(name, TEXT))
    pq.write_table(pa.table(arrays), path)


@settings(max_examples=40)
@given(streams(), st.sampled_from(["fail", "skip"]))
def test_a_score_and_its_errors_are_those_of_the_same_rows_as_json(rows: list[Row], on_error: str) -> None:
    found = []
    with tempfile.TemporaryDirectory() as name:
        lines, columns = Path(name, "v.jsonl"), Path(name, "v.parquet")
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        as_parquet(rows, columns)
        for path in (lines, columns):
            rejects = Path(name, "rejects.jsonl")
            options: Row = {"rejects": str(rejects), "allow_rejects": 99} if on_error == "skip" else {}
            said: list[Any] = []
            try:
                with Session([str(path)], on_error=on_error, quiet=True, **options) as session:
                    said += score(session, Request(bootstrap=0), has_inputs=True)
            except UserError as error:
                said.append(str(error))
            if on_error == "skip":
                entries = map(json.loads, rejects.read_text().splitlines() if rejects.exists() else ())
                said += [(one["place"], one["code"], one["reason"]) for one in entries]
            found.append(
                json.loads(json.dumps(said).replace(f"{path} row", f"{lines} line").replace(str(path), "v"))
            )
    assert found[0] == json.loads(json.dumps(found[1]).replace(str(lines), "v")) or found[0] == found[1]


@pytest.mark.parametrize("corpus", [False, True])
@pytest.mark.parametrize("odd", [None, "zero", "twice", "maker", "dimension"])
def test_mined_bytes_and_errors_are_those_of_the_same_rows_as_json(
    tmp_path: Path, corpus: bool, odd: str | None
) -> None:
    rng = np.random.default_rng(5)
    pairs = [{"id": str(at), "query": {"text": f"q{at}"}, "positive": {"text": f"t{at}"}} for at in range(40)]
    rows: list[Row] = []
    for role, letter in (("query", "q"), ("candidate", "t")):
        for at in range(40):
            embedding = rng.standard_normal(4).astype(np.float32).tolist()
            rows.append(
                {"id": f"{letter}{at}", "role": role, "text": f"{letter}{at}", "embedding": embedding}
            )
    change: dict[str | None, Row] = {
        "zero": {"embedding": [0.0] * 4},
        "twice": {"text": "t3"},
        "maker": {"fingerprint": "other"},
        "dimension": {"embedding": [1.0] * 5},
    }
    rows[51] |= change.get(odd, {})
    found = []
    for form in ("jsonl", "parquet"):
        if odd == "dimension" and form == "parquet":  # which has one dimension a column of ours
            kind = pa.list_(pa.float32())
            table = pa.Table.from_pylist(rows).cast(
                pa.schema([(name, kind if name == "embedding" else TEXT) for name in rows[0]])
            )
            pq.write_table(
                table.replace_schema_metadata({"vlm2vec": '{"schema": "vlm2vec/vector@1"}'}),
                tmp_path / "v.parquet",
            )
        else:
            write_file(str(tmp_path / f"v.{form}"), rows, VECTOR)
        files: dict[str, list[Row]] = {}
        options = {"vectors": f"v.{form}", "num_negatives": 2, "allow_mixed": False}
        if corpus:
            options["corpus"] = f"v.{form}"
        try:
            mined, facts = mining_run.run(pairs, options, files, folder=tmp_path, skip=True)
            said: Any = (mined, facts)
        except UserError as error:
            said = str(error)
        found.append(
            json.dumps(said, default=str)
            .replace("v.parquet row", "v.jsonl line")
            .replace("v.parquet", "v.jsonl")
        )
    assert found[0] == found[1]
