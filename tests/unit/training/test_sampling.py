"""The rows of a step are a pure function of data, seed and step."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.training.sampling import Sampler

DATASETS = ["a"] * 10 + ["b"] * 7 + ["c"] * 3


@given(st.integers(1, 25), st.integers(0, 99))
def test_each_epoch_holds_every_row_once(batch_size: int, seed: int) -> None:
    sampler = Sampler(DATASETS, batch_size, seed)
    rows = [row for step in range(40) for row in sampler.rows(step)]
    for epoch in range(len(rows) // 20):
        assert sorted(rows[epoch * 20 : epoch * 20 + 20]) == list(range(20))


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    walked = [Sampler(DATASETS, 6, 1).rows(step) for step in range(9)]
    assert Sampler(DATASETS, 6, 1).rows(8) == walked[8]


def test_epochs_and_seeds_differ() -> None:
    sampler = Sampler(DATASETS, 20, 1)
    assert sampler.rows(0) != sampler.rows(1)
    assert sampler.rows(0) != Sampler(DATASETS, 20, 2).rows(0)


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 99))
def test_blocks_share_a_dataset(block: int, seed: int) -> None:
    sampler = Sampler(DATASETS, 8, seed, homogeneous=block)
    for step in range(12):
        rows = sampler.rows(step)
        for start in range(0, 8, block):
            assert len({DATASETS[row] for row in rows[start : start + block]}) == 1


def test_a_dataset_smaller_than_a_block_is_repeated() -> None:
    sampler = Sampler(DATASETS, 8, 0, homogeneous=8)
    seen = Counter(DATASETS[row] for step in range(30) for row in sampler.rows(step))
    assert set(seen) == {"a", "b", "c"}
