"""Rankings as lists of ids, for laws that compare a metric with its definition spelt out in plain Python."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged, Measure
from vlm2vec_cli.scoring.judge import Judgements

IDS = "abcdefghijkl"
Case = tuple[list[str], dict[str, float]]  # ranked ids, best first; id -> gain
CASES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(IDS), max_size=14),
        st.dictionaries(st.sampled_from(IDS), st.integers(0, 4).map(float), max_size=8),
    ),
    min_size=1,
    max_size=5,
)
CUTOFFS = st.integers(1, 16)


def judged(cases: Sequence[Case], num_ranks: int) -> Judged:
    """The cases as a metric sees them, ragged rankings and all."""
    judgements = Judgements([{IDS.index(one): gain for one, gain in gains.items()} for _, gains in cases])
    index_QR = np.full((len(cases), max(len(ranked) for ranked, _ in cases)), -1, np.int64)
    for query, (ranked, _) in enumerate(cases):
        index_QR[query, : len(ranked)] = [IDS.index(one) for one in ranked]
    return judgements.judge(np.arange(len(cases)), index_QR, num_ranks)


def measured(metric: str, cases: Sequence[Case], k: int | None) -> NDArray[np.float64]:
    """The metric of each case."""
    return Measure(metric, k)(judged(cases, max([k or 0, *(len(gains) for _, gains in cases)])))


def one(metric: str, ranked: Sequence[str], gains: Mapping[str, float], k: int | None) -> float:
    """The metric of a single case."""
    return float(measured(metric, [(list(ranked), dict(gains))], k)[0])


def agree(metric: str, cases: Sequence[Case], k: int | None, definition: Callable[..., float]) -> None:
    """Asserts that the metric is its definition, `definition(ranked, gains, k)`, on every case."""
    expected = [definition(ranked, gains, k) for ranked, gains in cases]
    np.testing.assert_allclose(measured(metric, cases, k), expected, atol=1e-12)
