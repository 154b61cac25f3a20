"""ranking: the candidates of one query, best first (a row of a TREC run)."""

from typing import TypedDict

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Field, Kind, Row


class Ranking(TypedDict, total=False):
    """A row of the kind ranking."""

    query: str
    dataset: str
    candidates: list[str]
    scores: list[float]
    relevant: dict[str, float]


FIELDS = (
    Field("query", "id", "The query's id.", required=True),
    Field("dataset", "id", "The dataset of the query.", default="default"),
    Field("candidates", "ids", "Candidate ids, best first.", required=True),
    Field("scores", "numbers", "The candidates' scores, in their order."),
    Field("relevant", "gains", "Candidate id to gain, above 0: the judgements of the query."),
)


def _check(row: Row) -> None:
    scores = row.get("scores")
    if scores is not None and len(scores) != len(row["candidates"]):
        raise DataError(f"scores: expected one a candidate ({len(row['candidates'])}), got {len(scores)}")


RANKING = Kind("ranking", "The candidates of one query, best first.", FIELDS, check=_check)
