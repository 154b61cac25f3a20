"""Rankings as files: a TREC run, or ranking rows in JSONL or Parquet.

A ranking row has `relevant`, so that it can be scored again on its own.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.scoring.result import Result, Task

HINT: Final = "write JSONL: --rankings FILE.jsonl"
TAG: Final = "vlm2vec"  # last column of a TREC run, where no model is known


def rows(result: Result, top_k: int) -> Iterator[Row]:
    """One ranking row a query, cut after `top_k` candidates."""
    dataset = result.task.dataset
    names = dataset.query_names
    for at, query in enumerate(result.query_Q.tolist()):
        numbers, scores = _kept(result, at, top_k)
        row: dict[str, Any] = {
            "query": names[query],
            "dataset": dataset.name,
            "candidates": [dataset.ids[number] for number in numbers],
        }
        if not np.isnan(scores).any():
            row["scores"] = [float(str(score)) for score in scores]
        row["relevant"] = {dataset.ids[number]: gain for number, gain in dataset.relevant[query].items()}
        yield row | result.task.made_by


def check_trec(tasks: Sequence[Task], option: str) -> None:
    """UsageError where a TREC run cannot hold the rankings: several datasets, or ids with blanks."""
    if len(tasks) > 1:
        raise UsageError(f"a TREC run holds one dataset, the input has {len(tasks)}", place=option, hint=HINT)
    for task in tasks:
        for name in (*task.dataset.query_names, *task.dataset.ids):
            if not name or len(name.split()) != 1 or name != name.strip():
                raise UsageError(f"a TREC run cannot hold the id {name!r}", place=option, hint=HINT)


def trec_lines(result: Result, top_k: int) -> Iterator[bytes]:
    """`QUERY Q0 CANDIDATE RANK SCORE TAG` lines; where there are no scores, minus the rank is the score."""
    dataset = result.task.dataset
    names = dataset.query_names
    tag = "".join(result.task.made_by.get("model", TAG).split()) or TAG
    for at, query in enumerate(result.query_Q.tolist()):
        numbers, scores = _kept(result, at, top_k)
        for rank, (number, score) in enumerate(zip(numbers, scores, strict=True), start=1):
            value = -rank if np.isnan(score) else score
            yield f"{names[query]} Q0 {dataset.ids[number]} {rank} {value} {tag}\n".encode()


def _kept(result: Result, at: int, top_k: int) -> tuple[list[int], NDArray[np.float32]]:
    count = min(top_k, int((result.index_QK[at] >= 0).sum()))
    return result.index_QK[at, :count].tolist(), result.score_QK[at, :count]
