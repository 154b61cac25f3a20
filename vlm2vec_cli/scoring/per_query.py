"""The per-query file (Parquet): one row a scored query, for paired tests and galleries of hits and misses.

Columns, in this order; every column may be null where a remark says so:

    dataset      string
    query        string                  id of the query, unique within its dataset
    model        string                  null where the vectors did not say
    fingerprint  string                  null where the vectors did not say
    main_metric  string                  name of the metric column that is the dataset's main one
    num_ranked   int64                   length of the ranking: pool size, or number of candidates
    rank         int64                   1-based rank of the first relevant candidate; null: none is ranked
    text         string                  the query's content, as in its row; null where absent
    image        list<string>            media references; null where absent
    video        list<string>            media references; null where absent
    instruction  string                  null where absent
    media_root   string                  what the references resolve against; null with --run alone
    relevant     list<struct>            every relevant candidate, gain descending, then id ascending:
        id string, gain double, text, image, video, instruction, media_root (as above)
    candidates   list<struct>            the first candidates of the ranking (at most 10), best first:
        id string, score float (null in a run without scores), gain double (0 where not relevant), and text,
        image, video, instruction, media_root (as above)
    <metric>     double                  one column a metric, by its canonical name (`hit@1`,
    `ndcg_linear@5`),
                                         in 0..1; null where it was not computed for the row's dataset

Row order: datasets as first seen, queries in row order. Queries that `--no-relevant exclude` left out have no
row.
A query's content columns are null when the file was made from a run without item rows.
File metadata, key `vlm2vec` (JSON): `schema` "vlm2vec/per-query@1", `tool_version`, `similarity`, `ties`,
`metrics` (the metric columns' names, in column order).
"""

from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vec_cli import __version__
from vlm2vec_cli.metrics import Measure
from vlm2vec_cli.scoring.result import Result, Settings, Task

TAG: Final = "vlm2vec/per-query@1"
NUM_CANDIDATES: Final = 10

_REFERENCES = pa.list_(pa.string())
_CONTENT: Final[list[tuple[str, pa.DataType]]] = [
    ("text", pa.string()),
    ("image", _REFERENCES),
    ("video", _REFERENCES),
    ("instruction", pa.string()),
    ("media_root", pa.string()),
]
_RELEVANT: Final = pa.struct([("id", pa.string()), ("gain", pa.float64()), *_CONTENT])
_RANKED: Final = pa.struct([("id", pa.string()), ("score", pa.float32()), ("gain", pa.float64()), *_CONTENT])
_FIXED: Final[list[tuple[str, pa.DataType]]] = [
    ("dataset", pa.string()),
    ("query", pa.string()),
    ("model", pa.string()),
    ("fingerprint", pa.string()),
    ("main_metric", pa.string()),
    ("num_ranked", pa.int64()),
    ("rank", pa.int64()),
    *_CONTENT,
    ("relevant", pa.list_(_RELEVANT)),
    ("candidates", pa.list_(_RANKED)),
]


class PerQueryWriter:
    """Writes results to a Parquet stream, a row group a dataset."""

    def __init__(self, stream: BinaryIO, tasks: Sequence[Task], settings: Settings) -> None:
        self._measures = tuple(dict.fromkeys(measure for task in tasks for measure in task.measures))
        names = [measure.name for measure in self._measures]
        metadata = {
            "schema": TAG,
            "tool_version": __version__,
            "similarity": settings.similarity,
            "ties": settings.ties,
            "metrics": names,
        }
        fields = [*_FIXED, *((name, pa.float64()) for name in names)]
        self._schema = pa.schema(fields, metadata={b"vlm2vec": orjson.dumps(metadata)})
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")

    def write(self, result: Result) -> None:
        """Writes the rows of one dataset."""
        names = result.task.dataset.query_names
        rows = [_row(result, at, names[query]) for at, query in enumerate(result.query_Q)]
        columns = [pa.array([row[name] for row in rows], kind) for name, kind in _FIXED]
        columns += [self._metric(result, measure) for measure in self._measures]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """Writes the footer."""
        self._writer.close()

    def _metric(self, result: Result, measure: Measure) -> pa.Array:
        if measure not in result.task.measures:
            return pa.nulls(len(result.query_Q), pa.float64())
        return pa.array(result.values_QM[:, result.task.measures.index(measure)])


def _row(result: Result, at: int, name: str) -> dict[str, Any]:
    dataset, query = result.task.dataset, int(result.query_Q[at])
    gains = dataset.relevant[query]
    relevant = sorted(gains.items(), key=lambda pair: (-pair[1], dataset.ids[pair[0]]))
    ranked = [
        (number, one)
        for number, one in zip(result.index_QK[at].tolist(), result.score_QK[at].tolist(), strict=True)
        if number >= 0
    ]
    content = dataset.query_content[query] if dataset.query_content else {}
    return {
        **dict.fromkeys(name for name, _ in _CONTENT),
        "dataset": dataset.name,
        "query": name,
        "model": result.task.made_by.get("model"),
        "fingerprint": result.task.made_by.get("fingerprint"),
        "main_metric": result.task.main.name,
        "num_ranked": int(result.num_ranked_Q[at]),
        "rank": int(result.rank_Q[at]) or None,
        **content,
        "relevant": [
            {"id": dataset.ids[number], "gain": gain, **dataset.candidate_content.get(number, {})}
            for number, gain in relevant
        ],
        "candidates": [
            {
                "id": dataset.ids[number],
                "score": None if one != one else one,
                "gain": gains.get(number, 0.0),
                **dataset.candidate_content.get(number, {}),
            }
            for number, one in ranked[:NUM_CANDIDATES]
        ],
    }
