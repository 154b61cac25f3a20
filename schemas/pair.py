"""pair: one training example, a query with its positive and any hard negatives."""

from typing import TypedDict

from vlm2vec_cli.schemas.base import Field, Kind
from vlm2vec_cli.schemas.content import Content


class Negative(Content, total=False):
    """A hard negative; mined ones say how similar it was (`score`), its `rank`, and its `source`."""

    score: float
    rank: int
    source: str


class Pair(TypedDict, total=False):
    """A row of the kind pair."""

    id: str
    dataset: str
    query: Content
    positive: Content
    negatives: list[Negative]
    weight: float
    positive_ids: list[str]
    key: str


FIELDS = (
    Field("id", "id", "Unique per dataset; the line number where it is absent."),
    Field("dataset", "id", "The dataset or subset the pair belongs to.", default="default"),
    Field("query", "content", "The query side.", required=True),
    Field("positive", "content", "The side that answers the query.", required=True),
    Field("negatives", "contents", "Hard negatives; mined ones carry score, rank and source.", default=[]),
    Field("weight", "number", "How much the pair counts in the loss."),
    Field("positive_ids", "ids", "Ids of every candidate that answers the query."),
    Field("key", "id", "Equal for pairs whose positives answer each other's queries."),
)

PAIR = Kind("pair", "One training example: query, positive and hard negatives.", FIELDS)
