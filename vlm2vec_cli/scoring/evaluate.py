"""Datasets -> results: search, judge, and keep what the outputs need of each query.

Q queries, M metrics, R ranks, K ranks that are kept.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli import __version__, catalogue, metrics
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.metrics import Judged, Measure
from vlm2vec_cli.scoring import bootstrap, search
from vlm2vec_cli.scoring.collect import FACTS, Dataset, named
from vlm2vec_cli.scoring.judge import Judgements, num_ranks, values
from vlm2vec_cli.scoring.matrix import Similarity
from vlm2vec_cli.scoring.search import Block, Ties

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NoRelevant = Literal["exclude", "zero", "error"]

METRICS: Final = ("hit", "precision", "recall", "f1", "map", "mrr", "ndcg_linear", "ndcg_exponential")
CUTOFFS: Final = (1, 5, 10)
DEFAULT: Final = tuple(Measure(metric, k) for metric in METRICS for k in CUTOFFS)
"""What the reference prints."""

MAIN: Final = {"visdoc": Measure("ndcg_linear", 5)}
ANY_MAIN: Final = Measure("hit", 1)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to score. `keep` is how many ranked candidates of each query a result holds."""

    measures: tuple[Measure, ...] = DEFAULT
    main: Measure | None = None
    similarity: Similarity = "cosine"
    ties: Ties = "id"
    no_relevant: NoRelevant = "exclude"
    resamples: int = 1000
    seed: int = 0
    keep: int = 0
    first_rank: bool = False  # whether `Result.rank_Q` is needed


@dataclass(frozen=True, slots=True)
class Task:
    """One dataset with what is to be measured on it."""

    dataset: Dataset
    measures: tuple[Measure, ...]
    main: Measure
    facts: dict[str, str]

    @property
    def made_by(self) -> dict[str, str]:
        """`model` and `fingerprint` as far as the vectors said."""
        known = {"model": self.dataset.models, "fingerprint": self.dataset.fingerprints}
        return {name: " + ".join(several) for name, several in known.items() if several}


@dataclass(frozen=True, slots=True)
class Result:
    """What came out for one dataset; candidates are numbers of the dataset, -1 past the end of a ranking."""

    task: Task
    settings: Settings
    query_Q: Ints  # positions in the dataset's queries, those without relevant left out or not
    values_QM: Floats
    rank_Q: Ints  # of the first relevant candidate, 0 where none is ranked; zeros unless settings.first_rank
    num_ranked_Q: Ints
    index_QK: Ints
    score_QK: NDArray[np.float32]  # NaN where a run has no scores
    num_candidates: int
    num_without: int  # queries without anything relevant

    def row(self) -> dict[str, Any]:
        """The score row."""
        dataset, names = self.task.dataset, [measure.name for measure in self.task.measures]
        count = len(self.values_QM)
        means = {name: math.fsum(self.values_QM[:, m]) / count for m, name in enumerate(names)}
        row: dict[str, Any] = {"dataset": dataset.name}
        row |= {name: self.task.facts[name] for name in FACTS[:3] if name in self.task.facts}
        row |= self.task.made_by
        row |= {"num_queries": count, "num_candidates": self.num_candidates}
        if self.num_without:
            row["num_without_relevant"] = self.num_without
        row |= {
            "main_metric": self.task.main.name,
            "main_score": means[self.task.main.name],
            "metrics": means,
        }
        if self.settings.resamples and count > 1:
            rng = bootstrap.generator(self.settings.seed, dataset.name)
            ends = bootstrap.intervals(self.values_QM, self.settings.resamples, rng)
            row["ci95"] = dict(zip(names, ends.tolist(), strict=True))
        usual = Settings()
        if self.settings.similarity != usual.similarity:
            row["similarity"] = self.settings.similarity
        if self.settings.ties != usual.ties:
            row["ties"] = self.settings.ties
        return row | {"tool_version": __version__}


def plan(datasets: Iterable[Dataset], settings: Settings) -> list[Task]:
    """What to measure on each dataset; its main metric is measured even where it was not asked for."""
    tasks = []
    known = catalogue.tasks()
    for dataset in datasets:
        facts = {name: str(known[dataset.name][name]) for name in FACTS} if dataset.name in known else {}
        facts |= dataset.facts
        main = settings.main
        if main is None and "main_metric" in facts:
            try:
                main = metrics.parse(facts["main_metric"])
            except UsageError as error:
                raise dataset.error(f"main_metric: {error.fact}", hint=error.hint) from None
        main = main or MAIN.get(facts.get("modality", ""), ANY_MAIN)
        tasks.append(Task(dataset, tuple(dict.fromkeys((*settings.measures, main))), main, facts))
    return tasks


