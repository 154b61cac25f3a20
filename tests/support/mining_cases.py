"""Random streams of pairs and option combinations for whole mining runs, and what these gave."""

from collections.abc import Iterable
from functools import partial

from hypothesis import strategies as st

from mining_run import Model, scattered
from mining_run import run as run_with
from naive_mining import Mined, Row

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
