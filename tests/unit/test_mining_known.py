"""What is never mined: documents, and planted duplicates and paraphrases."""

import numpy as np
import pytest

from mining_run import Row, run, scattered
from vlm2vec_cli.mining.identity import documents

NUM_PAIRS, DIM = 200, 32


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"image": "a.pdf#page=2"}, ["/m\na.pdf"]),
        ({"image": "a.png", "video": "c.mp4#t=1,2"}, ["/m\nc.mp4"]),
        ({"image": ["x.zip!a.pdf#page=1", "x.zip!a.pdf#page=2"]}, ["/m\nx.zip!a.pdf"]),
        ({"image": "/b.pdf#page=1"}, ["/b.pdf"]),
        ({"image": "quickstart:b.pdf#page=1"}, ["quickstart:b.pdf"]),
        ({"text": "a.pdf#page=2", "image": "a.pdf"}, []),
    ],
)
def test_pages_and_windows_belong_to_documents(row: Row, expected: list[str]) -> None:
    assert documents(row, "/m") == expected


def test_other_pages_of_the_document_are_no_negatives_when_excluded() -> None:
    names = ["a.pdf#page=1", "a.pdf#page=2", "a.pdf#page=3", "b.pdf#page=1", "c.png"]
    pairs: list[Row] = [{"query": {"text": name}, "positive": {"image": name}} for name in names]
    vectors: list[Row] = [{"role": "query", **pair["query"]} for pair in pairs]
    vectors += [{"role": "candidate", **pair["positive"]} for pair in pairs]
    files = {"vectors.jsonl": [{**row, "embedding": scattered(str(row))} for row in vectors]}
    options = {"vectors": "vectors.jsonl", "num_negatives": 9, "media_identity": "reference"}
    rows, facts = run(pairs, {**options, "same_document": "exclude"}, files)
    mined = [{one["image"] for one in row["negatives"]} for row in rows]
    assert mined == [set(names[3:])] * 3 + [{*names[:3], "c.png"}, set(names[:4])]
    assert facts["datasets"]["default"]["removed"]["same_document"] == 6
    rows, _ = run(pairs, options, files)
    assert all(len(row["negatives"]) == 4 for row in rows)


def planted() -> tuple[list[Row], list[Row], list[Row]]:
    """Pairs, and a corpus that holds for each positive an exact duplicate, one in other white space, and a
    paraphrase, whose vector is within 0.9 to 0.99 of the positive's."""
    random = np.random.default_rng(7)
    directions = random.standard_normal((NUM_PAIRS, DIM))
    pairs, corpus, vectors = [], [], []
    for number, direction in enumerate(directions):
        direction /= np.linalg.norm(direction)
        query = direction + 0.1 * random.standard_normal(DIM)
        paraphrase = direction + 0.06 * random.standard_normal(DIM)
        text = f"answer {number}"
        pairs.append({"id": str(number), "query": {"text": f"question {number}"}, "positive": {"text": text}})
        vectors.append({"role": "query", "text": f"question {number}", "embedding": query.tolist()})
        for name, copy, vector in (
            ("original", text, direction),
            ("duplicate", text, direction),
            ("spaced", f" answer\t{number}\n", direction),
            ("paraphrase", f"in other words, {number}", paraphrase),
        ):
            corpus.append({"id": f"{name} {number}", "text": copy})
            vectors.append({"role": "candidate", "text": copy, "embedding": vector.tolist()})
    return pairs, corpus, vectors


def test_planted_duplicates_are_never_mined_and_a_margin_keeps_most_paraphrases_out() -> None:
    pairs, corpus, vectors = planted()
    options = {"vectors": "vectors.jsonl", "corpus": "corpus.jsonl", "num_negatives": 3}
    rates = []
    for margin in (None, 0.05, 0.2):
        rows, facts = run(
            pairs,
            {**options, "relative_margin": margin},
            {"vectors.jsonl": vectors, "corpus.jsonl": corpus},
        )
        assert facts["datasets"]["default"]["copies"] == 2 * NUM_PAIRS
        paraphrases = 0
        for row in rows:
            mined = ["".join(one["text"].split()) for one in row["negatives"]]
            own = row["id"]
            assert f"answer{own}" not in mined
            assert len(mined) == 3
            paraphrases += f"inotherwords,{own}" in mined
        rates.append(paraphrases / NUM_PAIRS)
    assert rates == [1.0, 0.44, 0.0]
