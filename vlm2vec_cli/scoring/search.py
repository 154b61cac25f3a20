"""Exact search: which candidates are nearest to each query, in blocks and in bounded memory.

A score depends on the two vectors alone, see `scorers`. Where few of many candidates are wanted, `nearest`
finds them among float vectors, `integers` among int8 and binary ones; else everything is scored and sorted.

Q queries, N candidates, D dimensions, R ranks, P pool entries, C a block's columns, U a union of pools, X any
flat list; -1 fills the ends of short rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.nearest import Floats, Ints, Rows, Vectors, query_rows, top_k
from vlm2vec_cli.scoring import integers
from vlm2vec_cli.scoring.corpus import Block, Corpus, order, packed, tie_keys
from vlm2vec_cli.scoring.scorers import FloatScorer, Scorer, scorer

QUERY_BLOCK = 512
COLUMN_BLOCK = 8192
MAX_SCORES = 1 << 22  # scores of one block held at once: 16 MB
SHARED = 16  # pools are scored pair by pair where together they are more than 16 times as large as one
FEW = 0.5  # the share of candidates beyond which sorting everything is faster


def search_all(corpus: Corpus, rows_QD: Vectors, query_Q: Ints, depth: int) -> Iterator[Block]:
    """The first `depth` of all candidates for each query; `query_Q` are the numbers of the rows `rows_QD`."""
    num_candidates = len(corpus.rows_ND)
    depth = min(depth, num_candidates)
    few = depth < FEW * num_candidates
    score = scorer(rows_QD, corpus.rows_ND)
    floats = few and isinstance(score, FloatScorer)
    targets = Rows(corpus.rows_ND, longest=_longest(corpus.rows_ND) if floats and len(query_Q) else 0.0)
    size = min(QUERY_BLOCK, query_rows(depth) if few else max(1, MAX_SCORES // num_candidates))
    for start in range(0, len(query_Q), size):
        block_Q = query_Q[start : start + size]
        if floats:
            block_QD = np.asarray(rows_QD[block_Q])
            found = top_k(block_QD, targets, depth, ties=partial(_tie_keys, corpus, block_Q))
            index_QR, score_QR = found.targets, found.scores
        elif few:
            index_QR, score_QR = integers.first(corpus, score, block_Q, depth)
        else:
            index_QR, score_QR = _sorted(corpus, score, block_Q, depth)
        yield Block(block_Q, index_QR, score_QR, np.full(len(block_Q), num_candidates), True)


def search_pools(corpus: Corpus, rows_QD: Vectors, query_Q: Ints, pools: Sequence[Ints]) -> Iterator[Block]:
    """The whole ranking of each query's own pool; `pools` holds candidate rows, one array a query."""
    start = 0
    while start < len(query_Q):
        stop, longest = start, 0
        while stop < len(query_Q) and stop - start < QUERY_BLOCK:
            longest = max(longest, len(pools[stop]))
            if stop > start and (stop - start + 1) * longest > MAX_SCORES:
                break
            stop += 1
        yield _pool_block(corpus, rows_QD, query_Q[start:stop], pools[start:stop])
        start = stop


def rescored(corpus: Corpus, rows_QD: Vectors, block: Block, count: int) -> Block:
    """The block with its first `count` candidates put in the order that the vectors of `corpus` give them.

    What stands behind them stays as it is, its scores NaN: they do not compare with the new ones.
    """
    index_QC, rest_QR = block.index_QR[:, :count], block.index_QR[:, count:]
    score_QC = scorer(rows_QD, corpus.rows_ND).at(block.query_Q, np.maximum(index_QC, 0))
    score_QC[index_QC < 0] = -np.inf
    index_QC, score_QC = _ranked(corpus, block.query_Q, index_QC, score_QC)
    nothing_QR = np.full(rest_QR.shape, np.nan, np.float32)
    return replace(
        block,
        index_QR=np.concatenate([index_QC, rest_QR], axis=1),
        score_QR=np.concatenate([score_QC, nothing_QR], axis=1),
    )