def by_vectors(task: Task, settings: Settings) -> Result:
    """Ranks by the similarity of vectors: each query's pool where it has one, else all candidates."""
    dataset = task.dataset
    assert dataset.query_vectors is not None
    assert dataset.candidate_vectors is not None
    judgements = Judgements(dataset.relevant)
    query_Q = _scored(dataset, judgements, settings)
    rows_QD, row_of = dataset.query_vectors.rows_ND(), dataset.row_of()
    number_of = np.array(list(dataset.candidate_rows), np.int64)

    def relevant(query_Q: Ints, row_QR: Ints) -> NDArray[np.bool_]:
        return judgements.relevant(query_Q, np.where(row_QR >= 0, number_of[row_QR], -1))

    corpus = search.Corpus(
        dataset.candidate_vectors.rows_ND(),
        search.by_id([dataset.ids[number] for number in number_of]),
        settings.ties,
        relevant if settings.ties != "id" else None,
    )

    def blocks(depth: int | None) -> Iterator[Block]:
        local = np.array([dataset.pools[query] is not None for query in query_Q], bool)
        everything = search.search_all(corpus, rows_QD, query_Q[~local], depth or len(corpus.rows_ND))
        pools = [row_of[pool] for query in query_Q[local] if (pool := dataset.pools[query]) is not None]
        for found in (everything, search.search_pools(corpus, rows_QD, query_Q[local], pools)):
            for block in found:
                index_QR = np.where(block.index_QR >= 0, number_of[block.index_QR], -1)
                yield Block(block.query_Q, index_QR, block.score_QR, block.num_ranked_Q, block.unique)

    def rank_beyond(query_Q: Ints) -> Ints:
        golds = [row_of[list(dataset.relevant[query])] for query in query_Q]
        return search.rank_of_first(corpus, rows_QD, query_Q, golds)

    return _result(task, settings, judgements, query_Q, blocks, rank_beyond, len(number_of))


def by_run(
    task: Task, settings: Settings, rankings: dict[int, tuple[Ints, NDArray[np.float32] | None]]
) -> Result:
    """Takes rankings as they were made: query position -> candidate numbers, scores.

    A query without one has an empty ranking; equal scores are put in our order.
    """
    dataset = task.dataset
    judgements = Judgements(dataset.relevant)
    query_Q = _scored(dataset, judgements, settings)
    tie_N = search.by_id(dataset.ids)
    nothing = (np.empty(0, np.int64), None)

    def blocks(depth: int | None) -> Iterator[Block]:
        for query in query_Q:
            index_R, score_R = rankings.get(int(query), nothing)
            query_1, index_1R = np.array([query]), index_R[None]
            score_1R = np.full(index_1R.shape, np.nan, np.float32)
            if score_R is not None:
                hit_1R = judgements.relevant(query_1, index_1R)
                order_1R = search.order(score_R[None], tie_N[index_1R], hit_1R, settings.ties)
                index_1R, score_1R = index_1R[:, order_1R[0]], score_R[order_1R]
            yield Block(query_1, index_1R, score_1R, np.array([len(index_R)]), False)

    num_candidates = len(set().union(*(index_R.tolist() for index_R, _ in rankings.values())))
    return _result(task, settings, judgements, query_Q, blocks, None, num_candidates)


def _scored(dataset: Dataset, judgements: Judgements, settings: Settings) -> Ints:
    """The positions of the queries that count."""
    has_Q = judgements.num_relevant_Q > 0
    if not has_Q.any():
        raise dataset.error(
            "no query has a relevant candidate", hint="give query rows `relevant`, or --qrels FILE"
        )
    if settings.no_relevant == "error" and not has_Q.all():
        without = [query for query, position in dataset.query_ids.items() if not has_Q[position]]
        raise dataset.error(f"nothing relevant for {named('query', without)}")
    return np.flatnonzero(has_Q) if settings.no_relevant == "exclude" else np.arange(len(has_Q))


def _result(
    task: Task,
    settings: Settings,
    judgements: Judgements,
    query_Q: Ints,
    blocks: Callable[[int | None], Iterator[Block]],
    rank_beyond: Callable[[Ints], Ints] | None,
    num_candidates: int,
) -> Result:
    """Measures block by block; `blocks(None)` gives whole rankings."""
    has_Q = judgements.num_relevant_Q[query_Q] > 0
    width = num_ranks(task.measures, judgements.num_relevant_Q)
    whole = any(measure.k is None for measure in task.measures)
    count, depth = len(query_Q), max(width, settings.keep)
    result = Result(
        task,
        settings,
        query_Q,
        np.zeros((count, len(task.measures))),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full((count, settings.keep), -1, np.int64),
        np.full((count, settings.keep), np.nan, np.float32),
        num_candidates,
        int((judgements.num_relevant_Q == 0).sum()),
    )
    for block in blocks(None if whole else depth):
        at = np.searchsorted(query_Q, block.query_Q)
        index_QR = block.index_QR if whole or settings.first_rank else block.index_QR[:, :depth]
        judged = judgements.judge(block.query_Q, index_QR, width, unique=block.unique)
        result.values_QM[at] = np.where(has_Q[at][:, None], values(task.measures, judged), 0.0)
        result.num_ranked_Q[at] = block.num_ranked_Q
        kept = min(settings.keep, index_QR.shape[1])
        result.index_QK[at, :kept] = block.index_QR[:, :kept]
        result.score_QK[at, :kept] = block.score_QR[:, :kept]
        if settings.first_rank:
            result.rank_Q[at] = _first(block, judged, rank_beyond)
    return result


def _first(block: Block, judged: Judged, rank_beyond: Callable[[Ints], Ints] | None) -> Ints:
    rank_Q = np.where(judged.hit_QR.any(axis=1), judged.hit_QR.argmax(axis=1) + 1, 0)
    beyond_Q = (rank_Q == 0) & (block.num_ranked_Q > block.index_QR.shape[1]) & (judged.num_relevant_Q > 0)
    if rank_beyond and beyond_Q.any():
        rank_Q[beyond_Q] = rank_beyond(block.query_Q[beyond_Q])
    return rank_Q
