"""A whole run against a miner told in loops, over random streams and option combinations."""

from collections import Counter
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining_run import Model, scattered
from mining_run import run as run_with
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.mining import choose
from vlm2vec_cli.mining.settings import Settings

Row = dict[str, Any]
Mined = list[tuple[str, float, int]]  # text, score, rank
NUM_TEXTS = 12


def vector_of(role: str, text: str) -> list[float]:
    return scattered(role[0] + text)


run = partial(run_with, models={"judge": Model(lambda content: scattered("judge" + content["text"]))})


def vectors_for(pairs: list[Row], corpus: Iterable[Row] = ()) -> list[Row]:
    sides = [("query", pair["query"]["text"]) for pair in pairs]
    sides += [("candidate", pair["positive"]["text"]) for pair in pairs]
    sides += [("candidate", row["text"]) for row in corpus]
    return [
        {"role": role, "text": text, "embedding": vector_of(role, text)}
        for role, text in dict.fromkeys(sides)
    ]


def naive(pairs: list[Row], options: Row, corpus: list[Row] | None = None) -> list[Mined]:
    """What each pair gets, in plain loops."""
    asked = Settings(**options)
    if corpus is None:
        offers = [{**pair, "text": pair["positive"]["text"]} for pair in pairs]
    else:
        offers = corpus
    mined = []
    for pair in pairs:
        pool = [one for one in pairs if asked.across_datasets or one["dataset"] == pair["dataset"]]
        twins = [one for one in pairs if one["query"] == pair["query"]]
        answers = {same(one["positive"]["text"]) for one in twins}
        positive = min(score_of(one, one["positive"]["text"]) for one in twins if one in pool)
        most = max(Counter(one["query"]["text"] for one in pool).values())
        range_max = asked.resolved_range_max(most)
        others = masked(pair, pairs, corpus or [], asked.replace) - answers
        texts = targets(pair, offers, asked.across_datasets, corpus is not None)
        if asked.same_document == "exclude":
            others |= of_the_same_documents(
                answers | masked(pair, pairs, corpus or [], True), pairs, corpus or []
            )
            others -= answers
        near = sorted((-score_of(pair, text), place, text) for place, text in enumerate(texts))
        near = [one for one in near if same(one[2]) not in others][: range_max + most]
        near = [one for one in near if same(one[2]) not in answers]
        ranked = [(text, -minus, rank) for rank, (minus, _, text) in enumerate(near, start=1)]
        kept = [one for one in ranked if passes(one[1], positive, asked)][asked.range_min : range_max]
        if asked.rescore is not None:
            lowest = min(cosine(one["query"]["text"], one["positive"]["text"], "judge") for one in twins)
            limit = lowest - abs(lowest) * np.float32(0.05)
            kept = [one for one in kept if cosine(pair["query"]["text"], one[0], "judge") <= limit]
        mined.append(kept[: asked.num_negatives] if asked.sampling == "top" else kept)
    return mined


def same(text: str) -> str:
    return " ".join(text.split())


def targets(pair: Row, offers: list[Row], across: bool, is_corpus: bool) -> list[str]:
    """Distinct texts in the order of their ids; those of the pair's own dataset count first."""
    own = [one for one in offers if across or one["dataset"] == pair["dataset"]]
    if is_corpus and not across:
        own += [one for one in offers if one["dataset"] == "default"]
    distinct: dict[str, Row] = {}
    for one in own:
        distinct.setdefault(same(one["text"]), one)
    return [one["text"] for one in sorted(distinct.values(), key=lambda one: (one["dataset"], one["id"]))]


def masked(pair: Row, pairs: list[Row], corpus: list[Row], replace: bool) -> set[str]:
    """Texts that share an id or the key with the pair, or that it has as negatives.

    A positive with an id is known by that alone, one without by all ids of its pair.
    """
    found = set()
    own = pair["positive"].get("id")
    ids = {*pair.get("positive_ids", []), *([] if own is None else [own])}
    for other in pairs:
        name = other["positive"].get("id")
        names = set(other.get("positive_ids", [])) if name is None else {name}
        if other["dataset"] == pair["dataset"] and (
            ids & names or ("key" in pair and other.get("key") == pair["key"])
        ):
            found.add(same(other["positive"]["text"]))
    found |= {
        same(one["text"])
        for one in corpus
        if one["id"] in ids and one["dataset"] in (pair["dataset"], "default")
    }
    return found if replace else found | {same(one["text"]) for one in pair.get("negatives", [])}


