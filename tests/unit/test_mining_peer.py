"""Equal to sentence-transformers' `mine_hard_negatives` on the same vectors and options.

Runs where the peer is installed: pip install ".[peers]"
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mining_run import run

datasets = pytest.importorskip("datasets", reason="sentence-transformers' miner needs it")
util = pytest.importorskip("sentence_transformers.util", reason="the peer is not installed")
torch = pytest.importorskip("torch")

Row = dict[str, Any]
NUM_QUERIES, NUM_TARGETS, DIM = 150, 120, 16


class Stub:
    """As much of a SentenceTransformer as the miner asks for; texts are numbers of vectors."""

    def __init__(self, queries: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> None:
        self.queries, self.targets = queries, targets
        self.device, self.prompts = torch.device("cpu"), dict[str, str]()
        self.model_card_data = SimpleNamespace(base_model="")

    def encode_query(self, texts: list[str], **_: Any) -> np.ndarray[Any, Any]:
        return self.queries[[int(text[1:]) for text in texts]]

    def encode_document(self, texts: list[str], **_: Any) -> np.ndarray[Any, Any]:
        return self.targets[[int(text[1:]) for text in texts]]

    def similarity(self, left: Any, right: Any) -> Any:
        return _tensor(left) @ _tensor(right).T

    def similarity_pairwise(self, left: Any, right: Any) -> Any:
        return (_tensor(left) * _tensor(right)).sum(-1)

    def get_embedding_dimension(self) -> int:
        return DIM


def _tensor(vectors: Any) -> Any:
    return torch.from_numpy(vectors) if isinstance(vectors, np.ndarray) else vectors


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_negatives": 7},
        {"range_min": 3, "num_negatives": 5},
        {"range_min": 2, "range_max": 12, "num_negatives": 10},
        {"relative_margin": 0.05},
        {"absolute_margin": 0.1, "num_negatives": 8},
        {"absolute_margin": 0.0, "relative_margin": 0.3, "num_negatives": 8},
        {"max_score": 0.3, "num_negatives": 5},
        {"min_score": 0.2, "num_negatives": 9},
        {"range_min": 1, "range_max": 15, "max_score": 0.5, "min_score": 0.1},
    ],
)
@pytest.mark.parametrize("same_queries", [False, True])
def test_the_same_negatives_in_the_same_order(options: dict[str, Any], same_queries: bool) -> None:
    random = np.random.default_rng(len(str(options)))
    queries = unit(random.standard_normal((NUM_QUERIES, DIM)))
    targets = unit(random.standard_normal((NUM_TARGETS, DIM)))
    asked = [n % (NUM_QUERIES // 3) if same_queries else n for n in range(NUM_QUERIES)]
    answers = random.integers(0, NUM_TARGETS, NUM_QUERIES).tolist()
    data = {"query": [f"q{n}" for n in asked], "positive": [f"t{n}" for n in answers]}
    peer = util.mine_hard_negatives(
        datasets.Dataset.from_dict(data),
        Stub(queries, targets),
        output_format="triplet",
        verbose=False,
        **options,
    )
    expected: dict[tuple[str, str], list[str]] = {}
    for row in peer:
        expected.setdefault((row["query"], row["positive"]), []).append(row["negative"])
    pairs = [
        {"id": f"{n:03}", "query": {"text": query}, "positive": {"text": positive}}
        for n, (query, positive) in enumerate(zip(data["query"], data["positive"], strict=True))
    ]
    vectors = [("query", f"q{n}", queries[n]) for n in set(asked)]
    vectors += [("candidate", f"t{n}", targets[n]) for n in set(answers)]
    rows = [{"role": role, "text": text, "embedding": vector.tolist()} for role, text, vector in vectors]
    found, _ = run(pairs, {"vectors": "vectors.jsonl", **options}, {"vectors.jsonl": rows})
    mined = {
        (row["query"]["text"], row["positive"]["text"]): [one["text"] for one in row["negatives"]]
        for row in found
    }
    assert {pair: texts for pair, texts in mined.items() if texts} == expected
    assert expected


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
