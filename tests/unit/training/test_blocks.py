"""What stands in one block: laws of keeping together and of keeping apart."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.training.blocks import apart, together


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=40), st.integers(1, 6))
def test_mined_batches_stay_together(mined: list[int], block: int) -> None:
    numbers = np.array(mined)
    order = np.random.default_rng(len(mined)).permutation(len(mined))
    found = together(order, numbers[order], block)
    assert sorted(found) == list(range(len(mined)))
    sizes = Counter(one for one in mined if one >= 0)
    whole = sum(size // block for size in sizes.values()) + (mined.count(-1) if block == 1 else 0)
    cut = numbers[found][: whole * block].reshape(-1, block)
    assert (cut == cut[:, :1]).all(), "as many whole blocks as there can be, first"
    left = [one for one in numbers[found][whole * block :] if one >= 0]
    runs = 1 + sum(one != other for one, other in pairwise(left))
    assert runs <= max(1, len(set(left))) + mined.count(-1), "what is left of a batch stands together too"


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 12), st.integers(0, 99))
def test_equal_positives_are_spread_as_far_as_they_can_be(
    number: int, size: int, kinds: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    positives = generator.integers(0, kinds, number * size)
    rows = generator.permutation(number * size).reshape(number, size)
    found = apart(rows, positives[rows])
    assert found.shape == rows.shape
    assert sorted(found.ravel()) == list(range(number * size))
    total = Counter(positives.tolist())
    for block in found:
        for positive, times in Counter(positives[block].tolist()).items():
            assert times <= -(-total[positive] // number)


def test_blocks_without_equal_positives_stay_as_they_are() -> None:
    rows = np.arange(12).reshape(3, 4)
    positives = rows % 4  # each block has each once
    assert apart(rows, positives) is rows
