"""A whole dense run against a miner told in loops, over random streams and option combinations."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining_cases import OPTIONS, PAIRS, TEXTS, mined_of, rounded, run, vectors_for
from naive_mining import Row, naive
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.mining import choose


@settings(max_examples=150)
@given(PAIRS, OPTIONS)
def test_dense_mining_is_brute_force(pairs: list[Row], options: Row) -> None:
    if options["max_score"] is not None and options["max_score"] < (options["min_score"] or -1):
        options = {**options, "min_score": None}
    rows, facts = run(pairs, options, {"vectors.jsonl": vectors_for(pairs)})
    found, expected = mined_of(rows, pairs, options["replace"]), rounded(naive(pairs, options))
    if options["sampling"] == "top":
        assert found == expected
    else:
        for own, allowed in zip(found, expected, strict=True):
            assert len(own) == min(len(allowed), options["num_negatives"])
            assert [one for one in allowed if one in own] == own
    assert facts["mined"] == sum(map(len, found))
    assert facts["short"] == sum(len(own) < options["num_negatives"] for own in found)


def test_a_positive_with_an_id_is_barred_by_that_alone() -> None:
    pairs = [
        {"id": "1", "query": {"text": "q 1"}, "positive": {"text": "it is on", "id": "on"},
         "positive_ids": ["on", "sitting on"]},
        {"id": "2", "query": {"text": "q 2"}, "positive": {"text": "it is sitting on", "id": "sitting on"},
         "positive_ids": ["sitting on"]},
        {"id": "3", "query": {"text": "q 3"}, "positive": {"text": "it is under", "id": "under"}},
    ]  # fmt: skip
    rows, _ = run(pairs, {"vectors": "vectors.jsonl"}, {"vectors.jsonl": vectors_for(pairs)})
    mined = [{one["id"] for one in row["negatives"]} for row in rows]
    assert mined == [{"under"}, {"on", "under"}, {"on", "sitting on"}]


def test_a_mined_target_keeps_its_id_where_it_means_the_same() -> None:
    pairs = [
        {"id": name, "dataset": name, "query": {"text": f"q {name}"}, "positive": {"text": f"t {name}"}}
        for name in "AB"
    ]
    corpus = [
        {"id": "1", "dataset": "A", "text": "t 5"},
        {"id": "2", "dataset": "B", "text": "t  5"},
        {"id": "3", "text": "t 6"},
    ]
    files = {"vectors.jsonl": vectors_for(pairs, corpus), "corpus.jsonl": corpus}
    options = {"vectors": "vectors.jsonl", "corpus": "corpus.jsonl", "num_negatives": 9}
    rows, _ = run(pairs, options, files)
    found = [{one["text"]: one["id"] for one in row["negatives"]} for row in rows]
    assert found == [{"t 5": "1", "t 6": "3"}, {"t  5": "2", "t 6": "3"}]
    rows, _ = run(pairs, {**options, "across_datasets": True}, files)
    found = [{one["text"]: one.get("id") for one in row["negatives"]} for row in rows]
    assert found == [{"t 5": "1", "t 6": "3"}, {"t 5": None, "t 6": "3"}]


def test_the_number_of_frames_decides_a_vector_and_stays_with_what_is_mined() -> None:
    pairs = [
        {"id": "1", "query": {"text": "q"}, "positive": {"video": "a.mp4"}},
        {"id": "2", "query": {"text": "r"}, "positive": {"video": "b.mp4", "num_frames": 4}},
    ]
    vectors: list[Row] = [{"role": "query", "text": text, "embedding": [1, 0]} for text in "qr"]
    vectors += [
        {"role": "candidate", "video": "a.mp4", "embedding": [1, 1]},
        {"role": "candidate", "video": "b.mp4", "num_frames": 4, "embedding": [1, 2]},
        {"role": "candidate", "video": "b.mp4", "num_frames": 8, "embedding": [0, 1]},
    ]
    options = {"vectors": "vectors.jsonl", "media_identity": "reference"}
    rows, _ = run(pairs, options, {"vectors.jsonl": vectors})
    assert rows[0]["negatives"] == [
        {"video": "b.mp4", "num_frames": 4, "score": 0.447214, "rank": 1, "source": "dense"}
    ]
    with pytest.raises(DataError, match="positive: no vector in "):
        run(pairs, options, {"vectors.jsonl": vectors[:3] + vectors[4:]})


def test_known_answers_in_front_do_not_shorten_what_is_found() -> None:
    pairs = [
        {"id": f"{n:02}", "dataset": "A", "query": {"text": f"q {n}"}, "positive": {"text": f"t {n}"}}
        for n in range(40)
    ]
    options = {"vectors": "vectors.jsonl", "num_negatives": 3}
    near = [text for text, _, _ in naive(pairs, {**options, "num_negatives": 30})[0]]
    same_key = {*near[:20], "t 0"}
    keyed = [{**pair, "key": "k"} if pair["positive"]["text"] in same_key else pair for pair in pairs]
    rows, facts = run(keyed, options, {"vectors.jsonl": vectors_for(pairs)})
    assert [one["text"] for one in rows[0]["negatives"]] == near[20:23]
    assert facts["short"] == 0


@settings(max_examples=60)
@given(PAIRS, OPTIONS, st.lists(TEXTS, min_size=1, max_size=10), st.sampled_from(["A", "default"]))
def test_a_corpus_takes_the_place_of_the_positives(
    pairs: list[Row], options: Row, texts: list[str], dataset: str
) -> None:
    options = {**options, "sampling": "top", "min_score": None, "corpus": "corpus.jsonl"}
    corpus = [{"id": name, "text": text} for name, text in zip("xyzuvwrstopq", texts, strict=False)]
    corpus = [{**row, "dataset": dataset} for row in corpus]
    files = {"vectors.jsonl": vectors_for(pairs, corpus), "corpus.jsonl": corpus}
    rows, _ = run(pairs, options, files)
    assert mined_of(rows, pairs, options["replace"]) == rounded(naive(pairs, options, corpus))


@given(PAIRS, OPTIONS)
def test_small_blocks_change_nothing(pairs: list[Row], options: Row) -> None:
    options = {**options, "min_score": None}
    files = {"vectors.jsonl": vectors_for(pairs)}
    whole = run(pairs, options, files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "query_rows", lambda k: 2)
        assert run(pairs, options, files) == whole
