"""Scoring as VLM2Vec's evaluation does it: rankings sorted whole, metrics in loops, pickled vectors."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np

from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.streams.parquet_writer import ParquetWriter


def hit(ranked: list[str], gold: list[str], k: int) -> float:
    """The metrics below are written out one by one, as a loop over queries and metrics calls them."""
    return float(bool(set(ranked[:k]) & set(gold)))


def precision(ranked: list[str], gold: list[str], k: int) -> float:
    return len(set(ranked[:k]) & set(gold)) / k


def recall(ranked: list[str], gold: list[str], k: int) -> float:
    return len(set(ranked[:k]) & set(gold)) / len(set(gold))


def f1(ranked: list[str], gold: list[str], k: int) -> float:
    one, other = precision(ranked, gold, k), recall(ranked, gold, k)
    return 2 * one * other / (one + other) if one + other else 0.0


def average_precision(ranked: list[str], gold: list[str], k: int) -> float:
    labels, found, total = set(gold), 0, 0.0
    for rank, name in enumerate(ranked[:k], start=1):
        if name in labels:
            found += 1
            total += found / rank
    return total / min(len(labels), k)


def reciprocal_rank(ranked: list[str], gold: list[str], k: int) -> float:
    labels = set(gold)
    return next((1 / rank for rank, name in enumerate(ranked[:k], start=1) if name in labels), 0.0)


def ndcg(ranked: list[str], gold: list[str], k: int) -> float:
    labels = set(gold)
    gains = [float(name in labels) for name in ranked[:k]]
    ideal = [1.0] * min(len(labels), k)
    reached, best = (sum(g / np.log2(r + 2) for r, g in enumerate(one)) for one in (gains, ideal))
    return float(reached / best)


PLAIN: dict[str, Callable[[list[str], list[str], int], float]] = {
    "hit": hit,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "ndcg_linear": ndcg,
    "ndcg_exponential": ndcg,
}


def plain(
    queries: np.ndarray, candidates: np.ndarray, ids: list[str], out: TextIO | None = None
) -> dict[str, float]:
    """The reference's way: one matrix of scores, every row sorted whole, names of every rank, plain loops.

    With `out` every ranking is also written whole, as the reference does beside its scores.
    """
    order = np.argsort(-(queries @ candidates.T), axis=1)
    predictions = [
        {"prediction": [ids[at] for at in row], "label": [ids[query]], "rel_scores": None}
        for query, row in enumerate(order)
    ]
    found = {
        f"{name}@{k}": sum(metric(one["prediction"], one["label"], k) for one in predictions)
        / len(predictions)
        for name, metric in PLAIN.items()
        for k in (1, 5, 10)
    }
    if out is not None:
        for one in predictions:
            out.write(json.dumps(one) + "\n")
    return found


def plain_files(folder: Path) -> None:
    """The same from pickled vectors, an array of queries and a mapping of candidates, to its two files."""
    with (folder / "task_qry").open("rb") as file:
        queries = pickle.load(file)
    with (folder / "task_tgt").open("rb") as file:
        targets = pickle.load(file)
    with (folder / "task_pred.jsonl").open("w") as out:
        found = plain(queries, np.stack(list(targets.values())), list(targets), out)
    (folder / "task_score.json").write_text(json.dumps(found))


def written(folder: Path, queries: np.ndarray, candidates: np.ndarray, ids: list[str]) -> None:
    """The vectors as the reference pickles them and as `embed` writes them."""
    with (folder / "task_qry").open("wb") as file:
        pickle.dump(queries, file, protocol=4)
    with (folder / "task_tgt").open("wb") as file:
        pickle.dump(dict(zip(ids, candidates, strict=True)), file, protocol=4)
    with (folder / "vectors.parquet").open("wb") as file:
        writer = ParquetWriter(file, VECTOR, {"model": "m", "fingerprint": "f"})
        for name, row in zip(ids, candidates, strict=True):
            writer.write({"id": name, "dataset": "task", "role": "candidate", "embedding": row})
        for at, row in enumerate(queries):
            asked = {"id": f"q{at}", "dataset": "task", "role": "query", "relevant": {ids[at]: 1.0}}
            writer.write({**asked, "embedding": row})
        writer.close()
