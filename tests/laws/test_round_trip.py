"""A row comes back from JSONL and from Parquet as it was, whatever unknown fields it carries."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_strategies import rows_of
from vlm2vec_cli.schemas import ITEM, KINDS, PAIR, RANKING, SCORE, VECTOR
from vlm2vec_cli.schemas.base import Kind
from vlm2vec_cli.streams import Session, write_file

FORMS = ("o.jsonl", "o.jsonl.gz", "o.jsonl.zst", "o.parquet")


def parsed(kind: Kind, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [kind.parse(row, str(number)) for number, row in enumerate(rows, start=1)]


def read(path: Path, kind: Kind) -> list[dict[str, Any]]:
    with Session([str(path)]) as session:
        return [record.row for record in session.read(kind)]


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with embeddings as lists, to compare them."""
    return [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_rows_come_back_as_they_were(kind: Kind, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")

    @given(rows_of(kind))
    def law(rows: list[dict[str, Any]]) -> None:
        before = parsed(kind, rows)
        expected = copy.deepcopy(plain(before))
        assert write_file(str(folder / name), before, kind) == len(rows)
        assert plain(read(folder / name, kind)) == expected

    law()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_same_rows_give_the_same_bytes(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")

    @given(rows_of(kind))
    def law(rows: list[dict[str, Any]]) -> None:
        rows = parsed(kind, rows)
        for name in FORMS:
            for copy_ in ("a", "b"):
                write_file(str(folder / f"{copy_}-{name}"), rows, kind)
            assert (folder / f"a-{name}").read_bytes() == (folder / f"b-{name}").read_bytes()

    law()


@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), rows_of(kind))))
def test_parsing_twice_changes_nothing(kind_and_rows: tuple[Kind, list[dict[str, Any]]]) -> None:
    kind, rows = kind_and_rows
    once = copy.deepcopy(plain(parsed(kind, rows)))
    assert plain(parsed(kind, rows)) == once


def test_unknown_fields_are_typed_columns(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "n": 1, "x": 0.5, "flag": True, "words": ["a"], "at": {"page": 1}, "odd": [1, "a"]},
        {"text": "b", "n": "one", "late": 2, "x": 3},
    ]
    write_file(str(tmp_path / "o.parquet"), parsed(ITEM, copy.deepcopy(rows)), ITEM)
    table = pq.read_table(tmp_path / "o.parquet")
    types = {name: str(table.schema.field(name).type) for name in ("n", "x", "flag", "words", "at")}
    assert types["n"] == "int64"
    assert types["x"] == "double"
    assert types["flag"] == "bool"
    assert types["words"].startswith("list<")
    assert types["at"] == "struct<page: int64>"
    assert "odd" not in table.column_names
    assert table["x"].to_pylist() == [0.5, 3.0]
    assert table["n"].to_pylist() == [1, None]  # what does not fit stands in _extra
    kept = [
        {name: row[name] for name in before}
        for before, row in zip(rows, read(tmp_path / "o.parquet", ITEM), strict=True)
    ]
    assert kept == rows


def test_what_is_equal_for_all_vectors_is_file_metadata(tmp_path: Path) -> None:
    rows = [{"id": str(n), "embedding": np.full(3, n, dtype=np.float32)} for n in range(3)]
    run = {"model": "m", "fingerprint": "f", "revision": "r", "precision": None}
    for name in FORMS:
        write_file(str(tmp_path / name), rows, VECTOR, run)
        assert [{key: row.get(key) for key in run} for row in read(tmp_path / name, VECTOR)] == [run] * 3
    schema = pq.read_schema(tmp_path / "o.parquet")
    assert str(schema.field("embedding").type).startswith("fixed_size_list<")
    assert "model" not in schema.names
    assert b'"fingerprint":"f"' in schema.metadata[b"vlm2vec"]
    again = read(tmp_path / "o.parquet", VECTOR)
    again[1]["fingerprint"] = "g"  # rows of two runs in one file keep their own
    write_file(str(tmp_path / "two.parquet"), again, VECTOR)
    assert [row["fingerprint"] for row in read(tmp_path / "two.parquet", VECTOR)] == ["f", "g", "f"]


@pytest.mark.parametrize(
    ("precision", "stored", "read_as"),
    [
        ("float32", "float", "float32"),
        ("float16", "halffloat", "float32"),
        ("int8", "int8", "int8"),
        ("binary", "uint8", "uint8"),
    ],
)
def test_precisions(tmp_path: Path, precision: str, stored: str, read_as: str) -> None:
    rows = [{"id": "a", "embedding": np.array([1, 2, 127], dtype=read_as), "precision": precision}]
    for name in FORMS:
        write_file(str(tmp_path / name), rows, VECTOR)
        (row,) = read(tmp_path / name, VECTOR)
        assert (row["embedding"].dtype, row["embedding"].tolist()) == (read_as, [1, 2, 127])
        assert row["precision"] == precision
    assert pq.read_schema(tmp_path / "o.parquet").field("embedding").type.value_type == pa.type_for_alias(
        stored
    )


def test_float32_survives_json_to_the_bit(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    write_file(str(tmp_path / "o.jsonl"), [{"id": "a", "embedding": numbers}], VECTOR)
    assert read(tmp_path / "o.jsonl", VECTOR)[0]["embedding"].tobytes() == numbers.tobytes()


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    many = [{"text": "a", "id": str(n)} for n in range(2500)]
    write_file(str(tmp_path / "many.parquet"), many, ITEM)
    wide = [{"text": "x" * (9 << 20), "id": str(n)} for n in range(5)]
    write_file(str(tmp_path / "wide.parquet"), wide, ITEM)
    for name, sizes in (("many", [1024, 1024, 452]), ("wide", [4, 1])):
        file = pq.ParquetFile(tmp_path / f"{name}.parquet").metadata
        assert [file.row_group(n).num_rows for n in range(file.num_row_groups)] == sizes
    assert [row["id"] for row in read(tmp_path / "many.parquet", ITEM)] == [row["id"] for row in many]


def test_other_tools_parquet_is_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None], pa.large_string()),
            "image": pa.array([None, ["b.jpg"]]),
            "id": pa.array([1, 2]),
            "relevant": pa.array([[("c", 1.0)], None], pa.map_(pa.string(), pa.float64())),
            "score": pa.array([math.nan, 1.0]),
        }
    )
    pq.write_table(table, tmp_path / "theirs.parquet")
    first, second = read(tmp_path / "theirs.parquet", ITEM)
    assert (first["id"], first["text"], first["relevant"]) == ("1", "a", {"c": 1.0})
    assert (second["id"], second["image"], "text" in second) == ("2", "b.jpg", False)


@pytest.mark.parametrize("kind", [PAIR, RANKING, SCORE, ITEM], ids=lambda kind: kind.name)
def test_duckdb_reads_our_parquet_and_we_read_what_it_writes(kind: Kind, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    golden = Path(__file__).parents[1] / "golden" / f"{kind.name}@1.jsonl"
    rows = read(golden, kind)
    write_file(str(tmp_path / "ours.parquet"), rows, kind)
    duckdb.sql(f"COPY (FROM '{tmp_path}/ours.parquet') TO '{tmp_path}/theirs.parquet'")
    theirs = read(tmp_path / "theirs.parquet", kind)
    known = [one.name for one in kind.fields]
    assert [[row.get(name) for name in known] for row in theirs] == [
        [row.get(name) for name in known] for row in rows
    ]
