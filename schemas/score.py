"""score: the result of one dataset.

Metrics are in 0..1. Only where a relevant candidate is ranked twice, list metrics may exceed 1, and the row
says how many queries that are.
"""

from typing import Any, TypedDict

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Field, Kind, Row
from vlm2vec_cli.schemas.checks import ROUNDING


class Score(TypedDict, total=False):
    """A row of the kind score."""

    dataset: str
    modality: str
    task_type: str
    group: str
    model: str
    fingerprint: str
    dim: int
    precision: str
    rescore: int
    num_queries: int
    num_candidates: int
    num_without_relevant: int
    num_with_repeats: int
    main_metric: str
    main_score: float
    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    similarity: str
    ties: str
    no_relevant: str
    novel: list[str]
    ignored: list[str]
    judgement_digest: str
    data_digest: str
    text_digest: str
    tool_version: str


FIELDS = (
    Field("dataset", "id", "The dataset that was scored.", required=True),
    Field("modality", "string", "image, video or visdoc."),
    Field("task_type", "string", "The task's type, such as retrieval or classification."),
    Field("group", "string", "The group the dataset is averaged in."),
    Field("model", "string", "The model that made the vectors."),
    Field("fingerprint", "string", "Hash of everything that decided the vectors."),
    Field("dim", "integer", "How many numbers of each vector were used."),
    Field("precision", "precision", "What the vectors were rounded to."),
    Field("rescore", "integer", "How many candidates a query the whole vectors put in order again."),
    Field("num_queries", "integer", "How many queries were scored."),
    Field("num_candidates", "integer", "How many different candidates there were."),
    Field("num_without_relevant", "integer", "How many queries have nothing relevant."),
    Field("num_with_repeats", "integer", "How many queries rank something relevant twice."),
    Field("main_metric", "string", "The metric of main_score.", required=True),
    Field("main_score", "number", "The dataset's result, in 0..1.", required=True),
    Field("metrics", "values", "Metric to mean over the queries, in 0..1."),
    Field("ci95", "intervals", "Metric to the ends of its 95 % confidence interval."),
    Field("similarity", "string", "How vectors were compared; cosine where it is absent."),
    Field("ties", "string", "Which of equal scores came first; by id where it is absent."),
    Field("no_relevant", "string", "What queries without anything relevant did; left out where absent."),
    Field("novel", "ids", "Of a scene graph: the predicates that are judged apart."),
    Field("ignored", "ids", "Of a scene graph: the predicates that are not ranked."),
    Field("judgement_digest", "string", "Hash of queries and judgements; different ones do not compare."),
    Field("data_digest", "string", "Hash of ids, judgements and pools; different ones do not compare."),
    Field("text_digest", "string", "Hash of the texts of both sides, prompts included."),
    Field("tool_version", "string", "The version of vlm2vec-cli that scored."),
)


def _check(row: Row) -> None:
    highest = float("inf") if row.get("num_with_repeats") else 1 + ROUNDING
    values = {"main_score": row["main_score"]}
    values |= {f"metrics: {name}": value for name, value in (row.get("metrics") or {}).items()}
    for name, value in values.items():
        if not -ROUNDING <= value <= highest:
            raise DataError(f"{name}: expected a number from 0 to 1, got {value}")


class _Score(Kind):
    """The kind whose JSON Schema says what `_check` says, too."""

    def json_schema(self) -> dict[str, Any]:
        schema = super().json_schema()
        unit = {"minimum": 0, "maximum": 1}
        bounded = {"main_score": unit, "metrics": {"additionalProperties": unit}}
        return schema | {
            "if": {"not": {"required": ["num_with_repeats"]}},
            "then": {"properties": bounded},
        }


SCORE = _Score("score", "The result of one dataset.", FIELDS, check=_check)
