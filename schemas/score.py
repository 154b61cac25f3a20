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
    dim: int
    precision: str
    rescore: int
    num_queries: int
    num_candidates: int
    num_without_relevant: int
    main_metric: str
    main_score: float
    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    similarity: str
    ties: str
    no_relevant: str
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
    Field("main_metric", "string", "The metric of main_score.", required=True),
    Field("main_score", "fraction", "The dataset's result, in 0..1.", required=True),
    Field("metrics", "fractions", "Metric to mean over the queries, in 0..1."),
    Field("ci95", "intervals", "Metric to the ends of its 95 % confidence interval."),
    Field("similarity", "string", "How vectors were compared; cosine where it is absent."),
    Field("ties", "string", "Which of equal scores came first; by id where it is absent."),
    Field("no_relevant", "string", "What queries without anything relevant did; left out where absent."),
    Field("data_digest", "string", "Hash of ids, judgements and pools; different ones do not compare."),
    Field("text_digest", "string", "Hash of the texts of both sides, prompts included."),
    Field("tool_version", "string", "The version of vlm2vec-cli that scored."),
)

SCORE = Kind("score", "The result of one dataset.", FIELDS)
