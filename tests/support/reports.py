"""Score rows and reports for tests, without files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vec_cli.reporting.collect import Scores, collect
from vlm2vec_cli.reporting.compose import Wishes, compose
from vlm2vec_cli.reporting.results import MeanValue, Report
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.schemas.score import SCORE

Row = dict[str, Any]


def score_row(dataset: str, value: float, model: str = "model", **more: Any) -> Row:
    """A score row whose only metric is hit@1, unless `more` says otherwise."""
    metric = more.get("main_metric", "hit@1")
    row = {
        "dataset": dataset,
        "model": model,
        "main_metric": metric,
        "main_score": value,
        "metrics": {metric: value},
    }
    return {**row, **more}


def records(rows: Iterable[Mapping[str, Any]], name: str = "scores.jsonl") -> list[Record]:
    """The rows as a stream gives them."""
    origin = Origin(name, Path("."), "line")
    copies = [json.loads(json.dumps(row)) for row in rows]
    return [Record(SCORE.parse(row, str(at)), origin, at) for at, row in enumerate(copies, start=1)]


def report_of(
    rows: Sequence[Row],
    *baselines: Sequence[Row] | str,
    per_query: Mapping[int, Any] | None = None,
    **wishes: Any,
) -> Report:
    """The report of score rows; a baseline is rows or a `published:` name."""
    named: list[Scores | str] = [
        one if isinstance(one, str) else collect(records(one, f"baseline{at}.jsonl"), baseline=True)
        for at, one in enumerate(baselines)
    ]
    fields = wishes.get("group_by", ())
    return compose(collect(records(rows), fields=fields), named, per_query or {}, Wishes(**wishes))


CONTENT: list[tuple[str, pa.DataType]] = [
    ("text", pa.string()),
    ("image", pa.list_(pa.string())),
    ("video", pa.list_(pa.string())),
    ("instruction", pa.string()),
    ("media_root", pa.string()),
]


def write_per_query(
    path: Path, rows: Sequence[Row], metrics: Sequence[str] = ("hit@1",), group: int = 4
) -> Path:
    """A per-query file in the documented layout; what a row lacks is null."""
    relevant = pa.struct([("id", pa.string()), ("gain", pa.float64()), *CONTENT])
    candidate = pa.struct([("id", pa.string()), ("score", pa.float32()), ("gain", pa.float64()), *CONTENT])
    schema = pa.schema(
        [
            ("dataset", pa.string()),
            ("query", pa.string()),
            ("model", pa.string()),
            ("fingerprint", pa.string()),
            ("main_metric", pa.string()),
            ("num_ranked", pa.int64()),
            ("rank", pa.int64()),
            *CONTENT,
            ("relevant", pa.list_(relevant)),
            ("candidates", pa.list_(candidate)),
            *((metric, pa.float64()) for metric in metrics),
        ],
        metadata={
            b"vlm2vec": json.dumps({"schema": "vlm2vec/per-query@1", "metrics": list(metrics)}).encode()
        },
    )
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=group)
    return path


def query_rows(dataset: str, hits: Sequence[int], model: str | None = "model", **more: Any) -> list[Row]:
    """A row a query: 1 is a hit at rank 1, 0 a miss at rank 2; candidates `good` and `bad` with texts."""
    good, bad = {"id": "good", "text": "the right one"}, {"id": "bad", "text": "a wrong one"}
    rows = []
    for at, hit in enumerate(hits):
        order = [good, bad] if hit else [bad, good]
        candidates = [{**one, "score": 0.9 - 0.1 * rank} for rank, one in enumerate(order)]
        rows.append(
            {
                "dataset": dataset,
                "query": f"q{at}",
                "model": model,
                "main_metric": "hit@1",
                "num_ranked": 2,
                "rank": 1 if hit else 2,
                "text": f"question {at}",
                "relevant": [{**good, "gain": 1.0}],
                "candidates": candidates,
                "hit@1": float(hit),
                **more,
            }
        )
    return rows


def mean(report: Report, key: str, column: int = 0) -> MeanValue:
    """The mean named `key` of one column."""
    return report.mean(report.columns[column], next(one for one in report.means if one.key == key))
