"""Rows of every kind as users write them, for laws over all of them."""

import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from vlm2vec_cli.schemas.base import Kind

texts = st.text(max_size=8)
ids = st.text(min_size=1, max_size=5) | st.integers(0, 99)
integers = st.integers(-(1 << 63), (1 << 63) - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
media = st.text(min_size=1, max_size=8) | st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3)
unknown = st.dictionaries(
    st.sampled_from(["mine", "a b", "", "ünï", "_extra", "null\0", "query_id", "note"]),
    json_values,
    max_size=4,
)
content_fields = {
    "image": media,
    "video": media,
    "instruction": texts,
    "num_frames": st.integers(1, 1_000_000),
}
contents = st.builds(
    lambda more, known: {**more, **known},
    unknown,
    st.fixed_dictionaries({"text": texts}, optional=content_fields),
)
negatives = st.builds(
    lambda side, mined: {**side, **mined},
    contents,
    st.fixed_dictionaries({}, optional={"score": floats, "rank": integers, "source": texts}),
)
unit = st.floats(0, 1)
gains = st.dictionaries(texts, st.floats(0, 10, exclude_min=True), max_size=3)
item_fields = {
    "id": ids,
    "dataset": ids,
    "role": st.sampled_from(["query", "candidate"]),
    **content_fields,
    "relevant": gains,
    "pool": st.lists(ids, max_size=4),
    "modality": texts,
    "main_metric": texts,
}
embeddings = st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4)
KNOWN: Mapping[str, st.SearchStrategy[dict[str, Any]]] = {
    "item": st.fixed_dictionaries({"text": texts}, optional=item_fields),
    "pair": st.fixed_dictionaries(
        {"query": contents, "positive": contents},
        optional={
            "id": ids,
            "negatives": st.lists(negatives, max_size=2),
            "weight": floats,
            "positive_ids": st.lists(ids, max_size=3),
            "key": ids,
        },
    ),
    "vector": st.fixed_dictionaries(
        {"embedding": embeddings},
        optional={"text": texts, **item_fields, "model": texts, "revision": texts, "fingerprint": texts},
    ),
    "ranking": st.lists(ids, max_size=4).flatmap(
        lambda candidates: st.fixed_dictionaries(
            {"query": ids, "candidates": st.just(candidates)},
            optional={"scores": st.lists(floats, min_size=len(candidates), max_size=len(candidates))},
        )
    ),
    "event": st.fixed_dictionaries(
        {"event": st.sampled_from(["start", "step", "end"])},
        optional={
            "step": st.integers(0, 1 << 40),
            "loss": floats,
            "learning_rate": floats,
            "best": st.booleans(),
            "datasets": st.dictionaries(texts, st.dictionaries(texts, floats, max_size=2), max_size=2),
        },
    ),
    "score": st.fixed_dictionaries(
        {"dataset": ids, "main_metric": texts, "main_score": unit},
        optional={
            "modality": texts,
            "num_queries": st.integers(0, 1 << 40),
            "metrics": st.dictionaries(texts, unit, max_size=3),
            "ci95": st.dictionaries(texts, st.tuples(unit, unit).map(sorted), max_size=2),
        },
    ),
}


def rows_of(kind: Kind) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of a kind as users write them, with fields that the kind does not know."""
    row = st.builds(lambda more, known: {**more, **known}, unknown, KNOWN[kind.name])
    return st.lists(row, max_size=4).map(copy.deepcopy)  # parsing changes rows in place
