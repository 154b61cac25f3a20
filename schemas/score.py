"""score: the result of one dataset. Metrics are in 0..1."""

from typing import TypedDict

from vlm2vec_cli.schemas.base import Field, Kind


class Score(TypedDict, total=False):
    """A row of the kind score."""

    dataset: str
    modality: str
    task_type: str
    group: str
    model: str
    fingerprint: str
    num_queries: int
    num_candidates: int
    main_metric: str
    main_score: float
    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    tool_version: str


FIELDS = (
    Field("dataset", "id", "The dataset that was scored.", required=True),
    Field("modality", "string", "image, video or visdoc."),
    Field("task_type", "string", "The task's type, such as retrieval or classification."),
    Field("group", "string", "The group the dataset is averaged in."),
    Field("model", "string", "The model that made the vectors."),
    Field("fingerprint", "string", "Hash of everything that decided the vectors."),
    Field("num_queries", "integer", "How many queries were scored."),
    Field("num_candidates", "integer", "How many different candidates there were."),
    Field("main_metric", "string", "The metric of main_score.", required=True),
    Field("main_score", "fraction", "The dataset's result, in 0..1.", required=True),
    Field("metrics", "fractions", "Metric to mean over the queries, in 0..1."),
    Field("ci95", "intervals", "Metric to the ends of its 95 % confidence interval."),
    Field("tool_version", "string", "The version of vlm2vec-cli that scored."),
)

SCORE = Kind("score", "The result of one dataset.", FIELDS)
