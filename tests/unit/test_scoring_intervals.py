"""Intervals of resampled queries."""

import numpy as np
import pytest

from vlm2vec_cli.scoring import bootstrap


def test_intervals_are_percentiles_of_resampled_means() -> None:
    values_QM = np.random.default_rng(6).random((40, 3))
    got = bootstrap.intervals(values_QM, 500, np.random.default_rng(7))
    draws = np.random.default_rng(7).integers(0, 40, (500, 40))
    means = np.array([values_QM[draw].mean(axis=0) for draw in draws])
    np.testing.assert_allclose(got, np.quantile(means, [0.025, 0.975], axis=0).T, atol=1e-12)


def test_intervals_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values_QM = np.random.default_rng(8).random((10, 2))
    whole = bootstrap.intervals(values_QM, 100, np.random.default_rng(9))
    monkeypatch.setattr(bootstrap, "MAX_DRAWS", 35)
    assert (bootstrap.intervals(values_QM, 100, np.random.default_rng(9)) == whole).all()


def test_intervals_cover_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(10)
    covered = 0
    for _ in range(300):
        low, high = bootstrap.intervals(rng.normal(0.5, 0.1, (60, 1)), 300, rng)[0]
        covered += low <= 0.5 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_an_interval_depends_on_seed_and_dataset_alone() -> None:
    def first(seed: int, dataset: str) -> float:
        return float(bootstrap.generator(seed, dataset).random())

    assert first(0, "a") == first(0, "a")
    assert len({first(0, "a"), first(1, "a"), first(0, "b")}) == 3
