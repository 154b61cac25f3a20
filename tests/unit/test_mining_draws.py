"""Negatives drawn at random, alone or to fill what dense mining leaves short."""

from hypothesis import given
from hypothesis import strategies as st

from mining_cases import OPTIONS, PAIRS, run, vectors_for
from naive_mining import Row, naive


def test_filling_measures_what_it_draws_from_beyond_the_window() -> None:
    pairs = [
        {"id": f"{n:02}", "dataset": "A", "query": {"text": f"q {n}"}, "positive": {"text": f"t {n}"}}
        for n in range(40)
    ]
    options = {"vectors": "vectors.jsonl", "num_negatives": 5, "range_max": 5, "max_score": 0.0}
    files = {"vectors.jsonl": vectors_for(pairs)}
    rows, facts = run(pairs, {**options, "on_short": "fill-random"}, files)
    assert facts["random"] > 100
    assert facts["short"] == 0
    assert all(one["score"] <= 0 for row in rows for one in row["negatives"])


@given(PAIRS, st.integers(1, 6), st.integers(0, 5))
def test_random_mining_takes_whatever_is_not_known(pairs: list[Row], num_negatives: int, seed: int) -> None:
    options = {"method": "random", "num_negatives": num_negatives, "seed": seed}
    rows, _ = run(pairs, options)
    everything = naive(pairs, {"vectors": "x", "num_negatives": 99})
    for row, pair, allowed in zip(rows, pairs, everything, strict=True):
        drawn = [one["text"] for one in row["negatives"][len(pair.get("negatives", [])) :]]
        assert set(drawn) <= {text for text, _, _ in allowed}
        assert len(drawn) == len(set(drawn)) == min(num_negatives, len(allowed))
    assert run(pairs, options)[0] == rows


def test_what_is_drawn_depends_on_seed_and_pair_and_not_on_the_order_of_the_stream() -> None:
    pairs = [
        {"id": str(n), "dataset": "A", "query": {"text": f"q {n}"}, "positive": {"text": f"t {n}"}}
        for n in range(30)
    ]
    drawn = [
        run(order, {"method": "random", "seed": seed})[0]
        for order, seed in ((pairs, 1), (pairs[::-1], 1), (pairs, 2))
    ]
    assert drawn[0] == drawn[1][::-1]
    assert drawn[0] != drawn[2]
    assert len({one["text"] for row in drawn[0] for one in row["negatives"]}) > 20


@given(PAIRS, OPTIONS)
def test_filling_adds_only_what_no_maximum_or_margin_refuses(pairs: list[Row], options: Row) -> None:
    options = {**options, "sampling": "top", "min_score": None}
    files = {"vectors.jsonl": vectors_for(pairs)}
    kept, _ = run(pairs, options, files)
    filled, facts = run(pairs, {**options, "on_short": "fill-random"}, files)
    wide = {**options, "num_negatives": 99, "range_max": None}
    for before, after, allowed in zip(kept, filled, naive(pairs, wide), strict=True):
        count = len(before["negatives"])
        assert after["negatives"][:count] == before["negatives"]
        added = after["negatives"][count:]
        assert {one["source"] for one in added} <= {"random"}
        assert {one["text"] for one in added} <= {text for text, _, _ in allowed}
        assert all("score" in one and "rank" not in one for one in added)
    dropped, _ = run(pairs, {**options, "on_short": "drop"}, files)
    assert facts["random"] == sum(one.get("source") == "random" for row in filled for one in row["negatives"])
    assert all(row in kept for row in dropped)
