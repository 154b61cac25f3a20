"""The first of many candidates by scores that are exact at once, as those of int8 and binary vectors are.

A kept candidate is one integer that rises as the ranking does: 32 bits of the score, one of the tie rule, 31
of its id's place. So of equal scores, of which binary vectors have masses, no more than `depth` are kept.

Q queries, C a block's candidates, M kept ones, X any flat list.
"""

import numpy as np

from vlm2vec_cli.nearest import Floats, Ints
from vlm2vec_cli.scoring.corpus import Corpus, packed
from vlm2vec_cli.scoring.scorers import Scorer

COLUMN_BLOCK = 8192
PLACE_BITS = (1 << 31) - 1
LEAST = -(1 << 63)


def first(corpus: Corpus, score: Scorer, query_Q: Ints, depth: int) -> tuple[Ints, Floats]:
    """The first `depth` of all candidates for each query and their scores, both (Q, depth), best first."""
    best_QM = np.empty((len(query_Q), 0), np.int64)
    floor_Q = np.full(len(query_Q), -np.inf, np.float32)
    for start in range(0, len(corpus.tie_N), COLUMN_BLOCK):
        score_QC = score.all(query_Q, slice(start, start + COLUMN_BLOCK))
        if best_QM.shape[1] < depth < score_QC.shape[1]:
            floor_Q = np.partition(score_QC, -depth, axis=1)[:, -depth]
        found_X = np.flatnonzero(score_QC >= floor_Q[:, None])  # faster than nonzero in 2-D
        if not len(found_X):
            continue
        row_X, column_X = np.divmod(found_X, score_QC.shape[1])
        key_X = _keys(corpus, query_Q[row_X], column_X + start, score_QC.ravel()[found_X])
        best_QM = np.concatenate([best_QM, packed(row_X, key_X, len(query_Q), LEAST)], axis=1)
        if best_QM.shape[1] >= depth:
            best_QM = np.partition(best_QM, best_QM.shape[1] - depth, axis=1)[:, -depth:]
            floor_Q = _scores(best_QM[:, 0])
    best_QM = np.sort(best_QM, axis=1)[:, ::-1]
    return np.argsort(corpus.tie_N)[best_QM & PLACE_BITS], _scores(best_QM)


def _keys(corpus: Corpus, query_X: Ints, index_X: Ints, score_X: Floats) -> Ints:
    bits_X = (score_X + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 makes one zero of two
    key_X = (_rising(bits_X) << 32) | corpus.tie_N[index_X]
    if corpus.relevant is not None:
        hit_X = corpus.relevant(query_X, index_X[:, None])[:, 0]
        key_X |= (hit_X == (corpus.ties == "optimistic")).astype(np.int64) << 31
    return key_X


def _scores(key: Ints) -> Floats:
    return _rising(key >> 32).astype(np.int32).view(np.float32)


def _rising(bits: Ints) -> Ints:
    """The bits of a float32 as integers that rise with it; and back."""
    return np.where(bits < 0, -(1 << 31) - bits, bits)
