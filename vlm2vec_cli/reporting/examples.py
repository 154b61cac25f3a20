"""Queries to look at: hits and misses of one model, or what two models answered differently.

A hit is a query whose first candidate is relevant. The examples of a kind are spread evenly over the
dataset's queries, so that they are neither the best nor the worst ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm2vec_cli.reporting.per_query import Outcomes, PerQuery
from vlm2vec_cli.reporting.results import Report, Task

SHOWN = 5
"""Candidates of a ranking that are shown."""

ALONE = ("miss", "hit")
TOGETHER = ("gained", "lost", "both miss", "both hit")


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's ranking of one query; contents are the per-query file's structs, best candidate first."""

    column: int
    rank: int | None
    num_ranked: int | None
    value: float
    candidates: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Example:
    """One query with its content, its relevant candidates and every model's answer."""

    kind: str
    query: str
    content: Mapping[str, Any]
    relevant: Sequence[Mapping[str, Any]]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class TaskExamples:
    """The examples of one task; `counts` has the number of queries of every kind."""

    task: Task
    counts: Mapping[str, int]
    examples: tuple[Example, ...]


def gather(report: Report, per_query: Mapping[int, PerQuery], each: int) -> list[TaskExamples]:
    """Up to `each` examples of every kind, for every task that a per-query file has."""
    found = []
    for task in report.tasks if each > 0 else ():
        outcomes = {}
        for position in _order(report, per_query):
            cell = report.columns[position].cells.get(task.name)
            shared = None if cell is None else per_query[position].shared(task.name, cell)
            if shared is not None:
                outcomes[position] = shared[1]
        if outcomes:
            found.append(_task(task, outcomes, per_query, each))
    return found


def _order(report: Report, per_query: Mapping[int, PerQuery]) -> list[int]:
    """Columns with a file: a compared one and its reference first, else as they stand."""
    for comparison in report.comparisons:
        if comparison.column in per_query and comparison.reference in per_query:
            pair = [comparison.reference, comparison.column]
            return pair + [position for position in sorted(per_query) if position not in pair]
    return sorted(per_query)


def _task(
    task: Task, outcomes: Mapping[int, Outcomes], per_query: Mapping[int, PerQuery], each: int
) -> TaskExamples:
    positions = list(outcomes)
    index = {
        position: {query: at for at, query in enumerate(one.queries)} for position, one in outcomes.items()
    }
    shared = [query for query in outcomes[positions[0]].queries if all(query in index[p] for p in positions)]
    kinds: dict[str, list[str]] = {kind: [] for kind in (ALONE if len(positions) == 1 else TOGETHER)}
    for query in shared:
        hits = [outcomes[position].ranks[index[position][query]] == 1 for position in positions[:2]]
        kinds[_kind(hits)].append(query)
    chosen = [(kind, query) for kind, queries in kinds.items() for query in _spread(queries, each)]
    rows = {
        position: per_query[position].contents(
            [outcomes[position].rows[index[position][q]] for _, q in chosen]
        )
        for position in positions
    }
    examples = []
    for kind, query in chosen:
        answers = []
        for position in positions:
            at = index[position][query]
            row = rows[position][outcomes[position].rows[at]]
            value, rank = outcomes[position].values[at], outcomes[position].ranks[at]
            answers.append(
                Answer(position, rank, row.get("num_ranked"), value, (row["candidates"] or [])[:SHOWN])
            )
        first = rows[positions[0]][outcomes[positions[0]].rows[index[positions[0]][query]]]
        examples.append(Example(kind, query, first, first["relevant"] or [], tuple(answers)))
    return TaskExamples(task, {kind: len(queries) for kind, queries in kinds.items()}, tuple(examples))


def _kind(hits: Sequence[bool]) -> str:
    if len(hits) == 1:
        return "hit" if hits[0] else "miss"
    before, after = hits
    if before == after:
        return "both hit" if after else "both miss"
    return "gained" if after else "lost"


def _spread(queries: Sequence[str], count: int) -> list[str]:
    """`count` of them at even distances, the first one included."""
    if len(queries) <= count:
        return list(queries)
    return [queries[index * len(queries) // count] for index in range(count)]
