"""The prefix tree gives every sequence back, is never longer, and shares what is worth sharing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.engine import tree

BEGINNINGS = st.sampled_from([[], [1] * 5, [1] * 9, [2, 3] * 4, [1] * 5 + [4] * 20])
SEQUENCES = st.lists(
    st.builds(list.__add__, BEGINNINGS, st.lists(st.integers(1, 3), max_size=9)).filter(len),
    min_size=1,
    max_size=12,
)


def built(sequences: list[list[int]]) -> tree.Tree:
    return tree.build([np.array(one, dtype=np.int64) for one in sequences])


@given(SEQUENCES)
def test_each_sequence_is_the_path_to_its_last_token(sequences: list[list[int]]) -> None:
    found = built(sequences)
    tokens = np.concatenate(sequences)[found.take]
    ends = np.cumsum(found.lengths)
    segment_of = np.repeat(np.arange(len(found.lengths)), found.lengths)
    assert len(tokens) == ends[-1] <= sum(map(len, sequences))
    assert all(parent < number for number, parent in enumerate(found.parents))
    for sequence, last in zip(sequences, found.last, strict=True):
        number = segment_of[last]
        path = tokens[ends[number] - found.lengths[number] : last + 1].tolist()
        while (number := found.parents[number]) >= 0:
            path = tokens[ends[number] - found.lengths[number] : ends[number]].tolist() + path
        assert path == sequence


def test_equal_sequences_and_beginnings_of_others_cost_nothing() -> None:
    found = built([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6]])
    assert found.lengths == (6,)
    assert found.last.tolist() == [5, 3, 5]


def test_questions_about_one_picture_share_it() -> None:
    picture = [9] * 50
    found = built([[*picture, 1, 2, 3], [*picture, 4], [7, 7], [*picture, 5, 6]])
    assert sum(found.lengths) == 50 + 3 + 1 + 2 + 2
    assert sorted(found.parents.count(number) for number in set(found.parents)) == [2, 3]


def test_a_few_equal_tokens_are_not_worth_a_segment() -> None:
    assert built([[1, 2, 3, 4], [1, 2, 3, 5]]).parents == (-1, -1)
