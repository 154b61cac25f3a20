"""Negatives by words, against BM25 as its formula has it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining_run import Row, run
from vlm2vec_cli.errors import DataError

pytest.importorskip("bm25s", reason="an optional dependency")

WORDS = ["red", "Red", "apple", "pear", "a", "plum,", "caf\u00e9"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


def words(text: str) -> list[str]:
    return text.replace(",", " ").casefold().split()


def bm25(query: str, target: str, targets: list[str]) -> float:
    """Lucene's form, k1 = 1.5, b = 0.75."""
    mean = sum(len(words(one)) for one in targets) / len(targets)
    total = 0.0
    for word in words(query):
        holding = sum(word in words(one) for one in targets)
        count = words(target).count(word)
        rarity = math.log(1 + (len(targets) - holding + 0.5) / (holding + 0.5))
        total += rarity * count / (count + 1.5 * (1 - 0.75 + 0.75 * len(words(target)) / mean))
    return total


@settings(max_examples=60)
@given(
    st.lists(TEXTS, min_size=2, max_size=8, unique_by=lambda text: text),
    st.lists(TEXTS, min_size=8, max_size=8),
)
def test_it_is_the_formula(targets: list[str], queries: list[str]) -> None:
    pairs: list[Row] = [
        {
            "id": str(number),
            "query": {"text": query, "instruction": "apple apple"},
            "positive": {"text": target},
        }
        for number, (target, query) in enumerate(zip(targets, queries, strict=False))
    ]
    rows, facts = run(pairs, {"method": "bm25", "num_negatives": 20})
    removed = facts["datasets"]["default"]["removed"]
    for row in rows:
        query = row["query"]["text"]
        answers = {pair["positive"]["text"] for pair in pairs if pair["query"] == row["query"]}
        scores = {one: bm25(query, one, targets) for one in targets if one not in answers}
        near = sorted(score for score in scores.values() if score > 0)[::-1]
        mined = row["negatives"]
        assert [one["score"] for one in mined] == pytest.approx(near, abs=1e-4)
        assert [one["score"] for one in mined] == pytest.approx(
            [scores[one["text"]] for one in mined], abs=1e-4
        )
        assert [one["rank"] for one in mined] == list(range(1, len(mined) + 1))
        assert all(one["source"] == "bm25" for one in mined)
    assert removed["positive"] <= len(pairs)


def test_equal_scores_come_in_the_order_of_ids_and_margins_hold() -> None:
    texts = {"c": "red pear", "a": "red plum", "b": "red apple apple"}
    corpus = [{"id": id, "text": text} for id, text in texts.items()]
    pairs: list[Row] = [{"query": {"text": "red apple"}, "positive": {"text": "apple of red"}}]
    rows, _ = run(pairs, {"method": "bm25", "corpus": "corpus.jsonl"}, {"corpus.jsonl": corpus})
    assert [one["text"] for one in rows[0]["negatives"]] == ["red apple apple", "red plum", "red pear"]
    options = {"method": "bm25", "corpus": "corpus.jsonl", "relative_margin": 0.05}
    rows, _ = run(pairs, options, {"corpus.jsonl": corpus})
    assert [one["text"] for one in rows[0]["negatives"]] == ["red plum", "red pear"]


def test_what_has_no_words_is_not_near_and_nothing_but_pictures_is_an_error() -> None:
    pairs: list[Row] = [
        {"query": {"text": "red"}, "positive": {"text": "red apple"}},
        {"query": {"image": "x.png"}, "positive": {"text": "red pear"}},
    ]
    options = {"method": "bm25", "media_identity": "reference"}
    rows, facts = run(pairs, options)
    assert [[one["text"] for one in row["negatives"]] for row in rows] == [["red pear"], []]
    assert facts["short"] == 2
    with pytest.raises(DataError, match="no target of default has a text"):
        run([{"query": {"text": "red"}, "positive": {"image": "x.png"}}], options)
