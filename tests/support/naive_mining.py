"""A miner told in plain loops, over texts whose vectors are scattered by their names."""

from collections import Counter
from functools import cache
from typing import Any

import numpy as np

from mining_run import scattered
from vlm2vec_cli.mining.settings import Settings

Row = dict[str, Any]
Mined = list[tuple[str, float, int]]  # text, score, rank


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
