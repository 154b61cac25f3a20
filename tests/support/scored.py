"""Rows of one dataset, scored in this process, and the plain definition of a ranking."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import UserError
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.scoring import evaluate
from vlm2vec_cli.scoring.collect import Collector
from vlm2vec_cli.scoring.dataset import Dataset, check
from vlm2vec_cli.scoring.result import Settings
from vlm2vec_cli.streams.batches import gathered

ORIGIN = Origin("rows.jsonl", Path("."), "line")
TIES = ("id", "optimistic", "pessimistic")


def vectors(rng: np.random.Generator, count: int, dim: int, *, coarse: bool = False) -> NDArray[np.float32]:
    """Random rows; coarse ones tie a lot."""
    rows = rng.integers(-1, 2, (count, dim)) if coarse else rng.standard_normal((count, dim))
    return rows.astype(np.float32)


def distinct(rows: NDArray[np.float32]) -> bool:
    return bool((rows != rows[0]).any())


def query(name: str, embedding: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "dataset": "d",
        "role": "query",
        "embedding": np.asarray(embedding, np.float32),
        **more,
    }


def candidate(name: str, embedding: Any, **more: Any) -> dict[str, Any]:
    return query(name, embedding, role="candidate", **more)


def collected(rows: Sequence[dict[str, Any]], **options: Any) -> dict[str, Dataset]:
    def reject(error: UserError) -> None:
        raise error

    collector = Collector(reject, **options)
    records = (Record({"dataset": "d", **row}, ORIGIN, number) for number, row in enumerate(rows, start=1))
    collector.add(gathered(records))
    return collector.datasets


def scored(
    rows: Sequence[dict[str, Any]], settings: Settings | None = None, **options: Any
) -> evaluate.Result:
    settings = settings or Settings(keep=10, first_rank=True, resamples=0)
    datasets = check(collected(rows, similarity=settings.similarity, **options).values())
    (task,) = evaluate.plan(datasets, settings)
    return evaluate.by_vectors(task, settings)


def ranking(result: evaluate.Result, at: int) -> list[str]:
    return [result.task.dataset.ids[number] for number in result.index_QK[at] if number >= 0]


def naive(
    query_QD: NDArray[np.float32],
    rows_ND: NDArray[np.float32],
    ids: Sequence[str],
    golds: Sequence[set[int]],
    ties: str,
    pools: Sequence[Sequence[int]] | None = None,
) -> list[list[int]]:
    """Each query's whole ranking by sorting tuples, from scores as exact as Python has them."""
    ranked = []
    for at, query_D in enumerate(query_QD.tolist()):
        pool = range(len(ids)) if pools is None else pools[at]
        key = {}
        for one in set(pool):
            products = (a * b for a, b in zip(query_D, rows_ND[one].tolist(), strict=True))
            score = float(np.float32(math.fsum(products)))
            preferred = {"id": 0, "optimistic": one in golds[at], "pessimistic": one not in golds[at]}[ties]
            key[one] = (score, preferred, ids[one])
        ranked.append(sorted(pool, key=key.__getitem__, reverse=True))
    return ranked
