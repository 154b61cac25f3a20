"""Vectors cut, rounded and rescored in scoring, against vectors that were embedded so; digests."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm2vec_cli.embedding import stored
from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.scoring import Request, evaluate, floats, score
from vlm2vec_cli.scoring.collect import Collector
from vlm2vec_cli.scoring.dataset import check
from vlm2vec_cli.scoring.matrix import Budget, Matrix, Precision
from vlm2vec_cli.scoring.result import Result, Settings
from vlm2vec_cli.streams import Session
from vlm2vec_cli.streams.batches import Batch, gathered

ORIGIN = Origin("rows.jsonl", Path("."), "line")
PRECISIONS = ("float32", "int8", "binary")


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    exact = rows.astype(np.float64)
    return (exact / np.linalg.norm(exact, axis=-1, keepdims=True)).astype(np.float32)


def rows_of(query_QD: NDArray[Any], rows_ND: NDArray[Any], **more: Any) -> list[dict[str, Any]]:
    rows = [{"id": f"c{at}", "role": "candidate", "embedding": row} for at, row in enumerate(rows_ND)]
    for at, row in enumerate(query_QD):
        rows.append({"id": f"q{at}", "role": "query", "embedding": row, "relevant": {f"c{at}": 1.0}, **more})
    return rows


def scored(rows: list[dict[str, Any]], whole: list[dict[str, Any]] | None = None, **settings: Any) -> Result:
    """`whole` are the rows of the files of --rescore."""

    def reject(error: Exception) -> None:
        raise error

    def batches(rows: list[dict[str, Any]]) -> Iterator[Batch]:
        return gathered(Record({"dataset": "d", **row}, ORIGIN, at) for at, row in enumerate(rows, start=1))

    collector = Collector(reject)
    collector.add(batches(rows))
    options = Settings(resamples=0, keep=30, first_rank=True, **settings)
    (task,) = evaluate.plan(check(collector.datasets.values()), options)
    if whole is None:
        return evaluate.by_vectors(task, options)
    found = floats.collected(
        batches(whole),
        [task.dataset],
        reject,
        budget=Budget(),
        similarity="cosine",
        allow_mixed=False,
        place="floats.jsonl",
    )
    return evaluate.by_vectors(task, options, found["d"].sides())


@given(st.integers(0, 2**32 - 1), st.sampled_from(PRECISIONS), st.sampled_from([8, 16, 24]), st.booleans())
def test_cut_and_rounded_vectors_rank_as_if_embedded_so(
    seed: int, precision: Precision, dim: int, local: bool
) -> None:
    rng = np.random.default_rng(seed)
    query_QD, rows_ND = unit(rng.standard_normal((4, 24))), unit(rng.standard_normal((30, 24)))
    more = {"pool": [f"c{at}" for at in range(0, 30, 2)] + ["c1", "c3"]} if local else {}
    seen = scored(rows_of(query_QD, rows_ND, **more), dim=dim, precision=precision)
    cut = [side if dim == 24 else unit(side[:, :dim]) for side in (query_QD, rows_ND)]
    expected = scored(rows_of(*(np.stack([stored(row, precision) for row in side]) for side in cut), **more))
    # unit vectors come out a rounding error apart, which may put a number on the other side of x.5 of 127
    near = 2e-3 if precision == "int8" else 1e-6
    np.testing.assert_allclose(seen.score_QK, expected.score_QK, atol=near)
    if precision == "binary":  # whose scores tie a lot
        assert (seen.index_QK == expected.index_QK).all()
    assert seen.stored == expected.stored == {"dim": dim, "precision": precision}


@pytest.mark.parametrize(("precision", "size"), [("float32", 64), ("int8", 16), ("binary", 2)])
def test_rows_take_the_bytes_they_came_in(precision: str, size: int) -> None:
    budget = Budget(1000)
    matrix = Matrix(budget, "cosine")
    for row in unit(np.random.default_rng(0).standard_normal((3, 16))):
        matrix.append(stored(row, precision)[None])
    assert budget.left == 1000 - 3 * size
    numbers = matrix.rows()[:]
    assert (numbers == np.rint(numbers)).all() == (precision != "float32")


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_rescoring_sorts_the_first_by_whole_vectors_and_leaves_the_rest(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng.standard_normal((4, 16)), rng.standard_normal((30, 16)))
    coarse = scored(rows, precision="binary")
    fine = scored(rows, precision="binary", rescore=count)
    exact = scored(rows)
    for at in range(4):
        first = set(coarse.index_QK[at, :count].tolist())
        assert fine.index_QK[at, :count].tolist() == [
            one for one in exact.index_QK[at].tolist() if one in first
        ]
        assert (fine.index_QK[at, count:] == coarse.index_QK[at, count:]).all()
    assert fine.stored["rescore"] == count
    assert (fine.index_QK == exact.index_QK).all() or count < 30


@given(st.integers(0, 2**32 - 1), st.sampled_from(["int8", "binary"]), st.integers(1, 30), st.booleans())
def test_float_vectors_of_a_file_rescore_as_those_of_the_input_would(
    seed: int, precision: Precision, count: int, local: bool
) -> None:
    rng = np.random.default_rng(seed)
    query_QD, rows_ND = unit(rng.standard_normal((4, 16))), unit(rng.standard_normal((30, 16)))
    more = {"pool": [f"c{at}" for at in range(0, 30, 2)] + ["c1", "c3"]} if local else {}
    whole = rows_of(query_QD, rows_ND, **more)
    coarse = [{**row, "embedding": stored(row["embedding"], precision)} for row in whole]
    other = [{**row, "id": "x"} for row in whole[:1]]
    random.Random(seed).shuffle(shuffled := whole + other)
    found = scored(coarse, shuffled, rescore=count)
    expected = scored(whole, precision=precision, rescore=count)
    assert (found.index_QK == expected.index_QK).all()
    first = min(count, 17 if local else 30)
    assert (found.score_QK[:, :first] == expected.score_QK[:, :first]).all()
    assert found.stored == {"dim": 16, "precision": precision, "rescore": count}


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda rows: rows[:-2], "floats.jsonl: dataset 'd': --rescore: no float vector for 2 queries: 'q2'"),
        (lambda rows: rows[1:], "floats.jsonl: dataset 'd': --rescore: no float vector for candidate 'c0'"),
        (lambda rows: [*rows, rows[-1]], "id 'q3' has a float vector already"),
        (lambda rows: [{**rows[0], "model": "n"}, *rows[1:]], "model n differs from m of the input"),
        (lambda rows: [rows[0], {**rows[1], "fingerprint": "g"}], "--rescore: fingerprint differs"),
        (
            lambda rows: [{**rows[0], "embedding": np.ones(8, np.int8)}],
            "embedding is int8, --rescore takes float vectors",
        ),
    ],
)
def test_float_vectors_that_do_not_belong_to_the_rows(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], fact: str
) -> None:
    rng = np.random.default_rng(3)
    rows = [{**row, "model": "m"} for row in rows_of(rng.random((4, 8)), rng.random((5, 8)))]
    coarse = [{**row, "embedding": stored(unit(row["embedding"]), "int8")} for row in rows]
    with pytest.raises(DataError) as raised:
        scored(coarse, change(rows), rescore=3)
    assert fact in str(raised.value)


@pytest.mark.parametrize(
    ("dtype", "settings", "fact"),
    [
        (np.float32, {"dim": 9}, "vectors have 8 dimensions, --dim asks for 9"),
        (np.int8, {"precision": "binary"}, "vectors are int8, --precision asks for binary"),
        (np.float32, {"rescore": 5}, "rescoring has no more to go by than the search"),
        (np.float32, {"rescore": 5, "dim": 8, "precision": "float32"}, "rescoring has no more to go by"),
    ],
)
def test_what_vectors_cannot_be_seen_as(dtype: Any, settings: dict[str, Any], fact: str) -> None:
    rng = np.random.default_rng(1)
    rows = rows_of(rng.integers(1, 9, (2, 8)).astype(dtype), rng.integers(1, 9, (3, 8)).astype(dtype))
    with pytest.raises(DataError, match=f"^rows.jsonl: dataset 'd': {fact}"):
        scored(rows, **settings)


def test_one_side_has_one_number_type() -> None:
    rows = rows_of(np.ones((1, 8), np.float32), np.eye(8, dtype=np.float32))
    rows[1]["embedding"] = np.ones(8, np.int8)
    with pytest.raises(DataError, match="line 2: embedding is int8, those of the rows before are float32"):
        scored(rows)


def test_digests_ignore_the_order_of_rows_and_see_everything_else() -> None:
    rng = np.random.default_rng(2)
    rows = rows_of(
        rng.standard_normal((3, 4)), rng.standard_normal((5, 4)), text="q", pool=["c0", "c1", "c2"]
    )
    first = scored(rows).task.digests
    assert set(first) == {"judgement_digest", "data_digest", "text_digest"}
    shuffled = list(rows)
    random.Random(0).shuffle(shuffled)
    assert scored(shuffled).task.digests == first
    judged = ["judgement_digest", "data_digest"]
    changes: list[tuple[dict[str, Any], list[str]]] = [
        ({"text": "other"}, ["text_digest"]),
        ({"instruction": "Find it."}, ["text_digest"]),
        ({"relevant": {"c2": 1.0}}, judged),
        ({"relevant": {"c0": 2.0}}, judged),
        ({"pool": ["c0", "c1", "c2", "c2"]}, ["data_digest"]),
    ]
    for change, names in changes:
        other = scored([{**rows[5], **change} if row is rows[5] else row for row in rows]).task.digests
        assert [one for one in first if other[one] != first[one]] == names
    bare = [{name: value for name, value in row.items() if name != "text"} for row in rows]
    assert scored(bare).task.digests == {name: first[name] for name in judged}


@pytest.mark.parametrize(
    ("request_", "fact"),
    [
        (Request(dims=["64,x"]), "--dim: expected numbers above 0, got 'x'"),
        (Request(precisions=["int4"]), "--precision: unknown 'int4'"),
        (
            Request(run="r.trec", dims=["64"]),
            "--dim, --precision and --rescore are for vectors",
        ),
        (Request(dims=["64,32"], per_query="p.parquet"), "--rankings and --per-query hold one dimension"),
        (Request(novel="n.txt"), "--novel has a use only with --scene-graph"),
        (Request(ignored=["x"]), "--ignore has a use only with --scene-graph"),
        (Request(scene_graph=True, rescore_depth=5), "--rescore and --scene-graph exclude each other"),
        (Request(rescore=["100"]), "--rescore: expected a file of float vectors, got '100'"),
        (Request(run="r.trec", rescore=["f.parquet"]), "--dim, --precision and --rescore are for vectors"),
        (Request(results=["x"], run="r.trec"), "--results brings finished scores"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_row_is_read(request_: Request, fact: str) -> None:
    with pytest.raises(UsageError) as raised:
        score(Session(["never opened"]), request_, has_inputs=False)
    assert str(raised.value).startswith(fact)