def rank_of_first(corpus: Corpus, rows_QD: Vectors, query_Q: Ints, golds: Sequence[Ints]) -> Ints:
    """1-based rank, among all candidates, of each query's best placed one of `golds` (candidate rows)."""
    rank_Q = np.zeros(len(query_Q), np.int64)
    score = scorer(rows_QD, corpus.rows_ND)
    size = max(1, MAX_SCORES // len(corpus.rows_ND))
    for start in range(0, len(query_Q), size):
        score_QN = score.all(query_Q[start : start + size])
        for row, score_N in enumerate(score_QN):
            gold = golds[start + row]
            best = gold[np.lexsort((-corpus.tie_N[gold], -score_N[gold]))[0]]
            equal_N = score_N == score_N[best]
            ahead = int((score_N > score_N[best]).sum())
            if corpus.ties == "id":
                ahead += int((equal_N & (corpus.tie_N > corpus.tie_N[best])).sum())
            elif corpus.ties == "pessimistic":
                ahead += int(equal_N.sum()) - int(equal_N[gold].sum())
            rank_Q[start + row] = ahead + 1
    return rank_Q


def _ranked(
    corpus: Corpus, query_Q: Ints, index_QR: Ints, score_QR: Floats, depth: int | None = None
) -> tuple[Ints, Floats]:
    """The rows sorted and cut; -1 entries (score -inf) go to the end."""
    tie_QR = np.where(index_QR >= 0, corpus.tie_N[index_QR], -1)
    hit_QR = corpus.relevant(query_Q, index_QR) if corpus.relevant else None
    order_QR = order(score_QR, tie_QR, hit_QR, corpus.ties)[:, :depth]
    return np.take_along_axis(index_QR, order_QR, 1), np.take_along_axis(score_QR, order_QR, 1)


def _sorted(corpus: Corpus, score: Scorer, query_Q: Ints, depth: int) -> tuple[Ints, Floats]:
    """By exact scores of everything; sorts only what reaches the score at `depth`."""
    score_QN = score.all(query_Q)
    num_candidates = score_QN.shape[1]
    if depth * 4 > num_candidates:
        index_QN = np.broadcast_to(np.arange(num_candidates), score_QN.shape)
        return _ranked(corpus, query_Q, index_QN, score_QN, depth)
    last_Q = np.partition(score_QN, num_candidates - depth, axis=1)[:, num_candidates - depth]
    row_X, index_X = np.nonzero(score_QN >= last_Q[:, None])
    index_QR = packed(row_X, index_X, len(query_Q))
    score_QR = np.take_along_axis(score_QN, np.maximum(index_QR, 0), 1)
    score_QR[index_QR < 0] = -np.inf
    return _ranked(corpus, query_Q, index_QR, score_QR, depth)


def _tie_keys(corpus: Corpus, query_Q: Ints, row_X: Ints, index_X: Ints) -> tuple[NDArray[Any], ...]:
    """What sorts equal scores of the queries `query_Q[row_X]` with the candidates `index_X`."""
    hit_X = corpus.relevant(query_Q[row_X], index_X[:, None])[:, 0] if corpus.relevant else None
    return tie_keys(corpus.tie_N[index_X], hit_X, corpus.ties)


def _longest(rows_ND: Vectors) -> float:
    """The length of the longest row."""
    blocks = (rows_ND[start : start + COLUMN_BLOCK] for start in range(0, len(rows_ND), COLUMN_BLOCK))
    return max(float(np.sqrt(np.einsum("nd,nd->n", block_CD, block_CD).max())) for block_CD in blocks)


def _pool_block(corpus: Corpus, rows_QD: Vectors, query_Q: Ints, pools: Sequence[Ints]) -> Block:
    length_Q = np.array([len(pool) for pool in pools], np.int64)
    every_X = np.concatenate(pools)
    row_X = np.repeat(np.arange(len(pools)), length_Q)
    index_QP = packed(row_X, every_X, len(pools))
    union_U, place_X = np.unique(every_X, return_inverse=True)
    score = scorer(rows_QD, corpus.rows_ND)
    if len(union_U) * len(pools) > SHARED * index_QP.size:
        score_QP = score.at(query_Q, np.maximum(index_QP, 0))
        score_QP[index_QP < 0] = -np.inf
    else:
        score_X = np.empty(len(every_X), np.float32)
        for start in range(0, len(union_U), COLUMN_BLOCK):
            score_QC = score.all(query_Q, union_U[start : start + COLUMN_BLOCK])
            inside_X = (place_X >= start) & (place_X < start + COLUMN_BLOCK)
            score_X[inside_X] = score_QC[row_X[inside_X], place_X[inside_X] - start]
        score_QP = np.full(index_QP.shape, -np.inf, np.float32)
        score_QP[index_QP >= 0] = score_X  # both walk row by row
    index_QP, score_QP = _ranked(corpus, query_Q, index_QP, score_QP)
    return Block(query_Q, index_QP, score_QP, length_Q, False)
