"""Judgements and rankings from files of other tools: qrels (TSV, TREC), runs (TREC), ranking rows.

    qrels, TREC          QUERY 0 CANDIDATE GAIN                     separated by blanks or tabs
    qrels, TSV           QUERY <tab> CANDIDATE <tab> GAIN           a header line is skipped
    run, TREC            QUERY Q0 CANDIDATE RANK SCORE [TAG]        sorted by score, the rank is not looked at
    run, rows            vlm2vec/ranking rows, JSONL or Parquet     best first; may carry `relevant`
    run, predictions     {"prediction": [...], "label": [...], "rel_scores": [...]}, one a query, JSONL;
                         a folder of TASK_pred.jsonl is all of these

Tabs between the fields allow blanks in ids.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePath
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.schemas import checks
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.schemas.ranking import RANKING
from vlm2vec_cli.scoring.dataset import Dataset, named, numbered

Lines = Iterable[tuple[int, str]]
Ranking = tuple[NDArray[np.int64], NDArray[np.float32] | None]
DEFAULT: Final = "default"
LARGEST: Final = float(np.finfo(np.float32).max)
PREDICTIONS: Final = "_pred"  # the reference names its files TASK_pred.jsonl


@dataclass
class Run:
    """Rankings: dataset -> position of the query in it -> candidates, and scores where there are any."""

    datasets: dict[str, Dataset]
    rankings: dict[str, dict[int, Ranking]] = field(default_factory=dict)


def read_qrels(lines: Lines, place: str) -> dict[str, dict[str, float]]:
    """Query -> candidate -> gain, in the file's order.

    A gain of 0 or less is a judgement of "not relevant" and is left out; its query is kept. DataError for a
    malformed line and for a pair that is judged twice.
    """
    qrels: dict[str, dict[str, float]] = {}
    judged: set[tuple[str, str]] = set()
    for number, line in lines:
        parts = line.split("\t") if "\t" in line else line.split()
        try:
            query, candidate = parts[0], parts[-2]
            gain = float(parts[-1])
        except (IndexError, ValueError):
            if number == 1 and len(parts) in (3, 4):  # a header
                continue
            gain = math.nan
        if len(parts) not in (3, 4) or not math.isfinite(gain):
            fact = "expected QUERY 0 CANDIDATE GAIN, or QUERY CANDIDATE GAIN with tabs"
            raise DataError(fact, place=f"{place} line {number}")
        if (query, candidate) in judged:
            fact = f"candidate {candidate!r} of query {query!r} is judged twice"
            raise DataError(fact, place=f"{place} line {number}")
        judged.add((query, candidate))
        gains = qrels.setdefault(query, {})
        if gain > 0:
            gains[candidate] = gain
    if not judged:
        raise DataError("no judgements", place=place)
    return qrels


def run_files(path: str) -> list[str]:
    """The file itself, or of a folder all TASK_pred.jsonl in it; MissingError for a folder without any."""
    if not Path(path).is_dir():
        return [path]
    found = sorted(str(one) for one in Path(path).rglob(f"*{PREDICTIONS}.jsonl"))
    if not found:
        raise MissingError(f"no TASK{PREDICTIONS}.jsonl in this folder", place=path)
    return found


def read_run(lines: Lines, place: str) -> Iterator[Row]:
    """Ranking rows of a text file, TREC or JSONL by its first character; each with its `place`."""
    lines = iter(lines)
    first = next(lines, None)
    if first is None:
        raise DataError("no rankings", place=place)
    parse = _json_rows if first[1].lstrip().startswith("{") else _trec_rows
    yield from parse(chain([first], lines), place)


def gather(
    rows: Iterable[Row],
    datasets: dict[str, Dataset],
    source: str,
    note: Callable[[str], None],
) -> Run:
    """Puts rankings to the queries of `datasets`; without any of these, to datasets that they make up.

    Rankings of the dataset "default", as all in a TREC run are, belong to the only one there is. DataError
    for a second ranking of one query, for scores that rise, and for a dataset that is not known; rankings of
    unknown queries are noted.
    """
    fixed, run, strangers = tuple(datasets), Run(datasets), list[str]()
    for row in rows:
        name, query = row["dataset"], row["query"]
        if name == DEFAULT and len(fixed) == 1:
            name = fixed[0]
        if name not in datasets:
            if fixed:
                raise DataError(f"dataset {name!r} is not in the input", place=row["place"])
            datasets[name] = Dataset(name, source)
        dataset = datasets[name]
        if query not in dataset.query_ids:
            if fixed:
                strangers.append(query)
                continue
            add_query(dataset, query, row["place"])
        position = dataset.query_ids[query]
        rankings = run.rankings.setdefault(name, {})
        if position in rankings:
            raise DataError(f"query {query!r} has a second ranking", place=row["place"])
        for made_by, known in (("model", dataset.models), ("fingerprint", dataset.fingerprints)):
            if row.get(made_by) and row[made_by] not in known:
                known.append(row[made_by])
        if row.get("relevant"):
            dataset.relevant[position] = numbered(dataset, row["relevant"])
        index_R = np.array([dataset.number_of(one) for one in row["candidates"]], np.int64)
        rankings[position] = index_R, _scores(row)
    if strangers:
        note(f"rankings of {named('query', strangers)} are not used: not in the input")
    return run


def add_query(dataset: Dataset, query: str, place: str) -> None:
    """A query that is known by its id alone."""
    dataset.query_ids[query] = len(dataset.query_ids)
    dataset.query_places.append(place)
    dataset.images.append(None)
    dataset.relevant.append({})
    dataset.pools.append(None)


def _scores(row: Row) -> NDArray[np.float32] | None:
    if row.get("scores") is None:
        return None
    score_R = np.clip(np.array(row["scores"], np.float64), -LARGEST, LARGEST).astype(np.float32)
    rising = np.flatnonzero(score_R[1:] > score_R[:-1])
    if len(rising):
        raise DataError(
            f"query {row['query']!r}: the score rises from rank {rising[0] + 1} to {rising[0] + 2}",
            place=row["place"],
            hint="candidates stand best first; leave `scores` out where they say something else",
        )
    return score_R


def _trec_rows(lines: Lines, place: str) -> Iterator[Row]:
    """One row a query, in the order of first appearance; the lines of a query may lie apart."""
    found: dict[str, tuple[int, list[str], list[float]]] = {}
    for number, line in lines:
        parts = line.split("\t") if "\t" in line else line.split()
        try:
            query, _, candidate, _, text = parts[:5]
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score) or len(parts) > 6:
            raise DataError("expected QUERY Q0 CANDIDATE RANK SCORE TAG", place=f"{place} line {number}")
        _, candidates, scores = found.setdefault(query, (number, [], []))
        candidates.append(candidate)
        scores.append(score)
    for query, (number, candidates, scores) in found.items():
        by_score = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        yield {
            "query": query,
            "dataset": DEFAULT,
            "candidates": [candidates[one] for one in by_score],
            "scores": [scores[one] for one in by_score],
            "place": f"{place} line {number}",
        }


def _json_rows(lines: Lines, place: str) -> Iterator[Row]:
    for number, line in lines:
        try:
            row = orjson.loads(line)
            if not isinstance(row, dict):
                raise DataError("expected a JSON object")
            gains: Row = {}
            if "prediction" in row:
                row, gains = _prediction(row, number, place)
            yield {**RANKING.parse(row, str(number)), **gains, "place": f"{place} line {number}"}
        except orjson.JSONDecodeError as error:
            raise DataError(f"not JSON: {error.msg}", place=f"{place} line {number}") from error
        except DataError as error:
            raise error.at(f"{place} line {number}") from None


def _prediction(row: Row, number: int, place: str) -> tuple[Row, Row]:
    """A row of the reference's prediction file, and `relevant`: each label keeps its own gain, be it 0."""
    labels = row.get("label") or []
    labels = labels if isinstance(labels, list) else [labels]
    gains = row["rel_scores"] if row.get("rel_scores") is not None else [1.0] * len(labels)
    if not isinstance(gains, list):
        raise DataError(f"rel_scores: expected a list of numbers, got {checks.named(gains)}")
    if len(gains) != len(labels):
        raise DataError(f"rel_scores: expected one a label ({len(labels)}), got {len(gains)}")
    for at, gain in enumerate(gains, start=1):
        if not isinstance(gain, int | float) or isinstance(gain, bool) or not 0 <= gain < math.inf:
            raise DataError(f"rel_scores: entry {at}: expected a number from 0, got {gain!r}")
    name = PurePath(place).name.split(".")[0]
    ranking = {
        "query": str(number),
        "dataset": name.removesuffix(PREDICTIONS) or DEFAULT,
        "candidates": row["prediction"],
    }
    return ranking, {"relevant": {str(label): gain for label, gain in zip(labels, gains, strict=True)}}
