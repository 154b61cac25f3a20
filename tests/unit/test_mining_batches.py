from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining_run import Row, run
from vlm2vec_cli.mining.batches import batches, linked


@given(st.data(), st.integers(1, 30), st.integers(2, 6))
def test_each_pair_stands_in_one_batch_and_only_the_last_is_short(
    data: st.DataObject, number: int, size: int
) -> None:
    groups = st.lists(st.integers(0, 5), min_size=number, max_size=number)
    queries, answers = data.draw(groups), data.draw(groups)
    edges = data.draw(st.lists(st.tuples(st.integers(0, number - 1), st.integers(0, 6)), max_size=60))
    columns = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2).T
    links = linked(range(number), answers, [(columns[0], columns[1])])
    found = list(batches(queries, answers, links, size))
    assert sorted(chain(*found)) == list(range(number))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert found == list(batches(queries, answers, links, size))


def test_links_count_both_directions_by_rank_and_take_turns() -> None:
    edges = [(np.array([10, 10, 11, 12]), np.array([1, 2, 0, 1]))]
    links = linked([10, 11, 12, 13], [0, 1, 2, 1], edges)
    assert links == [{1: 2.0, 2: 0.5}, {0: 2.0}, {0: 0.5, 3: 1.0}, {2: 1.0}]


def test_the_most_linked_come_together_and_answers_stay_apart() -> None:
    links: list[dict[int, float]] = [{2: 1.0, 4: 0.5}, {3: 1.0}, {0: 1.0}, {1: 1.0}, {0: 0.5}, {}]
    assert list(batches(range(6), range(6), links, 2)) == [[0, 2], [1, 3], [4, 5]]
    assert list(batches(range(6), [7, 1, 7, 3, 4, 5], links, 2)) == [[0, 4], [1, 3], [2, 5]]
    assert list(batches([7, 1, 7, 3, 4, 5], range(6), links, 2)) == [[0, 4], [1, 3], [2, 5]]


@pytest.mark.parametrize("on_short", ["keep", "drop"])
def test_rows_come_batch_by_batch_and_the_near_ones_together(on_short: str) -> None:
    """Clusters of four directions, told apart by dataset; the stream mixes them."""
    random = np.random.default_rng(3)
    centres = np.linalg.qr(random.standard_normal((16, 16)))[0]
    pairs: list[Row] = []
    vectors: list[Row] = []
    for number in range(64):
        cluster = number % 8
        pairs.append(
            {
                "id": str(number),
                "dataset": "AB"[cluster % 2],
                "query": {"text": f"q {number}"},
                "positive": {"text": f"t {number}"},
            }
        )
        for role, text in (("query", f"q {number}"), ("candidate", f"t {number}")):
            vector = centres[cluster] + 0.05 * random.standard_normal(16)
            vectors.append({"role": role, "text": text, "embedding": vector.tolist()})
    options = {"vectors": "vectors.jsonl", "num_negatives": 7, "group_batches": 8, "on_short": on_short}
    rows, _ = run(pairs, options, {"vectors.jsonl": vectors})
    assert sorted(int(row["id"]) for row in rows) == list(range(64))
    assert [row["batch"] for row in rows] == [place // 8 for place in range(64)]
    for low in range(0, 64, 8):
        assert len({int(row["id"]) % 8 for row in rows[low : low + 8]}) == 1
    plain, _ = run(pairs, {**options, "group_batches": None}, {"vectors.jsonl": vectors})
    assert {row["id"]: row["negatives"] for row in rows} == {row["id"]: row["negatives"] for row in plain}