def of_the_same_documents(answers: set[str], pairs: list[Row], corpus: list[Row]) -> set[str]:
    """Texts that share a document with an answer; documents are named within a dataset, or in "default"."""
    marks: dict[str, set[tuple[str, str]]] = {}
    for text, row in [
        *((one["positive"]["text"], one) for one in pairs),
        *((one["text"], one) for one in corpus),
    ]:
        if "document" in row:
            marks.setdefault(same(text), set()).add((row["dataset"], row["document"]))
    named = {mark for answer in answers for mark in marks.get(answer, ())}
    named |= {("default", name) for _, name in named}
    return {text for text, own in marks.items() if own & named}


def passes(score: np.float32, positive: np.float32, asked: Settings) -> bool:
    if asked.absolute_margin is not None and score + np.float32(asked.absolute_margin) > positive:
        return False
    share = asked.relative_margin
    if share is not None and score > positive - abs(positive) * np.float32(share):
        return False
    if asked.max_score is not None and score > np.float32(asked.max_score):
        return False
    return asked.min_score is None or score >= np.float32(asked.min_score)


def score_of(pair: Row, text: str) -> np.float32:
    return cosine(pair["query"]["text"], text)


@cache
def cosine(query: str, target: str, model: str = "") -> np.float32:
    left, right = (
        np.array(scattered((model or role) + text)) for role, text in (("q", query), ("c", target))
    )
    unit = [(one / np.sqrt((one * one).sum())).astype(np.float32).astype(np.float64) for one in (left, right)]
    return np.float32((unit[0] * unit[1]).sum())


TEXTS = st.integers(0, NUM_TEXTS).map(lambda n: f"t {n}") | st.integers(0, 3).map(lambda n: f" t  {n}")
PAIRS = st.lists(
    st.fixed_dictionaries(
        {
            "query": st.integers(0, 8).map(lambda n: {"text": f"q {n}"}),
            "positive": st.fixed_dictionaries(
                {"text": TEXTS}, optional={"id": st.sampled_from(["x", "y", "z"])}
            ),
            "dataset": st.sampled_from(["A", "B"]),
        },
        optional={
            "negatives": st.lists(TEXTS.map(lambda text: {"text": text}), max_size=2),
            "positive_ids": st.lists(st.sampled_from(["x", "y", "z"]), max_size=2),
            "key": st.sampled_from(["k", "l"]),
            "document": st.sampled_from(["d", "e", "f"]),
        },
    ),
    min_size=1,
    max_size=14,
).map(lambda pairs: [{"id": f"p{n}", **pair} for n, pair in enumerate(pairs)])
LIMIT = st.none() | st.sampled_from([-0.3, 0.0, 0.3, 0.6, 0.9])
OPTIONS = st.fixed_dictionaries(
    {
        "vectors": st.just("vectors.jsonl"),
        "num_negatives": st.integers(1, 4),
        "range_min": st.integers(0, 2),
        "range_max": st.none() | st.integers(6, 9),
        "max_score": LIMIT,
        "min_score": st.none() | st.sampled_from([-0.9, -0.3]),
        "absolute_margin": LIMIT,
        "relative_margin": st.none() | st.sampled_from([0.0, 0.05, 0.5]),
        "across_datasets": st.booleans(),
        "replace": st.booleans(),
        "sampling": st.sampled_from(["top", "top", "random"]),
        "same_document": st.sampled_from(["allow", "exclude"]),
        "rescore": st.sampled_from([None, "judge"]),
    }
)


def mined_of(rows: list[Row], pairs: list[Row], replace: bool) -> list[Mined]:
    found = []
    for row, pair in zip(rows, pairs, strict=True):
        given = [] if replace else pair.get("negatives", [])
        assert row["negatives"][: len(given)] == given
        assert {**row, "negatives": 0} == {"schema": "vlm2vec/pair@1", **pair, "negatives": 0}
        mined = row["negatives"][len(given) :]
        assert all(one["source"] == "dense" for one in mined)
        found.append([(one["text"], one["score"], one["rank"]) for one in mined])
    return found


def rounded(mined: list[Mined]) -> list[Mined]:
    return [[(text, round(float(score), 6) + 0.0, rank) for text, score, rank in one] for one in mined]


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
