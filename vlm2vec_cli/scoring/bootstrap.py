"""Confidence intervals of means by resampling queries.

Q queries, M metrics, B resamples.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

MAX_DRAWS = 1 << 22  # drawn query numbers held at once: 32 MB
LEVELS = (0.025, 0.975)


def generator(seed: int, dataset: str) -> np.random.Generator:
    """A generator of its own for each dataset, so that an interval does not depend on what else is scored."""
    return np.random.default_rng([seed, zlib.crc32(dataset.encode())])


def intervals(
    values_QM: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The 2.5 and 97.5 percentiles of the mean over draws of Q queries with replacement, shape (M, 2).

    All metrics see the same draws. Source: Efron & Tibshirani 1993, An introduction to the bootstrap, chapter
    13 (percentile interval).
    """
    num_queries, num_metrics = values_QM.shape
    mean_BM = np.empty((resamples, num_metrics))
    size = max(1, MAX_DRAWS // num_queries)
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        draw_BQ = rng.integers(0, num_queries, (count, num_queries))
        draw_BQ += np.arange(count)[:, None] * num_queries
        times_BQ = np.bincount(draw_BQ.ravel(), minlength=count * num_queries).reshape(count, num_queries)
        mean_BM[start : start + count] = times_BQ @ values_QM / num_queries
    ends_M2: NDArray[np.float64] = np.quantile(mean_BM, LEVELS, axis=0).T
    return ends_M2
