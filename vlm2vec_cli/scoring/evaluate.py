"""Datasets -> results: search, judge, and keep what the outputs need of each query.

Q queries, M metrics, R ranks, K ranks that are kept.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli import catalogue, metrics
from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.metrics import Judged, Measure
from vlm2vec_cli.nearest import Vectors
from vlm2vec_cli.scoring import digests, scene_graph, search
from vlm2vec_cli.scoring.corpus import Block, Corpus, by_id, order
from vlm2vec_cli.scoring.dataset import FACTS, Dataset, named
from vlm2vec_cli.scoring.judge import Judgements, num_ranks, values
from vlm2vec_cli.scoring.matrix import Matrix, Rows
from vlm2vec_cli.scoring.result import Ints, Overall, Result, Settings, Task

Blocks = Callable[[Ints, int | None], Iterator[Block]]  # queries, depth (None: whole rankings) -> rankings

MAIN: Final = {"visdoc": Measure("ndcg_linear", 5)}
ANY_MAIN: Final = Measure("hit", 1)


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
        measures = tuple(dict.fromkeys((*settings.measures, main)))
        tasks.append(Task(dataset, measures, main, facts, digests.of(dataset)))
    return tasks


def by_vectors(task: Task, settings: Settings, whole: tuple[Vectors, Vectors] | None = None) -> Result:
    """Ranks by the similarity of vectors: each query's pool where it has one, else all candidates.

    `whole` are float vectors of queries and candidates for `settings.rescore`; else those of the dataset.
    """
    dataset = task.dataset
    judgements = Judgements(dataset.relevant)
    query_Q = _scored(dataset, judgements, settings)
    own_QD, rows_QD = _seen(dataset, dataset.query_vectors, settings)
    own_ND, rows_ND = _seen(dataset, dataset.candidate_vectors, settings)
    if settings.rescore is not None and whole is None:
        _check_whole(dataset, own_ND, rows_ND)
    whole_QD, whole_ND = whole or (own_QD, own_ND)
    row_of = dataset.row_of()
    number_of = np.array(list(dataset.candidate_rows), np.int64)

    def relevant(query_Q: Ints, row_QR: Ints) -> NDArray[np.bool_]:
        return judgements.relevant(query_Q, np.where(row_QR >= 0, number_of[row_QR], -1))

    corpus = Corpus(
        rows_ND,
        by_id([dataset.ids[number] for number in number_of]),
        settings.ties,
        relevant if settings.ties != "id" else None,
    )
    finer = replace(corpus, rows_ND=whole_ND)

    def blocks(query_Q: Ints, depth: int | None) -> Iterator[Block]:
        if depth is not None and settings.rescore is not None:
            depth = max(depth, settings.rescore)
        local = np.array([dataset.pools[query] is not None for query in query_Q], bool)
        everything = search.search_all(corpus, rows_QD, query_Q[~local], depth or len(corpus.rows_ND))
        pools = [row_of[pool] for query in query_Q[local] if (pool := dataset.pools[query]) is not None]
        for found in (everything, search.search_pools(corpus, rows_QD, query_Q[local], pools)):
            for block in found:
                if settings.rescore is not None:
                    block = search.rescored(finer, whole_QD, block, settings.rescore)
                index_QR = np.where(block.index_QR >= 0, number_of[block.index_QR], -1)
                yield Block(block.query_Q, index_QR, block.score_QR, block.num_ranked_Q, block.unique)

    def rank_beyond(query_Q: Ints) -> Ints:
        golds = [row_of[list(dataset.relevant[query])] for query in query_Q]
        return search.rank_of_first(corpus, rows_QD, query_Q, golds)

    stored: dict[str, Any] = {"dim": rows_ND.dim, "precision": rows_ND.precision}
    if settings.rescore is not None:
        stored["rescore"] = settings.rescore
    result = _result(task, settings, judgements, query_Q, blocks, rank_beyond, len(number_of))
    return replace(result, stored=stored, overall=_overall(task, settings, blocks))


def by_run(
    task: Task, settings: Settings, rankings: dict[int, tuple[Ints, NDArray[np.float32] | None]]
) -> Result:
    """Takes rankings as they were made: query position -> candidate numbers, scores.

    A query without one has an empty ranking; equal scores are put in our order.
    """
    dataset = task.dataset
    judgements = Judgements(dataset.relevant)
    query_Q = _scored(dataset, judgements, settings)
    tie_N = by_id(dataset.ids)
    nothing = (np.empty(0, np.int64), None)

    def blocks(query_Q: Ints, depth: int | None) -> Iterator[Block]:
        for query in query_Q:
            index_R, score_R = rankings.get(int(query), nothing)
            query_1, index_1R = np.array([query]), index_R[None]
            score_1R = np.full(index_1R.shape, np.nan, np.float32)
            if score_R is not None:
                hit_1R = judgements.relevant(query_1, index_1R)
                order_1R = order(score_R[None], tie_N[index_1R], hit_1R, settings.ties)
                index_1R, score_1R = index_1R[:, order_1R[0]], score_R[order_1R]
            yield Block(query_1, index_1R, score_1R, np.array([len(index_R)]), False)

    num_candidates = len(set().union(*(index_R.tolist() for index_R, _ in rankings.values())))
    result = _result(task, settings, judgements, query_Q, blocks, None, num_candidates)
    return replace(result, overall=_overall(task, settings, blocks))


def _overall(task: Task, settings: Settings, blocks: Blocks) -> dict[str, Overall]:
    if settings.scene_graph is None:
        return {}
    everything = blocks(np.arange(len(task.dataset.query_ids)), None)
    return scene_graph.measure(settings.scene_graph, task.dataset, everything, settings)


def _seen(dataset: Dataset, matrix: Matrix | None, settings: Settings) -> tuple[Rows, Rows]:
    """The vectors as they are, and as the settings have them cut and rounded."""
    assert matrix is not None
    rows = matrix.rows()
    try:
        seen = rows.seen_as(settings.dim, settings.precision)
    except DataError as error:
        raise dataset.error(error.fact, hint=error.hint) from None
    return rows, seen


def _check_whole(dataset: Dataset, rows: Rows, seen: Rows) -> None:
    if (seen.dim, seen.precision) == (rows.dim, rows.precision):
        raise dataset.error(
            "rescoring has no more to go by than the search",
            hint="give float vectors with --rescore FILE, or search with --precision binary or --dim 256",
        )


def _scored(dataset: Dataset, judgements: Judgements, settings: Settings) -> Ints:
    """The positions of the queries that count."""
    has_Q = judgements.num_relevant_Q > 0
    if not has_Q.any():
        raise dataset.error(
            "no query has a relevant candidate", hint="give query rows `relevant`, or --qrels FILE"
        )
    if settings.no_relevant == "error" and not has_Q.all():
        without = [query for query, position in dataset.query_ids.items() if not has_Q[position]]
        raise dataset.error(
            f"nothing relevant for {named('query', without)}",
            hint="--no-relevant exclude leaves them out, --no-relevant zero counts them as 0",
        )
    return np.flatnonzero(has_Q) if settings.no_relevant == "exclude" else np.arange(len(has_Q))


def _result(
    task: Task,
    settings: Settings,
    judgements: Judgements,
    query_Q: Ints,
    blocks: Blocks,
    rank_beyond: Callable[[Ints], Ints] | None,
    num_candidates: int,
) -> Result:
    """Measures block by block."""
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
    num_repeats = 0
    for block in blocks(query_Q, None if whole else depth):
        at = np.searchsorted(query_Q, block.query_Q)
        index_QR = block.index_QR if whole or settings.first_rank else block.index_QR[:, :depth]
        judged = judgements.judge(block.query_Q, index_QR, width, unique=block.unique)
        num_repeats += int((judged.hit_QR & judged.repeat_QR).any(axis=1).sum())
        result.values_QM[at] = np.where(has_Q[at][:, None], values(task.measures, judged), 0.0)
        result.num_ranked_Q[at] = block.num_ranked_Q
        kept = min(settings.keep, index_QR.shape[1])
        result.index_QK[at, :kept] = block.index_QR[:, :kept]
        result.score_QK[at, :kept] = block.score_QR[:, :kept]
        if settings.first_rank:
            result.rank_Q[at] = _first(block, judged, rank_beyond)
    return replace(result, num_repeats=num_repeats)


def _first(block: Block, judged: Judged, rank_beyond: Callable[[Ints], Ints] | None) -> Ints:
    rank_Q = np.where(judged.hit_QR.any(axis=1), judged.hit_QR.argmax(axis=1) + 1, 0)
    beyond_Q = (rank_Q == 0) & (block.num_ranked_Q > block.index_QR.shape[1]) & (judged.num_relevant_Q > 0)
    if rank_beyond and beyond_Q.any():
        rank_Q[beyond_Q] = rank_beyond(block.query_Q[beyond_Q])
    return rank_Q
