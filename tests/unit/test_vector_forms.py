"""What becomes of vectors, and their errors, is the same for Parquet, taken by the column, and JSON lines."""

import json
import tempfile
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
from vlm2vec_cli.streams import Session, write_file

Row = dict[str, Any]
TEXT, TEXTS, GAINS = pa.string(), pa.list_(pa.string()), pa.map_(pa.string(), pa.float64())


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
