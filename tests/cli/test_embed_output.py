"""What `vlm2vec embed` writes, and that other tools read it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import golden
from embed_items import EXPECTED, IDS, jsonl, rows, texts, tiny, vectors
from runner import Done, Runner
from vlm2vec_cli import streams
from vlm2vec_cli.schemas.vector import VECTOR
from warm import Warm

PEAK = """
import re, runpy, sys
try:
    runpy.run_module("vlm2vec_cli", run_name="__main__", alter_sys=True)
finally:
    print(re.search("VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def test_parquet_is_what_other_tools_read(warm: Warm, tmp_path: Path) -> None:
    duckdb, polars, faiss = map(pytest.importorskip, ("duckdb", "polars", "faiss"))
    warm.write("rows.jsonl", [{**row, "colour": "red", "size": 3} for row in rows(IDS[:3])])
    done = warm("embed", "rows.jsonl", "-m", golden.MODEL, "--dtype", "float32", "-o", "v.parquet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    path = tmp_path / "v.parquet"
    frame = polars.read_parquet(path)
    assert frame["id"].to_list() == IDS[:3]
    assert frame["colour"].to_list() == ["red"] * 3
    assert np.abs(frame["embedding"].to_numpy() - np.stack([EXPECTED[name] for name in IDS[:3]])).max() < 2e-5
    index = faiss.IndexFlatIP(64)
    index.add(frame["embedding"].to_numpy())
    assert index.search(frame["embedding"].to_numpy(), 1)[1].ravel().tolist() == [0, 1, 2]
    found = duckdb.sql(f"select id, size, list_inner_product(embedding, embedding) from '{path}'").fetchall()
    assert [(name, size) for name, size, _ in found] == [(name, 3) for name in IDS[:3]]
    assert [norm for *_, norm in found] == pytest.approx([1, 1, 1])
    facts = json.loads(pq.read_schema(path).metadata[b"vlm2vec"])
    assert facts["schema"] == "vlm2vec/vector@1"
    assert facts["model"] == str(golden.MODEL)
    assert (facts["dim"], facts["precision"], facts["normalize"]) == (64, "float32", True)
    assert len(facts["fingerprint"]) == 16


def test_small_vectors_in_duckdb_polars_and_numpy(warm: Warm, tmp_path: Path) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    whole = np.stack([*vectors(tiny(warm, texts())).values()])
    cosine = whole @ whole[0]
    for precision, tolerance in (("float16", 1e-3), ("int8", 5e-3)):
        path = tmp_path / f"{precision}.parquet"
        tiny(warm, texts(), "--precision", precision, "-o", path)
        query = f"(select embedding::float[] from '{path}' where id = '1')"
        found = duckdb.sql(
            f"select list_cosine_similarity(embedding::float[], {query}) from '{path}' order by id"
        ).fetchall()
        assert np.abs(np.array(found)[:, 0] - cosine).max() <= tolerance
        numbers = polars.read_parquet(path)["embedding"].to_numpy().astype(np.float32)
        numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
        assert np.abs(numbers @ numbers[0] - cosine).max() <= tolerance
        facts = json.loads(pq.read_schema(path).metadata[b"vlm2vec"])
        assert ("max(abs(x))" in facts.get("calibration", "")) == (precision == "int8")
    path = tmp_path / "binary.parquet"
    tiny(warm, texts(), "--precision", "binary", "-o", path)
    bits = np.unpackbits(polars.read_parquet(path)["embedding"].to_numpy(), axis=1)
    assert np.array_equal(bits, whole > 0)


def test_parquet_and_jsonl_hold_the_same_rows(warm: Warm, tmp_path: Path) -> None:
    stdin = texts(
        {"id": "x", "text": "a", "colour": {"name": "red"}, "relevant": {"b": 1}, "pool": ["b", "b"]}
    )
    whole = warm("embed", "-m", golden.MODEL, "--dtype", "float32", stdin=stdin)
    (tmp_path / "v.parquet").write_bytes(whole.stdout)
    (tmp_path / "v.jsonl").write_bytes(tiny(warm, stdin).stdout)
    found = []
    for name in ("v.parquet", "v.jsonl"):
        with streams.Session([str(tmp_path / name)]) as session:
            found.append([record.row for record in session.read(VECTOR)])
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one.pop("embedding"), other.pop("embedding"))
        assert one == other
    assert [row["id"] for row in found[0]] == ["1", "2", "3", "4", "x"]
    assert found[0][4]["colour"] == {"name": "red"}


def test_parts_whose_rows_have_other_fields_are_read_as_one(warm: Warm, tmp_path: Path) -> None:
    """As the README says: the first part has no colour, the third none of its rows."""
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    rows = [{"text": "a"}, {"text": "b", "colour": "red"}, {"image": "nowhere.png"}, {"text": "d", "size": 3}]
    options = ("--part-rows", "1", "--on-error", "skip", "--allow-rejects", "1", "-o", "parts/")
    assert parquet(warm, jsonl(rows), *options).exit_code == 0
    paths = f"{tmp_path}/parts/*.parquet"
    query = f"select id, colour, size from read_parquet('{paths}', union_by_name = true) order by id"
    expected = [("1", None, None), ("2", "red", None), ("4", None, 3)]
    assert duckdb.sql(query).fetchall() == expected
    frames = [polars.read_parquet(path) for path in sorted((tmp_path / "parts").glob("*.parquet"))]
    frame = polars.concat(frames, how="diagonal")
    assert frame.select("id", "colour", "size").rows() == expected
    assert frame["embedding"].to_numpy().shape == (3, 64)


@pytest.mark.parametrize(
    ("precision", "kind"), [("float32", "float>[64]"), ("float16", "halffloat>[64]"), ("binary", "uint8>[8]")]
)
def test_an_output_without_rows_has_the_columns_of_one_with_rows(
    precision: str, kind: str, warm: Warm, tmp_path: Path
) -> None:
    options = ("--precision", precision, "--on-error", "skip", "--allow-rejects", "1", "-o", "v.parquet")
    for row in ({"image": "nowhere.png"}, {"text": "a"}):
        assert parquet(warm, jsonl([row]), *options).exit_code == 0
        schema = pq.read_schema(tmp_path / "v.parquet")
        assert str(schema.field("embedding").type) == f"fixed_size_list<element: {kind}"


def parquet(warm: Warm, stdin: bytes, *args: str) -> Done:
    return warm("embed", "-m", golden.MODEL, "--dtype", "float32", *args, stdin=stdin)


def test_unknown_fields_pass_through_and_stale_ones_do_not(warm: Warm) -> None:
    row = {
        "text": "a",
        "colour": {"name": "red"},
        "rank": 3,
        "relevant": {"b": 1},
        "pool": ["b", "b"],
        "model": "older",
        "fingerprint": "older",
        "embedding": [1.0],
    }
    got = tiny(warm, jsonl([row])).rows[0]
    assert (got["colour"], got["rank"], got["relevant"], got["pool"]) == (
        {"name": "red"},
        3,
        {"b": 1.0},
        ["b", "b"],
    )
    assert got["schema"] == "vlm2vec/vector@1"
    assert got["model"] == str(golden.MODEL)
    assert got["fingerprint"] != "older"
    assert len(got["embedding"]) == 64


def test_keep_and_drop(warm: Warm) -> None:
    row = {"id": "x", "text": "a", "colour": "red", "size": 3}
    kept = tiny(warm, jsonl([row]), "--keep", "colour").rows[0]
    assert set(kept) - {"schema", "model", "fingerprint", "precision", "embedding"} == {
        "id",
        "dataset",
        "role",
        "colour",
    }
    dropped = tiny(warm, jsonl([row]), "--drop", "colour", "--drop", "text").rows[0]
    assert {"colour", "text"}.isdisjoint(dropped)
    assert dropped["size"] == 3


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("output", ["v.parquet", "parts/"])
def test_memory_does_not_grow_with_the_rows(output: str, vlm2vec: Runner) -> None:
    program = Runner(vlm2vec.work, (sys.executable, "-c", PEAK))
    options = ("-m", golden.MODEL, "--dtype", "float32", "--part-rows", "500", "--batch-tokens", "200")
    peaks = []
    for number in (2_000, 8_000):  # 40 and 160 MB
        vlm2vec.write("rows.jsonl", [{"text": str(n), "note": f"{n}{'x' * 20_000}"} for n in range(number)])
        done = program("embed", "rows.jsonl", *options, "-o", f"{number}-{output}")
        assert done.exit_code == 0
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] < peaks[0] * 1.1


def test_the_reader_may_leave(warm: Warm) -> None:
    warm.write("rows.jsonl", [{"text": f"row {number}"} for number in range(2500)])
    with warm.talk("embed", "rows.jsonl", "-m", golden.MODEL, "--dtype", "float32") as talk:
        assert talk.stdout.read(1) == b"P"
        talk.stdout.close()
    assert talk.done == Done(0, b"", b"")


def test_parquet_is_not_written_to_a_terminal(vlm2vec: Runner) -> None:
    ours, theirs = pty.openpty()
    process = vlm2vec.start("embed", "-m", "tiny", stdin=subprocess.DEVNULL, stdout=theirs, stderr=-1)
    _, stderr = process.communicate(timeout=300)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 2
    assert stderr == (
        b"vlm2vec: error: Parquet is not written to a terminal\n"
        b"hint: add -o FILE.parquet, --format jsonl, or a pipe\n"
    )
