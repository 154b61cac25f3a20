"""The rows of a step are a pure function of data, seed and step."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.errors import UsageError
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


@given(st.sampled_from([0, 4]), st.sampled_from([0.25, 0.5, 2.0, 2.5]), st.integers(0, 9))
def test_a_weight_is_the_number_of_passes_in_an_epoch(block: int, weight: float, seed: int) -> None:
    datasets = ["a"] * 8 + ["b"] * 16
    sampler = Sampler(datasets, 4, seed, homogeneous=block, weights={"b": weight})
    counts = Counter(datasets[row] for row in sampler.epoch_rows)
    assert counts == {"a": 8, "b": 16 * weight}
    most = Counter(row for row in sampler.epoch_rows.tolist() if datasets[row] == "b").most_common(1)[0][1]
    assert most <= -(-weight // 1), "no row twice before every row once"


def test_a_weight_of_one_changes_nothing() -> None:
    plain, weighted = Sampler(DATASETS, 8, 0, 4), Sampler(DATASETS, 8, 0, 4, {"a": 1.0})
    assert plain.rows(3) == weighted.rows(3)


def test_a_weight_of_nothing_leaves_a_dataset_out() -> None:
    sampler = Sampler(DATASETS, 8, 0, weights={"a": 0.0})
    assert "a" not in {DATASETS[row] for step in range(9) for row in sampler.rows(step)}
    with pytest.raises(UsageError, match="--dataset-weight leaves no rows"):
        Sampler(["a"], 1, 0, weights={"a": 0.0})


@given(st.integers(0, 20), st.integers(1, 40))
def test_blocks_of_several_sizes_fill_whole_batches(seed: int, number: int) -> None:
    """Datasets a in blocks of 2, b in blocks of 8, c row by row; 8 rows a batch."""
    sizes = {"a": 2, "b": 8, "c": 0}
    datasets = ["a"] * number + ["b"] * 2 * number + ["c"] * number
    sampler = Sampler(datasets, 8, seed, homogeneous=[sizes[name] for name in datasets])
    for step in range(6):
        names = [datasets[row] for row in sampler.rows(step)]
        if "b" in names:
            assert set(names) == {"b"}
        for start in range(0, 8, 2):
            pair = set(names[start : start + 2])
            assert "a" not in pair or pair == {"a"}


def test_rows_mined_together_make_a_block_and_equal_positives_do_not() -> None:
    datasets = ["a"] * 32 + ["b"] * 32
    positives = [*range(32), *(row % 8 for row in range(32))]
    mined = [*(row % 8 for row in range(32)), *([-1] * 32)]
    sampler = Sampler(datasets, 8, 3, homogeneous=4, positives=positives, mined=mined)
    for step in range(16):
        rows = sampler.rows(step)
        for block in (rows[:4], rows[4:]):
            assert len({datasets[row] for row in block}) == 1
            assert len({mined[row] for row in block}) == 1
            assert len({positives[row] for row in block}) == 4
    assert sorted(row for step in range(8) for row in sampler.rows(step)) == list(range(64))
    assert sampler.rows(0) != sampler.rows(8), "another order in the next epoch"


def test_data_without_equal_positives_keeps_its_order() -> None:
    plain = Sampler(DATASETS, 8, 3, homogeneous=2)
    told = Sampler(DATASETS, 8, 3, homogeneous=2, positives=[*range(len(DATASETS))])
    assert [told.rows(step) for step in range(9)] == [plain.rows(step) for step in range(9)]
