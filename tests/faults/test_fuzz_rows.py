"""Files of damaged and hostile rows: each row is read or refused; hostile.py says how."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import fuzzing
from faults import Tally
from hostile import SEEDS, budget, outcome
from vlm2vec_cli import schemas
from vlm2vec_cli.streams import Session

KINDS = {kind.name: kind for kind in schemas.KINDS}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["vlm2vec/item@1", "vlm2vec/pair@1", "vlm2vec/item@9", "query", "a.png", "../x", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = sorted({one.name for kind in KINDS.values() for one in kind.fields} | {"schema", "mine", ""})
ROWS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)
PLAIN = [
    {"text": "a", "image": ["a.png"], "relevant": {"c": 1.0}, "pool": ["c"]},
    {"query": {"text": "a"}, "positive": {"image": "a.png"}, "negatives": [{"text": "b"}]},
    {"id": "1", "embedding": [0.5, 0.25], "fingerprint": "f"},
    {"query": "q", "candidates": ["a", "b"], "scores": [2.0, 1.0]},
]
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda lines: lines,
    "gzip": gzip.compress,
    "zstd": lambda lines: zstandard.ZstdCompressor().compress(lines),
}


def read_rows(work: Path, kind: Any, content: bytes) -> list[Any]:
    """The good rows of a file, written as rows again."""
    source = work / "rows"
    source.write_bytes(content)
    with Session(
        [str(source)], str(work / "out.jsonl"), on_error="skip", allow_rejects=1 << 30, quiet=True,
        rejects=str(work / "bad.jsonl"),
    ) as session:  # fmt: skip
        session.write((record.row for record in session.read(kind)), kind)
    for line in (work / "out.jsonl").read_bytes().splitlines():
        json.loads(line)
    return []


@budget(9000)
@given(kind=st.sampled_from(sorted(KINDS)), rows=st.lists(ROWS, max_size=3))
def test_rows_of_any_values(place: Path, tally: Tally, kind: str, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode(errors="surrogatepass")
    outcome(tally, "rows", place, lambda: read_rows(place, KINDS[kind], lines))


@budget(6000)
@given(kind=st.sampled_from(sorted(KINDS)), form=st.sampled_from(sorted(FORMS)), seed=SEEDS)
def test_rows_of_damaged_bytes(place: Path, tally: Tally, kind: str, form: str, seed: int) -> None:
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in PLAIN * 3)
    damaged = FORMS[form](lines)
    damaged = fuzzing.mutated(damaged, seed)
    outcome(tally, "rows", place, lambda: read_rows(place, KINDS[kind], damaged))


@budget(3000)
@given(seed=SEEDS)
def test_rows_of_damaged_parquet(place: Path, tally: Tally, seed: int) -> None:
    file = io.BytesIO()
    rows = [{"id": str(n), "text": "abc", "embedding": [0.5, 1.0], "_extra": '{"x": 1}'} for n in range(20)]
    meta = {b"vlm2vec": b'{"schema": "vlm2vec/vector@1"}'}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(meta), file)
    damaged = fuzzing.mutated(file.getvalue(), seed)
    kind = KINDS["vector" if seed % 2 else "item"]
    outcome(tally, "Parquet rows", place, lambda: read_rows(place, kind, damaged))
