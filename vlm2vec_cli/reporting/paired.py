"""Paired bootstrap over queries: is the difference of two columns more than chance?

Both sides answered the same queries, so the queries are drawn together: B resamples of the per-query
differences. The p-value is the share of resamples, shifted to a mean of 0, that lie at least as far out
as the difference seen (two-sided, one added to both counts); the interval is the percentile one. The
p-values of the datasets of one comparison are adjusted after Holm (1979); a mean over datasets averages
their resamples, drawn apart, and is one test of its own. The smallest detectable difference is
(z(0.975) + z(0.8)) standard errors of the mean.
Source: Efron & Tibshirani 1993, chapter 16; Koehn 2004 for the paired form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.reporting.results import Paired

Floats = NDArray[np.float64]
DETECTABLE = 1.959964 + 0.841621
FEW_VALUES = 64
"""Up to so many distinct differences, resampling draws their counts; beyond, it draws queries."""
DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Differences:
    """Per-query differences of one dataset and the B means of their resamples."""

    values: Floats
    resampled: Floats


def differences(
    dataset: str, column: Mapping[str, float], reference: Mapping[str, float], *, resamples: int, seed: int
) -> Differences:
    """Resampled mean differences of two mappings query id -> value. DataError unless the ids are equal."""
    unmatched = sorted(column.keys() ^ reference.keys())
    if unmatched:
        raise DataError(
            f"dataset {dataset!r}: {len(unmatched)} queries are in one of the per-query files only,"
            f" {unmatched[0]!r} first",
            hint="paired tests need the same queries on both sides",
        )
    values = np.array([column[query] - reference[query] for query in column], dtype=np.float64)
    generator = np.random.default_rng([seed, *dataset.encode()])
    return Differences(values, _resampled(values, resamples, generator))


def _resampled(values: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    distinct, counts = np.unique(values, return_counts=True)
    total = len(values)
    if len(distinct) <= FEW_VALUES:
        drawn = generator.multinomial(total, counts / total, size=resamples)
        return np.asarray(drawn @ distinct / total, dtype=np.float64)
    means = np.empty(resamples)
    step = max(1, DRAWS_AT_ONCE // total)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        means[start:stop] = values[generator.integers(total, size=(stop - start, total))].mean(axis=1)
    return means


def test(parts: Sequence[Differences]) -> Paired:
    """The paired test of the mean over `parts`, one a dataset; `adjusted` is the p-value itself."""
    difference = float(np.mean([part.values.mean() for part in parts]))
    resampled: Floats = np.mean([part.resampled for part in parts], axis=0)
    beyond = int(np.count_nonzero(np.abs(resampled - difference) >= abs(difference) - 1e-12))
    p_value = (1 + beyond) / (1 + len(resampled))
    low, high = (float(end) for end in np.quantile(resampled, [0.025, 0.975]))
    error = np.sqrt(
        sum(part.values.var(ddof=min(1, len(part.values) - 1)) / len(part.values) for part in parts)
    )
    detectable = DETECTABLE * float(error) / len(parts)
    count = sum(len(part.values) for part in parts)
    return Paired(difference, (low, high), p_value, p_value, count, detectable)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the order given.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
