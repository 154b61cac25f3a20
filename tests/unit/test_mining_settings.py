from typing import Any

import pytest

from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.mining.settings import Settings


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"method": "bm25", "model": "m"}, "--model has no use with --method bm25: it needs no vectors"),
        (
            {"method": "bm25", "backend": "faiss"},
            "--backend has no use with --method bm25: it searches no vectors",
        ),
        (
            {"method": "random", "audit": "a.html"},
            "--audit has no use with --method random: it has no scores",
        ),
        (
            {"method": "random", "rescore": "m", "group_batches": 8},
            "--group-batches has no use with --method random: nothing is near",
        ),
        (
            {"method": "labels", "model": "m", "near_duplicates": 3},
            "--near-duplicates has no use with --method labels: its targets are the pairs' labels",
        ),
        (
            {"vectors": "v", "label_field": "key"},
            "--label-field has no use with --method dense: it has no labels",
        ),
        ({"vectors": "v", "cache": "c"}, "--cache keeps what a model computes"),
        ({"vectors": "v", "rescore_margin": -1.0}, "--rescore-margin: expected 0 to 1, got -1"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], fact: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**options)
    assert str(caught.value) == fact


@pytest.mark.parametrize(
    "options",
    [
        {"method": "random", "rescore": "m", "audit": "a.html", "keep_positives_below": 0.1, "cache": "c"},
        {"method": "bm25", "relative_margin": 0.1, "group_batches": 8, "same_document": "exclude"},
        {"method": "labels", "neighbors": "n.json", "rescore": "m"},
        {"vectors": "v", "rescore": "m", "cache": "c"},
    ],
)
def test_options_that_do(options: dict[str, Any]) -> None:
    Settings(**options)
