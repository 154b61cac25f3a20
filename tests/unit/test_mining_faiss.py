"""Where faiss is installed, its search gives what the exact one gives."""

import numpy as np
import pytest

from vlm2vec_cli.mining.search import Faiss
from vlm2vec_cli.nearest import Rows, top_k, unit_rows

pytest.importorskip("faiss", reason="an optional dependency")


@pytest.mark.parametrize("k", [1, 7, 400])
def test_faiss_finds_the_same(k: int) -> None:
    random = np.random.default_rng(0)
    matrix = unit_rows(random.standard_normal((400, 16)).astype(np.float32))
    targets = Rows(matrix, random.permutation(300))
    exact, approximate = top_k(matrix[300:], targets, k), Faiss(targets).top_k(matrix[300:], k)
    np.testing.assert_array_equal(exact.targets, approximate.targets)
    np.testing.assert_array_equal(exact.scores, approximate.scores)
