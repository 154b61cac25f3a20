"""Vectors as they are kept, and rows that are refused."""

import math
from typing import Any

import numpy as np
import pytest

from scored import candidate, collected, query, scored, vectors
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.scoring.matrix import Budget, Matrix


@pytest.mark.parametrize("num_bytes", [0, 100, 1 << 20])
def test_a_matrix_is_the_same_on_disk_and_in_memory(num_bytes: int) -> None:
    rows_ND = vectors(np.random.default_rng(5), 20, 3)
    budget = Budget(num_bytes)
    matrix = Matrix(budget, "dot")
    for row in rows_ND:
        matrix.append(row[None])
    assert (matrix.rows()[:] == rows_ND).all()
    matrix.close()
    assert budget.left == num_bytes


def test_cosine_ignores_lengths() -> None:
    matrix = Matrix(Budget(), "cosine")
    matrix.append(np.array([[3, 4]], np.float32))
    assert matrix.rows()[:].tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


A, B = candidate("a", [1, 0]), candidate("b", [0, 1])
Q, R = query("q", [1, 0], relevant={"a": 1.0}), query("r", [0, 1], relevant={"a": 1.0})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [A, candidate("b", [1, 0, 0])],
            "rows.jsonl line 2: embedding has 3 dimensions, the rows before have 2",
        ),
        (
            [A, candidate("b", [math.nan, 0])],
            "rows.jsonl line 2: embedding holds a number that is not finite",
        ),
        ([A, candidate("b", [0, 0])], "rows.jsonl line 2: embedding has length 0, so it has no cosine"),
        ([A, A], "rows.jsonl line 2: id 'a' is already that of another candidate of dataset 'd'"),
        ([Q, A, Q], "rows.jsonl line 3: id 'q' is already that of another query of dataset 'd'"),
        ([A, B, {**Q, "pool": []}], "rows.jsonl line 3: pool: expected at least one candidate id"),
        ([Q, R], "rows.jsonl: dataset 'd': no candidate rows"),
        ([query("q", [1, 0, 0], relevant={"a": 1.0}), A, B], "queries have 3 dimensions, candidates 2"),
        ([Q, A, candidate("b", [2, 0])], "rows.jsonl: dataset 'd': all 2 candidate vectors are equal"),
        ([Q, query("r", [1, 0]), A, B], "rows.jsonl: dataset 'd': all 2 query vectors are equal"),
        (
            [A, B, {**Q, "relevant": {"x": 1.0}}],
            "rows.jsonl line 3: dataset 'd': no vector for candidate 'x'",
        ),
        (
            [A, B, Q, {**R, "pool": ["a", "v", "w", "x", "y", "z"]}],
            "rows.jsonl line 4: dataset 'd': no vector for 5 candidates: 'v', 'w', 'x' and 2 more",
        ),
        ([A, B, query("q", [1, 0])], "rows.jsonl: dataset 'd': no query has a relevant candidate"),
        (
            [{**A, "fingerprint": "f"}, {**B, "fingerprint": "g"}],
            "line 2: fingerprint g differs from f of the rows",
        ),
        ([{**A, "fingerprint": "f"}, B], "line 2: fingerprint missing differs from f of the rows before"),
        (
            [{**A, "model": "m"}, {**B, "model": "n"}],
            "rows.jsonl line 2: model n differs from m of the rows before",
        ),
        (
            [A, B, {**Q, "main_metric": "hti@1"}],
            "rows.jsonl: dataset 'd': main_metric: unknown metric 'hti@1'",
        ),
    ],
)
def test_what_is_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError) as raised:
        scored(rows)
    assert message in str(raised.value)


def test_mixed_fingerprints_when_told() -> None:
    rows = [{**A, "fingerprint": "f"}, {**B, "fingerprint": "f"}, {**Q, "fingerprint": "g"}]
    assert scored(rows, allow_mixed=True).row()["fingerprint"] == "f + g"


def test_datasets_may_have_different_fingerprints() -> None:
    rows = [{**A, "fingerprint": "f"}, {**A, "dataset": "e", "fingerprint": "g"}]
    assert [one.fingerprints for one in collected(rows).values()] == [["f"], ["g"]]
