"""Paired tests over queries: is the difference of two columns more than chance?

Both sides answered the same queries, so a test looks at the per-query differences. Were the two equally good,
each difference could as well have the other sign: the p-value is the share of B draws of signs whose mean
lies at least as far out as the one seen (permutation test, two-sided, one added to both counts). The interval
is the percentile one of B paired bootstrap resamples. The p-values of the datasets of one comparison are
adjusted after Holm (1979), and so are those of its means, which average the draws of their datasets.
The smallest detectable difference is (z(0.975) + z(0.8)) standard errors of the mean.
Source: Fisher 1935, The design of experiments, for the permutation test; Smucker, Allan & Carterette 2007 for
its use in retrieval; Koehn 2004 for the paired bootstrap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.reporting.results import Paired

Name = TypeVar("Name")
Floats = NDArray[np.float64]
DETECTABLE = 1.959964 + 0.841621
FEW_VALUES = 64
"""Up to so many distinct differences, their counts are drawn; beyond, queries are."""
DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Differences:
    """Per-query differences of one dataset, the B means of resamples and the B means under drawn signs."""

    values: Floats
    resampled: Floats
    flipped: Floats


def differences(
    dataset: str, column: Mapping[str, float], reference: Mapping[str, float], *, resamples: int, seed: int
) -> Differences:
    """The draws for two mappings query id -> value. DataError unless the ids are equal."""
    unmatched = sorted(column.keys() ^ reference.keys())
    if unmatched:
        raise DataError(
            f"dataset {dataset!r}: {len(unmatched)} queries are in one of the per-query files only,"
            f" {unmatched[0]!r} first",
            hint="paired tests need the same queries on both sides",
        )
    values = np.array([column[query] - reference[query] for query in column], dtype=np.float64)
    generator = np.random.default_rng([seed, *dataset.encode()])
    resampled = _resampled(values, resamples, generator)
    return Differences(values, resampled, sign_flips(values, resamples, generator))


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


def sign_flips(values: Floats, draws: int, generator: np.random.Generator) -> Floats:
    """The mean of `values` under `draws` draws of their signs, shape (draws,)."""
    distinct, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    total = len(values)
    if len(distinct) <= FEW_VALUES:
        ahead = generator.binomial(counts, 0.5, size=(draws, len(counts)))
        return np.asarray((2 * ahead - counts) @ distinct / total, dtype=np.float64)
    means = np.empty(draws)
    step = max(1, DRAWS_AT_ONCE // total)
    for start in range(0, draws, step):
        stop = min(start + step, draws)
        signs = 2 * generator.integers(2, size=(stop - start, total), dtype=np.int8) - 1
        means[start:stop] = signs @ values / total
    return means


def test(parts: Sequence[Differences]) -> Paired:
    """The paired test of the mean over `parts`, one a dataset; `adjusted` is the p-value itself."""
    difference = float(np.mean([part.values.mean() for part in parts]))
    resampled: Floats = np.mean([part.resampled for part in parts], axis=0)
    flipped: Floats = np.mean([part.flipped for part in parts], axis=0)
    beyond = int(np.count_nonzero(np.abs(flipped) >= abs(difference) - 1e-12))
    p_value = (1 + beyond) / (1 + len(flipped))
    low, high = (float(end) for end in np.quantile(resampled, [0.025, 0.975]))
    error = np.sqrt(
        sum(part.values.var(ddof=min(1, len(part.values) - 1)) / len(part.values) for part in parts)
    )
    detectable = DETECTABLE * float(error) / len(parts)
    count = sum(len(part.values) for part in parts)
    return Paired(difference, (low, high), p_value, p_value, count, detectable)


def adjusted(tests: Mapping[Name, Paired]) -> dict[Name, Paired]:
    """The tests of one family, each with its p-value adjusted for their number."""
    values = holm([test.p_value for test in tests.values()])
    return {
        name: replace(test, adjusted=value) for (name, test), value in zip(tests.items(), values, strict=True)
    }


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
